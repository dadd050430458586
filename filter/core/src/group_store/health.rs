//! How a source does. One that fails is left alone for a while, by all workers: who is told learns it from whoever was.

use std::{collections::VecDeque, time::Duration};

use super::pace;
use crate::{
    callout::{CalloutResult, Cause, Fault},
    clock::is_ahead,
    keys::SharedStore,
};

/// How long a server is left alone that failed once, and at most.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// However long `Retry-After` is.
const LONGEST_WISH: Duration = Duration::from_mins(5);
/// So many of a server's last answers tell whether it fails, or its answers about some users do.
const MOST_RECENT: usize = 8;

/// What one worker knows of a source.
#[derive(Default)]
pub(super) struct Health {
    failures: u32,
    /// How it did of late, the newest last: whose question failed, by its subject, or without one by what was asked; none is an answer. Nobody
    /// is there twice.
    recent: VecDeque<Option<String>>,
    paused: Option<(Fault, Duration)>,
    /// When this worker may ask: as many turns as questions are queued, or more.
    turns: VecDeque<Duration>,
}

/// Whom a failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// The user alone.
    User,
    /// The user, or everybody: it is everybody if it happens to half of those asked about. Otherwise a few users whose questions the
    /// server cannot answer, or takes too long for, would keep all others out.
    Unclear,
    /// Everybody.
    Everybody,
}

/// Where the workers tell each other that a source is left alone.
pub(super) struct Notice<'a> {
    pub(super) key: &'a str,
    pub(super) shared: &'a dyn SharedStore,
}

impl Health {
    /// Whether it failed when it was last asked, or when it was asked about this user.
    pub(super) fn is_failing(&self, who: &str) -> bool {
        self.failures > 0 || self.recent.iter().flatten().any(|it| it == who)
    }

    /// Why it is left alone now, and until when.
    pub(super) fn paused(
        &mut self,
        notice: &Notice<'_>,
        now: Duration,
    ) -> Option<(Fault, Duration)> {
        let is_over = |(_, until): &(Fault, Duration)| !holds(*until, now);
        if self.paused.as_ref().is_none_or(is_over)
            && let Some(told) = notice.read().filter(|told| !is_over(told))
        {
            self.failures = self.failures.max(1);
            self.paused = Some(told);
        }
        self.paused.clone().filter(|paused| !is_over(paused))
    }

    /// Takes note of a failure about one user. A server that cannot answer anybody is left alone. `wish` is how long it wants to be.
    pub(super) fn failed(
        &mut self,
        who: &str,
        fault: &Fault,
        (extent, wish): (Extent, Option<Duration>),
        notice: &Notice<'_>,
        now: Duration,
    ) {
        let is_server_s = match extent {
            Extent::User => false,
            Extent::Unclear => {
                self.note(who, Some(who.to_owned()));
                self.recent.iter().flatten().count() >= MOST_RECENT / 2
            }
            Extent::Everybody => true,
        };
        if is_server_s {
            self.pause(fault, wish, notice, now);
        }
    }

    fn pause(&mut self, fault: &Fault, wish: Option<Duration>, notice: &Notice<'_>, now: Duration) {
        // Those that were under way together have failed once.
        let before = self.paused(notice, now);
        if before.is_none() {
            self.failures = self.failures.saturating_add(1).min(16);
        }
        let doublings = self.failures.saturating_sub(1);
        let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        let pause = wish.unwrap_or(doubled.min(LONGEST_PAUSE)).clamp(FIRST_PAUSE, LONGEST_WISH);
        let until = now.saturating_add(pause);
        if before.is_none_or(|(_, before)| before < until) {
            notice.write(fault, until);
            self.paused = Some((fault.clone(), until));
        }
    }

    /// It has answered about a user. What was asked before a pause changes nothing about that.
    pub(super) fn answered(&mut self, who: &str, notice: &Notice<'_>, now: Duration) {
        if self.failures > 0 {
            if self.paused(notice, now).is_some() {
                return;
            }
            // What was before an outage, or in it, says nothing of the time after.
            self.recent.clear();
            self.failures = 0;
            self.paused = None;
        }
        self.note(who, None);
    }

