//! What a portal is, as flags: on the command line of `portal`, or as the fields of a `PortalConfiguration`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use gateway_config::{
    ClientImpersonation, Documents, ServingCertificate,
    portal::{COOKIE, IDENTIFY, Login, Part, template},
};
use gateway_core::{
    config::Impersonation,
    portal::{
        KeyRing, Portal as Checked, Settings,
        settings::{Identify, Network, Template, Trust},
    },
};
use gateway_net::{Dns, Host};
use kube_oidc_gateway::portal::{KeyFileError, Keys};
use tracing::warn;

use super::{Error, absolute, go_duration, login};

/// What a portal is.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Debug, Args)]
pub struct PortalFlags {
    /// The shared secret for HS256 tokens; in the environment or in --secret-file nobody else sees it
    #[arg(value_name = "SECRET", env = "KUBEHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// A file with a shared secret; can be given several times
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// Take a shared secret of less than 32 bytes: whoever has one token can find it by trying, and is then whoever he likes
    #[arg(long)]
    insecure_short_secret: bool,
    /// A private key on P-256 (PEM) for ES256 tokens; can be given several times; needs --issuer
    #[arg(long, value_name = "FILE")]
    signing_key_file: Vec<PathBuf>,
    /// The URL under which API servers reach this portal: `iss` of ES256 tokens
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
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
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_CLIENT_CA")]
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
    /// Let a token live longer than the login that it was made with
    #[arg(long)]
    outlive_login: bool,
    /// An origin whose pages may post, beside the portal's own; can be given several times
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// A name under which this portal is reached; can be given several times. Without TLS requests for other names are refused,
    /// but for addresses, localhost, and the hosts of --url and --issuer
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    allowed_host: Vec<String>,
    /// Answer whatever name a request has, without TLS too: any web page can then ask in its reader's place (DNS rebinding)
    #[arg(long, conflicts_with = "allowed_host")]
    insecure_any_host: bool,
    /// How many tokens one user gets in a second
    #[arg(long, value_name = "N", default_value_t = 5)]
    tokens_per_second: u32,
    #[command(flatten)]
    login: login::BrowserFlags,
}

/// Where a portal is, and what it shares with the Envoy that it is in.
pub struct Place<'a> {
    /// The name by which it is told from the gateway on the same port.
    pub host: Option<Dns>,
    /// Issuers whose tokens are taken.
    pub documents: Option<&'a Documents>,
    /// The Wasm module.
    pub filter: PathBuf,
    /// Where Envoy writes one JSON line a request.
    pub access_log: PathBuf,
}

