//! What the templates see: the inputs, with everything derived that they would have to compute.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, time::Duration};

use gateway_core::metrics::Metric;
use serde::Serialize;

use crate::{
    inputs::{ApiServer, ClientImpersonation, Host, Inputs},
    issuers,
    limits::Limits,
    render::RenderError,
    replies::{LOCAL_REPLIES, LocalReply},
};

/// kube-apiserver's own limit of streams for one connection.
const APISERVER_STREAMS: u32 = 100;
/// The greatest window of HTTP/2 (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

const IMPERSONATE_H2: &str = "apiserver_impersonate_h2";
const IMPERSONATE_H1: &str = "apiserver_impersonate_h1";
const OWN_H2: &str = "apiserver_own_h2";
const OWN_H1: &str = "apiserver_own_h1";
const REVIEW: &str = "apiserver_review";

/// The cluster through which the filter asks kube-apiserver (`reviewCluster` of its configuration), in the modes in which it
/// has to ask. In the others there is none: the credential is where it is needed and nowhere else.
#[must_use]
pub fn review_cluster(
    client_impersonation: ClientImpersonation,
    own_token: bool,
) -> Option<&'static str> {
    (own_token || client_impersonation == ClientImpersonation::Authorize).then_some(REVIEW)
}

/// The clusters that send the ServiceAccount token.
pub(crate) fn token_clusters(inputs: &Inputs) -> impl Iterator<Item = &'static str> {
    [IMPERSONATE_H2, IMPERSONATE_H1]
        .into_iter()
        .chain(review_cluster(inputs.client_impersonation, inputs.own_token))
}

/// The file of such a cluster's secret, which has the cluster's name.
pub(crate) fn token_file(cluster: &str) -> String {
    format!("secret-token-{cluster}.yaml")
}

#[derive(Serialize)]
pub(crate) struct Context<'a> {
    files: Files,
    admin_socket: &'a str,
    access_log: &'a str,
    trusted_hops: u32,
    listen: Listen,
    serving: Serving<'a>,
    apiserver: Upstream<'a>,
    modes: Vec<Mode>,
    issuers: Vec<IssuerCluster<'a>>,
    system_ca: Watched<'a>,
    strip_impersonation: bool,
    filter: &'a str,
    plugin_configuration: &'a str,
    limits: LimitTexts,
    metric_labels: BTreeSet<&'static str>,
    local_replies: &'static [LocalReply],
}

/// The files that other files refer to.
#[derive(Serialize)]
struct Files {
    clusters: String,
    routes: String,
    strip: String,
    gateway: String,
    gate: String,
    serving: String,
    apiserver_ca: String,
    system_ca: String,
}

#[derive(Serialize)]
struct Listen {
    address: String,
    port: u16,
    any_ipv6: bool,
}

/// A file whose directory Envoy watches.
#[derive(Serialize)]
struct Watched<'a> {
    path: &'a str,
    directory: &'a str,
}

#[derive(Serialize)]
struct Serving<'a> {
    chain: Watched<'a>,
    key: Watched<'a>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    host: String,
    port: u16,
    by_name: bool,
    sni: Option<String>,
    san: String,
    san_type: &'static str,
    ca: Watched<'a>,
    token: Watched<'a>,
    streams_per_connection: u32,
    connection_window_bytes: u32,
    clusters: Vec<UpstreamCluster>,
}

#[derive(Serialize)]
struct UpstreamCluster {
    name: &'static str,
    h2: bool,
    alpn: &'static str,
    /// The file of the secret that holds the ServiceAccount token, if it is sent.
    token: Option<String>,
    /// It is sent on impersonating requests only.
    impersonating: bool,
}

/// A decision of the filter and where it leads.
#[derive(Serialize)]
struct Mode {
    name: &'static str,
    h1: &'static str,
    h2: &'static str,
}

#[derive(Serialize)]
struct IssuerCluster<'a> {
    name: String,
    ca: Option<&'a str>,
}

/// [`Limits`] with times in Envoy's form.
#[derive(Serialize)]
struct LimitTexts {
    connections: u64,
    streams_per_connection: u32,
    heap_bytes: Option<u64>,
    request_headers_kib: u32,
    request_headers: u32,
    buffer_bytes: u32,
    stream_window_bytes: u32,
    connection_window_bytes: u32,
    handshake_timeout: String,
    request_headers_timeout: String,
    undecided_timeout: String,
    stream_idle_timeout: String,
    connection_idle_timeout: String,
    connect_timeout: String,
    drain_timeout: String,
}

impl<'a> Context<'a> {
    pub(crate) fn new(inputs: &'a Inputs) -> Result<Self, RenderError> {
        let clusters = issuers::distinct(&inputs.issuers)
            .map_err(|name| RenderError::IssuerClusterCollision { name })?;
        Ok(Self {
            files: Files::new(&inputs.directory)?,
            admin_socket: text("admin socket", &inputs.admin_socket)?,
            access_log: text("access log", &inputs.access_log)?,
            trusted_hops: inputs.trusted_hops,
            listen: Listen::new(inputs.listen),
            serving: Serving {
                chain: watched("serving certificate", &inputs.serving.chain)?,
                key: watched("serving key", &inputs.serving.key)?,
            },
            apiserver: Upstream::new(inputs)?,
            modes: modes(inputs.own_token),
            issuers: clusters.into_iter().map(|(name, ca)| IssuerCluster { name, ca }).collect(),
            system_ca: watched("system CA bundle", &inputs.system_ca)?,
            strip_impersonation: inputs.client_impersonation == ClientImpersonation::Strip,
            filter: text("filter", &inputs.filter)?,
            plugin_configuration: &inputs.plugin_configuration,
            limits: LimitTexts::new(&inputs.limits),
            metric_labels: Metric::ALL.iter().flat_map(|metric| metric.labels()).copied().collect(),
            local_replies: &LOCAL_REPLIES,
        })
    }
}

