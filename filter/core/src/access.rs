//! Access that ends before its token does: documents that change while the gateway runs, and what they say of a login.
//!
//! A [`Follower`](crate::follower::Follower) holds the newest [`Documents`]. It asks for newer ones once a second, or has those that the
//! configuration brought. A login that has been judged under one generation of them is not judged under the same one again: whom no entry
//! names today one names only when it is added. So a warm request costs a comparison of two numbers, however long the documents are.

mod index;
mod open;
mod origin;
mod revocations;

use std::{cell::Cell, rc::Rc, time::Duration};

use go_compat::json::Value;
use kube_authn::{Identity, VerifiedToken};
use serde::{Deserialize, Serialize};

pub use self::{
    index::{Index, Revoked},
    open::{OpenStream, OpenStreams},
    origin::{MOST_BETWEEN, ORIGIN, Origin},
    revocations::{MOST_ENTRIES, REVOCATIONS, Revocation, Revocations, RevocationsError},
};
use crate::elevation::{Grants, GrantsError, Loan, State};

/// Where the documents are asked for; the version that is known follows.
pub const PATH: &str = "/v1/access?version=";
/// Who holds the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The Envoy cluster that reaches it. No route names it.
    pub cluster: String,
    /// For how long documents count of which nobody knows whether they are still the newest.
    pub maximum_staleness: Duration,
}

/// Why the documents say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// They have not been read yet.
    #[error("the access documents have not been read yet")]
    Never,
    /// They may have changed since.
    #[error(
        "the access documents were last read {0} s ago, which exceeds access.maximumStalenessSeconds"
    )]
    Stale(u64),
}

/// The documents in one piece, as they travel from who holds them to the filter. Each is whole, with its `apiVersion` and `kind`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Envelope {
    /// What is revoked, if there is such a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocations: Option<Revocations>,
    /// What is lent, if there is such a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
}

/// The documents, checked, and in a form that answers quickly. They never change: newer ones have a greater generation.
#[derive(Debug, Default)]
pub struct Documents {
    /// Tells them from those before.
    pub generation: u64,
    /// As who holds them names their state.
    pub version: String,
    /// What is revoked.
    pub revocations: Index,
    /// What was asked for and agreed to, if there is such a document. What of it counts, each worker's own rules say.
    pub grants: Option<Grants>,
}

impl Documents {
    /// Checks the documents of an envelope.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be meant.
    pub fn new(
        envelope: &Envelope,
        version: &str,
        generation: u64,
    ) -> Result<Self, DocumentsError> {
        let revocations = envelope.revocations.as_ref().map(Index::new).transpose()?;
        let revocations = revocations.unwrap_or_default();
        let grants = envelope.grants.clone();
        grants.as_ref().map(Grants::check).transpose()?;
        Ok(Self { generation, version: version.to_owned(), revocations, grants })
    }

    /// Whether all of these grants are still agreed to.
    fn has_all(&self, loan: &Loan) -> bool {
        let grants =
            self.grants.as_ref().map(|grants| grants.grants.as_slice()).unwrap_or_default();
        let is_approved =
            |id: &String| grants.iter().any(|it| it.id == *id && it.state == State::Approved);
        loan.grants.iter().all(is_approved)
    }
}

/// What is wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// That of revocations.
    #[error("revocations: {0}")]
    Revocations(#[from] RevocationsError),
    /// That of grants.
    #[error(transparent)]
    Grants(#[from] GrantsError),
}

/// What is kept of the token that a user signed in with, for documents to be matched with it.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: String,
    /// `jti`
    pub id: String,
    /// `sid`: the session at the provider (OpenID Connect Back-Channel Logout 1.0, section 2.1).
    pub session: String,
    /// `iat`, in seconds since 1970.
    pub issued_at: Option<u64>,
    /// The login with which it was made, if it is a portal's: entries are compared with both.
    pub origin: Option<Box<Origin>>,
    /// The rules of elevation whose expressions are true of the user, by their names.
    pub meets: Vec<String>,
    /// The generation of documents under which nothing was found against it.
    judged: Cell<u64>,
}

