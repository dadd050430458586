//! Whether a request fulfils the configuration's conditions.

use go_compat::json;
use kube_authn::Identity;
use kube_request::RequestInfo;

use super::{Worker, decide::Request};
use crate::{conditions::Facts, metrics::Metric, refusal::Refusal};

/// Whose request it is.
pub(super) struct Subject<'a> {
    /// Who signed in.
    pub(super) user: &'a Identity,
    /// Whom the client asks to be.
    pub(super) impersonated: Option<&'a Identity>,
    /// What is kept of the token's claims.
    pub(super) claims: Option<&'a json::Object>,
}

impl<'a> Subject<'a> {
    /// Somebody of whose token nothing is known.
    pub(super) fn of(user: &'a Identity) -> Self {
        Self { user, impersonated: None, claims: None }
    }
}

impl Worker {
    /// Refuses a request that does not fulfil all conditions. Without any, this costs nothing.
    pub(super) fn check_conditions(
        &mut self,
        request: Request<'_>,
        subject: &Subject<'_>,
    ) -> Result<(), Refusal> {
        if self.configuration.conditions.is_empty() {
            return Ok(());
        }
        let Request { head, peer, now, .. } = request;
        let method = String::from_utf8_lossy(head.method);
        let target = String::from_utf8_lossy(head.path);
        let info = RequestInfo::read(&method, &target)
            .map_err(|error| Refusal::UnreadableTarget(error.to_string()))?;
        let agent = head.user_agent.map(String::from_utf8_lossy).unwrap_or_default();
        let none = json::Object::default();
        let facts = Facts {
            request: &info,
            address: peer.address,
            user_agent: &agent,
            user: subject.user,
            impersonated: subject.impersonated,
            claims: subject.claims.unwrap_or(&none),
            now,
        };
        self.configuration.conditions.judge(&facts).map_err(|denial| {
            let place = self.issuers.len().saturating_add(denial.index);
            self.metrics.count_named(Metric::ConditionRefusals, denial.cause.keyword(), place);
            Refusal::Condition(denial)
        })
    }
}
