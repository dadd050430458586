//! From settings to a token that is good now: the stored one, else a refreshed one, else a login; one process at a time.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    console::Console,
    grant::{
        self, Ask, LoginError,
        ready::{self, ReadyError},
    },
    issuer::{Issuer, IssuerError, Past},
    lock::{Failed, LockError, Locks},
    logins,
    oauth::OAuthError,
    settings::{Grant, Settings, TokenSource},
    store::{self, Found, Key, Record, Saved, Store, StoreError},
    verify::{VerifyError, span},
};

/// A token with less time left than this is renewed: the request must still arrive with it (kubekey's margin).
const MARGIN: TimeDelta = TimeDelta::seconds(10);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The login.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// A token from elsewhere.
    #[error(transparent)]
    Ready(#[from] ReadyError),
    /// Another process tried for us.
    #[error("another kubectl tried to log in at the same time and failed: {0}")]
    Other(String),
    /// The same kubectl asks again.
    #[error("the login failed a moment ago: {0}")]
    Again(String),
    /// There was a login, and something is in the way of renewing its token.
    #[error("the token has expired and cannot be renewed now: {0}")]
    NotRenewed(IssuerError),
    /// Nobody is logged in, and no login was to be made.
    #[error("not logged in at {issuer} as client {client:?}; log in with: kubectl oidc login")]
    NotLoggedIn {
        /// The issuer.
        issuer: String,
        /// The client.
        client: String,
    },
}

impl From<IssuerError> for SessionError {
    fn from(error: IssuerError) -> Self {
        Self::Login(error.into())
    }
}

/// How far to go for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Take the stored one if it is good, refresh it if not, else ask the person.
    Login {
        /// Standard input is the person's.
        interactive: bool,
    },
    /// The same, but the stored one is not good enough.
    Renew {
        /// Standard input is the person's.
        interactive: bool,
    },
    /// Ask the person, whatever is stored.
    Anew {
        /// Standard input is the person's.
        interactive: bool,
    },
    /// Do not ask the person.
    Silent,
}

impl Effort {
    /// A stored token is not good enough.
    fn replaces(self) -> bool {
        matches!(self, Self::Renew { .. } | Self::Anew { .. })
    }
}

/// One client at one issuer.
pub struct Session<'a> {
    settings: &'a Settings,
    console: Console,
    key: Key,
    asker: Option<u32>,
}

impl<'a> Session<'a> {
    /// A session; nothing is opened yet.
    #[must_use]
    pub fn new(settings: &'a Settings, console: Console) -> Self {
        Self { settings, console, key: store::key(settings), asker: None }
    }

    /// With the kubectl process that asks: a login that failed is not tried for it again at once.
    #[must_use]
    pub fn asked_by(self, asker: Option<u32>) -> Self {
        Self { asker, ..self }
    }

    /// The name of this login in the stores.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// A token that is good now.
    pub fn token(&self, effort: Effort) -> Result<Record, SessionError> {
        if let Grant::Ready(source) = &self.settings.login.grant {
            return self.ready(source);
        }
        let store = Store::open(&self.settings.store, self.console)?;
        let before = self.load(&store)?;
        if let Some(record) = before.as_ref().filter(|record| self.is_good(record))
            && !effort.replaces()
        {
            return Ok(record.clone());
        }

        let started = Utc::now();
        let locks = self.lock()?;
        // Another process may have been quicker, whether we saw it at work or not.
        let stored = self.load(&store)?;
        if let Some(record) = stored.as_ref().filter(|record| self.is_good(record))
            && (stored != before || !effort.replaces())
        {
            return Ok(record.clone());
        }
        match locks.failure(started, self.asker) {
            Some(Failed::Meanwhile(message)) => return Err(SessionError::Other(message)),
            Some(Failed::Before(message)) => return Err(SessionError::Again(message)),
            None => {}
        }
        match self.renew(stored.as_ref(), effort, &|place| locks.announce(place)) {
            Ok(record) => {
                self.save(&store, &record);
                Ok(record)
            }
            Err(error) => {
                // Whoever did not try to log in has not failed to.
                if effort != Effort::Silent {
                    locks.leave_failure(&error.to_string(), self.asker);
                }
                Err(error)
            }
        }
    }

    /// What to call the place where this login is kept.
    #[must_use]
    pub fn place(&self) -> String {
        if let Grant::Ready(source) = &self.settings.login.grant {
            return source.describe();
        }
        Store::open(&self.settings.store, self.console)
            .map_or_else(|error| error.to_string(), |store| store.place(&self.key))
    }

