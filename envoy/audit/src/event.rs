//! An event of `audit.k8s.io/v1`, field for field in kube-apiserver's order (`pkg/apis/audit/v1/types.go`).

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::{bounds, identity::User, record::Field};

/// Says that something was cut: kube-apiserver's own (`plugin/pkg/audit/truncate`).
const TRUNCATED: &str = "audit.k8s.io/truncated";
/// Says what.
const TRUNCATED_FIELDS: &str = "gateway.kube-oidc.dev/truncated";

/// How much is written of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Everything but bodies.
    Metadata,
}

/// A time in a request's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It arrived.
    RequestReceived,
    /// The answer's head went out, of a request that lasts; or its credential was refused.
    ResponseStarted,
    /// It ended.
    ResponseComplete,
}

/// An audit event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    kind: &'static str,
    api_version: &'static str,
    level: Level,
    /// The request's id in every log.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// The stage.
    pub stage: Stage,
    /// The request target with its query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// The verb.
    pub verb: String,
    /// Who made the request; nobody if the credential was refused.
    pub user: User,
    /// Whom the user acted as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<User>,
    /// The client's address, and that of the proxy before Envoy.
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// What it was about, if that is a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectReference>,
    /// The answer, from the second stage on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<ResponseStatus>,
    /// When the request arrived.
    #[serde(serialize_with = "micro")]
    pub request_received_timestamp: Timestamp,
    /// When it came to this stage.
    #[serde(serialize_with = "micro")]
    pub stage_timestamp: Timestamp,
    /// What the gateway has to say: the issuer, and why it refused.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<&'static str, String>,
}

/// What a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names of Kubernetes' type")]
pub struct ObjectReference {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

/// The outcome: the code always, the rest where the gateway itself answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ResponseStatus {
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    /// The HTTP status.
    pub code: u16,
}

impl ResponseStatus {
    /// A status that kube-apiserver gave.
    #[must_use]
    pub fn of(code: u16) -> Self {
        Self { code, ..Self::default() }
    }

    /// A refusal of the gateway's own.
    #[must_use]
    pub fn refused(code: u16, message: String) -> Self {
        Self { status: Some("Failure"), message, code, ..Self::default() }
    }
}

impl Event {
    /// An event without what not every one has.
    #[must_use]
    pub fn new(audit_id: String, stage: Stage, received: Timestamp, at: Timestamp) -> Self {
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: Level::Metadata,
            audit_id,
            stage,
            request_uri: String::new(),
            verb: String::new(),
            user: User::default(),
            impersonated_user: None,
            source_ips: Vec::new(),
            user_agent: String::new(),
            object_ref: None,
            response_status: None,
            request_received_timestamp: received,
            stage_timestamp: at,
            annotations: BTreeMap::new(),
        }
    }

    /// Marks fields as cut.
    pub fn truncate(&mut self, fields: impl IntoIterator<Item = Field>) {
        let before = self.truncated().to_owned();
        let mut names: BTreeSet<&str> =
            fields.into_iter().map(|field| field.name() as &str).collect();
        names.extend(before.split(',').filter(|it| !it.is_empty()));
        let names = Vec::from_iter(names).join(",");
        if !names.is_empty() {
            self.annotations.insert(TRUNCATED, "true".to_owned());
            self.annotations.insert(TRUNCATED_FIELDS, names);
        }
    }

    /// What was cut, by the names of fields; empty if nothing was.
    #[must_use]
    pub fn truncated(&self) -> &str {
        self.annotations.get(TRUNCATED_FIELDS).map_or("", String::as_str)
    }

    /// The event with at most so many bytes as JSON: what is longest and says least goes first. `None` if even who, what and when
    /// have no room.
    #[must_use]
    pub fn within(&self, most: usize) -> Option<Cow<'_, Self>> {
        const SHORT: usize = 256;
        // Each of them in this order, until the event is short enough.
        const STEPS: [fn(&mut Event); 4] = [
            |event| event.shorten(Field::RequestUri, 4 * SHORT, |event| &mut event.request_uri),
            |event| {
                for user in std::iter::once(&mut event.user).chain(&mut event.impersonated_user) {
                    user.groups.clear();
                    user.extra.clear();
                }
                event.truncate([Field::User]);
            },
            |event| {
                event.shorten(Field::RequestUri, SHORT, |event| &mut event.request_uri);
                event.shorten(Field::UserAgent, SHORT, |event| &mut event.user_agent);
                event.shorten(Field::User, SHORT, |event| &mut event.user.username);
            },
            |event| {
                event.object_ref = None;
                event.truncate([Field::ObjectRef]);
            },
        ];
        let fits = |event: &Self| serde_json::to_string(event).is_ok_and(|it| it.len() <= most);
        if fits(self) {
            return Some(Cow::Borrowed(self));
        }
        let mut event = self.clone();
        for step in STEPS {
            step(&mut event);
            if fits(&event) {
                return Some(Cow::Owned(event));
            }
        }
        None
    }

    fn shorten(&mut self, field: Field, most: usize, text: fn(&mut Self) -> &mut String) {
        let text = text(self);
        let (kept, is_cut) = bounds::keep(text, most);
        if is_cut {
            *text = bounds::marked(&kept, true);
            self.truncate([field]);
        }
    }
}

/// `MicroTime` of apimachinery: always six digits.
fn micro<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of everything as long as it can be.
    fn long() -> Event {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut event = Event::new("a-1".to_owned(), Stage::ResponseComplete, now, now);
        let text = |most: usize| bounds::marked(&"\"".repeat(most), true);
        event.request_uri = text(bounds::URI);
        event.user_agent = text(bounds::USER_AGENT);
        event.verb = text(bounds::WORD);
        event.user.username = text(bounds::USER);
        event.user.groups = vec!["\"".repeat(64); 400];
        event.impersonated_user = Some(event.user.clone());
        let part = text(bounds::OBJECT);
        event.object_ref = Some(ObjectReference {
            resource: part.clone(),
            namespace: part.clone(),
            name: part.clone(),
            api_group: part.clone(),
            api_version: part.clone(),
            subresource: part,
        });
        event.annotations.insert("gateway.kube-oidc.dev/reason", text(bounds::REASON));
        event
    }

    #[test]
    fn no_event_is_longer_than_a_line_may_be() {
        let length = serde_json::to_string(&long()).unwrap().len();
        assert!(length < bounds::LINE, "{length}");
    }

    #[test]
    fn an_event_is_cut_to_what_it_may_have_and_says_so() {
        let event = long();
        for (most, truncated) in [
            (bounds::LINE, Some("")),
            (150 << 10, Some("requestURI")),
            (30 << 10, Some("requestURI,user")),
            (23 << 10, Some("requestURI,user,userAgent")),
            (10 << 10, Some("objectRef,requestURI,user,userAgent")),
            (1 << 10, None),
        ] {
            let cut = event.within(most);
            assert_eq!(cut.as_ref().map(|it| it.truncated()), truncated, "{most}");
            if let Some(cut) = cut {
                assert!(serde_json::to_string(&cut).unwrap().len() <= most);
                assert_eq!(cut.annotations.contains_key(TRUNCATED), truncated != Some(""));
            }
        }
    }
}
