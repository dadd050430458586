//! The decision on one request.

use std::{rc::Rc, time::Duration};

use kube_authn::{
    Identity, JwtAuthenticator, VerifiedToken,
    distributed::{GroupsError, GroupsSource},
    identity::CREDENTIAL_ID_KEY,
    jwks::KeySet,
    token::{TokenError, TokenLimits, UnverifiedToken},
};

use super::{Instance, Worker, reviewing::WantedGroups};
use crate::{
    cache::{Grant, Signer},
    checks::BoundedVerifier,
    config::{ClientImpersonation, Impersonation},
    credential::{self, CredentialError, WebSocketToken},
    decision::{Attempt, Decision, Forward, Mode, Wait},
    guard,
    headers::RequestHead,
    impersonation::Requested,
    keys::{IssuerKeys, KeyState},
    longrunning,
    metrics::Metric,
    plan::{self, HeaderPlan},
    portal_token,
    rate::{self, Counted, network},
    record::record,
    refusal::Refusal,
};

/// What takes an issuer's place in the records of a shared secret's tokens.
const SHARED: &str = "sharedSecret";

/// What is known of a request's peer, beside its headers.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    /// Gives the client's address without a port, as Envoy sees it. It costs a host call, and few decisions need it.
    pub address: &'a dyn Fn() -> String,
}

/// Whose token it is.
enum Who {
    /// An issuer's user.
    User(Grant),
    /// Somebody whom the API server itself knows.
    Reviewed { user: String },
}

/// Either what was wanted or what has to come first.
enum Step<T> {
    Done(T),
    Wait(Wait),
}

impl Worker {
    /// Decides on a request.
    #[must_use]
    pub fn decide(
        &mut self,
        head: &RequestHead<'_>,
        peer: Peer<'_>,
        attempt: Attempt,
        now: Duration,
    ) -> Decision {
        self.signed_in = None;
        self.looked_up = true;
        match self.try_decide(head, peer, attempt, now) {
            Ok(Step::Done(forward)) => {
                let mode = match forward.mode {
                    Mode::Impersonate { .. } => "impersonate",
                    Mode::OwnToken { .. } => "own-token",
                };
                self.metrics.count(Metric::Requests, ["forwarded", mode]);
                Decision::Forward(forward)
            }
            Ok(Step::Wait(wait)) => Decision::Wait(wait),
            Err(refusal) => {
                self.metrics.count(Metric::Requests, ["refused", refusal.keyword()]);
                Decision::Refuse(refusal)
            }
        }
    }

