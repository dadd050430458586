//! Keys: published, exchanged, taken out.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::portal::{PATIENCE, Portal, claims};

#[test]
fn es256_tokens_with_published_keys_that_are_rotated() {
    let files = tempfile::tempdir().unwrap();
    let keys = ["old", "new"].map(|name| {
        let path = files.path().join(name);
        fs::write(&path, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let start = |names: &[&str]| {
        let mut arguments = vec!["--insecure-trust-header", "--issuer", "https://portal.example"];
        arguments.extend(names.iter().flat_map(|name| ["--signing-key-file", *name]));
        Portal::start(&arguments)
    };
    let before = start(&[&keys[0]]);
    let old = before.generate("cooluser", "1h").1;
    drop(before);
    let during = start(&[&keys[1], &keys[0]]);
    let new = during.generate("cooluser", "1h").1;
    let (_, jwks) = during.curl(&["URL/keys"]);
    let jwks: Value = serde_json::from_str(&jwks).unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2, "{jwks}");
    let (_, document) = during.curl(&["URL/.well-known/openid-configuration"]);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["issuer"], "https://portal.example");
    for token in [&old, &new] {
        assert_eq!(during.review("authentication.k8s.io/v1", token).0, 200);
    }
    assert_eq!(claims(&new)["iss"], "https://portal.example");
    drop(during);
    let after = start(&[&keys[1]]);
    assert_eq!(after.review("authentication.k8s.io/v1", &new).0, 200);
    let (status, review) = after.review("authentication.k8s.io/v1", &old);
    assert_eq!(
        (status, review["status"]["error"].as_str()),
        (403, Some("invalid JWT token: signature is invalid"))
    );
}

/// A secret is exchanged, then the old one taken out, while the portal answers.
#[test]
fn keys_are_rotated_without_a_restart() {
    let files = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (first, second) = (
        secret("first", "the-old-secret-which-has-thirty-two-bytes-and-more"),
        secret("second", "the-old-secret-which-has-thirty-two-bytes-and-more"),
    );
    let flags = [
        "--insecure-trust-header",
        "--tokens-per-second=100",
        "--secret-file",
        &first,
        "--secret-file",
        &second,
    ];
    let portal = Portal::start(&flags);
    let old = portal.generate("cooluser", "1h").1;
    // What the kernel has queued for a listener that is closed is reset: a client connects again.
    let post = |path: &str, user: &str, body: &Value| {
        let (url, body) = (format!("URL{path}"), body.to_string());
        let json = "Content-Type: application/json";
        let start = Instant::now();
        loop {
            let (status, text) = portal.curl(&["-H", json, "-H", user, "-d", &body, &url]);
            if status != 0 {
                return (status, text);
            }
            assert!(start.elapsed() < PATIENCE, "{}", portal.log());
        }
    };
    let is_good = |token: &str| {
        let version = "authentication.k8s.io/v1";
        let body = json!({"apiVersion": version, "kind": "TokenReview", "spec": {"token": token}});
        post("/authenticate", "X-Any: a", &body).0 == 200
    };
    let made = || {
        let text = post("/generate", "X-Forwarded-User: cooluser", &json!({"lifetime": "1h"})).1;
        serde_json::from_str::<Value>(&text).ok()?["token"].as_str().map(str::to_owned)
    };
    let wait = |what: &str, ready: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !ready() {
            assert!(start.elapsed() < PATIENCE, "{what}\n{}", portal.log());
            thread::sleep(Duration::from_millis(50));
        }
    };
    let live = |times: usize| {
        wait("a change is live", &|| portal.log().matches("is live").count() >= times);
    };

    // The new one signs; what the old one signed is good.
    secret("first", "the-new-secret-which-has-thirty-two-bytes-and-more");
    live(1);
    wait("the old Envoy ends", &|| portal.admin("/ready").is_none());
    let new = made().unwrap();
    assert!(signed_by("the-new-secret-which-has-thirty-two-bytes-and-more", &new));
    assert!(is_good(&old) && is_good(&new));
    // An empty file is no key: what there was goes on.
    secret("first", "");
    wait("a refusal", &|| {
        portal.log().contains("the secret is empty; the old keys and files go on")
    });
    assert!(is_good(&new));
    // The old one is out.
    secret("first", "the-new-secret-which-has-thirty-two-bytes-and-more");
    secret("second", "the-new-secret-once-more-which-has-thirty-two-bytes-and-more");
    live(2);
    wait("the old token is refused", &|| !is_good(&old));
    assert!(is_good(&new));
}

/// Whether this secret signed a token: a portal with it alone says so.
fn signed_by(secret: &str, token: &str) -> bool {
    use gateway_core::portal_keys::{self as keys, KeyRing};
    let entry = keys::KeyEntry::HS256 {
        id: "s".to_owned(),
        secret: BASE64.encode(secret),
        insecure_short: false,
    };
    let document = serde_json::to_vec(&keys::KeyDocument { keys: vec![entry] }).unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64.decode(signature).unwrap();
    KeyRing::parse(&document).unwrap().verify_hs256(input.as_bytes(), &signature).is_some()
}
