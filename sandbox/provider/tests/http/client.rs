//! The HTTP client of the tests, and the provider most of them talk to.

use std::{io::Read, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oidc_provider::{
    Algorithm, ClientConfig, Config, Endpoint, Issuer, IssuerConfig, Provider, User,
};
use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{HeaderMap, Response},
    tls::{Certificate, RootCerts, TlsConfig},
};

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A client that follows no redirect and keeps no connection.
pub struct Http(Agent);

impl Http {
    pub fn new(provider: &Provider) -> Self {
        let ca = Certificate::from_pem(provider.ca_pem().as_bytes()).unwrap();
        let roots = RootCerts::Specific(Arc::new(vec![ca]));
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(20)))
            .build();
        Self(config.into())
    }

    pub fn try_get(&self, url: &str) -> Result<Answer, String> {
        self.0.get(url).call().map_err(|error| error.to_string()).and_then(read)
    }

    pub fn get(&self, url: &str) -> Answer {
        self.try_get(url).unwrap()
    }

    pub fn get_with(&self, url: &str, header: (&str, &str)) -> Answer {
        read(self.0.get(url).header(header.0, header.1).call().unwrap()).unwrap()
    }

    pub fn post(&self, url: &str, form: &[(&str, &str)]) -> Answer {
        read(self.0.post(url).send_form(form.iter().copied()).unwrap()).unwrap()
    }

    pub fn post_with(&self, url: &str, header: (&str, &str), form: &[(&str, &str)]) -> Answer {
        let request = self.0.post(url).header(header.0, header.1);
        read(request.send_form(form.iter().copied()).unwrap()).unwrap()
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and `error`, as OAuth clients see a refusal.
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap_or_default().to_owned())
    }
}

fn read(response: Response<Body>) -> Result<Answer, String> {
    let (parts, body) = response.into_parts();
    let mut bytes = Vec::new();
    body.into_reader().read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes })
}

/// The claims of a JWT, unverified.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of a JWT.
pub fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// An issuer with a public client `cli`, a confidential one `web` (secret `s3cret`), and the user `alice`.
pub fn issuer() -> IssuerConfig {
    IssuerConfig::new("main", "/auth/realms/main")
        .algorithms([Algorithm::Rs256, Algorithm::Es256])
        .client(ClientConfig::public("cli"))
        .client(ClientConfig::confidential("web", "s3cret"))
        .user(
            User::new("alice", "wonderland")
                .subject("a-1")
                .email("alice@example.com")
                .groups(["developers", "testers"]),
        )
}

pub fn start() -> (Provider, Issuer, Http) {
    start_with(issuer())
}

pub fn start_with(issuer: IssuerConfig) -> (Provider, Issuer, Http) {
    let provider = Provider::start(Config::of(issuer)).unwrap();
    let http = Http::new(&provider);
    let issuer = provider.issuer();
    (provider, issuer, http)
}

/// Tokens for alice at `cli` by the password grant.
pub fn log_in(http: &Http, issuer: &Issuer, scope: &str) -> Value {
    let form = [
        ("grant_type", "password"),
        ("client_id", "cli"),
        ("username", "alice"),
        ("password", "wonderland"),
        ("scope", scope),
    ];
    let answer = http.post(&issuer.endpoint(Endpoint::Token), &form);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}
