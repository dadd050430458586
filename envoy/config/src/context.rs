//! What the templates see: the inputs, with everything derived that they would have to compute.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, time::Duration};

use gateway_core::{
    config::ClientImpersonation,
    logout,
    metrics::{GATEWAY_LABEL, Metric},
    native,
    portal_keys::SHARED_VARIABLE,
    protected_resource,
};
use gateway_net::{Host, Prefix, Server};
use serde::Serialize;

use crate::{
    access::ACCESS_CLUSTER,
    callouts::CalloutCluster,
    duration::seconds,
    error::RenderError,
    form::FilterForm,
    inputs::{Inputs, Options, TlsVersion},
    issuers,
    limits::Limits,
    paths::{
        Watched, WatchedPair, access_socket, folder, logout_socket, probe_socket, proxy_socket,
        text, watched, watched_pair,
    },
    portal::part::{Around, Chain, PORTAL_CERTIFICATE, Part, identify_socket},
    replies::{LOCAL_REPLIES, LocalReply},
    traces::TraceTexts,
    upstream::{Mode, Upstream, modes},
};

#[derive(Serialize)]
pub(crate) struct Context<'a> {
    files: Files,
    admin_socket: &'a str,
    probe_socket: String,
    access_log: &'a str,
    audit_lines: bool,
    traces: Option<TraceTexts<'a>>,
    trusted_hops: u32,
    trusted_proxies: Vec<Range>,
    proxy_protocol: Vec<Range>,
    issuer_proxy: Option<IssuerProxy>,
    listen: Listen,
    serving: WatchedPair<'a>,
    protocols: ProtocolTexts<'a>,
    apiserver: Upstream<'a>,
    modes: Vec<Mode>,
    issuers: Vec<IssuerCluster<'a>>,
    callouts: Vec<CalloutCluster<'a>>,
    metadata: Option<Metadata<'a>>,
    /// The socket of who says whose access has ended, and its cluster.
    access: Option<String>,
    access_cluster: &'static str,
    /// Where issuers say that a session has ended.
    logout: Option<Logout<'a>>,
    system_ca: Watched<'a>,
    issuer_certificate: Option<WatchedPair<'a>>,
    request_timeout: String,
    issuer_connect_timeout: String,
    strip_impersonation: bool,
    /// Its name, where the filter is one.
    native_module: Option<&'static str>,
    filter: &'a str,
    connections_filter: String,
    plugin_configuration: String,
    shared_secret: bool,
    shared_secret_variable: &'static str,
    pub(crate) portal: Option<Chain<'a>>,
    identify: Option<Identify>,
    limits: LimitTexts<'a>,
    metric_labels: BTreeSet<&'static str>,
    local_replies: &'static [LocalReply],
    lasting: &'static str,
}

/// The request targets of what lasts by its nature, watches and followed logs: a parameter that Go's `strconv.ParseBool` takes for true
/// or that has no value, or the older paths of watches. By bytes and ranges of ASCII: Envoys before 1.39.1 refuse the routes for an
/// expression whose program has more than 100 instructions, and one for characters has more.
const LASTING: &str = r"[!->@-~]*\?(\C*&)?(watch|follow)(=(1|[tT]|true|True|TRUE)?)?(&\C*)?|/api(s/[!-.0-~]+)?/[!-.0-~]+/watch/\C*";

/// Where issuers say that a session has ended, and who takes it.
#[derive(Serialize)]
struct Logout<'a> {
    path: &'a str,
    mode: &'static str,
    socket: String,
}

/// What strangers are told of where to log in.
#[derive(Serialize)]
struct Metadata<'a> {
    mode: &'static str,
    path: &'static str,
    body: &'a str,
    bytes: usize,
}

/// Where the portal asks the gateway's filter whose a token is.
#[derive(Serialize)]
struct Identify {
    socket: String,
    discovery: String,
}

/// The files that other files refer to.
#[derive(Serialize)]
struct Files {
    clusters: String,
    routes: String,
    probe: String,
    strip: String,
    gateway: String,
    gate: String,
    connections: String,
    serving: String,
    apiserver_ca: String,
    apiserver_certificate: String,
    issuer_certificate: String,
    system_ca: String,
}

