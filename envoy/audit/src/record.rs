//! One of Envoy's raw lines, understood. The fields are those of `access_log` in `templates/envoy.yaml`.

use std::{borrow::Cow, collections::BTreeSet, net::SocketAddr};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::{
    bounds,
    identity::{Identities, User},
};

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
    /// The method, cut to its bound.
    pub method: String,
    /// The request target with its query, cut to its bound.
    pub uri: String,
    /// What the client calls itself, cut to its bound.
    pub user_agent: String,
    /// Whether an upgrade was asked for.
    pub upgrade: bool,
    /// Who made it.
    pub identities: Identities,
    /// Why the filter refused it: a word of a closed set, and the whole reason.
    pub refused: Option<(String, String)>,
    /// The answer's status; 0 if there was none.
    pub code: u16,
    /// What was cut, by the names of an event's fields.
    pub truncated: BTreeSet<Field>,
}

/// A field of an event that can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "Field::name says what each is")]
pub enum Field {
    Line,
    ObjectRef,
    RequestUri,
    ResponseStatus,
    User,
    UserAgent,
    Verb,
}

impl Field {
    /// Its name in an event; `line` if the line itself has no end, so that any of them can be missing.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::ObjectRef => "objectRef",
            Self::RequestUri => "requestURI",
            Self::ResponseStatus => "responseStatus",
            Self::User => "user",
            Self::UserAgent => "userAgent",
            Self::Verb => "verb",
        }
    }
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
}

/// The line as it stands. What is absent is null.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    time: Option<String>,
    #[serde(rename = "auditID", default)]
    audit_id: Option<String>,
    #[serde(rename = "lineID", default)]
    line_id: Option<String>,
    #[serde(default)]
    details: Option<String>,
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
    /// Reads a whole line.
    ///
    /// # Errors
    /// If it is not what the template writes.
    pub fn parse(line: &[u8]) -> Result<Self, RecordError> {
        let mut raw: Raw = serde_json::from_slice(line)?;
        let received = raw.time.take().unwrap_or_default().parse()?;
        Ok(Self::new(raw, received))
    }

    /// Reads what there is of a line. What a request's line does not say any more, such as its time, is taken from `now`.
    ///
    /// # Errors
    /// If not even its first field is there.
    pub fn salvage(line: &[u8], now: Timestamp) -> Result<Self, RecordError> {
        let mut raw: Raw = serde_json::from_slice(&closed(line))?;
        let received = raw.time.take().and_then(|time| time.parse().ok()).unwrap_or(now);
        let mut record = Self::new(raw, received);
        record.truncated.insert(Field::Line);
        Ok(record)
    }

    /// Whether what a policy asks of, the user or the request, is not all there.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        let path = self.truncated.contains(&Field::RequestUri) && !self.uri.contains('?');
        let any = [Field::Line, Field::User, Field::Verb];
        path || any.iter().any(|field| self.truncated.contains(field))
    }

    fn new(raw: Raw, received: Timestamp) -> Self {
        let after = |millis: i64| {
            received.checked_add(SignedDuration::from_millis(millis)).unwrap_or(received)
        };
        let mut truncated = BTreeSet::new();
        let mut kept = |text: Option<String>, most: usize, field: Field| {
            let mut text = text.unwrap_or_default();
            if bounds::cut(&mut text, most) {
                truncated.insert(field);
            }
            text
        };
        let id = audit_id(
            raw.audit_id.as_deref(),
            raw.line_id.as_deref(),
            raw.details.as_deref().unwrap_or_default(),
            raw.user.is_some() || raw.deny.is_some(),
        );
        let audit_id = id.unwrap_or_default().to_owned();
        let user = kept(raw.user, bounds::USER, Field::User);
        let method = kept(raw.method, bounds::WORD, Field::Verb);
        let uri = kept(raw.uri.or(raw.path), bounds::URI, Field::RequestUri);
        let user_agent = kept(raw.user_agent, bounds::USER_AGENT, Field::UserAgent);
        let refused = raw.deny.map(|word| {
            let word = kept(Some(word), bounds::WORD, Field::ResponseStatus);
            (word, kept(raw.reason, bounds::REASON, Field::ResponseStatus))
        });
        let identities = raw.identity.map_or_else(
            || Some(Identities::default()),
            // What Envoy has cut does not tell of itself.
            |text| Identities::read(&text).filter(|_| text.len() <= bounds::IDENTITY),
        );
        if identities.as_ref().is_none_or(Identities::is_truncated) {
            truncated.insert(Field::User);
        }
        let mut identities = identities.unwrap_or_default();
        if identities.user.username.is_empty() {
            // A token that the API server itself knows has a name and no more.
            identities.user = User { username: user, ..identities.user };
        }
        let kind = match raw.kind.as_deref() {
            Some("DownstreamPeriodic" | "DownstreamTunnelSuccessfullyEstablished") => Kind::Going,
            _ => Kind::Ended,
        };
        Self {
            kind,
            audit_id,
            received,
            answered: raw.response_milliseconds.map(after),
            ended: after(raw.milliseconds.unwrap_or_default()),
            client: raw.client.unwrap_or_default(),
            peer: raw.peer.as_deref().map(address).unwrap_or_default(),
            method,
            uri,
            user_agent,
            upgrade: raw.upgrade.is_some(),
            identities,
            refused,
            code: raw.code.unwrap_or_default(),
            truncated,
        }
    }
}

