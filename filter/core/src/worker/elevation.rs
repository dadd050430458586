//! What is lent to a user, added to what its token grants.

use std::{rc::Rc, time::Duration};

use super::{Worker, decide::Halt};
use crate::{
    cache::Grant,
    elevation::{Grants, GrantsError, Objection, Person, Table},
    metrics::Metric,
};

impl Worker {
    /// Whether groups may be lent at all, so that a `Grants` document is wanted.
    #[must_use]
    pub fn lends(&self) -> bool {
        !self.configuration.elevation.is_empty()
    }

    /// Takes a `Grants` document in. Gives the approved grants in it that have no effect, by their ids, each with what is against it.
    ///
    /// # Errors
    /// What is wrong with the document. Then what was taken in before stays.
    pub fn take_grants(
        &mut self,
        document: &[u8],
    ) -> Result<Vec<(String, Objection)>, GrantsError> {
        let grants = Grants::parse(document)?;
        let (table, refused) = Table::new(grants, &self.configuration.elevation);
        self.grants = table;
        for (_, objection) in &refused {
            self.metrics.count(Metric::GrantsRefused, [objection.keyword(), ""]);
        }
        Ok(refused)
    }

    /// Lends nothing any more: it is not known what has been ended since.
    pub fn drop_grants(&mut self) {
        self.grants = Table::default();
    }

    /// What a token grants, with what is lent to its user now.
    pub(super) fn elevated(&mut self, grant: Grant, now: Duration) -> Result<Grant, Halt> {
        if self.grants.is_empty() {
            return Ok(grant);
        }
        let (Some(subject), Some(identity)) = (&grant.subject, &grant.identity) else {
            return Ok(grant);
        };
        let issuer = self.issuer_of(&grant);
        let person = Person { user: &identity.username, issuer, subject, groups: &identity.groups };
        let (lent, refused) = self.grants.lent(&self.configuration.elevation, person, now);
        let Some(lent) = lent else {
            self.count_refused(refused);
            return Ok(grant);
        };
        let mut identity = (**identity).clone();
        identity.groups.extend(lent.groups);
        let elevated = self.plan(grant.signer, issuer, identity, grant.expires_at)?;
        self.count_refused(refused);
        self.metrics.count(Metric::LentRequests, ["", ""]);
        let record: Rc<str> = format!("{}{}", grant.record, lent.record).into();
        let (plan, identity) = (elevated.plan, elevated.identity);
        Ok(Grant { plan, identity, record, lent_until: Some(lent.until), ..grant })
    }

    fn count_refused(&mut self, times: u32) {
        for _ in 0..times {
            self.metrics.count(Metric::GrantsRefused, [Objection::User.keyword(), ""]);
        }
    }
}
