//! The life of the portal's Envoy: started with the keys in its environment, exchanged for another when they change.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use tracing::info;

use crate::supervisor::{self, Patience, Purpose, Start, SupervisorError};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Runs Envoy until a signal says to end; then waits at most `grace` for open connections.
///
/// `renewed` is asked every second for an Envoy to take the running one's place.
///
/// # Errors
/// If Envoy cannot be started, or ends before it has ever served.
pub fn run(
    start: &Start,
    renewed: impl FnMut() -> Option<Start>,
    grace: Duration,
) -> Result<(), SupervisorError> {
    let mut portal = Portal { first: start.admin.clone(), renewed, asked: Instant::now() };
    supervisor::run(start, &mut portal, Patience { delay: Duration::ZERO, drain: grace })
}

struct Portal<R> {
    /// The socket of the first Envoy, in the folder that is not the portal's to remove.
    first: PathBuf,
    renewed: R,
    asked: Instant,
}

impl<R: FnMut() -> Option<Start>> Purpose for Portal<R> {
    fn has_served(&mut self, ready: &dyn Fn() -> bool) -> bool {
        let serves = ready();
        if serves {
            info!("the portal serves");
        }
        serves
    }

    fn look(&mut self) {
        self.asked = Instant::now().checked_sub(LOOK).unwrap_or(self.asked);
    }

    fn renewed(&mut self) -> Option<Start> {
        if self.asked.elapsed() < LOOK {
            return None;
        }
        self.asked = Instant::now();
        (self.renewed)()
    }

    fn gone(&mut self, start: &Start) {
        if start.admin != self.first
            && let Some(folder) = start.admin.parent()
        {
            // What stays is in the way of nobody: the next folder has another number.
            let _ = fs::remove_dir_all(folder);
        }
    }
}
