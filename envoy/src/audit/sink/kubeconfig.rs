//! The kubeconfig that says how a webhook is reached (`--audit-webhook-config-file`), as kube-apiserver reads it: the current
//! context's cluster and user, or the only ones.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// How to reach a server, and as whom.
#[derive(Clone)]
pub struct Kubeconfig {
    /// Its URL.
    pub server: String,
    /// The value of `authorization`; never printed.
    authorization: Authorization,
    tls: TlsConfig,
}

#[derive(Clone)]
enum Authorization {
    None,
    Fixed(String),
    /// Read anew for each request.
    TokenFile(PathBuf),
}

/// Why a kubeconfig is refused.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in it is missing or wrong.
    #[error("{path:?}: {reason}")]
    Content {
        /// The kubeconfig.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Document {
    clusters: Vec<Named<Cluster>>,
    users: Vec<Named<User>>,
    contexts: Vec<Named<Context>>,
    current_context: String,
}

#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "cluster", alias = "user", alias = "context")]
    value: T,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    username: Option<String>,
    password: Option<String>,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

impl Kubeconfig {
    /// Reads a kubeconfig and the files that it names, relative to it.
    ///
    /// # Errors
    /// If it says nothing usable. The texts hold no secret.
    pub fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let fault = |reason: String| KubeconfigError::Content { path: path.to_owned(), reason };
        let text = read(path)?;
        let document: Document = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| serde_saphyr::from_str(text).ok())
            .ok_or_else(|| fault("it is no kubeconfig".to_owned()))?;
        let (cluster, user) = document.chosen().map_err(fault)?;
        if !cluster.server.starts_with("https://") && !cluster.server.starts_with("http://") {
            return Err(fault("its server must begin with https:// or http://".to_owned()));
        }
        if user.exec.is_some() || user.auth_provider.is_some() {
            return Err(fault("exec plugins and auth providers are not run here: give a token, a tokenFile or a client certificate".to_owned()));
        }
        if cluster.tls_server_name.is_some() {
            return Err(fault(
                "tls-server-name is not supported: name the server as its certificate does"
                    .to_owned(),
            ));
        }
        let files = Files { base: path };
        let tls = tls(&cluster, &user, &files)?;
        let authorization = match (&user.token, &user.token_file, &user.username) {
            (_, Some(file), _) => Authorization::TokenFile(files.path(file)),
            (Some(token), None, _) => Authorization::Fixed(format!("Bearer {token}")),
            (None, None, Some(name)) => {
                let pair = format!("{name}:{}", user.password.as_deref().unwrap_or_default());
                Authorization::Fixed(format!("Basic {}", STANDARD.encode(pair)))
            }
            (None, None, None) => Authorization::None,
        };
        Ok(Self { server: cluster.server, authorization, tls })
    }

    /// How TLS is spoken.
    #[must_use]
    pub fn tls(&self) -> TlsConfig {
        self.tls.clone()
    }

    /// The value of `authorization`, if there is one now.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        match &self.authorization {
            Authorization::None => None,
            Authorization::Fixed(value) => Some(value.clone()),
            Authorization::TokenFile(path) => {
                let token = fs::read_to_string(path).ok()?;
                Some(format!("Bearer {}", token.trim()))
            }
        }
    }
}

impl Document {
    fn chosen(self) -> Result<(Cluster, User), String> {
        let Self { clusters, users, contexts, current_context } = self;
        let context = contexts.into_iter().find(|it| it.name == current_context).map(|it| it.value);
        let Context { cluster, user } = match context {
            Some(context) => context,
            None if !current_context.is_empty() => {
                return Err(format!("there is no context {current_context:?}"));
            }
            None => Context {
                cluster: clusters.first().map(|it| it.name.clone()).unwrap_or_default(),
                user: users.first().map(|it| it.name.clone()).unwrap_or_default(),
            },
        };
        let found = clusters.into_iter().find(|it| it.name == cluster).map(|it| it.value);
        let found = found.ok_or_else(|| format!("there is no cluster {cluster:?}"))?;
        let user = users.into_iter().find(|it| it.name == user).map(|it| it.value);
        Ok((found, user.unwrap_or_default()))
    }
}

/// Files that a kubeconfig names.
struct Files<'a> {
    base: &'a Path,
}

