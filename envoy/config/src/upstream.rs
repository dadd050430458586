//! The clusters towards kube-apiserver, and which of them holds the gateway's credential.

use gateway_net::Host;
use serde::Serialize;

use crate::{
    error::RenderError,
    inputs::{ApiServer, Credential, Inputs},
    paths::{Watched, WatchedPair, folder, watched, watched_pair},
};

const IMPERSONATE_H2: &str = "apiserver_impersonate_h2";
const IMPERSONATE_H1: &str = "apiserver_impersonate_h1";
const OWN_H2: &str = "apiserver_own_h2";
const OWN_H1: &str = "apiserver_own_h1";

/// The cluster by which kube-apiserver is asked whether it answers, without the gateway's credential.
pub const PROBE_CLUSTER: &str = "apiserver_probe";

/// The same under a CA that is to be tried before requests go by it. It is there while somebody asks.
pub const CANDIDATE_CLUSTER: &str = "apiserver_candidate";

/// The clusters that send the ServiceAccount token.
pub(crate) fn token_clusters(inputs: &Inputs) -> impl Iterator<Item = &'static str> {
    let with_token = matches!(inputs.apiserver.credential, Credential::Token(_));
    [IMPERSONATE_H2, IMPERSONATE_H1]
        .into_iter()
        .chain(inputs.documents.review_cluster())
        .filter(move |_| with_token)
}

/// Whether a cluster for kube-apiserver speaks HTTP/2.
pub(crate) fn is_h2(cluster: &str) -> bool {
    ![IMPERSONATE_H1, OWN_H1].contains(&cluster)
}

/// The file of such a cluster's secret, which has the cluster's name.
pub(crate) fn token_file(cluster: &str) -> String {
    format!("secret-token-{cluster}.yaml")
}

/// kube-apiserver's own limit of streams for one connection.
pub(crate) const STREAMS: u32 = 100;

/// kube-apiserver, as all clusters see it.
#[derive(Serialize)]
pub(crate) struct Upstream<'a> {
    host: String,
    port: u16,
    by_name: bool,
    sni: Option<String>,
    san: String,
    san_type: &'static str,
    /// If absent, its certificate is not looked at.
    ca: Option<Watched<'a>>,
    /// One of the two.
    token: Option<Watched<'a>>,
    certificate: Option<WatchedPair<'a>>,
    streams_per_connection: u32,
    connection_window_bytes: u32,
    clusters: Vec<UpstreamCluster<'a>>,
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct UpstreamCluster<'a> {
    name: &'static str,
    /// A CA bundle of its own, which is no file yet.
    ca: Option<&'a str>,
    h2: bool,
    alpn: &'static [&'static str],
    /// The gateway's credential goes out on its requests.
    credential: bool,
    /// The file of the secret that holds the ServiceAccount token, if that is the credential.
    token: Option<String>,
    /// It is sent on impersonating requests only.
    impersonating: bool,
    /// Only the program asks by it.
    probe: bool,
}

/// A decision of the filter and where it leads.
#[derive(Serialize)]
pub(crate) struct Mode {
    name: &'static str,
    h1: &'static str,
    h2: &'static str,
}

impl<'a> Upstream<'a> {
    pub(crate) fn new(inputs: &'a Inputs) -> Result<Self, RenderError> {
        let ApiServer { host, port, ca, server_name, credential } = &inputs.apiserver;
        let certified = server_name.as_ref().unwrap_or(host);
        let (san_type, sni) = match certified {
            Host::Ip(_) => ("IP_ADDRESS", None),
            Host::Dns(name) => ("DNS", Some(name.as_str().to_owned())),
        };
        let (token, certificate) = match credential {
            Credential::Token(path) => (Some(watched("API server token", path)?), None),
            Credential::Certificate(pair) => {
                (None, Some(watched_pair("client certificate", "client key", pair)?))
            }
        };
        Ok(Self {
            host: host.to_string(),
            port: *port,
            by_name: matches!(host, Host::Dns(_)),
            sni,
            san: certified.to_string(),
            san_type,
            ca: ca.as_deref().map(|ca| watched("API server CA", ca)).transpose()?,
            token,
            certificate,
            streams_per_connection: STREAMS,
            connection_window_bytes: 2 * STREAMS * inputs.options.limits.stream_window_bytes,
            clusters: upstream_clusters(inputs)?,
        })
    }
}

fn upstream_clusters(inputs: &Inputs) -> Result<Vec<UpstreamCluster<'_>>, RenderError> {
    let directory = folder(&inputs.directory)?;
    let cluster = |name, h2| UpstreamCluster {
        name,
        ca: None,
        h2,
        alpn: if h2 { &["h2", "http/1.1"] } else { &["http/1.1"] },
        credential: false,
        token: None,
        impersonating: false,
        probe: false,
    };
    let by_token = matches!(inputs.apiserver.credential, Credential::Token(_));
    let with_credential = |cluster: UpstreamCluster<'static>| UpstreamCluster {
        credential: true,
        token: by_token.then(|| format!("{directory}/{}", token_file(cluster.name))),
        ..cluster
    };
    let impersonating =
        |cluster| UpstreamCluster { impersonating: true, ..with_credential(cluster) };
    let mut clusters = vec![
        impersonating(cluster(IMPERSONATE_H2, true)),
        impersonating(cluster(IMPERSONATE_H1, false)),
    ];
    if let Some(review) = inputs.documents.review_cluster() {
        clusters.push(with_credential(cluster(review, true)));
    }
    if inputs.documents.own_token() {
        clusters.extend([cluster(OWN_H2, true), cluster(OWN_H1, false)]);
    }
    clusters.push(UpstreamCluster { probe: true, ..cluster(PROBE_CLUSTER, true) });
    if let Some(ca) = &inputs.candidates.apiserver_ca {
        let candidate = cluster(CANDIDATE_CLUSTER, true);
        clusters.push(UpstreamCluster { probe: true, ca: Some(ca), ..candidate });
    }
    Ok(clusters)
}

/// The decisions of the filter for which there are routes.
pub(crate) fn modes(own_token: bool) -> Vec<Mode> {
    let mut modes = vec![Mode { name: "impersonate", h1: IMPERSONATE_H1, h2: IMPERSONATE_H2 }];
    if own_token {
        modes.push(Mode { name: "own-token", h1: OWN_H1, h2: OWN_H2 });
    }
    modes
}