/// The id of a request in every log.
///
/// Envoy takes the client's `x-request-id` away when it begins with a request; of one that it refuses before, it is still the
/// client's. Such a request has the id of its line alone: nobody may choose an id, another request's among them. One that the
/// filter has `decided` on has begun, however it ended.
pub(super) fn audit_id<'a>(
    id: Option<&'a str>,
    line_id: Option<&'a str>,
    details: &str,
    decided: bool,
) -> Option<&'a str> {
    // Envoy, `source/common/http/conn_manager_impl.cc`: all before `mutateRequestHeaders`, and what the codecs refuse.
    const BEFORE: [&str; 7] = [
        "overload",
        "low_version",
        "missing_host_header",
        "missing_path_rejected",
        "absolute_path_rejected",
        "path_normalization_failed",
        "request_header_timeout",
    ];
    let by_codec = ["http.", "http1.", "http2.", "http3."];
    let ended_so = BEFORE.contains(&details) || by_codec.iter().any(|it| details.starts_with(it));
    let before = ended_so && !decided;
    let is_uuid = |id: &&str| {
        let mut bytes = id.bytes().enumerate();
        id.len() == 36
            && bytes.all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    match line_id {
        Some(line_id) => Some(id.filter(|_| !before).filter(is_uuid).unwrap_or(line_id)),
        // A line of a template without it.
        None => id,
    }
}

/// A flat JSON object of which the end is missing, closed behind its last whole member. Any other text as it is.
pub(super) fn closed(line: &[u8]) -> Cow<'_, [u8]> {
    let (mut in_string, mut escaped, mut whole) = (false, false, None);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' if !in_string => whole = Some(at),
            b'}' if !in_string => return Cow::Borrowed(line),
            _ => {}
        }
    }
    match whole.and_then(|at| line.get(..at)) {
        Some(members) => Cow::Owned([members, b"}"].concat()),
        None => Cow::Borrowed(line),
    }
}