/// [`Protocols`](crate::Protocols) with names in Envoy's form.
#[derive(Serialize)]
struct ProtocolTexts<'a> {
    minimum: &'static str,
    cipher_suites: &'a [String],
    curves: &'a [String],
    http2: bool,
    alpn: &'static [&'static str],
    certificates: Vec<Named<'a>>,
}

/// A certificate that clients see, in a file of its own.
#[derive(Serialize)]
pub(crate) struct Certificate<'a> {
    /// What Envoy calls it.
    pub name: String,
    pub pair: WatchedPair<'a>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: String,
    file: String,
    pair: WatchedPair<'a>,
    names: &'a [String],
}

#[derive(Serialize)]
pub(crate) struct Listen {
    address: String,
    port: u16,
    any_ipv6: bool,
}

#[derive(Serialize)]
struct IssuerCluster<'a> {
    name: String,
    ca: Option<&'a str>,
    /// The cluster behind it where they are reached through the proxy: TLS begins there.
    tunnel: Option<String>,
}

/// The proxy to issuers.
#[derive(Serialize)]
struct IssuerProxy {
    host: String,
    port: u16,
    by_name: bool,
    /// Who speaks to it in Envoy's place, where Envoy does not.
    socket: Option<String>,
}

/// Addresses in Envoy's form.
#[derive(Serialize)]
struct Range {
    address: String,
    prefix: u8,
}

/// [`Limits`], and what follows of them.
#[derive(Serialize)]
struct LimitTexts<'a> {
    #[serde(flatten)]
    given: &'a Limits,
    counts_connections: bool,
    undecided_connections: String,
    client_stream_window_bytes: u32,
}

impl<'a> Context<'a> {
    pub(crate) fn new(inputs: &'a Inputs) -> Result<Self, RenderError> {
        let documents = &inputs.documents;
        let clusters = issuers::distinct(inputs.reached())
            .map_err(|name| RenderError::IssuerClusterCollision { name })?;
        let around = Around {
            directory: &inputs.directory,
            serving: Some(&inputs.serving),
            http2: inputs.options.protocols.http2,
            issuers: documents.issuers(),
        };
        let files = Files::new(&inputs.directory)?;
        let identifies = inputs.portal.as_ref().and_then(|it| it.settings.identify.as_ref());
        let identify = identifies.map(|_| {
            let socket = identify_socket(&inputs.directory)?;
            Ok::<_, RenderError>(Identify { socket, discovery: files.gateway.clone() })
        });
        Ok(Self {
            files,
            admin_socket: text("admin socket", &inputs.admin_socket)?,
            probe_socket: text("admin socket", &probe_socket(&inputs.admin_socket))?.to_owned(),
            access_log: text("access log", &inputs.access_log)?,
            audit_lines: inputs.options.audit_lines,
            traces: TraceTexts::new(inputs)?,
            trusted_hops: inputs.options.trusted_hops,
            trusted_proxies: ranges(&inputs.options.trusted_proxies),
            proxy_protocol: ranges(&inputs.options.proxy_protocol),
            issuer_proxy: documents
                .proxy()
                .map(|server| IssuerProxy::new(server, &inputs.admin_socket))
                .transpose()?,
            listen: Listen::new(inputs.options.listen),
            serving: watched_pair("serving certificate", "serving key", &inputs.serving)?,
            protocols: ProtocolTexts::new(inputs)?,
            apiserver: Upstream::new(inputs)?,
            modes: modes(documents.own_token()),
            issuers: clusters
                .into_iter()
                .map(|(name, cluster)| IssuerCluster {
                    tunnel: cluster.proxied.then(|| format!("{name}_tunnel")),
                    name,
                    ca: cluster.ca,
                })
                .collect(),
            callouts: documents
                .callouts()
                .iter()
                .map(|callout| CalloutCluster::new(callout, folder(&inputs.directory)?))
                .collect::<Result<_, _>>()?,
            metadata: documents.metadata().map(|body| Metadata {
                mode: protected_resource::MODE,
                path: protected_resource::PATH,
                body,
                bytes: body.len(),
            }),
            access: inputs
                .options
                .access
                .then(|| {
                    text("access socket", &access_socket(&inputs.admin_socket)).map(str::to_owned)
                })
                .transpose()?,
            access_cluster: ACCESS_CLUSTER,
            logout: logout(inputs)?,
            system_ca: watched("system CA bundle", &inputs.system_ca)?,
            issuer_certificate: inputs
                .issuer_certificate
                .as_ref()
                .map(|pair| watched_pair("issuer client certificate", "issuer client key", pair))
                .transpose()?,
            issuer_connect_timeout: seconds(issuer_connect_timeout(inputs)),
            request_timeout: seconds(inputs.options.request_timeout.unwrap_or_default()),
            strip_impersonation: documents.client_impersonation() == ClientImpersonation::Strip,
            native_module: (inputs.options.form == FilterForm::Native).then_some(native::MODULE),
            filter: text("filter", &inputs.options.filter)?,
            connections_filter: text("connections filter", &inputs.options.connections_filter())?
                .to_owned(),
            plugin_configuration: plugin_configuration(inputs)?,
            shared_secret: documents.takes_shared_secret(),
            shared_secret_variable: SHARED_VARIABLE,
            portal: inputs.portal.as_ref().map(|portal| Chain::new(portal, &around)).transpose()?,
            identify: identify.transpose()?,
            limits: LimitTexts::new(&inputs.options),
            metric_labels: Metric::ALL
                .iter()
                .flat_map(|metric| metric.labels())
                .copied()
                .chain([GATEWAY_LABEL])
                .collect(),
            local_replies: &LOCAL_REPLIES,
            lasting: LASTING,
        })
    }
}

