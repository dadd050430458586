//! Servers beside the issuers and kube-apiserver that the filter asks, each by a cluster of its own.
//!
//! Such a cluster leads to one server, whose name its certificate must have, and Envoy adds the credential for it: neither the filter nor a
//! token nor an answer decides who sees it. No route names the cluster; `lint` proves both.

use std::path::{Path, PathBuf};

use gateway_core::config::{
    CalloutCredential, CheckedCredential, ClientCredentials, SignedAssertion,
};
use gateway_net::{Host, endpoint};
use kube_authn::discovery::Endpoint;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    error::RenderError,
    issuers::Issuer,
    paths::{Watched, WatchedPair, watched},
};

/// A server that the filter asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callout {
    /// What asks it, as the filter's configuration has it: `groupSources/NAME`.
    pub asker: String,
    /// The cluster's name.
    pub cluster: String,
    /// The field that names it, for errors.
    pub field: String,
    /// Its URL.
    pub url: String,
    /// The PEM text of the CAs that may sign its certificate; the system's if absent.
    pub certificate_authority: Option<String>,
    /// Who the gateway is to it.
    pub credential: CalloutCredential,
    /// The CAs of the token endpoint, if the credential has one.
    pub token_authority: Option<String>,
    /// Where the program hands over the tokens that it gets for it, if it does.
    pub token_file: Option<PathBuf>,
}

impl Callout {
    /// The server of a section, which `field` names; `name` is its own among those of the same kind.
    ///
    /// Where nothing is said of CAs, a server on an issuer's host has the issuer's.
    pub(crate) fn new(
        kind: (&str, &str),
        (name, field): (&str, String),
        (url, authority): (&str, &str),
        credential: &CalloutCredential,
        issuers: &[Issuer],
    ) -> Self {
        let (asker, prefix) = kind;
        let given = Some(authority).filter(|pem| !pem.is_empty()).map(str::to_owned);
        let of_issuer = |url: &str| {
            let host = host(url)?;
            let issuer =
                issuers.iter().find(|it| self::host(&it.discovery_url).as_ref() == Some(&host))?;
            Some(issuer.certificate_authority.clone())
        };
        let token_authority = match credential.given() {
            CheckedCredential::OAuth2(it) => Some(&it.token_endpoint),
            CheckedCredential::Assertion(it) => Some(&it.token_endpoint),
            _ => None,
        };
        let token_authority =
            token_authority.and_then(|url| of_issuer(url).unwrap_or_else(|| given.clone()));
        Self {
            asker: format!("{asker}/{name}"),
            cluster: format!("callout_{prefix}_{name}"),
            field,
            url: url.to_owned(),
            certificate_authority: given.or_else(|| of_issuer(url).flatten()),
            credential: credential.clone(),
            token_authority,
            token_file: None,
        }
    }

    /// The assertion by which the program gets tokens for it, if it does.
    #[must_use]
    pub fn assertion(&self) -> Option<&SignedAssertion> {
        match self.credential.given() {
            CheckedCredential::Assertion(it) => Some(it),
            _ => None,
        }
    }

    /// The file below a folder in which its tokens are handed over. For another server, or as another client, it is another: nobody is
    /// shown a token that was meant for somebody else.
    pub(crate) fn token_file_in(&self, folder: &Path) -> Option<PathBuf> {
        let SignedAssertion { token_endpoint, client_id, subject, scopes, .. } =
            self.assertion()?;
        let whose = format!("{:?}", (&self.url, token_endpoint, client_id, subject, scopes));
        let hash = Sha256::digest(whose.as_bytes());
        let name = hash
            .iter()
            .take(8)
            .fold(format!("{}-", self.cluster), |name, byte| format!("{name}{byte:02x}"));
        Some(folder.join(name).join("token"))
    }

    /// The URLs of all servers that Envoy asks for it.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        let token = match self.credential.given() {
            CheckedCredential::OAuth2(it) => Some(it.token_endpoint.as_str()),
            _ => None,
        };
        std::iter::once(self.url.as_str()).chain(token)
    }

    /// The CA bundles that it brings along.
    pub(crate) fn bundles(&self) -> impl Iterator<Item = &str> {
        self.certificate_authority.as_deref().into_iter().chain(self.token_authority.as_deref())
    }

    /// The file in which Envoy finds its secret.
    pub(crate) fn secret_file(&self) -> String {
        format!("secret-{}.yaml", self.cluster)
    }
}

fn host(url: &str) -> Option<String> {
    Endpoint::parse(url).ok().map(|endpoint| endpoint.host().to_ascii_lowercase())
}

/// A cluster for one server.
#[derive(Serialize)]
pub(crate) struct CalloutCluster<'a> {
    name: String,
    server: Server<'a>,
    /// What goes before a secret in `authorization`, if one goes there.
    prefix: Option<&'static str>,
    oauth2: Option<OAuth2<'a>>,
    /// Whether its connections show a certificate.
    certificate: bool,
    /// The file with the secret of any of these.
    secret: Option<String>,
    /// The folder that Envoy watches for it.
    directory: Option<String>,
}

