//! A portal out of its configuration and the files that it names, checked as the filter will check it.

use std::{
    fs, io,
    path::{Path, PathBuf, absolute},
};

use gateway_config::{
    ACCESS_CLUSTER, Documents, ServingCertificate,
    portal::{
        COOKIE, IDENTIFY, Login, Part, PortalConfiguration, PortalError, TemplateError, template,
    },
};
use gateway_core::{config::Impersonation, portal_keys::KeyRing};
use gateway_net::Dns;
use gateway_portal::{
    Portal as Checked, Settings,
    settings::{Identify, SettingsError, Template, TrustedPeers},
};
use tracing::warn;

use super::{
    keys::{KeyFileError, Keys},
    login,
};
use crate::fetch::FetchError;

/// What a portal is, with what stands in no file.
#[derive(Clone)]
pub struct Portal {
    /// What its document or its flags say.
    pub configuration: PortalConfiguration,
    /// A shared secret.
    pub secret: Option<String>,
}

/// Where a portal is, and what it shares with the Envoy that it is in.
pub struct Place<'a> {
    /// Issuers whose tokens are taken.
    pub documents: Option<&'a Documents>,
    /// The Wasm module.
    pub filter: PathBuf,
    /// Where Envoy writes one JSON line a request.
    pub access_log: PathBuf,
    /// Whether the program that runs this Envoy holds grants.
    pub grants: bool,
    /// Whether it writes down which sessions have ended.
    pub sessions: bool,
}

/// Why there is no portal. Nothing of a key is in the text.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A field, by its path.
    #[error(transparent)]
    Field(#[from] PortalError),
    /// Nothing to sign or verify with.
    #[error("a key is needed: a signing key, a file with a secret, or KUBEHOOK_SECRET")]
    NoKey,
    /// See [`KeyFileError`].
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A file cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kubeconfig template is refused.
    #[error("{path}: {source}", path = .path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TemplateError,
    },
    /// The documents are none that a portal can have.
    #[error("{0}")]
    Documents(&'static str),
    /// The filter would refuse its settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The issuer does not say where logins happen.
    #[error(
        "loginIssuer: {0}; the program asked by itself, and its TLS is not Envoy's: loginAuthorizationEndpoint and loginTokenEndpoint spare the question"
    )]
    Issuer(#[from] FetchError),
}