/// How long a connection to an issuer may take: as long as Go gives a TLS handshake, if its answer may take as long. Then a
/// connection that does not come about is not taken for an answer that does not.
fn issuer_connect_timeout(inputs: &Inputs) -> Duration {
    const GO: Duration = Duration::from_secs(10);
    let answer = inputs.documents.gateway().key_sets.timeout();
    inputs.options.limits.connect_timeout.max(GO.min(answer))
}

/// Without who writes down what has ended there is nobody to take a logout token: a route would lead nowhere.
fn logout(inputs: &Inputs) -> Result<Option<Logout<'_>>, RenderError> {
    let path = inputs.documents.gateway().logout.path.as_str();
    if path.is_empty() {
        return Ok(None);
    }
    if !inputs.options.takes_logouts {
        return Err(RenderError::NobodyTakesLogouts);
    }
    let socket = logout_socket(&inputs.admin_socket);
    let socket = text("logout socket", &socket)?.to_owned();
    Ok(Some(Logout { path, mode: logout::MODE, socket }))
}

/// What Envoy calls a certificate for names.
fn named_certificate(index: usize) -> String {
    format!("serving-{}", index + 1)
}

/// The certificates that clients of a gateway see.
pub(crate) fn certificates(inputs: &Inputs) -> Result<Vec<Certificate<'_>>, RenderError> {
    let named = inputs.options.protocols.certificates.iter().enumerate();
    let named = named.map(|(index, named)| (named_certificate(index), &named.certificate));
    let portal = inputs.portal.iter().filter_map(|portal| portal.serving.as_ref());
    let portal = portal.map(|pair| (PORTAL_CERTIFICATE.to_owned(), pair));
    let own = [("serving".to_owned(), &inputs.serving)];
    let all = own.into_iter().chain(named).chain(portal);
    all.map(|(name, pair)| {
        let pair = watched_pair("serving certificate", "serving key", pair)?;
        Ok(Certificate { name, pair })
    })
    .collect()
}

