//! `kube-oidc-gateway run`: Envoy as a child of this program, with files that follow every change of what they are made of.
//!
//! Four threads beside the main one do the work: one reads the inputs and makes changes live ([`watch`]), one looks whether
//! the gateway can do its work ([`readiness`]), one answers probes ([`health`]), one renews tokens for servers that Envoy asks
//! ([`tokens`]). The main thread runs Envoy ([`supervisor`](crate::supervisor)).

mod access;
pub(crate) mod apiserver;
pub(crate) mod certificate;
mod error;
pub(crate) mod forwarder;
mod grants;
mod health;
mod issuer;
pub(crate) mod live;
mod logout;
pub mod memory;
pub mod metrics;
mod places;
mod purpose;
pub(crate) mod readiness;
pub mod serving;
mod sessions;
pub mod settings;
mod subject;
pub(crate) mod token;
mod tokens;
mod version;
mod view;
mod volume;
mod watch;

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use gateway_audit::rawlog::Sink;
use gateway_config::{Rendered, access_socket, logout_socket, proxy_socket};
use gateway_control::{Admin, Probe};
use gateway_core::{
    config::GatewayConfiguration,
    portal_keys::{SHARED_VARIABLE, VARIABLE},
};

pub use self::error::RunError;
use self::{
    forwarder::Forwarder,
    health::Health,
    live::Live,
    metrics::{Metric, Metrics},
    purpose::Gateway,
    readiness::{Observer, Readiness},
    sessions::Sessions,
    settings::Settings,
    watch::Watch,
};
use crate::{
    access::Place,
    portal::Keys,
    process::raise_open_files,
    supervisor::{self, Patience, Start},
};

/// The flags of `run` whose effect a whole gateway shows alone: the tests of the program from end to end say which test does.
pub const END_TO_END: [&str; 16] = [
    "--allow-vulnerable-envoy",
    "--audit-log-path",
    "--audit-policy-file",
    "--audit-webhook-config-file",
    "--authentication-config",
    "--gateway-config",
    "--kubeconfig",
    "--oidc-ca-file",
    "--oidc-tls-client-cert-file",
    "--oidc-tls-client-key-file",
    "--portal-config",
    "--request-log",
    "--service-account-dir",
    "--tls-cert-file",
    "--tls-private-key-file",
    "--tls-sni-cert-key",
];

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
    raise_open_files();
    version::check(&settings)?;
    check_modules(&settings)?;
    if !settings.share_port {
        free(settings.options.listen)?;
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
    environment.extend(Rendered::environment().map(|(name, value)| (name, value.to_owned())));
    let health = Health {
        readiness: Arc::clone(&readiness),
        metrics: Arc::clone(&metrics),
        admin: admin.clone(),
    };
    health::serve(settings.probe, health)
        .map_err(|source| RunError::Listen { address: settings.probe, source })?;

    if let Some(server) = settings.proxies.server().ok().flatten().filter(|it| !it.is_plain()) {
        let socket = proxy_socket(&live::admin_socket(&settings));
        let forwarder = Forwarder { server: server.clone(), system_ca: settings.system_ca.clone() };
        forwarder::serve(&socket, forwarder)
            .map_err(|source| RunError::RunDirectory { path: socket, source })?;
    }

    let access = follow_access(&settings, &live, &metrics)?;
    // Dropping the senders ends the threads.
    let (wake, woken) = mpsc::channel();
    let (stop, stopped) = mpsc::channel();
    let observer = Observer {
        readiness: Arc::clone(&readiness),
        admin: admin.clone(),
        probe: Probe::new(&live::admin_socket(&settings)),
        view: live.view(),
        metrics: Arc::clone(&metrics),
        all_issuers: settings.all_issuers,
        require_rights: settings.require_rights,
        access,
    };
    let keeper = tokens::Keeper {
        view: live.view(),
        metrics: Arc::clone(&metrics),
        readiness: Arc::clone(&readiness),
    };
    let (enough, ended) = mpsc::channel();
    let watch = Watch::new(live, subject::subjects(&settings), contents, Arc::clone(&metrics));
    thread::spawn(move || observer.run(&stopped));
    thread::spawn(move || watch.run(&woken));
    thread::spawn(move || keeper.run(&ended));
    let start = Start {
        program: settings.envoy.clone(),
        arguments,
        environment,
        admin: live::admin_socket(&settings),
    };
    let patience = Patience { delay: settings.shutdown_delay, drain: settings.drain };
    let sinks = Arc::new(Mutex::new(sinks));
    let mut gateway = Gateway { settings, sinks, metrics, readiness, is_checked: true, wake };
    let result = supervisor::run(&start, &mut gateway, patience);
    drop((stop, enough));
    Ok(result?)
}

