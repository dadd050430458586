//! Discovery document and key set.

use oidc_provider::{Algorithm, Config, Endpoint, IssuerConfig, Provider, Rotation};

use crate::client::{Http, header, start, start_with};

#[test]
fn discovery_names_the_issuer_and_its_endpoints() {
    let (_provider, issuer, http) = start();
    let url = format!("{}/.well-known/openid-configuration", issuer.url());
    let answer = http.get(&url);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert_eq!(document["issuer"], issuer.url());
    assert_eq!(document["jwks_uri"], issuer.endpoint(Endpoint::Jwks));
    assert_eq!(document["token_endpoint"], issuer.endpoint(Endpoint::Token));
    assert_eq!(
        document["id_token_signing_alg_values_supported"],
        serde_json::json!(["RS256", "ES256"])
    );
    assert_eq!(issuer.requests(Endpoint::Discovery), 1);
}

#[test]
fn key_set_has_a_key_for_each_algorithm_and_tokens_name_theirs() {
    let config = IssuerConfig::new("all", "/all").algorithms(Algorithm::ALL);
    let (_provider, issuer, http) = start_with(config);
    let keys = http.get(&issuer.endpoint(Endpoint::Jwks)).json();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 12);
    for (key, algorithm) in keys.iter().zip(Algorithm::ALL) {
        assert_eq!(key["alg"], algorithm.name());
        assert_eq!(key["use"], "sig");
        assert!(key.get("d").is_none() && key.get("priv").is_none(), "no private part");
        let token = issuer
            .mint_with(&serde_json::json!({"a": 1}), oidc_provider::SignWith::Algorithm(algorithm));
        assert_eq!(header(&token)["kid"], key["kid"]);
    }
}

#[test]
fn rotation_shows_in_the_published_key_set() {
    let (_provider, issuer, http) = start();
    let kids = || {
        let keys = http.get(&issuer.endpoint(Endpoint::Jwks)).json();
        let keys = keys["keys"].as_array().unwrap();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = kids();
    issuer.rotate(Rotation::Overlap);
    assert_eq!(kids().len(), 4);
    assert!(kids().ends_with(&first));
    issuer.retire_old_keys();
    let second = kids();
    assert_eq!(second.len(), 2);
    issuer.rotate(Rotation::Replace);
    assert!(kids().iter().all(|kid| !second.contains(kid)));
}

#[test]
fn issuers_may_lie_below_each_other() {
    let config = Config::of(IssuerConfig::new("root", ""))
        .issuer(IssuerConfig::new("a", "/a"))
        .issuer(IssuerConfig::new("b", "/a/b/"));
    let provider = Provider::start(config).unwrap();
    let http = Http::new(&provider);
    for issuer in provider.issuers() {
        let url =
            format!("{}/.well-known/openid-configuration", issuer.url().trim_end_matches('/'));
        assert_eq!(http.get(&url).json()["issuer"], issuer.url());
    }
    assert!(provider.issuer_named("b").unwrap().url().ends_with("/a/b/"));
    assert_eq!(http.get(&format!("{}/nothing", provider.issuer().url())).status, 404);
}