/// The filter's configuration, which says whether connections are counted: then the filter has to tell of which somebody is known. The portal
/// beside it asks the same filter.
fn plugin_configuration(inputs: &Inputs) -> Result<String, RenderError> {
    let mut configuration = inputs.documents.plugin_configuration()?;
    configuration.counts_connections = inputs.options.counts_connections();
    configuration.access_cluster = inputs.options.access.then(|| ACCESS_CLUSTER.to_owned());
    configuration.portal_issuer = inputs.portal.as_ref().map(Part::token_issuer);
    Ok(serde_json::to_string(&configuration)?)
}

impl Files {
    fn new(directory: &Path) -> Result<Self, RenderError> {
        let directory = folder(directory)?;
        let file = |name: &str| format!("{directory}/{name}");
        Ok(Self {
            clusters: file("clusters.yaml"),
            routes: file("routes.yaml"),
            probe: file("routes-probe.yaml"),
            strip: file("filter-strip.yaml"),
            gateway: file("filter-gateway.yaml"),
            gate: file("filter-gate.yaml"),
            connections: file("filter-connections.yaml"),
            serving: file("secret-serving.yaml"),
            apiserver_ca: file("secret-apiserver-ca.yaml"),
            apiserver_certificate: file("secret-apiserver-certificate.yaml"),
            issuer_certificate: file("secret-issuer-certificate.yaml"),
            system_ca: file("secret-system-ca.yaml"),
        })
    }
}

impl Listen {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address: address.ip().to_string(),
            port: address.port(),
            // `[::]` takes IPv4 clients too, as Go's listeners do.
            any_ipv6: address.is_ipv6() && address.ip().is_unspecified(),
        }
    }
}

impl<'a> ProtocolTexts<'a> {
    fn new(inputs: &'a Inputs) -> Result<Self, RenderError> {
        let (protocols, directory) = (&inputs.options.protocols, folder(&inputs.directory)?);
        let named = protocols.certificates.iter().enumerate().map(|(index, named)| {
            let name = named_certificate(index);
            let pair = watched_pair("certificate", "key", &named.certificate)?;
            let file = format!("{directory}/secret-{name}.yaml");
            Ok(Named { name, file, pair, names: &named.names })
        });
        Ok(Self {
            minimum: match protocols.minimum {
                TlsVersion::V1_0 => "TLSv1_0",
                TlsVersion::V1_1 => "TLSv1_1",
                TlsVersion::V1_2 => "TLSv1_2",
                TlsVersion::V1_3 => "TLSv1_3",
            },
            cipher_suites: &protocols.cipher_suites,
            curves: &protocols.curves,
            http2: protocols.http2,
            alpn: if protocols.http2 { &["h2", "http/1.1"] } else { &["http/1.1"] },
            certificates: named.collect::<Result<_, RenderError>>()?,
        })
    }
}

impl IssuerProxy {
    fn new(server: &Server, admin_socket: &Path) -> Result<Self, RenderError> {
        let socket = proxy_socket(admin_socket);
        let socket = (!server.is_plain()).then(|| text("admin socket", &socket).map(str::to_owned));
        Ok(Self {
            host: server.host.to_string(),
            port: server.port,
            by_name: matches!(server.host, Host::Dns(_)),
            socket: socket.transpose()?,
        })
    }
}

impl<'a> LimitTexts<'a> {
    fn new(options: &'a Options) -> Self {
        let given = &options.limits;
        // Connections are spread evenly over the workers, each of which counts its own.
        let workers = options.concurrency.unwrap_or(1).max(1);
        let share = given.undecided_connections_per_address.div_ceil(workers);
        let undecided_connections = format!(
            "per_address={share} undecided_seconds={}",
            given.undecided_connection_timeout.as_secs()
        );
        Self {
            given,
            counts_connections: options.counts_connections(),
            undecided_connections,
            client_stream_window_bytes: given
                .stream_window_bytes
                .min(given.connection_window_bytes / 2)
                // Less than the window of RFC 9113 (section 6.9.2) Envoy does not take.
                .max(65_535),
        }
    }
}

fn ranges(ranges: &[Prefix]) -> Vec<Range> {
    let range =
        |range: &Prefix| Range { address: range.address().to_string(), prefix: range.bits() };
    ranges.iter().map(range).collect()
}
