//! What is sent to do harm.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::Value;

use crate::portal::Portal;

#[test]
fn attacks() {
    let portal = Portal::start(&[
        "--insecure-trust-header",
        "--max-lifetime",
        "1h",
        "--tokens-per-second",
        "1",
    ]);
    let (address, json) = (portal.address, "Content-Type: application/json\r\n");
    let post = |headers: &str, body: &str| {
        let length = body.len();
        portal.raw(
            format!("POST /generate HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
                .as_bytes(),
        )
    };
    let good = r#"{"lifetime": "1h"}"#;
    let user = "X-Forwarded-User: cooluser\r\n";
    for (headers, body, want) in [
        (format!("{json}{user}"), good, "200"),
        (format!("{json}{user}X-Forwarded-User: root\r\n"), good, "400"),
        (format!("{json}{user}x-forwarded-user: root\r\n"), good, "400"),
        (format!("{json}X-Forwarded-User: a\x01b\r\n"), good, "400"),
        (format!("{json}X-Forwarded-User: system:admin\r\n"), good, "403"),
        (format!("{json}{user}X-Forwarded-Groups: dev;system:masters\r\n"), good, "403"),
        (format!("{json}X_Forwarded_User: cooluser\r\n"), good, "400"),
        (json.to_owned(), good, "400"),
        (format!("{json}{user}"), r#"{"lifetime": "2h"}"#, "500"),
        (format!("{json}{user}"), r#"{"lifetime": "0"}"#, "400"),
        (format!("{json}{user}"), r#"{"lifetime": "-1h"}"#, "400"),
        (format!("{json}{user}"), r#"{"lifetime": "9223372036854775808ns"}"#, "400"),
        (format!("{json}{user}"), r#"{"lifetime": 3600}"#, "400"),
        (format!("{json}{user}"), "{", "400"),
        (
            format!("Content-Type: application/x-www-form-urlencoded\r\n{user}"),
            "lifetime=1h",
            "403",
        ),
        (format!("{json}{user}Origin: https://evil.example\r\n"), good, "403"),
        (format!("{json}{user}Sec-Fetch-Site: cross-site\r\n"), good, "403"),
    ] {
        let answer = post(&headers, body);
        let (_, status) =
            answer.split_once(' ').unwrap_or_else(|| panic!("{headers} {body}: {answer}"));
        assert!(status.starts_with(want), "{headers} {body}: {answer}");
    }
    let large = post(&format!("{json}{user}"), &" ".repeat(10 << 20));
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");

    let none = format!(
        "{}.{}.",
        BASE64.encode(r#"{"alg":"none"}"#),
        BASE64.encode(r#"{"sub":"root","aud":"github.com/planetlabs/kubehook"}"#)
    );
    let other = Portal::start(&["--insecure-trust-header", "--audience", "other"]);
    let elsewhere = other.generate("cooluser", "1h").1;
    for (token, want) in [
        (none, "signing method"),
        (elsewhere, "invalid JWT audience other"),
        ("x".to_owned(), "malformed"),
    ] {
        let (status, review) = portal.review("authentication.k8s.io/v1", &token);
        assert_eq!((status, &review["status"]["authenticated"]), (403, &Value::Null));
        assert!(review["status"]["error"].as_str().unwrap().contains(want), "{review}");
    }
    // One user's rate, over both workers.
    let limited = (0..12).filter(|_| portal.generate("greedy", "1h").0 == 429).count();
    assert!(limited > 0, "no limit");
    // The portal is as well as before.
    assert_eq!(portal.curl(&["URL/healthz"]).0, 200);
}
