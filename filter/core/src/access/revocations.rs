//! `Revocations`: whose access has ended, until when, and why.
//!
//! An entry only ever takes something away. What stands in it is compared byte for byte, after the claim mappings: the name of a user is the
//! one that Kubernetes sees, with its prefix.

use apiserver_cel::unix_seconds;
use serde::{Deserialize, Serialize};

use crate::documents::API_VERSION;

/// The `kind` of [`Revocations`].
pub const REVOCATIONS: &str = "Revocations";
/// How many entries a document may have.
pub const MOST_ENTRIES: usize = 50_000;
/// Bytes of a name, and of a reason.
pub(super) const MOST_NAME: usize = 1024;
const MOST_REASON: usize = 256;

/// Whose access has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Revocations {
    /// `gateway.kube-oidc.dev/v1alpha1`
    pub api_version: String,
    /// `Revocations`
    pub kind: String,
    /// The entries, in any order.
    pub revocations: Vec<Revocation>,
}

impl Default for Revocations {
    fn default() -> Self {
        let (api_version, kind) = (API_VERSION.to_owned(), REVOCATIONS.to_owned());
        Self { api_version, kind, revocations: Vec::new() }
    }
}

/// An entry. It names one of `user`, `group`, `subject`, `jti` and `sid`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Revocation {
    /// A user, by the name that Kubernetes sees.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Everybody in a group, by the name that Kubernetes sees.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The claim `sub`, also of the login with which a portal made a token. It needs `issuer`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// One token, by its claim `jti`, and what a portal made with it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// All tokens of one session at the provider, by their claim `sid`, and what a portal made with them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sid: String,
    /// The issuer's URL, as the claim `iss` has it. With `subject`, `jti` and `sid`, other issuers' tokens are left alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// If given, only tokens with an earlier `iat`, or none, are meant (RFC 3339): a new login helps.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issued_before: String,
    /// When the entry is over (RFC 3339). From then on it can be pruned.
    pub until: String,
    /// Why, which the client is told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What is wrong with a document. The text names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: Invalid value: {got:?}: {why}")]
pub struct RevocationsError {
    /// The field's path.
    pub field: String,
    /// What the document says.
    pub got: String,
    /// What is wrong.
    pub why: &'static str,
}

/// What entries are found by.
pub(super) const FIELDS: [&str; 5] = ["user", "group", "subject", "jti", "sid"];

impl Revocation {
    /// The entry's JSON schema, with the descriptions of its fields.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Revocation).to_value()
    }

    /// What it names, in the order of [`FIELDS`]; one of them is not empty.
    pub(super) fn names(&self) -> [&str; FIELDS.len()] {
        [&self.user, &self.group, &self.subject, &self.jti, &self.sid]
    }

    /// When it is over, in seconds since 1970; `None` if it does not say so.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        seconds(&self.until)
    }

    /// Whether everything that another entry ends is ended by this one, and for as long: then the other need not be kept beside it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let before = |entry: &Self| seconds(&entry.issued_before).unwrap_or(u64::MAX);
        self.names() == other.names()
            && (self.issuer.is_empty() || self.issuer == other.issuer)
            && self.end() >= other.end()
            && before(self) >= before(other)
    }

    /// What is wrong with it: a field, what it says, and why that cannot be meant.
    fn fault(&self) -> Option<(&'static str, &str, &'static str)> {
        let names = self.names();
        let mut given = FIELDS.iter().zip(names).filter(|(_, name)| !name.is_empty());
        let Some((field, name)) = given.next() else {
            return Some(("user", "", "must be given, or group, subject, jti or sid"));
        };
        if let Some((other, name)) = given.next() {
            return Some((other, name, "must not be given beside another one: write two entries"));
        }
        let is_plain = |text: &str| !text.chars().any(char::is_control);
        if name.len() > MOST_NAME || !is_plain(name) {
            let why = "must have at most 1024 bytes and no control character";
            return Some((field, name, why));
        }
        let takes_issuer = matches!(*field, "subject" | "jti" | "sid");
        if *field == "subject" && self.issuer.is_empty() {
            return Some(("issuer", "", "must be given: a subject is an issuer's"));
        }
        if !takes_issuer && !self.issuer.is_empty() {
            return Some(("issuer", &self.issuer, "must not be given: names are the cluster's"));
        }
        if self.end().is_none() {
            return Some(("until", &self.until, "must be a time, like 2026-01-31T12:00:00Z"));
        }
        if !self.issued_before.is_empty() && seconds(&self.issued_before).is_none() {
            let why = "must be a time, like 2026-01-31T12:00:00Z";
            return Some(("issuedBefore", &self.issued_before, why));
        }
        if self.reason.len() > MOST_REASON || !is_plain(&self.reason) {
            let why = "must have at most 256 bytes and no control character";
            return Some(("reason", &self.reason, why));
        }
        None
    }
}

