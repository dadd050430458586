//! The `Grants` document: what was asked for, agreed to, refused and ended.

use std::{fmt, time::Duration};

use apiserver_cel::{format_unix, unix_seconds};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::{documents::API_VERSION, names};

/// The `kind` of a [`Grants`] document.
pub const KIND: &str = "Grants";
/// Bytes of a document: what a `ConfigMap` holds (1 MiB), with room for its other fields.
pub const MOST_BYTES: usize = 1_000_000;
/// Groups of one grant.
const MOST_GROUPS: usize = 32;
/// Bytes of an id, and of any other text.
const MOST_ID: usize = 64;
const MOST_TEXT: usize = 1024;

/// Grants, in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grants {
    /// [`API_VERSION`]
    pub api_version: String,
    /// [`KIND`]
    pub kind: String,
    /// The grants.
    pub grants: Vec<Entry>,
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Tells it from the others, in logs and commands: letters, digits and `-`.
    pub id: String,
    /// What has become of it.
    pub state: State,
    /// The name of the user who asked, as the gateway maps it.
    pub user: String,
    /// The issuer of that user's token.
    pub issuer: String,
    /// The `sub` of that user's token.
    pub subject: String,
    /// The groups to lend.
    pub groups: Vec<String>,
    /// Why they are wanted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When they were asked for.
    pub requested_at: Time,
    /// When the loan begins. Until somebody agrees, this and the next are what is wished.
    pub from: Time,
    /// When it ends.
    pub until: Time,
    /// Who agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<Approval>,
}

/// What has become of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum State {
    /// Somebody has to agree to it.
    Requested,
    /// It is in force from its beginning to its end.
    Approved,
    /// It was ended before that.
    Ended,
    /// It was refused.
    Denied,
}

/// Who agreed, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The name of the user.
    pub user: String,
    /// The issuer of that user's token.
    pub issuer: String,
    /// The `sub` of that user's token.
    pub subject: String,
    /// The groups that the token had then.
    pub groups: Vec<String>,
    /// When it was.
    pub at: Time,
}

impl Approval {
    /// Who it was.
    #[must_use]
    pub fn person(&self) -> super::Person<'_> {
        let Self { user, issuer, subject, groups, .. } = self;
        // Who agrees needs no rule that lends to it.
        super::Person { user, issuer, subject, groups, meets: &[] }
    }
}

/// Seconds since 1970; in a document, a time of RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// A point in time, as a duration since 1970.
    #[must_use]
    pub fn since_epoch(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&i64::try_from(self.0).ok().and_then(format_unix).unwrap_or_default())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// By hand: serde's own code for these types would be larger than all that the filter does with them.
impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields =
            Fields::of(Value::deserialize(deserializer)?).map_err(de::Error::custom)?;
        fields.grants().map_err(de::Error::custom)
    }
}

/// The fields of an object, each of which is taken out once.
struct Fields(Map<String, Value>);

/// What is wrong with them.
type Wrong = String;

impl Fields {
    fn of(value: Value) -> Result<Self, Wrong> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err("not an object".to_owned()),
        }
    }

    fn grants(&mut self) -> Result<Grants, Wrong> {
        let mut grants = Vec::new();
        for (index, entry) in self.list("grants")?.into_iter().enumerate() {
            let entry = Self::of(entry).and_then(|mut fields| fields.entry());
            grants.push(entry.map_err(|wrong| format!("grants[{index}]: {wrong}"))?);
        }
        let (api_version, kind) = (self.text("apiVersion")?, self.text("kind")?);
        self.end()?;
        Ok(Grants { api_version, kind, grants })
    }

    fn entry(&mut self) -> Result<Entry, Wrong> {
        let approved_by = match self.0.remove("approvedBy") {
            None | Some(Value::Null) => None,
            Some(approval) => Some(Self::of(approval)?.approval()?),
        };
        let state = self.text("state")?;
        let state = State::ALL.into_iter().find(|known| known.name() == state);
        let reason =
            if self.0.contains_key("reason") { self.text("reason")? } else { String::new() };
        let entry = Entry {
            id: self.text("id")?,
            state: state.ok_or("state: must be Requested, Approved, Denied or Ended")?,
            user: self.text("user")?,
            issuer: self.text("issuer")?,
            subject: self.text("subject")?,
            groups: self.texts("groups")?,
            reason,
            requested_at: self.time("requestedAt")?,
            from: self.time("from")?,
            until: self.time("until")?,
            approved_by,
        };
        self.end()?;
        Ok(entry)
    }

    fn approval(&mut self) -> Result<Approval, Wrong> {
        let approval = Approval {
            user: self.text("user")?,
            issuer: self.text("issuer")?,
            subject: self.text("subject")?,
            groups: self.texts("groups")?,
            at: self.time("at")?,
        };
        self.end()?;
        Ok(approval)
    }

    fn text(&mut self, name: &str) -> Result<String, Wrong> {
        match self.0.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(format!("{name}: must be a text")),
        }
    }

    fn time(&mut self, name: &str) -> Result<Time, Wrong> {
        let text = self.text(name)?;
        let seconds = unix_seconds(&text).and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map(Time).ok_or_else(|| format!("{name}: must be a time of RFC 3339, since 1970"))
    }

    fn list(&mut self, name: &str) -> Result<Vec<Value>, Wrong> {
        match self.0.remove(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(format!("{name}: must be a list")),
        }
    }

    fn texts(&mut self, name: &str) -> Result<Vec<String>, Wrong> {
        let items = self.list(name)?.into_iter();
        let texts = items.map(|item| match item {
            Value::String(text) => Ok(text),
            _ => Err(format!("{name}: must be a list of texts")),
        });
        texts.collect()
    }

    /// Nothing else may be there.
    fn end(&self) -> Result<(), Wrong> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("unknown field {name:?}")),
        }
    }
}

