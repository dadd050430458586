//! Tokens of a login.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn a_login_gives_a_token_that_ends_with_it() {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let login =
        format!("{}.{}.x", part(&json!({"alg": "RS256"})), part(&json!({"exp": 1_512_979_314})));
    let jane =
        Identity { username: "jane".into(), groups: vec!["dev".into()], ..Identity::default() };
    let known = Identified::As(jane, Origin::default());
    let body = br#"{"lifetime": "24h"}"#;
    for headers in [
        [JSON, ("authorization", &format!("Bearer {login}"))],
        [JSON, ("cookie", &format!("a=b; IdToken={login}"))],
    ] {
        let request = request("POST", "/generate", &headers);
        let step = ask(&with_login(), &request, body, None);
        assert!(matches!(step, Step::Identify { token } if token == login));
        let Step::Respond(answer) = ask(&with_login(), &request, body, Some(&known)) else {
            panic!()
        };
        let found: Value = serde_json::from_slice(&answer.body).unwrap();
        let found = claims(found["token"].as_str().unwrap());
        assert_eq!((&found["sub"], &found["exp"]), (&json!("jane"), &json!(1_512_979_314)));
        for (identified, want) in [(Identified::No, 401), (Identified::Unknown, 503)] {
            let Step::Respond(answer) = ask(&with_login(), &request, body, Some(&identified))
            else {
                panic!()
            };
            assert_eq!(answer.status, want);
        }
    }
    let both = request("POST", "/generate", &[JSON, USER, ("authorization", "Bearer x")]);
    assert!(
        matches!(ask(&with_login(), &both, body, None), Step::Respond(answer) if answer.status == 400)
    );
}

/// Else whoever once had a token of the portal's had one for ever.
#[test]
fn a_login_can_be_outlived_but_a_portals_own_token_never() {
    let portal = with_login_of(true);
    let jane = Identity { username: "jane".into(), ..Identity::default() };
    let known = Identified::As(jane, Origin::default());
    let part = |value: &Value| BASE64.encode(value.to_string());
    let end = json!({"exp": 1_512_979_314});
    for (algorithm, outlived) in [("RS256", true), ("ES256", true), ("HS256", false)] {
        let login = format!("{}.{}.x", part(&json!({"alg": algorithm})), part(&end));
        let headers = [JSON, ("authorization", &format!("Bearer {login}"))];
        let request = request("POST", "/generate", &headers);
        let Step::Respond(answer) = ask(&portal, &request, br#"{"lifetime": "24h"}"#, Some(&known))
        else {
            panic!()
        };
        let found: Value = serde_json::from_slice(&answer.body).unwrap();
        let found = claims(found["token"].as_str().unwrap());
        assert_eq!(found["exp"] != end["exp"], outlived, "{algorithm}");
    }
}
