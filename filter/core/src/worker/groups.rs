//! Groups that a source is asked for: from a verified token to the same with its groups.

use std::time::Duration;

use go_compat::json::Value;
use kube_authn::{Identity, VerifiedToken};

use super::{
    Worker,
    decide::{Halt, Request, Trace},
};
use crate::{
    access::Login,
    cache::Sourced,
    callout::{Callout, CalloutResult},
    config::GROUP_SOURCES,
    decision::Wait,
    group_store::{Answer, Known, Outcome, Surroundings},
    guard,
    lookups::LookupId,
    metrics::Metric,
    rate::{Buckets, Limited, network},
    record,
    refusal::Refusal,
};

impl Worker {
    /// The token with its user's groups, if a source is to be asked for them.
    pub(super) fn with_sourced_groups(
        &mut self,
        issuer: usize,
        verified: &VerifiedToken,
        token: &[u8],
        request: Request<'_>,
        trace: &mut Trace,
    ) -> Result<Option<(VerifiedToken, Sourced)>, Halt> {
        let sources = &self.configuration.group_sources;
        let Some(index) = sources.of(issuer, verified.claims()) else { return Ok(None) };
        let source = sources.get(index).ok_or(Refusal::Host)?;
        let url = || self.issuers.get(issuer).map_or("", |keys| keys.issuer()).to_owned();
        // Not about strangers: an issuer may have many whom only a rule keeps out.
        let username = self
            .authenticator(issuer)?
            .check_without(verified, &source.claim)
            .map_err(|error| Refusal::Identity { issuer: url(), error })?;
        let question = source.question(verified.claims(), token).map_err(|error| {
            let error = format!("groupSources {:?}: {error}", source.name);
            Refusal::Groups { issuer: url(), error }
        })?;
        let around = Surroundings { sources, shared: self.shared.as_ref(), now: request.now };
        self.check_before_groups(&url(), username, verified, request, trace)?;
        let name = format!("{}/{}", self.instance.gateway, source.name);
        // Half of the turns are for whoever comes, the others for networks that have not taken their part of them.
        let rate = source.policy.requests_per_second.div_ceil(2);
        let buckets = Buckets {
            of: Limited::Groups,
            gateway: &name,
            per_second: rate,
            secret: self.instance.secret,
            shared: self.shared.as_ref(),
        };
        let may_wait = || buckets.take(&network(&(request.peer.address)()), request.now);
        let waited = request.attempt.groups;
        let (id, known) = self.groups.look_up(index, question, waited, &may_wait, around);
        match known {
            Known::Pending => Err(Halt::Wait(Wait::GroupSource(id))),
            Known::Failure(failure) => {
                let refusal =
                    Refusal::GroupSource { issuer: url(), name: source.name.clone(), failure };
                self.count_source(Metric::GroupSourceUsers, "refused", index);
                Err(refusal.into())
            }
            Known::Answer(answer) => {
                let Answer { groups, at, refresh_at, until, is_last } = answer;
                let value = groups.iter().cloned().map(Value::from).collect();
                let verified = verified.with_claim(&source.claim, Value::Array(value));
                let how = match (is_last, request.attempt.groups) {
                    (true, _) => "last",
                    (false, true) => "fetched",
                    (false, false) => "cached",
                };
                self.count_source(Metric::GroupSourceUsers, how, index);
                let age = request.now.saturating_sub(at).as_millis();
                let age = i64::try_from(age).unwrap_or(i64::MAX);
                self.metrics.observe(Metric::GroupSourceAge, age);
                Ok(Some((verified, Sourced { id, source: index, at, refresh_at, until })))
            }
        }
    }

    /// Refuses, before its groups are known, who has no business here whatever they are: users of reserved names, and those whose access
    /// has ended. What depends on the groups is judged once they are there.
    fn check_before_groups(
        &self,
        url: &str,
        username: Option<String>,
        token: &VerifiedToken,
        request: Request<'_>,
        trace: &mut Trace,
    ) -> Result<(), Refusal> {
        let is_known = username.is_some();
        let username = username.unwrap_or_default();
        let identity = Identity { username, ..Identity::default() };
        if is_known {
            let reserved = &self.configuration.gateway.allowed_reserved;
            guard::check(&identity, reserved)
                .map_err(|error| Refusal::Guard { issuer: url.to_owned(), error })?;
        }
        let Some(documents) = self.access.present(request.now)? else { return Ok(()) };
        let (user, login) = (identity.username.as_str(), Login::new(url, token));
        let found = documents.revocations.find(user, std::iter::empty(), &login, request.now);
        let Some(revoked) = found else { return Ok(()) };
        // Whose token is refused is in the logs, as it is once the groups are known.
        trace.record = Some(record::record(url, &identity, None).into());
        Err(revoked.into())
    }

    /// Whether what a cached token's groups were made of has been replaced meanwhile. If it is old, it is asked for again.
    pub(super) fn is_outdated(&mut self, sourced: &Sourced, now: Duration) -> bool {
        let sources = &self.configuration.group_sources;
        let around = Surroundings { sources, shared: self.shared.as_ref(), now };
        now >= sourced.refresh_at && self.groups.renew(sourced.id, sourced.at, around)
    }

    /// Has a record say where a user's groups came from.
    pub(super) fn add_source(&self, record: &mut String, sourced: Option<&Sourced>) {
        let Some(sourced) = sourced else { return };
        let source = self.configuration.group_sources.get(sourced.source);
        record::add_source(record, source.map_or("", |it| &it.name), sourced.at);
    }

    /// Whether questions about groups are to be looked at, though no request waits. For adapters that are not called by the clock.
    #[must_use]
    pub fn has_due_groups(&self, now: Duration) -> bool {
        self.groups.is_due(now)
    }

    pub(super) fn poll_groups(&mut self, now: Duration) -> Vec<Callout> {
        let sources = &self.configuration.group_sources;
        if sources.is_empty() {
            return Vec::new();
        }
        let clusters = &self.configuration.callout_clusters;
        let around = Surroundings { sources, shared: self.shared.as_ref(), now };
        self.groups.poll(around, |source| {
            let cluster = clusters.get(&format!("{GROUP_SOURCES}/{}", source.name));
            cluster.cloned().unwrap_or_default()
        })
    }

    pub(super) fn groups_answered(
        &mut self,
        id: LookupId,
        result: CalloutResult<'_>,
        now: Duration,
    ) {
        let sources = &self.configuration.group_sources;
        let around = Surroundings { sources, shared: self.shared.as_ref(), now };
        let Some((source, outcome)) = self.groups.answered(id, result, around) else { return };
        let result = match outcome {
            Outcome::More => "page",
            Outcome::Done => "ok",
            Outcome::Failed(cause) => {
                self.metrics.count(Metric::CalloutFailures, ["source", cause.keyword()]);
                "failed"
            }
        };
        self.count_source(Metric::GroupSourceAnswers, result, source);
    }

    fn count_source(&mut self, metric: Metric, value: &'static str, source: usize) {
        let before =
            self.issuers.len().saturating_add(self.configuration.conditions.names().count());
        self.metrics.count_named(metric, value, before.saturating_add(source));
    }
}
