//! The way to kube-apiserver as a kubeconfig, flags or the pod's ServiceAccount have it.
//!
//! Sources: client-go, `tools/clientcmd` (flags over files) and `rest.InClusterConfig`.

use std::{
    env,
    path::{Path, PathBuf},
};

use gateway_net::{Host, endpoint};

use crate::{
    error::KubeconfigError,
    file::{self, Choice, Chosen, halves},
    source::{PairSource, Source},
};

/// Where a pod finds its ServiceAccount.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where kube-apiserver is and how the gateway proves who it is, as a pod or a kubeconfig has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Where it listens.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
    /// The name that its certificate must have, if not `host`.
    pub server_name: Option<Host>,
    /// The bundle that signed its certificate; if absent, whoever answers is believed.
    pub ca: Option<Source>,
    /// The gateway's credential.
    pub credential: CredentialSource,
}

/// Where the gateway's credential comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A token.
    Token(Source),
    /// A client certificate.
    Certificate(PairSource),
}

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

/// Finds the way: flags, then the kubeconfig, then the pod's ServiceAccount.
/// `system_ca` is the bundle for a server whose CA nobody names.
pub fn connection(overrides: &Overrides, system_ca: &Path) -> Result<Connection, KubeconfigError> {
    match overrides.kubeconfig.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        None if overrides.server.is_none() => in_pod(overrides),
        file => {
            let chosen = match file {
                Some(path) => file::read(path, overrides.choice())?,
                None => Chosen::default(),
            };
            outside(overrides, &chosen, system_ca)
        }
    }
}

/// The address that Kubernetes gives each pod (`rest.InClusterConfig` of client-go).
#[must_use]
pub fn pod_endpoint() -> Option<(Host, u16)> {
    let host = env::var("KUBERNETES_SERVICE_HOST").ok()?.parse().ok()?;
    Some((host, env::var("KUBERNETES_SERVICE_PORT").ok()?.parse().ok()?))
}

impl Overrides {
    fn choice(&self) -> Choice<'_> {
        Choice {
            context: self.context.as_deref(),
            cluster: self.cluster.as_deref(),
            user: self.user.as_deref(),
            without_cluster: self.server.is_some(),
            first: false,
        }
    }
}

fn in_pod(overrides: &Overrides) -> Result<Connection, KubeconfigError> {
    let (host, port) = pod_endpoint().ok_or(KubeconfigError::Nowhere)?;
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
    chosen: &Chosen,
    system_ca: &Path,
) -> Result<Connection, KubeconfigError> {
    let cluster = &chosen.cluster;
    let server = overrides.server.as_ref().unwrap_or(&cluster.server);
    let (host, port) =
        endpoint(server).map_err(|reason| KubeconfigError::value("server", reason))?;
    let name = overrides.tls_server_name.as_ref().unwrap_or(&cluster.tls_server_name);
    let insecure = overrides.insecure || cluster.insecure_skip_tls_verify;
    let ca = match &overrides.certificate_authority {
        Some(path) => Some(Source::File(path.clone())),
        None => chosen.ca()?,
    };
    let credential = match flags_credential(overrides)? {
        Some(credential) => credential,
        None => chosen.credential()?,
    };
    Ok(Connection {
        host,
        port,
        server_name: server_name(Some(name))?,
        ca: (!insecure).then(|| ca.unwrap_or_else(|| Source::File(system_ca.to_owned()))),
        credential,
    })
}

/// The name in a certificate, if one is given.
pub(crate) fn server_name(name: Option<&str>) -> Result<Option<Host>, KubeconfigError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    let host = name.parse::<Host>();
    host.map(Some).map_err(|error| KubeconfigError::value("tls-server-name", error.to_string()))
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
        _ => Err(halves()),
    }
}

impl Chosen {
    fn credential(&self) -> Result<CredentialSource, KubeconfigError> {
        if !self.user.username.is_empty() {
            return Err(
                self.unsupported("username", "use token, tokenFile or a client certificate")
            );
        }
        if let Some(token) = self.user.token() {
            return Ok(CredentialSource::Token(token));
        }
        let pair = self.user.pair()?.ok_or(KubeconfigError::NoCredential)?;
        Ok(CredentialSource::Certificate(pair))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
}