/// Who is reached.
#[derive(Serialize)]
pub(crate) struct Server<'a> {
    host: String,
    port: u16,
    by_name: bool,
    sni: Option<String>,
    san_type: &'static str,
    ca: Option<&'a str>,
}

#[derive(Serialize)]
struct OAuth2<'a> {
    endpoint: &'a str,
    /// The cluster by which Envoy asks there.
    cluster: String,
    server: Server<'a>,
    client_id: &'a str,
    scopes: &'a [String],
    in_body: bool,
}

/// A secret of one of the clusters, as its file has it.
#[derive(Serialize)]
pub(crate) struct CalloutSecret<'a> {
    cluster: &'a str,
    file: Option<Watched<'a>>,
    pair: Option<WatchedPair<'a>>,
}

impl<'a> Server<'a> {
    fn new(field: &str, url: &str, ca: Option<&'a str>) -> Result<Self, RenderError> {
        let bad =
            |why: &str| RenderError::BadCallout { field: field.to_owned(), why: why.to_owned() };
        let read = Endpoint::parse(url).map_err(|error| bad(&error.to_string()))?;
        let (host, port) = endpoint(&format!("https://{}", read.authority())).map_err(bad)?;
        let (san_type, sni) = match &host {
            Host::Ip(_) => ("IP_ADDRESS", None),
            Host::Dns(name) => ("DNS", Some(name.as_str().to_owned())),
        };
        let by_name = matches!(host, Host::Dns(_));
        Ok(Self { host: host.to_string(), port, by_name, sni, san_type, ca })
    }
}

impl<'a> CalloutCluster<'a> {
    pub(crate) fn new(callout: &'a Callout, folder: &str) -> Result<Self, RenderError> {
        let Callout { cluster, field, url, certificate_authority, .. } = callout;
        let server = Server::new(field, url, certificate_authority.as_deref())?;
        let secret = callout.secret()?;
        let directory = secret.as_ref().and_then(CalloutSecret::directory);
        let given = callout.credential.given();
        Ok(Self {
            name: cluster.clone(),
            server,
            prefix: match given {
                CheckedCredential::Bearer(_) | CheckedCredential::Assertion(_) => Some("Bearer "),
                CheckedCredential::Basic(_) => Some("Basic "),
                _ => None,
            },
            oauth2: match given {
                CheckedCredential::OAuth2(it) => Some(OAuth2::new(it, callout)?),
                _ => None,
            },
            certificate: matches!(given, CheckedCredential::Certificate(_)),
            secret: secret.is_some().then(|| format!("{folder}/{}", callout.secret_file())),
            directory,
        })
    }
}

impl<'a> OAuth2<'a> {
    fn new(it: &'a ClientCredentials, callout: &'a Callout) -> Result<Self, RenderError> {
        let ca = callout.token_authority.as_deref();
        let field = format!("{}.credential.oauth2.tokenEndpoint", callout.field);
        Ok(Self {
            endpoint: &it.token_endpoint,
            cluster: format!("{}_token", callout.cluster),
            server: Server::new(&field, &it.token_endpoint, ca)?,
            client_id: &it.client_id,
            scopes: &it.scopes,
            in_body: it.secret_in_body,
        })
    }
}

impl Callout {
    /// The secret of its credential, if that has one.
    pub(crate) fn secret(&self) -> Result<Option<CalloutSecret<'_>>, RenderError> {
        let cluster = self.cluster.as_str();
        match self.credential.given() {
            CheckedCredential::None => Ok(None),
            CheckedCredential::OAuth2(it) => {
                CalloutSecret::of_file(cluster, "client secret", it.client_secret_file.as_ref())
            }
            CheckedCredential::Assertion(_) => match &self.token_file {
                Some(path) => CalloutSecret::of_file(cluster, "access token", path),
                None => Err(RenderError::BadCallout {
                    field: format!("{}.credential.assertion", self.field),
                    why: "needs `kube-oidc-gateway run`, which gets the tokens; with files for another Envoy, write tokens into a file \
                          and name that in bearerTokenFile"
                        .to_owned(),
                }),
            },
            CheckedCredential::Bearer(path) => {
                CalloutSecret::of_file(cluster, "bearer token", path.as_ref())
            }
            CheckedCredential::Basic(path) => {
                CalloutSecret::of_file(cluster, "name and password", path.as_ref())
            }
            CheckedCredential::Certificate(it) => {
                let chain = watched("client certificate", Path::new(&it.certificate_file))?;
                let key = watched("client key", Path::new(&it.key_file))?;
                Ok(Some(CalloutSecret {
                    cluster,
                    file: None,
                    pair: Some(WatchedPair::of(chain, key)),
                }))
            }
        }
    }
}

impl<'a> CalloutSecret<'a> {
    fn of_file(
        cluster: &'a str,
        what: &'static str,
        path: &'a Path,
    ) -> Result<Option<Self>, RenderError> {
        Ok(Some(Self { cluster, file: Some(watched(what, path)?), pair: None }))
    }

