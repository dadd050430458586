//! What an issuer remembers of those who logged in: codes, tokens, devices, browser sessions.

use crate::{encoding::random_id, expiring::Expiring};

/// Somebody logged in at a client: the user, or the client itself (client credentials).
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// Common to all tokens that come from one authorization; revoking one ends all.
    pub(crate) id: String,
    pub(crate) client: String,
    /// The user's login name; `None` if the client acts for itself.
    pub(crate) user: Option<String>,
    pub(crate) scope: Scope,
    pub(crate) nonce: Option<String>,
    /// When the password was given, in seconds since the epoch.
    pub(crate) auth_time: i64,
    /// By which of the ways that were asked for (OpenID Connect Core 1.0, section 2).
    pub(crate) acr: Option<String>,
    /// Whether the authorization request had `access_type=offline`.
    pub(crate) offline: bool,
}

impl Login {
    pub(crate) fn new(client: &str, user: Option<&str>, scope: Scope, auth_time: i64) -> Self {
        Self {
            id: random_id(),
            client: client.to_owned(),
            user: user.map(str::to_owned),
            scope,
            nonce: None,
            auth_time,
            acr: None,
            offline: false,
        }
    }
}

/// Scopes asked for, each once (RFC 6749, section 3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    pub(crate) fn parse(text: &str) -> Self {
        let mut scope = Self::default();
        scope.add(text.split_ascii_whitespace());
        scope
    }

    pub(crate) fn add<'a>(&mut self, more: impl IntoIterator<Item = &'a str>) {
        for one in more {
            if !self.has(one) {
                self.0.push(one.to_owned());
            }
        }
    }

    pub(crate) fn has(&self, one: &str) -> bool {
        self.0.iter().any(|scope| scope == one)
    }

    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|one| other.has(one))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        self.0.join(" ")
    }
}

/// An authorization code, as RFC 6749 section 4.1 and RFC 7636 want it remembered.
pub(crate) struct Code {
    pub(crate) login: Login,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<Challenge>,
    /// A second use ends the login (RFC 6749, section 4.1.2).
    pub(crate) used: bool,
}

/// A PKCE challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Plain(String),
    S256(String),
}

pub(crate) struct RefreshToken {
    pub(crate) login: Login,
    /// Replaced by a newer one; used again it ends the login.
    pub(crate) replaced: bool,
}

/// A device that waits for its user (RFC 8628).
pub(crate) struct Device {
    pub(crate) client: String,
    pub(crate) scope: Scope,
    /// How its user is to log in, where that was asked for.
    pub(crate) acr: Option<String>,
    pub(crate) user_code: String,
    /// Seconds that have to pass between two polls; `slow_down` adds five.
    pub(crate) interval: u32,
    /// Seconds since the epoch.
    pub(crate) expires: i64,
    pub(crate) last_poll: Option<std::time::Instant>,
    pub(crate) decision: Option<Decision>,
}

pub(crate) enum Decision {
    Approved(Login),
    Denied,
}

/// A browser that need not ask for the password again.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) auth_time: i64,
    pub(crate) acr: Option<String>,
}

/// A permission to fetch claims from the claims endpoint.
#[derive(Clone, Debug)]
pub(crate) struct ClaimsSource {
    pub(crate) user: String,
    pub(crate) audience: String,
}

#[derive(Default)]
pub(crate) struct Logins {
    pub(crate) codes: Expiring<Code>,
    pub(crate) refresh_tokens: Expiring<RefreshToken>,
    pub(crate) access_tokens: Expiring<Login>,
    /// ID tokens that may come back as `id_token_hint`, expired or not.
    pub(crate) id_tokens: Expiring<Login>,
    pub(crate) devices: Expiring<Device>,
    pub(crate) sessions: Expiring<Session>,
    pub(crate) claims_sources: Expiring<ClaimsSource>,
}

impl Logins {
    /// Ends every token of one login.
    pub(crate) fn end(&mut self, login_id: &str) {
        self.refresh_tokens.retain(|token| token.login.id != login_id);
        self.access_tokens.retain(|login| login.id != login_id);
    }

    /// Ends every token and session of a user, at one client or at all.
    pub(crate) fn end_user(&mut self, user: &str, client: Option<&str>) {
        let of = |login: &Login| {
            login.user.as_deref() == Some(user) && client.is_none_or(|id| id == login.client)
        };
        self.codes.retain(|code| !of(&code.login));
        self.refresh_tokens.retain(|token| !of(&token.login));
        self.access_tokens.retain(|login| !of(login));
        self.sessions.retain(|session| session.user != user);
    }
}