impl Files<'_> {
    fn path(&self, path: &Path) -> PathBuf {
        self.base.parent().unwrap_or(Path::new("")).join(path)
    }

    fn fault(&self, reason: &str) -> KubeconfigError {
        KubeconfigError::Content { path: self.base.to_owned(), reason: reason.to_owned() }
    }

    /// What is given as a file or as base64; the latter wins.
    fn content(
        &self,
        file: Option<&PathBuf>,
        data: Option<&String>,
    ) -> Result<Option<Vec<u8>>, KubeconfigError> {
        match (data, file) {
            (Some(data), _) => match STANDARD.decode(data) {
                Ok(content) => Ok(Some(content)),
                Err(_) => Err(self.fault("a field ending in -data is not base64")),
            },
            (None, Some(file)) => read(&self.path(file)).map(Some),
            (None, None) => Ok(None),
        }
    }
}

fn tls(cluster: &Cluster, user: &User, files: &Files<'_>) -> Result<TlsConfig, KubeconfigError> {
    let authority = files.content(
        cluster.certificate_authority.as_ref(),
        cluster.certificate_authority_data.as_ref(),
    )?;
    let roots = match authority {
        None => RootCerts::PlatformVerifier,
        Some(pem) => match certificates(&pem) {
            some if !some.is_empty() => RootCerts::new_with_certs(&some),
            _ => return Err(files.fault("its certificate-authority holds no certificate")),
        },
    };
    let chain =
        files.content(user.client_certificate.as_ref(), user.client_certificate_data.as_ref())?;
    let key = files.content(user.client_key.as_ref(), user.client_key_data.as_ref())?;
    let client = match (chain, key) {
        (None, None) => None,
        (Some(chain), Some(key)) => {
            let key = PrivateKey::from_pem(&key)
                .map_err(|_| files.fault("its client-key is no private key"))?;
            Some(ClientCert::new_with_certs(&certificates(&chain), key))
        }
        _ => return Err(files.fault("client-certificate and client-key belong together")),
    };
    Ok(TlsConfig::builder()
        .root_certs(roots)
        .client_cert(client)
        .disable_verification(cluster.insecure_skip_tls_verify)
        .build())
}

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = parse_pem(pem).filter_map(Result::ok);
    items
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect()
}

fn read(path: &Path) -> Result<Vec<u8>, KubeconfigError> {
    fs::read(path).map_err(|source| KubeconfigError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Kubeconfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, text).unwrap();
        fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let config = Kubeconfig::read(&path).map_err(|error| error.to_string())?;
        // The file is looked at again at every use.
        let _ = config.authorization();
        Ok(config)
    }

    #[test]
    fn the_current_context_counts_or_the_only_entries() {
        for (text, want) in [
            ("{clusters: [{name: a, cluster: {server: 'https://a'}}]}", Ok(("https://a", None))),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a'}}, {name: b, cluster: {server: 'http://b'}}],
                  users: [{name: u, user: {token: secret}}], current-context: c, contexts: [{name: c, context: {cluster: b, user: u}}]}",
                Ok(("http://b", Some("Bearer secret"))),
            ),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a'}}], users: [{name: u, user: {username: n, password: p}}]}",
                Ok(("https://a", Some("Basic bjpw"))),
            ),
            ("{current-context: c}", Err("no context \"c\"")),
            ("{}", Err("no cluster")),
            ("[", Err("no kubeconfig")),
            ("{clusters: [{name: a, cluster: {server: 'ftp://a'}}]}", Err("must begin with")),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a'}}], users: [{name: u, user: {exec: {command: x}}}]}",
                Err("exec plugins"),
            ),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a', certificate-authority-data: 'AAAA'}}]}",
                Err("holds no certificate"),
            ),
            (
                "{clusters: [{name: a, cluster: {server: 'https://a'}}], users: [{name: u, user: {client-certificate-data: 'AAAA'}}]}",
                Err("belong together"),
            ),
        ] {
            match (read_text(text), want) {
                (Ok(got), Ok((server, authorization))) => {
                    assert_eq!(got.server, server);
                    assert_eq!(got.authorization().as_deref(), authorization, "{text}");
                }
                (Err(got), Err(want)) => assert!(got.contains(want), "{got} / {want}"),
                (got, want) => panic!("{text}: {:?} / {want:?}", got.map(|it| it.server)),
            }
        }
    }

    #[test]
    fn a_token_file_is_read_when_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "{clusters: [{name: a, cluster: {server: 'https://a'}}], users: [{name: u, user: {tokenFile: token}}]}").unwrap();
        let config = Kubeconfig::read(&path).unwrap();
        assert_eq!(config.authorization(), None);
        fs::write(folder.path().join("token"), "one\n").unwrap();
        assert_eq!(config.authorization().as_deref(), Some("Bearer one"));
    }
}
