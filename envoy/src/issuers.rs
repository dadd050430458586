//! Which Envoy cluster the filter uses for which issuer.
//!
//! A cluster can hold one CA bundle, and its hosts are whatever the issuers' URLs name. So there is one cluster for each
//! bundle. Its name is made of the bundle: a new CA is a new cluster, which exists before the filter is told of it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::inputs::Issuer;

/// The cluster for issuers without a CA bundle of their own.
const SYSTEM: &str = "issuers_system";

/// The name of each issuer's cluster by the issuer's URL: `issuerClusters` of the filter's configuration.
#[must_use]
pub fn issuer_clusters(issuers: &[Issuer]) -> BTreeMap<String, String> {
    issuers.iter().map(|issuer| (issuer.url.clone(), cluster_name(issuer))).collect()
}

/// The distinct clusters of some issuers with their CA bundles; `None` is the system's.
///
/// # Errors
/// The name that stands for two different bundles.
pub(crate) fn distinct(issuers: &[Issuer]) -> Result<BTreeMap<String, Option<&str>>, String> {
    let mut clusters = BTreeMap::new();
    for issuer in issuers {
        let (name, bundle) = (cluster_name(issuer), bundle(issuer));
        if clusters.insert(name.clone(), bundle).is_some_and(|other| other != bundle) {
            return Err(name);
        }
    }
    Ok(clusters)
}

/// The issuer's own CA bundle. An empty one is none, as in an `AuthenticationConfiguration`.
pub(crate) fn bundle(issuer: &Issuer) -> Option<&str> {
    issuer.certificate_authority.as_deref().filter(|pem| !pem.is_empty())
}

fn cluster_name(issuer: &Issuer) -> String {
    let Some(pem) = bundle(issuer) else { return SYSTEM.to_owned() };
    let hash = Sha256::digest(pem);
    hash.iter().take(4).fold("issuers_".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(url: &str, certificate_authority: Option<&str>) -> Issuer {
        Issuer {
            url: url.to_owned(),
            certificate_authority: certificate_authority.map(str::to_owned),
        }
    }

    #[test]
    fn one_cluster_for_each_bundle() {
        let issuers = [
            issuer("https://a.example", None),
            issuer("https://b.example", Some("")),
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
        assert_eq!(clusters["issuers_ba7816bf"], Some("abc"));
        assert_eq!(clusters["issuers_system"], None);
    }
}
