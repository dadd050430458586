//! The way to kube-apiserver as a kubeconfig, flags or the pod's ServiceAccount have it.
//!
//! Sources: client-go, `tools/clientcmd` (contexts, the names of fields, flags over files, paths relative to the file) and
//! `rest.InClusterConfig`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{
    connection::{Connection, CredentialSource},
    source::{PairSource, Source},
};
use crate::inputs::Host;

/// Where a pod finds its ServiceAccount.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What flags say, which counts before what a file says.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--kubeconfig`
    pub kubeconfig: Option<PathBuf>,
    /// `--context`
    pub context: Option<String>,
    /// `--cluster`
    pub cluster: Option<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--server`
    pub server: Option<String>,
    /// `--certificate-authority`
    pub certificate_authority: Option<PathBuf>,
    /// `--client-certificate`
    pub client_certificate: Option<PathBuf>,
    /// `--client-key`
    pub client_key: Option<PathBuf>,
    /// `--token`
    pub token: Option<String>,
    /// `--insecure-skip-tls-verify`
    pub insecure: bool,
    /// `--tls-server-name`
    pub tls_server_name: Option<String>,
    /// Where a pod's ServiceAccount is, if not at [`SERVICE_ACCOUNT`].
    pub service_account: Option<PathBuf>,
}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// Neither flags nor a file nor a pod.
    #[error(
        "no API server: outside of a pod of the cluster name a kubeconfig with --kubeconfig, or the server with --server"
    )]
    Nowhere,
    /// The file cannot be read.
    #[error("cannot read {path:?}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file names something that it does not hold.
    #[error("kubeconfig: it has no {kind} {name:?}")]
    Missing {
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A field that a gateway cannot do anything with.
    #[error("kubeconfig: user {user:?}: {field} is not supported; {instead}")]
    Unsupported {
        /// The user's name.
        user: String,
        /// The field.
        field: &'static str,
        /// What to use in its place.
        instead: &'static str,
    },
    /// A value that is none.
    #[error("{field}: {reason}")]
    Value {
        /// The field or flag.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The gateway has nothing to show.
    #[error("no credential for the API server: give a token or a client certificate")]
    NoCredential,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<NamedContext>,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    tls_server_name: String,
    insecure_skip_tls_verify: bool,
    certificate_authority: String,
    certificate_authority_data: String,
    proxy_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: String,
    // Kubernetes writes this one in camel case.
    #[serde(rename = "tokenFile")]
    token_file: String,
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    username: String,
    exec: Option<serde::de::IgnoredAny>,
    auth_provider: Option<serde::de::IgnoredAny>,
    #[serde(rename = "as")]
    impersonate: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User(...)")
    }
}

/// Finds the way: flags, then the kubeconfig, then the pod's ServiceAccount.
/// `system_ca` is the bundle for a server whose CA nobody names.
pub fn connection(overrides: &Overrides, system_ca: &Path) -> Result<Connection, KubeconfigError> {
    match overrides.kubeconfig.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        None if overrides.server.is_none() => in_pod(overrides),
        file => {
            let (cluster, user) = match file {
                Some(path) => chosen(overrides, path)?,
                None => (Cluster::default(), User::default()),
            };
            outside(overrides, &cluster, &user, system_ca)
        }
    }
}

fn in_pod(overrides: &Overrides) -> Result<Connection, KubeconfigError> {
    let variable = |name| env::var(name).ok();
    let host = variable("KUBERNETES_SERVICE_HOST").and_then(|host| host.parse().ok());
    let port = variable("KUBERNETES_SERVICE_PORT").and_then(|port| port.parse().ok());
    let (host, port) = host.zip(port).ok_or(KubeconfigError::Nowhere)?;
    let folder = overrides.service_account.as_deref().unwrap_or(Path::new(SERVICE_ACCOUNT));
    let file = |name: &str| Source::File(folder.join(name));
    let given = overrides.certificate_authority.clone().map(Source::File);
    let ca = (!overrides.insecure).then(|| given.unwrap_or_else(|| file("ca.crt")));
    let own = flags_credential(overrides)?;
    Ok(Connection {
        host,
        port,
        server_name: server_name(overrides.tls_server_name.as_deref())?,
        ca,
        credential: own.unwrap_or_else(|| CredentialSource::Token(file("token"))),
    })
}

fn outside(
    overrides: &Overrides,
    cluster: &Cluster,
    user: &User,
    system_ca: &Path,
) -> Result<Connection, KubeconfigError> {
    let server = overrides.server.as_ref().unwrap_or(&cluster.server);
    let (host, port) = endpoint(server)
        .map_err(|reason| KubeconfigError::Value { field: "server", reason: reason.to_owned() })?;
    let name = overrides.tls_server_name.as_ref().unwrap_or(&cluster.tls_server_name);
    let insecure = overrides.insecure || cluster.insecure_skip_tls_verify;
    let ca = match &overrides.certificate_authority {
        Some(path) => Some(Source::File(path.clone())),
        None => source(
            "certificate-authority-data",
            &cluster.certificate_authority,
            &cluster.certificate_authority_data,
        )?,
    };
    let credential = match flags_credential(overrides)? {
        Some(credential) => credential,
        None => user_credential(user)?,
    };
    Ok(Connection {
        host,
        port,
        server_name: server_name(Some(name))?,
        ca: (!insecure).then(|| ca.unwrap_or_else(|| Source::File(system_ca.to_owned()))),
        credential,
    })
}

fn server_name(name: Option<&str>) -> Result<Option<Host>, KubeconfigError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    let host = name.parse::<Host>().map_err(|error| KubeconfigError::Value {
        field: "tls-server-name",
        reason: error.to_string(),
    });
    host.map(Some)
}

fn flags_credential(overrides: &Overrides) -> Result<Option<CredentialSource>, KubeconfigError> {
    if let Some(token) = overrides.token.as_deref().filter(|token| !token.is_empty()) {
        return Ok(Some(CredentialSource::Token(Source::Inline(token.as_bytes().to_vec()))));
    }
    match (&overrides.client_certificate, &overrides.client_key) {
        (Some(chain), Some(key)) => Ok(Some(CredentialSource::Certificate(PairSource {
            chain: Source::File(chain.clone()),
            key: Source::File(key.clone()),
        }))),
        (None, None) => Ok(None),
        _ => Err(KubeconfigError::Value {
            field: "client-certificate",
            reason: "certificate and key go together".to_owned(),
        }),
    }
}

fn user_credential(user: &User) -> Result<CredentialSource, KubeconfigError> {
    // As client-go: the file counts before the text, because it can be renewed.
    if !user.token_file.is_empty() {
        return Ok(CredentialSource::Token(Source::File(user.token_file.clone().into())));
    }
    if !user.token.is_empty() {
        return Ok(CredentialSource::Token(Source::Inline(user.token.clone().into_bytes())));
    }
    let chain =
        source("client-certificate-data", &user.client_certificate, &user.client_certificate_data)?;
    let key = source("client-key-data", &user.client_key, &user.client_key_data)?;
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(CredentialSource::Certificate(PairSource { chain, key })),
        (None, None) => Err(KubeconfigError::NoCredential),
        _ => Err(KubeconfigError::Value {
            field: "client-certificate",
            reason: "certificate and key go together".to_owned(),
        }),
    }
}

/// The data counts before the file, as in client-go.
fn source(field: &'static str, file: &str, data: &str) -> Result<Option<Source>, KubeconfigError> {
    if !data.is_empty() {
        let bytes = STANDARD
            .decode(data.trim())
            .map_err(|_| KubeconfigError::Value { field, reason: "it is not base64".to_owned() })?;
        return Ok(Some(Source::Inline(bytes)));
    }
    Ok((!file.is_empty()).then(|| Source::File(file.into())))
}

/// The cluster and the user that a kubeconfig and the flags choose, with absolute paths.
fn chosen(overrides: &Overrides, path: &Path) -> Result<(Cluster, User), KubeconfigError> {
    let failed = |reason: String| KubeconfigError::Read { path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let config: Kubeconfig = serde_saphyr::from_str(&text).map_err(|error| {
        failed(error.to_string().lines().next().unwrap_or("it is not YAML").to_owned())
    })?;
    let missing = |kind, name: &str| KubeconfigError::Missing { kind, name: name.to_owned() };
    let name = overrides.context.as_ref().unwrap_or(&config.current_context);
    let context = config.contexts.iter().find(|context| context.name == *name);
    let context = match context {
        Some(context) => context.context.clone(),
        // Without a context, cluster and user may still be named.
        None if name.is_empty() => Context::default(),
        None => return Err(missing("context", name)),
    };
    let name = overrides.cluster.as_ref().unwrap_or(&context.cluster);
    let cluster = config.clusters.into_iter().find(|cluster| cluster.name == *name);
    let mut cluster = match cluster {
        Some(cluster) => cluster.cluster,
        None if overrides.server.is_some() => Cluster::default(),
        None => return Err(missing("cluster", name)),
    };
    let name = overrides.user.as_ref().unwrap_or(&context.user).clone();
    let user = config.users.into_iter().find(|user| user.name == name);
    let mut user = match user {
        Some(user) => user.user,
        None if name.is_empty() => User::default(),
        None => return Err(missing("user", &name)),
    };
    check(&name, &user, &cluster)?;
    let folder = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = folder.parent().unwrap_or(Path::new("/"));
    for file in [
        &mut cluster.certificate_authority,
        &mut user.token_file,
        &mut user.client_certificate,
        &mut user.client_key,
    ] {
        if !file.is_empty() {
            *file = folder.join(&*file).to_string_lossy().into_owned();
        }
    }
    Ok((cluster, user))
}

fn check(name: &str, user: &User, cluster: &Cluster) -> Result<(), KubeconfigError> {
    const TOKEN: &str = "use token, tokenFile or a client certificate";
    let unsupported = |field, instead| {
        Err(KubeconfigError::Unsupported { user: name.to_owned(), field, instead })
    };
    if user.exec.is_some() {
        return unsupported("exec", TOKEN);
    }
    if user.auth_provider.is_some() {
        return unsupported("auth-provider", TOKEN);
    }
    if !user.username.is_empty() {
        return unsupported("username", TOKEN);
    }
    if !user.impersonate.is_empty() {
        return unsupported("as", "give the gateway a credential of its own");
    }
    if !cluster.proxy_url.is_empty() {
        return unsupported("proxy-url of its cluster", "the gateway stands beside the API server");
    }
    Ok(())
}

/// `https://HOST[:PORT]`. A path would have to be put before every request's path, which must not change.
pub fn endpoint(url: &str) -> Result<(Host, u16), &'static str> {
    let authority = url
        .strip_prefix("https://")
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest))
        .ok_or("it must begin with https://")?;
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of [::1] is part of the address.
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| "its port is not a number from 1 to 65535")?)
        }
        _ => (authority, 443),
    };
    if port == 0 {
        return Err("its port is not a number from 1 to 65535");
    }
    if host.contains('/') || authority.contains('/') {
        return Err("it must have no path");
    }
    // A bare IPv6 address would be ambiguous before a port.
    if host.contains(':') && !host.starts_with('[') {
        return Err("an IPv6 address belongs in brackets");
    }
    Ok((
        host.parse::<Host>().map_err(|_| "its host is neither an IP address nor a DNS name")?,
        port,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: a, user: token}}
