//! The book of grants: what each step makes of it. No clock, no I/O.

use gateway_core::elevation::{
    Approval, Entry, Grants, Objection, Person, Policy, Rule, State, Time,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Requests of one user that may be open at once.
const MOST_OPEN: usize = 8;
/// Grants of one user that are over, and stay to be seen.
const MOST_OVER: usize = 8;
/// Requests of one user within [`MINUTE`]: each is written to where the grants are.
const MOST_A_MINUTE: usize = 8;
const MINUTE: u64 = 60;
/// Grants that the book holds.
const MOST: usize = 1_000;
/// Seconds after which a request lapses that nobody has answered.
const REQUEST_LAPSES: u64 = 24 * 3600;
/// Seconds for which what is over stays to be seen.
const KEPT: u64 = 24 * 3600;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wish {
    /// The groups.
    pub groups: Vec<String>,
    /// For how many seconds.
    pub seconds: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// A step that somebody takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Agrees to a request.
    Approve,
    /// Refuses a request.
    Deny,
    /// Ends what is in force, or takes a request back.
    End,
}

impl Action {
    /// Its word in paths and commands.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "approve" => Some(Self::Approve),
            "deny" => Some(Self::Deny),
            "end" => Some(Self::End),
            _ => None,
        }
    }
}

/// Why a step is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A rule is against it.
    #[error("{0}")]
    Rule(#[from] Objection),
    /// Something in the wish cannot be meant.
    #[error("{field} {why}")]
    Wish {
        /// The field.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// There is no such grant, or none that this user may see.
    #[error("there is no such grant")]
    Unknown,
    /// It is not in a state in which the step can be taken: somebody was faster, or a form was sent twice.
    #[error("it is {0} already")]
    State(&'static str),
    /// It is for others to take this step.
    #[error("only who asked, or may agree to it, ends a grant")]
    NotYours,
    /// There are too many.
    #[error("{0}")]
    TooMany(&'static str),
}

impl Refusal {
    /// The code of HTTP that says so.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Wish { .. } => 400,
            Self::Rule(_) | Self::NotYours => 403,
            Self::Unknown => 404,
            Self::State(_) => 409,
            Self::TooMany(_) => 429,
        }
    }
}

/// What has happened: a line of the audit log, and what a webhook is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `asked`, `approved`, `denied` or `ended`.
    pub what: &'static str,
    /// The grant as it is now.
    pub entry: Entry,
    /// Who did it: the name and the issuer; an administrator's command has none.
    pub by: Option<(String, String)>,
}

impl Event {
    /// As JSON.
    #[must_use]
    pub fn document(&self, at: Time) -> Value {
        let by = self.by.as_ref().map(|(user, issuer)| json!({"user": user, "issuer": issuer}));
        json!({
            "event": format!("elevation.{}", self.what), "at": at.to_string(), "by": by,
            "grant": self.entry,
        })
    }
}

/// All grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    grants: Grants,
}

impl Book {
    /// Of a document.
    #[must_use]
    pub fn new(grants: Grants) -> Self {
        Self { grants }
    }

    /// As a document.
    #[must_use]
    pub fn document(&self) -> &Grants {
        &self.grants
    }

    /// Asks for groups. `id` must be nobody's else.
    ///
    /// # Errors
    /// Why nobody is even asked.
    pub fn ask(
        &mut self,
        policy: &Policy,
        wish: Wish,
        person: Person<'_>,
        id: String,
        now: Time,
    ) -> Result<Event, Refusal> {
        self.prune(now);
        let Wish { groups, seconds, reason } = wish;
        let entry = Entry {
            id,
            state: State::Requested,
            user: person.user.to_owned(),
            issuer: person.issuer.to_owned(),
            subject: person.subject.to_owned(),
            groups,
            reason,
            requested_at: now,
            from: now,
            until: Time(now.0.saturating_add(seconds)),
            approved_by: None,
        };
        if let Some((field, why)) = entry.fault() {
            return Err(Refusal::Wish { field, why });
        }
        let needs_approval = policy.ask(&entry, person)?;
        let open: Vec<_> =
            self.grants.grants.iter().filter(|it| is_open(it, now) && is_of(it, person)).collect();
        if open.iter().any(|it| it.groups == entry.groups) {
            return Err(Refusal::State("asked for, or lent,"));
        }
        if open.len() >= MOST_OPEN {
            return Err(Refusal::TooMany("you have eight open grants: end one first"));
        }
        let young =
            |it: &&Entry| is_of(it, person) && it.requested_at.0.saturating_add(MINUTE) > now.0;
        if self.grants.grants.iter().filter(young).count() >= MOST_A_MINUTE {
            return Err(Refusal::TooMany(
                "you have asked eight times within a minute: wait a little",
            ));
        }
        self.make_room(person, now);
        if self.grants.grants.len() >= MOST {
            return Err(Refusal::TooMany(
                "there are a thousand grants: an administrator can end some",
            ));
        }
        let state = if needs_approval { State::Requested } else { State::Approved };
        let entry = Entry { state, ..entry };
        self.grants.grants.push(entry.clone());
        Ok(Event { what: "asked", entry, by: Some(named(person)) })
    }

