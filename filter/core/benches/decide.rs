//! What a decision costs natively: a token in the cache, the same under conditions, a token that is verified (the signature apart, which is the host's
//! work), one whose user's groups a directory is asked for, the header plan, and the cache itself. `cargo bench -p gateway-core`.

use std::{cell::RefCell, collections::HashMap, hint::black_box, rc::Rc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gateway_core::{
    cache::{Grant, Signer, TokenCache},
    callout::Response,
    config::{Configuration, GatewayConfiguration, Limits},
    decision::{Attempt, Decision, Outcome},
    headers::RequestHead,
    keys::{Action, CasConflict, SharedStore},
    plan::HeaderPlan,
    token_hash::SipHash,
    worker::{Instance, Peer, Worker},
};
use kube_authn::{
    Identity,
    crypto::{Algorithm, CryptoError, SignatureVerifier},
    jwks::PublicKey,
};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example/realms/bench";
const NOW: Duration = Duration::from_secs(1_000_000);
const GROUPS: [&str; 5] =
    ["platform-team", "developers", "on-call-europe", "cluster-readers", "all-employees"];

#[derive(Default)]
struct Memory(RefCell<HashMap<String, (Vec<u8>, u32)>>);

impl SharedStore for Memory {
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.borrow().get(key).cloned()
    }

    fn write(&self, key: &str, value: &[u8], _: Option<u32>) -> Result<(), CasConflict> {
        let number = self.0.borrow().get(key).map_or(0, |(_, number)| number + 1);
        self.0.borrow_mut().insert(key.to_owned(), (value.to_vec(), number));
        Ok(())
    }
}

/// Believes everything.
struct AcceptAll;

impl SignatureVerifier for AcceptAll {
    fn verify(&self, _: Algorithm, _: &PublicKey, _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Ok(true)
    }

    fn is_costly(&self, _: Algorithm) -> bool {
        false
    }
}

/// Conditions of the forms that docs/conditions.md has, so many. None refuses the request of [`headers`].
fn conditions(count: usize) -> Value {
    let forms = [
        json!({"match": "request.namespace == 'kube-system' && request.verb in ['delete', 'deletecollection']", "login": {"acr": ["mfa"], "maxAgeSeconds": 900}}),
        json!({"match": "request.subresource in ['exec', 'attach', 'portforward', 'proxy']", "expression": "cidr('192.0.2.0/24').containsIP(request.address)"}),
        json!({"match": "claims.?azp.orValue('') == 'agent'", "expression": "request.verb in ['get', 'list', 'watch']"}),
        json!({"match": "request.resource == 'secrets'", "expression": "!('contractors' in user.groups)"}),
        json!({"expression": "user.groups.exists(g, g == 'platform-team') || request.verb == 'get'"}),
    ];
    let named = forms.iter().cycle().take(count).enumerate().map(|(index, form)| {
        let mut condition = form.clone();
        condition["name"] = json!(format!("condition-{index}"));
        condition
    });
    named.collect()
}

/// A worker that has its issuer's keys, and so many conditions.
fn worker(cache: u32, count: usize) -> Worker {
    let gateway = json!({"tokenCache": {"maximumEntries": cache}, "conditions": conditions(count)});
    ready(&gateway, &json!({}))
}

/// A worker with these fields of its configuration and these clusters for callouts, that has its issuer's keys.
fn ready(more: &Value, clusters: &Value) -> Worker {
    let mut gateway = more.clone();
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let document = json!({
        "authenticationConfiguration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {"url": ISSUER, "audiences": ["kubernetes"]},
                "claimMappings": {
                    "username": {"claim": "preferred_username", "prefix": ""},
                    "groups": {"claim": "groups", "prefix": ""},
                    "uid": {"claim": "sub"},
                },
            }],
        },
        "gatewayConfiguration": gateway,
        "calloutClusters": clusters,
        "defaultIssuerCluster": "issuers",
        "reviewCluster": "review",
    });
    let configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    let memory = Rc::new(Memory::default());
    let instance = Instance::new(1, String::new(), [7; 16]);
    let mut worker = Worker::new(instance, Box::new(AcceptAll), configuration, memory);
    let mut actions = worker.poll(NOW, 0.0);
    while let Some(action) = actions.pop() {
        let Action::Call(callout) = action else { continue };
        let body = if callout.path.ends_with("openid-configuration") {
            json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys")})
        } else {
            let modulus = URL_SAFE_NO_PAD.encode([0xd5; 256]);
            json!({"keys": [{"kty": "RSA", "kid": "a", "n": modulus, "e": "AQAB"}]})
        };
        let body = body.to_string();
        let response = Response { status: 200, headers: &[], body: body.as_bytes() };
        actions.extend(worker.answered(callout.purpose, Ok(response), NOW, 0.0));
    }
    worker
}

fn token(number: usize) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "iss": ISSUER, "aud": "kubernetes", "sub": "5f8e3b1c-7d2a-4e0f-9c55-0b6f4f6d2a11",
        "preferred_username": "alice@example.com", "email": "alice@example.com",
        "email_verified": true, "name": "Alice Example", "groups": GROUPS,
        "jti": format!("token-{number}"), "iat": NOW.as_secs(), "exp": NOW.as_secs() + 3600,
    });
    let header = json!({"alg": "RS256", "kid": "a", "typ": "JWT"});
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode([1; 256]))
}

