//! Spans of one request, as a real OpenTelemetry collector gets them: of a client, of Envoy with the filter, and of a real
//! kube-apiserver with a `TracingConfiguration`.
//!
//! Needs the filter's module (`GATEWAY_FILTER`, else from the target folder): `make test-traces` builds it first.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use gateway_config::{
    Credential as Way, ServingCertificate,
    traces::{Collector as Address, Protocol, Token, Traces, Trust},
};
use gateway_net::Host;
use oidc_provider::{Config, Preset, Provider};
use sandbox::{Cluster, Collector, Credential, Gateway, Span, realm, wait::until};
use serde_json::json;
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

/// A review's span, in kube-apiserver's words.
const REVIEW: &str = "POST /apis/authorization.k8s.io/v1/subjectaccessreviews";

static COLLECTOR: LazyLock<Collector> =
    LazyLock::new(|| Collector::start().expect("the collector starts"));

/// A cluster whose kube-apiserver records every request.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("tracing-{}.yaml", std::process::id()));
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "TracingConfiguration",
        "endpoint": COLLECTOR.grpc(),
        "samplingRatePerMillion": 1_000_000,
    });
    fs::write(&file, configuration.to_string()).unwrap();
    let argument = format!("--tracing-config-file={}", file.display());
    let cluster = Cluster::builder().apiserver_arguments([argument]).start();
    fs::remove_file(&file).unwrap();
    cluster.expect("the cluster starts")
});

/// A gateway and the provider that it trusts.
struct World {
    gateway: Gateway,
    provider: Provider,
    _folder: tempfile::TempDir,
}

impl World {
    /// A gateway that sends spans, with the ServiceAccount's token as its credential.
    fn new(traces: Traces) -> Self {
        Self::start(traces, false)
    }

    /// The same with a client certificate of the group `system:masters`.
    fn privileged(traces: Traces) -> Self {
        Self::start(traces, true)
    }

    fn start(traces: Traces, privileged: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
        let pair = administrator(folder.path());
        let gateway = CLUSTER
            .gateway(realm::authentication_of(&provider))
            .configuration(realm::configuration())
            .inputs(move |inputs| {
                inputs.options.traces = Some(traces);
                if privileged {
                    inputs.apiserver.credential = Way::Certificate(pair);
                }
            })
            .start()
            .unwrap();
        Self { gateway, provider, _folder: folder }
    }

    fn token(&self) -> String {
        let token = self.provider.issuer().token("k8s-user1", realm::CLIENT);
        token.claim("groups", ["system:masters"].as_slice()).mint()
    }

    /// The status of an answer to a GET.
    fn get(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        let root = Certificate::from_pem(self.gateway.ca().as_bytes()).unwrap();
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
        let agent = Agent::config_builder().tls_config(tls).proxy(None).http_status_as_error(false);
        let mut request = Agent::from(agent.build()).get(format!("{}{path}", self.gateway.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.call().unwrap().status().as_u16()
    }
}

/// The administrator's certificate, written into a folder.
fn administrator(folder: &std::path::Path) -> ServingCertificate {
    let Credential::Certificate { certificate, key } = CLUSTER.admin_kubeconfig().credential else {
        panic!("the administrator has a certificate")
    };
    let pair = ServingCertificate { chain: folder.join("tls.crt"), key: folder.join("tls.key") };
    fs::write(&pair.chain, certificate).unwrap();
    fs::write(&pair.key, key).unwrap();
    pair
}

/// Spans of all requests go to this collector.
fn traces(address: SocketAddr, protocol: Protocol) -> Traces {
    Traces {
        collector: Address {
            host: Host::Ip(address.ip()),
            port: address.port(),
            protocol,
            path: "/v1/traces".to_owned(),
            tls: None,
            token: None,
        },
        sampling: "100".parse().unwrap(),
        user: false,
        trust_clients: false,
    }
}

/// The same over TLS with the token that the collector asks for.
fn guarded(address: SocketAddr, protocol: Protocol) -> Traces {
    let mut traces = traces(address, protocol);
    traces.collector.tls = Some(Trust::File(COLLECTOR.ca_file().to_owned()));
    let file = COLLECTOR.token_file().to_owned();
    traces.collector.token = Some(Token { file, header: "authorization".to_owned() });
    traces
}

/// Identifiers that no other test has: of a trace and of a span.
fn identifiers() -> (String, String) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    (
        format!("5eed{:028x}", number + u64::from(std::process::id()) * 1000),
        format!("{number:016x}"),
    )
}

/// Waits for a span.
fn span(what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
    until(what, || COLLECTOR.spans().unwrap_or_default().into_iter().find(&is_it))
}

/// Waits for Envoy's span of a request, by its user agent.
fn of_agent(agent: &str) -> Span {
    span(agent, |it| {
        it.attributes.get("user_agent").is_some_and(|found| found == agent) && it.kind == 2
    })
}

/// What a client sends that traces: its own span.
fn export(trace: &str, id: &str) {
    let batch = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "client"}}]},
        "scopeSpans": [{"spans": [{
            "traceId": trace, "spanId": id, "name": "list pods", "kind": 3,
            "startTimeUnixNano": "1", "endTimeUnixNano": "2",
        }]}],
    }]});
    let url = format!("http://{}/v1/traces", COLLECTOR.http());
    let request = ureq::post(url).header("content-type", "application/json");
    assert_eq!(request.send(batch.to_string()).unwrap().status(), 200);
}

