//! From a token to what it grants: the cache, the issuer's keys, the shared secret, the API server's own review.

use std::{rc::Rc, time::Duration};

use go_compat::json;
use kube_authn::{
    Identity, JwtAuthenticator, VerifiedToken,
    distributed::{GroupsError, GroupsSource},
    identity::CREDENTIAL_ID_KEY,
    jwks::KeySet,
    token::{TokenError, TokenLimits, UnverifiedToken, is_damaged_jwt},
};

use super::{
    Instance, Worker,
    decide::{Authenticated, Halt, Offered, Peer, Request, Trace, add_configured},
    introspection::Introspected,
    lookups::WantedGroups,
    verified::Verified,
};
use crate::{
    access::{Login, ORIGIN, Origin},
    cache::{CacheKey, Grant, Signer, Sourced},
    callout::Cause,
    checks::BoundedVerifier,
    config::{ClientImpersonation, by_prefix, for_jwts, for_opaque},
    credential,
    decision::{Attempt, Wait},
    guard,
    keys::{IssuerKeys, KeyState},
    metrics::Metric,
    plan::HeaderPlan,
    portal_token::{self, SHARED_SECRET},
    rate::{Buckets, Limited, network},
    record::{self, record},
    refusal::Refusal,
};

impl Worker {
    /// From what a request offers to whom it names. Words behind the token are none of it, but they are looked for only if the whole
    /// is no token that is known: in the cache are tokens alone, so that what is found there has none.
    pub(super) fn authenticate(
        &mut self,
        offered: Offered<'_>,
        request: Request<'_>,
        trace: &mut Trace,
    ) -> Result<Authenticated, Halt> {
        let (Offered::Header(whole) | Offered::Protocol(whole)) = offered;
        let mut key = self.cache.key(whole);
        let mut cached = self.cached(key, request.now);
        let token = match offered {
            Offered::Header(words) if cached.is_none() => credential::first_word(words),
            _ => whole,
        };
        if token.len() != whole.len() {
            key = self.cache.key(token);
            cached = self.cached(key, request.now);
        }
        trace.authenticated = cached.is_none();
        let result = if cached.is_some() { "hit" } else { "miss" };
        self.metrics.count(Metric::TokenCacheLookups, [result, ""]);
        if let Some(grant) = cached {
            return Ok(Authenticated::User(grant));
        }
        match self.identify(token, key, request, trace) {
            Ok(grant) => {
                self.cache.insert(key, grant.clone(), request.now);
                Ok(Authenticated::User(grant))
            }
            // Only what is nobody's token here may be the API server's own. What our rules refuse stays refused.
            Err(Halt::Refuse(Refusal::UnknownIssuer | Refusal::Token(TokenError::NotJwt(_))))
                if self.configuration.gateway.token_review.enabled =>
            {
                let user = self.review_token(token, request)?;
                Ok(Authenticated::Reviewed(user))
            }
            Err(halt) => Err(halt),
        }
    }

    fn cached(&mut self, key: CacheKey, now: Duration) -> Option<Grant> {
        let issuers = &self.issuers;
        let epoch = |index: usize| issuers.get(index).map_or(0, IssuerKeys::epoch);
        let grant = self.cache.get(key, now, epoch)?.clone();
        match &grant.sourced {
            Some(sourced) if self.is_outdated(sourced, now) => None,
            _ => Some(grant),
        }
    }

    fn identify(
        &mut self,
        token: &[u8],
        key: CacheKey,
        request: Request<'_>,
        trace: &mut Trace,
    ) -> Result<Grant, Halt> {
        let limit = self.configuration.gateway.limits.token_bytes;
        if token.len() > limit as usize {
            return Err(Refusal::TokenTooLarge { bytes: token.len(), limit }.into());
        }
        if let Some(token) = self.shared_token(token) {
            return Ok(self.grant_shared(token, request.now)?);
        }
        let remembered = if request.attempt.groups {
            let issuers = &self.issuers;
            self.verified.take(key, request.now, |index| signer(issuers, index))
        } else {
            None
        };
        let found = match remembered {
            Some(found) => found,
            None => self.verify_offered(token, request)?,
        };
        let sourced = self.with_sourced_groups(found.index, &found.token, token, request, trace);
        if let Err(Halt::Wait(wait)) = sourced {
            self.verified.keep(key, found, request.now);
            return Err(Halt::Wait(wait));
        }
        let Verified { index, signer, token: verified, fresh_until } = found;
        let fresh = |grant| Grant { fresh_until, ..grant };
        if let Some((verified, sourced)) = sourced? {
            let groups = GroupsFrom::Source(sourced);
            return Ok(fresh(self.grant(index, signer, groups, &verified)?));
        }
        let Some((source, wanted)) = self.wanted_groups(index, &verified)? else {
            return Ok(fresh(self.grant(index, signer, GroupsFrom::Token, &verified)?));
        };
        let groups = self.fetch_groups(&wanted, request)?;
        let jwt = self.authenticator(index)?;
        let (groups_signer, groups) = self.verify_groups(jwt, &groups, request)?;
        let verified = jwt
            .with_groups(&verified, &source, &groups)
            .map_err(|error| groups_refused(jwt, error.to_string()))?;
        let groups = GroupsFrom::Signed(groups_signer);
        Ok(fresh(self.grant(index, signer, groups, &verified)?))
    }