    fn try_decide(
        &mut self,
        head: &RequestHead<'_>,
        peer: Peer<'_>,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Step<Forward>, Refusal> {
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
            (None, None) => return self.anonymous(head).map(Step::Done),
        };
        match self.authenticate(token, peer, attempt, now)? {
            Step::Wait(wait) => Ok(Step::Wait(wait)),
            Step::Done(Who::User(grant)) => {
                self.signed_in = Some(Rc::clone(&grant.record));
                self.forward(head, peer, attempt, now, &grant, from_protocols)
            }
            Step::Done(Who::Reviewed { user }) => {
                self.check_rejected(head)?;
                // The API server sees the token itself and knows when it ends.
                Ok(Step::Done(Forward {
                    mode: Mode::OwnToken { user },
                    more: Vec::new(),
                    cut_after: None,
                }))
            }
        }
    }

    fn anonymous(&mut self, head: &RequestHead<'_>) -> Result<Forward, Refusal> {
        if !self.configuration.authentication.anonymous().allows(head.path) {
            return Err(Refusal::NoCredential);
        }
        self.check_rejected(head)?;
        let identity = Identity {
            username: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Identity::default()
        };
        self.signed_in = Some(record("", &identity, None).into());
        let plan = Rc::new(HeaderPlan::new(&identity, &self.configuration.gateway.limits, "")?);
        let mode = Mode::Impersonate { plan, protocols: None };
        Ok(Forward { mode, more: Vec::new(), cut_after: None })
    }

    fn check_rejected(&self, head: &RequestHead<'_>) -> Result<(), Refusal> {
        match (self.configuration.gateway.client_impersonation, head.impersonation) {
            (ClientImpersonation::Reject, Some(header)) => {
                Err(Refusal::ImpersonationRejected(header.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Sends a user's request on: as the user, or as whom it may impersonate.
    fn forward(
        &mut self,
        head: &RequestHead<'_>,
        peer: Peer<'_>,
        attempt: Attempt,
        now: Duration,
        grant: &Grant,
        from_protocols: Option<WebSocketToken>,
    ) -> Result<Step<Forward>, Refusal> {
        self.check_rejected(head)?;
        let gateway = &self.configuration.gateway;
        let cut_after = longrunning::kind(head.path, head.upgrade).and_then(|kind| {
            longrunning::cut_after(kind, &gateway.stream_expiry, grant.expires_at, now)
        });
        if gateway.impersonation == Impersonation::Disabled {
            let mode = Mode::OwnToken { user: grant.plan.user().to_owned() };
            return Ok(Step::Done(Forward { mode, more: Vec::new(), cut_after }));
        }
        let client_ip = gateway.extras.client_ip.then(|| plan::client_ip(&(peer.address)()));
        let plan = if gateway.client_impersonation == ClientImpersonation::Authorize
            && head.impersonation.is_some()
        {
            match self.impersonate(head, attempt, now, grant)? {
                Step::Wait(wait) => return Ok(Step::Wait(wait)),
                Step::Done(plan) => plan,
            }
        } else {
            Rc::clone(&grant.plan)
        };
        let protocols = from_protocols.map(|found| found.protocols);
        Ok(Step::Done(Forward {
            mode: Mode::Impersonate { plan, protocols },
            more: client_ip.into_iter().collect(),
            cut_after,
        }))
    }

    /// The plan of whom the client asks to be, once the API server has allowed every value.
    fn impersonate(
        &mut self,
        head: &RequestHead<'_>,
        attempt: Attempt,
        now: Duration,
        grant: &Grant,
    ) -> Result<Step<Rc<HeaderPlan>>, Refusal> {
        let most = self.configuration.gateway.reviews.maximum_values;
        let (Some(requested), Some(original)) =
            (Requested::read(head.headers, most)?, grant.identity.as_deref())
        else {
            return Ok(Step::Done(Rc::clone(&grant.plan)));
        };
        if let Some(wait) = self.ask_rights(&requested, original, attempt, now)? {
            return Ok(Step::Wait(wait));
        }
        let issuer = self.issuers.get(grant.signer.issuer).map_or("", IssuerKeys::issuer);
        self.signed_in = Some(record(issuer, original, Some(requested.identity())).into());
        let gateway = &self.configuration.gateway;
        let mut identity = requested.impersonated_by(original, &gateway.original_user);
        add_configured(&mut identity, &gateway.extras.headers);
        if gateway.extras.client_ip {
            identity.extra.remove(plan::CLIENT_IP);
        }
        HeaderPlan::new(&identity, &gateway.limits, issuer).map(|plan| Step::Done(Rc::new(plan)))
    }

    fn authenticate(
        &mut self,
        token: &[u8],
        peer: Peer<'_>,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Step<Who>, Refusal> {
        let issuers = &self.issuers;
        let epoch = |index: usize| issuers.get(index).map_or(0, IssuerKeys::epoch);
        let key = self.cache.key(token);
        let cached = self.cache.get(key, now, epoch);
        self.looked_up = cached.is_some();
        let result = if cached.is_some() { "hit" } else { "miss" };
        self.metrics.count(Metric::TokenCacheLookups, [result, ""]);
        if let Some(grant) = cached {
            return Ok(Step::Done(Who::User(grant.clone())));
        }
        match self.identify(token, peer, attempt, now) {
            Ok(Step::Done(grant)) => {
                self.cache.insert(key, grant.clone(), now);
                Ok(Step::Done(Who::User(grant)))
            }
            Ok(Step::Wait(wait)) => Ok(Step::Wait(wait)),
            // Only what is nobody's token here may be the API server's own. What our rules refuse stays refused.
            Err(Refusal::UnknownIssuer | Refusal::Token(TokenError::NotJwt(_)))
                if self.configuration.gateway.token_review.enabled =>
            {
                match self.review_token(token, peer, attempt, now)? {
                    Ok(user) => Ok(Step::Done(Who::Reviewed { user })),
                    Err(wait) => Ok(Step::Wait(wait)),
                }
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn identify(
        &mut self,
        token: &[u8],
        peer: Peer<'_>,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Step<Grant>, Refusal> {
        let limit = self.configuration.gateway.limits.token_bytes;
        if token.len() > limit as usize {
            return Err(Refusal::TokenTooLarge { bytes: token.len(), limit });
        }
        if let Some(token) = self.shared_token(token) {
            return self.grant_shared(token, now).map(Step::Done);
        }
        let token = self.parse(token)?;
        let (signer, verified) = match self.verify(&token, peer, attempt, now)? {
            Step::Wait(wait) => return Ok(Step::Wait(wait)),
            Step::Done(verified) => verified,
        };
        let Some((source, wanted)) = self.wanted_groups(signer.issuer, &verified)? else {
            return self.grant(signer, None, &verified).map(Step::Done);
        };
        let groups = match self.fetch_groups(&wanted, attempt, now)? {
            Err(wait) => return Ok(Step::Wait(wait)),
            Ok(groups) => groups,
        };
        let jwt = self.authenticator(signer.issuer)?;
        let (groups_signer, groups) = match self.verify_groups(jwt, &groups, peer, attempt, now)? {
            Step::Wait(wait) => return Ok(Step::Wait(wait)),
            Step::Done(groups) => groups,
        };
        let verified = jwt
            .with_groups(&verified, &source, &groups)
            .map_err(|error| groups_refused(jwt, error.to_string()))?;
        self.grant(signer, Some(groups_signer), &verified).map(Step::Done)
    }

    fn parse(&self, token: &[u8]) -> Result<UnverifiedToken, Refusal> {
        let bytes = self.configuration.gateway.limits.token_bytes as usize;
        let limits = TokenLimits { bytes, ..TokenLimits::default() };
        Ok(UnverifiedToken::parse(token, &limits)?)
    }

    fn authenticator(&self, issuer: usize) -> Result<&JwtAuthenticator, Refusal> {
        self.configuration.authentication.jwt().get(issuer).ok_or(Refusal::UnknownIssuer)
    }

    /// Verifies a token with its issuer's keys.
    fn verify(
        &mut self,
        token: &UnverifiedToken,
        peer: Peer<'_>,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Step<(Signer, VerifiedToken)>, Refusal> {
        let authentication = &self.configuration.authentication;
        let (index, jwt) = authentication.authenticator_for(token).ok_or(Refusal::UnknownIssuer)?;
        let (keys, version) = match self.keys(index, attempt, now)? {
            Step::Wait(wait) => return Ok(Step::Wait(wait)),
            Step::Done(keys) => keys,
        };
        let may = || self.may_check(peer, now);
        let verifier = BoundedVerifier::new(self.verifier.as_ref(), &may);
        match jwt.verify(token, &keys, &verifier, now, &self.configuration.algorithms) {
            Ok(verified) => Ok(Step::Done((self.signer(index), verified))),
            Err(_) if verifier.refused() => Err(Refusal::TooManyChecks),
            Err(error)
                if error.is_no_key_verified()
                    && self.may_refetch(index, version, token.key_id(), attempt, now) =>
            {
                Ok(Step::Wait(Wait::Keys { issuer: index, newer_than: Some(version) }))
            }
            Err(error) => {
                let issuer = jwt.issuer_url().to_owned();
                if error.is_no_key_verified() && attempt.keys > 0 {
                    self.missed(index, token.key_id(), now);
                }
                Err(Refusal::Verify { issuer, error })
            }
        }
    }

    /// Whether this client may cause another costly signature check.
    fn may_check(&self, peer: Peer<'_>, now: Duration) -> bool {
        let rate = self.configuration.gateway.limits.signature_checks_per_second;
        let network = network(&(peer.address)());
        let Instance { gateway, secret, .. } = &self.instance;
        rate::take(Counted::Checks, gateway, &network, rate, now, *secret, self.shared.as_ref())
    }

    /// An issuer with its present keys.
    fn signer(&self, issuer: usize) -> Signer {
        Signer { issuer, epoch: self.issuers.get(issuer).map_or(0, IssuerKeys::epoch) }
    }

    /// A token that waited in vain for its key holds back the next fetch for the same.
    fn missed(&mut self, issuer: usize, key_id: Option<&str>, now: Duration) {
        let policy = &self.configuration.gateway.key_sets;
        if let Some(issuer) = self.issuers.get_mut(issuer) {
            issuer.missed(key_id, now, policy);
        }
    }

    /// An issuer's keys and their version.
    fn keys(
        &self,
        issuer: usize,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Step<(Rc<KeySet>, u64)>, Refusal> {
        let keys = self.issuers.get(issuer).ok_or(Refusal::UnknownIssuer)?;
        let no_keys = |reason, retry_after| {
            Err(Refusal::NoKeys { issuer: keys.issuer().to_owned(), reason, retry_after })
        };
        match keys.state(now) {
            // Nobody looked after these keys; an outage since leaves them in force, as it does anywhere.
            KeyState::Ready { version, .. }
                if self.resting && keys.due() <= now && attempt.keys == 0 =>
            {
                Ok(Step::Wait(Wait::Keys { issuer, newer_than: Some(version) }))
            }
            KeyState::Ready { keys, version } => Ok(Step::Done((Rc::clone(keys), version))),
            KeyState::Pending if attempt.keys == 0 => {
                Ok(Step::Wait(Wait::Keys { issuer, newer_than: None }))
            }
            KeyState::Pending => {
                no_keys("no answer within limits.waitSeconds".to_owned(), Duration::from_secs(1))
            }
            KeyState::Missing { reason, retry_after } => no_keys(reason, retry_after),
        }
    }

    fn may_refetch(
        &self,
        issuer: usize,
        version: u64,
        key_id: Option<&str>,
        attempt: Attempt,
        now: Duration,
    ) -> bool {
        let policy = &self.configuration.gateway.key_sets;
        let worth = |keys: &IssuerKeys| keys.may_refetch(now, version, key_id, policy);
        attempt.keys == 0 && self.issuers.get(issuer).is_some_and(worth)
    }

    /// Where the user's groups are, if not in the token itself.
    fn wanted_groups(
        &self,
        issuer: usize,
        verified: &VerifiedToken,
    ) -> Result<Option<(GroupsSource, WantedGroups)>, Refusal> {
        let jwt = self.authenticator(issuer)?;
        let refused = |error: GroupsError| groups_refused(jwt, error.to_string());
        let Some(source) = jwt.groups_source(verified).map_err(refused)? else { return Ok(None) };
        let cluster = self.issuers.get(issuer).map_or("", IssuerKeys::cluster);
        let hosts = &self.configuration.gateway.distributed_groups.hosts;
        let wanted = WantedGroups::new(&source, jwt.issuer_url(), cluster, hosts)?;
        Ok(Some((source, wanted)))
    }

    /// Verifies the token that was fetched for a user's groups, which a configured issuer must have signed.
    fn verify_groups(
        &self,
        jwt: &JwtAuthenticator,
        groups: &[u8],
        peer: Peer<'_>,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Step<(Signer, VerifiedToken)>, Refusal> {
        // The token's own keys were the first wait.
        let attempt = Attempt { keys: attempt.keys.saturating_sub(1), ..attempt };
        let refused = |error: String| groups_refused(jwt, error);
        let token = self.parse(groups).map_err(|error| refused(error.to_string()))?;
        let signer = self.configuration.authentication.authenticator_for(&token);
        let (signer, _) = signer.ok_or_else(|| {
            refused(format!("they are signed by {:?}, which is not configured", token.issuer()))
        })?;
        let (keys, version) = match self.keys(signer, attempt, now)? {
            Step::Wait(wait) => return Ok(Step::Wait(wait)),
            Step::Done(keys) => keys,
        };
        let may = || self.may_check(peer, now);
        let verifier = BoundedVerifier::new(self.verifier.as_ref(), &may);
        let allowed = &self.configuration.algorithms;
        match jwt.verify_groups_token(&token, &keys, &verifier, now, allowed) {
            Ok(groups) => Ok(Step::Done((self.signer(signer), groups))),
            Err(_) if verifier.refused() => Err(Refusal::TooManyChecks),
            Err(error)
                if error.is_no_key_verified()
                    && self.may_refetch(signer, version, token.key_id(), attempt, now) =>
            {
                Ok(Step::Wait(Wait::Keys { issuer: signer, newer_than: Some(version) }))
            }
            Err(error) => Err(refused(error.to_string())),
        }
    }

    /// From claims to headers.
    fn grant(
        &self,
        signer: Signer,
        groups_signer: Option<Signer>,
        verified: &VerifiedToken,
    ) -> Result<Grant, Refusal> {
        let jwt = self.authenticator(signer.issuer)?;
        let url = || jwt.issuer_url().to_owned();
        let gateway = &self.configuration.gateway;
        let mut identity =
            jwt.identity(verified).map_err(|error| Refusal::Identity { issuer: url(), error })?;
        guard::check(&identity, &gateway.allowed_reserved)
            .map_err(|error| Refusal::Guard { issuer: url(), error })?;
        if !gateway.extras.credential_id {
            identity.extra.remove(CREDENTIAL_ID_KEY);
        }
        let grant = self.plan(signer, jwt.issuer_url(), identity, verified.expires_at())?;
        Ok(Grant { groups_signer, ..grant })
    }

    /// A token of a shared secret, where the configuration takes any.
    fn shared_token<'a>(&self, token: &'a [u8]) -> Option<&'a str> {
        self.configuration.shared_keys.as_ref()?;
        std::str::from_utf8(token).ok().filter(|token| portal_token::is_hs256(token))
    }

    /// From a shared secret's token to headers.
    fn grant_shared(&self, token: &str, now: Duration) -> Result<Grant, Refusal> {
        let keys = self.configuration.shared_keys.as_ref().ok_or(Refusal::UnknownIssuer)?;
        let gateway = &self.configuration.gateway;
        let audience = &gateway.shared_secret.audience;
        let verified =
            portal_token::verify(token, audience, None, keys, self.verifier.as_ref(), now)
                .map_err(Refusal::SharedSecret)?;
        guard::check(&verified.identity, &gateway.allowed_reserved)
            .map_err(|error| Refusal::Guard { issuer: SHARED.to_owned(), error })?;
        self.plan(self.signer(usize::MAX), SHARED, verified.identity, verified.expires_at)
    }

    fn plan(
        &self,
        signer: Signer,
        url: &str,
        mut identity: Identity,
        expires_at: Duration,
    ) -> Result<Grant, Refusal> {
        let gateway = &self.configuration.gateway;
        let original = (gateway.client_impersonation == ClientImpersonation::Authorize)
            .then(|| Rc::new(identity.clone()));
        let record = record(url, &identity, None).into();
        add_configured(&mut identity, &gateway.extras.headers);
        let plan = HeaderPlan::new(&identity, &gateway.limits, url)?;
        Ok(Grant {
            plan: Rc::new(plan),
            identity: original,
            record,
            signer,
            groups_signer: None,
            expires_at,
        })
    }
}

fn groups_refused(jwt: &JwtAuthenticator, error: String) -> Refusal {
    Refusal::Groups { issuer: jwt.issuer_url().to_owned(), error }
}

/// Adds the extras that every request carries; a token's own value of the same key is replaced.
fn add_configured(
    identity: &mut Identity,
    headers: &std::collections::BTreeMap<String, Vec<String>>,
) {
    for (key, values) in headers {
        identity.extra.insert(key.clone(), values.clone());
    }
}
