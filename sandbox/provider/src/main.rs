//! `oidc-provider`: the provider as a program.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use oidc_provider::{
    Browser, BrowserError, Config, ConfigError, Preset, Provider, StartError, TlsFiles,
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// A small OpenID provider for a sandbox and for tests.
///
/// Serves HTTPS until it is interrupted. When it answers, it writes one line of JSON on stdout: the issuers' URLs, the
/// certificate authority's file and the address of the administrative API. Its keys and users are for tests only.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Prints a preset as a configuration file, to begin with
    Config {
        /// The presets; more than one makes several issuers
        #[arg(required = true)]
        presets: Vec<Preset>,
    },
    /// Opens an address as a browser would, logs in on the provider's page, and prints where that led
    SignIn(SignIn),
}

#[derive(Args)]
struct Serve {
    /// Configuration file (JSON; `oidc-provider config PRESET` prints one)
    #[arg(long, value_name = "FILE", required_unless_present = "preset")]
    config: Option<PathBuf>,
    /// Adds a ready-made issuer; may be repeated
    #[arg(long, value_name = "NAME")]
    preset: Vec<Preset>,
    /// Where to serve HTTPS; port 0 takes a free one [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The host in the issuers' URLs [default: 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// Where to serve the administrative API (plain HTTP, loopback only)
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Where to write the certificate authority that clients have to trust
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Certificate to serve with, instead of a new one at each start
    #[arg(long, value_name = "FILE", requires_all = ["tls_key_file", "tls_ca_file"])]
    tls_cert_file: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    /// The certificate authority that issued it
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_ca_file: Option<PathBuf>,
}

#[derive(Args)]
struct SignIn {
    /// The login name or e-mail address
    #[arg(long)]
    user: String,
    /// The password
    #[arg(long)]
    password: String,
    /// The certificate authority of the provider
    #[arg(long, value_name = "FILE")]
    ca_file: PathBuf,
    /// The address to open
    url: String,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Browser(#[from] BrowserError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{url} answered with status {status}")]
    Status { url: String, status: u16 },
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        None => serve(arguments.serve),
        Some(Command::Config { presets }) => print_config(&presets),
        Some(Command::SignIn(sign_in)) => browse(&sign_in),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oidc-provider: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(serve: Serve) -> Result<(), Error> {
    let ca_file = serve.ca_file.clone();
    let provider = Provider::start(serve.into_config()?)?;
    if let Some(path) = &ca_file {
        fs::write(path, provider.ca_pem())
            .map_err(|source| Error::File { path: path.clone(), source })?;
    }
    // Registered before anybody is told that it runs, so that no signal is lost.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Signals)?;
    let (mut interrupted, mut terminated) = {
        let _context = runtime.enter();
        let signal = |kind| signal(kind).map_err(Error::Signals);
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let issuers = provider.issuers();
    let issuers: Vec<_> =
        issuers.iter().map(|known| json!({"name": known.name(), "url": known.url()})).collect();
    let admin = provider.admin_address().map(|address| format!("http://{address}"));
    print(&json!({"issuers": issuers, "ca_file": ca_file, "admin": admin}).to_string())?;
    runtime.block_on(async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    });
    Ok(())
}

impl Serve {
    /// The file's configuration, with what the flags change.
    fn into_config(self) -> Result<Config, Error> {
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.issuers.extend(self.preset.into_iter().map(Preset::issuer));
        config.listen = self.listen.unwrap_or(config.listen);
        config.host = self.host.unwrap_or(config.host);
        config.admin = self.admin.or(config.admin);
        if let (Some(certificate), Some(private_key), Some(ca)) =
            (self.tls_cert_file, self.tls_key_file, self.tls_ca_file)
        {
            config.tls = Some(TlsFiles { certificate, private_key, ca });
        }
        Ok(config)
    }
}

fn print_config(presets: &[Preset]) -> Result<(), Error> {
    let issuers = presets.iter().map(|preset| preset.issuer()).collect();
    let config = Config { issuers, ..Config::default() };
    print(&format!("{:#}", json!(config)))
}

fn browse(sign_in: &SignIn) -> Result<(), Error> {
    let ca = read(&sign_in.ca_file)?;
    let page = Browser::new(&ca)?.sign_in(&sign_in.url, &sign_in.user, &sign_in.password)?;
    if page.status >= 400 {
        return Err(Error::Status { url: page.url, status: page.status });
    }
    print(&page.url)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn print(line: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(Error::Stdout)
}