    /// Verifies a token in the way that the configuration has for its kind. The kind decides, and no token is tried in two ways.
    fn verify_offered(&mut self, token: &[u8], request: Request<'_>) -> Result<Verified, Halt> {
        let introspection = &self.configuration.gateway.introspection;
        if let Some(place) = by_prefix(introspection, token) {
            return self.verified_by_issuer(place, token, request);
        }
        let parsed = match (self.parse(token), for_opaque(introspection)) {
            // What all but a byte of another issuer's token may be is not shown to this one.
            (Err(Refusal::Token(TokenError::NotJwt(_))), Some(place)) if !is_damaged_jwt(token) => {
                return self.verified_by_issuer(place, token, request);
            }
            (parsed, _) => parsed?,
        };
        let (index, signer, verified) = self.verify(&parsed, request)?;
        let Some(place) = self.asked_about_jwts(index) else {
            return Ok(Verified { index, signer, token: verified, fresh_until: None });
        };
        let found = self.verified_by_issuer(place, token, request)?;
        Ok(Verified { signer, token: found.token.about(verified), ..found })
    }

    fn verified_by_issuer(
        &mut self,
        place: usize,
        token: &[u8],
        request: Request<'_>,
    ) -> Result<Verified, Halt> {
        let Introspected { token, fresh_until } = self.introspect(place, token, request)?;
        let index = self.configuration.introspection.get(place).map(|endpoint| endpoint.issuer);
        let index = index.ok_or(Refusal::UnknownIssuer)?;
        let signer = Signer::Introspected { index };
        Ok(Verified { index, signer, token, fresh_until: Some(fresh_until) })
    }

    /// The place of whom to ask about an issuer's JWTs.
    fn asked_about_jwts(&self, issuer: usize) -> Option<usize> {
        let jwt = self.configuration.authentication.jwt().get(issuer)?;
        for_jwts(&self.configuration.gateway.introspection, jwt.issuer_url())
    }

    fn parse(&self, token: &[u8]) -> Result<UnverifiedToken, Refusal> {
        let bytes = self.configuration.gateway.limits.token_bytes as usize;
        let limits = TokenLimits { bytes, ..TokenLimits::default() };
        Ok(UnverifiedToken::parse(token, &limits)?)
    }

    pub(super) fn authenticator(&self, issuer: usize) -> Result<&JwtAuthenticator, Refusal> {
        self.configuration.authentication.jwt().get(issuer).ok_or(Refusal::UnknownIssuer)
    }

    /// Verifies a token with its issuer's keys. Gives the issuer's index, too.
    fn verify(
        &mut self,
        token: &UnverifiedToken,
        request: Request<'_>,
    ) -> Result<(usize, Signer, VerifiedToken), Halt> {
        let Request { peer, attempt, now, .. } = request;
        let authentication = &self.configuration.authentication;
        let (index, jwt) = authentication.authenticator_for(token).ok_or(Refusal::UnknownIssuer)?;
        let (keys, version) = self.keys(index, attempt, now)?;
        let may = || self.may_check(peer, now);
        let verifier = BoundedVerifier::new(self.verifier.as_ref(), &may);
        let allowed = &self.configuration.algorithms;
        let verified = match self.asked_about_jwts(index) {
            None => jwt.verify(token, &keys, &verifier, now, allowed),
            Some(_) => jwt.verify_origin(token, &keys, &verifier, now, allowed),
        };
        match verified {
            Ok(verified) => Ok((index, signer(&self.issuers, index), verified)),
            Err(_) if verifier.refused() => Err(Refusal::TooManyChecks.into()),
            Err(error)
                if error.is_no_key_verified()
                    && self.may_refetch(index, version, token.key_id(), attempt, now) =>
            {
                Err(Halt::Wait(Wait::Keys { issuer: index, newer_than: Some(version) }))
            }
            Err(error) => {
                let issuer = jwt.issuer_url().to_owned();
                if error.is_no_key_verified() && attempt.keys > 0 {
                    // Whether the issuer has the key is not known yet.
                    if self.issuers.get(index).is_some_and(|keys| keys.fetching(now)) {
                        return Err(too_slow(issuer).into());
                    }
                    self.missed(index, token.key_id(), now);
                }
                Err(Refusal::Verify { issuer, error }.into())
            }
        }
    }