    /// The stored record, good or not.
    pub fn stored(&self) -> Result<Option<Record>, SessionError> {
        self.load(&Store::open(&self.settings.store, self.console)?)
    }

    fn load(&self, store: &Store) -> Result<Option<Record>, SessionError> {
        match store.load(&self.key)? {
            Found::Record(record) => Ok(Some(*record)),
            Found::Nothing => self.take_over(store),
            Found::Corrupt(reason) => {
                self.console.trace(|| format!("the stored login is replaced: it is {reason}"));
                Ok(None)
            }
        }
    }

    fn take_over(&self, store: &Store) -> Result<Option<Record>, SessionError> {
        let Some(former) = store::former_key(self.settings) else { return Ok(None) };
        let record = store.take_over(&former, &self.key)?;
        if record.is_some() {
            self.console.trace(|| "the login of an earlier version is taken over".to_owned());
            logins::note(&self.settings.store, &self.key, "file");
        }
        Ok(record)
    }

    fn save(&self, store: &Store, record: &Record) {
        match store.save(&self.key, record) {
            Ok(Saved::Nowhere) => {}
            Ok(Saved::Chosen(kind)) => {
                logins::note(&self.settings.store, &self.key, kind);
            }
            Ok(Saved::Instead { kind, place, reason }) => {
                // Said when the login comes about or moves, not at every refresh.
                if !logins::is_noted(&self.settings.store, &self.key, kind) {
                    self.console.note(format_args!("The token is kept in {place}: {reason}."));
                }
                logins::note(&self.settings.store, &self.key, kind);
            }
            // The person is logged in all the same.
            Err(error) => {
                self.console
                    .say(format_args!("This login is not kept for the next command: {error}"));
            }
        }
    }

    /// The locks, as far as they can be had: a read-only home must not keep anybody from logging in.
    fn lock(&self) -> Result<Locks, SessionError> {
        let console = self.console;
        // A little longer than the process before us may wait for the person.
        let patience = self.settings.login.timeout + std::time::Duration::from_secs(30);
        let waiting = |place: Option<&str>| match place {
            None => console.note("Waiting for another kubectl that is logging in."),
            Some(place) => console.note(format_args!("It waits for you at {place}")),
        };
        let unusable = |error: &LockError| console.trace(|| error.to_string());
        Ok(Locks::take(self.settings.store.places(), &self.key, patience, waiting, unusable)?)
    }

    fn renew(
        &self,
        stored: Option<&Record>,
        effort: Effort,
        announce: &dyn Fn(&str),
    ) -> Result<Record, SessionError> {
        let not_logged_in = || SessionError::NotLoggedIn {
            issuer: self.settings.client.issuer.clone(),
            client: self.settings.client.id.clone(),
        };
        // No renewal makes another login of it.
        let kept = stored.filter(|record| self.is_as_required(record));
        let refreshable = kept.filter(|record| {
            record.refresh_token.is_some() && !matches!(effort, Effort::Anew { .. })
        });
        let machine =
            matches!(self.settings.login.grant, Grant::ClientCredentials | Grant::TokenExchange(_));
        if effort == Effort::Silent && refreshable.is_none() && !machine {
            return Err(not_logged_in());
        }
        let issuer = match Issuer::connect(self.settings, &self.key, self.console) {
            Ok(issuer) => Arc::new(issuer.expecting(stored, &self.settings.store.account)),
            // Better a token with seconds to live, or one that was to be renewed early, than none.
            Err(error) if stored.is_some() && kept.is_none() => return Err(error.into()),
            Err(error) => return still_good(stored, error),
        };
        let mut why = match stored {
            Some(_) if kept.is_none() => Some(
                "The login that is kept is another than --acr and --max-age ask for".to_owned(),
            ),
            stored => stored.and_then(|record| expired(record, Utc::now())),
        };
        if let Some(record) = refreshable {
            match refresh(&issuer, record) {
                Ok(record) => return Ok(record),
                Err(error) if is_temporary(&error) => return still_good(stored, error),
                Err(error) => {
                    self.console.trace(|| format!("the refresh token is of no use: {error}"));
                    why = Some(format!("The session at {} has ended", self.settings.client.issuer));
                }
            }
        }
        let interactive = match effort {
            Effort::Silent if !machine => return Err(not_logged_in()),
            Effort::Silent => false,
            Effort::Login { interactive }
            | Effort::Renew { interactive }
            | Effort::Anew { interactive } => interactive,
        };
        let Settings { login, client, .. } = self.settings;
        if let Some(why) = why.filter(|_| !machine && !matches!(effort, Effort::Anew { .. })) {
            self.console.note(format_args!("{why}: a new login is needed."));
        }
        let (console, client_id) = (self.console, &*client.id);
        let subject = self.subject(effort)?;
        let subject = subject.as_deref();
        let ask = Ask {
            issuer: &issuer,
            settings: login,
            client_id,
            interactive,
            console,
            subject,
            announce,
        };
        Ok(grant::login(&ask)?)
    }

