//! Pages of other origins (CORS), beside a kube-apiserver with the same expressions in `--cors-allowed-origins`.

use sandbox::Cluster;
use serde_json::json;

use crate::{
    modes::Settings,
    wire::{Answer, Ask, Door, Version},
};

const EXPRESSIONS: [&str; 2] = ["^https://page[.]example(:[0-9]+)?$", "(?i)//app[.]example(:|$)"];

/// What an answer says to a browser. kube-apiserver lets pages use what the browser has for it; the gateway does not.
fn said(answer: &Answer) -> Vec<Option<&str>> {
    ["origin", "methods", "headers"]
        .iter()
        .map(|name| answer.header(&format!("access-control-allow-{name}")))
        .chain([answer.header("access-control-expose-headers")])
        .collect()
}

fn repeated(answer: &Answer) -> bool {
    let names = answer.headers.iter().filter(|(name, _)| name == "access-control-allow-origin");
    names.count() > 1
}

#[test]
fn pages_may_what_they_may_at_kube_apiserver() {
    let there = Cluster::builder()
        .apiserver_arguments([format!("--cors-allowed-origins={}", EXPRESSIONS.join(","))])
        .start()
        .unwrap();
    let door = Door::of(there.port(), there.ca());
    let here = Settings::new("cors", json!({"corsAllowedOrigins": EXPRESSIONS})).start();
    let token = here.token().mint();
    here.whoami_at_last(&token, &[]);
    let bad = here.token().claim("groups", ["system:nodes"]).mint();
    let asked = [
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "authorization"),
    ];
    for version in Version::ALL {
        for (origin, allowed) in [
            ("https://page.example", true),
            ("https://page.example:8443", true),
            ("http://APP.example", true),
            ("https://page.example.evil", false),
            ("https://evil", false),
            ("null", false),
        ] {
            for (method, headers) in [("OPTIONS", &asked[..]), ("OPTIONS", &[]), ("GET", &[])] {
                let ask = Ask::new(method, "/api/v1/pods").header("origin", origin);
                let ask = ask.headers(headers.iter().copied());
                let (want, got) =
                    (ask.send(door, version).unwrap(), ask.send(&here.gateway, version).unwrap());
                let case = format!("{version:?} {method} {headers:?} {origin}: {want:?} {got:?}");
                assert_eq!(said(&got), said(&want), "{case}");
                assert_eq!(said(&got)[0].is_some(), allowed, "{case}");
                assert!(got.header("access-control-allow-credentials").is_none(), "{case}");
                let preflight = allowed && method == "OPTIONS";
                assert_eq!(
                    (want.status == 204, got.status == 204),
                    (preflight, preflight),
                    "{case}"
                );
                assert!(!repeated(&got), "{case}");
            }
        }
        // Whoever answers: kube-apiserver, and the gateway's refusals.
        for (token, status) in [(&token, 200), (&bad, 403), (&"x".to_owned(), 401)] {
            let ask = Ask::version().bearer(token).header("origin", "https://page.example");
            let got = ask.send(&here.gateway, version).unwrap();
            assert_eq!(
                (got.status, said(&got)[0]),
                (status, Some("https://page.example")),
                "{got:?}"
            );
            assert!(!repeated(&got) && got.header("access-control-allow-credentials").is_none());
        }
    }
    // Without a page nothing is said.
    let got = Ask::version().bearer(&token).send(&here.gateway, Version::H2).unwrap();
    assert_eq!((got.status, said(&got)), (200, vec![None; 4]));
}