    fn directory(&self) -> Option<String> {
        let chain = self.pair.as_ref().map(WatchedPair::chain);
        self.file.as_ref().or(chain).map(|file| file.directory().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::config::{API_VERSION, KIND};
    use gateway_net::Proxies;
    use serde_json::{Value, json};

    use crate::Documents;

    fn documents(source: &Value) -> Documents {
        let mut whole =
            json!({"name": "a", "issuer": "https://a.example", "path": "/x", "groups": "answer.g"});
        whole.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        let jwt = |url: &str, ca: &str| {
            let mappings = json!({"username": {"claim": "sub", "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}});
            json!({"issuer": {"url": url, "audiences": ["a"], "certificateAuthority": ca}, "claimMappings": mappings})
        };
        let ca = include_str!("../tests/support/issuer-ca.pem");
        let authentication = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [jwt("https://a.example", ca), jwt("https://b.example", "")],
        });
        let gateway = json!({"apiVersion": API_VERSION, "kind": KIND, "groupSources": [whole]});
        Documents::from_values(&authentication, Some(gateway)).unwrap()
    }

    /// A server on an issuer's own host is believed as the issuer is; any other by what is said, or by the system.
    #[test]
    fn a_server_on_an_issuer_s_host_has_its_ca() {
        let own = "-----BEGIN CERTIFICATE-----\nown\n-----END CERTIFICATE-----\n";
        for (url, token, authority, want) in [
            ("https://a.example", "https://a.example/token", "", (Some("issuer"), Some("issuer"))),
            ("https://a.example:8443/x", "https://b.example/t", "", (Some("issuer"), None)),
            ("https://b.example", "https://a.example/token", "", (None, Some("issuer"))),
            ("https://c.example", "https://d.example/token", "", (None, None)),
            ("https://a.example", "https://a.example/token", own, (Some("own"), Some("issuer"))),
            ("https://c.example", "https://d.example/token", own, (Some("own"), Some("own"))),
        ] {
            let oauth2 = json!({"tokenEndpoint": token, "clientID": "c", "clientSecretFile": "/s"});
            let documents = documents(
                &json!({"url": url, "certificateAuthority": authority, "credential": {"oauth2": oauth2}}),
            );
            let [callout] = documents.callouts() else { panic!() };
            let whose = |pem: &Option<String>| {
                pem.as_ref().map(|pem| if pem == own { "own" } else { "issuer" })
            };
            let got = (whose(&callout.certificate_authority), whose(&callout.token_authority));
            assert_eq!(got, want, "{url} {token}");
            assert_eq!(callout.cluster, "callout_groups_a");
        }
    }

    /// A token for one server is never shown to the next of the same name.
    #[test]
    fn a_token_s_file_is_of_one_server_and_one_client() {
        let file = |url: &str, more: &Value| {
            let mut assertion = json!({"tokenEndpoint": "https://a.example/token", "clientID": "c", "keyFile": "/k"});
            assertion.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let source = json!({"url": url, "credential": {"assertion": assertion}});
            let documents = documents(&source).with_tokens_in("/run/tokens".as_ref());
            let [callout] = documents.callouts() else { panic!() };
            callout.token_file.clone().unwrap()
        };
        let first = file("https://c.example", &json!({}));
        assert!(first.starts_with("/run/tokens") && first.ends_with("token"), "{first:?}");
        // The next key is the same client's.
        let next = file("https://c.example", &json!({"keyFile": "/l", "keyID": "2"}));
        assert_eq!(first, next);
        for other in [
            file("https://d.example", &json!({})),
            file("https://c.example", &json!({"clientID": "d"})),
            file("https://c.example", &json!({"scopes": ["s"]})),
            file("https://c.example", &json!({"tokenEndpoint": "https://b.example/token"})),
            file("https://c.example", &json!({"grant": "jwtBearer", "subject": "admin"})),
        ] {
            assert_ne!(first, other);
        }
    }

    /// Files for an Envoy of its own: nobody would get the tokens.
    #[test]
    fn an_assertion_without_the_program_is_refused_and_says_what_helps() {
        let assertion =
            json!({"tokenEndpoint": "https://a.example/token", "clientID": "c", "keyFile": "/k"});
        let documents =
            documents(&json!({"url": "https://c.example", "credential": {"assertion": assertion}}));
        let [callout] = documents.callouts() else { panic!() };
        let error = callout.secret().err().unwrap().to_string();
        for word in ["groupSources[0].credential.assertion", "run", "bearerTokenFile"] {
            assert!(error.contains(word), "{error}");
        }
    }

    /// The way through a proxy is a route, and no route may lead to a credential.
    #[test]
    fn a_server_behind_a_proxy_is_refused_and_says_what_helps() {
        let proxies = |no_proxy: &'static str| {
            Proxies::read(move |name| match name {
                "HTTPS_PROXY" => Some("http://proxy.example:3128".to_owned()),
                "NO_PROXY" => Some(no_proxy.to_owned()),
                _ => None,
            })
        };
        let documents = documents(&json!({"url": "https://c.example"}));
        let error = documents.clone().through(&proxies("")).unwrap_err().to_string();
        assert!(error.contains("groupSources[0]") && error.contains("NO_PROXY"), "{error}");
        documents.through(&proxies("c.example")).unwrap();
    }
}
