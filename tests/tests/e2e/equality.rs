//! The same `AuthenticationConfiguration` for kube-apiserver and for the gateway in front of it: both see the same user in
//! the same token, whole, in every kind of mapping.

use oidc_provider::{Answer, Config, Endpoint, Issuer, IssuerConfig, Misbehaviour, Provider, User};
use sandbox::{Cluster, Credential};
use serde_json::{Value, json};

/// The audience of every token.
const CLIENT: &str = "kubernetes";

/// An issuer of its own for each mapping: what to merge into its entry, and the claims of a token beyond the usual ones.
struct Case {
    name: &'static str,
    jwt: Value,
    claims: Value,
}

fn cases() -> Vec<Case> {
    let case = |name, jwt, claims| Case { name, jwt, claims };
    let username = json!({"claim": "preferred_username", "prefix": ""});
    let groups = json!({"claim": "groups", "prefix": ""});
    let uid = json!({"claim": "sub"});
    vec![
        // The one of the project's promise: a `jti`, uid from `sub`, three groups.
        case(
            "whole",
            json!({"claimMappings": {"username": username, "groups": groups, "uid": uid}}),
            json!({}),
        ),
        case(
            "no-uid",
            json!({"claimMappings": {"username": username, "groups": groups}}),
            json!({}),
        ),
        case("no-groups", json!({"claimMappings": {"username": username, "uid": uid}}), json!({})),
        case("name-only", json!({"claimMappings": {"username": username}}), json!({"jti": null})),
        case(
            "prefixes",
            json!({"claimMappings": {
                "username": {"claim": "sub", "prefix": "https://issuer.example/#"},
                "groups": {"claim": "groups", "prefix": "oidc:"},
            }}),
            json!({}),
        ),
        case(
            "email",
            json!({"claimMappings": {"username": {"claim": "email", "prefix": "mail:"}}}),
            json!({"email_verified": true}),
        ),
        case(
            "several-audiences",
            json!({
                "issuer": {"audiences": ["other", CLIENT], "audienceMatchPolicy": "MatchAny"},
                "claimMappings": {"username": username, "groups": groups},
            }),
            json!({"aud": ["nobody", CLIENT]}),
        ),
        case(
            "required-claims",
            json!({
                "claimMappings": {"username": username},
                "claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"}],
            }),
            json!({"hd": "example.com"}),
        ),
        case(
            "one-group-as-text",
            json!({"claimMappings": {"username": username, "groups": groups}}),
            json!({"groups": "alone"}),
        ),
        case(
            "groups-in-order",
            json!({"claimMappings": {"username": username, "groups": groups}}),
            json!({"groups": ["b", "a", "b", "A", "a,b", "c d", "\u{e9}\u{4e16}"]}),
        ),
        case(
            "beyond-ascii",
            json!({"claimMappings": {"username": username, "uid": uid}}),
            json!({"preferred_username": "J\u{fc}rgen \u{1f600} %41", "sub": "\u{4e16}\u{754c}"}),
        ),
        case(
            "discovery-elsewhere",
            json!({
                "issuer": {"url": "https://issuer.example/realm"},
                "claimMappings": {"username": username, "groups": groups, "uid": uid},
            }),
            json!({"iss": "https://issuer.example/realm"}),
        ),
    ]
}

/// The entry of a case, with what every entry has.
fn jwt(case: &Case, issuer: &Issuer, ca: &str) -> Value {
    let mut jwt = json!({
        "issuer": {"url": issuer.url(), "audiences": [CLIENT], "certificateAuthority": ca},
    });
    for (field, value) in case.jwt.as_object().unwrap() {
        match (jwt.get_mut(field).and_then(Value::as_object_mut), value.as_object()) {
            (Some(there), Some(more)) => there.extend(more.clone()),
            _ => jwt[field] = value.clone(),
        }
    }
    if jwt["issuer"]["url"] != json!(issuer.url()) {
        jwt["issuer"]["discoveryURL"] = json!(issuer.endpoint(Endpoint::Discovery));
    }
    jwt
}

fn token(case: &Case, issuer: &Issuer) -> String {
    let mut token = issuer.token("alice", CLIENT);
    for (name, value) in case.claims.as_object().unwrap() {
        token =
            if value.is_null() { token.without(name) } else { token.claim(name, value.clone()) };
    }
    token.mint()
}

#[test]
fn kube_apiserver_and_the_gateway_see_the_same_user() {
    let cases = cases();
    let user = || {
        User::new("alice", "secret").subject("0001").email("alice@example.com").groups([
            "developers",
            "testers",
            "on-call",
        ])
    };
    let issuer = |case: &Case| IssuerConfig::new(case.name, format!("/{}", case.name)).user(user());
    let config = cases.iter().fold(Config::default(), |config, case| config.issuer(issuer(case)));
    let provider = Provider::start(config).unwrap();
    let issuers = provider.issuers();
    let pairs = || cases.iter().zip(&issuers);
    for (case, issuer) in pairs() {
        if let Some(url) = case.jwt.pointer("/issuer/url").and_then(Value::as_str) {
            let document = Misbehaviour::answer(Answer::WrongIssuer(url.to_owned()));
            issuer.misbehave(Endpoint::Discovery, document).unwrap();
        }
    }
    let authentication = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": pairs().map(|(case, issuer)| jwt(case, issuer, provider.ca_pem())).collect::<Vec<_>>(),
    });
    let cluster =
        Cluster::builder().authentication_config(authentication.to_string()).start().unwrap();
    let gateway = cluster.gateway(authentication).start().unwrap();
    let mut different = Vec::new();
    for (case, issuer) in pairs() {
        let token = token(case, issuer);
        let whoami = |kubectl: &sandbox::Kubectl| {
            let output = kubectl.run(["auth", "whoami", "-o", "json"]).unwrap();
            let answer: Option<Value> = serde_json::from_str(&output.stdout).ok();
            answer.map(|answer| answer["status"].clone()).ok_or(output.stderr)
        };
        let credential = || Credential::Token(token.clone());
        let straight = cluster.kubectl(credential()).unwrap();
        // kube-apiserver looks for an issuer's keys at its start, and again some seconds later.
        let straight = crate::harness::until(case.name, || whoami(&straight).ok());
        let through = whoami(&gateway.kubectl(credential()).unwrap());
        assert!(straight["userInfo"]["username"].is_string(), "{}: {straight}", case.name);
        if through.as_ref() != Ok(&straight) {
            different.push(format!("{}: {straight} straight, {through:?} through", case.name));
        }
    }
    assert!(different.is_empty(), "{different:#?}");
}
