//! Tokens about which their issuer is asked (RFC 7662).
//!
//! The questions to each endpoint are a thing of their own, with their own bounds: an endpoint that is slow or down, or a storm of tokens
//! that nobody issued, takes nothing from the others, from reviews, or from tokens that are known. An answer counts for a moment under a
//! keyed hash of its question, so that equal ones share it. A token that is good is in the cache of tokens after that.

use std::{rc::Rc, time::Duration};

use kube_authn::{
    VerifiedToken,
    introspection::{self, Introspection},
    token::TokenError,
};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::{
    Worker,
    decide::{Halt, Request},
    lookups::LookupResult,
};
use crate::{
    cache::object_size,
    callout::{self, Callout, CalloutResult, Cause, Fault, Purpose, Response},
    config::{Configuration, IntrospectionEndpoint},
    decision::Wait,
    lookups::{Bounds, Failure, Known, Lookup, LookupId, Lookups, Unsent},
    metrics::Metric,
    rate::{Buckets, Limited, network},
    refusal::Refusal,
};

/// For each endpoint and worker: answers that are remembered, bytes of them, questions under way.
const BOUNDS: Bounds = Bounds { results: 10_000, bytes: 4 << 20, pending: 200 };
/// Of the questions under way, those that clients of one network may have.
const MOST_OF_ONE: usize = 100;

/// What an endpoint said, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// None if the token is not active.
    pub(super) active: Option<Rc<Introspection>>,
    /// When it was asked for: a token may have been revoked since.
    asked: Duration,
}

impl Answer {
    /// Bytes of memory that it holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.active.as_ref().map_or(0, |active| object_size(active.claims()))
    }
}

/// The questions to each endpoint, in the configuration's order.
pub(super) fn lookups(
    secret: [u8; 16],
    configuration: &Configuration,
) -> Vec<Lookups<LookupResult>> {
    let endpoints = configuration.introspection.iter();
    endpoints.map(|it| Lookups::new(secret, it.policy.negative_lifetime(), BOUNDS)).collect()
}

/// The callout that asks a question.
pub(super) fn callout(
    endpoint: usize,
    (id, lookup, _): Unsent,
    to: &IntrospectionEndpoint,
) -> Option<Callout> {
    let Lookup::Introspection(body) = lookup else { return None };
    Some(Callout {
        // An issuer learns nothing of what asks it.
        traceparent: None,
        purpose: Purpose::Introspection { endpoint, id },
        cluster: to.cluster.clone(),
        authority: to.authority.clone(),
        path: to.path.clone(),
        // Envoy adds the credential: the filter does not have it.
        authorization: None,
        body: Some(body),
        timeout: to.policy.timeout(),
    })
}

/// What the response to a question says.
fn read(result: CalloutResult<'_>, most: u32, asked: Duration) -> Result<Answer, Fault> {
    if let Ok(Response { status: status @ (401 | 403), .. }) = result {
        let detail = format_args!("HTTP {status}: it does not take the gateway's credential");
        return Err(Fault::new(Cause::HttpStatus, detail));
    }
    let body = callout::body(result, &[200], most as usize, "limits.tokenBytes")?;
    let active = introspection::parse(&body).map_err(|error| Fault::new(Cause::Document, error))?;
    Ok(Answer { active: active.map(Rc::new), asked })
}

/// An active token, and until when that need not be asked again.
pub(super) struct Introspected {
    pub(super) token: VerifiedToken,
    pub(super) fresh_until: Duration,
}

impl Worker {
    /// Takes what came of a question.
    pub(super) fn introspected(
        &mut self,
        endpoint: usize,
        id: LookupId,
        result: CalloutResult<'_>,
        now: Duration,
    ) {
        const KIND: &str = "introspection";
        let policy = self.configuration.introspection.get(endpoint).map(|it| &it.policy);
        let deadline = self.introspections.get(endpoint).and_then(|lookups| lookups.deadline(id));
        let asked = deadline.zip(policy).map_or(now, |(end, it)| end.saturating_sub(it.timeout()));
        let result = read(result, self.configuration.gateway.limits.token_bytes, asked);
        let result = result.map(LookupResult::Introspected);
        let word = result.as_ref().map_or("failed", LookupResult::word);
        if let Err(fault) = &result {
            self.metrics.count(Metric::CalloutFailures, [KIND, fault.cause.keyword()]);
        }
        self.metrics.count(Metric::Reviews, [KIND, word]);
        if let Some(lookups) = self.introspections.get_mut(endpoint) {
            let failed = |fault: Fault| Failure { why: fault.to_string(), is_forbidden: false };
            lookups.finish(id, result.map_err(failed), now);
        }
    }

