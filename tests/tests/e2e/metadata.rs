//! What strangers are told of where to log in (RFC 9728): to everybody, by Envoy alone, under one path.

use std::{sync::LazyLock, time::Duration};

use serde_json::{Value, json};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::{
    harness::{cluster, until},
    target::{
        self, CLIENT, Target, assert_never_the_gateway_itself, assert_nothing_arrived,
        assert_status, authentication, configuration,
    },
    wire::{Answer, Ask, Version},
};

const PATH: &str = "/.well-known/oauth-protected-resource";
const URL: &str = "https://gateway.example";
const UNAUTHORIZED: (u16, &str) = (401, "Unauthorized");

static TARGET: LazyLock<Target> = LazyLock::new(|| Target::start(&telling()));

fn telling() -> Value {
    json!({"protectedResource": {"url": URL, "clusterName": "e2e"}})
}

/// This configuration of a gateway, with something to tell strangers.
pub fn telling_strangers(mut configuration: Value) -> Value {
    configuration["protectedResource"] = telling()["protectedResource"].clone();
    configuration
}

/// Strangers are told, and find the way to it by a refusal: for a gateway in other hands than the program's.
pub fn assert_strangers_are_told(server: &str, ca: &str) {
    let ca = Certificate::from_pem(ca.as_bytes()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[ca])).build();
    let config = Agent::config_builder().tls_config(tls).http_status_as_error(false);
    let agent: Agent = config.timeout_global(Some(Duration::from_secs(20))).build().into();
    let mut answer = agent.get(format!("{server}{PATH}")).call().unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{answer:?}");
    let document: Value = answer.body_mut().read_json().unwrap();
    assert_eq!(document["resource"], URL);
    let mut head = agent.head(format!("{server}{PATH}")).call().unwrap();
    assert_eq!(
        (head.status().as_u16(), head.body_mut().read_to_string().unwrap()),
        (200, String::new())
    );
    let refused = agent.get(format!("{server}/version")).call().unwrap();
    assert_eq!(refused.status().as_u16(), 401);
    assert_eq!(refused.headers()["www-authenticate"], challenge());
    let posted = agent.post(format!("{server}{PATH}")).send_empty().unwrap();
    assert_eq!(posted.status().as_u16(), 405);
    assert_eq!(posted.headers()["allow"], "GET, HEAD");
}

fn challenge() -> String {
    format!("Bearer resource_metadata=\"{URL}{PATH}\"")
}

fn ask(case: &str, ask: &Ask, version: Version) -> Answer {
    let mark = cluster().audit().mark().unwrap();
    let answer = ask.send(&TARGET.gateway, version);
    let answer = answer.unwrap_or_else(|error| panic!("{case}, {version:?}: no answer: {error}"));
    assert_nothing_arrived(case, mark, ask);
    answer
}

#[test]
fn strangers_are_told_and_nothing_reaches_the_api_server() {
    assert_strangers_are_told(&TARGET.gateway.url(), TARGET.gateway.ca());
    let head = ask("HEAD", &Ask::new("HEAD", PATH), Version::H2);
    assert_eq!((head.status, &*head.body), (200, ""), "{head:?}");
    let token = TARGET.token().mint();
    let get = || Ask::new("GET", PATH);
    for version in Version::ALL {
        for (case, request) in [
            ("as it is", get()),
            ("a query", Ask::new("GET", &format!("{PATH}?a=/api/v1&watch=true"))),
            ("a good token", get().bearer(&token)),
            ("a bad token", get().bearer("nonsense")),
            ("--as", get().bearer(&token).header("Impersonate-User", "admin")),
            ("--as by a stranger", get().header("Impersonate-Group", "system:masters")),
            ("marks", get().header("X-Gateway-Mode", "impersonate").header("wasm.mode", "x")),
            ("a body", get().body("{}")),
            ("a page", get().header("Origin", "https://evil.example")),
        ] {
            let answer = ask(case, &request, version);
            assert_eq!(answer.status, 200, "{case}, {version:?}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{case}");
            assert_eq!(answer.header("cache-control"), Some("no-cache"), "{case}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{case}");
            let issuer = TARGET.issuer();
            let client = json!({"issuer": issuer.url(), "client_id": CLIENT, "scopes": ["openid"]});
            let want = json!({
                "resource": URL,
                "resource_name": "e2e",
                "authorization_servers": [issuer.url()],
                "scopes_supported": ["openid"],
                "bearer_methods_supported": ["header"],
                "kubernetes": {"cluster": "e2e", "clients": [client]},
            });
            assert_eq!(answer.json(), want, "{case}, {version:?}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            for request in [Ask::new(method, PATH), Ask::new(method, PATH).bearer(&token)] {
                let answer = ask(method, &request, version);
                let case = format!("{method}, {version:?}");
                assert_status(&case, &answer, (405, "MethodNotAllowed"));
                assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{case}");
            }
        }
        for upgrade in ["websocket", "SPDY/3.1"] {
            let answer = ask(upgrade, &get().upgrade(upgrade), version);
            assert_eq!(answer.status, 200, "{upgrade}, {version:?}: {answer:?}");
        }
    }
}

/// docs/audit.md: as nobody, whoever asks.
#[test]
fn the_logs_have_who_was_told() {
    let asked = Ask::new("GET", PATH).bearer(&TARGET.token().mint());
    ask("logged", &asked, Version::H2);
    let line = until("Envoy writes the line", || {
        let agent = format!("\"{}\"", asked.agent());
        let line = TARGET.gateway.access_lines().into_iter().find(|line| line.contains(&agent))?;
        serde_json::from_str::<Value>(&line).ok()
    });
    assert_eq!((&line["mode"], &line["user"]), (&json!("metadata"), &json!("system:anonymous")));
    let identity = "v=2&user=system:anonymous&group=system:unauthenticated";
    assert_eq!(line["identity"], json!(identity), "{line}");
    assert_eq!((&line["code"], &line["upstream"]), (&json!(200), &Value::Null), "{line}");
}

