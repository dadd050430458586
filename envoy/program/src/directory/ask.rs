//! One user's groups, page after page, as the gateway would ask for them, with each step told.

use std::time::{Duration, Instant};

use gateway_client::{Client, Pair, Source as File, Trust};
use gateway_config::Callout;
use gateway_core::{
    callout::{Cause, Fault, Response},
    config::{CheckedCredential, ClientCertificate},
    group_store::Pages,
    groups::{Question, Source},
    headers::HeaderList,
};
use ureq::Agent;

use super::token::{self, Token, TokenError};
use crate::words::{of_client, printable};

/// Bytes of one answer.
const MOST: u64 = 1 << 20;
/// What Envoy puts on every answer of a server, by which the filter tells those from Envoy's own.
const OF_SERVER: &str = "x-envoy-upstream-service-time";
/// What servers say of how often they may be asked.
const LIMITS: [&str; 7] = [
    "retry-after",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
];

/// What a server knows of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// All that it answered.
    pub answered: Vec<String>,
    /// Those that count.
    pub groups: Vec<String>,
}

/// Why groups cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no token for the server.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The credential cannot be read.
    #[error("credential.{field}: {reason}")]
    File {
        /// The field that names the file.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// A certificate or a CA is none.
    #[error("{0}")]
    Tls(String),
    /// The server does not answer, or something else.
    #[error("{method} {url}: {fault}")]
    Answer {
        /// How it was asked.
        method: &'static str,
        /// What was asked.
        url: String,
        /// The status code, if there was an answer.
        status: Option<u16>,
        /// What is wrong.
        fault: Fault,
    },
}

impl AskError {
    /// What kind of fault it is.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Token(error) => error.cause(),
            Self::File { .. } => Cause::Document,
            Self::Tls(_) => Cause::Certificate,
            Self::Answer { fault, .. } => fault.cause,
        }
    }

    /// The server's status code, where it is what says no.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. } => *status,
            _ => None,
        }
    }
}

/// The files of a server's credential, each with its field.
#[must_use]
pub fn secret_files(callout: &Callout) -> Vec<(&'static str, &str)> {
    match callout.credential.given() {
        CheckedCredential::None => vec![],
        CheckedCredential::OAuth2(it) => {
            vec![("oauth2.clientSecretFile", &it.client_secret_file)]
        }
        CheckedCredential::Assertion(it) => vec![("assertion.keyFile", &it.key_file)],
        CheckedCredential::Bearer(path) => vec![("bearerTokenFile", path)],
        CheckedCredential::Basic(path) => vec![("basicFile", path)],
        CheckedCredential::Certificate(it) => vec![
            ("clientCertificate.certificateFile", &it.certificate_file),
            ("clientCertificate.keyFile", &it.key_file),
        ],
    }
}

/// Asks. `tell` gets a line for each step; no credential is in it.
///
/// # Errors
/// If the groups cannot be had.
pub fn ask(
    source: &Source,
    callout: &Callout,
    question: &Question,
    now: Duration,
    tell: &mut dyn FnMut(String),
) -> Result<Found, AskError> {
    let authorization = match &question.authorization {
        Some(users) => {
            tell("it is shown the user's own token".to_owned());
            Some(users.clone())
        }
        None => authorization(callout, now, tell)?,
    };
    let agent = agent(source, callout)?;
    let mut pages = Pages::new(source, question);
    let mut answered = Vec::new();
    while let Some(path) = pages.next().map(str::to_owned) {
        let url = format!("https://{}{path}", source.authority);
        let method = if question.body.is_some() { "POST" } else { "GET" };
        let begun = Instant::now();
        let page = one(&agent, &url, question.body.as_deref(), authorization.as_deref());
        let (status, headers, body) = page.map_err(|fault| {
            tell(format!("{method} {url}: {fault}"));
            AskError::Answer { method, url: url.clone(), status: None, fault }
        })?;
        let head = format!(
            "{method} {url}: HTTP {status} in {} ms{}",
            begun.elapsed().as_millis(),
            limits(&headers)
        );
        let response = Response { status, headers: &headers, body: &body };
        let groups = pages.take(Ok(response)).map_err(|fault| {
            tell(format!("{head}: {fault}"));
            AskError::Answer { method, url: url.clone(), status: Some(status), fault }
        })?;
        let more = if pages.next().is_some() { ", and there is another page" } else { "" };
        tell(format!("{head}: {} groups{more}", groups.len()));
        answered.extend(groups);
    }
    Ok(Found { answered, groups: pages.groups() })
}

