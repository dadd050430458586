//! What is lent to a user, added to what its token grants.

use std::{rc::Rc, time::Duration};

use super::{Worker, decide::Halt};
use crate::{
    access::Login,
    cache::Grant,
    elevation::{Objection, Person, Table},
    metrics::Metric,
};

impl Worker {
    /// Whether groups may be lent at all.
    pub(super) fn lends(&self) -> bool {
        !self.configuration.elevation.is_empty()
    }

    /// Takes in what the newest documents lend.
    pub(super) fn take_grants(&mut self) {
        let newest = self.access.newest();
        let grants =
            newest.and_then(|documents| documents.grants.as_ref()).filter(|_| self.lends());
        let Some(grants) = grants else {
            self.lent = Table::default();
            return;
        };
        let (table, refused) = Table::new(grants, &self.configuration.elevation);
        self.lent = table;
        for (_, objection) in refused {
            self.metrics.count(Metric::GrantsRefused, [objection.keyword(), ""]);
        }
    }

    /// What a token grants, with what is lent to its user now.
    pub(super) fn elevated(&mut self, grant: Grant, now: Duration) -> Result<Grant, Halt> {
        // Of documents that are too old nobody knows what has been ended since.
        if self.lent.is_empty() || self.access.present(now).is_err() {
            return Ok(grant);
        }
        let (Some(login), Some(identity)) = (&grant.login, &grant.identity) else {
            return Ok(grant);
        };
        let Login { issuer, subject, meets, .. } = &**login;
        let (user, groups) = (&identity.username, &identity.groups);
        let person = Person { user, issuer, subject, groups, meets };
        let (lent, refused) = self.lent.lent(&self.configuration.elevation, person, now);
        for _ in 0..refused {
            self.metrics.count(Metric::GrantsRefused, [Objection::User.keyword(), ""]);
        }
        let Some(lent) = lent else { return Ok(grant) };
        self.metrics.count(Metric::LentRequests, ["", ""]);
        let mut identity = (**identity).clone();
        identity.groups.extend(lent.groups);
        let elevated = self.plan(grant.signer, issuer, identity, grant.expires_at)?;
        let record: Rc<str> = format!("{}{}", grant.record, lent.record).into();
        // With more groups than its token has, something may be against it.
        let login = Some(Rc::new(login.unjudged()));
        let (plan, identity, loan) = (elevated.plan, elevated.identity, Some(Rc::new(lent.loan)));
        Ok(Grant { plan, identity, login, loan, record, ..grant })
    }
}
