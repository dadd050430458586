//! The forms in which providers answer, in `providers.json`: written for these tests after what is known of each. `ID_TOKEN` and
//! `REFRESH` stand for tokens, `KEEP` for what the test's provider says.

mod common;

use std::fs;

use common::{World, only_file};
use oidc_provider::{Answer, Endpoint, Misbehaviour};
use serde_json::{Map, Value};

const ENDPOINTS: [(&str, Endpoint); 6] = [
    ("authorization_endpoint", Endpoint::Authorization),
    ("token_endpoint", Endpoint::Token),
    ("jwks_uri", Endpoint::Jwks),
    ("device_authorization_endpoint", Endpoint::DeviceAuthorization),
    ("revocation_endpoint", Endpoint::Revocation),
    ("end_session_endpoint", Endpoint::EndSession),
];

fn providers() -> Vec<Value> {
    serde_json::from_str(include_str!("providers.json")).expect("JSON")
}

fn answer(world: &World, endpoint: Endpoint, status: u16, content_type: &str, body: String) {
    let answer = Answer::Body { status, content_type: content_type.to_owned(), body };
    world.issuer.misbehave(endpoint, Misbehaviour::answer(answer)).expect("it can be served");
}

/// The provider's discovery document: ours, with what it has beside or otherwise.
fn discover(world: &World, provider: &Value) {
    let mut document = Map::new();
    document.insert("issuer".to_owned(), world.issuer.url().into());
    for (name, endpoint) in ENDPOINTS {
        document.insert(name.to_owned(), world.issuer.endpoint(endpoint).into());
    }
    for (name, value) in provider["discovery"].as_object().expect("an object") {
        if value != "KEEP" {
            document.insert(name.clone(), value.clone());
        }
    }
    let document = Value::Object(document).to_string();
    answer(world, Endpoint::Discovery, 200, "application/json", document);
}

/// What the token endpoint answers with this ID token.
fn answer_token(world: &World, provider: &Value, name: &str, token: &str) {
    let body = match provider.get(name).or_else(|| provider.get("token")) {
        Some(body) => body.to_string(),
        None => provider["form"].as_str().expect("a form").to_owned(),
    };
    let body = body.replace("ID_TOKEN", token).replace("REFRESH", "r3fresh");
    let status = provider["status"].as_u64().map_or(200, |status| u16::try_from(status).unwrap());
    let content_type = provider["contentType"].as_str().unwrap_or("application/json");
    answer(world, Endpoint::Token, status, content_type, body);
}

#[test]
fn every_providers_answers_are_understood() {
    let world = World::new();
    let providers = providers();
    assert!(providers.len() >= 20);
    for (index, provider) in providers.iter().enumerate() {
        let name = provider["name"].as_str().unwrap();
        let [first, second] = ["first", "second"]
            .map(|id| world.issuer.token("alice", "kube").claim("jti", id).mint());
        let folder = world.path(&format!("store-{index}"));
        let plugin = || {
            let store = format!("--token-store-dir={}", folder.display());
            world.get_token().args(["--username=alice", "--password=secret", &store])
        };
        let refresh_token = || {
            let text = fs::read_to_string(only_file(&folder.join("tokens"))).unwrap();
            let record: Value = serde_json::from_str(&text).unwrap();
            record["refresh_token"].as_str().map(str::to_owned)
        };
        discover(&world, provider);
        answer_token(&world, provider, "token", &first);
        let outcome = plugin().run();
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.stderr);
        assert_eq!(outcome.credential().token, first, "{name}");
        let kept = provider["refreshable"].as_bool().unwrap().then(|| "r3fresh".to_owned());
        assert_eq!(refresh_token(), kept, "{name}");

        answer_token(&world, provider, "refresh", &second);
        let outcome = plugin().arg("--force-refresh").run();
        assert_eq!(outcome.credential().token, second, "{name}: {}", outcome.stderr);
        assert_eq!(refresh_token(), kept, "{name}: one that is not replaced goes on");
        world.issuer.behave();
    }
}

