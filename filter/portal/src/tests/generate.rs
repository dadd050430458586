//! Tokens for a user: bodies, lifetimes, names, rates, the audit line.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn bodies_and_lifetimes_that_are_refused() {
    for (body, status, want) in [
        ("", 400, "cannot parse JSON request body: EOF"),
        ("{", 400, "cannot parse JSON request body"),
        ("[]", 400, "cannot parse JSON request body"),
        ("{}", 400, "must specify desired token lifetime"),
        (r#"{"lifetime": "0"}"#, 400, "must specify desired token lifetime"),
        (r#"{"lifetime": "0s"}"#, 400, "must specify desired token lifetime"),
        (r#"{"lifetime": "-1h"}"#, 400, "must not be negative"),
        (r#"{"lifetime": "1ns"}"#, 400, "at least one second"),
        (r#"{"lifetime": 24}"#, 400, "cannot parse JSON request body"),
        (r#"{"lifetime": null}"#, 400, "cannot parse JSON request body"),
        (r#"{"lifetime": "1d"}"#, 400, "time: unknown unit \"d\""),
        (r#"{"lifetime": "9223372036854775808ns"}"#, 400, "time: invalid duration"),
        (r#"{"lifetime": "99999999999999999999999h"}"#, 400, "time: invalid duration"),
        (
            r#"{"lifetime": "200h"}"#,
            500,
            "cannot generate token: requested JWT lifetime 200h0m0s is greater than maximum allowed lifetime 168h0m0s",
        ),
    ] {
        let (found, body_found) = generate(&kubehook(), &[JSON, USER], body);
        assert_eq!(found, status, "{body}");
        assert!(body_found["error"].as_str().unwrap().contains(want), "{body}: {body_found}");
    }
}

#[test]
fn users_that_are_refused() {
    let long = [JSON, USER, ("x-forwarded-user", "root")];
    for (headers, status, want) in [
        (&[JSON][..], 400, "cannot extract username from header X-Forwarded-User"),
        (&[JSON, ("x-forwarded-user", "")], 400, "cannot extract username"),
        (&long, 400, "header x-forwarded-user is there twice"),
        (&[JSON, ("x-forwarded-user", "system:admin")], 403, "reserved-user"),
        (&[JSON, USER, ("x-forwarded-groups", "dev;system:masters")], 403, "reserved-group"),
        (&[JSON, USER, ("x-forwarded-groups", "dev; system:masters")], 403, "unsafe-value"),
        (&[JSON, ("x-forwarded-user", "a\tb\u{1}")], 403, "unsafe-value"),
    ] {
        let (found, body) = generate(&kubehook(), headers, r#"{"lifetime": "1h"}"#);
        assert_eq!(found, status, "{headers:?}");
        assert!(body["error"].as_str().unwrap().contains(want), "{headers:?}: {body}");
    }
}

#[test]
fn one_user_gets_so_many_tokens_a_second_of_each_portal() {
    let portal = kubehook();
    let memory = Memory::default();
    let now = |name| DecisionContext {
        portal: name,
        time: NOW,
        random: [7; 16],
        secret: [3; 16],
        shared: &memory,
        verifier: &SoftwareVerifier,
    };
    let asked = |name| {
        let request = request("POST", "/generate", &[JSON, USER]);
        match portal.decide(&request, Some(br#"{"lifetime": "1h"}"#), None, &now(name)) {
            Step::Respond(answer) => answer.status,
            step => panic!("{step:?}"),
        }
    };
    for name in ["portal", "another portal of the same proxy"] {
        let statuses: Vec<_> = (0..7).map(|_| asked(name)).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429], "{name}");
    }
}

#[test]
fn an_audit_line_names_everything_but_the_token() {
    let request = request("POST", "/generate", &[JSON, USER]);
    let Step::Respond(answer) = ask(&kubehook(), &request, br#"{"lifetime": "1h"}"#, None) else {
        panic!()
    };
    let audit: Value = serde_json::from_str(&answer.audit.unwrap()).unwrap();
    let want = json!({"event": "issued", "user": "cooluser", "groups": [], "by": "header", "key": "secret",
        "jti": BASE64.encode([7; 16]), "lifetimeSeconds": 3600});
    assert_eq!(audit, want);
}
