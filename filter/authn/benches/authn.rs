//! What a token and a configuration cost natively: `cargo bench -p kube-authn`.

use std::{hint::black_box, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use kube_authn::{
    Rules, UnverifiedToken, VerifiedToken,
    config::{self, AuthenticationConfiguration, LoadOptions},
    crypto::{Algorithm, CryptoError, SignatureVerifier, SoftwareVerifier},
    jwks::{KeySet, KeySetLimits, PublicKey},
    token::TokenLimits,
};
use p256::ecdsa::signature::Signer as _;
use serde_json::{Value, json};

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// Takes every signature for good, to leave the cryptography out.
struct AcceptAll;

impl SignatureVerifier for AcceptAll {
    fn verify(&self, _: Algorithm, _: &PublicKey, _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Ok(true)
    }
}

/// Six expressions: the user's name, groups and uid, an extra, a rule about the claims and one about the user.
const EXPRESSIONS: &str = r#"{
    "claimMappings": {
        "username": {"expression": "'oidc:' + claims.sub"},
        "groups": {"expression": "claims.realm_access.roles.map(r, 'role:' + r)"},
        "uid": {"expression": "claims.uid"},
        "extra": [{"key": "example.org/tenant", "valueExpression": "claims.?tenant.orValue('none')"}]
    },
    "claimValidationRules": [{"expression": "claims.exp - claims.iat <= 86400.0"}],
    "userValidationRules": [{"expression": "!user.username.startsWith('system:')"}]
}"#;

const CLAIMS: &str = r#"{"claimMappings": {
    "username": {"claim": "sub", "prefix": "oidc:"},
    "groups": {"claim": "groups", "prefix": "oidc:"},
    "uid": {"claim": "uid"}
}}"#;

fn load(entries: impl IntoIterator<Item = Value>) -> AuthenticationConfiguration {
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": entries.into_iter().collect::<Vec<_>>(),
    });
    config::load(file.to_string().as_bytes(), &LoadOptions::default()).expect("a valid file")
}

fn entry(url: &str, rest: &str) -> Value {
    let mut entry: Value = serde_json::from_str(rest).expect("JSON");
    entry["issuer"] = json!({"url": url, "audiences": ["kubernetes"]});
    entry
}

/// The text of a file with as many issuers as there may be, each with ten expressions.
fn large_file() -> String {
    let entries = (0..64).map(|issuer| {
        let mut entry = entry(&format!("https://issuer-{issuer}.example"), EXPRESSIONS);
        let rules =
            (0..5).map(|rule| json!({"expression": format!("claims.sub != 'user-{rule}'")}));
        entry["claimValidationRules"] = rules.collect();
        entry
    });
    let jwt: Vec<Value> = entries.collect();
    json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": jwt})
        .to_string()
}

fn token() -> (String, KeySet) {
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).expect("a scalar");
    let claims = json!({
        "iss": "https://issuer.example", "aud": "kubernetes", "sub": "jane", "uid": "u-1",
        "exp": 1_800_000_600, "iat": 1_800_000_000, "groups": ["admins", "developers", "testers"],
        "realm_access": {"roles": ["admins", "developers", "testers"]},
    });
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let header = encode(br#"{"alg":"ES256","kid":"a"}"#);
    let input = format!("{header}.{}", encode(claims.to_string().as_bytes()));
    let signature: p256::ecdsa::Signature = key.sign(input.as_bytes());
    let point = key.verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(32);
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": encode(x), "y": encode(y)});
    let document = json!({"keys": [jwk]}).to_string();
    let keys = KeySet::parse(document.as_bytes(), KeySetLimits::default(), Rules::default())
        .expect("a key set");
    (format!("{input}.{}", encode(&signature.to_bytes())), keys)
}

fn tokens(criterion: &mut Criterion) {
    let (text, keys) = token();
    let limits = TokenLimits::default();
    let token = UnverifiedToken::parse(text.as_bytes(), &limits).expect("a token");
    let configurations = [("claims", CLAIMS), ("six expressions", EXPRESSIONS)]
        .map(|(name, rest)| (name, load([entry("https://issuer.example", rest)])));
    let verify = |configuration: &AuthenticationConfiguration,
                  by: &dyn SignatureVerifier|
     -> VerifiedToken {
        let jwt = &configuration.jwt()[0];
        jwt.verify(&token, &keys, by, NOW, &Algorithm::ALL).expect("a good token")
    };
    criterion.bench_function("parse a token", |bench| {
        bench.iter(|| UnverifiedToken::parse(black_box(text.as_bytes()), &limits));
    });
    let (_, by_claims) = &configurations[0];
    criterion.bench_function("verify, without the signature", |bench| {
        bench.iter(|| verify(by_claims, &AcceptAll));
    });
    criterion.bench_function("verify ES256 in software", |bench| {
        bench.iter(|| verify(by_claims, &SoftwareVerifier));
    });
    for (name, configuration) in &configurations {
        let verified = verify(configuration, &AcceptAll);
        criterion.bench_function(&format!("map by {name}"), |bench| {
            bench.iter(|| configuration.jwt()[0].identity(black_box(&verified)).expect("a user"));
        });
    }
}

fn configurations(criterion: &mut Criterion) {
    let file = large_file();
    let mut group = criterion.benchmark_group("configuration");
    group.sample_size(10);
    group.bench_function("load 64 issuers with ten expressions each", |bench| {
        bench.iter(|| {
            config::load(black_box(file.as_bytes()), &LoadOptions::default()).expect("valid")
        });
    });
    group.finish();
}

criterion_group!(benches, tokens, configurations);
criterion_main!(benches);