/// Every other spelling is a path like any: a stranger is refused, and a user asks kube-apiserver as the user.
#[test]
fn other_spellings_are_no_way_around_the_login() {
    let mark = cluster().audit().mark().unwrap();
    let token = TARGET.token().mint();
    let user = TARGET.identity(&token);
    for path in [
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/api/v1/secrets",
        "/.well-known/oauth-protected-resource/../../api/v1/secrets",
        "//.well-known/oauth-protected-resource",
        "/.well-known//oauth-protected-resource",
        "/./.well-known/oauth-protected-resource",
        "/%2ewell-known/oauth-protected-resource",
        "/.well-known%2foauth-protected-resource",
        "/.well-known/oauth%2Dprotected-resource",
        "/.well-known/oauth-protected-resource%3f",
        "/.well-known/oauth-protected-resource;a=b",
        "/.well-known/oauth-protected-resource%00",
        "/.WELL-KNOWN/oauth-protected-resource",
        "/.well-known\\oauth-protected-resource",
        "/api/v1/secrets?/.well-known/oauth-protected-resource",
        "/api/v1/secrets?x=/.well-known/oauth-protected-resource",
        "/version/../.well-known/oauth-protected-resource",
    ] {
        for version in Version::ALL {
            for method in ["GET", "POST"] {
                let stranger = Ask::new(method, path);
                let answer = TARGET.assert_refused(path, &stranger, version, UNAUTHORIZED);
                assert_eq!(answer.header("www-authenticate"), Some(&*challenge()), "{path}");
            }
            let known = Ask::new("GET", path).bearer(&token);
            let answer = TARGET.assert_served(path, &known, version, &user);
            assert!(!answer.body.contains("resource_name"), "{path}: {answer:?}");
        }
    }
    assert_never_the_gateway_itself(mark);
}

/// A 401 has the header and is otherwise as it was; kubectl says what it always says.
#[test]
fn a_refusal_says_where_to_read_on() {
    for (case, request) in [("none", Ask::version()), ("bad", Ask::version().bearer("nonsense"))] {
        for version in Version::ALL {
            let answer = TARGET.assert_refused(case, &request, version, UNAUTHORIZED);
            assert_eq!(answer.header("www-authenticate"), Some(&*challenge()), "{case}");
        }
    }
    // Only there: no other refusal has to do with a login.
    let master = TARGET.token().claim("groups", ["system:masters"].as_slice()).mint();
    let guarded = Ask::version().bearer(&master);
    let answer = TARGET.assert_refused("guard", &guarded, Version::H2, (403, "Forbidden"));
    assert_eq!(answer.header("www-authenticate"), None);
    let kubectl =
        TARGET.gateway.kubectl(sandbox::Credential::Token("nonsense".to_owned())).unwrap();
    let refused = kubectl.run(["get", "namespaces"]).unwrap();
    assert!(refused.stderr.contains("You must be logged in"), "{refused:?}");
}

/// Without a URL there is no such path. It comes and goes while Envoy runs, and so do issuers.
#[test]
fn it_is_off_unless_it_is_on_and_follows_the_documents() {
    let target = Target::start(&json!({}));
    let get = Ask::new("GET", PATH);
    let off = || {
        let answer = target.assert_refused("off", &get, Version::H2, UNAUTHORIZED);
        assert_eq!(answer.header("www-authenticate"), None, "{answer:?}");
        let token = target.token().mint();
        let user = target.identity(&token);
        // As before: kube-apiserver has no such path, and says so.
        let known = get.clone().bearer(&token);
        target.assert_served("off", &known, Version::H2, &user);
    };
    off();
    let mut issuers = authentication(&target.provider);
    target.gateway.configure(&issuers, Some(&configuration(&telling()))).unwrap();
    let told = || {
        let answer = get.send(&target.gateway, Version::H2).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    assert_eq!(told()["authorization_servers"], json!([target.issuer().url()]));
    let other = target::provider();
    let more = authentication(&other)["jwt"][0].clone();
    issuers["jwt"].as_array_mut().unwrap().push(more);
    let clients = json!([{"issuer": other.issuer().url(), "clientID": "%REQ(x)% \"$(id)\"", "scopes": ["groups"]}]);
    let mut settings = telling();
    settings["protectedResource"]["clients"] = clients;
    target.gateway.configure(&issuers, Some(&configuration(&settings))).unwrap();
    let document = until("the new document is told", || {
        let document = told();
        (document["scopes_supported"] == json!(["openid", "groups"])).then_some(document)
    });
    assert_eq!(document["authorization_servers"].as_array().unwrap().len(), 2);
    assert_eq!(document["kubernetes"]["clients"][1]["client_id"], "%REQ(x)% \"$(id)\"");
    target.gateway.configure(&issuers, Some(&configuration(&json!({})))).unwrap();
    off();
    // A client of nobody is a mistake.
    settings["protectedResource"]["clients"][0]["issuer"] = json!("https://nobody.example");
    let error = target.gateway.configure(&issuers, Some(&configuration(&settings))).unwrap_err();
    let want = "GatewayConfiguration: protectedResource.clients[0].issuer: Invalid value: \"https://nobody.example\"";
    assert!(error.to_string().contains(want), "{error}");
}
