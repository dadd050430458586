//! A configuration for each provider that people copy, with a token of the shape that provider issues.
//!
//! `issuers/NAME.yaml` is the configuration as a user would write it, `issuers/NAME.json` the token, the user it stands for,
//! and changes of the token by which it must be refused: a rule that never refuses anything is no rule.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kube_authn::{
    Identity, Rules, UnverifiedToken,
    config::{self, AuthenticationConfiguration, LoadOptions},
    crypto::{Algorithm, CryptoError, SignatureVerifier, SoftwareVerifier},
    jwks::{KeySet, KeySetLimits, PublicKey},
    token::TokenLimits,
};
use p256::{ecdsa::signature::Signer as _, pkcs8::DecodePrivateKey as _};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use superboring::{
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::{Padding, Rsa},
};

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// All tokens are issued around this time.
const NOW: Duration = Duration::from_secs(1_800_000_000);

#[derive(Deserialize)]
struct Case {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    user: User,
    refused: Vec<Refused>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct User {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// A change of the token and what is said of it.
#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    without: Vec<String>,
    error: String,
}

impl From<Identity> for User {
    fn from(identity: Identity) -> Self {
        let Identity { username, uid, groups, extra } = identity;
        Self { username, uid, groups, extra }
    }
}

/// The files of a provider.
macro_rules! provider {
    ($test:ident, $name:literal) => {
        #[test]
        fn $test() {
            let configuration = include_bytes!(concat!("issuers/", $name, ".yaml"));
            check(configuration, include_bytes!(concat!("issuers/", $name, ".json")));
        }
    };
}

provider!(kubernetes, "kubernetes");
provider!(keycloak, "keycloak");
provider!(kanidm, "kanidm");
provider!(entra_id, "entra-id");
provider!(google, "google");
provider!(github_actions, "github-actions");
provider!(eks, "eks");
provider!(gke, "gke");
provider!(spiffe, "spiffe");
provider!(okta, "okta");
provider!(auth0, "auth0");
provider!(gitlab, "gitlab");
provider!(dex, "dex");
provider!(authentik, "authentik");
provider!(zitadel, "zitadel");
provider!(cognito, "cognito");

fn check(configuration: &[u8], case: &[u8]) {
    let configuration = config::load_yaml(configuration, &LoadOptions::default());
    let configuration = configuration.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(configuration.warnings(), []);
    let case: Case = serde_json::from_slice(case).expect("a case");
    let keys = key_set(&case.header);

    let token = sign(&case.header, &case.claims);
    assert_eq!(authenticate(&configuration, &keys, &SoftwareVerifier, &token), Ok(case.user));

    for refused in case.refused {
        let mut claims = case.claims.clone();
        claims.extend(refused.claims);
        claims.retain(|claim, _| !refused.without.contains(claim));
        let signature = vec![0; keys.keys()[0].kind().signature_length()];
        let token = format!("{}.{}", signing_input(&case.header, &claims), encode(&signature));
        let got = authenticate(&configuration, &keys, &AcceptAll, &token);
        assert_eq!(got, Err(refused.error));
    }
}

/// Takes every signature for good: what is refused here is refused for its claims.
struct AcceptAll;

impl SignatureVerifier for AcceptAll {
    fn verify(&self, _: Algorithm, _: &PublicKey, _: &[u8], _: &[u8]) -> Result<bool, CryptoError> {
        Ok(true)
    }
}

fn authenticate(
    configuration: &AuthenticationConfiguration,
    keys: &KeySet,
    verifier: &dyn SignatureVerifier,
    token: &str,
) -> Result<User, String> {
    let token = UnverifiedToken::parse(token.as_bytes(), &TokenLimits::default())
        .map_err(|error| error.to_string())?;
    let (_, authenticator) = configuration.authenticator_for(&token).ok_or("nobody's token")?;
    let verified = authenticator
        .verify(&token, keys, verifier, NOW, &Algorithm::ALL)
        .map_err(|error| error.to_string())?;
    let identity = authenticator.identity(&verified).map_err(|error| error.to_string())?;
    Ok(User::from(identity))
}

fn rsa_key() -> Rsa<Private> {
    Rsa::private_key_from_pem(include_bytes!("issuers/rs256.pem")).expect("an RSA key")
}

fn ec_key() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_pkcs8_pem(include_str!("issuers/es256.pem")).expect("an EC key")
}

fn key_set(header: &Map<String, Value>) -> KeySet {
    let mut key = match header["alg"].as_str() {
        Some("RS256") => {
            let key = rsa_key();
            json!({"kty": "RSA", "n": encode(&key.n().to_vec()), "e": encode(&key.e().to_vec())})
        }
        Some("ES256") => {
            let point = ec_key().verifying_key().to_sec1_point(false);
            let (x, y) = point.as_bytes()[1..].split_at(32);
            json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
        }
        other => panic!("no key for {other:?}"),
    };
    key["kid"] = header["kid"].clone();
    key["use"] = json!("sig");
    let document = json!({"keys": [key]}).to_string();
    KeySet::parse(document.as_bytes(), KeySetLimits::default(), Rules::default())
        .expect("a key set")
}

fn sign(header: &Map<String, Value>, claims: &Map<String, Value>) -> String {
    let input = signing_input(header, claims);
    let signature = if header["alg"] == "RS256" {
        let key = PKey::from_rsa(rsa_key()).expect("a key");
        let mut signer =
            superboring::sign::Signer::new(MessageDigest::sha256(), &key).expect("a signer");
        signer.set_rsa_padding(Padding::PKCS1).expect("a padding");
        signer.update(input.as_bytes()).expect("a digest");
        signer.sign_to_vec().expect("a signature")
    } else {
        let signature: p256::ecdsa::Signature = ec_key().sign(input.as_bytes());
        signature.to_bytes().to_vec()
    };
    format!("{input}.{}", encode(&signature))
}

fn signing_input(header: &Map<String, Value>, claims: &Map<String, Value>) -> String {
    let part = |members: &Map<String, Value>| encode(&serde_json::to_vec(members).expect("JSON"));
    format!("{}.{}", part(header), part(claims))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
