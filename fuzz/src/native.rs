//! The native module's hooks in any order that Envoy could call them in, with any headers and answers, refusals of Envoy's and panics:
//! what goes on is marked, whole and once, and what is answered does not go on.

use std::cell::OnceCell;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_native::guard::on_demand::{panic_after, panic_at};
use gateway_native::mock::{Callout, Envoy, Request, refuse_after};

/// Requests at a time, and steps of one input.
const MOST_REQUESTS: usize = 8;
const MOST_STEPS: usize = 200;

/// Where the module can be made to panic, beside its decisions.
const PLACES: [&str; 6] = ["worker", "settled", "revoked", "main", "answered", "end"];

/// `Continue` and `StopAllIterationAndWatermark`.
const CONTINUE: u32 = 0;
const STOP_ALL: u32 = 4;

/// Names and values of headers that mean something.
const NAMES: [&str; 16] = [
    ":path",
    ":method",
    "authorization",
    "impersonate-user",
    "impersonate-group",
    "impersonate_extra_x",
    "x-remote-user",
    "connection",
    "upgrade",
    "sec-websocket-protocol",
    "x-gateway-asked",
    "x-request-id",
    "content-length",
    "origin",
    "traceparent",
    "audit-id",
];
const VALUES: [&str; 12] = [
    "/api/v1/pods?watch=1",
    "/.well-known/oauth-protected-resource",
    "GET",
    "OPTIONS",
    "jane",
    "Upgrade",
    "websocket",
    "SPDY/3.1",
    "Upgrade, Impersonate-User",
    "v4.channel.k8s.io",
    "https://console.example",
    "Basic amFuZTp4",
];

struct World {
    tokens: Vec<String>,
    keys: String,
    discovery: String,
    documents: Vec<String>,
}

thread_local! {
    static WORLD: OnceCell<World> = const { OnceCell::new() };
}

impl World {
    fn new() -> Self {
        let issuer = format!("https://fuzz-{:?}.example", std::thread::current().id())
            .replace(['(', ')'], "")
            .to_lowercase();
        let random = SystemRandom::new();
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())
            .expect("the key");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let token = |subject: &str, key_id: &str, end: u64| {
            let header = encode(format!(r#"{{"alg":"ES256","kid":"{key_id}"}}"#));
            let claims = format!(
                r#"{{"iss":"{issuer}","aud":"kubernetes","sub":"{subject}","groups":["a","b"],"exp":{end}}}"#
            );
            let input = format!("{header}.{}", encode(claims));
            let signature = key.sign(&random, input.as_bytes()).expect("a signature");
            format!("{input}.{}", encode(signature))
        };
        let tokens = vec![
            token("jane", "a", now + 86_400),
            token("joe", "a", now + 86_400),
            token("jim", "unknown", now + 86_400),
            token("june", "a", now - 86_400),
            token("system:masters", "a", now + 86_400),
        ];
        let point = key.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let keys =
            format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"a","x":"{x}","y":"{y}"}}]}}"#);
        let discovery = format!(
            r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}/keys","response_types_supported":["id_token"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}}"#
        );
        let documents = [
            r#""clientImpersonation":"authorize","extras":{"clientIP":true}"#,
            r#""clientImpersonation":"strip","corsAllowedOrigins":["^https://console\\.example$"]"#,
            r#""clientImpersonation":"reject","limits":{"waitingRequests":2}"#,
        ]
        .map(|settings| {
            format!(
                r#"{{"authenticationConfiguration":{{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration","jwt":[{{"issuer":{{"url":"{issuer}","audiences":["kubernetes"]}},"claimMappings":{{"username":{{"claim":"sub","prefix":""}},"groups":{{"claim":"groups","prefix":""}}}}}}]}},"gatewayConfiguration":{{"apiVersion":"gateway.kube-oidc.dev/v1alpha1","kind":"GatewayConfiguration",{settings}}},"defaultIssuerCluster":"issuers","reviewCluster":"review"}}"#
            )
        });
        Self { tokens, keys, discovery, documents: documents.to_vec() }
    }
}

/// One request, and how far it is.
struct Slot<'a> {
    request: Request<'a>,
    /// Envoy may call with its body.
    decodes: bool,
    waits: bool,
    continued: u32,
}

impl Slot<'_> {
    /// What holds of a request that goes on.
    fn check(&mut self) {
        let continued = self.request.continued();
        if self.waits && continued > 0 {
            self.waits = false;
            self.decodes = true;
            self.continued = 1;
            self.check_marks();
        }
        if self.request.answer().is_some() {
            self.waits = false;
            self.decodes = false;
        }
    }

    fn check_marks(&self) {
        let mode = self.request.state("wasm.mode").expect("a mode");
        let user = self.request.state("wasm.user").expect("a mark");
        if mode == "impersonate" {
            assert_eq!(self.request.values("impersonate-user"), [user]);
            // Envoy writes its own.
            assert!(self.request.values("audit-id").is_empty());
        }
        assert!(self.request.values("x-remote-user").is_empty());
        assert!(self.request.values("impersonate_extra_x").is_empty());
        assert!(self.request.route_chosen_anew());
        assert!(self.request.answer().is_none());
    }
}