- {name: two, context: {cluster: b, user: file}}
clusters:
- {name: a, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: Q0E=}}
- {name: b, cluster: {server: "https://b.example", tls-server-name: kubernetes, certificate-authority: pki/ca.crt}}
- {name: open, cluster: {server: "https://c.example", insecure-skip-tls-verify: true}}
- {name: proxied, cluster: {server: "https://c.example", proxy-url: "http://p"}}
- {name: path, cluster: {server: "https://c.example/k8s"}}
users:
- {name: token, user: {token: secret}}
- {name: file, user: {token: old, tokenFile: token}}
- {name: certificate, user: {client-certificate-data: Q0VSVA==, client-key: key.pem}}
- {name: half, user: {client-certificate-data: Q0VSVA==}}
- {name: exec, user: {exec: {command: aws}}}
- {name: provider, user: {auth-provider: {name: oidc}}}
- {name: basic, user: {username: u, password: p}}
- {name: other, user: {token: t, as: admin}}
- {name: nobody, user: {}}
"#;

    fn described(change: impl FnOnce(&mut Overrides)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, FILE).unwrap();
        let mut overrides = Overrides { kubeconfig: Some(path), ..Overrides::default() };
        change(&mut overrides);
        let source = |source: &Source| match source {
            Source::File(path) => {
                path.strip_prefix(folder.path()).unwrap_or(path).display().to_string()
            }
            Source::Inline(bytes) => format!("={}", String::from_utf8_lossy(bytes)),
        };
        match connection(&overrides, Path::new("/system.crt")) {
            Err(error) => error.to_string().replace(&folder.path().display().to_string(), ""),
            Ok(connection) => {
                let Connection { host, port, server_name, ca, credential } = connection;
                let credential = match credential {
                    CredentialSource::Token(token) => source(&token),
                    CredentialSource::Certificate(pair) => {
                        format!("{}+{}", source(&pair.chain), source(&pair.key))
                    }
                };
                let name = server_name.map(|name| name.to_string()).unwrap_or_default();
                let ca = ca.as_ref().map_or("none".to_owned(), source);
                format!("{host} {port} {name} ca {ca} by {credential}")
            }
        }
    }

    #[test]
    fn what_a_kubeconfig_says_and_flags_change() {
        type Change = fn(&mut Overrides);
        let cases: [(Change, &str); 17] = [
            (|_| {}, "10.0.0.1 6443  ca =CA by =secret"),
            // tokenFile counts before token, and paths are relative to the file.
            (|o| o.context = Some("two".into()), "b.example 443 kubernetes ca pki/ca.crt by token"),
            (|o| o.cluster = Some("open".into()), "c.example 443  ca none by =secret"),
            (|o| o.insecure = true, "10.0.0.1 6443  ca none by =secret"),
            (|o| o.user = Some("certificate".into()), "10.0.0.1 6443  ca =CA by =CERT+key.pem"),
            (|o| o.server = Some("https://x".into()), "x 443  ca =CA by =secret"),
            (|o| o.token = Some("other".into()), "10.0.0.1 6443  ca =CA by =other"),
            (|o| o.tls_server_name = Some("api".into()), "10.0.0.1 6443 api ca =CA by =secret"),
            (
                |o| o.certificate_authority = Some("/other.crt".into()),
                "10.0.0.1 6443  ca /other.crt by =secret",
            ),
            (|o| o.context = Some("x".into()), "kubeconfig: it has no context \"x\""),
            (|o| o.cluster = Some("x".into()), "kubeconfig: it has no cluster \"x\""),
            (|o| o.user = Some("x".into()), "kubeconfig: it has no user \"x\""),
            (
                |o| o.user = Some("exec".into()),
                "kubeconfig: user \"exec\": exec is not supported; use token, tokenFile or a client certificate",
            ),
            (
                |o| o.user = Some("half".into()),
                "client-certificate: certificate and key go together",
            ),
            (
                |o| o.user = Some("nobody".into()),
                "no credential for the API server: give a token or a client certificate",
            ),
            (|o| o.cluster = Some("path".into()), "server: it must have no path"),
            (
                |o| o.kubeconfig = Some("/nowhere".into()),
                "cannot read \"/nowhere\": No such file or directory (os error 2)",
            ),
        ];
        for (change, want) in cases {
            assert_eq!(described(change), want);
        }
        for (user, field) in [("provider", "auth-provider"), ("basic", "username"), ("other", "as")]
        {
            let got = described(|o| o.user = Some(user.to_owned()));
            assert!(got.contains(&format!("{field} is not supported")), "{got}");
        }
        let got = described(|o| o.cluster = Some("proxied".to_owned()));
        assert!(got.contains("proxy-url of its cluster is not supported"), "{got}");
    }

    #[test]
    fn without_a_file_the_server_and_the_system_s_ca() {
        let got = described(|o| {
            o.kubeconfig = None;
            o.server = Some("https://[fd00::1]:6443".to_owned());
            o.token = Some("t".to_owned());
        });
        assert_eq!(got, "fd00::1 6443  ca /system.crt by =t");
    }

    #[test]
    fn endpoints() {
        for (url, want) in [
            ("https://10.0.0.1:6443", Ok("10.0.0.1 6443")),
            ("https://api.example", Ok("api.example 443")),
            ("https://api.example/", Ok("api.example 443")),
            ("https://[fd00::1]", Ok("fd00::1 443")),
            ("https://[fd00::1]:6443", Ok("fd00::1 6443")),
            ("http://api.example", Err("begin with https://")),
            ("api.example:6443", Err("begin with https://")),
            ("https://api.example:0", Err("port")),
            ("https://api.example:99999", Err("port")),
            ("https://api.example/k8s/clusters/c-1", Err("no path")),
            ("https://api.example:6443/k8s", Err("port")),
            ("https://fd00::1", Err("brackets")),
            ("https://fd00::1:443", Err("brackets")),
            ("https://user@api.example", Err("neither")),
            ("https://", Err("neither")),
        ] {
            let got = endpoint(url);
            match (&got, want) {
                (Ok((host, port)), Ok(want)) => assert_eq!(format!("{host} {port}"), want),
                (Err(got), Err(want)) => assert!(got.contains(want), "{url}: {got}"),
                _ => panic!("{url}: {got:?}"),
            }
        }
    }
}