impl State {
    const ALL: [Self; 4] = [Self::Requested, Self::Approved, Self::Ended, Self::Denied];

    fn name(self) -> &'static str {
        match self {
            Self::Requested => "Requested",
            Self::Approved => "Approved",
            Self::Ended => "Ended",
            Self::Denied => "Denied",
        }
    }
}

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// Not JSON, or not of the document's shape; the text names the field.
    #[error("Grants: {0}")]
    Shape(#[from] serde_json::Error),
    /// Longer than any may be.
    #[error("Grants: {0} bytes; at most {MOST_BYTES} are read: prune what is over")]
    Size(usize),
    /// Another `apiVersion` or `kind`.
    #[error("Grants: {field}: Invalid value: {got:?}: must be {want:?}")]
    Type {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// What the document says.
        got: String,
        /// What it must say.
        want: &'static str,
    },
    /// A grant that cannot be meant.
    #[error("Grants: grants[{index}].{field}: Invalid value: {why}")]
    Entry {
        /// Its place.
        index: usize,
        /// The field.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
}

impl Grants {
    /// A document without grants.
    #[must_use]
    pub fn none() -> Self {
        Self { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), grants: Vec::new() }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, GrantsError> {
        if text.len() > MOST_BYTES {
            return Err(GrantsError::Size(text.len()));
        }
        let read: Self = serde_json::from_slice(text)?;
        read.check()?;
        Ok(read)
    }

    /// Checks a document that was read in another way.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), GrantsError> {
        for (field, got, want) in
            [("apiVersion", &self.api_version, API_VERSION), ("kind", &self.kind, KIND)]
        {
            if got != want {
                return Err(GrantsError::Type { field, got: got.clone(), want });
            }
        }
        let ids = &mut std::collections::HashSet::new();
        for (index, entry) in self.grants.iter().enumerate() {
            let fault = entry.fault().or_else(|| {
                (!ids.insert(entry.id.as_str())).then_some(("id", "must be no other grant's"))
            });
            if let Some((field, why)) = fault {
                return Err(GrantsError::Entry { index, field, why });
            }
        }
        Ok(())
    }
}

impl Entry {
    /// What cannot be meant, if anything: the field, and why.
    #[must_use]
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        const TEXT: &str =
            "must have 1 to 1024 bytes, no control character, and no blank at its start or end";
        let is_text =
            |text: &str| !text.is_empty() && text.len() <= MOST_TEXT && names::is_safe(text);
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.id.is_empty() || self.id.len() > MOST_ID || !self.id.bytes().all(is_id) {
            return Some(("id", "must have 1 to 64 letters, digits and '-'"));
        }
        if self.groups.len() > MOST_GROUPS {
            return Some(("groups", "must have at most 32 items"));
        }
        let fields = [("user", &self.user), ("issuer", &self.issuer), ("subject", &self.subject)];
        let approval = self.approved_by.iter().flat_map(|by| {
            [
                ("approvedBy.user", &by.user),
                ("approvedBy.issuer", &by.issuer),
                ("approvedBy.subject", &by.subject),
            ]
        });
        let groups = self.groups.iter().map(|group| ("groups", group));
        let mut texts = fields.into_iter().chain(approval).chain(groups);
        if let Some((field, _)) = texts.find(|(_, text)| !is_text(text)) {
            return Some((field, TEXT));
        }
        (!self.reason.is_empty() && !is_text(&self.reason)).then_some(("reason", TEXT))
    }
}
