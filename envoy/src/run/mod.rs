//! `kube-oidc-gateway run`: Envoy as a child of this program, with files that follow every change of what they are made of.
//!
//! Three threads beside the main one do the work: one reads the inputs and makes changes live ([`watch`]), one looks whether
//! the gateway can do its work ([`readiness`]), one answers probes ([`health`]). The main thread starts Envoy, starts it anew
//! when it died, and ends it with care when the program is told to end ([`supervisor`]).

pub(crate) mod admin;
mod child;
pub mod connection;
mod health;
mod http;
mod issuer;
pub mod kubeconfig;
mod live;
pub mod memory;
pub mod metrics;
mod pair;
mod places;
pub mod rawlog;
mod readiness;
pub mod rights;
pub mod serving;
pub mod settings;
pub mod source;
mod subject;
pub(crate) mod supervisor;
mod token;
mod volume;
mod watch;

use std::{
    fmt::Display,
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use gateway_core::{
    config::GatewayConfiguration,
    portal_keys::{SHARED_VARIABLE, VARIABLE},
};

use self::{
    admin::Admin,
    health::Health,
    live::Live,
    metrics::{Metric, Metrics},
    rawlog::Sink,
    readiness::{Observer, Readiness},
    settings::Settings,
    supervisor::Supervisor,
    watch::Watch,
};
pub use self::{child::Ended, pair::PairError, rights::rights};
use crate::{
    envoy_version::{self, CVE, ENVOY, NoEnvoy, Vulnerable},
    modules::NoModule,
    portal::{KeyFileError, Keys},
    render::{RenderError, Rendered},
};

/// Why the gateway does not run, or runs no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder for the program's own files cannot be used.
    #[error("cannot use {path:?}: {source}; name a folder that can be written to with --run-dir")]
    RunDirectory {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that the gateway is made of is not right.
    #[error("{input}: {reason}")]
    Input {
        /// What it is.
        input: String,
        /// What is wrong, in one line.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Envoy is of a version that must not be started.
    #[error("{envoy:?}: {vulnerable}")]
    Vulnerable {
        /// The program.
        envoy: PathBuf,
        /// What it has, and the way out.
        vulnerable: Vulnerable,
    },
    /// Envoy cannot be started.
    #[error("cannot run {envoy:?}: {source}")]
    NoEnvoy {
        /// The program.
        envoy: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Envoy ended before it ever served.
    #[error("Envoy does not start: {0}")]
    Envoy(String),
    /// A module is missing that Envoy would load.
    #[error(transparent)]
    NoModule(#[from] NoModule),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    /// A file of `sharedSecret` is no secret.
    #[error("sharedSecret: {0}")]
    SharedSecret(#[from] KeyFileError),
    /// See [`RenderError`].
    #[error(transparent)]
    Render(#[from] RenderError),
    /// See [`WriteError`](crate::WriteError).
    #[error(transparent)]
    Write(#[from] crate::WriteError),
}

/// What the main thread is told.
#[derive(Debug)]
pub enum Event {
    /// A signal came.
    Signal(i32),
    /// Envoy ended.
    Ended(Ended),
}

/// Runs the gateway until it is told to end. `sinks` take Envoy's access log; what they count may be asked for in `metrics`.
pub fn run(
    settings: Settings,
    sinks: Vec<Box<dyn Sink>>,
    metrics: Metrics,
) -> Result<(), RunError> {
    let settings = Arc::new(settings);
    let metrics = Arc::new(metrics);
    metrics.set(Metric::BuildInfo, [env!("CARGO_PKG_VERSION"), ""], 1);
    let readiness = Arc::new(Readiness::default());
    let admin = Admin::new(&live::admin_socket(&settings));
    child::raise_open_files();
    check_envoy(&settings)?;
    check_modules(&settings)?;
    if !settings.share_port {
        free(settings.listen)?;
    }
    let (live, contents) = Live::start(Arc::clone(&settings), admin.clone(), Arc::clone(&metrics))?;
    let mut arguments = live.rendered()?.arguments(live.directory());
    arguments.extend([
        "--log-level".into(),
        settings.log_level.clone().into(),
        "--drain-time-s".into(),
        settings.drain.as_secs().max(1).to_string().into(),
    ]);
    let mut environment = secrets(live.gateway())?;
    environment.extend(settings.portal.iter().map(|portal| (VARIABLE, portal.keys.clone())));
    let health = Health {
        readiness: Arc::clone(&readiness),
        metrics: Arc::clone(&metrics),
        admin: admin.clone(),
    };
    health::serve(settings.probe, health)
        .map_err(|source| RunError::Listen { address: settings.probe, source })?;

    // Dropping the senders ends the threads.
    let (wake, woken) = mpsc::channel();
    let (stop, stopped) = mpsc::channel();
    let observer = Observer {
        readiness: Arc::clone(&readiness),
        admin: admin.clone(),
        view: live.view(),
        metrics: Arc::clone(&metrics),
        all_issuers: settings.all_issuers,
        require_rights: settings.require_rights,
    };
    let watch = Watch::new(live, subject::subjects(&settings), contents, Arc::clone(&metrics));
    thread::spawn(move || observer.run(&stopped));
    thread::spawn(move || watch.run(&woken));
    let supervisor = Supervisor {
        settings: &settings,
        arguments,
        environment,
        sinks: Arc::new(Mutex::new(sinks)),
        admin,
        metrics,
        readiness,
        wake,
    };
    let result = supervisor.run();
    drop(stop);
    result
}

/// The secrets of `sharedSecret`, for Envoy's environment: the variable with its value, if there are any.
///
/// # Errors
/// If a file of a secret cannot be read, or is none.
pub fn secrets(gateway: &GatewayConfiguration) -> Result<Vec<(&'static str, String)>, RunError> {
    if gateway.shared_secret.audience.is_empty() {
        return Ok(Vec::new());
    }
    let mut keys = Keys::new(gateway.shared_secret.insecure_short_secret);
    for file in &gateway.shared_secret.secret_files {
        keys.add_secret_file(Path::new(file))?;
    }
    Ok(vec![(SHARED_VARIABLE, keys.document()?.0)])
}

/// Envoy's files for these settings, as a start would write them, into the folder that the settings name.
///
/// # Errors
/// If something that they are made of is not right.
pub fn files(settings: Settings) -> Result<Rendered, RunError> {
    let admin = Admin::new(&live::admin_socket(&settings));
    let (live, _) = Live::start(Arc::new(settings), admin, Arc::default())?;
    live.rendered()
}

/// Makes sure that the module is there that comes with the filter. Envoy would say that it is missing, and not how it gets there.
fn check_modules(settings: &Settings) -> Result<(), RunError> {
    Ok(NoModule::check(&settings.filter, &settings.limits)?)
}

/// Makes sure that Envoy is of a version that may serve. One that does not say of which it is, is started with a warning.
fn check_envoy(settings: &Settings) -> Result<(), RunError> {
    let envoy = settings.envoy.clone();
    let version = match envoy_version::ask(&envoy) {
        Ok(Some(version)) => version,
        Ok(None) => {
            say(format_args!(
                "warning: {} does not say of which release it is; it must not have {CVE}: take {}",
                envoy.display(),
                ENVOY.safe()
            ));
            return Ok(());
        }
        Err(NoEnvoy { envoy, source }) => return Err(RunError::NoEnvoy { envoy, source }),
    };
    match ENVOY.check(version) {
        Err(vulnerable) if settings.allow_vulnerable_envoy => {
            say(format_args!("warning: --allow-vulnerable-envoy: {vulnerable}"));
            Ok(())
        }
        Err(vulnerable) => Err(RunError::Vulnerable { envoy, vulnerable }),
        Ok(()) => Ok(()),
    }
}

/// Makes sure that nobody else has the address. Envoy's own sockets would share it with another process of the same user.
fn free(address: SocketAddr) -> Result<(), RunError> {
    TcpListener::bind(address).map(drop).map_err(|source| RunError::Listen { address, source })
}

/// Tells the operator something, in one line on standard error.
pub(crate) fn say(what: impl Display) {
    eprintln!("kube-oidc-gateway: {what}");
}