/// Reads choices from the input.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn next(&mut self) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some((*first).into())
    }

    fn of(&mut self, count: usize) -> usize {
        if count == 0 { 0 } else { self.next().unwrap_or(0) % count }
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.of(64).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    fn headers(&mut self, world: &World) -> Vec<(String, Vec<u8>)> {
        let mut headers = vec![
            (":method".to_owned(), b"GET".to_vec()),
            (":path".to_owned(), b"/api/v1/pods".to_vec()),
        ];
        let token = self.of(world.tokens.len() + 2);
        if let Some(token) = world.tokens.get(token) {
            headers.push(("authorization".to_owned(), format!("Bearer {token}").into_bytes()));
        }
        for _ in 0..self.of(6) {
            let name = NAMES[self.of(NAMES.len())].to_owned();
            let value = match self.of(VALUES.len() + 1) {
                known if known < VALUES.len() => VALUES[known].as_bytes().to_vec(),
                _ => self.bytes().to_vec(),
            };
            headers.push((name, value));
        }
        headers
    }
}

/// Drives the module as the input says.
pub fn native(input: &[u8]) {
    WORLD.with(|world| drive(world.get_or_init(World::new), &mut Choices(input)));
    panic_after(None);
    panic_at("");
    refuse_after(None);
}

fn drive(world: &World, choices: &mut Choices<'_>) {
    let document = &world.documents[choices.of(world.documents.len())];
    let envoy = Envoy::load("gateway", document).expect("a valid configuration");
    let mut slots: Vec<Slot<'_>> = Vec::new();
    let mut callouts: Vec<Callout> = Vec::new();
    for _ in 0..MOST_STEPS {
        let Some(step) = choices.next() else { break };
        match step % 12 {
            0 | 1 if slots.len() < MOST_REQUESTS => {
                let request = envoy.request(choices.headers(world));
                let end = choices.of(2) == 0;
                let status = request.headers(end);
                let mut slot = Slot {
                    request,
                    decodes: status == CONTINUE,
                    waits: status == STOP_ALL,
                    continued: 0,
                };
                if status == CONTINUE {
                    slot.check_marks();
                } else {
                    assert_eq!(slot.request.answer().is_some(), !slot.waits);
                }
                slot.check();
                slots.push(slot);
            }
            2 => envoy.run(),
            3 => {
                let index = choices.of(slots.len());
                if let Some(slot) = slots.get(index) {
                    slot.request.run();
                }
            }
            4 | 5 if !callouts.is_empty() => {
                let callout = callouts.swap_remove(choices.of(callouts.len()));
                let body = match choices.of(5) {
                    0 => world.keys.clone().into_bytes(),
                    1 => world.discovery.clone().into_bytes(),
                    2 => br#"{"status":{"allowed":true}}"#.to_vec(),
                    3 => br#"{"status":{"allowed":false}}"#.to_vec(),
                    _ => choices.bytes().to_vec(),
                };
                let status = ["200", "201", "403", "503", "x"][choices.of(5)];
                envoy.answer(callout.id, status, &[("x-envoy-upstream-service-time", "1")], &body);
            }
            6 if !callouts.is_empty() => {
                let callout = callouts.swap_remove(choices.of(callouts.len()));
                envoy.fail(callout.id, 1 + u32::try_from(choices.of(2)).unwrap_or(0));
            }
            7 => {
                let index = choices.of(slots.len());
                if let Some(slot) = slots.get(index)
                    && slot.decodes
                {
                    let _ = slot.request.body();
                }
            }
            8 => {
                let index = choices.of(slots.len());
                if let Some(slot) = slots.get(index)
                    && slot.decodes
                {
                    let trailers = choices.headers(world);
                    if slot.request.trailers(trailers) == CONTINUE {
                        assert!(slot.request.trailer_values("impersonate-user").is_empty());
                    }
                }
            }
            9 if !slots.is_empty() => {
                let slot = slots.swap_remove(choices.of(slots.len()));
                if slot.request.answer().is_none() && !slot.waits {
                    let status = ["101", "200", "401", "503", ""][choices.of(5)];
                    let _ = slot.request.response(vec![(":status".to_owned(), status.into())]);
                }
            }
            10 => refuse_after(Some(u32::try_from(choices.of(32)).unwrap_or(0))),
            11 => match choices.of(8 + PLACES.len()) {
                others @ 0..8 => panic_after(Some(u32::try_from(others).unwrap_or(0))),
                place => panic_at(PLACES[place - 8]),
            },
            _ => {}
        }
        callouts.extend(envoy.callouts());
        slots.iter_mut().for_each(Slot::check);
    }
    drop(slots);
    let left = envoy.unload();
    for sum in
        ["gateway_token_cache_entries", "gateway_token_cache_bytes", "gateway_waiting_requests"]
    {
        assert_eq!(left.get(sum).copied().unwrap_or(0), 0, "{sum}");
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
