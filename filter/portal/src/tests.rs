//! A portal in memory, as the tests of its parts ask it.

mod caller;
mod elevation;
mod generate;
mod keys;
mod kubecfg;
mod login;
mod review;
mod session;
mod tokens;

use std::{cell::RefCell, collections::HashMap};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gateway_core::{
    keys::CasConflict,
    portal_keys::KeyError,
    portal_token::{self, TokenError},
};
use kube_authn::{Identity, crypto::SoftwareVerifier};
use serde_json::{Value, json};

use super::{
    settings::{Identify, Settings, Template, TrustedPeers},
    *,
};
const NOW: Duration = Duration::from_secs(1_512_979_214);
/// The token in kubehook's documentation, made by kubehook with the secret `secret`.
const KUBEHOOKS: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJnaXRodWIuY29tL25lZ3ova3ViZWhvb2siLCJleHAiOjE1MTMwNjU2MTQsIm5iZiI6MTUxMjk3OTIxNCwic3ViIjoiY29vbHVzZXIifQ.ylxC6wFglLBI0_0e0LQftwuqI95mb0L5Wjnp5aCmPHU";
const AUDIENCE: &str = "github.com/negz/kubehook";

/// What the workers share, in memory.
#[derive(Default)]
struct Memory(RefCell<HashMap<String, (Vec<u8>, u32)>>);

impl SharedStore for Memory {
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.borrow().get(key).cloned()
    }

    fn write(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasConflict> {
        let mut values = self.0.borrow_mut();
        let current = values.get(key).map_or(0, |(_, number)| *number);
        if cas.is_some_and(|cas| cas != current) {
            return Err(CasConflict);
        }
        values.insert(key.to_owned(), (value.to_vec(), current + 1));
        Ok(())
    }
}

fn settings() -> Settings {
    Settings {
        audience: AUDIENCE.into(),
        user_header: "x-forwarded-user".into(),
        group_header: "x-forwarded-groups".into(),
        group_header_delimiter: ";".into(),
        max_lifetime_seconds: 604_800,
        tokens_per_second: 5,
        trust: TrustedPeers { anybody: true, ..TrustedPeers::default() },
        issuer: None,
        template: Some(Template {
            clusters: vec![(
                "a: b".into(),
                json!({"server": "https://a", "insecure-skip-tls-verify": true}),
            )],
            current_context: "a: b".into(),
        }),
        plugin: None,
        identify: None,
        elevation: None,
        sessions: None,
        origins: vec![],
        hosts: None,
        allow_reserved_users: vec![],
        allow_reserved_groups: vec![],
    }
}

fn hs256(id: &str, secret: &str) -> Value {
    // kubehook's documentation has a secret of six bytes.
    json!({"algorithm": "HS256", "id": id, "secret": BASE64.encode(secret), "insecureShort": true})
}

fn es256(id: &str, byte: u8) -> Value {
    json!({"algorithm": "ES256", "id": id, "scalar": BASE64.encode([byte; 32])})
}

fn ring(keys: &[Value]) -> KeyRing {
    KeyRing::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn portal(settings: Settings, keys: &[Value]) -> Portal {
    Portal::new(settings, ring(keys)).unwrap()
}

fn kubehook() -> Portal {
    portal(settings(), &[hs256("secret", "secret")])
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let mut pairs = vec![
        (":method".to_owned(), method.into()),
        (":path".to_owned(), path.into()),
        (":authority".to_owned(), "portal.example".into()),
    ];
    pairs.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
    Request::new(pairs, Peer { address: "192.0.2.1".into(), client_certificate: false })
}

fn ask(portal: &Portal, request: &Request, body: &[u8], identified: Option<&Identified>) -> Step {
    let memory = Memory::default();
    let now = DecisionContext {
        portal: "portal",
        time: NOW,
        random: [7; 16],
        secret: [3; 16],
        shared: &memory,
        verifier: &SoftwareVerifier,
    };
    match portal.decide(request, None, identified, &now) {
        Step::Body => portal.decide(request, Some(body), identified, &now),
        step => step,
    }
}

fn answer(portal: &Portal, request: &Request, body: &str) -> (u16, String) {
    match ask(portal, request, body.as_bytes(), None) {
        Step::Respond(answer) => (answer.status, String::from_utf8(answer.body).unwrap()),
        step => panic!("{step:?}"),
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const USER: (&str, &str) = ("x-forwarded-user", "cooluser");

fn generate(portal: &Portal, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let (status, body) = answer(portal, &request("POST", "/generate", headers), body);
    (status, serde_json::from_str(&body).unwrap())
}

fn made(portal: &Portal, headers: &[(&str, &str)], lifetime: &str) -> String {
    let body = json!({ "lifetime": lifetime }).to_string();
    let (status, body) = generate(portal, &[&[JSON][..], headers].concat(), &body);
    assert_eq!(status, 200, "{body}");
    body["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
}

fn verified(portal: &Portal, token: &str, now: Duration) -> Result<Identity, TokenError> {
    let (audience, issuer) = (&portal.settings.audience, portal.settings.issuer.as_deref());
    portal_token::verify(token, audience, issuer, &portal.keys, &SoftwareVerifier, now)
        .map(|verified| verified.identity)
}

fn with_login() -> Portal {
    with_login_of(false)
}

fn with_login_of(outlive_login: bool) -> Portal {
    let identify = Identify {
        cluster: "own".into(),
        cookie: Some("IdToken".into()),
        logout: None,
        outlive_login,
    };
    let trust = TrustedPeers { anybody: true, ..TrustedPeers::default() };
    portal(Settings { identify: Some(identify), trust, ..settings() }, &[hs256("s", "s")])
}
