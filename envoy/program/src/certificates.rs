//! The gateway's own CA and the serving certificate under it, kept as two Secrets of the cluster.
//!
//! The CA is made once and stays: who trusts it goes on doing so. The certificate is made anew when its names are others than
//! those that are wanted, or when half of its life is over. Pods mount the serving Secret alone; the CA's key is read by whoever
//! runs [`keep`], and by nobody else ([decision 13](../../../docs/decisions/0013-a-ca-of-the-gateways-own.md)).

mod authority;

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_client::Connection;
use serde_json::{Value, json};

use self::authority::{Authority, AuthorityError, Serving};
use crate::api::{Api, ApiError, NoApi};

/// How often somebody else may have changed a Secret between reading and writing.
const ATTEMPTS: usize = 5;

/// How often the Service is asked for its address.
const INTERVAL: Duration = Duration::from_secs(2);

/// Names that certificates are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names; the first label may be `*`.
    pub dns: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

impl Names {
    fn sorted(mut self) -> Self {
        self.dns.sort();
        self.dns.dedup();
        self.addresses.sort();
        self.addresses.dedup();
        self
    }
}

/// What is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// Where the Secrets are.
    pub namespace: String,
    /// The Secret with the CA and its key. Made if it is not there.
    pub authority: String,
    /// The Secret of type `kubernetes.io/tls` with the certificate, its key and, as `ca.crt`, the CA.
    pub serving: String,
    /// The certificate's names.
    pub names: Names,
    /// A Service of type `LoadBalancer` whose names and addresses are wanted, too.
    pub load_balancer: Option<String>,
    /// How long to wait until it has one; without, it may have none.
    pub wait: Option<Duration>,
}

/// What was done.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// Whether there is a new CA.
    pub new_authority: bool,
    /// Whether there is a new certificate.
    pub new_certificate: bool,
    /// What the certificate is for.
    pub names: Names,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// There is no way to the API server.
    #[error(transparent)]
    Connection(#[from] NoApi),
    /// The API server does not do what it is asked for.
    #[error("{what}: {source}")]
    Api {
        /// What it was asked for.
        what: String,
        /// Its answer.
        source: ApiError,
    },
    /// A Secret holds something else than it should.
    #[error("secret {name}: {reason}; delete it, and another is made")]
    Secret {
        /// The Secret.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The Service has no address in time.
    #[error("service {0} has no load balancer's name or address yet")]
    NoAddress(String),
    /// A certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] AuthorityError),
    /// Others change the Secret all the time.
    #[error("secret {0} is changed by somebody else again and again")]
    Contended(String),
    /// A certificate for nothing.
    #[error("no name and no address: the certificate would be for nobody")]
    NoNames,
}

/// Makes what is missing of CA and certificate.
///
/// # Errors
/// See [`KeepError`]. What was made before stays.
pub fn keep(connection: &Connection, wanted: &Wanted) -> Result<Done, KeepError> {
    let secrets = Secrets { api: Api::new(connection)?, namespace: &wanted.namespace };
    let mut names = wanted.names.clone();
    if let Some(service) = &wanted.load_balancer {
        let more = secrets.load_balancer(service, wanted.wait)?;
        names.dns.extend(more.dns);
        names.addresses.extend(more.addresses);
    }
    let names = names.sorted();
    if names == Names::default() {
        return Err(KeepError::NoNames);
    }
    let (authority, new_authority) = secrets.authority(&wanted.authority)?;
    let new_certificate = secrets.serving(&wanted.serving, &authority, &names)?;
    Ok(Done { new_authority, new_certificate, names })
}

struct Secrets<'a> {
    api: Api,
    namespace: &'a str,
}