/// Client, gateway, its attempt upstream and kube-apiserver, each the parent of the next. What the filter asks kube-apiserver
/// before, a review for each value of `kubectl --as`, is a child of the gateway's span.
#[test]
fn a_trace_goes_from_the_client_to_kube_apiserver() {
    let world = World::privileged(Traces {
        user: true,
        trust_clients: true,
        ..traces(COLLECTOR.grpc(), Protocol::Grpc)
    });
    let (trace, client) = identifiers();
    export(&trace, &client);
    let token = world.token();
    let status = world.get(
        "/api/v1/namespaces/default/pods?labelSelector=secret-of-the-query",
        &[
            ("authorization", &format!("Bearer {token}")),
            ("traceparent", &format!("00-{trace}-{client}-01")),
            ("impersonate-user", "jane-of-the-traces"),
            ("impersonate-group", "system:masters"),
            ("user-agent", "whole"),
        ],
    );
    assert_eq!(status, 200);
    let of = |service: &'static str, parent: String, kind: u64| {
        let trace = trace.clone();
        span(service, move |it| {
            it.service == service && it.trace == trace && it.parent == parent && it.kind == kind
        })
    };
    let first = of("client", String::new(), 3);
    assert_eq!(first.id, client);
    let gateway = of("kube-oidc-gateway", client, 2);
    let upstream = of("kube-oidc-gateway", gateway.id.clone(), 3);
    let apiserver = of("apiserver", upstream.id.clone(), 2);
    assert_eq!(apiserver.name, "GET /api/v1/namespaces/{:namespace}/pods");
    assert_eq!(gateway.name, "GET");

    let said = |name: &str| gateway.attributes.get(name).cloned().unwrap_or_default();
    assert_eq!(
        said("http.url"),
        format!("https://127.0.0.1:{}/api/v1/namespaces/default/pods", world.gateway.port())
    );
    assert_eq!(said("enduser.id"), "jane-of-the-traces");
    assert_eq!(said("gateway.mode"), "impersonate");
    assert_eq!(said("http.status_code"), "200");
    // Under the same id kube-apiserver has it in its audit log.
    assert!(!said("audit-id").is_empty());
    assert_eq!(apiserver.attributes.get("audit-id"), Some(&said("audit-id")));

    // Each value that the client wants to have is asked about, within the request.
    let review = of("apiserver", gateway.id, 2);
    assert_eq!(review.name, REVIEW);
}

/// Nobody writes into another's trace, or has something recorded, by a header.
#[test]
fn a_client_s_own_trace_is_not_believed_unless_it_is_asked_for() {
    let world = World::privileged(traces(COLLECTOR.http(), Protocol::Http));
    let (trace, client) = identifiers();
    let traceparent = format!("00-{trace}-{client}-01");
    for (agent, token) in [("stranger", None), ("user", Some(world.token()))] {
        let mut headers = vec![
            ("traceparent", traceparent.as_str()),
            ("tracestate", "a=stranger"),
            ("user-agent", agent),
        ];
        let authorization = token.map(|token| format!("Bearer {token}"));
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        let status = world.get("/version", &headers);
        assert_eq!(status, if authorization.is_some() { 200 } else { 401 });
        let gateway = of_agent(agent);
        assert_eq!(gateway.parent, "");
        assert_ne!(gateway.trace, trace);
        if authorization.is_some() {
            let upstream = span("upstream", |it| it.parent == gateway.id);
            let apiserver = span("kube-apiserver", |it| it.parent == upstream.id);
            assert_eq!((apiserver.trace, apiserver.links), (gateway.trace, vec![]));
        } else {
            assert_eq!(gateway.attributes["gateway.deny"], "no_credential");
        }
    }
    assert!(!COLLECTOR.text().unwrap().contains(&trace));
}

