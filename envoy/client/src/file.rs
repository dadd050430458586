//! What a kubeconfig chooses for a gateway: a cluster and a user with a credential of its own.

use std::{fmt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_kubeconfig::{Cluster, Context, Kubeconfig, beside};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    error::KubeconfigError,
    source::{PairSource, Source},
};

/// Which entries are wanted, beside what the file says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Choice<'a> {
    pub context: Option<&'a str>,
    pub cluster: Option<&'a str>,
    pub user: Option<&'a str>,
    /// Whether a cluster may be missing: the server is named elsewhere.
    pub without_cluster: bool,
    /// Whether the first cluster and the first user count in a file without a context.
    pub first: bool,
}

/// What a kubeconfig chooses, with absolute paths.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub cluster: Cluster,
    pub user: User,
    /// The user's name.
    pub name: String,
}

/// `users[*].user`
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct User {
    token: String,
    // Kubernetes writes this one in camel case.
    #[serde(rename = "tokenFile")]
    token_file: String,
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    pub username: String,
    pub password: String,
    exec: Option<IgnoredAny>,
    auth_provider: Option<IgnoredAny>,
    #[serde(rename = "as")]
    impersonate: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User(...)")
    }
}

/// Reads a file and finds what it chooses.
pub(crate) fn read(path: &Path, choice: Choice<'_>) -> Result<Chosen, KubeconfigError> {
    let known = Kubeconfig::read(&[path.to_owned()], true).map_err(|error| {
        KubeconfigError::Read { path: path.to_owned(), reason: error.to_string() }
    })?;
    let mut chosen = choose(&known, choice)?;
    chosen.check()?;
    let user = &mut chosen.user;
    for file in [&mut user.token_file, &mut user.client_certificate, &mut user.client_key] {
        *file = beside(path, file);
    }
    Ok(chosen)
}

fn choose(known: &Kubeconfig<User>, choice: Choice<'_>) -> Result<Chosen, KubeconfigError> {
    let missing = |kind, name: &str| KubeconfigError::Missing { kind, name: name.to_owned() };
    let name = choice.context.or_else(|| known.current_context()).unwrap_or_default();
    let context = match known.context(name) {
        Some((_, context)) => context.clone(),
        None if name.is_empty() && choice.first => Context {
            cluster: known.first_cluster().unwrap_or_default().to_owned(),
            user: known.users().first().map(|(_, name, _)| *name).unwrap_or_default().to_owned(),
        },
        // Without a context, cluster and user may still be named.
        None if name.is_empty() => Context::default(),
        None => return Err(missing("context", name)),
    };
    let name = choice.cluster.unwrap_or(&context.cluster);
    let cluster = match known.cluster(name) {
        Some((_, cluster)) => cluster.clone(),
        None if choice.without_cluster => Cluster::default(),
        None => return Err(missing("cluster", name)),
    };
    let name = choice.user.unwrap_or(&context.user).to_owned();
    let user = match known.user(&name) {
        Some((_, user)) => user.clone(),
        None if name.is_empty() => User::default(),
        None => return Err(missing("user", &name)),
    };
    Ok(Chosen { cluster, user, name })
}

impl Chosen {
    fn check(&self) -> Result<(), KubeconfigError> {
        const TOKEN: &str = "use token, tokenFile or a client certificate";
        if self.user.exec.is_some() {
            return Err(self.unsupported("exec", TOKEN));
        }
        if self.user.auth_provider.is_some() {
            return Err(self.unsupported("auth-provider", TOKEN));
        }
        if !self.user.impersonate.is_empty() {
            return Err(self.unsupported("as", "give it a credential of its own"));
        }
        if !self.cluster.proxy_url.is_empty() {
            return Err(self.unsupported("proxy-url of its cluster", "name the server itself"));
        }
        Ok(())
    }

    /// The bundle that signed the server's certificate, if one is named.
    pub(crate) fn ca(&self) -> Result<Option<Source>, KubeconfigError> {
        let cluster = &self.cluster;
        let (file, data) = (&cluster.certificate_authority, &cluster.certificate_authority_data);
        source("certificate-authority-data", file, data)
    }

    pub(crate) fn unsupported(
        &self,
        field: &'static str,
        instead: &'static str,
    ) -> KubeconfigError {
        KubeconfigError::Unsupported { user: self.name.clone(), field, instead }
    }
}
impl User {
    /// The token, if there is one.
    pub(crate) fn token(&self) -> Option<Source> {
        // As client-go: the file counts before the text, because it can be renewed.
        if !self.token_file.is_empty() {
            return Some(Source::File(self.token_file.clone().into()));
        }
        (!self.token.is_empty()).then(|| Source::Inline(self.token.clone().into_bytes()))
    }

    /// The client certificate, if there is one.
    pub(crate) fn pair(&self) -> Result<Option<PairSource>, KubeconfigError> {
        let (chain, data) = (&self.client_certificate, &self.client_certificate_data);
        let chain = source("client-certificate-data", chain, data)?;
        let key = source("client-key-data", &self.client_key, &self.client_key_data)?;
        match (chain, key) {
            (Some(chain), Some(key)) => Ok(Some(PairSource { chain, key })),
            (None, None) => Ok(None),
            _ => Err(halves()),
        }
    }
}

/// A certificate without its key, or a key alone.
pub(crate) fn halves() -> KubeconfigError {
    KubeconfigError::value("client-certificate", "certificate and key go together")
}

/// The data counts before the file, as in client-go.
fn source(field: &'static str, file: &str, data: &str) -> Result<Option<Source>, KubeconfigError> {
    if !data.is_empty() {
        let bytes = STANDARD.decode(data.trim());
        let bytes = bytes.map_err(|_| KubeconfigError::value(field, "it is not base64"))?;
        return Ok(Some(Source::Inline(bytes)));
    }
    Ok((!file.is_empty()).then(|| Source::File(file.into())))
}
