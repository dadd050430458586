//! Whole requests through the module's own hooks, with the other side of Envoy's interface in this process ([`crate::mock`]).

mod access;
mod connections;
mod corpus;
mod orders;
mod refusals;
mod requests;
mod threads;

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use crate::mock::{Envoy, Request, headers};

/// The module's words.
const CONTINUE: u32 = 0;
const STOP: u32 = 1;
const WATERMARK: u32 = 2;
const STOP_ALL: u32 = 4;

thread_local! {
    static ISSUERS: Cell<u32> = const { Cell::new(0) };
}

/// An issuer with a key, which no other test has: the store of keys is the process's.
struct Issuer {
    url: String,
    key: EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        let url = format!(
            "https://issuer-{:?}-{}.example",
            std::thread::current().id(),
            ISSUERS.replace(ISSUERS.get() + 1)
        )
        .replace(['(', ')'], "");
        let url = url.to_lowercase();
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self { url, key: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).unwrap() }
    }

    fn token(&self, subject: &str) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        self.signed(&json!({
            "iss": self.url, "aud": "kubernetes", "sub": subject, "groups": ["dev", "ops"], "exp": now + 600,
        }))
    }

    fn signed(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": "a"});
        let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", encode(signature))
    }

    fn keys(&self) -> String {
        let point = self.key.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y}]}).to_string()
    }

    fn document(&self, mut gateway: Value) -> String {
        gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
        gateway["kind"] = json!("GatewayConfiguration");
        json!({
            "authenticationConfiguration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "AuthenticationConfiguration",
                "jwt": [{
                    "issuer": {"url": self.url, "audiences": ["kubernetes"]},
                    "claimMappings": {
                        "username": {"claim": "sub", "prefix": ""},
                        "groups": {"claim": "groups", "prefix": ""},
                    },
                }],
            },
            "gatewayConfiguration": gateway,
            "defaultIssuerCluster": "issuers",
            "reviewCluster": "review",
        })
        .to_string()
    }

    /// Answers whatever is asked of the issuer, until nothing is.
    fn serve(&self, envoy: &Envoy) -> usize {
        let mut served = 0;
        loop {
            envoy.run();
            let callouts = envoy.callouts();
            if callouts.is_empty() {
                return served;
            }
            for callout in callouts {
                assert_eq!(callout.cluster, "issuers");
                let body = if callout.path() == "/keys" {
                    self.keys()
                } else {
                    let keys = format!("{}/keys", self.url);
                    json!({
                        "issuer": self.url, "jwks_uri": keys, "response_types_supported": ["id_token"],
                        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
                    })
                    .to_string()
                };
                envoy.answer(callout.id, "200", &[], body.as_bytes());
                served += 1;
            }
        }
    }
}

/// A gateway with this configuration and its issuer's keys.
fn ready(gateway: Value) -> (Issuer, Envoy) {
    let issuer = Issuer::new();
    let envoy = Envoy::load("gateway", &issuer.document(gateway)).expect("a valid configuration");
    assert_eq!(issuer.serve(&envoy), 2, "discovery and keys");
    (issuer, envoy)
}

fn get(token: &str, more: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let authorization = format!("Bearer {token}");
    let mut pairs = vec![
        (":method", "GET"),
        (":path", "/api/v1/pods"),
        (":authority", "gateway.example"),
        ("x-request-id", "the-id"),
        ("authorization", authorization.as_str()),
    ];
    pairs.extend_from_slice(more);
    headers(&pairs)
}

/// What a request that waited has become, once the main thread and its own have done what they were woken for.
fn settle(request: &Request<'_>) {
    while request.run() {}
}

/// Waits until the metric has this value: what is counted is handed on once a second.
fn await_metric(envoy: &Envoy, series: &str, value: i64) {
    let begun = Instant::now();
    while envoy.metric(series) != value {
        assert!(begun.elapsed() < Duration::from_secs(10), "{series} in {:#?}", envoy.metrics());
        envoy.run();
        std::thread::yield_now();
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
