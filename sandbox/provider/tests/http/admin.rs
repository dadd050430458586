//! The administrative API, order by order.

use std::net::TcpStream;

use oidc_provider::{Algorithm, Config, Endpoint, Provider, Rotation};
use serde_json::{Value, json};
use ureq::{Agent, http::Request};

use crate::client::{Http, claims, header, issuer, log_in};

struct Admin {
    agent: Agent,
    base: String,
}

impl Admin {
    fn start() -> (Provider, Self) {
        let config = Config { admin: Some(([127, 0, 0, 1], 0).into()), ..Config::of(issuer()) };
        let provider = Provider::start(config).unwrap();
        let base = format!("http://{}", provider.admin_address().unwrap());
        let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
        (provider, Self { agent, base })
    }

    fn order(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let url = format!("{}{path}", self.base);
        let request = Request::builder().method(method).uri(url).body(body.to_string()).unwrap();
        let mut answer = self.agent.run(request).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    fn done(&self, method: &str, path: &str, body: &Value) {
        let path = format!("/issuers/main{path}");
        assert_eq!(self.order(method, &path, body), (204, String::new()), "{method} {path}");
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.order("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[test]
fn the_server() {
    let (provider, admin) = Admin::start();
    assert_eq!(admin.order("GET", "/healthz", &Value::Null), (200, "ok\n".to_owned()));
    assert_eq!(admin.order("GET", "/ca.pem", &Value::Null).1.trim(), provider.ca_pem().trim());
    let main = provider.issuer();
    assert_eq!(admin.get("/issuers"), json!([{"name": "main", "url": main.url()}]));
    let added = admin.order("POST", "/issuers", &json!({"name": "b", "path": "/b"}));
    assert_eq!(added.0, 201, "{}", added.1);
    assert!(provider.issuer_named("b").is_some());
    assert_eq!(admin.order("POST", "/issuers", &json!({"name": "b", "path": "/c"})).0, 400);

    assert_eq!(admin.order("POST", "/down", &Value::Null).0, 204);
    assert!(TcpStream::connect(provider.address()).is_err());
    assert_eq!(admin.order("POST", "/up", &Value::Null).0, 204);
    assert!(TcpStream::connect(provider.address()).is_ok());
}

#[test]
fn users_and_groups() {
    let (provider, admin) = Admin::start();
    let (main, http) = (provider.issuer(), Http::new(&provider));
    let groups = || claims(&main.token("alice", "cli").mint())["groups"].clone();
    admin.done("PUT", "/users/alice/groups/system:masters", &Value::Null);
    assert_eq!(groups(), json!(["developers", "testers", "system:masters"]));
    admin.done("DELETE", "/users/alice/groups/developers", &Value::Null);
    admin.done("PUT", "/users/alice/groups/a%2Fb%20c", &Value::Null);
    assert_eq!(groups(), json!(["testers", "system:masters", "a/b c"]));
    admin.done("PUT", "/users/alice/groups", &json!(["one"]));
    assert_eq!(groups(), json!(["one"]));

    let refresh_token = log_in(&http, &main, "openid")["refresh_token"].clone();
    admin.done("DELETE", "/users/alice/logins", &Value::Null);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", refresh_token.as_str().unwrap()),
    ];
    assert_eq!(http.post(&main.endpoint(Endpoint::Token), &form).status, 400);

    admin.done("POST", "/users", &json!({"name": "bob", "password": "b"}));
    assert_eq!(claims(&main.token("bob", "cli").mint())["sub"], "bob");
    admin.done("DELETE", "/users/bob", &Value::Null);
    assert!(main.try_token("bob", "cli").is_err());
    let unknown = admin.order("PUT", "/issuers/main/users/bob/groups/x", &Value::Null);
    assert_eq!(unknown, (404, r#"{"error":"issuer main has no user \"bob\""}"#.to_owned()));
}

#[test]
fn keys_settings_and_misbehaviours() {
    let (provider, admin) = Admin::start();
    let (main, http) = (provider.issuer(), Http::new(&provider));
    let published = || main.jwks()["keys"].as_array().unwrap().len();
    admin.done("POST", "/keys/rotate", &json!(Rotation::Overlap));
    assert_eq!(published(), 4);
    admin.done("POST", "/keys/retire", &Value::Null);
    assert_eq!(published(), 2);
    let kid = main.key(Algorithm::Rs256).unwrap().kid().to_owned();
    admin.done("POST", "/keys/rotate", &json!("replace"));
    assert_ne!(main.key(Algorithm::Rs256).unwrap().kid(), kid);

    let settings = json!({"token_lifetime_seconds": 7, "jti": false, "cache_control": "max-age=9",
        "clock_offset_seconds": 1000});
    admin.done("PATCH", "/settings", &settings);
    let token = claims(&main.token("alice", "cli").mint());
    assert_eq!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), 7);
    assert!(token.get("jti").is_none());
    let url = main.endpoint(Endpoint::Jwks);
    assert_eq!(http.get(&url).header("cache-control"), Some("max-age=9"));
    admin.done("PATCH", "/settings", &json!({"cache_control": ""}));
    assert_eq!(http.get(&url).header("cache-control"), None);

    admin.done("PUT", "/misbehaviours/jwks", &json!({"answer": {"status": 500}}));
    assert_eq!(http.get(&url).status, 500);
    admin.done("DELETE", "/misbehaviours/jwks", &Value::Null);
    assert_eq!(http.get(&url).status, 200);
    admin.done("PUT", "/misbehaviours/jwks", &json!({"answer": "html"}));
    admin.done("DELETE", "/misbehaviours", &Value::Null);
    assert_eq!(http.get(&url).json(), main.jwks());

    assert_eq!(admin.get("/issuers/main/requests")["jwks"], 5);
    admin.done("DELETE", "/requests", &Value::Null);
    assert_eq!(admin.get("/issuers/main/requests")["jwks"], 0);
}

#[test]
fn tokens_clients_and_devices() {
    let (provider, admin) = Admin::start();
    let (main, http) = (provider.issuer(), Http::new(&provider));
    let mint = |body: &Value| {
        let (status, body) = admin.order("POST", "/issuers/main/tokens", body);
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["token"].as_str().unwrap().to_owned()
    };
    let token = mint(&json!({"user": "alice", "client": "cli", "expires_in": -10,
        "claims": {"hd": "x"}, "without": ["jti"], "header": {"kid": "k"}}));
    let (claims, header_) = (claims(&token), header(&token));
    assert_eq!(
        (&claims["hd"], &claims["sub"], &header_["kid"]),
        (&json!("x"), &json!("a-1"), &json!("k"))
    );
    assert!(claims.get("jti").is_none());
    assert!(claims["exp"].as_i64() < claims["iat"].as_i64());
    assert_eq!(header(&mint(&json!({"sign": "none"})))["alg"], "none");
    let attack = json!({"sign": {"public-key-as-secret": "pem"}});
    assert_eq!(header(&mint(&attack))["alg"], "HS256");
    let es256 = json!({"sign": {"algorithm": "ES256"}});
    assert_eq!(header(&mint(&es256))["alg"], "ES256");
    assert_eq!(admin.order("POST", "/issuers/main/tokens", &json!({"user": "x"})).0, 404);
    let no_key = json!({"sign": {"kid": "x"}});
    assert_eq!(admin.order("POST", "/issuers/main/tokens", &no_key).0, 400);

    admin.done("POST", "/clients", &json!({"id": "tv"}));
    let device =
        http.post(&main.endpoint(Endpoint::DeviceAuthorization), &[("client_id", "tv")]).json();
    let path = format!("/devices/{}", device["user_code"].as_str().unwrap());
    admin.done("POST", &path, &json!({"user": "alice"}));
    let again = admin.order("POST", &format!("/issuers/main{path}"), &json!({}));
    assert_eq!(again.0, 404, "decided already");
}

#[test]
fn orders_that_make_no_sense() {
    let (_provider, admin) = Admin::start();
    for (method, path, body, want) in [
        ("GET", "/nothing", json!(null), 404),
        ("POST", "/issuers/other/keys/retire", json!(null), 404),
        ("GET", "/issuers/main/nothing", json!(null), 404),
        ("PUT", "/issuers/main/misbehaviours/nothing", json!({}), 404),
        ("PUT", "/issuers/main/misbehaviours/jwks", json!({"answer": "magic"}), 400),
        ("PUT", "/issuers/main/misbehaviours/jwks", json!({"every": 0}), 400),
        ("PATCH", "/issuers/main/settings", json!({"jit": false}), 400),
        ("POST", "/issuers/main/keys/rotate", json!("sideways"), 400),
    ] {
        let (status, text) = admin.order(method, path, &body);
        assert_eq!(status, want, "{method} {path}: {text}");
        let error: Value = serde_json::from_str(&text).unwrap();
        assert!(error["error"].is_string(), "{text}");
    }
}

#[test]
fn web_pages_give_no_orders() {
    let (_provider, admin) = Admin::start();
    let url = format!("{}/down", admin.base);
    for (name, value) in [("Origin", "https://evil.example"), ("Host", "evil.example:80")] {
        let answer = admin.agent.post(&url).header(name, value).send_empty().unwrap();
        assert_eq!(answer.status().as_u16(), 403, "{name}");
    }
}