    /// Whether a stored token serves as it is.
    fn is_good(&self, record: &Record) -> bool {
        is_fresh(record, Utc::now()) && self.is_as_required(record)
    }

    /// Whether the login that a stored token comes from is one that is asked for.
    fn is_as_required(&self, record: &Record) -> bool {
        let required = &self.settings.client.required;
        let machine =
            matches!(self.settings.login.grant, Grant::ClientCredentials | Grant::TokenExchange(_));
        // By the issuer's clock, as far as it is known.
        let ahead = TimeDelta::seconds(record.ahead_seconds.unwrap_or_default());
        required.is_empty()
            || machine
            || record
                .person_claims()
                .is_some_and(|claims| required.is_met(&claims, Utc::now() + ahead))
    }

    /// The token of this client's ordinary login, where that is what is exchanged.
    fn subject(&self, effort: Effort) -> Result<Option<String>, SessionError> {
        let Grant::TokenExchange(exchange) = &self.settings.login.grant else { return Ok(None) };
        if exchange.subject.is_some() {
            return Ok(None);
        }
        let mut ordinary = self.settings.clone();
        ordinary.login.grant = Grant::BrowserOrDevice;
        ordinary.client.use_access_token = exchange.wants_access_token();
        // Its own login is as good as ever: what is renewed is what it is exchanged for.
        let effort = match effort {
            Effort::Login { interactive }
            | Effort::Renew { interactive }
            | Effort::Anew { interactive } => Effort::Login { interactive },
            Effort::Silent => Effort::Silent,
        };
        let record = Session::new(&ordinary, self.console).asked_by(self.asker).token(effort)?;
        Ok(Some(record.token))
    }

    /// A token from elsewhere is verified once, if the settings say whose it must be; its digest is remembered.
    fn ready(&self, source: &TokenSource) -> Result<Record, SessionError> {
        let (token, _) = ready::read(source, &self.settings.client)?;
        let seen = ready::Seen::new(&self.settings.store, &self.key, &token);
        if self.settings.client.issuer.is_empty() || seen.is_known() {
            return Ok(Record::new(&self.key, token));
        }
        let issuer = Issuer::connect(self.settings, &self.key, self.console)?;
        let record = issuer.accept_ready(&token)?;
        seen.remember();
        Ok(record)
    }
}

fn refresh(issuer: &Issuer, record: &Record) -> Result<Record, IssuerError> {
    let token = record.refresh_token.as_deref().unwrap_or_default();
    let answer = issuer.oauth.refresh(token)?;
    issuer.accept(answer, Past { nonce: None, before: Some(record) })
}

/// A login would fail for the same reason, so the person is not asked for one.
fn is_temporary(error: &IssuerError) -> bool {
    match error {
        IssuerError::OAuth(OAuthError::Http(_)) | IssuerError::Verify(VerifyError::Skew { .. }) => {
            true
        }
        IssuerError::OAuth(error) => {
            matches!(error.code(), Some("temporarily_unavailable" | "server_error" | "slow_down"))
        }
        _ => false,
    }
}

fn still_good(stored: Option<&Record>, error: IssuerError) -> Result<Record, SessionError> {
    let now = Utc::now();
    match stored.filter(|record| record.expiry().is_some_and(|expiry| expiry > now)) {
        Some(record) => Ok(record.clone()),
        None if stored.is_some() => Err(SessionError::NotRenewed(error)),
        None => Err(error.into()),
    }
}

/// Why a token that nothing renews is of no use.
fn expired(record: &Record, now: DateTime<Utc>) -> Option<String> {
    let ago = now - record.expiry()?;
    let age = if ago > TimeDelta::zero() {
        format!("expired {} ago", span(ago))
    } else {
        "is about to expire".to_owned()
    };
    (record.refresh_token.is_none())
        .then(|| format!("The token {age}, and the issuer gave nothing to renew it with (the scope offline_access may)"))
}

fn is_fresh(record: &Record, now: DateTime<Utc>) -> bool {
    record.expiry().is_some_and(|expiry| expiry - MARGIN > now)
}