    /// Another worker's question about this user failed. It is not counted twice against the source.
    pub(super) fn learned(&mut self, who: &str) {
        self.note(who, Some(who.to_owned()));
    }

    fn note(&mut self, who: &str, what: Option<String>) {
        self.recent.retain(|it| it.as_deref() != Some(who));
        if self.recent.len() >= MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(what);
    }

    pub(super) fn add_turn(&mut self, turn: Duration) {
        self.turns.push_back(turn);
    }

    /// How many turns have come since the last time.
    pub(super) fn take_turns(&mut self, now: Duration) -> usize {
        let mut taken: usize = 0;
        while let Some(turn) = self.turns.front() {
            if *turn <= now {
                taken = taken.saturating_add(1);
            } else if *turn <= now.saturating_add(pace::LONGEST) {
                break;
            }
            // The others were taken before the clock was put back.
            self.turns.pop_front();
        }
        taken
    }

    pub(super) fn has_turn(&self, now: Duration) -> bool {
        self.turns.front().is_some_and(|turn| *turn <= now)
    }

    pub(super) fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    pub(super) fn drop_turns(&mut self) {
        self.turns.clear();
    }
}

/// Whether what was to be until then is still. Nothing is for longer than the longest wish, unless the clock was put back.
pub(super) fn holds(until: Duration, now: Duration) -> bool {
    until > now && !is_ahead(until, now.saturating_add(LONGEST_WISH))
}

/// For how long a server wants to be left alone.
pub(super) fn wish(result: &CalloutResult<'_>) -> Option<Duration> {
    let response = result.as_ref().ok()?;
    let (_, value) = response.headers.iter().find(|(name, _)| name == "retry-after")?;
    let seconds = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whom a failure is about. Whether a server takes a user's own token is about that user; when it is to be asked again is about all.
pub(super) fn extent(
    fault: &Fault,
    status: Option<u16>,
    is_wish: bool,
    is_own_token: bool,
) -> Extent {
    match fault.cause {
        Cause::HttpStatus => match status {
            Some(401 | 403 | 429) if is_own_token => Extent::User,
            Some(429) => Extent::Everybody,
            Some(500..=599) if is_wish => Extent::Everybody,
            Some(401 | 403 | 407 | 408 | 500..=599) => Extent::Unclear,
            _ => Extent::User,
        },
        Cause::Reset | Cause::Timeout | Cause::NotHttp => Extent::Unclear,
        Cause::Document
        | Cause::Url
        | Cause::TooLarge
        | Cause::ContentEncoding
        | Cause::Redirect => Extent::User,
        _ => Extent::Everybody,
    }
}

impl Notice<'_> {
    /// Until when in microseconds, the cause's number, and the whole story.
    fn read(&self) -> Option<(Fault, Duration)> {
        let (bytes, _) = self.shared.read(self.key)?;
        let (until, rest) = bytes.split_at_checked(size_of::<u64>())?;
        let (cause, detail) = rest.split_first()?;
        let until = Duration::from_micros(u64::from_be_bytes(until.try_into().ok()?));
        let cause = Cause::ALL.get(usize::from(*cause))?;
        Some((Fault::new(*cause, String::from_utf8_lossy(detail)), until))
    }

    fn write(&self, fault: &Fault, until: Duration) {
        let until = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        let cause = Cause::ALL.iter().position(|cause| *cause == fault.cause);
        let cause = cause.and_then(|it| u8::try_from(it).ok()).unwrap_or(u8::MAX);
        let bytes = [&until.to_be_bytes()[..], &[cause], fault.to_string().as_bytes()].concat();
        let _ = self.shared.write(self.key, &bytes, None);
    }
}

#[cfg(test)]
mod tests {
    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::Memory;

    const NOW: Duration = Duration::from_secs(1_000);

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const ALL: (Extent, Option<Duration>) = (Extent::Everybody, None);