    /// What an issuer says of a token.
    pub(super) fn introspect(
        &mut self,
        place: usize,
        token: &[u8],
        request: Request<'_>,
    ) -> Result<Introspected, Halt> {
        let now = request.now;
        let endpoint = self.configuration.introspection.get(place).ok_or(Refusal::UnknownIssuer)?;
        // No issuer has made a token of other bytes (RFC 6749, appendix A.12).
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(Refusal::Token(TokenError::NotJwt("token has bytes that none has")).into());
        }
        let (issuer, lifetime) = (endpoint.policy.issuer.clone(), endpoint.policy.lifetime());
        let (index, deadline) = (endpoint.issuer, now.saturating_add(endpoint.policy.timeout()));
        let answer = self.ask(place, deadline, token, request).map_err(|halt| match halt {
            Missing::Wait(id) => Halt::Wait(Wait::Introspection { endpoint: place, id }),
            Missing::TooMany => Refusal::TooManyIntrospections.into(),
            Missing::Failed(why) => {
                Refusal::IntrospectionFailed { issuer: issuer.clone(), why }.into()
            }
        })?;
        let (id, Answer { active, asked }) = answer;
        let Some(active) = active else { return Err(Refusal::Inactive { issuer }.into()) };
        let verified = match self.authenticator(index)?.introspected(&active, now) {
            Ok(verified) => verified,
            Err(error) => return Err(Refusal::Verify { issuer, error }.into()),
        };
        if let Some(who) = self.charged.remove(&id) {
            self.with_introspections(place, |buckets| buckets.give_back(&who, now));
        }
        Ok(Introspected { token: verified, fresh_until: asked.saturating_add(lifetime) })
    }

    /// The answer to a question, which is asked if nobody has. Who has waited for it does not wait again.
    fn ask(
        &mut self,
        place: usize,
        deadline: Duration,
        token: &[u8],
        request: Request<'_>,
    ) -> Result<(LookupId, Answer), Missing> {
        let (now, waited) = (request.now, request.attempt.introspection);
        let lost = |why: &str| Missing::Failed(why.to_owned());
        let policy = self.configuration.introspection.get(place).map(|it| it.policy.lifetime());
        let lifetime = policy.unwrap_or_default();
        let lookups = self.introspections.get_mut(place).ok_or_else(|| lost("no endpoint"))?;
        let body = format!(
            "token={}&token_type_hint=access_token",
            percent_encode(token, NON_ALPHANUMERIC)
        );
        let lookup = Lookup::Introspection(body.into_bytes());
        let id = lookups.id(&lookup);
        // What is remembered of a good one for equal questions may be the longer time, as it begins with the answer.
        let is_over = |answer: &Answer| {
            !waited && answer.active.is_some() && now >= answer.asked.saturating_add(lifetime)
        };
        let known = match lookups.known(id, waited, now) {
            Known::Result(LookupResult::Introspected(answer)) if is_over(&answer) => Known::Nothing,
            known => known,
        };
        match known {
            Known::Result(LookupResult::Introspected(answer)) => Ok((id, answer)),
            Known::Result(_) => Err(lost("unexpected answer")),
            Known::Failure(failure) => Err(Missing::Failed(failure.why)),
            Known::Nothing if waited && !self.may_ask_again(request) => {
                Err(lost("the answer was lost"))
            }
            Known::Pending if waited => Err(lost("no answer in time")),
            Known::Pending => Err(Missing::Wait(id)),
            Known::Nothing => {
                let who = network(&(request.peer.address)());
                if self.has_its_part(place, &who)
                    || !self.with_introspections(place, |buckets| buckets.take(&who, now))
                {
                    return Err(Missing::TooMany);
                }
                let lookups = self.introspections.get_mut(place);
                let lookups = lookups.ok_or_else(|| lost("no endpoint"))?;
                lookups.start(id, lookup, None, deadline).map_err(|why| lost(&why.to_string()))?;
                self.charge(id, who);
                Err(Missing::Wait(id))
            }
        }
    }

    /// Whether half of what an endpoint may be asked at once is one network's: if it hangs, the other half is for others.
    fn has_its_part(&self, place: usize, who: &str) -> bool {
        let Some(lookups) = self.introspections.get(place) else { return false };
        let charged = self.charged.iter().filter(|(_, payer)| payer.as_str() == who);
        charged.filter(|(id, _)| lookups.is_pending(**id)).count() >= MOST_OF_ONE
    }

    /// Whether a request for which the issuer was asked may ask once more: what it waited for after that took longer than the answer counts.
    fn may_ask_again(&self, request: Request<'_>) -> bool {
        let Request { attempt, now, .. } = request;
        let most = Duration::from_secs(self.configuration.gateway.limits.wait_seconds.into());
        let is_in_time = attempt.since.is_some_and(|since| now.saturating_sub(since) < most);
        is_in_time && (attempt.groups || attempt.reviews)
    }

    /// The buckets of an endpoint: a storm at one leaves the others theirs.
    fn with_introspections<R>(&self, place: usize, f: impl FnOnce(Buckets<'_>) -> R) -> R {
        let endpoint = self.configuration.introspection.get(place);
        let rate = endpoint.map_or(0, |endpoint| endpoint.policy.requests_per_second);
        let name = format!("{}/{place}", self.instance.gateway);
        f(Buckets { gateway: &name, ..self.buckets(Limited::Introspections, rate) })
    }
}

/// Why there is no answer.
enum Missing {
    /// The question is under way.
    Wait(LookupId),
    /// The client may not ask so many.
    TooMany,
    Failed(String),
}
