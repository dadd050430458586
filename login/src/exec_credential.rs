//! What kubectl says to an exec credential plugin and what it wants to hear (client.authentication.k8s.io, v1 and v1beta1).

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::json;

const GROUP: &str = "client.authentication.k8s.io/";

/// Why kubectl's words cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecInfoError {
    /// Not the JSON document it should be.
    #[error(
        "KUBERNETES_EXEC_INFO is no ExecCredential ({0}); kubectl sets it: where none runs, unset $KUBERNETES_EXEC_INFO"
    )]
    Malformed(String),
    /// A version that is gone, or not yet there.
    #[error(
        "the kubeconfig's exec section asks for {0:?}; set its apiVersion to client.authentication.k8s.io/v1"
    )]
    Version(String),
}

/// Version of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// `v1`
    V1,
    /// `v1beta1`, which is also the answer to nobody's question (kubelogin's rule, and kubekey's only version).
    #[default]
    V1beta1,
}

/// What kubectl says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecInfo {
    /// The version it asks for.
    pub version: Version,
    /// Standard input is the person's: the kubeconfig's `interactiveMode` and kubectl's own use of it decide.
    pub interactive: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_version: String,
    kind: String,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    interactive: bool,
}

impl ExecInfo {
    /// Reads `KUBERNETES_EXEC_INFO`; without it, a person may have typed the command, and `terminal` says whether one is
    /// there.
    pub fn read(variable: Option<&str>, terminal: bool) -> Result<Self, ExecInfoError> {
        let Some(text) = variable.filter(|text| !text.is_empty()) else {
            return Ok(Self { version: Version::default(), interactive: terminal });
        };
        let document: Document = serde_json::from_str(text)
            .map_err(|_| ExecInfoError::Malformed("not its JSON".to_owned()))?;
        if document.kind != "ExecCredential" {
            return Err(ExecInfoError::Malformed(format!("its kind is {:?}", document.kind)));
        }
        let version = match document.api_version.strip_prefix(GROUP) {
            Some("v1") => Version::V1,
            Some("v1beta1") => Version::V1beta1,
            _ => return Err(ExecInfoError::Version(document.api_version)),
        };
        Ok(Self { version, interactive: document.spec.interactive })
    }

    /// The answer: the token, and when kubectl must ask again.
    #[must_use]
    pub fn answer(self, token: &str, expiry: DateTime<Utc>) -> String {
        let version = match self.version {
            Version::V1 => "v1",
            Version::V1beta1 => "v1beta1",
        };
        json!({
            "apiVersion": format!("{GROUP}{version}"),
            "kind": "ExecCredential",
            "spec": { "interactive": self.interactive },
            "status": {
                "expirationTimestamp": expiry.to_rfc3339_opts(SecondsFormat::Secs, true),
                "token": token,
            },
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_kubectls() {
        let ask = |version: &str| {
            let info = format!(
                r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/{version}","spec":{{"interactive":true}}}}"#
            );
            ExecInfo::read(Some(&info), false)
        };
        for (version, want) in [("v1", Version::V1), ("v1beta1", Version::V1beta1)] {
            let info = ask(version).unwrap();
            assert_eq!((info.version, info.interactive), (want, true));
            let answer = info.answer("t", DateTime::from_timestamp(1_900_000_000, 0).unwrap());
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(
                answer,
                json!({
                    "apiVersion": format!("client.authentication.k8s.io/{version}"),
                    "kind": "ExecCredential",
                    "spec": {"interactive": true},
                    "status": {"expirationTimestamp": "2030-03-17T17:46:40Z", "token": "t"},
                })
            );
        }
        let old = "client.authentication.k8s.io/v1alpha1".to_owned();
        assert_eq!(ask("v1alpha1"), Err(ExecInfoError::Version(old)));
    }

    #[test]
    fn without_kubectl_a_terminal_decides() {
        for (variable, terminal) in [(None, true), (None, false), (Some(""), true)] {
            let info = ExecInfo::read(variable, terminal).unwrap();
            assert_eq!(info, ExecInfo { version: Version::V1beta1, interactive: terminal });
        }
        for text in
            ["{", "[]", "{}", r#"{"kind":"Pod","apiVersion":"client.authentication.k8s.io/v1"}"#]
        {
            assert!(
                matches!(ExecInfo::read(Some(text), true), Err(ExecInfoError::Malformed(_))),
                "{text}"
            );
        }
    }
}
