//! How a source does. One that fails is left alone for a while, by all workers: who is told learns it from whoever was.

use std::{collections::VecDeque, time::Duration};

use crate::{
    callout::{Cause, Fault},
    keys::SharedStore,
};

/// How long a server is left alone that failed once, and at most.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// However long `Retry-After` is.
const LONGEST_WISH: Duration = Duration::from_mins(5);

/// What one worker knows of a source.
#[derive(Default)]
pub(super) struct Health {
    failures: u32,
    paused: Option<(Fault, Duration)>,
    /// When this worker may ask: as many turns as questions are queued, or more.
    turns: VecDeque<Duration>,
}

/// Where the workers tell each other that a source is left alone.
pub(super) struct Notice<'a> {
    pub(super) key: &'a str,
    pub(super) shared: &'a dyn SharedStore,
}

impl Health {
    /// Whether it failed when it was last asked.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Why it is left alone now, and until when.
    pub(super) fn paused(
        &mut self,
        notice: &Notice<'_>,
        now: Duration,
    ) -> Option<(Fault, Duration)> {
        let is_over = |(_, until): &(Fault, Duration)| *until <= now;
        if self.paused.as_ref().is_none_or(is_over)
            && let Some(told) = notice.read().filter(|told| !is_over(told))
        {
            self.failures = self.failures.max(1);
            self.paused = Some(told);
        }
        self.paused.clone().filter(|paused| !is_over(paused))
    }

    /// Leaves it alone. `wish` is how long it wants to be.
    pub(super) fn pause(
        &mut self,
        fault: &Fault,
        wish: Option<Duration>,
        notice: &Notice<'_>,
        now: Duration,
    ) {
        // Those that were under way together have failed once.
        let before = self.paused(notice, now);
        if before.is_none() {
            self.failures = self.failures.saturating_add(1).min(16);
        }
        let doublings = self.failures.saturating_sub(1);
        let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        let pause = wish.unwrap_or(doubled.min(LONGEST_PAUSE)).min(LONGEST_WISH);
        let until = now.saturating_add(pause);
        if before.is_none_or(|(_, before)| before < until) {
            notice.write(fault, until);
            self.paused = Some((fault.clone(), until));
        }
    }

    /// It has answered. What was asked before it wanted to be left alone changes nothing about that.
    pub(super) fn answered(&mut self, notice: &Notice<'_>, now: Duration) {
        if self.failures > 0 && self.paused(notice, now).is_none() {
            self.failures = 0;
            self.paused = None;
        }
    }

    pub(super) fn add_turn(&mut self, turn: Duration) {
        self.turns.push_back(turn);
    }

    /// How many turns have come since the last time.
    pub(super) fn take_turns(&mut self, now: Duration) -> usize {
        let mut taken: usize = 0;
        while self.turns.front().is_some_and(|turn| *turn <= now) {
            self.turns.pop_front();
            taken = taken.saturating_add(1);
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

    #[test]
    fn a_source_that_fails_again_is_left_alone_for_longer() {
        let memory = Memory::default();
        let notice = Notice { key: "k", shared: &memory };
        let fault = Fault::new(Cause::HttpStatus, "HTTP 500");
        let (mut health, mut now) = (Health::default(), NOW);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            health.pause(&fault, None, &notice, now);
            // Those that were under way together.
            health.pause(&fault, None, &notice, now + Duration::from_millis(1));
            let (_, until) = health.paused(&notice, now).unwrap();
            pauses.push((until - now).as_secs());
            now = until + second(1);
            assert_eq!(health.paused(&notice, now), None);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        health.answered(&notice, now);
        assert!(!health.is_failing());
        health.pause(&fault, None, &notice, now);
        assert_eq!(health.paused(&notice, now).unwrap().1, now + second(1));
    }

    /// `Retry-After` held for the one worker that was told.
    #[test]
    fn what_one_worker_is_told_holds_for_all() {
        let memory = Memory::default();
        let notice = Notice { key: "k", shared: &memory };
        let (mut told, mut other) = (Health::default(), Health::default());
        let fault = Fault::new(Cause::HttpStatus, "HTTP 429");
        told.pause(&fault, Some(second(17)), &notice, NOW);
        assert_eq!(other.paused(&notice, NOW), Some((fault.clone(), NOW + second(17))));
        assert!(other.is_failing());
        // An answer to what was asked before does not end it, nor does a shorter wish.
        other.answered(&notice, NOW + second(1));
        other.pause(&fault, Some(second(1)), &notice, NOW + second(2));
        assert_eq!(other.paused(&notice, NOW + second(16)), Some((fault, NOW + second(17))));
        assert_eq!(other.paused(&notice, NOW + second(17)), None);
    }
}
