//! Elevation: groups that are lent to a user for a time.
//!
//! A [`Grants`] document says who has what, until when, and who agreed. Whoever may write it is not believed for that: each grant
//! is checked again against the configuration's rules, and one that is beyond them has no effect. The same rules hold where a grant is asked
//! for and agreed to.

mod document;
mod table;

pub use document::{Approval, Entry, Grants, GrantsError, KIND, MOST_BYTES, State, Time};
pub use table::{Lent, Loan, Table};

use apiserver_cel::{Pattern, Program, Value};
use go_compat::json;
use kube_authn::Identity;

use crate::expression;

/// Somebody who has signed in, with what its own token says of it: what is lent to it is not among the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person<'a> {
    /// The user name.
    pub user: &'a str,
    /// The token's issuer.
    pub issuer: &'a str,
    /// The token's `sub`.
    pub subject: &'a str,
    /// The groups.
    pub groups: &'a [String],
    /// The rules whose expressions are true of it ([`Policy::met`]), by their names.
    pub meets: &'a [String],
}

/// Why a grant has no effect, or may not be asked for or agreed to. The order is that in which rules are looked at: of several that refuse, the
/// one that came farthest says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Objection {
    /// There is no rule for these groups together.
    #[error("no rule of elevation.rules lends these groups")]
    Groups,
    /// The user has none of the groups that may have them, and is not named.
    #[error(
        "elevation.rules lends these groups to others: toIssuer, toGroups, toUsers, toExpression"
    )]
    User,
    /// It lasts longer than it may, or not at all.
    #[error("it lasts longer than maximumSeconds of its rule allows, or ends before it begins")]
    Length,
    /// There is no reason of the wanted form.
    #[error("the reason has not the form that reasonPattern of its rule asks for")]
    Reason,
    /// Nobody has agreed.
    #[error("nobody has agreed to it")]
    Unapproved,
    /// Who agreed is who asked, or has the same name.
    #[error("nobody may agree to what it asked for itself, nor may somebody of the same name")]
    Own,
    /// Who agreed is nobody who may.
    #[error(
        "who agrees is of another issuer, or in none of the groups, that its rule asks for: approverIssuers, approvers"
    )]
    Approver,
    /// Somebody agreed before it was asked for, or after it began.
    #[error("it was agreed to before it was asked for, or after it began")]
    Dates,
}

impl Objection {
    /// A word of a closed set, for metrics.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::User => "user",
            Self::Length => "length",
            Self::Reason => "reason",
            Self::Unapproved => "unapproved",
            Self::Own => "own",
            Self::Approver => "approver",
            Self::Dates => "dates",
        }
    }
}

/// The rules, compiled.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// A rule whose fields are good: those of `elevation.rules`.
#[derive(Debug)]
#[expect(missing_docs, reason = "they are described where they are configured")]
pub struct Rule {
    pub name: String,
    pub groups: Vec<String>,
    pub to_issuer: String,
    pub to_groups: Vec<String>,
    pub to_users: Vec<String>,
    pub to_expression: Option<Program>,
    pub maximum_seconds: u32,
    pub requires_approval: bool,
    pub approvers: Vec<String>,
    pub approver_issuers: Vec<String>,
    pub reason_pattern: String,
    /// [`Self::reason_pattern`], of the whole reason.
    pub reason: Option<Pattern>,
}

impl Policy {
    /// Of compiled rules.
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Whether nothing is ever lent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules whose expressions are true of a user, by their names. All expressions share one budget; one that cannot be evaluated is not
    /// true.
    #[must_use]
    pub fn met(&self, user: &Identity, claims: &json::Object) -> Vec<String> {
        let mut budget = expression::LIMITS;
        let mut met = Vec::new();
        let person = expression::user(user);
        for rule in &self.rules {
            let Some(program) = &rule.to_expression else { continue };
            let found = program.evaluate_person(&person, claims, budget);
            budget.cost = budget.cost.saturating_sub(found.cost);
            if matches!(found.result, Ok(Value::Bool(true))) {
                met.push(rule.name.clone());
            }
        }
        met
    }

    /// Those of a person's groups that make somebody an approver anywhere.
    pub fn approving<'a>(&'a self, groups: &'a [String]) -> impl Iterator<Item = &'a String> {
        groups.iter().filter(|group| self.rules.iter().any(|rule| rule.approvers.contains(group)))
    }

    /// The rules by which this user may ask for groups.
    pub fn offers(&self, person: Person<'_>) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.may_have(person))
    }

    /// Whether a grant may be asked for. True if somebody else has to agree to it.
    ///
    /// # Errors
    /// Why not.
    pub fn ask(&self, entry: &Entry, person: Person<'_>) -> Result<bool, Objection> {
        let asked = self.first(|rule| {
            rule.lends(entry)?;
            if rule.may_have(person) { Ok(rule.requires_approval) } else { Err(Objection::User) }
        });
        // A rule that needs nobody else is enough, though another stands before it.
        let alone = |rule: &Rule| {
            !rule.requires_approval && rule.lends(entry).is_ok() && rule.may_have(person)
        };
        asked.map(|needs| needs && !self.rules.iter().any(alone))
    }

