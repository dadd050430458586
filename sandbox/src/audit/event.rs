//! An audit event, `audit.k8s.io/v1`, as far as tests ask for it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One stage of one request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The request's identifier, the same at every stage; the answer's `Audit-Id`.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// The stage.
    pub stage: Stage,
    /// The request's target, byte for byte as it arrived.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// The Kubernetes verb, or the HTTP method in lower case.
    pub verb: String,
    /// Who sent the request, by the credential it bore; empty if that was refused.
    #[serde(default)]
    pub user: Identity,
    /// Whom the sender acts as.
    pub impersonated_user: Option<Identity>,
    /// The client's address, and those of proxies it names.
    #[serde(default, rename = "sourceIPs")]
    pub source_ips: Vec<String>,
    /// The client's name for itself.
    #[serde(default)]
    pub user_agent: String,
    /// What the request is about.
    pub object_ref: Option<ObjectReference>,
    /// What it was answered with, from stage `ResponseStarted` on.
    pub response_status: Option<Status>,
    /// When it arrived, RFC 3339 with microseconds.
    pub request_received_timestamp: String,
    /// When it came to this stage.
    pub stage_timestamp: String,
    /// Notes of the API server, such as `authorization.k8s.io/decision`.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// It arrived and its credential was taken.
    RequestReceived,
    /// The answer's head went out: watches and upgrades. Also the only stage of a request with a refused credential.
    ResponseStarted,
    /// The answer went out.
    ResponseComplete,
    /// The API server itself failed.
    Panic,
}

/// A user as the API server sees one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Identity {
    /// The name.
    #[serde(default)]
    pub username: String,
    /// The uid, empty if there is none.
    #[serde(default)]
    pub uid: String,
    /// The groups, in the order they were given.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Further values by key.
    #[serde(default)]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// The plural name of the kind.
    #[serde(default)]
    pub resource: String,
    /// The namespace.
    #[serde(default)]
    pub namespace: String,
    /// The object's name.
    #[serde(default)]
    pub name: String,
    /// The API group, empty for the core.
    #[serde(default)]
    pub api_group: String,
    /// The subresource.
    #[serde(default)]
    pub subresource: String,
}

/// The outcome of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The HTTP status.
    #[serde(default)]
    pub code: u16,
    /// The reason of a failure, in a word.
    #[serde(default)]
    pub reason: String,
    /// The message of a failure.
    #[serde(default)]
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_an_impersonated_request_is_understood() {
        let event: Event = serde_json::from_str(
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseComplete",
            "requestURI":"/api/v1/namespaces?limit=500","verb":"list","user":{"username":"system:serviceaccount:g:gateway",
            "uid":"u","groups":["system:serviceaccounts"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=1"]}},
            "impersonatedUser":{"username":"alice"},"sourceIPs":["127.0.0.1"],"userAgent":"kubectl/v1.36.3",
            "objectRef":{"resource":"namespaces","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},
            "requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.100000Z",
            "annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}"#,
        )
        .unwrap();
        assert_eq!(event.stage, Stage::ResponseComplete);
        assert_eq!(event.user.username, "system:serviceaccount:g:gateway");
        assert_eq!(event.impersonated_user.unwrap().username, "alice");
        assert_eq!(event.response_status.unwrap().code, 200);
        assert_eq!(event.object_ref.unwrap().resource, "namespaces");
    }

    /// The authentication filter logs a refused credential by itself, without a user and without a first stage.
    #[test]
    fn an_event_of_a_refused_credential_is_understood() {
        let event: Event = serde_json::from_str(
            r#"{"level":"Metadata","auditID":"a-2","stage":"ResponseStarted","requestURI":"/api","verb":"get","user":{},
            "sourceIPs":["127.0.0.1"],"responseStatus":{"metadata":{},"status":"Failure","message":"Authentication failed",
            "code":401},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.1Z"}"#,
        )
        .unwrap();
        assert_eq!(event.user, Identity::default());
        assert_eq!(event.response_status.unwrap().code, 401);
    }
}
