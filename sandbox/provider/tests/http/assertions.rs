//! Clients that prove themselves with a key (RFC 7523).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oidc_provider::{ClientConfig, ClientKey, Endpoint, Issuer};
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};

use crate::client::{Answer, Http, issuer, start_with};

const BY_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const AS_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn signed(key: &ClientKey, claims: &Value) -> String {
    let is_rsa = key.jwk["kty"] == "RSA";
    let algorithm = if is_rsa { "RS256" } else { "ES256" };
    let header = json!({"alg": algorithm, "kid": key.jwk["kid"]});
    let message = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = KeyPair::from_pem(&key.pem).unwrap().sign(message.as_bytes()).unwrap();
    let signature = if is_rsa { signature } else { fixed(&signature) };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The two numbers of a signature, each in 32 bytes, of its DER.
fn fixed(der: &[u8]) -> Vec<u8> {
    let length = usize::from(der[3]);
    let (r, s) = (&der[4..4 + length], &der[6 + length..]);
    let number = |bytes: &[u8]| {
        let bytes = &bytes[bytes.len().saturating_sub(32)..];
        [vec![0; 32 - bytes.len()], bytes.to_vec()].concat()
    };
    [number(r), number(s)].concat()
}

fn claims(issuer: &Issuer, jti: &str) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": "machine", "sub": "machine", "aud": issuer.endpoint(Endpoint::Token),
        "iat": now, "exp": now + 300, "jti": jti,
    })
}

fn machine(key: &ClientKey) -> ClientConfig {
    let mut machine = ClientConfig::public("machine");
    machine.keys = vec![key.jwk.clone()];
    machine.acts_as = vec!["admin@example.com".to_owned()];
    machine
}

#[test]
fn a_client_proves_itself_by_an_assertion_that_is_meant_and_used_once() {
    let key = ClientKey::es256("k");
    let (_provider, issuer, http) = start_with(issuer().client(machine(&key)));
    let ask = |http: &Http, assertion: &str| -> Answer {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", BY_ASSERTION),
            ("client_assertion", assertion),
        ];
        http.post(&issuer.endpoint(Endpoint::Token), &form)
    };
    let good = signed(&key, &claims(&issuer, "1"));
    assert_eq!(ask(&http, &good).status, 200);
    let refused = (401, "invalid_client".to_owned());
    assert_eq!(ask(&http, &good).refusal(), refused, "it was used");
    let with = |name: &str, value: Value| {
        let mut claims = claims(&issuer, name);
        claims[name] = value;
        signed(&key, &claims)
    };
    let mut odd = vec![
        with("aud", json!("https://elsewhere.example/token")),
        with("iss", json!("web")),
        with("sub", json!("web")),
        with("exp", json!(1)),
        with("exp", json!(9_999_999_999_u64)),
        with("iat", json!(9_999_999_999_u64)),
        with("jti", Value::Null),
    ];
    let stranger = ClientKey::es256("k");
    odd.push(signed(&stranger, &claims(&issuer, "s")));
    let unsigned = signed(&key, &claims(&issuer, "u"));
    odd.push(unsigned.rsplit_once('.').unwrap().0.to_owned() + ".");
    odd.push("a.b.c".to_owned());
    for assertion in odd {
        assert_eq!(ask(&http, &assertion).refusal(), refused, "{assertion}");
    }
    let alone = [("grant_type", "client_credentials"), ("client_id", "machine")];
    let answer = http.post(&issuer.endpoint(Endpoint::Token), &alone);
    assert_eq!(answer.refusal(), refused, "a client with a key has to prove itself");
}

#[test]
fn an_assertion_is_a_grant_for_whom_the_client_may_act_as() {
    let key = ClientKey::es256("k");
    let mut other = machine(&ClientKey::rs256("r"));
    other.id = "other".to_owned();
    let (_provider, issuer, http) = start_with(issuer().client(machine(&key)).client(other));
    let ask = |assertion: &str| {
        let form = [("grant_type", AS_GRANT), ("assertion", assertion)];
        http.post(&issuer.endpoint(Endpoint::Token), &form)
    };
    let of = |jti: &str, subject: &str, scope: &str| {
        let mut claims = claims(&issuer, jti);
        claims["sub"] = json!(subject);
        claims["scope"] = json!(scope);
        signed(&key, &claims)
    };
    let good = of("1", "admin@example.com", "groups");
    let tokens = ask(&good).json();
    assert_eq!(tokens["scope"], "groups");
    assert_eq!(ask(&good).refusal(), (400, "invalid_grant".to_owned()), "it was used");
    let unauthorized = (400, "unauthorized_client".to_owned());
    assert_eq!(ask(&of("2", "jane@example.com", "groups")).refusal(), unauthorized);
    let unknown = ask(&of("3", "admin@example.com", "nonsense")).refusal();
    assert_eq!(unknown, (400, "invalid_scope".to_owned()));
    let mut by_rsa = claims(&issuer, "5");
    by_rsa["iss"] = json!("other");
    by_rsa["sub"] = json!("admin@example.com");
    assert_eq!(ask(&signed(&ClientKey::rs256("r"), &by_rsa)).status, 200);
    let stranger = signed(&ClientKey::es256("k"), &claims(&issuer, "4"));
    assert_eq!(ask(&stranger).refusal(), (400, "invalid_grant".to_owned()));
}
