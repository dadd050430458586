//! The grants in force, as a request finds them: by who asks.

use std::{collections::HashMap, time::Duration};

use go_compat::sort;

use super::{Entry, Grants, Objection, Person, Policy, State};
use crate::record;

/// Approved grants that the rules allow, by the `sub` of their users.
#[derive(Debug, Default)]
pub struct Table {
    by_subject: HashMap<String, Vec<Allowed>>,
}

#[derive(Debug)]
struct Allowed {
    entry: Entry,
    /// The rules that allow it.
    rules: Vec<usize>,
}

/// What is lent to a user now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// The groups, without those that the user has anyway.
    pub groups: Vec<String>,
    /// By which grants, and for how long.
    pub loan: Loan,
    /// What the logs are told of it, to be put behind the user's record ([`crate::record`]).
    pub record: String,
}

/// By which grants something is lent, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loan {
    /// The ids of the grants.
    pub grants: Vec<String>,
    /// When the first of them ends.
    pub until: Duration,
}

impl Table {
    /// Takes the grants in that the rules allow. Gives the others by their ids, each with what is against it.
    #[must_use]
    pub fn new(grants: &Grants, policy: &Policy) -> (Self, Vec<(String, Objection)>) {
        let mut by_subject: HashMap<_, Vec<_>> = HashMap::new();
        let mut refused = Vec::new();
        let until = |index: usize| grants.grants.get(index).map(|entry| entry.until);
        // Of several that lend the same, the one that ends last counts.
        let order = sort::stable(grants.grants.len(), &mut |a, b| until(b).cmp(&until(a)));
        for entry in order.into_iter().filter_map(|index| grants.grants.get(index)) {
            if entry.state != State::Approved {
                continue;
            }
            match policy.allowing(entry) {
                Ok(rules) => {
                    let of_subject: &mut Vec<_> =
                        by_subject.entry(entry.subject.clone()).or_default();
                    of_subject.push(Allowed { entry: entry.clone(), rules });
                }
                Err(objection) => refused.push((entry.id.clone(), objection)),
            }
        }
        (Self { by_subject }, refused)
    }

    /// Whether nothing is lent to anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_subject.is_empty()
    }

    /// What is lent to this user now; and how many of its grants have no effect, because it is nobody to whom they may be lent any more.
    #[must_use]
    pub fn lent(&self, policy: &Policy, person: Person<'_>, now: Duration) -> (Option<Lent>, u32) {
        let mut lent: Option<Lent> = None;
        let mut refused: u32 = 0;
        for Allowed { entry, rules } in self.by_subject.get(person.subject).into_iter().flatten() {
            let is_theirs = entry.issuer == person.issuer && entry.user == person.user;
            let (from, until) = (entry.from.since_epoch(), entry.until.since_epoch());
            if !is_theirs || now < from || now >= until {
                continue;
            }
            if !policy.lends_to(rules, person) {
                refused = refused.saturating_add(1);
                continue;
            }
            let is_new = |group: &&String| {
                !person.groups.contains(group)
                    && !lent.as_ref().is_some_and(|lent| lent.groups.contains(group))
            };
            let new: Vec<_> = entry.groups.iter().filter(is_new).cloned().collect();
            if new.is_empty() {
                continue;
            }
            let lent = lent.get_or_insert_with(|| Lent {
                groups: Vec::new(),
                loan: Loan { grants: Vec::new(), until },
                record: String::new(),
            });
            let by = entry.approved_by.as_ref().map(|by| by.user.as_str());
            record::push_grant(&mut lent.record, &entry.id, by, &new);
            lent.groups.extend(new);
            lent.loan.grants.push(entry.id.clone());
            lent.loan.until = lent.loan.until.min(until);
        }
        (lent, refused)
    }
}
