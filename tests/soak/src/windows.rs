//! When what goes wrong is explained: a disturbance, from before it begins until it must be over.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// What is done to the gateway and to what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A worker's VM crashes.
    Crash,
    /// kube-apiserver is killed and started again.
    Restart,
    /// The issuer of this number has new keys, or its old ones leave.
    Rotation(usize),
    /// The issuer of this number does not answer, or badly.
    Outage(usize),
    /// The issuer of this number joins or leaves the configuration.
    Membership(usize),
    /// A changed configuration.
    Reload,
    /// Another token of the gateway's ServiceAccount.
    Token,
}

/// How a good request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom {
    /// An answer of 500 and above, none, or half of one.
    Unavailable,
    /// 401 for a token of the issuer of this number.
    Unauthorized(usize),
    /// 403 where the user has the right: kube-apiserver has not read its roles yet.
    Forbidden,
    /// An event that kube-apiserver has not written: it was killed.
    Unwritten,
    /// 503 for a token of this issuer whose key nobody knows.
    Keyless(usize),
    /// A VM that has crashed.
    Trapped,
}

impl Cause {
    /// What it may do. Reloads, tokens and outages may do nothing: that is what the gateway promises.
    fn explains(self, symptom: Symptom) -> bool {
        match self {
            Self::Crash => matches!(symptom, Symptom::Unavailable | Symptom::Trapped),
            Self::Restart => {
                matches!(symptom, Symptom::Unavailable | Symptom::Forbidden | Symptom::Unwritten)
            }
            Self::Rotation(issuer) | Self::Membership(issuer) => {
                symptom == Symptom::Unauthorized(issuer)
            }
            Self::Outage(issuer) => symptom == Symptom::Keyless(issuer),
            Self::Reload | Self::Token => false,
        }
    }
}

/// A disturbance.
#[derive(Clone, Debug)]
pub struct Window {
    cause: Cause,
    note: String,
    begin: Instant,
    /// `None` as long as it goes on.
    end: Option<Instant>,
}

/// All of them, in the order in which they began.
#[derive(Clone, Debug)]
pub struct Windows {
    start: Instant,
    all: Vec<Window>,
}

/// One of [`Windows`].
#[derive(Clone, Copy, Debug)]
pub struct Opened(usize);

impl Windows {
    /// None, from `start` on, which is second 0.
    pub fn new(start: Instant) -> Self {
        Self { start, all: Vec::new() }
    }

    /// Begins one.
    pub fn open(&mut self, cause: Cause, note: impl Into<String>, now: Instant) -> Opened {
        self.all.push(Window { cause, note: note.into(), begin: now, end: None });
        Opened(self.all.len() - 1)
    }

    /// Ends one at `end`, which may lie ahead.
    pub fn close(&mut self, opened: Opened, end: Instant) {
        if let Some(window) = self.all.get_mut(opened.0) {
            window.end = Some(end);
        }
    }

    /// Whether something explains a symptom of a request that was under way then.
    pub fn explain(&self, symptom: Symptom, from: Instant, to: Instant) -> bool {
        self.overlapping(from, to).any(|window| window.cause.explains(symptom))
    }

    /// What went on then, in lines, with `around` before and after.
    pub fn around(&self, from: Instant, to: Instant, around: Duration) -> Vec<String> {
        let from = from.checked_sub(around).unwrap_or(from);
        self.overlapping(from, to + around).map(|window| self.line(window)).collect()
    }

    /// The line of one.
    pub fn told(&self, opened: Opened) -> String {
        self.all.get(opened.0).map(|window| self.line(window)).unwrap_or_default()
    }

    /// How many there were of a kind.
    pub fn count(&self, kind: impl Fn(Cause) -> bool) -> usize {
        self.all.iter().filter(|window| kind(window.cause)).count()
    }

    /// Seconds since the start.
    pub fn second(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.start).as_secs_f64()
    }

    fn overlapping(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Window> {
        self.all
            .iter()
            .filter(move |window| window.begin <= to && window.end.is_none_or(|end| end >= from))
    }

    fn line(&self, window: &Window) -> String {
        let end = window.end.map_or_else(String::new, |end| format!("{:.1}", self.second(end)));
        format!("{:.1}..{end} s {}: {}", self.second(window.begin), window.cause, window.note)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash => f.write_str("crash of a VM"),
            Self::Restart => f.write_str("restart of kube-apiserver"),
            Self::Rotation(issuer) => write!(f, "rotation at issuer {issuer}"),
            Self::Outage(issuer) => write!(f, "outage of issuer {issuer}"),
            Self::Membership(issuer) => write!(f, "membership of issuer {issuer}"),
            Self::Reload => f.write_str("reload"),
            Self::Token => f.write_str("ServiceAccount token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_explains_its_own_symptoms_while_it_lasts() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut windows = Windows::new(start);
        let crash = windows.open(Cause::Crash, "", at(10));
        windows.close(crash, at(15));
        windows.open(Cause::Rotation(1), "", at(20));
        windows.open(Cause::Outage(0), "", at(20));
        windows.open(Cause::Reload, "", at(0));
        for (symptom, from, to, want) in [
            (Symptom::Unavailable, 8, 9, false),
            (Symptom::Unavailable, 8, 10, true),
            (Symptom::Unavailable, 15, 16, true),
            (Symptom::Unavailable, 16, 60, false), // rotations and outages must cost nobody an answer
            (Symptom::Unauthorized(1), 19, 19, false),
            (Symptom::Unauthorized(1), 60, 61, true), // it is open
            (Symptom::Unauthorized(0), 60, 61, false),
            (Symptom::Keyless(0), 60, 61, true),
            (Symptom::Keyless(1), 60, 61, false),
        ] {
            assert_eq!(windows.explain(symptom, at(from), at(to)), want, "{symptom:?} {from}-{to}");
        }
        let around = windows.around(at(16), at(17), Duration::from_secs(1));
        assert_eq!(around, ["10.0..15.0 s crash of a VM: ", "0.0.. s reload: "]);
    }
}