    /// Takes a step with a grant.
    ///
    /// # Errors
    /// Why not.
    pub fn step(
        &mut self,
        policy: &Policy,
        action: Action,
        id: &str,
        person: Person<'_>,
        now: Time,
    ) -> Result<Event, Refusal> {
        self.prune(now);
        let entry = self.grants.grants.iter_mut().find(|entry| entry.id == id);
        let entry = entry.ok_or(Refusal::Unknown)?;
        let is_own = is_of(entry, person);
        let may = policy.approve(entry, person);
        // Whoever is not concerned learns nothing of it.
        if !is_own && !matches!(may, Ok(()) | Err(Objection::Own)) {
            return Err(Refusal::Unknown);
        }
        match action {
            Action::Approve => {
                may?;
                in_state(entry, &[State::Requested])?;
                let length = entry.until.0.saturating_sub(entry.from.0);
                entry.state = State::Approved;
                entry.from = now;
                entry.until = Time(now.0.saturating_add(length));
                entry.approved_by = Some(Approval {
                    user: person.user.to_owned(),
                    issuer: person.issuer.to_owned(),
                    subject: person.subject.to_owned(),
                    // The others say nothing of the approval, and there can be many.
                    groups: policy.approving(person.groups).cloned().collect(),
                    at: now,
                });
                Ok(Event { what: "approved", entry: entry.clone(), by: Some(named(person)) })
            }
            Action::Deny => {
                may?;
                in_state(entry, &[State::Requested])?;
                entry.state = State::Denied;
                Ok(Event { what: "denied", entry: entry.clone(), by: Some(named(person)) })
            }
            Action::End => {
                if !is_own && may.is_err() {
                    return Err(Refusal::NotYours);
                }
                in_state(entry, &[State::Requested, State::Approved])?;
                if entry.until <= now {
                    return Err(Refusal::State("over"));
                }
                entry.state = State::Ended;
                Ok(Event { what: "ended", entry: entry.clone(), by: Some(named(person)) })
            }
        }
    }

    /// Ends a grant for an administrator, who may write the object anyway.
    ///
    /// # Errors
    /// If there is none that could be ended.
    pub fn end(&mut self, id: &str) -> Result<Event, Refusal> {
        let entry = self.grants.grants.iter_mut().find(|entry| entry.id == id);
        let entry = entry.ok_or(Refusal::Unknown)?;
        in_state(entry, &[State::Requested, State::Approved])?;
        entry.state = State::Ended;
        Ok(Event { what: "ended", entry: entry.clone(), by: None })
    }

    /// What somebody sees: what it may ask for, its own grants, those that it may agree to, and those in force that it may end.
    #[must_use]
    pub fn view(&self, policy: &Policy, person: Person<'_>, now: Time) -> Value {
        let entries = || self.grants.grants.iter().filter(|it| is_open(it, now));
        let own: Vec<_> = entries().filter(|it| is_of(it, person)).collect();
        let concerns = |it: &&Entry| policy.approve(it, person).is_ok();
        let others = |state| entries().filter(move |it| it.state == state).filter(concerns);
        let requests: Vec<_> = others(State::Requested).collect();
        let open: Vec<_> = others(State::Approved).collect();
        let offers: Vec<_> = policy.offers(person).map(offer).collect();
        json!({"offers": offers, "own": own, "requests": requests, "open": open})
    }

    /// Takes out all that is over.
    pub fn drop_over(&mut self, now: Time) {
        self.grants.grants.retain(|entry| is_open(entry, now));
    }

    /// Takes out what is over before its time: more of one user than is kept, and what is oldest if the book is full. Nobody fills it by
    /// asking and ending.
    fn make_room(&mut self, person: Person<'_>, now: Time) {
        let grants = &mut self.grants.grants;
        let over = |entry: &Entry| !is_open(entry, now);
        let own = grants.iter().filter(|it| over(it) && is_of(it, person)).count();
        let mut leaving = own.saturating_sub(MOST_OVER - 1);
        // They stand in the order in which they were asked for.
        grants.retain(|entry| {
            let leaves = leaving > 0 && over(entry) && is_of(entry, person);
            leaving -= usize::from(leaves);
            !leaves
        });
        if grants.len() >= MOST
            && let Some(oldest) = grants.iter().position(over)
        {
            grants.remove(oldest);
        }
    }

    /// Takes out what has been over for a day. A request that nobody answers for a day lapses.
    pub fn prune(&mut self, now: Time) {
        self.grants.grants.retain(|entry| {
            let end = match entry.state {
                State::Requested => entry.requested_at.0.saturating_add(REQUEST_LAPSES),
                State::Approved | State::Ended => entry.until.0.saturating_add(KEPT),
                State::Denied => entry.requested_at.0.saturating_add(KEPT),
            };
            end > now.0
        });
    }
}

fn offer(rule: &Rule) -> Value {
    json!({
        "rule": rule.name, "groups": rule.groups, "maximumSeconds": rule.maximum_seconds,
        "requiresApproval": rule.requires_approval, "reasonPattern": rule.reason_pattern,
    })
}

/// Whether it waits for somebody, or is in force.
fn is_open(entry: &Entry, now: Time) -> bool {
    match entry.state {
        State::Requested => entry.requested_at.0.saturating_add(REQUEST_LAPSES) > now.0,
        State::Approved => entry.until > now,
        State::Ended | State::Denied => false,
    }
}

fn is_of(entry: &Entry, person: Person<'_>) -> bool {
    entry.issuer == person.issuer && entry.subject == person.subject
}

fn in_state(entry: &Entry, states: &[State]) -> Result<(), Refusal> {
    if states.contains(&entry.state) {
        return Ok(());
    }
    Err(Refusal::State(match entry.state {
        State::Requested => "asked for",
        State::Approved => "approved",
        State::Ended => "ended",
        State::Denied => "denied",
    }))
}

fn named(person: Person<'_>) -> (String, String) {
    (person.user.to_owned(), person.issuer.to_owned())
}

#[cfg(test)]
mod tests;
