//! `kube-oidc-gateway portal`

mod login;

use std::{
    env, fs,
    net::SocketAddr,
    path::{self, Path, PathBuf},
    time::Duration,
};

use clap::Args;
use gateway_core::portal::{
    Portal as Checked, Settings, duration,
    settings::{Identify, Network, Trust},
};
use kube_oidc_gateway::{
    Documents, ServingCertificate,
    portal::{COOKIE, IDENTIFY, Inputs, Keys, Start, render, run, template},
};

use super::{Error, envoy, render::documents};

/// Run the portal: tokens and kubeconfigs for people, a TokenReview webhook for API servers.
///
/// Takes the flags of kubehook and its KUBEHOOK_* variables. The first signing key signs; without one the first secret does.
/// All others still verify, so that a key can be exchanged without a token being lost.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct Portal {
    /// The shared secret for HS256 tokens; in the environment or in --secret-file nobody else sees it
    #[arg(value_name = "SECRET", env = "KUBEHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// A file with a shared secret; can be given several times
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// A private key on P-256 (PEM) for ES256 tokens; can be given several times; needs --issuer
    #[arg(long, value_name = "FILE")]
    signing_key_file: Vec<PathBuf>,
    /// The URL under which API servers reach this portal: `iss` of ES256 tokens
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Where clients connect; without an address, every one
    #[arg(long, value_name = "[ADDRESS]:PORT", default_value = ":10003", env = "KUBEHOOK_LISTEN", value_parser = listen)]
    listen: SocketAddr,
    /// Log more
    #[arg(short, long, env = "KUBEHOOK_DEBUG")]
    debug: bool,
    /// How long open connections may take to end
    #[arg(long, value_name = "DURATION", default_value = "1m", env = "KUBEHOOK_SHUTDOWN_GRACE_PERIOD", value_parser = go_duration)]
    shutdown_grace_period: Duration,
    /// `aud` of the tokens
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "github.com/planetlabs/kubehook",
        env = "KUBEHOOK_AUDIENCE"
    )]
    audience: String,
    /// The header that names the user
    #[arg(
        long,
        value_name = "NAME",
        default_value = "X-Forwarded-User",
        env = "KUBEHOOK_USER_HEADER"
    )]
    user_header: String,
    /// The header that names the user's groups
    #[arg(
        long,
        value_name = "NAME",
        default_value = "X-Forwarded-Groups",
        env = "KUBEHOOK_GROUP_HEADER"
    )]
    group_header: String,
    /// What stands between two groups
    #[arg(long, value_name = "TEXT", default_value = ";", env = "KUBEHOOK_GROUP_HEADER_DELIMITER")]
    group_header_delimiter: String,
    /// The longest lifetime that can be asked for
    #[arg(long, value_name = "DURATION", default_value = "168h", env = "KUBEHOOK_MAX_LIFETIME", value_parser = go_duration)]
    max_lifetime: Duration,
    /// A kubeconfig with the clusters that users' kubeconfigs are to have
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_KUBECFG_TEMPLATE")]
    kubecfg_template: Option<PathBuf>,
    /// Mutual TLS: the CA whose certificates clients must show (PEM). Their headers are believed
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_CLIENT_CA", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// The DNS name that clients' certificates must be for
    #[arg(long, value_name = "NAME", env = "KUBEHOOK_CLIENT_CA_SUBJECT", requires = "client_ca")]
    client_ca_subject: Option<String>,
    /// The certificate chain that clients see (PEM); without it there is no TLS
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM), in the same directory
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Believe the headers of peers in this network; can be given several times
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    trust_network: Vec<Network>,
    /// Believe everybody's headers, as kubehook does: only for a portal that nobody but a proxy can reach
    #[arg(long)]
    insecure_trust_header: bool,
    /// Take bearer tokens of these issuers, and review them: an AuthenticationConfiguration as kube-apiserver takes it
    #[arg(long, value_name = "FILE")]
    authentication_config: Option<PathBuf>,
    /// allowedReserved and limits of a GatewayConfiguration [default: all defaults]
    #[arg(long, value_name = "FILE", requires = "authentication_config")]
    gateway_config: Option<PathBuf>,
    /// Let a token live longer than the login that it was made with
    #[arg(long)]
    outlive_login: bool,
    /// The CA bundle for issuers without one of their own (PEM)
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    system_ca_file: PathBuf,
    /// An origin whose pages may post, beside the portal's own; can be given several times
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// How many tokens one user gets in a second
    #[arg(long, value_name = "N", default_value_t = 5)]
    tokens_per_second: u32,
    #[command(flatten)]
    login: login::BrowserFlags,
    /// The Wasm module
    #[arg(long, value_name = "FILE", env = "GATEWAY_FILTER")]
    filter: PathBuf,
    /// The Envoy binary [default: envoy in PATH]
    #[arg(long, value_name = "FILE", env = "ENVOY_BIN")]
    envoy: Option<PathBuf>,
    /// The directory for Envoy's files and sockets
    #[arg(long, value_name = "DIR", default_value = "/run/kube-oidc-gateway-portal")]
    run_dir: PathBuf,
    /// Worker threads [default: one for each CPU]
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Where Envoy writes one JSON line a request
    #[arg(long, value_name = "FILE", default_value = "/dev/stdout")]
    access_log: PathBuf,
}

