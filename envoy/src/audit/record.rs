//! One of Envoy's raw lines, understood. The fields are those of `access_log` in `templates/envoy.yaml`.

use std::net::SocketAddr;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::identity::{Identities, User};

/// What has happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its answer has begun, and it goes on.
    Going,
    /// It has ended.
    Ended,
}

/// A request at some time of its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What has happened.
    pub kind: Kind,
    /// The id in every log.
    pub audit_id: String,
    /// When the request came.
    pub received: Timestamp,
    /// When the answer's first byte came from kube-apiserver.
    pub answered: Option<Timestamp>,
    /// When it ended, as far as it has.
    pub ended: Timestamp,
    /// The client's address, without a port.
    pub client: String,
    /// The address of who connected, without a port: the client or a proxy before Envoy.
    pub peer: String,
    /// The method.
    pub method: String,
    /// The request target with its query.
    pub uri: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// Whether an upgrade was asked for.
    pub upgrade: bool,
    /// Who made it.
    pub identities: Identities,
    /// Why the filter refused it: a word of a closed set, and the whole reason.
    pub refused: Option<(String, String)>,
    /// The answer's status; 0 if there was none.
    pub code: u16,
}

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is not what the template writes.
    #[error("a raw line is not what the template writes: {0}")]
    Shape(#[from] serde_json::Error),
    /// Its time is none.
    #[error("a raw line's time is none: {0}")]
    Time(#[from] jiff::Error),
    /// What the filter says of the user is not what it writes.
    #[error("a raw line's identity is not what the filter writes: {0}")]
    Identity(serde_json::Error),
}

/// The line as it stands. What is absent is null.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    time: String,
    #[serde(rename = "auditID", default)]
    audit_id: Option<String>,
    #[serde(default)]
    client: Option<String>,
    #[serde(default)]
    peer: Option<String>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    uri: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    user_agent: Option<String>,
    #[serde(default)]
    upgrade: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    identity: Option<String>,
    #[serde(default)]
    deny: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    response_milliseconds: Option<i64>,
    #[serde(default)]
    milliseconds: Option<i64>,
}

impl Record {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is not what the template writes.
    pub fn parse(line: &[u8]) -> Result<Self, RecordError> {
        let raw: Raw = serde_json::from_slice(line)?;
        let received: Timestamp = raw.time.parse()?;
        let after = |millis: i64| {
            received.checked_add(SignedDuration::from_millis(millis)).unwrap_or(received)
        };
        let mut identities = match &raw.identity {
            None => Identities::default(),
            Some(text) => serde_json::from_str(text).map_err(RecordError::Identity)?,
        };
        if identities.user.username.is_empty() {
            // A token that the API server itself knows has a name and no more.
            identities.user = User { username: raw.user.unwrap_or_default(), ..identities.user };
        }
        let kind = match raw.kind.as_deref() {
            Some("DownstreamPeriodic" | "DownstreamTunnelSuccessfullyEstablished") => Kind::Going,
            _ => Kind::Ended,
        };
        Ok(Self {
            kind,
            audit_id: raw.audit_id.unwrap_or_default(),
            received,
            answered: raw.response_milliseconds.map(after),
            ended: after(raw.milliseconds.unwrap_or_default()),
            client: raw.client.unwrap_or_default(),
            peer: raw.peer.as_deref().map(address).unwrap_or_default(),
            method: raw.method.unwrap_or_default(),
            uri: raw.uri.or(raw.path).unwrap_or_default(),
            user_agent: raw.user_agent.unwrap_or_default(),
            upgrade: raw.upgrade.is_some(),
            identities,
            refused: raw.deny.map(|word| (word, raw.reason.unwrap_or_default())),
            code: raw.code.unwrap_or_default(),
        })
    }
}

/// `10.0.0.1:80` and `[fd00::1]:80` without the port. TremoloSecurity/kube-oidc-proxy cuts at the first colon.
fn address(text: &str) -> String {
    text.parse::<SocketAddr>().map_or_else(|_| text.to_owned(), |it| it.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_port() {
        for (text, want) in [
            ("10.0.0.1:80", "10.0.0.1"),
            ("[fd00::1]:443", "fd00::1"),
            ("/run/socket", "/run/socket"),
        ] {
            assert_eq!(address(text), want);
        }
    }

    #[test]
    fn a_line_that_is_none_says_why() {
        for (line, want) in [
            ("", "not what the template writes"),
            (r#"{"time": "yesterday"}"#, "time is none"),
            (r#"{"time": "2026-01-01T00:00:00Z", "identity": "{"}"#, "not what the filter writes"),
        ] {
            let error = Record::parse(line.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
        }
    }
}
