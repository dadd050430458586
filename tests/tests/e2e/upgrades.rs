//! CVE-2026-73548: data behind an upgrade that kube-apiserver refuses, where the gateway's connection is its credential.
//!
//! The judges are kube-apiserver's audit log and Envoy's counters of connections.

use std::path::{Path, PathBuf};

use gateway_config::{Credential as Way, ServingCertificate};
use sandbox::{
    Credential,
    assets::{self, Progress},
};
use serde_json::json;

use crate::{
    harness::{cluster, until},
    target::{self, Target},
    wire::{Ask, Connection, Version},
};

/// A user who may do everything, so that requests are refused for what they are.
const MIGHTY: &str = "mighty";
const H1: &str = "cluster.apiserver_impersonate_h1";

/// Somebody's certificate who may do everything, written into a folder.
pub fn administrator(folder: &Path) -> ServingCertificate {
    let Credential::Certificate { certificate, key } = cluster().admin_kubeconfig().credential
    else {
        panic!("the administrator has a certificate")
    };
    let pair = ServingCertificate { chain: folder.join("tls.crt"), key: folder.join("tls.key") };
    std::fs::write(&pair.chain, certificate).unwrap();
    std::fs::write(&pair.key, key).unwrap();
    pair
}

/// A gateway with a client certificate and one worker: one pool of connections.
fn target(envoy: Option<PathBuf>, folder: &tempfile::TempDir) -> Target {
    let pair = administrator(folder.path());
    Target::start_with(&json!({}), |gateway| {
        let gateway = match envoy {
            Some(envoy) => gateway.envoy(envoy),
            None => gateway,
        };
        gateway
            .workers(1)
            .inputs(move |inputs| inputs.apiserver.credential = Way::Certificate(pair))
    })
}

/// Upgrades that kube-apiserver answers with 403, 200 and 400, each with whether its user may do everything.
fn refused() -> [(u16, Ask, bool); 3] {
    let list = Ask::new("GET", "/api/v1/namespaces?limit=x");
    [
        (403, Ask::exec("SPDY/3.1"), false),
        (200, Ask::version().upgrade("SPDY/3.1"), false),
        (400, list.upgrade("SPDY/3.1"), true),
    ]
}

fn mighty() {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "e2e-mighty"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": MIGHTY}],
    });
    cluster().apply(&binding.to_string()).unwrap();
}

/// Sends each upgrade twice, with data behind it if `smuggled` gives some, and counts connections.
fn each_has_a_connection_of_its_own(target: &Target, smuggled: impl Fn(&str) -> String) {
    mighty();
    let token = |mighty: bool| {
        let token = target.token();
        if mighty { token.claim("preferred_username", MIGHTY).mint() } else { token.mint() }
    };
    for (status, ask, mighty) in refused() {
        // Over HTTP/2 the client's half is complete, as is then the request of an Envoy that sends on what it holds: its connection
        // looks as good as any.
        for (round, version) in Version::ALL.into_iter().chain(Version::ALL).enumerate() {
            let case = format!("{status}, {version:?}, {round}");
            let before = target.gateway.stats().unwrap().get(&format!("{H1}.upstream_cx_total"));
            let agent = format!("smuggled-{status}-{round}");
            let mark = cluster().audit().mark().unwrap();
            let (ask, behind) = (ask.clone().bearer(&token(mighty)), smuggled(&agent));
            let answer = match version {
                Version::H2 => ask.clone().body(&behind).send(&target.gateway, version).unwrap(),
                Version::H1 => {
                    let mut connection = Connection::open(&target.gateway).unwrap();
                    let bytes = [ask.bytes(), behind.into_bytes()].concat();
                    connection.send(&bytes).unwrap();
                    connection.answer().unwrap()
                }
            };
            assert_eq!(answer.status, status, "{case}: {answer:?}");
            until(&format!("{case}: the connection is closed"), || {
                let stats = target.gateway.stats().unwrap();
                (stats.get(&format!("{H1}.upstream_cx_active")) == 0).then_some(())
            });
            let now = target.gateway.stats().unwrap().get(&format!("{H1}.upstream_cx_total"));
            assert_eq!(now - before, 1, "{case}: one connection for one upgrade");
            let events = cluster().audit().since(mark).unwrap();
            let arrived: Vec<_> = events.iter().filter(|it| it.user_agent == agent).collect();
            assert!(arrived.is_empty(), "{case}: {arrived:?}");
            let own = events.iter().filter(|it| it.user_agent == ask.agent());
            assert!(own.count() > 0, "{case}: kube-apiserver did answer");
        }
    }
}

/// A whole request, which would run as the gateway itself, or as whoever it names.
fn request(agent: &str) -> String {
    format!("GET /api/v1/secrets HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n\r\n")
}

#[test]
fn break_in_2_nothing_follows_a_refused_upgrade_on_a_connection_with_a_client_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(None, &folder);
    each_has_a_connection_of_its_own(&target, request);
    // Others go on as themselves.
    let token = target.token().mint();
    for version in Version::ALL {
        let ask = Ask::exec("SPDY/3.1").bearer(&token);
        let mark = cluster().audit().mark().unwrap();
        assert_eq!(ask.send(&target.gateway, version).unwrap().status, 403, "{version:?}");
        let seen = target::seen(mark, &ask);
        assert_eq!(seen.impersonated_user.unwrap().username, target::USER, "{version:?}");
    }
}

/// An Envoy without the fix keeps such connections, unless it is told to put one request on each. What follows the request is held
/// by the filter.
#[test]
fn break_in_2_an_old_envoy_keeps_no_connection_after_a_refused_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let envoy = assets::vulnerable_envoy(&Progress::new()).unwrap();
    let target = target(Some(envoy), &folder);
    each_has_a_connection_of_its_own(&target, request);
}