impl Portal {
    pub fn run(&self) -> Result<(), Error> {
        let envoy = envoy::find(self.envoy.clone())?;
        let grace = self.shutdown_grace_period;
        let mut seen = self.fingerprint();
        let mut last = seen.clone();
        let first = self.start(absolute(&self.run_dir)?)?;
        let mut number = 0_u32;
        let renewed = || {
            // Twice the same: a file that is being written is not taken for what it will be.
            let before = std::mem::replace(&mut last, self.fingerprint());
            if last == seen || last != before {
                return None;
            }
            seen.clone_from(&last);
            number += 1;
            let started = absolute(&self.run_dir.join(number.to_string()));
            match started.and_then(|directory| self.start(directory)) {
                Ok(start) => Some(start),
                Err(error) => {
                    eprintln!("kube-oidc-gateway: {error}; the old keys and files go on");
                    None
                }
            }
        };
        Ok(run(&envoy, &first, renewed, grace)?)
    }

    /// What the files hold that Envoy does not watch itself. One that cannot be read is one that has changed.
    fn fingerprint(&self) -> Vec<Option<Vec<u8>>> {
        let keys = self.signing_key_file.iter().chain(&self.secret_file);
        let others = [
            &self.kubecfg_template,
            &self.client_ca,
            &self.authentication_config,
            &self.gateway_config,
        ];
        keys.chain(others.into_iter().flatten()).map(|path| fs::read(path).ok()).collect()
    }

    /// Renders everything into a folder.
    fn start(&self, directory: PathBuf) -> Result<Start, Error> {
        let (keys, ring) = self.keys()?;
        let inputs = self.inputs(directory)?;
        Checked::new(inputs.settings.clone(), ring)
            .map_err(|error| Error::Usage(error.to_string()))?;
        warn(&inputs.settings);
        let rendered = render(&inputs)?;
        rendered.write(&inputs.directory)?;
        let mut arguments = rendered.arguments(&inputs.directory);
        // Never "debug": there Envoy writes requests' headers, and so tokens.
        let level = if self.debug { "info" } else { "warning" };
        arguments.extend(["--log-level", level, "--drain-time-s", "5"].map(Into::into));
        // It would quote a cookie that it cannot open.
        arguments.extend(["--component-log-level", "oauth2:off"].map(Into::into));
        Ok(Start { arguments, keys, directory: inputs.directory })
    }

    fn keys(&self) -> Result<(String, gateway_core::portal::KeyRing), Error> {
        let mut keys = Keys::default();
        let bad = |error: kube_oidc_gateway::portal::KeyFileError| Error::Usage(error.to_string());
        for path in &self.signing_key_file {
            keys.add_private_key(path).map_err(bad)?;
        }
        for path in &self.secret_file {
            keys.add_secret_file(path).map_err(bad)?;
        }
        if let Some(secret) = &self.secret {
            if env::var_os("KUBEHOOK_SECRET").is_none() {
                eprintln!(
                    "kube-oidc-gateway: warning: a secret on the command line is seen by every user of this machine"
                );
            }
            keys.add_secret("secret", secret.as_bytes());
        }
        if self.secret.is_none() && self.secret_file.is_empty() && self.signing_key_file.is_empty()
        {
            return Err(Error::Usage(
                "a key is needed: --signing-key-file, --secret-file or KUBEHOOK_SECRET".to_owned(),
            ));
        }
        keys.document().map_err(bad)
    }

