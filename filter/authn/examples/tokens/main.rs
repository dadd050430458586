//! Writes the questions of the token corpus (tests/conformance): configurations, and tokens of every quirk for each.
//!
//! ```text
//! cargo run -p kube-authn --example tokens [SEED [CONFIGURATIONS]] | reference token
//! ```
//!
//! The same seed makes the same bytes. Two configurations get every odd value in every place, one after the other; the
//! others are random, and so are their tokens, about half of them good. Each line is a JSON object
//! `{name, config, jwks: {issuer: document}, http: {url: body}, time, tokens: [{name, token}]}`.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a program around the library"
)]

mod claims;
mod configuration;
mod header;
mod keys;
mod ml_dsa;
mod odd;
mod token;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fastrand::Rng;
use serde_json::json;

use self::{configuration::Configuration, keys::Keys};

/// When everything takes place (2096-10-02T07:06:40Z): far enough away that a real API server with a clock of its own takes
/// the tokens that are good then.
const NOW: i64 = 4_000_000_000;
const NOW_TEXT: &str = "2096-10-02T07:06:40Z";

/// Tokens for each random configuration.
const TOKENS: usize = 30;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| {
        text.parse().unwrap_or_else(|_| {
            eprintln!("tokens: usage: tokens [SEED [CONFIGURATIONS]]");
            std::process::exit(2)
        })
    });
    let mut rng = Rng::with_seed(numbers.next().unwrap_or(1));
    let count = numbers.next().unwrap_or(70);
    let keys = Keys::new();
    for (configuration, name) in configuration::systematic() {
        let tokens = token::every(&configuration, &keys, &mut rng);
        print(&name, &configuration, &keys, &tokens);
    }
    for index in 0..count {
        let configuration = Configuration::random(index, &mut rng);
        let tokens: Vec<_> =
            (0..TOKENS).map(|_| token::random(&configuration, &keys, &mut rng)).collect();
        print(&format!("random {index}"), &configuration, &keys, &tokens);
    }
    for question in ml_dsa::questions(&keys, &mut rng) {
        println!("{question}");
    }
}

fn print(name: &str, configuration: &Configuration, keys: &Keys, tokens: &[(String, String)]) {
    let jwks: serde_json::Map<_, _> = configuration
        .issuers
        .iter()
        .map(|issuer| (issuer.url.clone(), keys.set(issuer.key_set).into()))
        .collect();
    let tokens: Vec<_> =
        tokens.iter().map(|(name, token)| json!({"name": name, "token": token})).collect();
    let question = json!({
        "name": name,
        "config": configuration.file,
        "jwks": jwks,
        "http": configuration.http(keys),
        "time": NOW_TEXT,
        "tokens": tokens,
    });
    println!("{question}");
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("what was encoded here")
}
