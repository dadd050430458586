//! Access tokens for a server that the gateway asks: by a client's secret, as Envoy gets them, or by a signed assertion, which Envoy
//! cannot make.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_client::{Client, Source, Trust};
use gateway_config::Callout;
use gateway_core::{
    callout::Cause,
    config::{AssertionGrant, ClientCredentials, SignedAssertion},
};
use serde_json::Value;
use ureq::{Agent, Proxy};

use super::assertion::{Key, KeyError};
use crate::words::{of_client, printable};

/// How long an issuer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of its answer.
const MOST: u64 = 64 << 10;
/// How long a token is good of which its issuer does not say it (RFC 6749, section 5.1).
const UNSAID: Duration = Duration::from_secs(300);
/// Characters of what an issuer says of an error.
const MOST_SAID: usize = 200;
/// RFC 7523, sections 2.1 and 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An access token.
pub struct Token {
    /// The token itself, which fits a header.
    pub value: String,
    /// For how long it is good.
    pub lifetime: Duration,
}

/// Why there is no token. No secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file of the secret or the key cannot be read.
    #[error("{field}: {reason}")]
    File {
        /// The field that names it.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The key's file.
    #[error("assertion.keyFile {path:?}: {error}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: KeyError,
    },
    /// The issuer's CA.
    #[error("the token endpoint's CA: {0}")]
    Ca(String),
    /// The issuer does not answer.
    #[error("POST {url}: {error}")]
    Post {
        /// The token endpoint.
        url: String,
        /// What came of it.
        error: String,
    },
    /// It refuses.
    #[error("POST {url}: HTTP {status}{said}")]
    Refused {
        /// The token endpoint.
        url: String,
        /// The status code.
        status: u16,
        /// Its own words.
        said: String,
        /// For how long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// Its answer is none.
    #[error("POST {url}: HTTP 200, and no token: {why}")]
    Answer {
        /// The token endpoint.
        url: String,
        /// Why.
        why: &'static str,
    },
}

impl TokenError {
    /// What kind of fault it is.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::File { .. } | Self::Key { .. } | Self::Answer { .. } => Cause::Document,
            Self::Ca(_) => Cause::UnknownAuthority,
            Self::Post { error, .. } => of_client(error),
            Self::Refused { status: 300..=399, .. } => Cause::Redirect,
            Self::Refused { .. } => Cause::HttpStatus,
        }
    }

    /// For how long the issuer wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A token by client credentials (RFC 6749, section 4.4).
///
/// # Errors
/// If there is none.
pub fn by_secret(callout: &Callout, client: &ClientCredentials) -> Result<Token, TokenError> {
    let file = Source::File((&client.client_secret_file).into());
    let secret = file
        .read()
        .map_err(|reason| TokenError::File { field: "oauth2.clientSecretFile", reason })?;
    // As Envoy reads it: the whole file.
    let secret = String::from_utf8_lossy(&secret);
    let scope = client.scopes.join(" ");
    let mut form = vec![("grant_type", "client_credentials")];
    if !scope.is_empty() {
        form.push(("scope", &scope));
    }
    let mut authorization = None;
    if client.secret_in_body {
        form.extend([("client_id", client.client_id.as_str()), ("client_secret", &secret)]);
    } else {
        let pair = STANDARD.encode(format!("{}:{secret}", client.client_id));
        authorization = Some(format!("Basic {pair}"));
    }
    // Envoy goes directly.
    let agent = agent(callout, None)?;
    ask(&agent, &client.token_endpoint, &form, authorization.as_deref(), &secret)
}

/// A token by an assertion that the key of this text signs.
///
/// # Errors
/// If there is none.
pub fn by_assertion(
    callout: &Callout,
    about: &SignedAssertion,
    key: &[u8],
    now: Duration,
) -> Result<Token, TokenError> {
    let failed = |error| TokenError::Key { path: about.key_file.clone(), error };
    let key = Key::read(key).map_err(failed)?;
    let assertion = key.assertion(about, now).map_err(failed)?;
    let scope = about.scopes.join(" ");
    let mut form = match about.grant {
        AssertionGrant::JwtBearer => vec![("grant_type", JWT_BEARER), ("assertion", &*assertion)],
        AssertionGrant::ClientCredentials => vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &*assertion),
        ],
    };
    if about.grant == AssertionGrant::ClientCredentials && !scope.is_empty() {
        form.push(("scope", &scope));
    }
    let agent = agent(callout, Proxy::try_from_env())?;
    ask(&agent, &about.token_endpoint, &form, None, &assertion)
}

fn agent(callout: &Callout, proxy: Option<Proxy>) -> Result<Agent, TokenError> {
    let bundle = callout.token_authority.as_deref().filter(|pem| !pem.is_empty());
    let trust = bundle.map_or(Trust::System, |pem| Trust::Bundle(pem.as_bytes()));
    let client = Client { trust, identity: None, to: None, proxy, timeout: TIMEOUT };
    client.agent().map_err(TokenError::Ca)
}

