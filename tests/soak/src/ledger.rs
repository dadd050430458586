//! The checker: every request of the load, and what the three logs say of it.
//!
//! A request carries its number in `User-Agent`, which all three logs have: kube-apiserver's audit log, the gateway's
//! audit events and its access log. So a request is known before it is sent, whether or not its answer comes. It is
//! checked when its line comes (the right identity), when its answer comes (the right outcome, or a window that explains
//! the wrong one), and some seconds later once more (exactly one event and one line, all under the id that the answer had).
//! Then it is forgotten, so that memory does not grow with the number of requests.

mod entries;
mod judge;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use gateway_tests::crashing;
use sandbox::audit::{Event, Stage};

pub use self::entries::{AccessLine, Expect, Fault, Identity, Outcome, Sent, Tally, Violation};
use self::judge::{Judged, compare, judge, right_identity};
use crate::windows::{Symptom, Windows};

/// How long after a request's end all logs are compared. A line that comes later has no request any more.
const SETTLE: Duration = Duration::from_secs(20);
/// How long a request is waited for whose lines are missing then.
const LATE: Duration = Duration::from_secs(60);
/// Violations of a kind that are kept whole. The others are counted.
const KEPT: u64 = 10;

/// What the gateway may do as itself: reviews of clients' rights and tokens, and its own readiness.
const ITS_OWN: [&str; 4] = [
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "/apis/authentication.k8s.io/v1/tokenreviews",
    "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
];

/// What a log said of a request.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Ends of the request.
    ends: u32,
    /// 401 without an end: the only event of a refused credential.
    refusals: u32,
    audit_id: Option<String>,
    code: Option<u16>,
}

#[derive(Debug)]
struct Entry {
    sent: Sent,
    ended: Option<(Instant, Outcome)>,
    served: bool,
    /// kube-apiserver did not let the gateway impersonate.
    denied: bool,
    /// What the access log says of an answer that is not kube-apiserver's.
    refusal: String,
    apiserver: Seen,
    events: Seen,
    lines: Seen,
}

/// The checker.
#[derive(Debug)]
pub struct Ledger {
    gateway: String,
    next: u64,
    open: HashMap<u64, Entry>,
    settling: VecDeque<u64>,
    late: Vec<u64>,
    windows: Windows,
    tallies: BTreeMap<&'static str, Tally>,
    faults: BTreeMap<Fault, u64>,
    kept: Vec<Violation>,
    own_reviews: u64,
    proven: u64,
}

impl Ledger {
    /// An empty one. `gateway` is the user name of the gateway's ServiceAccount.
    pub fn new(gateway: &str, windows: Windows) -> Self {
        Self {
            gateway: gateway.to_owned(),
            next: 0,
            open: HashMap::new(),
            settling: VecDeque::new(),
            late: Vec::new(),
            windows,
            tallies: BTreeMap::new(),
            faults: BTreeMap::new(),
            kept: Vec::new(),
            own_reviews: 0,
            proven: 0,
        }
    }

    /// Takes a request up; its number, for [`user_agent`].
    pub fn begin(&mut self, sent: Sent) -> u64 {
        let number = self.next;
        self.next += 1;
        let (apiserver, events, lines) = Default::default();
        let (ended, served, denied, refusal) = (None, false, false, String::new());
        self.open.insert(
            number,
            Entry { sent, ended, served, denied, refusal, apiserver, events, lines },
        );
        number
    }

    /// What the client got.
    pub fn end(&mut self, number: u64, outcome: Outcome, now: Instant) {
        let Some(mut entry) = self.open.remove(&number) else { return };
        let judged = judge(&entry.sent, &outcome, &self.windows, now);
        let tally = self.tallies.entry(entry.sent.kind).or_default();
        match judged {
            Ok(Judged::Served) => tally.served += 1,
            Ok(Judged::Refused) => tally.refused += 1,
            Ok(Judged::Explained) => tally.explained += 1,
            Ok(Judged::Left) => tally.left += 1,
            Err(_) => tally.wrong += 1,
        }
        entry.served = judged == Ok(Judged::Served);
        let wrong_user = outcome.wrong_user.clone();
        entry.ended = Some((now, outcome));
        if let Err((fault, text)) = judged {
            self.violation(fault, number, &entry, &text, now);
        }
        if let Some(text) = wrong_user {
            self.violation(Fault::WrongIdentity, number, &entry, &text, now);
        }
        self.open.insert(number, entry);
        self.settling.push_back(number);
    }

