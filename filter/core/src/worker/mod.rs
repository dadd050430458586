//! One worker's whole state, and its decision on each request.

use std::{rc::Rc, time::Duration};

use kube_authn::{
    Identity,
    crypto::{Algorithm, SignatureVerifier},
    identity::CREDENTIAL_ID_KEY,
    token::{TokenLimits, UnverifiedToken},
};

use crate::{
    cache::{Grant, TokenCache},
    config::Configuration,
    credential::{self, CredentialError},
    decision::{Attempt, Decision, Forward, Wait, Waiter},
    guard,
    headers::RequestHead,
    keys::{Action, Answer, IssuerKeys, KeyState, SharedStore, Step, Why},
    plan::HeaderPlan,
    refusal::Refusal,
};

/// One worker: its configuration, its view of the keys, and the requests that wait for some.
pub struct Worker {
    id: u64,
    secret: [u8; 16],
    verifier: Box<dyn SignatureVerifier>,
    configuration: Configuration,
    issuers: Vec<IssuerKeys>,
    cache: TokenCache,
    waiting: Vec<Waiter>,
    callouts: u64,
}

impl Worker {
    /// A worker with a valid configuration. `id` tells the workers of one proxy apart; `secret` is random and known to
    /// nobody.
    #[must_use]
    pub fn new(
        id: u64,
        secret: [u8; 16],
        verifier: Box<dyn SignatureVerifier>,
        configuration: Configuration,
        shared: &dyn SharedStore,
    ) -> Self {
        let issuers = issuers(&configuration, shared);
        let cache = TokenCache::new(secret, &configuration.gateway.token_cache);
        Self {
            id,
            secret,
            verifier,
            configuration,
            issuers,
            cache,
            waiting: Vec::new(),
            callouts: 0,
        }
    }

    /// Takes a new configuration. Issuers that it keeps keep their keys, and what waits for them goes on waiting.
    pub fn reconfigure(&mut self, configuration: Configuration, shared: &dyn SharedStore) {
        let mut old: Vec<Option<IssuerKeys>> = self.issuers.drain(..).map(Some).collect();
        let mut moved = vec![usize::MAX; old.len()];
        self.issuers = issuers(&configuration, shared);
        for (to, issuer) in self.issuers.iter_mut().enumerate() {
            let same =
                |slot: &Option<IssuerKeys>| slot.as_ref().is_some_and(|o| o.is_same_as(issuer));
            if let Some(from) = old.iter().position(same) {
                if let Some(kept) = old.get_mut(from).and_then(Option::take) {
                    *issuer = kept;
                }
                if let Some(slot) = moved.get_mut(from) {
                    *slot = to;
                }
            }
        }
        for waiter in &mut self.waiting {
            waiter.wait.issuer = moved.get(waiter.wait.issuer).copied().unwrap_or(usize::MAX);
        }
        // Rules, mappings and limits may all have changed, and so what a token gives.
        self.cache = TokenCache::new(self.secret, &configuration.gateway.token_cache);
        self.configuration = configuration;
    }

    /// Decides on a request.
    #[must_use]
    pub fn decide(&mut self, head: &RequestHead<'_>, attempt: Attempt, now: Duration) -> Decision {
        match self.try_decide(head, attempt, now) {
            Ok(decision) => decision,
            Err(refusal) => Decision::Refuse(refusal),
        }
    }

