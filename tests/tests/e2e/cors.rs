//! Pages of other origins (CORS), beside a kube-apiserver with the same expressions in `--cors-allowed-origins`.

use std::time::Duration;

use sandbox::Cluster;
use serde_json::{Value, json};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::{
    modes::Settings,
    wire::{Answer, Ask, Door, Version},
};

/// One of whose pages [`allowing_a_page`] speaks.
const PAGE: &str = "https://page.example";

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

/// This configuration of a gateway, with pages that may use it.
pub fn allowing_a_page(mut configuration: Value) -> Value {
    configuration["corsAllowedOrigins"] = json!(EXPRESSIONS);
    configuration
}

/// A page may use what is there, whoever answers, and another may not: for a gateway in other hands than the program's.
pub fn assert_a_page_may(server: &str, ca: &str, token: &str) {
    let ca = Certificate::from_pem(ca.as_bytes()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[ca])).build();
    let config = Agent::config_builder().tls_config(tls).http_status_as_error(false);
    let agent: Agent = config.timeout_global(Some(Duration::from_secs(20))).build().into();
    for (origin, allowed) in [(PAGE, Some(PAGE)), ("https://evil.example", None)] {
        let url = format!("{server}/version");
        let get = |token: &str| {
            let request = agent.get(&url).header("origin", origin);
            request.header("authorization", format!("Bearer {token}")).call().unwrap()
        };
        let preflight = agent.options(&url).header("origin", origin);
        let preflight = preflight.header("access-control-request-method", "GET").call().unwrap();
        let status = if allowed.is_some() { 204 } else { 401 };
        for (answer, status) in [(preflight, status), (get(token), 200), (get("nonsense"), 401)] {
            let said = answer.headers().get("access-control-allow-origin");
            let said = said.map(|value| value.to_str().unwrap());
            assert_eq!((answer.status().as_u16(), said), (status, allowed), "{answer:?}");
        }
    }
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
    what_is_no_request_is_refused_alike(door, (&here.gateway).into());
    // Without a page nothing is said.
    let got = Ask::version().bearer(&token).send(&here.gateway, Version::H2).unwrap();
    assert_eq!((got.status, said(&got)), (200, vec![None; 4]));
}

/// What is answered before anybody looks at an `Origin`, by Go's library there and by Envoy here: a page may read neither.
fn what_is_no_request_is_refused_alike(there: Door<'_>, here: Door<'_>) {
    let large = "x".repeat(1100 << 10);
    for (name, value, status) in
        [("x-large", &*large, 431), ("not a name", "x", 400), ("content-length", "many", 400)]
    {
        let ask = Ask::version().header("origin", PAGE).header(name, value);
        for door in [there, here] {
            let got = ask.send(door, Version::H1).unwrap();
            assert_eq!((got.status, said(&got)), (status, vec![None; 4]), "{name}: {got:?}");
        }
    }
}