    fn inputs(&self, directory: PathBuf) -> Result<Inputs, Error> {
        let documents = self
            .authentication_config
            .as_deref()
            .map(|file| documents(file, self.gateway_config.as_deref()).and_then(usable))
            .transpose()?;
        let reserved = documents.as_ref().map(|it| it.gateway.allowed_reserved.clone());
        let reserved = reserved.unwrap_or_default();
        let template = self.kubecfg_template.as_deref().map(read_template).transpose()?;
        let trusted = self.client_ca.is_some()
            || !self.trust_network.is_empty()
            || self.insecure_trust_header;
        let user_header = trusted.then(|| self.user_header.to_ascii_lowercase());
        let login = self.login.rendered(documents.as_ref(), user_header)?;
        let settings = Settings {
            audience: self.audience.clone(),
            user_header: self.user_header.to_ascii_lowercase(),
            group_header: self.group_header.to_ascii_lowercase(),
            group_header_delimiter: self.group_header_delimiter.clone(),
            max_lifetime_seconds: self.max_lifetime.as_secs(),
            tokens_per_second: self.tokens_per_second,
            trust: Trust {
                client_certificate: self.client_ca.is_some(),
                networks: self.trust_network.clone(),
                anybody: self.insecure_trust_header,
            },
            issuer: self.issuer.clone(),
            template,
            plugin: self.login.plugin(documents.as_ref())?,
            identify: documents.is_some().then(|| Identify {
                cluster: IDENTIFY.to_owned(),
                cookie: login.as_ref().map(|_| COOKIE.to_owned()),
                logout: login.as_ref().and_then(|it| it.endpoints.end_session_endpoint.clone()),
                outlive_login: self.outlive_login,
            }),
            origins: self.origin.clone(),
            allow_reserved_users: reserved.users,
            allow_reserved_groups: reserved.groups,
        };
        // The filter's own eyes: what it would refuse must not reach it.
        let text =
            serde_json::to_vec(&settings).map_err(|error| Error::Usage(error.to_string()))?;
        let settings = Settings::parse(&text).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Inputs {
            directory,
            listen: self.listen,
            serving: match (&self.tls_cert, &self.tls_key) {
                (Some(chain), Some(key)) => {
                    Some(ServingCertificate { chain: absolute(chain)?, key: absolute(key)? })
                }
                _ => None,
            },
            client_ca: self.client_ca.as_deref().map(absolute).transpose()?,
            client_subject: self.client_ca_subject.clone(),
            settings,
            documents,
            login,
            system_ca: absolute(&self.system_ca_file)?,
            filter: absolute(&self.filter)?,
            concurrency: self.concurrency,
            access_log: absolute(&self.access_log)?,
        })
    }
}

/// Documents with which the filter can answer the portal without an API server.
fn usable(documents: Documents) -> Result<Documents, Error> {
    let strip = kube_oidc_gateway::ClientImpersonation::Strip;
    if documents.own_token || documents.client_impersonation != strip {
        return Err(Error::Usage(
            "--gateway-config: the portal has no API server to ask: tokenReview, clientImpersonation and impersonation must be left out".to_owned(),
        ));
    }
    Ok(documents)
}

fn warn(settings: &Settings) {
    let trust = &settings.trust;
    let say = |text: &str| eprintln!("kube-oidc-gateway: warning: {text}");
    if trust.anybody {
        say("--insecure-trust-header: whoever reaches the portal is whoever the header says");
    } else if !trust.client_certificate && trust.networks.is_empty() && settings.identify.is_none()
    {
        say(
            "nobody can get a token: --client-ca, --trust-network, --authentication-config or --insecure-trust-header is needed",
        );
    }
}

fn read_template(path: &Path) -> Result<gateway_core::portal::settings::Template, Error> {
    let text =
        fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    template(&text).map_err(|error| Error::Document {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    path::absolute(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// An address as Go takes it: `:10003` is every address.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| "not [ADDRESS]:PORT".to_owned())
}

fn go_duration(text: &str) -> Result<Duration, String> {
    let nanos = duration::parse(text).map_err(|error| error.to_string())?;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubehooks_addresses_and_durations() {
        for (text, want) in
            [(":10003", "[::]:10003"), ("127.0.0.1:1", "127.0.0.1:1"), ("[::1]:2", "[::1]:2")]
        {
            assert_eq!(listen(text).unwrap().to_string(), want);
        }
        assert!(listen("10003").is_err());
        assert_eq!(go_duration("168h0m0s"), Ok(Duration::from_secs(604_800)));
        assert!(go_duration("-1s").is_err() && go_duration("1d").is_err());
    }
}
