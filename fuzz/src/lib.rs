//! What holds of any input whatever, a function for each target: no panic, no overflow, an end within bounds, and what the
//! functions assert. `make fuzz` looks for inputs that break it; `filter/authn/tests/fuzz_corpus.rs` replays the corpora.

use std::sync::LazyLock;
use std::time::Duration;

use apiserver_cel::{Environment, UserInfo};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use go_compat::json::{self, Limits, Object, Value};
use kube_authn::Rules;
use kube_authn::config::{self, AuthenticationConfiguration, LoadOptions};
use kube_authn::crypto::{Algorithm, CryptoError, SignatureVerifier};
use kube_authn::jwks::{KeySet, KeySetLimits, PublicKey};
use kube_authn::token::TokenLimits;
use kube_authn::{Identity, UnverifiedToken};

/// When every token comes.
const NOW: Duration = Duration::from_secs(1_800_000_000);

/// Takes every signature for good: what is behind the signature is to be reached.
struct Trusting;

impl SignatureVerifier for Trusting {
    fn verify(&self, _: Algorithm, _: &PublicKey, _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Ok(true)
    }
}

/// Maps claims, and by an expression in every place there is.
static CONFIGURATION: LazyLock<AuthenticationConfiguration> = LazyLock::new(|| {
    let file = include_bytes!("../configuration.json");
    config::load(file, &LoadOptions::default()).expect("a valid configuration")
});

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let document = include_bytes!("../keys.json");
    KeySet::parse(document, KeySetLimits::default(), Rules::default()).expect("a key set")
});

static CLAIMS: LazyLock<Object> = LazyLock::new(|| {
    let claims = include_bytes!("../../tests/conformance/cel/claims.json");
    match json::parse(claims, Limits { depth: 32, values: 4096 }) {
        Ok(Value::Object(claims)) => claims,
        other => panic!("{other:?}"),
    }
});

/// A token as it comes, or its three parts, each up to a zero byte, before they are encoded. A key set has the same
/// text.
pub fn token(input: &[u8]) {
    authenticate(input);
    let parts: Vec<String> =
        input.splitn(3, |byte| *byte == 0).map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
    authenticate(parts.join(".").as_bytes());
    if let Ok(keys) = KeySet::parse(input, KeySetLimits::default(), Rules::default()) {
        assert!(keys.len() + keys.skipped().len() <= KeySetLimits::default().keys);
    }
}

/// The claims of a token that is good otherwise, if they do not say when it ends and for whom it is.
pub fn claims(input: &[u8]) {
    const HEADER: &str = r#"{"alg":"ES256","kid":"a"}"#;
    for issuer in ["https://claims.example", "https://cel.example"] {
        let good = format!(r#"{{"iss":"{issuer}","aud":"kubernetes","exp":1800000060,"#);
        let members = input.strip_prefix(b"{").unwrap_or(input);
        let payload = [good.as_bytes(), members].concat();
        let parts = [HEADER.as_bytes(), payload.as_slice(), &[0; 64]];
        let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        if let Some(identity) = authenticate(token.as_bytes()) {
            assert!(identity.extra.values().all(|values| !values.is_empty()));
        }
    }
}

fn authenticate(token: &[u8]) -> Option<Identity> {
    let token = UnverifiedToken::parse(token, &TokenLimits::default()).ok()?;
    let (_, jwt) = CONFIGURATION.authenticator_for(&token)?;
    let verified = jwt.verify(&token, &KEYS, &Trusting, NOW, &Algorithm::ALL).ok()?;
    assert!(verified.expires_at() >= NOW, "a token that is good has not ended");
    let source = jwt.groups_source(&verified);
    let identity = jwt.identity(&verified).ok()?;
    assert_eq!(source, Ok(None), "groups that are elsewhere are never just left out");
    Some(identity)
}

/// A file, as YAML and as JSON. What a valid one says in JSON is valid, and says the same.
pub fn configuration(input: &[u8]) {
    let options = LoadOptions {
        disallowed_issuers: vec!["https://sa.example".to_owned()],
        ..LoadOptions::default()
    };
    let from_json = config::load(input, &options);
    let Ok(loaded) = config::load_yaml(input, &options) else { return };
    assert!(!loaded.jwt().iter().any(|jwt| jwt.audiences().is_empty()));
    assert!(!loaded.jwt().iter().any(|jwt| jwt.issuer_url() == "https://sa.example"));
    if let Ok(from_json) = from_json {
        assert_eq!(from_json.raw(), loaded.raw());
    }
}

/// An expression about claims and about a user: compiled, and evaluated if it compiles, within its budget.
pub fn expression(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(program) = apiserver_cel::compile(text, Environment::Claims, Rules::default()) {
        let evaluated = program.evaluate_counted(&CLAIMS);
        if let Ok(value) = &evaluated.result {
            let _ = value.to_string_list();
            assert!(evaluated.cost <= apiserver_cel::COST_LIMIT);
        }
    }
    if let Ok(program) = apiserver_cel::compile(text, Environment::User, Rules::default()) {
        let (groups, extra) = (
            ["a".to_owned(), "b".to_owned()],
            [("example.org/a".to_owned(), vec!["x".to_owned()])],
        );
        let extra = extra.into_iter().collect();
        let user = UserInfo { username: "jane", uid: "1", groups: &groups, extra: &extra };
        drop(program.evaluate_user_counted(&user).result);
    }
}