    fn try_decide(
        &mut self,
        head: &RequestHead<'_>,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Decision, Refusal> {
        if let Some(nominated) = head.nominated {
            return Err(Refusal::Nominated(String::from_utf8_lossy(nominated).into_owned()));
        }
        let from_protocols = match (&head.protocols, head.websocket) {
            (Some(protocols), true) => credential::websocket(protocols)?,
            _ => None,
        };
        let from_header = head.authorization.and_then(credential::bearer);
        let token = match (from_header, &from_protocols) {
            (Some(_), Some(_)) => return Err(CredentialError::Two.into()),
            (Some(token), None) => token,
            (None, Some(found)) => &found.token,
            (None, None) => return self.anonymous(head),
        };
        let issuers = &self.issuers;
        let epoch = |index: usize| issuers.get(index).map_or(0, IssuerKeys::epoch);
        let plan = match self.cache.get(token, now, epoch) {
            Some(grant) => Rc::clone(&grant.plan),
            None => match self.identify(token, attempt, now)? {
                Identified::Grant(grant) => {
                    let plan = Rc::clone(&grant.plan);
                    self.cache.insert(token, grant, now);
                    plan
                }
                Identified::Wait(wait) => return Ok(Decision::Wait(wait)),
            },
        };
        let protocols = from_protocols.map(|found| found.protocols);
        Ok(Decision::Forward(Forward { plan, protocols }))
    }

    fn anonymous(&self, head: &RequestHead<'_>) -> Result<Decision, Refusal> {
        if !self.configuration.authentication.anonymous().allows(head.path) {
            return Err(Refusal::NoCredential);
        }
        let identity = Identity {
            username: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Identity::default()
        };
        let plan = HeaderPlan::new(&identity, &self.configuration.gateway.limits, "")?;
        Ok(Decision::Forward(Forward { plan: Rc::new(plan), protocols: None }))
    }

    fn identify(
        &self,
        token: &[u8],
        attempt: Attempt,
        now: Duration,
    ) -> Result<Identified, Refusal> {
        let gateway = &self.configuration.gateway;
        let limit = gateway.limits.token_bytes;
        if token.len() > limit as usize {
            return Err(Refusal::TokenTooLarge { bytes: token.len(), limit });
        }
        let limits = TokenLimits { bytes: limit as usize, ..TokenLimits::default() };
        let token = UnverifiedToken::parse(token, &limits)?;
        let (index, jwt) = self
            .configuration
            .authentication
            .authenticator_for(&token)
            .ok_or(Refusal::UnknownIssuer)?;
        let issuer = jwt.issuer_url();
        let Some(issuer_keys) = self.issuers.get(index) else {
            return Err(Refusal::UnknownIssuer);
        };
        let (keys, version) = match issuer_keys.state(now) {
            KeyState::Ready { keys, version } => (keys, version),
            KeyState::Pending if attempt == Attempt::First => {
                return Ok(Identified::Wait(Wait { issuer: index, newer_than: None }));
            }
            KeyState::Pending => {
                return Err(Refusal::NoKeys {
                    issuer: issuer.to_owned(),
                    reason: "no answer within limits.waitSeconds".to_owned(),
                    retry_after: Duration::from_secs(1),
                });
            }
            KeyState::Missing { reason, retry_after } => {
                return Err(Refusal::NoKeys { issuer: issuer.to_owned(), reason, retry_after });
            }
        };
        let verified = match jwt.verify(&token, keys, self.verifier.as_ref(), now, &Algorithm::ALL)
        {
            Ok(verified) => verified,
            Err(error)
                if error.is_no_key_verified()
                    && attempt == Attempt::First
                    && issuer_keys.may_refetch(now, version, &gateway.key_sets) =>
            {
                return Ok(Identified::Wait(Wait { issuer: index, newer_than: Some(version) }));
            }
            Err(error) => return Err(Refusal::Verify { issuer: issuer.to_owned(), error }),
        };
        let mut identity = jwt
            .identity(&verified)
            .map_err(|error| Refusal::Identity { issuer: issuer.to_owned(), error })?;
        guard::check(&identity, &gateway.allowed_reserved)
            .map_err(|error| Refusal::Guard { issuer: issuer.to_owned(), error })?;
        if !gateway.extras.credential_id {
            identity.extra.remove(CREDENTIAL_ID_KEY);
        }
        let plan = HeaderPlan::new(&identity, &gateway.limits, issuer)?;
        Ok(Identified::Grant(Grant {
            plan: Rc::new(plan),
            issuer: index,
            epoch: issuer_keys.epoch(),
            expires_at: verified.expires_at(),
        }))
    }

