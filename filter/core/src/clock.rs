//! What a clock that was set back would make young for ever.

use std::time::Duration;

/// By how much workers may see the time differently.
const AHEAD: Duration = Duration::from_secs(10);

/// Whether nobody knows the age of what was noted at `at`, for the clock has been set back since.
#[must_use]
pub fn is_ahead(at: Duration, now: Duration) -> bool {
    at > now.saturating_add(AHEAD)
}

/// Whether it was noted less than `most` ago.
#[must_use]
pub fn is_younger(at: Duration, most: Duration, now: Duration) -> bool {
    !is_ahead(at, now) && now.saturating_sub(at) < most
}