/// The header by which it sees who asks, if there is one.
fn authorization(
    callout: &Callout,
    now: Duration,
    tell: &mut dyn FnMut(String),
) -> Result<Option<String>, AskError> {
    let read = |field: &'static str, path: &str| {
        let bytes = File::File(path.into()).read();
        let bytes = bytes.map_err(|reason| AskError::File { field, reason })?;
        let text = String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let reason = || format!("{path}: must have one word of printable ASCII");
        if fits { Ok(text) } else { Err(AskError::File { field, reason: reason() }) }
    };
    let told = |what: String, token: Result<Token, TokenError>, tell: &mut dyn FnMut(String)| {
        match &token {
            Ok(token) => tell(format!("{what}: a token for {} s", token.lifetime.as_secs())),
            Err(error) => tell(format!("{what}: {error}")),
        }
        Ok::<_, AskError>(Some(format!("Bearer {}", token?.value)))
    };
    match callout.credential.given() {
        CheckedCredential::None => {
            tell("it is shown no credential".to_owned());
            Ok(None)
        }
        CheckedCredential::Certificate(ClientCertificate { certificate_file, .. }) => {
            tell(format!("it is shown the certificate of {certificate_file}"));
            Ok(None)
        }
        CheckedCredential::Bearer(path) => {
            tell(format!("it is shown the token of {path}"));
            Ok(Some(format!("Bearer {}", read("bearerTokenFile", path)?)))
        }
        CheckedCredential::Basic(path) => {
            tell(format!("it is shown the name and password of {path}"));
            Ok(Some(format!("Basic {}", read("basicFile", path)?)))
        }
        CheckedCredential::OAuth2(it) => {
            let what = format!(
                "a token for client {:?}, by the secret of {}, from {}",
                it.client_id, it.client_secret_file, it.token_endpoint
            );
            told(what, token::by_secret(callout, it), tell)
        }
        CheckedCredential::Assertion(it) => {
            let what = format!(
                "a token for {:?}, by an assertion with the key of {}, from {}",
                it.client_id, it.key_file, it.token_endpoint
            );
            let key = File::File((&it.key_file).into()).read();
            let token = key
                .map_err(|reason| TokenError::File { field: "assertion.keyFile", reason })
                .and_then(|key| token::by_assertion(callout, it, &key, now));
            told(what, token, tell)
        }
    }
}

fn agent(source: &Source, callout: &Callout) -> Result<Agent, AskError> {
    let read = |field: &'static str, path: &str| {
        File::File(path.into()).read().map_err(|reason| AskError::File { field, reason })
    };
    let pair = match callout.credential.given() {
        CheckedCredential::Certificate(it) => Some(Pair {
            chain: read("clientCertificate.certificateFile", &it.certificate_file)?,
            key: read("clientCertificate.keyFile", &it.key_file)?,
        }),
        _ => None,
    };
    if let Some(Err(error)) = pair.as_ref().map(Pair::check) {
        return Err(AskError::Tls(format!("credential.clientCertificate: {error}")));
    }
    let bundle = callout.certificate_authority.as_deref().filter(|pem| !pem.is_empty());
    let trust = bundle.map_or(Trust::System, |pem| Trust::Bundle(pem.as_bytes()));
    let timeout = Duration::from_secs(source.policy.timeout_seconds.into());
    // Envoy goes directly.
    let client = Client { trust, identity: pair.as_ref(), to: None, proxy: None, timeout };
    client.agent().map_err(AskError::Tls)
}

type Page = (u16, Vec<(String, Vec<u8>)>, Vec<u8>);

fn one(
    agent: &Agent,
    url: &str,
    body: Option<&str>,
    authorization: Option<&str>,
) -> Result<Page, Fault> {
    let failed = |error: ureq::Error| {
        let text = error.to_string();
        Fault::new(of_client(&text), text)
    };
    let accept = ("accept", "application/json");
    let answer = if let Some(body) = body {
        let mut request = agent.post(url).header(accept.0, accept.1);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.header("content-type", "application/json").send(body)
    } else {
        let mut request = agent.get(url).header(accept.0, accept.1);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.call()
    };
    let mut answer = answer.map_err(failed)?;
    let status = answer.status().as_u16();
    let mut headers: Vec<_> = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    headers.push((OF_SERVER.to_owned(), b"0".to_vec()));
    let body =
        answer.body_mut().with_config().limit(MOST).read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(most) => {
                Fault::new(Cause::TooLarge, format_args!("more than {most} bytes"))
            }
            other => failed(other),
        })?;
    Ok((status, headers, body))
}

/// What the server says of how often it may be asked.
fn limits(headers: &HeaderList) -> String {
    let said = headers.iter().filter(|(name, _)| LIMITS.contains(&name.as_str()));
    let said: Vec<_> = said
        .map(|(name, value)| format!("{name}: {}", printable(&String::from_utf8_lossy(value))))
        .collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) }
}