/// `10.0.0.1:80` and `[fd00::1]:80` without the port. TremoloSecurity/kube-oidc-proxy cuts at the first colon.
fn address(text: &str) -> String {
    text.parse::<SocketAddr>().map_or_else(|_| text.to_owned(), |it| it.ip().to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
            (r#"{"code": 200}"#, "time is none"),
        ] {
            let error = Record::parse(line.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
        }
    }

    fn record(more: &Value) -> Record {
        let mut line = json!({"time": "2026-01-01T00:00:00Z", "code": 200, "method": "GET"});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Record::parse(line.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_a_client_chooses_is_cut_and_named() {
        let long = "x".repeat(200 << 10);
        for (more, fields, doubtful) in [
            (json!({}), &[][..], false),
            (json!({"userAgent": "x".repeat(1024), "uri": "/x"}), &[], false),
            (json!({"userAgent": "x".repeat(1025)}), &[Field::UserAgent], false),
            (json!({"uri": format!("/{long}?a")}), &[Field::RequestUri], true),
            (json!({"uri": format!("/?{long}")}), &[Field::RequestUri], false),
            (json!({"method": long}), &[Field::Verb], true),
            (json!({"user": long}), &[Field::User], true),
            (json!({"deny": "verify", "reason": long}), &[Field::ResponseStatus], false),
            // Cut by Envoy.
            (json!({"user": "jane", "identity": "{\"user\":{\"userna"}), &[Field::User], true),
            (json!({"user": "jane", "identity": format!("v=2&user={long}")}), &[Field::User], true),
            // Of a form to come.
            (json!({"user": "jane", "identity": "v=3&user=bob"}), &[Field::User], true),
            // Cut by the filter.
            (json!({"identity": "v=2&user=jane&truncated=true"}), &[Field::User], true),
            (json!({"identity": "v=2&user=jane&as=bob&as-truncated=true"}), &[Field::User], true),
            (
                json!({"identity": "{\"user\":{\"username\":\"jane\",\"truncated\":true}}"}),
                &[Field::User],
                true,
            ),
        ] {
            let record = record(&more);
            let truncated: Vec<_> = record.truncated.iter().copied().collect();
            assert_eq!(truncated, fields, "{record:?}");
            assert_eq!(record.is_doubtful(), doubtful, "{fields:?}");
            assert!(record.uri.len() <= bounds::URI && record.user_agent.len() <= 1024);
        }
        for identity in ["{", "v=3&user=bob"] {
            let record = record(&json!({"user": "jane", "identity": identity}));
            assert_eq!(record.identities.user.username, "jane");
        }
    }

    #[test]
    fn nobody_chooses_the_id_of_a_request() {
        const OWN: &str = "a83aac15-e140-4740-ad2a-389c6cfe7c81";
        for (id, line_id, details, decided, want) in [
            (Some(OWN), Some("line"), "via_upstream", true, OWN),
            (Some(OWN), Some("line"), "missing_host_header", false, "line"),
            (Some(OWN), Some("line"), "http1.codec_error", false, "line"),
            // The client left, or sent nonsense behind its headers: kube-apiserver knows the request by this id.
            (Some(OWN), Some("line"), "http2.remote_reset", true, OWN),
            (Some(OWN), Some("line"), "http1.codec_error", true, OWN),
            (Some("evil"), Some("line"), "of_a_later_envoy", false, "line"),
            (None, Some("line"), "http1.headers_too_large", false, "line"),
            (Some("a-1"), None, "", false, "a-1"),
        ] {
            assert_eq!(audit_id(id, line_id, details, decided), Some(want), "{id:?} {details}");
        }
    }

    #[test]
    fn break_in_3_what_there_is_of_a_line_is_read() {
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        let line = br#"{"auditID":"a","code":200,"reason":"a\",\\","method":"GET","time":"2026-01-01T00:00:00Z","uri":"/x"}"#;
        for (end, method, received) in [
            (line.len() - 1, "GET", "2026-01-01T00:00:00Z"),
            (60, "GET", "2026-01-02T00:00:00Z"),
            (50, "", "2026-01-02T00:00:00Z"),
            (20, "", "2026-01-02T00:00:00Z"),
        ] {
            let record = Record::salvage(&line[..end], now).unwrap();
            let shown = String::from_utf8_lossy(&line[..end]);
            assert_eq!((&*record.audit_id, &*record.method), ("a", method), "{shown}");
            assert_eq!(record.received, received.parse().unwrap(), "{shown}");
            assert!(record.is_doubtful());
        }
        assert!(Record::salvage(b"{\"audit", now).is_err());
    }
}
