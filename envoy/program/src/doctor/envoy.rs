//! The Envoy to ask by: the one of a gateway that runs here, or one that is started for the time being with the files that a
//! gateway of these settings would have.

use std::{
    fs::Permissions,
    io::Read,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gateway_client::{PairSource, Source};
use gateway_config::proxy_socket;
use gateway_control::{Admin, Probe};
use rustix::process::Pid;
use tempfile::TempDir;

use super::{finding::Findings, leftovers::Leftovers};
use crate::run::{
    certificate, files,
    forwarder::{self, Forwarder},
    live, secrets,
    settings::Settings,
};

/// It compiles the filter, which takes some seconds of one core.
const START: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// An Envoy that answers.
pub(super) struct Envoy {
    /// To ask by.
    pub probe: Probe,
    /// The folder that its program writes to.
    pub run_directory: PathBuf,
    /// What is to end with this value.
    _started: Option<Started>,
}

struct Started {
    child: Child,
    leftovers: Leftovers,
    // Its files; after it.
    folder: TempDir,
}

impl Drop for Started {
    fn drop(&mut self) {
        let child = &mut self.child;
        self.leftovers.waited(|| {
            // It holds nothing that a gentler signal would save.
            let _ = child.kill();
            child.wait().ok()
        });
    }
}

/// The Envoy of a gateway that runs here.
pub(super) fn running(run_directory: &Path) -> Option<Envoy> {
    let admin = run_directory.join(live::ADMIN);
    Admin::new(&admin).numbers().ok()?;
    Some(Envoy {
        probe: Probe::new(&admin),
        run_directory: run_directory.to_owned(),
        _started: None,
    })
}

/// Starts one, and says what it and the filter make of the configuration.
pub(super) fn start(findings: &mut Findings, settings: &Settings) -> Option<Envoy> {
    match try_start(settings) {
        Ok((envoy, taken)) => {
            if taken {
                findings.ok("filter", "Envoy and the filter take this configuration");
            } else {
                findings.fail(
                    "filter",
                    "the filter refuses this configuration",
                    "kube-oidc-gateway check names what is wrong; are program and filter.wasm of one release?",
                );
            }
            Some(envoy)
        }
        Err(reason) => {
            findings.fail(
                "filter",
                format!("no Envoy could be started to ask by: {reason}"),
                "the checks below are made by this program itself; correct this first",
            );
            None
        }
    }
}

fn try_start(settings: &Settings) -> Result<(Envoy, bool), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    // A container has no other folder to write to than the gateway's.
    let builder = || {
        let mut builder = tempfile::Builder::new();
        // The gateway's credential gets into it.
        builder.prefix("doctor-").permissions(Permissions::from_mode(0o700));
        builder
    };
    let folder = builder().tempdir().or_else(|_| builder().tempdir_in(&settings.run_directory));
    let folder = folder.map_err(|error| words(&error))?;
    let leftovers = Leftovers::of(folder.path()).map_err(|error| words(&error))?;
    let mut planned = settings.clone();
    folder.path().clone_into(&mut planned.run_directory);
    // Nobody is to come: an address of this machine alone, and a certificate of the moment.
    planned.options.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    planned.options.concurrency = Some(1);
    let pair = certificate::self_signed(Ipv4Addr::LOCALHOST.into(), None);
    let pair = pair.map_err(|error| words(&error))?;
    planned.serving =
        PairSource { chain: Source::Inline(pair.chain), key: Source::Inline(pair.key) };
    planned.named = Vec::new();
    planned.portal = None;
    let socket = live::admin_socket(&planned);
    let admin = Admin::new(&socket);
    let program = planned.envoy.clone();
    if let Some(server) = planned.proxies.server().ok().flatten().filter(|it| !it.is_plain()) {
        let forwarder = Forwarder { server: server.clone(), system_ca: planned.system_ca.clone() };
        forwarder::serve(&proxy_socket(&socket), forwarder).map_err(|error| words(&error))?;
    }
    let environment =
        secrets(planned.read_documents()?.gateway()).map_err(|error| words(&error))?;
    let directory = live::directory(&planned);
    let rendered = files(planned).map_err(|error| words(&error))?;
    let mut command = Command::new(&program);
    command
        .args(rendered.arguments(&directory))
        .args(["--log-level", "warning"])
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = leftovers.child(|| {
        let child = command.spawn();
        let child = child.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        Ok((Pid::from_child(&child), child))
    })?;
    let mut started = Started { child, leftovers, folder };
    let log = started.child.stderr.take();
    let log = thread::spawn(move || log.map(last_complaint).unwrap_or_default());
    let limit = Instant::now() + START;
    loop {
        let (child, leftovers) = (&mut started.child, &started.leftovers);
        let ended = leftovers.waited(|| child.try_wait().ok().flatten());
        if let Some(status) = ended {
            let complaint = log.join().unwrap_or_default();
            return Err(format!("it ended ({status}): {complaint}"));
        }
        if let (Ok(()), Ok(numbers)) = (admin.ready(), admin.numbers())
            && (numbers.taken > 0 || numbers.refused > 0)
        {
            let probe = Probe::new(&socket);
            let run_directory = started.folder.path().to_owned();
            let envoy = Envoy { probe, run_directory, _started: Some(started) };
            return Ok((envoy, numbers.taken > 0));
        }
        if Instant::now() > limit {
            return Err(format!("it does not serve within {} s", START.as_secs()));
        }
        thread::sleep(LOOK);
    }
}

/// Why it ended, of all that it said.
fn last_complaint(mut log: impl Read) -> String {
    let mut text = Vec::new();
    let _ = log.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let is_complaint = |line: &&str| line.contains("[critical]") || line.contains("[error]");
    let mut complaints = text.lines().filter(|line| !line.contains("[backtrace]"));
    complaints.rfind(is_complaint).unwrap_or_default().trim().to_owned()
}