impl PortalFlags {
    /// The files that Envoy does not watch itself.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let keys = self.signing_key_file.iter().chain(&self.secret_file);
        keys.chain([&self.kubecfg_template, &self.client_ca].into_iter().flatten())
    }

    /// The keys for Envoy's environment, and what the filter will make of them.
    pub fn keys(&self) -> Result<(String, KeyRing), Error> {
        let mut keys = Keys::new(self.insecure_short_secret);
        let bad = |error: KeyFileError| Error::Usage(error.to_string());
        for path in &self.signing_key_file {
            keys.add_private_key(path).map_err(bad)?;
        }
        for path in &self.secret_file {
            keys.add_secret_file(path).map_err(bad)?;
        }
        if let Some(secret) = &self.secret {
            if env::var_os("KUBEHOOK_SECRET").is_none() {
                warn!("a secret on the command line is seen by every user of this machine");
            }
            keys.add_secret("secret", secret.as_bytes());
        }
        if self.secret.is_none() && self.secret_file.is_empty() && self.signing_key_file.is_empty()
        {
            return Err(Error::Usage(
                "a key is needed: --signing-key-file, --secret-file or KUBEHOOK_SECRET".to_owned(),
            ));
        }
        if self.insecure_short_secret {
            warn!("--insecure-short-secret: whoever has one token can find the secret by trying");
        }
        keys.document().map_err(bad)
    }

    /// The pair that the portal shows.
    pub fn pair(&self) -> Result<Option<ServingCertificate>, Error> {
        let Some((chain, key)) = self.tls_cert.as_ref().zip(self.tls_key.as_ref()) else {
            return Ok(None);
        };
        Ok(Some(ServingCertificate { chain: absolute(chain)?, key: absolute(key)? }))
    }

    /// The portal in its place, checked as the filter will check it.
    pub fn part(&self, place: Place<'_>) -> Result<Part, Error> {
        let Place { host, documents, filter, access_log } = place;
        if host.is_none() && self.tls_cert.is_none() && self.client_ca.is_some() {
            return Err(Error::Usage("--client-ca needs --tls-cert and --tls-key".to_owned()));
        }
        if let Some(documents) = documents {
            usable(documents, host.is_some())?;
        }
        let trusted = self.client_ca.is_some()
            || !self.trust_network.is_empty()
            || self.insecure_trust_header;
        let user_header = trusted.then(|| self.user_header.to_ascii_lowercase());
        let login = self.login.rendered(documents, user_header)?;
        if login.is_some() && host.is_none() && self.tls_cert.is_none() {
            return Err(Error::Usage(
                "--login-client-id needs --tls-cert and --tls-key".to_owned(),
            ));
        }
        let hosts = self.hosts(host.as_ref());
        let settings = self.settings(documents, login.as_ref(), hosts)?;
        Ok(Part {
            host,
            serving: self.pair()?,
            client_ca: self.client_ca.as_deref().map(absolute).transpose()?,
            client_subject: self.client_ca_subject.clone(),
            settings,
            login,
            filter,
            access_log,
        })
    }

    /// The names that are answered. TLS, and beside the gateway Envoy's own filter, tell names apart by themselves.
    fn hosts(&self, host: Option<&Dns>) -> Option<Vec<String>> {
        let plain = host.is_none() && self.tls_cert.is_none();
        if self.insecure_any_host || (!plain && self.allowed_host.is_empty()) {
            return None;
        }
        let known = [self.login.url(), self.issuer.as_deref()];
        let known = known.into_iter().flatten().filter_map(host_of);
        let own = host.map(|host| host.as_str().to_owned());
        Some(self.allowed_host.iter().cloned().chain(known).chain(own).collect())
    }

    fn settings(
        &self,
        documents: Option<&Documents>,
        login: Option<&Login>,
        hosts: Option<Vec<String>>,
    ) -> Result<Settings, Error> {
        let reserved =
            documents.map(|it| it.gateway().allowed_reserved.clone()).unwrap_or_default();
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
            template: self.kubecfg_template.as_deref().map(read_template).transpose()?,
            plugin: self.login.plugin(documents)?,
            identify: documents.map(|_| Identify {
                cluster: IDENTIFY.to_owned(),
                cookie: login.map(|_| COOKIE.to_owned()),
                logout: login.and_then(|it| it.endpoints.end_session_endpoint.clone()),
                outlive_login: self.outlive_login,
            }),
            origins: self.origin.clone(),
            hosts,
            allow_reserved_users: reserved.users,
            allow_reserved_groups: reserved.groups,
        };
        // The filter's own eyes: what it would refuse must not reach it.
        let refused = |error: &dyn std::fmt::Display| Error::Usage(error.to_string());
        let text = serde_json::to_vec(&settings).map_err(|error| refused(&error))?;
        let settings = Settings::parse(&text).map_err(|error| refused(&error))?;
        let (_, ring) = self.keys()?;
        Checked::new(settings.clone(), ring).map_err(|error| refused(&error))?;
        warn(&settings);
        Ok(settings)
    }
}

/// Documents by which the filter can say whose a token is.
fn usable(documents: &Documents, beside: bool) -> Result<(), Error> {
    if beside {
        if documents.gateway().impersonation == Impersonation::Disabled {
            return Err(Error::Usage(
                "a portal beside a gateway that does not impersonate cannot know its users by their tokens: run it alone".to_owned(),
            ));
        }
        return Ok(());
    }
    let strip = ClientImpersonation::Strip;
    if documents.own_token() || documents.client_impersonation() != strip {
        return Err(Error::Usage(
            "--gateway-config: the portal has no API server to ask: tokenReview, clientImpersonation and impersonation must be left out".to_owned(),
        ));
    }
    if documents.takes_shared_secret() {
        return Err(Error::Usage(
            "--gateway-config: sharedSecret must be left out: the portal knows tokens of a shared secret by --secret-file".to_owned(),
        ));
    }
    Ok(())
}

/// The host of a URL, without the port.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    Some(host.to_ascii_lowercase())
}

fn host_name(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(Host::Dns(name)) => Ok(name.as_str().to_ascii_lowercase()),
        _ => Err("not a DNS name (without a port)".to_owned()),
    }
}

fn warn(settings: &Settings) {
    let trust = &settings.trust;
    if settings.hosts.as_ref().is_some_and(Vec::is_empty) {
        warn!(
            "without TLS and --allowed-host only requests to an address or to localhost are answered: name the host that people and API servers use",
        );
    }
    if trust.anybody {
        warn!("--insecure-trust-header: whoever reaches the portal is whoever the header says");
    } else if !trust.client_certificate && trust.networks.is_empty() && settings.identify.is_none()
    {
        warn!(
            "nobody can get a token: --client-ca, --trust-network, --authentication-config or --insecure-trust-header is needed",
        );
    }
}

fn read_template(path: &Path) -> Result<Template, Error> {
    let text =
        fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    template(&text).map_err(|error| Error::Document {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}