impl Files {
    fn new(directory: &Path) -> Result<Self, RenderError> {
        let directory = folder(directory)?;
        let file = |name: &str| format!("{directory}/{name}");
        Ok(Self {
            clusters: file("clusters.yaml"),
            routes: file("routes.yaml"),
            strip: file("filter-strip.yaml"),
            gateway: file("filter-gateway.yaml"),
            gate: file("filter-gate.yaml"),
            serving: file("secret-serving.yaml"),
            apiserver_ca: file("secret-apiserver-ca.yaml"),
            system_ca: file("secret-system-ca.yaml"),
        })
    }
}

impl Listen {
    fn new(address: SocketAddr) -> Self {
        Self {
            address: address.ip().to_string(),
            port: address.port(),
            // `[::]` takes IPv4 clients too, as Go's listeners do.
            any_ipv6: address.is_ipv6() && address.ip().is_unspecified(),
        }
    }
}

impl<'a> Upstream<'a> {
    fn new(inputs: &'a Inputs) -> Result<Self, RenderError> {
        let ApiServer { host, port, ca, server_name, token } = &inputs.apiserver;
        let certified = server_name.as_ref().unwrap_or(host);
        let (san_type, sni) = match certified {
            Host::Ip(_) => ("IP_ADDRESS", None),
            Host::Dns(name) => ("DNS", Some(name.as_str().to_owned())),
        };
        Ok(Self {
            host: host.to_string(),
            port: *port,
            by_name: matches!(host, Host::Dns(_)),
            sni,
            san: certified.to_string(),
            san_type,
            ca: watched("API server CA", ca)?,
            token: watched("API server token", token)?,
            streams_per_connection: APISERVER_STREAMS,
            connection_window_bytes: inputs
                .limits
                .stream_window_bytes
                .saturating_mul(2 * APISERVER_STREAMS)
                .min(MAX_WINDOW),
            clusters: upstream_clusters(inputs)?,
        })
    }
}

fn upstream_clusters(inputs: &Inputs) -> Result<Vec<UpstreamCluster>, RenderError> {
    let directory = folder(&inputs.directory)?;
    let cluster = |name, h2| UpstreamCluster {
        name,
        h2,
        alpn: if h2 { "h2" } else { "http/1.1" },
        token: None,
        impersonating: false,
    };
    let with_token = |cluster: UpstreamCluster| UpstreamCluster {
        token: Some(format!("{directory}/{}", token_file(cluster.name))),
        ..cluster
    };
    let impersonating = |cluster| UpstreamCluster { impersonating: true, ..with_token(cluster) };
    let mut clusters = vec![
        impersonating(cluster(IMPERSONATE_H2, true)),
        impersonating(cluster(IMPERSONATE_H1, false)),
    ];
    if let Some(review) = review_cluster(inputs.client_impersonation, inputs.own_token) {
        clusters.push(with_token(cluster(review, true)));
    }
    if inputs.own_token {
        clusters.extend([cluster(OWN_H2, true), cluster(OWN_H1, false)]);
    }
    Ok(clusters)
}

fn modes(own_token: bool) -> Vec<Mode> {
    let mut modes = vec![Mode { name: "impersonate", h1: IMPERSONATE_H1, h2: IMPERSONATE_H2 }];
    if own_token {
        modes.push(Mode { name: "own-token", h1: OWN_H1, h2: OWN_H2 });
    }
    modes
}

impl LimitTexts {
    fn new(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            streams_per_connection: limits.streams_per_connection,
            heap_bytes: limits.heap_bytes,
            request_headers_kib: limits.request_headers_kib,
            request_headers: limits.request_headers,
            buffer_bytes: limits.buffer_bytes,
            stream_window_bytes: limits.stream_window_bytes,
            connection_window_bytes: limits.connection_window_bytes,
            handshake_timeout: seconds(limits.handshake_timeout),
            request_headers_timeout: seconds(limits.request_headers_timeout),
            undecided_timeout: seconds(limits.undecided_timeout),
            stream_idle_timeout: seconds(limits.stream_idle_timeout),
            connection_idle_timeout: seconds(limits.connection_idle_timeout),
            connect_timeout: seconds(limits.connect_timeout),
            drain_timeout: seconds(limits.drain_timeout),
        }
    }
}

/// A duration as protobuf's JSON has it.
fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        milliseconds => format!("{}.{milliseconds:03}s", duration.as_secs()),
    }
}

fn watched<'a>(what: &'static str, path: &'a Path) -> Result<Watched<'a>, RenderError> {
    let directory = path.parent().ok_or_else(|| RenderError::bad_path(what, path))?;
    Ok(Watched { path: text(what, path)?, directory: text(what, directory)? })
}

fn folder(directory: &Path) -> Result<&str, RenderError> {
    Ok(text("directory", directory)?.trim_end_matches('/'))
}

/// A path as text: absolute, UTF-8 and without control characters, which Envoy's configuration cannot hold.
fn text<'a>(what: &'static str, path: &'a Path) -> Result<&'a str, RenderError> {
    path.to_str()
        .filter(|text| path.is_absolute() && !text.chars().any(char::is_control))
        .ok_or_else(|| RenderError::bad_path(what, path))
}
