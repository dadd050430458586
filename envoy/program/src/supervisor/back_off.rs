//! How long to wait before Envoy is started anew.

use std::time::Duration;

/// Twice as long each time, until one has lived for a while.
pub(super) struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl BackOff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);
    /// After that much time an Envoy is no longer one that has just been started.
    pub const SETTLED: Duration = Duration::from_secs(60);

    /// The wait after an Envoy that lived so long.
    pub fn next(&mut self, lived: Duration) -> Duration {
        if lived >= Self::SETTLED {
            *self = Self::default();
        }
        let wait = self.0;
        self.0 = (wait * 2).min(Self::LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_until_one_has_lived() {
        let mut back_off = BackOff::default();
        let mut next = |lived| back_off.next(Duration::from_secs(lived)).as_millis();
        assert_eq!([next(0), next(1), next(59)], [100, 200, 400]);
        assert_eq!((0..10).map(|_| next(0)).last(), Some(10_000));
        assert_eq!(next(60), 100);
    }
}