/// Sends the form. `secret` is what the issuer's words must not have in them.
fn ask(
    agent: &Agent,
    url: &str,
    form: &[(&str, &str)],
    authorization: Option<&str>,
    secret: &str,
) -> Result<Token, TokenError> {
    let failed =
        |error: ureq::Error| TokenError::Post { url: url.to_owned(), error: error.to_string() };
    let mut request = agent.post(url).header("accept", "application/json");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let mut answer = request.send_form(form.iter().copied()).map_err(failed)?;
    let status = answer.status().as_u16();
    let wish = answer.headers().get("retry-after").and_then(|it| it.to_str().ok()?.parse().ok());
    let body = answer.body_mut().with_config().limit(MOST).read_to_vec();
    if status != 200 {
        let said = said(&body.unwrap_or_default(), secret);
        let retry_after = wish.map(Duration::from_secs);
        return Err(TokenError::Refused { url: url.to_owned(), status, said, retry_after });
    }
    let answer: Value = serde_json::from_slice(&body.map_err(failed)?).unwrap_or_default();
    token(&answer).map_err(|why| TokenError::Answer { url: url.to_owned(), why })
}

fn token(answer: &Value) -> Result<Token, &'static str> {
    let value = answer["access_token"].as_str().ok_or("it is no JSON with an access_token")?;
    let fits = |byte: u8| byte.is_ascii_graphic();
    if value.is_empty() || value.len() > 16 << 10 || !value.bytes().all(fits) {
        return Err("its access_token fits no header");
    }
    let kind = answer["token_type"].as_str().unwrap_or("Bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err("its token_type is not Bearer");
    }
    // Some issuers write the number as a text.
    let number = &answer["expires_in"];
    let seconds = number.as_u64().or_else(|| number.as_str()?.parse().ok());
    let lifetime = seconds.map_or(UNSAID, Duration::from_secs);
    Ok(Token { value: value.to_owned(), lifetime })
}

/// What an issuer says of an error (RFC 6749, section 5.2), in a form for a line of text.
fn said(body: &[u8], secret: &str) -> String {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let text = |name: &str| {
        let text = answer[name].as_str().filter(|text| !text.is_empty())?;
        // An issuer may say what it was sent, or a part of a signed one.
        let mut parts = secret.split('.').chain([secret]).filter(|part| !part.is_empty());
        if parts.any(|part| text.contains(part)) {
            return Some("...".to_owned());
        }
        Some(printable(text).chars().take(MOST_SAID).collect::<String>())
    };
    match (text("error"), text("error_description")) {
        (None, None) => String::new(),
        (Some(code), None) | (None, Some(code)) => format!(": {code}"),
        (Some(code), Some(more)) => format!(": {code}: {more}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_s_words_are_one_bounded_line_without_what_it_was_sent() {
        let of = |value: &Value| said(value.to_string().as_bytes(), "hunter2");
        for (answer, want) in [
            (json!({"error": "invalid_client"}), ": invalid_client"),
            (
                json!({"error": "invalid_client", "error_description": "wrong\nsecret"}),
                ": invalid_client: wrong\u{fffd}secret",
            ),
            (
                json!({"error": "invalid_client", "error_description": "not hunter2"}),
                ": invalid_client: ...",
            ),
            (json!({"error": ""}), ""),
            (json!("text"), ""),
        ] {
            assert_eq!(of(&answer), want);
        }
        assert_eq!(said(b"<html>", "x"), "");
        let long = of(&json!({"error": "e", "error_description": "x".repeat(10_000)}));
        assert_eq!(long.len(), ": e: ".len() + MOST_SAID);
    }

    #[test]
    fn what_fits_no_header_is_no_token() {
        for (answer, want) in [
            (json!({"access_token": "a.b-c", "expires_in": 60}), Ok(60)),
            (json!({"access_token": "a", "expires_in": "60", "token_type": "bearer"}), Ok(60)),
            (json!({"access_token": "a"}), Ok(300)),
            (json!({"access_token": "a\nb"}), Err("header")),
            (json!({"access_token": ""}), Err("header")),
            (json!({"access_token": "a", "token_type": "mac"}), Err("token_type")),
            (json!({"token": "a"}), Err("access_token")),
            (json!(null), Err("access_token")),
        ] {
            match (token(&answer), want) {
                (Ok(token), Ok(seconds)) => assert_eq!(token.lifetime.as_secs(), seconds),
                (Err(why), Err(word)) => assert!(why.contains(word), "{why}"),
                (got, _) => panic!("{answer}: {:?}", got.err()),
            }
        }
    }
}