    #[test]
    fn a_source_that_fails_again_is_left_alone_for_longer() {
        let memory = Memory::default();
        let notice = Notice { key: "k", shared: &memory };
        let fault = Fault::new(Cause::HttpStatus, "HTTP 500");
        let (mut health, mut now) = (Health::default(), NOW);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            health.failed("jane", &fault, ALL, &notice, now);
            // Those that were under way together.
            health.failed("bob", &fault, ALL, &notice, now + Duration::from_millis(1));
            let (_, until) = health.paused(&notice, now).unwrap();
            pauses.push((until - now).as_secs());
            now = until + second(1);
            assert_eq!(health.paused(&notice, now), None);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        health.answered("jane", &notice, now);
        assert!(!health.is_failing("jane"));
        health.failed("jane", &fault, ALL, &notice, now);
        assert_eq!(health.paused(&notice, now).unwrap().1, now + second(1));
    }

    /// `Retry-After` held for the one worker that was told.
    #[test]
    fn what_one_worker_is_told_holds_for_all() {
        let memory = Memory::default();
        let notice = Notice { key: "k", shared: &memory };
        let (mut told, mut other) = (Health::default(), Health::default());
        let fault = Fault::new(Cause::HttpStatus, "HTTP 429");
        let wish = |seconds| (Extent::Everybody, Some(second(seconds)));
        told.failed("jane", &fault, wish(17), &notice, NOW);
        assert_eq!(other.paused(&notice, NOW), Some((fault.clone(), NOW + second(17))));
        assert!(other.is_failing("bob"));
        // An answer to what was asked before does not end it, nor does a shorter wish.
        other.answered("bob", &notice, NOW + second(1));
        other.failed("carol", &fault, wish(1), &notice, NOW + second(2));
        assert_eq!(other.paused(&notice, NOW + second(16)), Some((fault, NOW + second(17))));
        assert_eq!(other.paused(&notice, NOW + second(17)), None);
    }

    /// A worker whose users fail tells the others only once it is sure that it is the server.
    #[test]
    fn what_may_be_a_user_s_affair_is_no_other_worker_s() {
        let memory = Memory::default();
        let notice = Notice { key: "k", shared: &memory };
        let (mut first, mut other) = (Health::default(), Health::default());
        let fault = Fault::new(Cause::HttpStatus, "HTTP 403");
        for user in ["a", "b", "c", "a", "b", "c"] {
            first.failed(user, &fault, (Extent::Unclear, None), &notice, NOW);
            first.failed("x", &fault, (Extent::User, Some(second(60))), &notice, NOW);
        }
        assert_eq!(first.paused(&notice, NOW), None);
        assert_eq!(other.paused(&notice, NOW), None);
        assert!(first.is_failing("a") && !first.is_failing("d"), "it is about those alone");
        first.answered("a", &notice, NOW);
        assert!(!first.is_failing("a"));
        for user in ["a", "d"] {
            first.failed(user, &fault, (Extent::Unclear, None), &notice, NOW);
        }
        assert!(other.paused(&notice, NOW).is_some() && other.is_failing("d"));
    }

    /// A source would have been left alone, by every worker, for as long as the clock was put back; and its turns would never have come.
    #[test]
    fn a_clock_that_was_put_back_ends_pauses_and_turns() {
        let memory = Memory::default();
        let notice = Notice { key: "k", shared: &memory };
        let (mut told, mut other) = (Health::default(), Health::default());
        let fault = Fault::new(Cause::HttpStatus, "HTTP 429");
        let wish = (Extent::Everybody, Some(second(300)));
        told.failed("jane", &fault, wish, &notice, NOW);
        for health in [&mut told, &mut other] {
            assert!(health.paused(&notice, NOW).is_some());
            assert!(health.paused(&notice, NOW - second(5)).is_some(), "a little");
            assert_eq!(health.paused(&notice, NOW - second(600)), None);
        }
        told.add_turn(NOW);
        let now = NOW - second(600);
        told.add_turn(now + second(1));
        assert_eq!((told.take_turns(now), told.take_turns(now + second(1))), (0, 1));
    }
}
