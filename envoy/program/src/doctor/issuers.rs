//! Issuers, asked as the gateway asks: discovery, the key set that it names, and what of it can be used.

use std::{thread, time::SystemTime};

use gateway_config::{Documents, Issuer, cluster_name};
use gateway_control::{Probe, ProbeError};
use gateway_core::callout::Cause;
use kube_authn::{
    JwtAuthenticator,
    config::{LoadOptions, load},
    discovery::DiscoveryError,
    jwks::{KeySet, KeySetLimits},
};

use super::{certificates::until, clock, cure, finding::Findings};
use crate::fetch::{self, FetchError, Fetched};

/// By Envoy, or by this program where there is none.
pub(super) fn look(findings: &mut Findings, documents: &Documents, probe: Option<&Probe>) {
    let rules = documents.gateway().kubernetes_rules;
    let text = serde_json::to_vec(documents.authentication()).unwrap_or_default();
    let Ok(configuration) = load(&text, &LoadOptions { rules, ..LoadOptions::default() }) else {
        return;
    };
    let issuers: Vec<_> = configuration.jwt().iter().zip(documents.issuers()).collect();
    let answers: Vec<_> = thread::scope(|scope| {
        // One that is silent does not keep the others waiting.
        let ask = |(jwt, issuer): &(&JwtAuthenticator, &Issuer)| {
            let cluster = cluster_name(issuer);
            // Each fetcher has what a thread of its own may use.
            let request = fetch::Request::new(jwt);
            scope.spawn(move || {
                let fetched = match probe {
                    Some(probe) => request.by_envoy(probe, &cluster),
                    None => request.by_program(),
                };
                (fetched, SystemTime::now())
            })
        };
        let asked: Vec<_> = issuers.iter().map(ask).collect();
        asked.into_iter().map(|it| it.join().ok()).collect()
    });
    for ((_, issuer), answer) in issuers.iter().zip(answers) {
        let Some((fetched, at)) = answer else { continue };
        one(findings, issuer, fetched, documents, (probe.is_some(), at));
        if let Some(pem) = &issuer.certificate_authority {
            let what = format!("of {}", issuer.url);
            let cure = "certificateAuthority of the issuer, with the new CA beside the old one";
            until(findings, "issuer's CA", &what, pem.as_bytes(), cure);
        }
    }
}

fn one(
    findings: &mut Findings,
    issuer: &Issuer,
    fetched: Result<Fetched, FetchError>,
    documents: &Documents,
    (by_envoy, at): (bool, SystemTime),
) {
    let url = &issuer.url;
    let who = if by_envoy { "by Envoy" } else { "by this program, whose TLS is not Envoy's" };
    let way = if issuer.proxied { format!("{who}, through the proxy") } else { who.to_owned() };
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(FetchError::Envoy { error: ProbeError::NoCluster, .. }) => {
            return findings.fail(
                "issuer",
                format!("{url}: the gateway that runs here does not know it"),
                "its documents are others than these, or it has refused these: its log says why; another --run-dir looks at these alone",
            );
        }
        Err(error) => {
            let cause = cure::cause(&error);
            let cure = match &error {
                FetchError::Discovery(DiscoveryError::Issuer { got, .. }) => {
                    format!("it calls itself {got:?}: its URL must be that, letter for letter")
                }
                _ => cure::plain(cause),
            };
            return findings.fail(
                "issuer",
                format!("{url}: {}: {error} ({way})", cause.words()),
                cure,
            );
        }
    };
    let host = url.as_str();
    let rules = documents.gateway().kubernetes_rules;
    match KeySet::parse(&fetched.document, KeySetLimits::default(), rules) {
        Ok(keys) if keys.is_empty() => {
            let skipped: Vec<_> = keys.skipped().iter().map(ToString::to_string).collect();
            findings.fail(
                "issuer",
                format!("{url}: {}: {}", Cause::NoUsableKey.words(), skipped.join("; ")),
                "have it sign with RS256 or ES256, as every provider can",
            );
        }
        Ok(keys) => {
            let number = keys.len();
            let plural = if number == 1 { "" } else { "s" };
            findings.ok("issuer", format!("{url}: {number} usable key{plural}, asked {way}"));
            for skipped in keys.skipped() {
                findings.warn(
                    "keys",
                    format!("{url}: {skipped}"),
                    "no token that is signed with it is taken; nothing to do if none is",
                );
            }
        }
        Err(error) => findings.fail(
            "issuer",
            format!("{url}: its key set is refused: {error}"),
            cure::plain(Cause::Document),
        ),
    }
    clock::look(findings, host, fetched.date.as_deref(), at);
}