/// A request's headers, as Envoy hands them over.
fn headers(number: usize) -> Vec<(String, Vec<u8>)> {
    let authorization = format!("Bearer {}", token(number));
    [
        (":authority", "127.0.0.1:6443"),
        (":path", "/api/v1/namespaces/default"),
        (":method", "GET"),
        (":scheme", "https"),
        ("authorization", &*authorization),
        ("user-agent", "kubectl/v1.36.3 (linux/amd64) kubernetes/bench"),
        ("accept", "application/json"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-request-id", "6d2c7b1e-9f0b-4c57-8f53-0a5d0c6b2f10"),
    ]
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    .to_vec()
}

fn decide(worker: &mut Worker, headers: &[(String, Vec<u8>)]) -> Outcome {
    let head = RequestHead::read(headers);
    worker.decide(
        &head,
        Peer {
            address: &|| "127.0.0.1".to_owned(),
            protocol: &|| "HTTP/1.1".to_owned(),
            has_body: false,
        },
        Attempt::default(),
        NOW,
    )
}

fn decisions(criterion: &mut Criterion) {
    let (mut warm, same) = (worker(10_000, 0), headers(0));
    criterion.bench_function("decide: token in the cache", |bencher| {
        bencher.iter(|| decide(&mut warm, black_box(&same)));
    });
    for count in [1, 20] {
        let mut warm = worker(10_000, count);
        criterion.bench_function(
            &format!("decide: token in the cache, {count} conditions"),
            |bencher| {
                bencher.iter(|| {
                    let outcome = decide(&mut warm, black_box(&same));
                    assert!(matches!(outcome.decision, Decision::Forward(_)), "{outcome:?}");
                });
            },
        );
    }
    let mut cold = worker(1, 0);
    let both = [headers(1), headers(2)];
    let mut turn = 0;
    criterion.bench_function("decide: token verified", |bencher| {
        bencher.iter(|| {
            turn ^= 1;
            let outcome = decide(&mut cold, black_box(&both[turn]));
            assert!(matches!(outcome.decision, Decision::Forward(_)), "{outcome:?}");
            outcome
        });
    });
}

/// A user in Entra ID's largest page of groups, of which the cluster knows five.
fn sourced(criterion: &mut Criterion) {
    let source = json!({
        "name": "directory", "issuer": ISSUER, "provider": "entra", "value": "names", "when": "Always",
        "path": "/users/${claims.jti}", "only": GROUPS, "requestsPerSecond": 10_000,
    });
    let clusters = json!({"groupSources/directory": "directory"});
    let mut worker = ready(&json!({"groupSources": [source]}), &clusters);
    let others = (GROUPS.len()..999).map(|number| format!("project-{number:04}-members"));
    let names = GROUPS.into_iter().map(str::to_owned).chain(others);
    let group = |name: String| {
        let id = format!("00000000-0000-4000-8000-{:012x}", name.len());
        json!({"@odata.type": "#microsoft.graph.group", "id": id, "displayName": name})
    };
    let context = "https://graph.microsoft.com/v1.0/$metadata#directoryObjects";
    let page = json!({"@odata.context": context, "value": names.map(group).collect::<Vec<_>>()});
    let page = page.to_string();
    let mut number = 0;
    let mut next = || {
        number += 1;
        (headers(number), NOW + Duration::from_millis(number as u64))
    };
    let mut ask = |(headers, now): (Vec<(String, Vec<u8>)>, Duration)| {
        let head = RequestHead::read(&headers);
        let address = || "127.0.0.1".to_owned();
        let protocol = || "HTTP/1.1".to_owned();
        let peer = Peer { address: &address, protocol: &protocol, has_body: false };
        let first = worker.decide(&head, peer, Attempt::default(), now);
        let Decision::Wait(wait) = first.decision else { panic!("{first:?}") };
        worker.wait(0, wait, Attempt::default(), now).unwrap();
        for callout in worker.poll_lookups(now) {
            let response = Response { status: 200, headers: &[], body: page.as_bytes() };
            worker.answered(callout.purpose, Ok(response), now, 0.0);
        }
        let (settled, _) = worker.settled(now, 1);
        let outcome = worker.decide(&head, peer, settled[0].attempt, now);
        assert!(matches!(outcome.decision, Decision::Forward(_)), "{outcome:?}");
        outcome
    };
    criterion.bench_function("decide: a page of 999 groups", |bencher| {
        bencher.iter_batched(&mut next, &mut ask, BatchSize::SmallInput);
    });
}

fn identity() -> Identity {
    Identity {
        username: "alice@example.com".to_owned(),
        uid: "5f8e3b1c-7d2a-4e0f-9c55-0b6f4f6d2a11".to_owned(),
        groups: GROUPS.map(str::to_owned).to_vec(),
        ..Identity::default()
    }
}

fn parts(criterion: &mut Criterion) {
    let (identity, limits) = (identity(), Limits::default());
    criterion.bench_function("header plan", |bencher| {
        bencher.iter(|| HeaderPlan::new(black_box(&identity), &limits, ISSUER));
    });
    let plan = Rc::new(HeaderPlan::new(&identity, &limits, ISSUER).unwrap());
    let mut cache =
        TokenCache::new(Rc::new(SipHash::new([7; 16])), &GatewayConfiguration::default());
    let token = token(0);
    let expires_at = NOW + Duration::from_secs(60);
    let signer = Signer::Issuer { index: 0, epoch: 1 };
    let (identity, record, groups_signer) = (None, "".into(), None);
    let claims = None;
    let grant = Grant {
        plan,
        identity,
        claims,
        login: None,
        loan: None,
        sourced: None,
        record,
        warning: None,
        signer,
        groups_signer,
        expires_at,
        fresh_until: None,
    };
    cache.insert(cache.key(token.as_bytes()), grant, NOW);
    criterion.bench_function("token cache: hit", |bencher| {
        bencher.iter(|| cache.get(cache.key(black_box(token.as_bytes())), NOW, |_| 1).is_some());
    });
}

criterion_group!(benches, decisions, sourced, parts);
criterion_main!(benches);