impl Portal {
    /// The files that Envoy does not watch itself.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let it = &self.configuration;
        let keys = it.signing_key_file.iter().chain(&it.secret_file);
        keys.chain([&it.kubecfg_template, &it.client_ca].into_iter().flatten())
    }

    /// The keys for Envoy's environment, and what the filter will make of them.
    ///
    /// # Errors
    /// If there is none, or one is none.
    pub fn keys(&self) -> Result<(String, KeyRing), SetupError> {
        let it = &self.configuration;
        let mut keys = Keys::new(it.insecure_short_secret);
        for path in &it.signing_key_file {
            keys.add_private_key(path)?;
        }
        for path in &it.secret_file {
            keys.add_secret_file(path)?;
        }
        if let Some(secret) = &self.secret {
            keys.add_secret("secret", secret.as_bytes());
        }
        if self.secret.is_none() && it.secret_file.is_empty() && it.signing_key_file.is_empty() {
            return Err(SetupError::NoKey);
        }
        if it.insecure_short_secret {
            warn!(
                "--insecure-short-secret: anyone who has one token can find the secret by trying"
            );
        }
        Ok(keys.document()?)
    }

    /// The portal in its place.
    ///
    /// # Errors
    /// If the filter would refuse it, or a file is not right.
    pub fn part(&self, place: Place<'_>, ring: KeyRing) -> Result<Part, SetupError> {
        let Place { documents, filter, access_log, grants, sessions } = place;
        let it = &self.configuration;
        let alone = it.host.is_none();
        if alone && it.tls_cert.is_none() && it.client_ca.is_some() {
            return Err(PortalError::needs("clientCa", TLS).into());
        }
        if let Some(documents) = documents {
            usable(documents, alone)?;
        }
        let trusted =
            it.client_ca.is_some() || !it.trust_network.is_empty() || it.insecure_trust_header;
        let user_header = trusted.then(|| it.user_header.to_ascii_lowercase());
        let login = login::rendered(it, documents, user_header)?;
        if login.is_some() && alone && it.tls_cert.is_none() {
            return Err(PortalError::needs("loginClientId", TLS).into());
        }
        Ok(Part {
            host: it.host.clone(),
            serving: self.pair()?,
            client_ca: it.client_ca.as_deref().map(whole).transpose()?,
            client_subject: it.client_ca_subject.clone(),
            settings: Settings {
                elevation: grants.then(|| ACCESS_CLUSTER.to_owned()),
                sessions: sessions.then(|| ACCESS_CLUSTER.to_owned()),
                ..self.settings(documents, login.as_ref(), ring)?
            },
            login,
            filter,
            access_log,
        })
    }

    /// The pair that the portal shows.
    fn pair(&self) -> Result<Option<ServingCertificate>, SetupError> {
        let it = &self.configuration;
        let Some((chain, key)) = it.tls_cert.as_ref().zip(it.tls_key.as_ref()) else {
            return Ok(None);
        };
        Ok(Some(ServingCertificate { chain: whole(chain)?, key: whole(key)? }))
    }

    /// The names that are answered. TLS, and beside the gateway Envoy's own filter, tell names apart by themselves.
    fn hosts(&self) -> Option<Vec<String>> {
        let it = &self.configuration;
        let plain = it.host.is_none() && it.tls_cert.is_none();
        if it.insecure_any_host || (!plain && it.allowed_host.is_empty()) {
            return None;
        }
        let login = it.login_client_id.as_ref().and(it.url.as_deref());
        let known = [login, it.issuer.as_deref()];
        let known = known.into_iter().flatten().filter_map(host_of);
        let named = it.allowed_host.iter().map(|name| name.as_str().to_ascii_lowercase());
        let own = it.host.iter().map(|host| Dns::as_str(host).to_owned());
        Some(named.chain(known).chain(own).collect())
    }

    fn settings(
        &self,
        documents: Option<&Documents>,
        login: Option<&Login>,
        ring: KeyRing,
    ) -> Result<Settings, SetupError> {
        let it = &self.configuration;
        let reserved =
            documents.map(|it| it.gateway().allowed_reserved.clone()).unwrap_or_default();
        let settings = Settings {
            audience: it.audience.clone(),
            user_header: it.user_header.to_ascii_lowercase(),
            group_header: it.group_header.to_ascii_lowercase(),
            group_header_delimiter: it.group_header_delimiter.clone(),
            max_lifetime_seconds: it.max_lifetime.as_secs(),
            tokens_per_second: it.tokens_per_second,
            trust: TrustedPeers {
                client_certificate: it.client_ca.is_some(),
                networks: it.trust_network.clone(),
                anybody: it.insecure_trust_header,
            },
            issuer: it.issuer.clone(),
            template: it.kubecfg_template.as_deref().map(read_template).transpose()?,
            plugin: login::plugin(it, documents)?,
            identify: documents.map(|_| Identify {
                cluster: IDENTIFY.to_owned(),
                cookie: login.map(|_| COOKIE.to_owned()),
                logout: login.and_then(|it| it.endpoints.end_session_endpoint.clone()),
                outlive_login: it.outlive_login,
            }),
            elevation: None,
            sessions: None,
            origins: it.origin.clone(),
            hosts: self.hosts(),
            allow_reserved_users: reserved.users,
            allow_reserved_groups: reserved.groups,
        };
        // The filter's own eyes: what it would refuse must not reach it.
        settings.check()?;
        Checked::new(settings.clone(), ring)?;
        tell(&settings);
        Ok(settings)
    }
}

/// What a portal without the gateway's certificate needs for TLS.
const TLS: &[&str] = &["tlsCert", "tlsKey"];

/// Documents by which the filter can say whose a token is.
fn usable(documents: &Documents, alone: bool) -> Result<(), SetupError> {
    if !alone {
        if documents.gateway().impersonation == Impersonation::Disabled {
            return Err(SetupError::Documents(
                "a portal beside a gateway that does not impersonate cannot know its users by their tokens: run it alone",
            ));
        }
        return Ok(());
    }
    if documents.own_token() {
        return Err(SetupError::Documents(
            "--gateway-config: the portal has no API server to ask: tokenReview and impersonation must be left out",
        ));
    }
    if documents.takes_shared_secret() {
        return Err(SetupError::Documents(
            "--gateway-config: sharedSecret must be left out: the portal knows tokens of a shared secret by --secret-file",
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

fn tell(settings: &Settings) {
    let trust = &settings.trust;
    if settings.hosts.as_ref().is_some_and(Vec::is_empty) {
        warn!(
            "without TLS and --allowed-host only requests to an address or to localhost are answered: name the host that people and API servers use",
        );
    }
    if trust.anybody {
        warn!(
            "--insecure-trust-header: anyone who reaches the portal is the user that the header names"
        );
    } else if !trust.client_certificate && trust.networks.is_empty() && settings.identify.is_none()
    {
        warn!(
            "nobody can get a token: --client-ca, --trust-network, --authentication-config or --insecure-trust-header is needed",
        );
    }
}

fn read_template(path: &Path) -> Result<Template, SetupError> {
    let failed = |source| SetupError::Read { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    template(&text).map_err(|source| SetupError::Template { path: path.to_owned(), source })
}

/// The whole path of a file.
pub(super) fn whole(path: &Path) -> Result<PathBuf, SetupError> {
    absolute(path).map_err(|source| SetupError::Read { path: path.to_owned(), source })
}
