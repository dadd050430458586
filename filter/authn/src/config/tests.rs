//! Decoding and validation, rule by rule. The expected texts were taken from k8s.io/apiserver v0.36.3.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GOOD: &str = r#"{"issuer":{"url":"https://a","audiences":["x"]},"claimMappings":{"username":{"claim":"sub","prefix":""}}}"#;

fn load_text(file: &str) -> Result<AuthenticationConfiguration, String> {
    load(file.as_bytes(), &LoadOptions::default()).map_err(|error| error.to_string())
}

fn file(rest: &str) -> String {
    format!(
        r#"{{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration",{rest}}}"#
    )
}

/// The errors of a file whose one authenticator is `jwt`, without `jwt[0]`.
fn errors_of(jwt: &str) -> Vec<String> {
    match load(file(&format!(r#""jwt":[{jwt}]"#)).as_bytes(), &LoadOptions::default()) {
        Ok(_) => Vec::new(),
        Err(errors) => {
            errors.iter().map(|error| error.to_string().replacen("jwt[0].", "", 1)).collect()
        }
    }
}

#[test]
fn decoding() {
    let missing = |what: &str, file: &str| format!("Object '{what}' is missing in '{file}'");
    let unknown = |kind: &str, version: &str| {
        format!(
            r#"no kind "{kind}" is registered for version "{version}", only AuthenticationConfiguration of apiserver.config.k8s.io/v1, v1beta1 and v1alpha1"#
        )
    };
    let parse = "couldn't get version/kind; json parse error: ";
    let kind = r#""kind":"AuthenticationConfiguration""#;
    for (file, want) in [
        (String::new(), "empty config data".to_owned()),
        ("{".to_owned(), format!("{parse}unexpected end of JSON input")),
        ("{}".to_owned(), missing("Kind", "{}")),
        ("null".to_owned(), missing("Kind", "null")),
        (format!("{{{kind}}}"), missing("apiVersion", &format!("{{{kind}}}"))),
        (
            format!(r#"{{"apiVersion":"apiserver.config.k8s.io/v2",{kind}}}"#),
            unknown("AuthenticationConfiguration", "apiserver.config.k8s.io/v2"),
        ),
        (format!(r#"{{"apiVersion":"v1",{kind}}}"#), unknown("AuthenticationConfiguration", "v1")),
        (
            r#"{"apiVersion":"apiserver.config.k8s.io/v1","kind":"Foo"}"#.to_owned(),
            unknown("Foo", "apiserver.config.k8s.io/v1"),
        ),
        (
            format!(r#"{{"apiVersion":"a/b/c",{kind}}}"#),
            "unexpected GroupVersion string: a/b/c".to_owned(),
        ),
        (
            r#"{"kind":1}"#.to_owned(),
            format!(
                "{parse}json: cannot unmarshal number into Go struct field .kind of type string"
            ),
        ),
        (
            // Kind and version are looked for in any case, the fields are not.
            r#"{"APIVersion":"apiserver.config.k8s.io/v1","Kind":"AuthenticationConfiguration"}"#
                .to_owned(),
            r#"strict decoding error: unknown field "APIVersion", unknown field "Kind""#.to_owned(),
        ),
    ] {
        assert_eq!(load_text(&file).err(), Some(want), "{file}");
    }
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let file = format!(
            r#"{{"apiVersion":"apiserver.config.k8s.io/{version}",{kind},"jwt":[{GOOD}]}}"#
        );
        assert!(load_text(&file).is_ok(), "{version}");
    }
}

#[test]
fn fields_are_strict() {
    let types = |got: &str, field: &str, go_type: &str| {
        Some(format!("json: cannot unmarshal {got} into Go struct field {field} of type {go_type}"))
    };
    let strict = |what: &str| Some(format!("strict decoding error: {what}"));
    for (rest, want) in [
        (r#""jwt":null,"anonymous":null"#, None),
        (r#""jwt":[]"#, None),
        (
            r#""jwt":{}"#,
            types("object", "AuthenticationConfiguration.jwt", "[]v1.JWTAuthenticator"),
        ),
        (r#""jwt":[1]"#, types("number", "AuthenticationConfiguration.jwt", "v1.JWTAuthenticator")),
        (r#""jwt":[{"issuer":"a"}]"#, types("string", "JWTAuthenticator.jwt.issuer", "v1.Issuer")),
        (r#""jwt":[{"issuer":{"url":1}}]"#, types("number", "Issuer.jwt.issuer.url", "string")),
        (
            r#""jwt":[{"issuer":{"audiences":[true]}}]"#,
            types("bool", "Issuer.jwt.issuer.audiences", "string"),
        ),
        (
            r#""jwt":[{"issuer":{"audienceMatchPolicy":1}}]"#,
            types("number", "Issuer.jwt.issuer.audienceMatchPolicy", "v1.AudienceMatchPolicyType"),
        ),
        (
            r#""jwt":[{"issuer":{"egressSelectorType":[]}}]"#,
            types("array", "Issuer.jwt.issuer.egressSelectorType", "v1.EgressSelectorType"),
        ),
        (
            r#""anonymous":{"enabled":"yes"}"#,
            types("string", "AnonymousAuthConfig.anonymous.enabled", "bool"),
        ),
        (
            r#""anonymous":1"#,
            types("number", "AuthenticationConfiguration.anonymous", "v1.AnonymousAuthConfig"),
        ),
        (
            // A wrong type hides what is merely strict, and only the first one is told.
            r#""foo":1,"jwt":[{"bar":1,"issuer":1,"claimMappings":1}]"#,
            types("number", "JWTAuthenticator.jwt.issuer", "v1.Issuer"),
        ),
        (r#""foo":1"#, strict(r#"unknown field "foo""#)),
        (r#""JWT":[]"#, strict(r#"unknown field "JWT""#)),
        (r#""jwt":[{},{"issuer":{"URL":"a"}}]"#, strict(r#"unknown field "jwt[1].issuer.URL""#)),
        (r#""jwt":[],"jwt":[]"#, strict(r#"duplicate field "jwt""#)),
        (
            r#""jwt":[{"claimMappings":{"extra":[{"key":"a","key":"b","x":1}]}}]"#,
            strict(
                r#"duplicate field "jwt[0].claimMappings.extra[0].key", unknown field "jwt[0].claimMappings.extra[0].x""#,
            ),
        ),
        (r#""a":1,"a":2,"a\"":3"#, strict(r#"unknown field "a", unknown field "a\"""#)), // each once
    ] {
        assert_eq!(load_text(&file(rest)).err(), want, "{rest}");
    }
}

#[test]
fn issuers() {
    let invalid = |field: &str, value: &str, detail: &str| {
        format!(r#"issuer.{field}: Invalid value: "{value}": {detail}"#)
    };
    let https = |value: &str| invalid("url", value, "URL scheme must be https");
    for (issuer, want) in [
        (r#""url":"https://a","audiences":["x"]"#, vec![]),
        (r#""url":"https://a?","audiences":["x"]"#, vec![]), // an empty query is none
        (r#""url":"https://a#","audiences":["x"]"#, vec![]),
        (r#""url":"HTTPS://a","audiences":["x"]"#, vec![]),
        (r#""url":"https:opaque","audiences":["x"]"#, vec![]), // upstream does not look for a host
        (r#""audiences":["x"]"#, vec!["issuer.url: Required value".to_owned()]),
        (r#""url":"http://a","audiences":["x"]"#, vec![https("http://a")]),
        (r#""url":"a","audiences":["x"]"#, vec![https("a")]),
        (
            r#""url":"http://u:p@a?b#c","audiences":["x"]"#,
            vec![
                https("http://u:p@a?b#c"),
                invalid("url", "http://u:p@a?b#c", "URL must not contain a username or password"),
                invalid("url", "http://u:p@a?b#c", "URL must not contain a query"),
                invalid("url", "http://u:p@a?b#c", "URL must not contain a fragment"),
            ],
        ),
        (
            r#""url":"https://a:b","audiences":["x"]"#,
            vec![invalid(
                "url",
                "https://a:b",
                r#"parse "https://a:b": invalid port ":b" after host"#,
            )],
        ),
        (
            r#""url":"https://a","discoveryURL":"https://a//","audiences":["x"]"#,
            vec![invalid("discoveryURL", "https://a//", "discoveryURL must be different from URL")],
        ),
        (
            r#""url":"https://a","discoveryURL":"http://a","audiences":["x"]"#,
            vec![invalid("discoveryURL", "http://a", "URL scheme must be https")],
        ),
        (r#""url":"https://a","discoveryURL":"","audiences":["x"]"#, vec![]),
        (
            r#""url":"https://a""#,
            vec![
                "issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required"
                    .to_owned(),
            ],
        ),
        (
            r#""url":"https://a","audiences":["x","","x"],"audienceMatchPolicy":"MatchAny""#,
            vec![
                "issuer.audiences[1]: Required value".to_owned(),
                r#"issuer.audiences[2]: Duplicate value: "x""#.to_owned(),
            ],
        ),
        (
            r#""url":"https://a","audiences":["x","y"]"#,
            vec![invalid(
                "audienceMatchPolicy",
                "",
                "audienceMatchPolicy must be MatchAny for multiple audiences",
            )],
        ),
        (
            r#""url":"https://a","audiences":["x"],"audienceMatchPolicy":"MatchAll""#,
            vec![invalid(
                "audienceMatchPolicy",
                "MatchAll",
                "audienceMatchPolicy must be empty or MatchAny for single audience",
            )],
        ),
        (
            r#""url":"https://a","audiences":["x"],"egressSelectorType":"etcd""#,
            vec![invalid(
                "egressSelectorType",
                "etcd",
                "egress selector must be either controlplane or cluster",
            )],
        ),
        (
            r#""url":"https://a","audiences":["x"],"certificateAuthority":"a""#,
            vec![invalid(
                "certificateAuthority",
                "<omitted>",
                "data does not contain any valid RSA or ECDSA certificates",
            )],
        ),
    ] {
        let jwt = format!(
            r#"{{"issuer":{{{issuer}}},"claimMappings":{{"username":{{"claim":"sub","prefix":""}}}}}}"#
        );
        assert_eq!(errors_of(&jwt), want, "{issuer}");
    }
}

#[test]
fn issuers_are_unique_and_not_the_clusters_own() {
    let with = |(url, discovery): (&str, &str)| {
        let urls = format!(r#""url":"{url}","discoveryURL":"{discovery}""#);
        GOOD.replace(r#""url":"https://a""#, &urls)
    };
    for (first, second, want) in [
        (
            ("https://a", ""),
            ("https://a", ""),
            Some(r#"jwt[1].issuer.url: Duplicate value: "https://a""#),
        ),
        (("https://a", ""), ("https://a/", ""), None), // compared as they are
        (
            ("https://a", "https://c"),
            ("https://b", "https://c"),
            Some(r#"jwt[1].issuer.discoveryURL: Duplicate value: "https://c""#),
        ),
        (("https://a", "https://b"), ("https://b", ""), None),
    ] {
        let jwt = format!(r#""jwt":[{},{}]"#, with(first), with(second));
        assert_eq!(load_text(&file(&jwt)).err().as_deref(), want, "{jwt}");
    }
    let disallowed_issuers = ["https://z", "https://a", "https://z"].map(str::to_owned).to_vec();
    let options = LoadOptions { disallowed_issuers, ..LoadOptions::default() };
    let loaded = load(file(&format!(r#""jwt":[{GOOD}]"#)).as_bytes(), &options);
    let want = r#"jwt[0].issuer.url: Invalid value: "https://a": URL must not overlap with disallowed issuers: [https://a https://z]"#;
    assert_eq!(loaded.map_err(|error| error.to_string()).err().as_deref(), Some(want));
}

#[test]
fn mappings() {
    let prefix = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
    let not_verified = |expression: &str| {
        format!(
            r#"username.expression: Invalid value: "{expression}": claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"#
        )
    };
    let username = r#""username":{"claim":"sub","prefix":""}"#;
    for (mappings, want) in [
        (username.to_owned(), vec![]),
        (
            String::new(),
            vec!["username: Required value: claim or expression is required".to_owned()],
        ),
        (
            r#""username":{"claim":"a","expression":"b"}"#.to_owned(),
            vec![r#"username: Invalid value: "": claim and expression can't both be set"#.to_owned()],
        ),
        (
            r#""username":{"claim":"a"}"#.to_owned(),
            vec![format!("username.prefix: Required value: {prefix}")],
        ),
        (
            r#""username":{"expression":"claims.sub","prefix":""}"#.to_owned(),
            vec![
                r#"username.prefix: Invalid value: "": may not be specified when expression is set"#
                    .to_owned(),
            ],
        ),
        (
            format!(r#"{username},"groups":{{"claim":"a"}}"#),
            vec![format!("groups.prefix: Required value: {prefix}")],
        ),
        (format!(r#"{username},"groups":{{"prefix":"a"}}"#), vec![]), // accepted, and ignored
        (
            format!(r#"{username},"uid":{{"claim":"a","expression":"b"}}"#),
            vec![r#"uid: Invalid value: "": claim and expression can't both be set"#.to_owned()],
        ),
        (r#""username":{"expression":"claims.sub"}"#.to_owned(), vec![]),
        (
            r#""username":{"expression":"claims.email"}"#.to_owned(),
            vec![not_verified("claims.email")],
        ),
        (
            r#""username":{"expression":"claims.?email.orValue('')"}"#.to_owned(),
            vec![not_verified("claims.?email.orValue('')")],
        ),
        // An index is no selection.
        (r#""username":{"expression":"claims['email']"}"#.to_owned(), vec![]),
        (
            r#""username":{"expression":"claims.email_verified == true ? claims.email : ''"}"#
                .to_owned(),
            vec![],
        ),
        (
            r#""username":{"expression":"claims.email"},"extra":[{"key":"a.b/c","valueExpression":"string(claims.email_verified)"}]"#.to_owned(),
            vec![],
        ),
        (
            // In the groups it does not count.
            r#""username":{"expression":"claims.email"},"groups":{"expression":"claims.email_verified ? ['a'] : []"}"#.to_owned(),
            vec![not_verified("claims.email")],
        ),
        (
            r#""username":{"expression":"int('a')"}"#.to_owned(),
            vec!["username.expression: Internal error: program instantiation failed: type conversion error from 'string' to 'int'".to_owned()],
        ),
        (
            format!(
                r#"{username},"extra":[{{"key":"a.b/c","valueExpression":"'x'"}},{{"key":"a.b/c","valueExpression":"bad("}},{{"key":"a.b/d"}}]"#
            ),
            vec![
                r#"extra[1].key: Duplicate value: "a.b/c""#.to_owned(), // its expression is not looked at
                "extra[2].valueExpression: Required value".to_owned(),
            ],
        ),
    ] {
        let jwt = format!(
            r#"{{"issuer":{{"url":"https://a","audiences":["x"]}},"claimMappings":{{{mappings}}}}}"#
        );
        let want: Vec<String> =
            want.into_iter().map(|error| format!("claimMappings.{error}")).collect();
        assert_eq!(errors_of(&jwt), want, "{mappings}");
    }
}

#[test]
fn rules() {
    let claims = "claimValidationRules";
    let user = "userValidationRules";
    let not_bool = |expression: &str| {
        vec![format!(r#"[0].expression: Invalid value: "{expression}": must evaluate to bool"#)]
    };
    let owned = |errors: &[&str]| errors.iter().map(|&error| error.to_owned()).collect();
    for (field, rules, want) in [
        (claims, r#"{"claim":"hd","requiredValue":"x"},{"claim":"b"}"#, vec![]),
        (claims, "{}", owned(&["[0]: Required value: claim or expression is required"])),
        (
            claims,
            r#"{"claim":"a","expression":"true"}"#,
            owned(&[r#"[0]: Invalid value: "a": claim and expression can't both be set"#]),
        ),
        (
            claims,
            r#"{"claim":"a","message":"m"},{"claim":"a"}"#,
            owned(&[
                r#"[0].message: Invalid value: "m": may not be specified when claim is set"#,
                r#"[1].claim: Duplicate value: "a""#,
            ]),
        ),
        (
            claims,
            r#"{"expression":"true","requiredValue":"v"},{"expression":"true"}"#,
            owned(&[
                r#"[0].requiredValue: Invalid value: "v": may not be specified when expression is set"#,
                r#"[1].expression: Duplicate value: "true""#,
            ]),
        ),
        (claims, r#"{"expression":"claims.hd == 'x'","message":"m"}"#, vec![]),
        (claims, r#"{"expression":"claims.email_verified"}"#, not_bool("claims.email_verified")),
        (claims, r#"{"expression":"dyn(true)"}"#, not_bool("dyn(true)")),
        (claims, r#"{"expression":"'a'"}"#, not_bool("'a'")),
        (user, r#"{"expression":"!user.username.startsWith('system:')"}"#, vec![]),
        (user, r#"{"message":"m"}"#, owned(&["[0].expression: Required value"])),
        (
            user,
            r#"{"expression":"user.uid == ''"},{"expression":"user.uid == ''"}"#,
            owned(&[r#"[1].expression: Duplicate value: "user.uid == ''""#]),
        ),
        (user, r#"{"expression":"user.username"}"#, not_bool("user.username")),
    ] {
        let jwt = GOOD.replacen('{', &format!(r#"{{"{field}":[{rules}],"#), 1);
        let want: Vec<String> = want.into_iter().map(|error| format!("{field}{error}")).collect();
        assert_eq!(errors_of(&jwt), want, "{rules}");
    }
    for (field, expression) in [(claims, "user.username == ''"), (user, "claims.a == ''")] {
        let rule = format!(r#"{{"{field}":[{{"expression":"{expression}"}}],"#);
        let errors = errors_of(&GOOD.replacen('{', &rule, 1));
        let want = format!(
            r#"{field}[0].expression: Invalid value: "{expression}": compilation failed: "#
        );
        assert!(matches!(errors.as_slice(), [only] if only.starts_with(&want)), "{errors:?}");
    }
}

#[test]
fn errors_are_aggregated_in_order() {
    let jwt = r#"{"userValidationRules":[{}],"claimMappings":{},"claimValidationRules":[{}],"issuer":{"certificateAuthority":"a"}}"#;
    let want = [
        "issuer.url: Required value",
        "issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
        r#"issuer.certificateAuthority: Invalid value: "<omitted>": data does not contain any valid RSA or ECDSA certificates"#,
        "claimValidationRules[0]: Required value: claim or expression is required",
        "claimMappings.username: Required value: claim or expression is required",
        "userValidationRules[0].expression: Required value",
    ];
    assert_eq!(errors_of(jwt), want);
    let text = load_text(&file(&format!(r#""jwt":[{jwt}]"#))).expect_err("invalid");
    let want: Vec<String> = want.iter().map(|error| format!("jwt[0].{error}")).collect();
    assert_eq!(text, format!("[{}]", want.join(", ")));
}

/// Beyond the limit nothing else is looked at.
#[test]
fn too_many_authenticators() {
    let list = |count: usize| file(&format!(r#""jwt":[{}]"#, vec!["{}"; count].join(",")));
    let text = load_text(&list(65)).expect_err("too many");
    assert_eq!(text, "jwt: Too many: 65: must have at most 64 items");
    let text = load_text(&list(64)).expect_err("invalid");
    assert!(text.starts_with("[jwt[0].issuer.url: Required value, "), "{text}");
}

#[test]
fn anonymous() {
    let loaded = load_text(&file(r#""anonymous":{"enabled":true,"conditions":[{"path":"/a"}]}"#));
    let anonymous = loaded.expect("a valid file").anonymous().clone();
    assert_eq!((anonymous.is_enabled(), anonymous.paths()), (true, &["/a".to_owned()][..]));
    let disabled = r#""anonymous":{"conditions":[{"path":"/a<b"}]}"#;
    let want = r#"anonymous.conditions: Invalid value: [{"Path":"/a\u003cb"}]: enabled should be set to true when conditions are defined"#;
    assert_eq!(load_text(&file(disabled)).err().as_deref(), Some(want));
}

#[test]
fn what_has_no_effect_is_told() {
    let jwt = GOOD.replace(r#""url""#, r#""egressSelectorType":"cluster","url""#);
    let loaded = load_text(&file(&format!(r#""jwt":[{jwt}]"#))).expect("a valid file");
    let warnings: Vec<String> = loaded.warnings().iter().map(ToString::to_string).collect();
    let want = r#"jwt[0].issuer.egressSelectorType: egress selector "cluster" is ignored"#;
    assert_eq!(warnings, [want]);
}

/// The content that programs hand on means the same file.
#[test]
fn raw_content_survives() {
    let text = file(&format!(
        r#""jwt":[{}],"anonymous":{{"enabled":true,"conditions":[{{"path":"/a"}}]}}"#,
        GOOD.replace(r#""url""#, r#""discoveryURL":"https://b","certificateAuthority":"","url""#)
    ));
    let loaded = load_text(&text).expect("a valid file");
    let written = serde_json::to_vec(loaded.raw()).expect("JSON");
    let again = load(&written, &LoadOptions::default()).expect("a valid file");
    assert_eq!(again.raw(), loaded.raw());
}

#[test]
fn discovery_urls() {
    for (urls, want) in [
        (r#""url":"https://a""#, "https://a/.well-known/openid-configuration"),
        (r#""url":"https://a/","discoveryURL":"""#, "https://a/.well-known/openid-configuration"),
        (r#""url":"https://a","discoveryURL":"https://b/c""#, "https://b/c"), // exactly this
    ] {
        let jwt = GOOD.replace(r#""url":"https://a""#, urls);
        let loaded = load_text(&file(&format!(r#""jwt":[{jwt}]"#))).expect("a valid file");
        let authenticator = loaded.jwt().first().expect("an authenticator");
        assert_eq!(authenticator.discovery_url(), want);
    }
}
