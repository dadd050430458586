//! The life of the portal's Envoy: started with the keys in its environment, ended without cutting an answer off.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use gateway_core::portal::keys::VARIABLE;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use ureq::{Agent, config::Config, unversioned::resolver::DefaultResolver};

use crate::unix::UnixConnector;

const POLL: Duration = Duration::from_millis(50);
/// How long Envoy may take to end once nothing holds it.
const END: Duration = Duration::from_secs(5);

/// Why the portal does not run, or runs no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Envoy cannot be started.
    #[error("cannot run {envoy:?}: {source}")]
    NoEnvoy {
        /// The program.
        envoy: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Envoy ended by itself.
    #[error("Envoy ended: {0}")]
    Ended(ExitStatus),
    /// The system does not tell of signals or children.
    #[error("cannot wait for Envoy: {0}")]
    Wait(#[from] io::Error),
}

/// Runs Envoy until a signal says to end; then waits at most `grace` for open connections.
///
/// Envoy's environment holds the keys and nothing else, and is readable by this user alone.
pub fn run(
    envoy: &Path,
    arguments: &[OsString],
    keys: &str,
    admin_socket: &Path,
    grace: Duration,
) -> Result<(), RunError> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let mut child = Command::new(envoy)
        .args(arguments)
        .env_clear()
        .env(VARIABLE, keys)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|source| RunError::NoEnvoy { envoy: envoy.to_owned(), source })?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Err(RunError::Ended(status));
        }
        if signals.pending().next().is_some() {
            break;
        }
        thread::sleep(POLL);
    }
    let admin = Admin::new(admin_socket);
    for path in ["/healthcheck/fail", "/drain_listeners?graceful&skip_exit"] {
        admin.post(path);
    }
    let until = Instant::now() + grace;
    // A second signal makes it short.
    while Instant::now() < until
        && admin.connections().is_some_and(|open| open > 0)
        && signals.pending().next().is_none()
    {
        thread::sleep(POLL);
    }
    end(&mut child)
}

fn end(child: &mut Child) -> Result<(), RunError> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // The only error is that it has ended.
        let _ = kill_process(pid, Signal::TERM);
    }
    let until = Instant::now() + END;
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            child.kill()?;
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Envoy's administration.
struct Admin {
    agent: Agent,
}

impl Admin {
    fn new(socket: &Path) -> Self {
        let config = Config::builder().proxy(None).timeout_global(Some(END)).build();
        let connector = UnixConnector { socket: socket.to_owned() };
        Self { agent: Agent::with_parts(config, connector, DefaultResolver::default()) }
    }

    fn post(&self, path: &str) {
        // Without an answer there is nothing to drain.
        let _ = self.agent.post(format!("http://envoy{path}")).send_empty();
    }

    /// Connections of clients that are open.
    fn connections(&self) -> Option<u64> {
        let url = "http://envoy/stats?filter=http.portal.downstream_cx_active";
        let text = self.agent.get(url).call().ok()?.body_mut().read_to_string().ok()?;
        text.trim().rsplit_once(": ")?.1.parse().ok()
    }
}
