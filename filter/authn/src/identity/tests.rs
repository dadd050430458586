//! Claim mappings and required claims, oddity by oddity.

use super::*;
use crate::{
    crypto::{Algorithm, SoftwareVerifier},
    testing::{HEADER, NOW, authenticator, key_set, token},
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn verified(jwt: &JwtAuthenticator, claims: &str) -> VerifiedToken {
    let payload = format!(
        r#"{{"iss":"https://issuer.example","aud":"kubernetes","exp":1800000060,{claims}}}"#
    );
    let token = token(HEADER, &payload);
    jwt.verify(&token, &key_set(), &SoftwareVerifier, NOW, &Algorithm::ALL).expect("verified")
}

/// The identity by these mappings, or the error's text.
fn identity(jwt: &str, claims: &str) -> Result<Identity, String> {
    let jwt = authenticator(jwt);
    jwt.identity(&verified(&jwt, claims)).map_err(|error| error.to_string())
}

#[test]
fn usernames() {
    let by_name = r#""claimMappings":{"username":{"claim":"name","prefix":"p:"}}"#;
    let by_email = r#""claimMappings":{"username":{"claim":"email","prefix":""}}"#;
    let by_path = r#""claimMappings":{"username":{"claim":"a.b","prefix":""}}"#;
    let not_string = "json: cannot unmarshal number into Go value of type string";
    for (jwt, claims, want) in [
        (by_name, r#""name":"jane""#, Ok("p:jane")),
        (by_name, r#""name":"""#, Ok("p:")), // upstream takes it; the guard before impersonation does not
        (by_name, r#""name":null"#, Ok("p:")),
        (by_name, r#""name":"a","name":"b""#, Ok("p:b")),
        (by_name, r#""Name":"jane""#, Err(r#"oidc: parse username claims "name": claim not present"#.to_owned())),
        (by_name, r#""name":1"#, Err(format!(r#"oidc: parse username claims "name": {not_string}"#))),
        (by_path, r#""a":{"b":"x"}"#, Err(r#"oidc: parse username claims "a.b": claim not present"#.to_owned())),
        (by_path, r#""a.b":"x""#, Ok("x")), // a name, never a path
        (by_email, r#""email":"a@b""#, Ok("a@b")),
        (by_email, r#""email":"a@b","email_verified":true"#, Ok("a@b")),
        (by_email, r#""email":"a@b","email_verified":false"#, Err("oidc: email not verified".to_owned())),
        (by_email, r#""email":"a@b","email_verified":null"#, Err("oidc: email not verified".to_owned())),
        (
            by_email,
            r#""email":"a@b","email_verified":"true""#,
            Err("oidc: parse 'email_verified' claim: json: cannot unmarshal string into Go value of type bool".to_owned()),
        ),
        (by_name, r#""name":"a","email_verified":false"#, Ok("p:a")), // only for the claim email
    ] {
        let got = identity(jwt, claims).map(|identity| identity.username);
        assert_eq!(got, want.map(str::to_owned), "{claims}");
    }
}

#[test]
fn groups() {
    let jwt = r#""claimMappings":{"username":{"claim":"sub","prefix":""},
        "groups":{"claim":"roles","prefix":"g:"}}"#;
    let error = |got: &str| {
        Err(format!(
            r#"oidc: parse groups claim "roles": json: cannot unmarshal {got} into Go value of type string"#
        ))
    };
    for (claims, want) in [
        (r#""roles":["a","b","a"]"#, Ok(vec!["g:a", "g:b", "g:a"])),
        (r#""roles":"a""#, Ok(vec!["g:a"])),
        (r#""roles":"""#, Ok(vec!["g:"])),
        (r#""roles":["",null]"#, Ok(vec!["g:", "g:"])),
        (r#""roles":[]"#, Ok(vec![])),
        (r#""roles":null"#, Ok(vec![])),
        (r#""other":1"#, Ok(vec![])),
        (r#""roles":["a",1]"#, error("array")),
        (r#""roles":[["a"]]"#, error("array")),
        (r#""roles":1"#, error("number")),
        (r#""roles":{}"#, error("object")),
    ] {
        let got = identity(jwt, &format!(r#""sub":"s",{claims}"#));
        let want = want.map(|groups| groups.into_iter().map(str::to_owned).collect());
        assert_eq!(got.map(|identity| identity.groups), want, "{claims}");
    }
}

#[test]
fn uid_and_extra() {
    let jwt = r#""claimMappings":{"username":{"claim":"sub","prefix":""},"uid":{"claim":"oid"}}"#;
    let missing = r#"oidc: parse uid claim "oid": claim not present"#;
    for (claims, uid, extra) in [
        (r#""oid":"u""#, Ok("u"), None),
        (r#""oid":null"#, Ok(""), None),
        (r#""x":1"#, Err(missing), None),
        (r#""oid":"u","jti":"t-1""#, Ok("u"), Some("JTI=t-1")),
        (r#""oid":"u","jti":"""#, Ok("u"), None),
        (r#""oid":"u","jti":1"#, Ok("u"), None), // ignored, not refused
        (r#""oid":"u","JTI":"t-1""#, Ok("u"), None),
    ] {
        let got = identity(jwt, &format!(r#""sub":"s",{claims}"#));
        assert_eq!(
            got.clone().map(|identity| identity.uid),
            uid.map(str::to_owned).map_err(str::to_owned)
        );
        let got = got.map(|identity| identity.extra).unwrap_or_default();
        let want = extra.map(|id| (CREDENTIAL_ID_KEY.to_owned(), vec![id.to_owned()]));
        assert_eq!(got.into_iter().next(), want, "{claims}");
    }
}

#[test]
fn required_claims() {
    let jwt = r#""claimMappings":{"username":{"claim":"sub","prefix":""}},
        "claimValidationRules":[{"claim":"hd","requiredValue":"x"},{"claim":"empty"}]"#;
    for (claims, want) in [
        (r#""hd":"x","empty":"""#, None),
        (r#""hd":"x","empty":null"#, None),
        (r#""hd":"x""#, Some("required claim empty not present in ID token")),
        (r#""empty":"""#, Some("required claim hd not present in ID token")),
        (
            r#""hd":"y","empty":"""#,
            Some("required claim hd value does not match. Got = y, want = x"),
        ),
        (
            r#""hd":["x"],"empty":"""#,
            Some("parse claim hd: json: cannot unmarshal array into Go value of type string"),
        ),
        (
            r#""hd":"x","empty":"y""#,
            Some("required claim empty value does not match. Got = y, want = "),
        ),
    ] {
        let got = identity(jwt, &format!(r#""sub":"s",{claims}"#)).err();
        assert_eq!(got, want.map(|error| format!("oidc: {error}")), "{claims}");
    }
}

/// The order decides which error is told: user name, groups, uid, then required claims.
#[test]
fn the_first_failure_is_told() {
    let jwt = r#""claimMappings":{"username":{"claim":"name","prefix":""},
        "groups":{"claim":"roles","prefix":""},"uid":{"claim":"oid"}},
        "claimValidationRules":[{"claim":"hd","requiredValue":"x"}]"#;
    for (claims, want) in [
        (r#""roles":1"#, "oidc: parse username claims"),
        (r#""name":"n","roles":1"#, "oidc: parse groups claim"),
        (r#""name":"n","roles":[]"#, "oidc: parse uid claim"),
        (r#""name":"n","roles":[],"oid":"u""#, "oidc: required claim hd"),
    ] {
        let error = identity(jwt, claims).expect_err(claims);
        assert!(error.starts_with(want), "{error}");
    }
}

#[test]
fn usernames_by_expression() {
    let failed =
        |text: &str| Err(format!("oidc: error evaluating username claim expression: {text}"));
    for (expression, want) in [
        ("claims.name", Ok("jane")),
        ("'oidc:' + claims.name", Ok("oidc:jane")),
        ("claims.empty", Err("oidc: empty username via CEL expression is not allowed".to_owned())),
        ("claims.number", failed("username claim expression must return a string")),
        ("claims.?name", failed("username claim expression must return a string")), // an optional is none
        ("claims.hd", failed("expression 'claims.hd' resulted in error: no such key: hd")),
    ] {
        let jwt = format!(r#""claimMappings":{{"username":{{"expression":"{expression}"}}}}"#);
        let got = identity(&jwt, r#""name":"jane","empty":"","number":1"#);
        assert_eq!(got.map(|identity| identity.username), want.map(str::to_owned), "{expression}");
    }
}

#[test]
fn groups_by_expression() {
    let failed = "oidc: error evaluating group claim expression: expression must return a string or a list of strings";
    for (expression, want) in [
        ("claims.groups", Ok(vec!["a", "b"])),
        ("'a'", Ok(vec!["a"])),
        ("''", Ok(vec![])),
        ("[]", Ok(vec![])),
        ("null", Ok(vec![])),
        ("['a','','b']", Ok(vec!["a", "b"])), // empty names are left out, unlike in claim mode
        ("claims.?groups.orValue([])", Ok(vec!["a", "b"])),
        ("claims.number", Err(failed)),
        ("[claims.number]", Err(failed)),
        ("claims.?groups", Err(failed)),
        ("{'a':'b'}", Err(failed)),
    ] {
        let jwt = format!(
            r#""claimMappings":{{"username":{{"claim":"sub","prefix":""}},"groups":{{"expression":"{expression}"}}}}"#
        );
        let got = identity(&jwt, r#""sub":"s","groups":["a","b"],"number":1"#);
        let want = want.map(|groups| groups.into_iter().map(str::to_owned).collect());
        assert_eq!(got.map(|i| i.groups), want.map_err(str::to_owned), "{expression}");
    }
}

#[test]
fn uid_and_extra_by_expression() {
    let jwt = |uid: &str, extra: &str| {
        format!(
            r#""claimMappings":{{"username":{{"claim":"sub","prefix":""}},"uid":{{"expression":"{uid}"}},
            "extra":[{{"key":"example.org/a","valueExpression":"{extra}"}},{{"key":"example.org/b","valueExpression":"claims.groups"}}]}}"#
        )
    };
    let claims = r#""sub":"s","groups":["x"],"number":1,"jti":"t""#;
    let identity_of = |uid: &str, extra: &str| identity(&jwt(uid, extra), claims);

    let found = identity_of("''", "''").expect("an identity");
    assert_eq!(found.uid, "", "an empty uid is allowed");
    let keys: Vec<&str> = found.extra.keys().map(String::as_str).collect();
    assert_eq!(keys, [CREDENTIAL_ID_KEY, "example.org/b"], "an extra without values is left out");

    for (uid, extra, want) in [
        (
            "claims.number",
            "''",
            "oidc: error evaluating uid claim expression: uid claim expression must return a string",
        ),
        (
            "claims.hd",
            "''",
            "oidc: error evaluating uid claim expression: expression 'claims.hd' resulted in error: no such key: hd",
        ),
        ("''", "claims.hd", "expression 'claims.hd' resulted in error: no such key: hd"),
        (
            "''",
            "claims.number",
            "oidc: error evaluating extra claim expression: claims.number: expression must return a string or a list of strings",
        ),
    ] {
        assert_eq!(identity_of(uid, extra).err().as_deref(), Some(want));
    }
}

/// An error in a later rule beats a `false` in an earlier one: all are evaluated first.
#[test]
fn rules_by_expression() {
    let claim_rule = "oidc: error evaluating claim validation expression: ";
    let user_rule = "oidc: error evaluating user info validation rule: ";
    let failed = |stage: &str, expression: &str| {
        Some(format!("{stage}validation expression '{expression}' failed: not so"))
    };
    let rules = |expressions: &[&str]| {
        let rules: Vec<String> = expressions
            .iter()
            .map(|expression| format!(r#"{{"expression":"{expression}","message":"not so"}}"#))
            .collect();
        rules.join(",")
    };
    for (claim_rules, user_rules, want) in [
        (&["claims.number == 1.0"][..], &["user.username == 's'", "'g' in user.groups"][..], None),
        (&["claims.sub == 'x'"], &[], failed(claim_rule, "claims.sub == 'x'")),
        (
            &["false", "claims.hd == 'x'"],
            &[],
            Some(format!(
                "{claim_rule}expression 'claims.hd == 'x'' resulted in error: no such key: hd"
            )),
        ),
        (&[], &["user.uid != ''"], failed(user_rule, "user.uid != ''")),
        (&["false"], &["false"], failed(claim_rule, "false")),
        (
            &[],
            &["user.extra['authentication.kubernetes.io/credential-id'] == ['JTI=t']"],
            None, // rules see the extra that names the token
        ),
    ] {
        let jwt = format!(
            r#""claimMappings":{{"username":{{"claim":"sub","prefix":""}},"groups":{{"claim":"groups","prefix":""}}}},
            "claimValidationRules":[{}],"userValidationRules":[{}]"#,
            rules(claim_rules),
            rules(user_rules)
        );
        let got = identity(&jwt, r#""sub":"s","groups":"g","number":1,"jti":"t""#).err();
        assert_eq!(got, want, "{claim_rules:?} {user_rules:?}");
    }
}
