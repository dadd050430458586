//! The state of an issuer at work, which the server and the handles share.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    config::{ClientConfig, IssuerConfig, User},
    endpoint::Endpoint,
    keys::{KeySet, RsaKeys},
    logins::Logins,
    misbehaviour::InForce,
    requests::Requests,
};

/// What the server and the handles share.
pub(crate) struct IssuerShared {
    name: String,
    /// The path of the URL without a slash at its end.
    path: String,
    url: String,
    state: Mutex<State>,
    pub(crate) requests: Requests,
}

/// What changes while an issuer runs.
pub(crate) struct State {
    pub(crate) config: IssuerConfig,
    pub(crate) keys: KeySet,
    pub(crate) logins: Logins,
    pub(crate) misbehaviours: BTreeMap<Endpoint, InForce>,
    /// Seconds that the issuer's clock is ahead of this machine's.
    pub(crate) clock_offset: i64,
    /// What a client's assertion may be meant for.
    pub(crate) audiences: Vec<String>,
    /// Those that were used, with their ends.
    pub(crate) assertions: RefCell<BTreeMap<String, i64>>,
    /// The last that came, good or bad, in their order.
    pub(crate) came: RefCell<VecDeque<String>>,
}

impl IssuerShared {
    /// `base` is scheme, host and port.
    pub(crate) fn new(config: IssuerConfig, base: &str, rsa: Arc<RsaKeys>) -> Self {
        let url = format!("{base}{}", config.path);
        let token = format!("{}{}", url.trim_end_matches('/'), Endpoint::Token.path());
        Self {
            name: config.name.clone(),
            path: config.path.trim_end_matches('/').to_owned(),
            url: url.clone(),
            requests: Requests::default(),
            state: Mutex::new(State {
                keys: KeySet::new(&config.algorithms, rsa),
                logins: Logins::default(),
                misbehaviours: BTreeMap::new(),
                clock_offset: 0,
                audiences: vec![url, token],
                assertions: RefCell::default(),
                came: RefCell::default(),
                config,
            }),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn endpoint(&self, endpoint: Endpoint) -> String {
        format!("{}{}", self.url.trim_end_matches('/'), endpoint.path())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The issuer's clock, in seconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        self.lock().now()
    }
}

impl State {
    /// The issuer's clock, in seconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX) + self.clock_offset
    }

    pub(crate) fn client(&self, id: &str) -> Option<&ClientConfig> {
        self.config.clients.iter().find(|client| client.id == id)
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.config.users.iter().find(|user| user.name == name)
    }

    /// How somebody is to log in: the first of these `acr_values` that there is. One that there is not asks for nothing (OpenID Connect Core
    /// 1.0, section 3.1.2.1: the claim is voluntary).
    pub(crate) fn acr(&self, asked: Option<&str>) -> Option<String> {
        let is_known = |acr: &&str| self.config.acr_values.iter().any(|known| known == acr);
        asked.unwrap_or_default().split_ascii_whitespace().find(is_known).map(str::to_owned)
    }

    /// The user who types this login name or e-mail address and this password.
    pub(crate) fn log_in(&self, login: &str, password: &str) -> Option<&User> {
        let meant = |user: &&User| user.answers_to(login) && user.password == password;
        self.config.users.iter().find(meant)
    }

    pub(crate) fn put_user(&mut self, user: User) {
        self.config.users.retain(|known| known.name != user.name);
        self.config.users.push(user);
    }
}