    /// Lets a request wait. `Err` with the refusal if too many do already.
    pub fn wait(&mut self, stream: u32, wait: Wait, now: Duration) -> Result<(), Refusal> {
        let limits = &self.configuration.gateway.limits;
        if self.waiting.len() >= limits.waiting_requests as usize {
            let issuer = self.issuers.get(wait.issuer).map_or("", IssuerKeys::issuer).to_owned();
            return Err(Refusal::TooManyWaiting { issuer });
        }
        let deadline = now.saturating_add(Duration::from_secs(limits.wait_seconds.into()));
        self.waiting.push(Waiter { stream, wait, deadline });
        Ok(())
    }

    /// Whether a request waits.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads what other workers wrote, and starts the fetches that are due or that requests wait for.
    pub fn poll(&mut self, now: Duration, jitter: f64, shared: &dyn SharedStore) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, issuer) in self.issuers.iter_mut().enumerate() {
            let asked = self.waiting.iter().filter(|waiter| waiter.wait.issuer == index);
            let why = asked
                .map(|waiter| match waiter.wait.newer_than {
                    None => Why::Due,
                    Some(version) => Why::UnknownKey { version },
                })
                .max_by_key(|why| match why {
                    Why::Due => None,
                    Why::UnknownKey { version } => Some(*version),
                });
            if why.is_none() && issuer.due() > now {
                continue;
            }
            issuer.sync(shared);
            let why = match why {
                Some(why) if issuer.due() > now => why,
                _ => Why::Due,
            };
            self.callouts = self.callouts.wrapping_add(1);
            let policy = &self.configuration.gateway.key_sets;
            let step =
                Step { now, jitter, worker: self.id, callout: self.callouts, shared, policy };
            actions.extend(issuer.fetch(why, &step));
        }
        actions
    }

    /// Reads what other workers wrote about every issuer.
    pub fn sync(&mut self, shared: &dyn SharedStore) {
        for issuer in &mut self.issuers {
            issuer.sync(shared);
        }
    }

    /// Takes the answer to a callout.
    pub fn answered(
        &mut self,
        callout: u64,
        answer: &Answer<'_>,
        now: Duration,
        jitter: f64,
        shared: &dyn SharedStore,
    ) -> Option<Action> {
        let issuer = self.issuers.iter_mut().find(|issuer| issuer.awaits(callout))?;
        self.callouts = self.callouts.wrapping_add(1);
        let policy = &self.configuration.gateway.key_sets;
        let step = Step { now, jitter, worker: self.id, callout: self.callouts, shared, policy };
        issuer.answered(answer, &step)
    }

    /// Takes out the waiting requests that can be decided on now.
    #[must_use]
    pub fn settled(&mut self, now: Duration) -> Vec<Waiter> {
        let issuers = &self.issuers;
        let settled = |waiter: &mut Waiter| {
            let Some(issuer) = issuers.get(waiter.wait.issuer) else { return true };
            let pending = match (issuer.state(now), waiter.wait.newer_than) {
                (KeyState::Pending, _) => true,
                (KeyState::Ready { version, .. }, Some(tried)) => {
                    version <= tried && issuer.fetching(now)
                }
                _ => false,
            };
            !pending || waiter.deadline <= now
        };
        self.waiting.extract_if(.., settled).collect()
    }
}

enum Identified {
    Grant(Grant),
    Wait(Wait),
}

fn issuers(configuration: &Configuration, shared: &dyn SharedStore) -> Vec<IssuerKeys> {
    configuration
        .authentication
        .jwt()
        .iter()
        .zip(&configuration.clusters)
        .map(|(jwt, cluster)| IssuerKeys::new(jwt, cluster, shared))
        .collect()
}

#[cfg(test)]
mod tests;
