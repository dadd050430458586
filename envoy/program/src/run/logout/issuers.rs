//! Whose logout tokens are taken: those of the issuers that the gateway believes, each once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use gateway_config::{Documents, cluster_name};
use gateway_control::{Probe, ProbeError};
use kube_authn::{
    AuthenticationConfiguration, JwtAuthenticator, UnverifiedToken,
    config::{LoadOptions, load},
    crypto::{Algorithm, SoftwareVerifier},
    jwks::{KeySet, KeySetLimits},
    logout::{Logout, LogoutError},
    token::TokenLimits,
};

use super::super::view::View;
use crate::fetch::{FetchError, Request};

/// How long a key set is used, and how soon it may be fetched again for a key that is not in it.
const FRESH: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(30);
/// How soon an issuer that has never answered is asked again.
const PAUSE: Duration = Duration::from_secs(5);
/// Ids of tokens that are remembered for as long as these are good.
const MOST_SEEN: usize = 10_000;

/// The issuers.
pub(crate) struct Issuers {
    view: Arc<Mutex<View>>,
    probe: Probe,
    known: Mutex<Option<Known>>,
    keys: Mutex<HashMap<String, Arc<Mutex<Keys>>>>,
    seen: Mutex<HashMap<(String, String), Duration>>,
}

/// An issuer's keys, if it has ever answered, and when it was last asked.
#[derive(Default)]
struct Keys {
    set: Option<Arc<KeySet>>,
    asked: Option<Instant>,
}

/// What the documents come to.
#[derive(Clone)]
struct Known {
    documents: Arc<Documents>,
    authentication: Arc<AuthenticationConfiguration>,
}

impl Issuers {
    /// Those that the gateway believes at the moment.
    pub fn new(view: Arc<Mutex<View>>, probe: Probe) -> Self {
        let (known, keys, seen) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { view, probe, known, keys, seen }
    }

    /// Verifies a logout token. Gives its issuer, what it ends, and for how long.
    pub fn verify(&self, token: &str, now: Duration) -> Result<(String, Logout, Duration), String> {
        let known = self.known()?;
        let token = UnverifiedToken::parse(token.as_bytes(), &TokenLimits::default())
            .map_err(|error| error.to_string())?;
        let (index, jwt) = known
            .authentication
            .authenticator_for(&token)
            .ok_or("no configured issuer claims the token")?;
        let issuer = jwt.issuer_url().to_owned();
        let logout = self
            .verified(&known, index, jwt, &token, now)
            .map_err(|error| format!("issuer {issuer}: {error}"))?;
        self.remember(&issuer, &logout, now)?;
        let lifetime = known.documents.gateway().logout.lifetime_seconds;
        Ok((issuer, logout, Duration::from_secs(lifetime.into())))
    }

    /// A token that ended nothing after all.
    pub fn forget(&self, issuer: &str, id: &str) {
        lock(&self.seen).remove(&(issuer.to_owned(), id.to_owned()));
    }

    fn verified(
        &self,
        known: &Known,
        index: usize,
        jwt: &JwtAuthenticator,
        token: &UnverifiedToken,
        now: Duration,
    ) -> Result<Logout, String> {
        let allowed = match known.documents.algorithms() {
            [] => &Algorithm::ALL,
            some => some,
        };
        let verify =
            |keys: &KeySet| jwt.verify_logout(token, keys, &SoftwareVerifier, now, allowed);
        let keys = self.keys(known, index, jwt, FRESH)?;
        match verify(&keys) {
            // The issuer may have other keys by now.
            Err(LogoutError::Token(error)) if error.is_no_key_verified() => {
                let newer = self.keys(known, index, jwt, AGAIN)?;
                verify(&newer).map_err(|error| error.to_string())
            }
            result => result.map_err(|error| error.to_string()),
        }
    }

    /// An issuer's keys, fetched if those that are known are older than this.
    fn keys(
        &self,
        known: &Known,
        index: usize,
        jwt: &JwtAuthenticator,
        most_age: Duration,
    ) -> Result<Arc<KeySet>, String> {
        let of_issuer = {
            let mut all = lock(&self.keys);
            Arc::clone(all.entry(jwt.issuer_url().to_owned()).or_default())
        };
        // Under the issuer's own lock: one fetch at a time, and whoever waited has what it brought. Other issuers go on.
        let mut keys = lock(&of_issuer);
        let age = keys.asked.map(|asked| asked.elapsed());
        match &keys.set {
            Some(set) if age.is_some_and(|age| age < most_age) => return Ok(Arc::clone(set)),
            None if age.is_some_and(|age| age < PAUSE) => {
                return Err("its keys could not be fetched a moment ago".to_owned());
            }
            _ => {}
        }
        keys.asked = Some(Instant::now());
        let request = Request::new(jwt);
        let cluster = known.documents.issuers().get(index).map(cluster_name).unwrap_or_default();
        let fetched = match request.by_envoy(&self.probe, &cluster) {
            Err(FetchError::Envoy {
                error: ProbeError::NoEnvoy | ProbeError::NoCluster, ..
            }) => request.by_program(),
            result => result,
        };
        let document = fetched.map_err(|error| error.to_string())?.document;
        let rules = known.documents.gateway().kubernetes_rules;
        let set = KeySet::parse(&document, KeySetLimits::default(), rules);
        let set = Arc::new(set.map_err(|error| error.to_string())?);
        keys.set = Some(Arc::clone(&set));
        Ok(set)
    }

    /// Takes each token once, for as long as it could be taken.
    fn remember(&self, issuer: &str, logout: &Logout, now: Duration) -> Result<(), String> {
        let mut seen = lock(&self.seen);
        let key = (issuer.to_owned(), logout.id.clone());
        if seen.get(&key).is_some_and(|until| *until >= now) {
            return Err(format!("issuer {issuer}: jti: the token has come before"));
        }
        if seen.len() >= MOST_SEEN {
            seen.retain(|_, until| *until >= now);
            if seen.len() >= MOST_SEEN {
                return Err("too many logout tokens have come in the last minutes".to_owned());
            }
        }
        seen.insert(key, logout.good_until());
        Ok(())
    }

    fn known(&self) -> Result<Known, String> {
        let documents = {
            let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&view.documents)
        };
        let mut known = lock(&self.known);
        if let Some(known) = &*known
            && Arc::ptr_eq(&known.documents, &documents)
        {
            return Ok(known.clone());
        }
        let text =
            serde_json::to_vec(documents.authentication()).map_err(|error| error.to_string())?;
        let rules = documents.gateway().kubernetes_rules;
        let options = LoadOptions { rules, ..LoadOptions::default() };
        let authentication = load(&text, &options).map_err(|error| error.to_string())?;
        // Keys of an issuer that is gone are not used by one that takes its place.
        lock(&self.keys).clear();
        let new = Known { documents, authentication: Arc::new(authentication) };
        *known = Some(new.clone());
        Ok(new)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