    /// Whether this client may cause another costly signature check.
    fn may_check(&self, peer: Peer<'_>, now: Duration) -> bool {
        let rate = self.configuration.gateway.limits.signature_checks_per_second;
        self.buckets(Limited::Checks, rate).take(&network(&(peer.address)()), now)
    }

    /// The buckets that this gateway's workers share.
    pub(super) fn buckets(&self, of: Limited, per_second: u32) -> Buckets<'_> {
        let Instance { gateway, secret, .. } = &self.instance;
        Buckets { of, gateway, per_second, secret: *secret, shared: self.shared.as_ref() }
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
    ) -> Result<(Rc<KeySet>, u64), Halt> {
        let keys = self.issuers.get(issuer).ok_or(Refusal::UnknownIssuer)?;
        match keys.state(now) {
            // Nobody looked after these keys; an outage since leaves them in force, as it does anywhere.
            KeyState::Ready { version, .. }
                if self.resting && keys.due() <= now && attempt.keys == 0 =>
            {
                Err(Halt::Wait(Wait::Keys { issuer, newer_than: Some(version) }))
            }
            KeyState::Ready { keys, version } => Ok((Rc::clone(keys), version)),
            KeyState::Pending if attempt.keys == 0 => {
                Err(Halt::Wait(Wait::Keys { issuer, newer_than: None }))
            }
            KeyState::Pending => Err(too_slow(keys.issuer().to_owned()).into()),
            KeyState::Missing { reason, cause, retry_after } => {
                let issuer = keys.issuer().to_owned();
                Err(Refusal::NoKeys { issuer, reason, cause, retry_after }.into())
            }
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
        request: Request<'_>,
    ) -> Result<(Signer, VerifiedToken), Halt> {
        let Request { peer, attempt, now, .. } = request;
        // The token's own keys were the first wait.
        let attempt = Attempt { keys: attempt.keys.saturating_sub(1), ..attempt };
        let refused = |error: String| groups_refused(jwt, error);
        let token = self.parse(groups).map_err(|error| refused(error.to_string()))?;
        let index = self.configuration.authentication.authenticator_for(&token);
        let (index, _) = index.ok_or_else(|| {
            refused(format!("they are signed by {:?}, which is not configured", token.issuer()))
        })?;
        let (keys, version) = self.keys(index, attempt, now)?;
        let may = || self.may_check(peer, now);
        let verifier = BoundedVerifier::new(self.verifier.as_ref(), &may);
        let allowed = &self.configuration.algorithms;
        match jwt.verify_groups_token(&token, &keys, &verifier, now, allowed) {
            Ok(groups) => Ok((signer(&self.issuers, index), groups)),
            Err(_) if verifier.refused() => Err(Refusal::TooManyChecks.into()),
            Err(error)
                if error.is_no_key_verified()
                    && self.may_refetch(index, version, token.key_id(), attempt, now) =>
            {
                Err(Halt::Wait(Wait::Keys { issuer: index, newer_than: Some(version) }))
            }
            Err(error) => Err(refused(error.to_string()).into()),
        }
    }

    /// From claims to headers.
    fn grant(
        &self,
        index: usize,
        signer: Signer,
        groups: GroupsFrom,
        verified: &VerifiedToken,
    ) -> Result<Grant, Refusal> {
        let jwt = self.authenticator(index)?;
        let url = || jwt.issuer_url().to_owned();
        let gateway = &self.configuration.gateway;
        let mut identity =
            jwt.identity(verified).map_err(|error| Refusal::Identity { issuer: url(), error })?;
        let warning = guard::warning(&guard::leave_out(&mut identity)).map(Rc::from);
        guard::check(&identity, &gateway.allowed_reserved)
            .map_err(|error| Refusal::Guard { issuer: url(), error })?;
        if !gateway.extras.credential_id {
            identity.extra.remove(CREDENTIAL_ID_KEY);
        }
        let meets = self.configuration.elevation.met(&identity, verified.claims());
        let grant = self.plan(signer, jwt.issuer_url(), identity, verified.expires_at())?;
        let claims = self.configuration.conditions.claims(verified.claims());
        let login = || {
            let login = Login::new(jwt.issuer_url(), verified).meeting(meets);
            let is_portals = self.configuration.portal_issuer.as_deref() == Some(jwt.issuer_url());
            let origin = if is_portals { verified.claims().get(ORIGIN) } else { None };
            let origin = origin.and_then(|claim| match claim {
                json::Value::String(text) => Origin::read(text),
                _ => None,
            });
            Rc::new(login.made_with(origin))
        };
        let login = self.keeps_logins().then(login);
        let record = self.with_login(grant.record, login.as_deref());
        let grant = Grant { claims, login, record, warning, ..grant };
        Ok(match groups {
            GroupsFrom::Token => grant,
            GroupsFrom::Signed(signer) => Grant { groups_signer: Some(signer), ..grant },
            GroupsFrom::Source(sourced) => {
                let mut record = String::from(&*grant.record);
                self.add_source(&mut record, Some(&sourced));
                Grant { record: record.into(), sourced: Some(sourced), ..grant }
            }
        })
    }

    /// Whether somebody asks for more of a token than its user: documents, or a portal.
    fn keeps_logins(&self) -> bool {
        self.access.is_on() || self.configuration.portal_issuer.is_some()
    }

    /// The record of a user, with the `sub` of its token, and what is true of the user, where groups may be lent; and with what a portal's
    /// tokens are to carry, where there is one.
    fn with_login(&self, record: Rc<str>, login: Option<&Login>) -> Rc<str> {
        let Some(login) = login else { return record };
        let lends = self.lends() && !login.subject.is_empty();
        let tells = self.configuration.portal_issuer.is_some();
        if !lends && !tells {
            return record;
        }
        let mut record = String::from(&*record);
        if lends {
            record::push_subject(&mut record, &login.subject);
            record::push_met(&mut record, &login.meets);
        }
        if tells {
            let origin = Origin::of(login).text();
            record::push_origin(&mut record, &origin, login.origin.is_some());
        }
        record.into()
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
            .map_err(|error| Refusal::Guard { issuer: SHARED_SECRET.to_owned(), error })?;
        let portal_token::Verified { identity, expires_at, id, session, issued_at, origin, .. } =
            verified;
        let grant = self.plan(Signer::SharedSecret, SHARED_SECRET, identity, expires_at)?;
        let login = || {
            let mut login = Login::of(SHARED_SECRET);
            (login.id, login.session, login.issued_at) = (id, session, issued_at);
            Rc::new(login.made_with(origin))
        };
        let login = self.keeps_logins().then(login);
        let record = self.with_login(grant.record, login.as_deref());
        Ok(Grant { login, record, ..grant })
    }

    pub(super) fn plan(
        &self,
        signer: Signer,
        url: &str,
        identity: Identity,
        expires_at: Duration,
    ) -> Result<Grant, Refusal> {
        let gateway = &self.configuration.gateway;
        let record = record(url, &identity, None).into();
        let configured = &gateway.extras.headers;
        let plan = if configured.is_empty() {
            HeaderPlan::new(&identity, &gateway.limits, url)?
        } else {
            let mut identity = identity.clone();
            add_configured(&mut identity, configured);
            HeaderPlan::new(&identity, &gateway.limits, url)?
        };
        let is_needed = gateway.client_impersonation == ClientImpersonation::Authorize
            || !self.configuration.conditions.is_empty()
            || !self.configuration.elevation.is_empty();
        Ok(Grant {
            plan: Rc::new(plan),
            identity: is_needed.then(|| Rc::new(identity)),
            claims: None,
            login: None,
            loan: None,
            record,
            warning: None,
            signer,
            groups_signer: None,
            sourced: None,
            expires_at,
            fresh_until: None,
        })
    }
}

/// Where the groups of a verified token came from.
enum GroupsFrom {
    /// From the token.
    Token,
    /// From another token, and who signed that.
    Signed(Signer),
    /// From a source.
    Source(Sourced),
}

/// An issuer with its present keys.
fn signer(issuers: &[IssuerKeys], index: usize) -> Signer {
    Signer::Issuer { index, epoch: issuers.get(index).map_or(0, IssuerKeys::epoch) }
}

/// A fetch outlasts what a request waits for it.
fn too_slow(issuer: String) -> Refusal {
    let reason = "no answer within limits.waitSeconds".to_owned();
    let retry_after = Duration::from_secs(1);
    Refusal::NoKeys { issuer, reason, cause: Some(Cause::Timeout), retry_after }
}

fn groups_refused(jwt: &JwtAuthenticator, error: String) -> Refusal {
    Refusal::Groups { issuer: jwt.issuer_url().to_owned(), error }
}