/// kube-apiserver goes on only with the trace of a client in `system:masters` or `system:monitoring`, and a ServiceAccount is in
/// neither: what it records by itself points back to the gateway's span.
#[test]
fn to_a_service_account_s_trace_kube_apiserver_s_is_linked() {
    let world = World::new(traces(COLLECTOR.grpc(), Protocol::Grpc));
    let token = world.token();
    let headers = [("authorization", &*format!("Bearer {token}")), ("user-agent", "linked")];
    assert_eq!(world.get("/version", &headers), 200);
    let gateway = of_agent("linked");
    let upstream = span("upstream", |it| it.parent == gateway.id);
    let link = (gateway.trace.clone(), upstream.id);
    let apiserver = span("kube-apiserver", |it| it.links.contains(&link));
    assert_eq!((apiserver.service.as_str(), apiserver.parent.as_str()), ("apiserver", ""));
    assert_ne!(apiserver.trace, gateway.trace);
}

/// The collector's certificate is checked, its token is shown to it, and to nobody else.
#[test]
fn a_collector_is_spoken_to_by_tls_with_a_token() {
    for (address, protocol, agent) in [
        (COLLECTOR.guarded_grpc(), Protocol::Grpc, "guarded-grpc"),
        (COLLECTOR.guarded_http(), Protocol::Http, "guarded-http"),
    ] {
        let world = World::new(guarded(address, protocol));
        let token = world.token();
        let headers = [("authorization", &*format!("Bearer {token}")), ("user-agent", agent)];
        assert_eq!(world.get("/api/v1/namespaces?limit=secret-of-the-query", &headers), 400);
        let gateway = of_agent(agent);
        let said: BTreeMap<_, _> = gateway.attributes.into_iter().collect();
        assert!(!said.contains_key("enduser.id"), "{said:?}");

        let secret = fs::read_to_string(COLLECTOR.token_file()).unwrap();
        let admin = world.gateway.envoy_admin();
        let dump = admin.get("/config_dump?include_eds").unwrap().body;
        assert!(dump.contains("collector-token") && !dump.contains(&secret));
        let arrived = COLLECTOR.text().unwrap();
        let tail = token.rsplit('.').next().unwrap();
        for never in [tail, &secret, "k8s-user1"] {
            assert!(!arrived.contains(never), "{never}");
        }

        // Under another CA nothing is sent.
        let mut traces = guarded(address, protocol);
        let other = tempfile::tempdir().unwrap();
        let ca = other.path().join("ca.crt");
        fs::write(&ca, world.gateway.ca()).unwrap();
        traces.collector.tls = Some(Trust::File(ca));
        let deceived = World::new(traces);
        let agent = format!("{agent}-deceived");
        assert_eq!(deceived.get("/version", &[("user-agent", &agent)]), 401);
        until("the certificate is refused", || {
            let stats = deceived.gateway.stats().unwrap();
            (stats.get("cluster.collector.ssl.fail_verify_error")
                + stats.get("cluster.collector.ssl.fail_verify_san")
                > 0)
            .then_some(())
        });
        assert!(!COLLECTOR.text().unwrap().contains(&agent));
    }
}

/// No span has what a client wrote without bound, or the query: exec has its command there.
#[test]
fn spans_are_bounded_and_have_no_query() {
    let world = World::new(traces(COLLECTOR.grpc(), Protocol::Grpc));
    let long = format!("long-{}", "a".repeat(50_000));
    let path = format!("/version/{}?command=secret-of-the-query", "b".repeat(20_000));
    assert_eq!(world.get(&path, &[("user-agent", &long)]), 401);
    let gateway = span("the long one", |it| {
        it.attributes.get("user_agent").is_some_and(|agent| agent.starts_with("long-"))
    });
    for (name, value) in &gateway.attributes {
        assert!(value.len() < 5000, "{name}: {} bytes", value.len());
    }
    // kube-apiserver's own spans have it.
    for span in COLLECTOR.spans().unwrap() {
        let own = span.service == "kube-oidc-gateway";
        assert!(!own || !format!("{span:?}").contains("secret-of-the-query"), "{span:?}");
    }
}