    /// A line of kube-apiserver's audit log.
    pub fn apiserver(&mut self, event: &Event, now: Instant) {
        if event.stage == Stage::RequestReceived {
            // It is written before the impersonation headers are looked at.
            return;
        }
        let code = event.response_status.as_ref().map_or(0, |status| status.code);
        let by_gateway = event.user.username == self.gateway;
        let as_whom = event.impersonated_user.as_ref().filter(|user| !user.username.is_empty());
        let number = number_of(&event.user_agent);
        // What kube-apiserver refuses to impersonate is not done as anybody.
        let denied = as_whom.is_none() && matches!(code, 401 | 403);
        if by_gateway && as_whom.is_none() && !denied {
            if number.is_none() && ITS_OWN.contains(&event.request_uri.as_str()) {
                self.own_reviews += 1;
                return;
            }
            let text =
                format!("{} {} ({code}) as the gateway itself", event.verb, event.request_uri);
            self.about(Fault::AsGateway, number, &event.audit_id, &text, now);
            return;
        }
        let Some(number) = number else { return };
        let Some(mut entry) = self.open.remove(&number) else {
            self.doubled("kube-apiserver's audit log", number, &event.audit_id, now);
            return;
        };
        entry.denied |= denied;
        if !denied && let Err(text) = right_identity(&entry.sent, event, by_gateway) {
            self.violation(Fault::WrongIdentity, number, &entry, &text, now);
        }
        entry.apiserver.note(event, code);
        self.open.insert(number, entry);
    }

    /// An event of the gateway's own.
    pub fn gateway(&mut self, event: &Event, now: Instant) {
        let Some(number) = number_of(&event.user_agent) else { return };
        let Some(mut entry) = self.open.remove(&number) else {
            self.doubled("the gateway's audit events", number, &event.audit_id, now);
            return;
        };
        let code = event.response_status.as_ref().map_or(0, |status| status.code);
        let name = &event.user.username;
        if let Some(user) = &entry.sent.user
            && !name.is_empty()
            && *name != user.name
        {
            let text = format!("the gateway's audit event names {name:?}");
            self.violation(Fault::WrongIdentity, number, &entry, &text, now);
        }
        entry.events.note(event, code);
        self.open.insert(number, entry);
    }

    /// A line of the gateway's access log.
    pub fn access(&mut self, line: &AccessLine, now: Instant) {
        let Some(number) = line.user_agent.as_deref().and_then(number_of) else { return };
        let id = line.audit_id.clone().unwrap_or_default();
        let Some(mut entry) = self.open.remove(&number) else {
            self.doubled("the access log", number, &id, now);
            return;
        };
        // Of who acts as another the line has the other's name.
        let right = [&entry.sent.user, &entry.sent.acts_as];
        if let Some(name) = &line.user
            && !right.into_iter().flatten().any(|user| *name == user.name)
        {
            let text = format!("the access log names {name:?}");
            self.violation(Fault::WrongIdentity, number, &entry, &text, now);
        }
        if line.mode.is_some() && entry.sent.expect == Expect::Refused {
            let text = format!("the access log has mode {:?}", line.mode);
            self.violation(Fault::Accepted, number, &entry, &text, now);
        }
        let refusal = [&line.deny, &line.reason, &line.details, &line.flags];
        let refusal: Vec<&str> = refusal.into_iter().flatten().map(String::as_str).collect();
        entry.refusal = refusal.join(", ");
        for known in self.kept.iter_mut().filter(|known| known.request == Some(number)) {
            known.text = format!("{} [{}]", known.text, entry.refusal);
        }
        entry.lines.ends += 1;
        entry.lines.audit_id = line.audit_id.clone().or(entry.lines.audit_id);
        entry.lines.code = line.code;
        self.open.insert(number, entry);
    }

    /// A message of Envoy: a VM must crash where the schedule makes it crash, and nowhere else.
    pub fn message(&mut self, line: &str, now: Instant) {
        // Envoy, `source/extensions/common/wasm/wasm_vm.cc`.
        let Some((callback, how)) =
            line.split_once("Function: ").and_then(|(_, rest)| rest.split_once(" failed: "))
        else {
            return;
        };
        let planned =
            callback == crashing::CALLBACK && self.windows.explain(Symptom::Trapped, now, now);
        if !planned {
            self.about(Fault::Crash, None, "", &format!("{callback}: {how}"), now);
        }
    }

    /// Compares the logs of what ended some time ago, and forgets it.
    pub fn settle(&mut self, now: Instant) {
        let ended = |ledger: &Self, number: &u64| {
            ledger.open.get(number).and_then(|entry| Some(entry.ended.as_ref()?.0))
        };
        let mut due = std::mem::take(&mut self.late);
        while let Some(number) = self.settling.front() {
            if ended(self, number).is_some_and(|at| at + SETTLE > now) {
                break;
            }
            due.extend(self.settling.pop_front());
        }
        for number in due {
            let Some(entry) = self.open.remove(&number) else { continue };
            let Some((at, outcome)) = &entry.ended else { continue };
            let faults = compare(&entry, outcome, &self.windows, *at);
            let missing =
                faults.iter().any(|(fault, _)| matches!(fault, Fault::Lost | Fault::Unproven));
            if missing && *at + SETTLE + LATE > now {
                self.late.push(number);
                self.open.insert(number, entry);
                continue;
            }
            if entry.apiserver.ends > 0 && entry.served && !entry.denied {
                self.proven += 1;
            }
            for (fault, text) in faults {
                self.violation(fault, number, &entry, &text, now);
            }
        }
    }