#[test]
fn every_providers_device_codes_are_understood() {
    let world = World::new();
    let mut seen = 0;
    for provider in providers() {
        let Some(device) = provider.get("device") else { continue };
        let name = provider["name"].as_str().unwrap();
        let token = world.issuer.token("alice", "kube").mint();
        discover(&world, &provider);
        answer(&world, Endpoint::DeviceAuthorization, 200, "application/json", device.to_string());
        answer_token(&world, &provider, "token", &token);
        let plugin = world.get_token().args(["--grant-type=device-code", "--token-store=none"]);
        let outcome = plugin.run();
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.stderr);
        assert_eq!(outcome.credential().token, token, "{name}");
        let address = device.get("verification_uri").or(device.get("verification_url")).unwrap();
        let code = match &device["user_code"] {
            Value::String(code) => code.clone(),
            other => other.to_string(),
        };
        let line = format!("Log in at {} and enter the code {code}", address.as_str().unwrap());
        assert!(outcome.stderr.contains(&line), "{name}: {}", outcome.stderr);
        world.issuer.behave();
        seen += 1;
    }
    assert!(seen >= 8, "{seen}");
}

/// A client's secret is wanted in one place and announced for the other, or not at all.
#[test]
fn a_secret_is_shown_where_the_issuer_wants_it() {
    let world = World::with(|issuer| {
        issuer.clients[0] = oidc_provider::ClientConfig::confidential("kube", "s3cret");
    });
    for announced in ["client_secret_basic", "client_secret_post"] {
        let methods = serde_json::json!({
            "discovery": {"token_endpoint_auth_methods_supported": [announced]}
        });
        discover(&world, &methods);
        let token = world.issuer.token("alice", "kube").mint();
        let refusal = r#"{"error":"invalid_client"}"#.to_owned();
        let body = Answer::Body {
            status: 401,
            content_type: "application/json".to_owned(),
            body: refusal,
        };
        // The first place is refused, whichever it is.
        let once = Misbehaviour::answer(body).times(1);
        world.issuer.misbehave(Endpoint::Token, once).unwrap();
        let plugin = world.get_token().args(["--token-store=none", "--oidc-client-secret=s3cret"]);
        let outcome = plugin.args(["--username=alice", "--password=secret", "-v"]).run();
        assert_eq!(outcome.code, Some(0), "{announced}: {}", outcome.stderr);
        let (header, body) = ("(Authorization: ***)", "client_secret=***");
        for place in [header, body] {
            assert_eq!(outcome.stderr.matches(place).count(), 1, "{announced}: {}", outcome.stderr);
        }
        assert_ne!(outcome.credential().token, token);
        world.issuer.behave();
    }
}

/// Keycloak refuses a device without a PKCE challenge where the client must have one, Dex looks for the client's name and secret in
/// the body alone, and others choke on what they do not know.
#[test]
fn a_device_shows_its_challenge_and_its_client() {
    let world = World::with(|issuer| {
        issuer.clients[0] = oidc_provider::ClientConfig::confidential("kube", "s3cret");
    });
    let device = || {
        world
            .get_token()
            .args(["--grant-type=device-code", "--token-store=none", "-v"])
            .args(["--oidc-client-secret=s3cret", "--oidc-extra-scope=profile"])
    };
    let log_in = |plugin: common::Plugin| {
        let mut running = plugin.spawn();
        let line = running.line_with("enter the code");
        let code = line.split_whitespace().last().unwrap().to_owned();
        assert!(world.issuer.approve_device(&code, "alice").unwrap());
        let outcome = running.finish();
        outcome.credential();
        outcome.stderr
    };
    let asked = |stderr: &str, what: &str| -> Vec<String> {
        stderr.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    };
    let stderr = log_in(device());
    let first = asked(&stderr, "device_code").iter().any(|line| line.contains("code_verifier=***"));
    assert!(first, "the proof is shown: {stderr}");
    let began = asked(&stderr, "code_challenge=");
    assert_eq!(began.len(), 1, "{stderr}");
    assert!(began[0].contains("client_id=kube"), "{stderr}");
    assert!(began[0].contains("client_secret=***"), "{stderr}");
    assert!(!began[0].contains("Authorization"), "one proof, not two: {stderr}");
    assert!(began[0].contains("code_challenge_method=S256"), "{stderr}");

    let body = r#"{"error":"invalid_request","error_description":"unknown parameter"}"#.to_owned();
    let refusal = Answer::Body { status: 400, content_type: "application/json".to_owned(), body };
    let once = Misbehaviour::answer(refusal).times(1);
    world.issuer.misbehave(Endpoint::DeviceAuthorization, once).unwrap();
    let stderr = log_in(device());
    assert!(!stderr.contains("code_verifier"), "{stderr}");
}