impl Revocations {
    /// Checks it.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn check(&self) -> Result<(), RevocationsError> {
        for (field, got, want, why) in [
            (
                "apiVersion",
                &self.api_version,
                API_VERSION,
                "must be gateway.kube-oidc.dev/v1alpha1",
            ),
            ("kind", &self.kind, REVOCATIONS, "must be Revocations"),
        ] {
            if got != want {
                return Err(RevocationsError { field: field.to_owned(), got: got.clone(), why });
            }
        }
        if self.revocations.len() > MOST_ENTRIES {
            let got = self.revocations.len().to_string();
            let why = "must have at most 50000 items: prune those that are over";
            return Err(RevocationsError { field: "revocations".to_owned(), got, why });
        }
        for (index, entry) in self.revocations.iter().enumerate() {
            if let Some((field, got, why)) = entry.fault() {
                let field = format!("revocations[{index}].{field}");
                return Err(RevocationsError { field, got: got.to_owned(), why });
            }
        }
        Ok(())
    }
}

/// A time in seconds since 1970.
pub(super) fn seconds(text: &str) -> Option<u64> {
    u64::try_from(unix_seconds(text)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const END: &str = "2001-09-09T01:46:40Z"; // 1_000_000_000

    fn read(entries: &Value) -> Result<(), String> {
        let document =
            json!({"apiVersion": API_VERSION, "kind": REVOCATIONS, "revocations": entries});
        let document: Revocations =
            serde_json::from_value(document).map_err(|error| error.to_string())?;
        document.check().map_err(|error| error.to_string())
    }

    #[test]
    fn documents_are_strict_and_every_error_names_its_field() {
        let long = "a".repeat(1025);
        for (entries, want) in [
            (json!([]), None),
            (json!([{"user": "jane", "until": END}]), None),
            (json!([{"group": "dev", "until": END, "reason": "é"}]), None),
            (json!([{"subject": "1", "issuer": "https://i", "until": END}]), None),
            (json!([{"jti": "1", "until": END}]), None),
            (json!([{"sid": "1", "issuer": "https://i", "until": END}]), None),
            (json!([{"user": "a", "issuedBefore": END, "until": END}]), None),
            (
                json!([{"until": END}]),
                Some("revocations[0].user: Invalid value: \"\": must be given"),
            ),
            (json!([{"user": "a", "jti": "b", "until": END}]), Some("revocations[0].jti: ")),
            (
                json!([{"user": "a"}]),
                Some("revocations[0].until: Invalid value: \"\": must be a time"),
            ),
            (json!([{"user": "a", "until": "tomorrow"}]), Some("revocations[0].until: ")),
            (
                json!([{"user": "a", "until": "1969-01-01T00:00:00Z"}]),
                Some("revocations[0].until: "),
            ),
            (
                json!([{"user": "a", "until": END, "issuedBefore": "now"}]),
                Some("[0].issuedBefore: "),
            ),
            (json!([{"subject": "1", "until": END}]), Some("revocations[0].issuer: ")),
            (json!([{"user": "a", "issuer": "https://i", "until": END}]), Some("[0].issuer: ")),
            (json!([{"user": long, "until": END}]), Some("revocations[0].user: ")),
            (json!([{"user": "a\n", "until": END}]), Some("revocations[0].user: ")),
            (json!([{"user": "a", "until": END, "reason": "a".repeat(257)}]), Some("[0].reason: ")),
            (json!([{"name": "a", "until": END}]), Some("unknown field `name`")),
        ] {
            match (read(&entries), want) {
                (Ok(()), None) => {}
                (Err(got), Some(want)) => assert!(got.contains(want), "{got} / {want}"),
                (got, want) => panic!("{entries}: {got:?} / {want:?}"),
            }
        }
        for (document, want) in [
            (json!({"kind": "Revocation"}), "kind: Invalid value: \"Revocation\""),
            (json!({"apiVersion": "v1"}), "apiVersion: Invalid value: \"v1\""),
        ] {
            let document: Revocations = serde_json::from_value(document).unwrap();
            assert!(document.check().unwrap_err().to_string().starts_with(want));
        }
    }

    #[test]
    fn an_entry_covers_what_ends_with_it() {
        const SOON: &str = "1970-01-01T00:08:21Z";
        let entry = |fields: Value| serde_json::from_value::<Revocation>(fields).unwrap();
        let whole = json!({"subject": "1", "issuer": "https://i", "until": END});
        let with = |more: Value| {
            let mut fields = whole.clone();
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            entry(fields)
        };
        let same = with(json!({"reason": "another"}));
        let before = with(json!({"issuedBefore": SOON}));
        let shorter = with(json!({"until": SOON}));
        let others = with(json!({"issuer": "https://other"}));
        let [any, session] = [None, Some("https://i")].map(|issuer| {
            entry(json!({"sid": "s", "issuer": issuer.unwrap_or_default(), "until": END}))
        });
        let whole = entry(whole);
        for (one, other, want) in [
            (&whole, &same, true),
            (&same, &whole, true),
            (&whole, &before, true),
            (&before, &whole, false),
            (&whole, &shorter, true),
            (&shorter, &whole, false),
            (&before, &shorter, false),
            (&shorter, &before, false),
            (&whole, &others, false),
            (&whole, &session, false),
            (&any, &session, true),
            (&session, &any, false),
        ] {
            assert_eq!(one.covers(other), want, "{one:?} {other:?}");
        }
    }
}