    /// Something wrong that is not of one request.
    pub fn fault(&mut self, fault: Fault, text: &str, now: Instant) {
        self.about(fault, None, "", text, now);
    }

    /// When disturbances are.
    pub fn windows(&mut self) -> &mut Windows {
        &mut self.windows
    }

    /// Requests that are not settled yet.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// How requests came out, by their kind.
    pub fn tallies(&self) -> &BTreeMap<&'static str, Tally> {
        &self.tallies
    }

    /// How often something was wrong.
    pub fn faults(&self) -> &BTreeMap<Fault, u64> {
        &self.faults
    }

    /// The first of what was wrong.
    pub fn violations(&self) -> &[Violation] {
        &self.kept
    }

    /// Events of reviews that the gateway asks for as itself.
    pub fn own_reviews(&self) -> u64 {
        self.own_reviews
    }

    /// Requests that kube-apiserver served and of which its audit log names the right user.
    pub fn proven(&self) -> u64 {
        self.proven
    }

    fn doubled(&mut self, log: &str, number: u64, audit_id: &str, now: Instant) {
        let text = format!("{log} has it again, long after its end");
        self.about(Fault::Doubled, Some(number), audit_id, &text, now);
    }

    fn violation(&mut self, fault: Fault, number: u64, entry: &Entry, text: &str, now: Instant) {
        let outcome = entry.ended.as_ref().map(|(_, outcome)| outcome);
        let ids = [
            outcome.and_then(|outcome| outcome.audit_id.as_ref()),
            entry.apiserver.audit_id.as_ref(),
            entry.events.audit_id.as_ref(),
            entry.lines.audit_id.as_ref(),
        ];
        let audit_id = ids.into_iter().flatten().next().cloned().unwrap_or_default();
        let Sent { kind, user, begun, .. } = &entry.sent;
        let user = user.as_ref().map_or("nobody", |user| user.name.as_str());
        let text = format!(
            "request {number}, {kind} of {user}, sent at {:.1} s: {text}",
            self.windows.second(*begun)
        );
        let refusal = &entry.refusal;
        let text = if refusal.is_empty() { text } else { format!("{text} [{refusal}]") };
        let to = entry.ended.as_ref().map_or(now, |(at, _)| *at);
        self.keep(
            Violation { request: Some(number), fault, audit_id, text, windows: Vec::new() },
            *begun,
            to,
        );
    }

    fn about(&mut self, fault: Fault, number: Option<u64>, id: &str, text: &str, now: Instant) {
        let of = number.map_or_else(String::new, |number| format!("request {number}: "));
        let text = format!("at {:.1} s: {of}{text}", self.windows.second(now));
        let (request, audit_id, windows) = (number, id.to_owned(), Vec::new());
        self.keep(Violation { request, fault, audit_id, text, windows }, now, now);
    }

    fn keep(&mut self, mut violation: Violation, from: Instant, to: Instant) {
        let count = self.faults.entry(violation.fault).or_default();
        *count += 1;
        if *count <= KEPT {
            violation.windows = self.windows.around(from, to, Duration::from_secs(10));
            self.kept.push(violation);
        }
    }
}

impl Seen {
    /// The lines that tell of the request's end.
    fn last(&self) -> u32 {
        if self.ends == 0 { self.refusals } else { self.ends }
    }

    fn note(&mut self, event: &Event, code: u16) {
        match event.stage {
            Stage::ResponseComplete | Stage::Panic => {
                self.ends += 1;
                self.code = Some(code);
            }
            Stage::ResponseStarted if code == 401 => {
                self.refusals += 1;
                self.code = Some(code);
            }
            _ => {}
        }
        match &self.audit_id {
            // What differs is found when logs are compared.
            Some(known) if *known != event.audit_id => {
                self.audit_id = Some(format!("{known} and {}", event.audit_id));
            }
            _ => self.audit_id = Some(event.audit_id.clone()),
        }
    }
}

/// The `User-Agent` of a request of the load.
pub fn user_agent(number: u64) -> String {
    format!("soak/{number}")
}

fn number_of(user_agent: &str) -> Option<u64> {
    user_agent.strip_prefix("soak/")?.parse().ok()
}