impl Login {
    /// Of a token of this issuer that has been verified.
    #[must_use]
    pub fn new(issuer: &str, token: &VerifiedToken) -> Self {
        let text = |name: &str| match token.name(name) {
            Some(Value::String(text)) => text.to_string(),
            _ => String::new(),
        };
        let issued_at = match token.name("iat") {
            Some(Value::Number(number)) => number.as_unix_seconds(),
            _ => None,
        };
        Self {
            issuer: issuer.to_owned(),
            subject: text("sub"),
            id: text("jti"),
            session: text("sid"),
            issued_at: issued_at.and_then(|seconds| u64::try_from(seconds).ok()),
            ..Self::default()
        }
    }

    /// Of a token of this issuer of which nothing else is known.
    #[must_use]
    pub fn of(issuer: &str) -> Self {
        Self { issuer: issuer.to_owned(), ..Self::default() }
    }

    /// The same, which was made with another login. It counts as issued when that one was: whoever had the login before it ended could
    /// have made tokens until then.
    #[must_use]
    pub fn made_with(self, origin: Option<Origin>) -> Self {
        let Some(origin) = origin else { return self };
        let issued_at = self.issued_at.zip(origin.issued_at).map(|(own, first)| own.min(first));
        Self { issued_at, origin: Some(Box::new(origin)), ..self }
    }

    /// The same, of a user of whom the expressions of these rules are true.
    #[must_use]
    pub fn meeting(self, meets: Vec<String>) -> Self {
        Self { meets, ..self }
    }

    /// The same, which nobody has judged: with more groups, there may be something against it.
    #[must_use]
    pub fn unjudged(&self) -> Self {
        Self { judged: Cell::default(), ..self.clone() }
    }

    /// Bytes of memory that it holds, roughly.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [&self.issuer, &self.subject, &self.id, &self.session];
        let texts = texts.into_iter().chain(&self.meets);
        let origin = self.origin.as_deref().map_or(0, Origin::size);
        texts.fold(size_of::<Self>().saturating_add(origin), |sum, text| {
            sum.saturating_add(text.len())
        })
    }
}

/// Whom a request comes from, as it signed in: not whom it asks to be.
#[derive(Clone)]
pub struct Person {
    names: Rc<dyn Named>,
    login: Rc<Login>,
    loan: Option<Rc<Loan>>,
}

/// What has a user's name and groups.
pub trait Named {
    /// The user's name.
    fn user(&self) -> &str;
    /// The groups.
    fn groups(&self) -> Box<dyn Iterator<Item = &str> + '_>;
}

impl Named for Identity {
    fn user(&self) -> &str {
        &self.username
    }

    fn groups(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.groups.iter().map(String::as_str))
    }
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("user", &self.names.user()).finish_non_exhaustive()
    }
}

impl Person {
    /// A user whose token was verified here.
    #[must_use]
    pub fn new(names: Rc<dyn Named>, login: &Rc<Login>) -> Self {
        Self { names, login: Rc::clone(login), loan: None }
    }

    /// Somebody of whose token nothing is known.
    #[must_use]
    pub fn named(identity: &Rc<Identity>) -> Self {
        Self { names: Rc::<Identity>::clone(identity), login: Rc::default(), loan: None }
    }

    /// The same, with what is lent to it.
    #[must_use]
    pub fn with(self, loan: Option<&Rc<Loan>>) -> Self {
        Self { loan: loan.cloned(), ..self }
    }

    /// Finds what ends its access.
    ///
    /// # Errors
    /// If something does.
    pub fn judge(&self, documents: &Documents, now: Duration) -> Result<(), Revoked> {
        let judged = &self.login.judged;
        if judged.get() == documents.generation {
            return Ok(());
        }
        if self.loan.as_deref().is_some_and(|loan| !documents.has_all(loan)) {
            return Err(Revoked {
                by: "grant",
                reason: "what was lent has been ended".to_owned(),
                login_helps: false,
            });
        }
        let find = |now| {
            let (user, groups) = (self.names.user(), self.names.groups());
            documents.revocations.find(user, groups, &self.login, now)
        };
        if let Some(revoked) = find(now) {
            return Err(revoked);
        }
        // An entry that is over holds again when the clock is set back, and no new generation would tell.
        if find(Duration::ZERO).is_none() {
            judged.set(documents.generation);
        }
        Ok(())
    }
}
