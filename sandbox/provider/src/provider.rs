//! A running provider: started on a thread of its own, stopped when it is dropped.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use tokio::{
    runtime,
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    admin,
    browser::Browser,
    config::{Config, ConfigError, IssuerConfig},
    issuer::Issuer,
    keys::RsaKeys,
    server::{Command, Issuers, Server},
    state::IssuerShared,
    tls::{Tls, TlsError},
};

/// An OpenID provider that serves until it is dropped.
///
/// Its methods block for no longer than the server needs to take notice, and may be called from any thread, inside an
/// asynchronous runtime or not.
pub struct Provider {
    control: Control,
    admin: Option<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

/// Why a provider did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No certificate to serve with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the server's threads: {0}")]
    Threads(io::Error),
}

/// The server did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The port could not be given up or taken again.
    #[error("cannot change the listening port: {0}")]
    Port(#[from] io::Error),
    /// It has ended, after an earlier error with its port.
    #[error("the provider has ended")]
    Ended,
}

/// What the provider's handle and the administrative API share.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) address: SocketAddr,
    pub(crate) base_url: String,
    pub(crate) ca: Arc<str>,
    pub(crate) issuers: Arc<Issuers>,
    rsa: Arc<RsaKeys>,
    commands: UnboundedSender<Command>,
}

impl Provider {
    /// Starts a provider; it answers when this returns.
    ///
    /// # Errors
    /// If the configuration makes no sense, the port is taken, or the TLS files cannot be used.
    pub fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let tls = match &config.tls {
            Some(files) => Tls::read(files)?,
            None => Tls::generate(&config.host)?,
        };
        let (listener, address) = listen(config.listen)?;
        let (commands, received) = unbounded_channel();
        let control = Control {
            address,
            base_url: base_url(&config.host, address.port()),
            ca: tls.ca.into(),
            issuers: Arc::default(),
            rsa: Arc::default(),
            commands,
        };
        for issuer in config.issuers {
            control.add_issuer(issuer)?;
        }
        let admin = config.admin.map(listen).transpose()?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("oidc-provider")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let server = Server {
            address,
            tls: TlsAcceptor::from(tls.config),
            issuers: Arc::clone(&control.issuers),
        };
        let listener = into_runtime(&runtime, listener, address)?;
        let admin = match admin {
            Some((listener, address)) => {
                let listener = into_runtime(&runtime, listener, address)?;
                runtime.spawn(admin::serve(listener, control.clone()));
                Some(address)
            }
            None => None,
        };
        let thread = std::thread::Builder::new()
            .name("oidc-provider".to_owned())
            .spawn(move || {
                runtime.block_on(server.run(listener, received));
                // Hanging answers and half-read bodies are dropped, not waited for.
                runtime.shutdown_background();
            })
            .map_err(StartError::Threads)?;
        Ok(Self { control, admin, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.control.address
    }

    /// Where the administrative API is served, if it is.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// A browser that trusts this provider.
    ///
    /// # Panics
    /// If the configuration's certificate authority cannot be used by clients.
    #[must_use]
    pub fn browser(&self) -> Browser {
        Browser::new(self.ca_pem()).expect("clients can use the certificate authority")
    }

    /// The certificate authority that clients have to trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.control.ca
    }

    /// The first issuer.
    ///
    /// # Panics
    /// If the configuration had none.
    #[must_use]
    pub fn issuer(&self) -> Issuer {
        self.issuers().into_iter().next().expect("a provider was started without an issuer")
    }

    /// The issuer of this name, if there is one.
    #[must_use]
    pub fn issuer_named(&self, name: &str) -> Option<Issuer> {
        self.control.issuer(name)
    }

    /// All issuers, in the order they were added.
    #[must_use]
    pub fn issuers(&self) -> Vec<Issuer> {
        self.control.issuers.all().into_iter().map(|shared| Issuer { shared }).collect()
    }

    /// One issuer more, at once.
    ///
    /// # Errors
    /// If it makes no sense, or its name or path is taken.
    pub fn add_issuer(&self, issuer: IssuerConfig) -> Result<Issuer, ConfigError> {
        self.control.add_issuer(issuer)
    }

    /// Refuses connections from now on, and cuts those that are open. The port is kept: the system gives
    /// it to nobody who asks for a free one.
    pub fn go_down(&self) -> Result<(), ControlError> {
        self.control.go_down()
    }

    /// Accepts connections on the same port again.
    pub fn come_up(&self) -> Result<(), ControlError> {
        self.control.come_up()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.control.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Control {
    pub(crate) fn issuer(&self, name: &str) -> Option<Issuer> {
        let found = self.issuers.all().into_iter().find(|issuer| issuer.name() == name);
        found.map(|shared| Issuer { shared })
    }

    pub(crate) fn go_down(&self) -> Result<(), ControlError> {
        self.command(Command::Down)
    }

    pub(crate) fn come_up(&self) -> Result<(), ControlError> {
        self.command(Command::Up)
    }

    pub(crate) fn add_issuer(&self, config: IssuerConfig) -> Result<Issuer, ConfigError> {
        let known = self.issuers.all().into_iter().map(|known| known.lock().config.clone());
        let issuers = known.chain([config.clone()]).collect();
        Config { issuers, ..Config::default() }.check()?;
        let shared = Arc::new(IssuerShared::new(config, &self.base_url, Arc::clone(&self.rsa)));
        self.issuers.add(Arc::clone(&shared));
        Ok(Issuer { shared })
    }

    fn command(
        &self,
        command: impl FnOnce(mpsc::SyncSender<io::Result<()>>) -> Command,
    ) -> Result<(), ControlError> {
        let (done, wait) = mpsc::sync_channel(1);
        self.commands.send(command(done)).map_err(|_| ControlError::Ended)?;
        Ok(wait.recv().map_err(|_| ControlError::Ended)??)
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| StartError::Listen { address, source })
}

fn into_runtime(
    runtime: &runtime::Runtime,
    listener: TcpListener,
    address: SocketAddr,
) -> Result<tokio::net::TcpListener, StartError> {
    let _context = runtime.enter();
    tokio::net::TcpListener::from_std(listener)
        .map_err(|source| StartError::Listen { address, source })
}

fn base_url(host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 443 { format!("https://{host}") } else { format!("https://{host}:{port}") }
}