    /// Whether this person may agree to a grant that was asked for.
    ///
    /// # Errors
    /// Why not.
    pub fn approve(&self, entry: &Entry, approver: Person<'_>) -> Result<(), Objection> {
        self.first(|rule| {
            rule.lends(entry)?;
            rule.may_approve(entry, approver)
        })
    }

    /// The rules that allow an approved grant, by their places, apart from what only the user's own token tells.
    fn allowing(&self, entry: &Entry) -> Result<Vec<usize>, Objection> {
        let mut found = Vec::new();
        let mut objection = Objection::Groups;
        for (index, rule) in self.rules.iter().enumerate() {
            match rule.allows(entry) {
                Ok(()) => found.push(index),
                Err(why) => objection = objection.max(why),
            }
        }
        if found.is_empty() { Err(objection) } else { Ok(found) }
    }

    /// Whether one of these rules lends to this user.
    fn lends_to(&self, rules: &[usize], person: Person<'_>) -> bool {
        rules.iter().filter_map(|&index| self.rules.get(index)).any(|rule| rule.may_have(person))
    }

    fn first<T>(&self, check: impl Fn(&Rule) -> Result<T, Objection>) -> Result<T, Objection> {
        let mut objection = Objection::Groups;
        for rule in &self.rules {
            match check(rule) {
                Ok(found) => return Ok(found),
                Err(why) => objection = objection.max(why),
            }
        }
        Err(objection)
    }
}

impl Rule {
    /// Whether it lends such groups for so long, for such a reason.
    fn lends(&self, entry: &Entry) -> Result<(), Objection> {
        let is_lent = |group: &String| self.groups.contains(group);
        if entry.groups.is_empty() || !entry.groups.iter().all(is_lent) {
            return Err(Objection::Groups);
        }
        if !self.to_issuer.is_empty() && self.to_issuer != entry.issuer {
            return Err(Objection::User);
        }
        let length = entry.until.0.saturating_sub(entry.from.0);
        if length == 0 || length > self.maximum_seconds.into() {
            return Err(Objection::Length);
        }
        match &self.reason {
            Some(pattern) if !pattern.is_match(&entry.reason) => Err(Objection::Reason),
            _ => Ok(()),
        }
    }

    /// Whether it lends to this user.
    fn may_have(&self, person: Person<'_>) -> bool {
        let is_named = self.to_users.iter().any(|user| user == person.user)
            || self.to_groups.iter().any(|group| person.groups.contains(group));
        let by_expression = self.to_expression.is_some();
        // Of a rule without names the configuration sees to it that there is an expression.
        let is_unnamed = by_expression && self.to_users.is_empty() && self.to_groups.is_empty();
        (self.to_issuer.is_empty() || self.to_issuer == person.issuer)
            && (is_named || is_unnamed)
            && (!by_expression || person.meets.contains(&self.name))
    }

    /// Whether this person may agree.
    fn may_approve(&self, entry: &Entry, approver: Person<'_>) -> Result<(), Objection> {
        let is_same = approver.issuer == entry.issuer && approver.subject == entry.subject;
        // An account of one's own at another issuer often has the same name there.
        let is_namesake = bare(approver.user) == bare(&entry.user);
        if is_same || is_namesake {
            return Err(Objection::Own);
        }
        let issuers = &self.approver_issuers;
        let is_issuer = if issuers.is_empty() {
            approver.issuer == entry.issuer
        } else {
            issuers.iter().any(|issuer| issuer == approver.issuer)
        };
        let has = |group: &String| approver.groups.contains(group);
        let is_somebody = !approver.subject.is_empty() && !approver.user.is_empty();
        if is_somebody && is_issuer && self.approvers.iter().any(has) {
            Ok(())
        } else {
            Err(Objection::Approver)
        }
    }

    /// Whether it allows a grant that is in force.
    fn allows(&self, entry: &Entry) -> Result<(), Objection> {
        self.lends(entry)?;
        match &entry.approved_by {
            None if self.requires_approval => Err(Objection::Unapproved),
            None => Ok(()),
            Some(approval) => {
                self.may_approve(entry, approval.person())?;
                let is_in_order = entry.requested_at <= approval.at && approval.at <= entry.from;
                if is_in_order { Ok(()) } else { Err(Objection::Dates) }
            }
        }
    }
}

/// A user's name without the prefix that tells its issuer's users from others', such as `https://issuer#` and `oidc:`, and whatever its case.
fn bare(user: &str) -> String {
    let name = user.rsplit(['#', ':']).next().filter(|name| !name.is_empty());
    name.unwrap_or(user).to_lowercase()
}

#[cfg(test)]
mod tests;
