//! Who asks, and from where: believed peers, other sites, names.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// DNS rebinding: an attacker's page under a name that now points here is one of ours to the browser.
#[test]
fn break_in_11_without_tls_only_known_names_are_answered() {
    let named = Settings { hosts: Some(vec!["portal.example".into()]), ..settings() };
    let named = portal(named, &[hs256("secret", "secret")]);
    let status = |portal: &Portal, method: &str, path: &str, host: &str| {
        let mut request = request(method, path, &[JSON, USER]);
        request.authority = host.as_bytes().to_vec();
        answer(portal, &request, r#"{"lifetime": "1h"}"#).0
    };
    for (host, want) in [
        ("portal.example", 200),
        ("PORTAL.example:8080", 200),
        ("portal.example.", 200),
        ("localhost:10003", 200),
        ("127.0.0.1:10003", 200),
        ("10.1.2.3", 200), // a probe's, and no page's but our own
        ("[2001:db8::1]:10003", 200),
        ("evil.example", 421),
        ("evil.example:10003", 421),
        ("portal.example.evil.example", 421),
        ("10.1.2.3.evil.example", 421),
        ("localhost.evil.example", 421),
        ("portal.example:evil", 421),
        ("", 421),
    ] {
        assert_eq!(status(&named, "POST", "/generate", host), want, "{host}");
        assert_eq!(status(&named, "GET", "/healthz", host), 200, "a probe: {host}");
        assert_eq!(status(&kubehook(), "POST", "/generate", host), 200, "with TLS: {host}");
    }
    for path in ["/", "/whoami", "/kubecfg?lifetime=1h"] {
        assert_eq!(status(&named, "GET", path, "evil.example"), 421, "{path}");
        assert_eq!(status(&named, "GET", path, "portal.example"), 200, "{path}");
    }
    let mut request = request("GET", "/", &[]);
    request.authority = b"evil.example".to_vec();
    assert!(answer(&named, &request, "").1.contains("--allowed-host"), "the way out");
}

#[test]
fn a_header_counts_from_a_believed_peer_only() {
    let peer =
        |address: &str, client_certificate| Peer { address: address.into(), client_certificate };
    let network = |text: &str| vec![text.parse().unwrap()];
    for (trust, peer, want) in [
        (TrustedPeers::default(), peer("192.0.2.1", true), 403),
        (
            TrustedPeers { client_certificate: true, ..TrustedPeers::default() },
            peer("192.0.2.1", false),
            403,
        ),
        (
            TrustedPeers { client_certificate: true, ..TrustedPeers::default() },
            peer("192.0.2.1", true),
            200,
        ),
        (
            TrustedPeers { networks: network("192.0.2.0/24"), ..TrustedPeers::default() },
            peer("192.0.2.1", false),
            200,
        ),
        (
            TrustedPeers { networks: network("192.0.2.0/24"), ..TrustedPeers::default() },
            peer("192.0.3.1", false),
            403,
        ),
        (
            TrustedPeers { networks: network("0.0.0.0/0"), ..TrustedPeers::default() },
            peer("", false),
            403,
        ),
        (TrustedPeers { anybody: true, ..TrustedPeers::default() }, peer("", false), 200),
    ] {
        let portal = portal(Settings { trust: trust.clone(), ..settings() }, &[hs256("s", "s")]);
        let mut request = request("POST", "/generate", &[JSON, USER]);
        request.peer = peer;
        let found = answer(&portal, &request, r#"{"lifetime": "1h"}"#);
        assert_eq!(found.0, want, "{trust:?} {request:?}");
    }
}

#[test]
fn what_another_site_sends_is_refused() {
    for (headers, want) in [
        (
            &[USER, JSON, ("origin", "https://portal.example"), ("sec-fetch-site", "same-origin")]
                [..],
            200,
        ),
        (&[USER, ("content-type", "application/json; charset=utf-8")], 200),
        (&[USER, ("content-type", "text/plain")], 403),
        (&[USER, ("content-type", "application/x-www-form-urlencoded")], 403),
        (&[USER], 403),
        (&[USER, JSON, ("content-type", "text/plain")], 403),
        (&[USER, JSON, ("origin", "https://evil.example")], 403),
        (&[USER, JSON, ("origin", "https://portal.example.evil.example")], 403),
        (&[USER, JSON, ("origin", "null")], 403),
        (&[USER, JSON, ("sec-fetch-site", "cross-site")], 403),
        (&[USER, JSON, ("sec-fetch-site", "same-site")], 403),
    ] {
        assert_eq!(generate(&kubehook(), headers, r#"{"lifetime": "1h"}"#).0, want, "{headers:?}");
    }
    let get = request("GET", "/kubecfg?lifetime=1h", &[USER, ("sec-fetch-site", "cross-site")]);
    assert_eq!(answer(&kubehook(), &get, "").0, 403);
}

#[test]
fn every_answer_forbids_what_a_page_could_be_made_to_do() {
    for path in ["/", "/healthz", "/whoami", "/nowhere", "/generate"] {
        let Step::Respond(answer) = ask(&kubehook(), &request("GET", path, &[USER]), b"", None)
        else {
            panic!()
        };
        let header = |name: &str| {
            let mut values = answer.headers.iter().filter(|(known, _)| *known == name);
            let value = values.next().unwrap().1.clone();
            assert!(values.next().is_none(), "{name} once");
            value
        };
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(
            (header("cache-control"), header("x-content-type-options")),
            ("no-store".into(), "nosniff".into())
        );
    }
}