/// Begins to follow the documents that say whose access has ended, if there are any, and to serve them to the filter.
fn follow_access(
    settings: &Settings,
    live: &Live,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<access::Holder>>, RunError> {
    let places = [
        (access::Kind::Revocations, &settings.revocations),
        (access::Kind::Grants, &settings.grants),
    ];
    let kinds: Vec<_> =
        places.iter().filter(|(_, place)| place.is_some()).map(|(kind, _)| *kind).collect();
    if kinds.is_empty() {
        return Ok(None);
    }
    let holder = access::Holder::new(&kinds, Arc::clone(metrics));
    let office = settings.grants.as_ref().map(|place| {
        let (holder, view) = (Arc::clone(&holder), live.view());
        grants::Office::open(place, settings.elevation_webhook.as_ref(), holder, view)
            .map_err(|reason| RunError::Input { input: "the grants".to_owned(), reason })
    });
    let grants = office.transpose()?;
    let sessions = settings.revocations.as_ref().map(|place| Sessions {
        place: place.clone(),
        connection: settings.apiserver.clone(),
        holder: Arc::clone(&holder),
        view: live.view(),
        known: Mutex::default(),
    });
    let nobody = || (404, serde_json::Value::Null);
    let office: access::Office = Arc::new(move |path: &str, body: &[u8]| {
        if path.starts_with(access::SESSIONS) {
            return sessions.as_ref().map_or_else(nobody, |sessions| sessions.answer(path, body));
        }
        grants.as_ref().map_or_else(nobody, |grants| grants.answer(path, body))
    });
    for (kind, place) in places {
        if let Some(place) = place {
            access::follow(kind, place.clone(), Arc::clone(&holder), live.view());
        }
    }
    let socket = access_socket(&live::admin_socket(settings));
    access::serve(&socket, Arc::clone(&holder), office)
        .map_err(|source| RunError::RunDirectory { path: socket, source })?;
    if let Some(place) = &settings.revocations {
        take_logouts(settings, place, live, metrics)?;
    }
    Ok(Some(holder))
}

/// Begins to take logout tokens, each of which becomes an entry of the document at this place.
fn take_logouts(
    settings: &Settings,
    place: &Place,
    live: &Live,
    metrics: &Arc<Metrics>,
) -> Result<(), RunError> {
    // Whether a route leads there the documents say, which may change.
    let socket = logout_socket(&live::admin_socket(settings));
    let probe = Probe::new(&live::admin_socket(settings));
    let issuers = logout::Issuers::new(live.view(), probe);
    let (connection, metrics) = (settings.apiserver.clone(), Arc::clone(metrics));
    let portal = settings.portal.as_ref().map(|portal| portal.part.settings.outliving());
    let (place, outliving) = (place.clone(), portal.unwrap_or_default());
    let listener = logout::Listener::new(issuers, place, connection, metrics, outliving);
    logout::serve(&socket, listener)
        .map_err(|source| RunError::RunDirectory { path: socket, source })
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

/// Makes sure that the modules are there, and such as this Envoy loads. Envoy would say what is wrong, and not what helps.
fn check_modules(settings: &Settings) -> Result<(), RunError> {
    Ok(gateway_control::check_modules(&settings.options, Some(&settings.envoy))?)
}

/// Makes sure that nobody else has the address. Envoy's own sockets would share it with another process of the same user.
fn free(address: SocketAddr) -> Result<(), RunError> {
    TcpListener::bind(address).map(drop).map_err(|source| RunError::Listen { address, source })
}
