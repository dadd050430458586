//! How far a question is.

use std::{rc::Rc, time::Duration};

use super::answer::Progress;
use crate::{callout::Fault, groups::Question};

/// For how long a failure about one user counts.
pub(super) const FAILURE: Duration = Duration::from_secs(5);

/// A question under way, or one that came to nothing a moment ago.
pub(super) struct Pending {
    pub(super) source: usize,
    pub(super) question: Rc<Question>,
    pub(super) deadline: Duration,
    /// Until when the others leave it to this worker, if they do.
    pub(super) lease: Option<Duration>,
    pub(super) state: State,
}

pub(super) enum State {
    /// Another worker asks.
    Elsewhere,
    /// It waits for a turn.
    Queued(Progress),
    /// It was sent.
    Sent(Progress),
    /// It came to nothing, which counts until the deadline.
    Failed(Fault),
}