impl Secrets<'_> {
    /// The CA in a Secret, which is made if there is none.
    fn authority(&self, name: &str) -> Result<(Authority, bool), KeepError> {
        let wrong = |reason: String| KeepError::Secret { name: name.to_owned(), reason };
        let read = |secret: &Value| {
            let text = |key| String::from_utf8(data(secret, key).unwrap_or_default());
            let (Ok(certificate), Ok(key)) = (text("tls.crt"), text("tls.key")) else {
                return Err(wrong("tls.crt and tls.key are no text".to_owned()));
            };
            Authority::read(certificate, &key).map_err(|error| wrong(error.to_string()))
        };
        if let Some(secret) = self.get("secrets", name)? {
            return Ok((read(&secret)?, false));
        }
        let authority = Authority::new(name)?;
        let files = [("tls.crt", authority.certificate()), ("tls.key", authority.key())];
        match self.api.create(&self.path("secrets", ""), &self.secret(name, &files)) {
            Ok(_) => Ok((authority, true)),
            // Somebody else was faster: theirs counts.
            Err(ApiError::Status { code: 409, .. }) => match self.get("secrets", name)? {
                Some(secret) => Ok((read(&secret)?, false)),
                None => Err(KeepError::Contended(name.to_owned())),
            },
            Err(source) => Err(KeepError::Api { what: format!("create secret {name}"), source }),
        }
    }

    /// Makes sure that a Secret has a certificate for these names. Says whether it is a new one.
    fn serving(&self, name: &str, authority: &Authority, names: &Names) -> Result<bool, KeepError> {
        for _ in 0..ATTEMPTS {
            let old = self.get("secrets", name)?;
            if old.as_ref().is_some_and(|old| serves(old, authority, names)) {
                return Ok(false);
            }
            let Serving { chain, key } = authority.issue(names)?;
            let files =
                [("tls.crt", &*chain), ("tls.key", &*key), ("ca.crt", authority.certificate())];
            let mut secret = self.secret(name, &files);
            let written = match old {
                Some(old) => {
                    // Only what was read is replaced.
                    secret["metadata"] = old["metadata"].clone();
                    self.api.replace(&self.path("secrets", name), &secret)
                }
                None => self.api.create(&self.path("secrets", ""), &secret),
            };
            match written {
                Ok(_) => return Ok(true),
                Err(ApiError::Status { code: 409, .. }) => {}
                Err(source) => {
                    return Err(KeepError::Api { what: format!("write secret {name}"), source });
                }
            }
        }
        Err(KeepError::Contended(name.to_owned()))
    }

    /// What a Service's load balancer is called.
    fn load_balancer(&self, service: &str, wait: Option<Duration>) -> Result<Names, KeepError> {
        let until = Instant::now() + wait.unwrap_or_default();
        loop {
            let found = self.get("services", service)?.map(|it| addresses(&it)).unwrap_or_default();
            if found != Names::default() || wait.is_none() {
                return Ok(found);
            }
            if Instant::now() >= until {
                return Err(KeepError::NoAddress(service.to_owned()));
            }
            thread::sleep(INTERVAL);
        }
    }

    fn get(&self, resource: &str, name: &str) -> Result<Option<Value>, KeepError> {
        match self.api.get(&self.path(resource, name)) {
            Ok(object) => Ok(Some(object)),
            Err(ApiError::Status { code: 404, .. }) => Ok(None),
            Err(source) => Err(KeepError::Api { what: format!("read {resource} {name}"), source }),
        }
    }

    fn path(&self, resource: &str, name: &str) -> String {
        let path = format!("/api/v1/namespaces/{}/{resource}", self.namespace);
        if name.is_empty() { path } else { format!("{path}/{name}") }
    }

    fn secret(&self, name: &str, files: &[(&str, &str)]) -> Value {
        let data: Value = files
            .iter()
            .map(|(key, text)| ((*key).to_owned(), json!(STANDARD.encode(text))))
            .collect();
        let labels = json!({"app.kubernetes.io/managed-by": "kube-oidc-gateway"});
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels}, "data": data,
        })
    }
}

/// Whether a Secret's certificate is of this CA and comes with it, is for these names, and will last.
fn serves(secret: &Value, authority: &Authority, names: &Names) -> bool {
    let (chain, key) = (data(secret, "tls.crt"), data(secret, "tls.key"));
    let (Some(chain), Some(key)) = (chain, key) else { return false };
    chain.ends_with(authority.certificate().as_bytes())
        && data(secret, "ca.crt").as_deref() == Some(authority.certificate().as_bytes())
        && authority::serves(chain, key, names)
}

fn data(secret: &Value, key: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret["data"][key].as_str()?).ok()
}

/// Source: `core/v1`, `LoadBalancerIngress`: an `ip` or a `hostname`.
fn addresses(service: &Value) -> Names {
    let mut names = Names::default();
    let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    for entry in ingress.into_iter().flatten() {
        names.dns.extend(entry["hostname"].as_str().map(str::to_owned));
        names.addresses.extend(entry["ip"].as_str().and_then(|ip| ip.parse::<IpAddr>().ok()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_names_and_addresses_or_none() {
        for (ingress, dns, addresses) in [
            (json!(null), &[][..], &[][..]),
            (json!([{"hostname": "a.elb.example"}]), &["a.elb.example"], &[]),
            (
                json!([{"ip": "192.0.2.7"}, {"ip": "2001:db8::1", "hostname": "b"}]),
                &["b"],
                &["192.0.2.7", "2001:db8::1"],
            ),
            (json!([{"ip": "x"}]), &[], &[]),
        ] {
            let service = json!({"status": {"loadBalancer": {"ingress": ingress}}});
            let got = super::addresses(&service);
            assert_eq!(got.dns, dns, "{service}");
            let got: Vec<_> = got.addresses.iter().map(ToString::to_string).collect();
            assert_eq!(got, addresses, "{service}");
        }
    }
}
