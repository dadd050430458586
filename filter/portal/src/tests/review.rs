//! The TokenReview webhook.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// The answer in kubehook's documentation, byte for byte.
#[test]
fn a_review_is_answered_as_documented() {
    let review = |version: &str| {
        let review =
            json!({"apiVersion": version, "kind": "TokenReview", "spec": {"token": KUBEHOOKS}});
        answer(&kubehook(), &request("POST", "/authenticate", &[JSON]), &review.to_string())
    };
    for version in ["authentication.k8s.io/v1beta1", "authentication.k8s.io/v1"] {
        let want = format!(
            "{{\"kind\":\"TokenReview\",\"apiVersion\":\"{version}\",\"metadata\":{{\"creationTimestamp\":\"2017-12-11T08:00:14Z\"}},\
             \"spec\":{{}},\"status\":{{\"authenticated\":true,\"user\":{{\"username\":\"cooluser\",\"uid\":\"github.com/negz/kubehook/cooluser\"}}}}}}\n"
        );
        assert_eq!(review(version), (200, want));
    }
}

#[test]
fn reviews_that_are_refused() {
    let good = |token: &str| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let tampered = KUBEHOOKS.replace(".ylx", ".zlx");
    let foreign = made(&portal(settings(), &[hs256("other", "other")]), &[USER], "1h");
    let masters = made(
        &portal(
            Settings { allow_reserved_groups: vec!["system:masters".into()], ..settings() },
            &[hs256("secret", "secret")],
        ),
        &[USER, ("x-forwarded-groups", "system:masters")],
        "1h",
    );
    for (body, status, want) in [
        (json!({"apiVersion": "v2", "kind": "TokenReview"}), 400, "unsupported API version v2"),
        (json!({"apiVersion": "authentication.k8s.io/v1", "kind": "X"}), 400, "unsupported Kind X"),
        (good(""), 400, "missing token"),
        (json!([1]), 400, "cannot parse token request"),
        (good("a.b"), 403, "malformed"),
        (good(&tampered), 403, "signature is invalid"),
        (good(&foreign), 403, "signature is invalid"),
        (good(&masters), 403, "reserved-group"),
    ] {
        let found =
            answer(&kubehook(), &request("POST", "/authenticate", &[JSON]), &body.to_string());
        assert_eq!(found.0, status, "{body}");
        let found: Value = serde_json::from_str(&found.1).unwrap();
        assert!(found["status"]["error"].as_str().unwrap().contains(want), "{found}");
        assert_eq!(found["status"]["authenticated"], Value::Null);
    }
}

#[test]
fn audiences_are_named_only_if_they_are_the_tokens() {
    let review = |audiences: Value| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": KUBEHOOKS, "audiences": audiences}});
        let found =
            answer(&kubehook(), &request("POST", "/authenticate", &[JSON]), &review.to_string());
        serde_json::from_str::<Value>(&found.1).unwrap()["status"]["audiences"].clone()
    };
    assert_eq!(review(json!(["x", AUDIENCE])), json!([AUDIENCE]));
    assert_eq!(review(json!(["x"])), Value::Null);
}

#[test]
fn a_foreign_token_in_a_review_goes_to_the_filter() {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "a.b.c"}});
    let review = review.to_string();
    let request = request("POST", "/authenticate", &[JSON]);
    assert!(matches!(ask(&with_login(), &request, review.as_bytes(), None), Step::Identify { .. }));
    // It becomes a header, in which a line end would begin another one.
    for token in ["a.b.c\r\nx: y", "a.b.c\n", "a b", "\t", "\u{e9}", "\0"] {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        let step = ask(&with_login(), &request, review.to_string().as_bytes(), None);
        assert!(matches!(step, Step::Respond(answer) if answer.status == 403), "{token:?}");
    }
    let record = gateway_core::record::record(
        "https://i",
        &Identity { username: "jane".into(), ..Identity::default() },
        None,
    );
    for (status, record, want) in [
        (200, Some(record.as_bytes()), 200),
        (401, None, 403),
        (403, None, 403),
        (503, None, 503),
        (200, None, 503),
    ] {
        let identified = Identified::read(status, record);
        let Step::Respond(answer) =
            ask(&with_login(), &request, review.as_bytes(), Some(&identified))
        else {
            panic!()
        };
        assert_eq!(answer.status, want);
    }
}
