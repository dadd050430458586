//! Issuers, and which Envoy cluster the filter uses for which.
//!
//! A cluster can hold one CA bundle, and its hosts are whatever the issuers' URLs name. So there is one cluster for each
//! bundle. Its name is made of the bundle: a new CA is a new cluster, which exists before the filter is told of it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// An OpenID Connect issuer, as far as Envoy must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its URL, as in tokens' `iss`.
    pub url: String,
    /// Where its discovery document is.
    pub discovery_url: String,
    /// The PEM text of the CAs that may sign its certificate; the system's if absent.
    pub certificate_authority: Option<String>,
    /// Whether it is reached through the proxy, at all its URLs.
    pub proxied: bool,
}

/// The cluster for issuers without a CA bundle of their own.
const SYSTEM: &str = "issuers_system";

/// The name of each issuer's cluster by the issuer's URL: `issuerClusters` of the filter's configuration.
#[must_use]
pub(crate) fn issuer_clusters(issuers: &[Issuer]) -> BTreeMap<String, String> {
    issuers.iter().map(|issuer| (issuer.url.clone(), cluster_name(issuer))).collect()
}

/// What a cluster for issuers is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cluster<'a> {
    /// The CA bundle; the system's if absent.
    pub ca: Option<&'a str>,
    /// Whether they are reached through the proxy.
    pub proxied: bool,
}

/// The distinct clusters of some issuers.
///
/// # Errors
/// The name that stands for two different bundles.
pub(crate) fn distinct<'a>(
    issuers: impl IntoIterator<Item = &'a Issuer>,
) -> Result<BTreeMap<String, Cluster<'a>>, String> {
    let mut clusters = BTreeMap::new();
    for issuer in issuers {
        let name = cluster_name(issuer);
        let ca = issuer.certificate_authority.as_deref();
        let cluster = Cluster { ca, proxied: issuer.proxied };
        if clusters.insert(name.clone(), cluster).is_some_and(|other| other != cluster) {
            return Err(name);
        }
    }
    Ok(clusters)
}

/// The name of an issuer's cluster.
#[must_use]
pub fn cluster_name(issuer: &Issuer) -> String {
    let name = match &issuer.certificate_authority {
        None => SYSTEM.to_owned(),
        Some(pem) => {
            let hash = Sha256::digest(pem);
            hash.iter()
                .take(4)
                .fold("issuers_".to_owned(), |name, byte| format!("{name}{byte:02x}"))
        }
    };
    if issuer.proxied { format!("{name}_proxied") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(url: &str, certificate_authority: Option<&str>) -> Issuer {
        Issuer {
            url: url.to_owned(),
            discovery_url: url.to_owned(),
            certificate_authority: certificate_authority.map(str::to_owned),
            proxied: false,
        }
    }

    #[test]
    fn one_cluster_for_each_bundle() {
        let issuers = [
            issuer("https://a.example", None),
            issuer("https://b.example", None),
            issuer("https://c.example", Some("abc")),
            issuer("https://d.example", Some("abc")),
            issuer("https://e.example", Some("abc\n")),
        ];
        let names = issuer_clusters(&issuers);
        // printf abc | sha256sum
        assert_eq!(names["https://c.example"], "issuers_ba7816bf");
        assert_eq!(names["https://d.example"], names["https://c.example"]);
        assert_ne!(names["https://e.example"], names["https://c.example"]);
        assert_eq!(names["https://a.example"], "issuers_system");
        assert_eq!(names["https://b.example"], "issuers_system");

        let clusters = distinct(&issuers).unwrap();
        assert_eq!(clusters.len(), 3);
        assert_eq!(clusters["issuers_ba7816bf"].ca, Some("abc"));
        assert_eq!(clusters["issuers_system"].ca, None);

        let proxied = Issuer { proxied: true, ..issuers[0].clone() };
        let names = issuer_clusters(&[proxied]);
        assert_eq!(names["https://a.example"], "issuers_system_proxied");
    }
}
