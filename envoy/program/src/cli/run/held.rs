//! Every flag of `run` has an effect, and something says where it is seen: here, or in the tests of a whole gateway
//! ([`gateway::END_TO_END`]).

use std::{collections::BTreeSet, fs, path::Path};

use clap::{Command, FromArgMatches};
use gateway_client::{CredentialSource, Source};
use kube_oidc_gateway::run as gateway;

use super::*;

/// Where a flag's effect is seen. Texts are there with the flags and not without.
enum Held {
    /// In a file of Envoy's.
    Rendered(&'static [&'static str], &'static str, &'static str),
    /// In what the program is told, whose effect tests of [`gateway`] see.
    Settings(&'static [&'static str], &'static str),
    /// In what the audit trail is told, whose effect tests of [`kube_oidc_gateway::audit`] see.
    Audit(&'static [&'static str], &'static str),
    /// In the warning that there is none.
    Warned(&'static [&'static str]),
    /// Only one value is served.
    Refused(&'static [&'static str]),
    /// In what the program is told, where it has no words for it.
    Told(&'static [&'static str], fn(&gateway::settings::Settings) -> bool),
    /// In the form of the program's own lines.
    Lines(&'static [&'static str], LogFormat),
}
use Held::{Audit as InAudit, Lines, Refused, Rendered, Settings, Told, Warned};

const FILTER: &str = "filter-gateway.yaml";
const CONNECTIONS: &str = "filter-connections.yaml";
const ENVOY: &str = "envoy.yaml";
const CLUSTERS: &str = "clusters.yaml";
const COLLECTOR: &str = "--tracing-endpoint=https://otel.example:4317";
const ROUTES: &str = "routes.yaml";

const HELD: &[Held] = &[
    Rendered(&["--disable-impersonation"], FILTER, r#""impersonation":"disabled""#),
    Rendered(&["--extra-user-header-client-ip"], FILTER, r#""clientIP":true"#),
    Rendered(&["--extra-user-headers=a=b"], FILTER, r#""headers":{"a":["b"]}"#),
    Rendered(&["--token-passthrough"], FILTER, r#""enabled":true"#),
    Rendered(&["--token-passthrough-audiences=x"], FILTER, r#""audiences":["x"]"#),
    Rendered(&["--allow-reserved-groups=system:a"], FILTER, r#""groups":["system:a"]"#),
    Rendered(
        &["--cors-allowed-origins=^https://a$"],
        FILTER,
        r#""corsAllowedOrigins":["^https://a$"]"#,
    ),
    Rendered(&["--protected-resource-url=https://a"], ROUTES, r#""resource":"https://a""#),
    Rendered(
        &["--protected-resource-cluster-name=prod", "--protected-resource-url=https://a"],
        ROUTES,
        r#""prod""#,
    ),
    Rendered(&["--kubernetes-rules=1.36"], FILTER, r#""kubernetesRules":"1.36""#),
    Rendered(&["--subject-access-review-timeout=3s"], FILTER, r#""timeoutSeconds":3"#),
    Rendered(&["--proxy-protocol=10.0.0.0/8"], ENVOY, "direct_source_prefix_ranges"),
    Rendered(&["--trusted-proxies=10.0.0.0/8"], ENVOY, r#"{address_prefix: "10.0.0.0""#),
    Settings(&["--readiness-probe-port=8123"], ":8123"),
    Settings(&["--readiness-require-all-issuers"], "all_issuers: true"),
    Rendered(&["--oidc-issuer-url=https://b.example"], FILTER, r#""url":"https://b.example""#),
    Rendered(&["--oidc-client-id=other"], FILTER, r#""audiences":["other"]"#),
    Rendered(&["--oidc-username-claim=email"], FILTER, r#""claim":"email""#),
    Rendered(&["--oidc-username-prefix=x:"], FILTER, r#""prefix":"x:""#),
    Rendered(&["--oidc-groups-claim=g"], FILTER, r#""claim":"g""#),
    Rendered(&["--oidc-groups-prefix=y:", "--oidc-groups-claim=g"], FILTER, r#""prefix":"y:""#),
    Rendered(&["--oidc-required-claim=hd=x"], FILTER, r#""requiredValue":"x""#),
    Rendered(&["--oidc-signing-algs=ES256"], FILTER, r#""signingAlgorithms":["ES256"]"#),
    Rendered(&["--bind-address=127.0.0.7"], ENVOY, r#"address: "127.0.0.7""#),
    Rendered(&["--secure-port=7443"], ENVOY, "port_value: 7443"),
    Settings(&["--cert-dir={tmp}/other"], "/other/kube-oidc-gateway.crt"),
    Rendered(&["--tls-min-version=VersionTLS13"], ENVOY, "TLSv1_3"),
    Rendered(
        &["--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"],
        ENVOY,
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    Rendered(&["--tls-curve-preferences=CurveP384"], ENVOY, r#"ecdh_curves: ["P-384"]"#),
    Rendered(&["--disable-http2-serving"], ENVOY, "codec_type: HTTP1"),
    Rendered(&["--http2-max-streams-per-connection=7"], ENVOY, "max_concurrent_streams: 7"),
    Settings(&["--permit-port-sharing"], "share_port: true"),
    Warned(&["--permit-address-sharing"]),
    Rendered(&["--context=b", "--kubeconfig={tmp}/kubeconfig", "--server="], CLUSTERS, "10.0.0.3"),
    Settings(&["--user=b", "--kubeconfig={tmp}/kubeconfig", "--token="], "/b/token"),
    Rendered(&["--cluster=b", "--kubeconfig={tmp}/kubeconfig", "--server="], CLUSTERS, "10.0.0.3"),
    Rendered(&["--server=https://10.0.0.9"], CLUSTERS, "10.0.0.9"),
    Settings(&["--certificate-authority=/a/ca.pem"], "/a/ca.pem"),
    Settings(&["--client-certificate=/a/c", "--client-key=/a/k", "--token="], "/a/c"),
    Settings(&["--client-key=/a/k", "--client-certificate=/a/c", "--token="], "/a/k"),
    Settings(&["--insecure-skip-tls-verify"], "ca: None"),
    Rendered(&["--tls-server-name=kas.example"], CLUSTERS, "kas.example"),
    Told(&["--token=other"], |settings| {
        settings.apiserver.credential == CredentialSource::Token(Source::Inline(b"other".to_vec()))
    }),
    Rendered(&["--request-timeout=31"], "routes.yaml", "31s"),
    InAudit(&["--audit-log-format=legacy"], "format: Legacy"),
    Refused(&["--audit-log-version=v1"]),
    InAudit(&["--audit-log-maxage=3"], "max_age_days: 3,"),
    InAudit(&["--audit-log-maxbackup=3"], "max_backups: 3,"),
    InAudit(&["--audit-log-maxsize=3"], "max_size_mb: 3,"),
    InAudit(&["--audit-log-compress"], "compress: true"),
    Warned(&["--audit-log-mode=batch"]),
    Warned(&["--audit-log-batch-buffer-size=1"]),
    Warned(&["--audit-log-batch-max-size=2"]),
    Warned(&["--audit-log-batch-max-wait=2s"]),
    Warned(&["--audit-log-batch-throttle-enable"]),
    Warned(&["--audit-log-batch-throttle-qps=2"]),
    Warned(&["--audit-log-batch-throttle-burst=2"]),
    InAudit(&["--audit-log-truncate-enabled"], "max_event_bytes: Some(102400)"),
    Warned(&["--audit-log-truncate-max-batch-size=5"]),
    InAudit(
        &["--audit-log-truncate-max-event-size=5", "--audit-log-truncate-enabled"],
        "max_event_bytes: Some(5)",
    ),
    Warned(&["--audit-webhook-mode=blocking"]),
    InAudit(&["--audit-webhook-initial-backoff=3s"], "initial_backoff: 3s"),
    Refused(&["--audit-webhook-version=v1"]),
    InAudit(&["--audit-webhook-batch-buffer-size=3"], "buffer_size: 3,"),
    InAudit(&["--audit-webhook-batch-max-size=3"], "max_batch_size: 3,"),
    InAudit(&["--audit-webhook-batch-max-wait=3s"], "max_batch_wait: 3s"),
    InAudit(&["--audit-webhook-batch-throttle-enable=false"], "throttle: None"),
    InAudit(&["--audit-webhook-batch-throttle-qps=3"], "qps: 3.0"),
    InAudit(&["--audit-webhook-batch-throttle-burst=3"], "burst: 3"),
    InAudit(&["--audit-webhook-truncate-enabled"], "max_batch_bytes: Some(10485760)"),
    InAudit(
        &["--audit-webhook-truncate-max-batch-size=5", "--audit-webhook-truncate-enabled"],
        "max_batch_bytes: Some(5)",
    ),
    InAudit(
        &["--audit-webhook-truncate-max-event-size=5", "--audit-webhook-truncate-enabled"],
        "max_event_bytes: Some(5)",
    ),
    Warned(&["--flush-interval=50ms"]),
    Warned(&["--kube-client-qps=5"]),
    Warned(&["--kube-client-burst=5"]),
    Warned(&["--disable-compression"]),
    Warned(&["--namespace=a"]),
    Warned(&["--as=a"]),
    Warned(&["--as-group=a"]),
    Warned(&["--as-uid=a"]),
    Warned(&["--as-user-extra=a=b"]),
    Warned(&["--vmodule=a=1"]),
    Warned(&["--log-flush-frequency=5s"]),
    Settings(&["--envoy-binary=/other/envoy"], "/other/envoy"),
    Rendered(&["--filter=/other/filter.wasm"], FILTER, "/other/filter.wasm"),
    Rendered(
        &["--filter-form=native", "--native-filter=/other/libkube_oidc_gateway.so"],
        FILTER,
        "DynamicModuleFilter",
    ),
    Rendered(
        &["--native-filter=/other/libkube_oidc_gateway.so", "--filter-form=native"],
        FILTER,
        "/other/libkube_oidc_gateway.so",
    ),
    Rendered(&["--revocations={tmp}/none"], CLUSTERS, "/run/access.sock"),
    Settings(
        &["--revocations-configmap=access", "--service-account-dir={tmp}"],
        r#"ConfigMap { namespace: "ns", name: "access" }"#,
    ),
    Rendered(&["--grants={tmp}/none"], CLUSTERS, "/run/access.sock"),
    Settings(
        &["--grants-configmap=lent", "--service-account-dir={tmp}"],
        r#"ConfigMap { namespace: "ns", name: "lent" }"#,
    ),
    Settings(
        &["--elevation-webhook-config-file=/chat", "--elevation-webhook-secret-file=/key"],
        r#"Target { kubeconfig: "/chat", secret: "/key" }"#,
    ),
    Settings(
        &["--elevation-webhook-secret-file=/key", "--elevation-webhook-config-file=/chat"],
        r#"secret: "/key""#,
    ),
    Rendered(&["--run-dir={tmp}/other-run"], ENVOY, "/other-run/"),
    Settings(&["--system-ca-file=/other/bundle"], "/other/bundle"),
    Settings(&["--readiness-probe-address=127.0.0.9"], "127.0.0.9:8080"),
    Settings(&["--readiness-require-rights=false"], "require_rights: false"),
    Settings(&["--concurrency=3"], "concurrency: Some(3)"),
    Rendered(&["--trusted-hops=2"], ENVOY, "xff_num_trusted_hops: 2"),
    Settings(&["--shutdown-delay-duration=9s"], "shutdown_delay: 9s"),
    Settings(&["--drain-duration=9s"], "drain: 9s"),
    Lines(&["--log-format=json"], LogFormat::Json),
    Settings(&["--v=4"], r#"log_level: "debug""#),
    Rendered(&[COLLECTOR], ENVOY, "otel.example:4317"),
    Rendered(&["--tracing-protocol=http", COLLECTOR], ENVOY, "/v1/traces"),
    Rendered(&["--tracing-sampling-percent=7.5", COLLECTOR], ENVOY, "value: 7.5}"),
    Rendered(&["--tracing-user", COLLECTOR], ENVOY, "enduser.id"),
    Told(&["--tracing-trust-clients", COLLECTOR], |settings| {
        settings.options.traces.as_ref().is_some_and(|traces| traces.trust_clients)
    }),
    Rendered(
        &["--tracing-ca-file={tmp}/kubeconfig", COLLECTOR],
        "secret-collector-ca.yaml",
        "/kubeconfig",
    ),
    Rendered(
        &["--tracing-token-file={tmp}/kubeconfig", COLLECTOR],
        "secret-collector-token.yaml",
        "/kubeconfig",
    ),
    Rendered(
        &["--tracing-token-header=x-key", COLLECTOR, "--tracing-token-file={tmp}/kubeconfig"],
        ENVOY,
        "header: \"x-key\"",
    ),
    Rendered(&["--max-connections=7777"], ENVOY, "7777"),
    Rendered(
        &["--max-undecided-connections-per-address=777", "--concurrency=7"],
        CONNECTIONS,
        "per_address=111 ",
    ),
    Rendered(&["--undecided-connection-timeout=77s"], CONNECTIONS, "undecided_seconds=77"),
    Rendered(&["--max-streams-per-connection=77"], ENVOY, "max_concurrent_streams: 77"),
    Rendered(&["--max-heap-bytes=99999999"], ENVOY, "99999999"),
    Rendered(&["--max-request-headers-kib=222"], ENVOY, "max_request_headers_kb: 222"),
    Rendered(&["--max-request-headers=333"], ENVOY, "max_headers_count: 333"),
    Rendered(&["--buffer-bytes=77777"], ENVOY, "per_connection_buffer_limit_bytes: 77777"),
    Rendered(&["--stream-window-bytes=77777"], ENVOY, "initial_stream_window_size: 77777"),
    Rendered(&["--connection-window-bytes=77777"], ENVOY, "initial_connection_window_size: 77777"),
    Rendered(&["--handshake-timeout=7s"], ENVOY, r#"transport_socket_connect_timeout: "7s""#),
    Rendered(&["--request-headers-timeout=7s"], ENVOY, r#"request_headers_timeout: "7s""#),
    Rendered(&["--undecided-timeout=17s"], ENVOY, r#"stream_idle_timeout: "17s""#),
    Rendered(&["--stream-idle-timeout=7h"], "routes.yaml", "25200s"),
    Rendered(&["--connection-idle-timeout=7m"], ENVOY, r#"idle_timeout: "420s""#),
    Rendered(&["--connect-timeout=7s"], CLUSTERS, r#"connect_timeout: "7s""#),
    Rendered(&["--max-connection-duration=1h"], ENVOY, r#"max_connection_duration: "3600s""#),
    Rendered(&["--drain-timeout=7s"], ENVOY, r#"drain_timeout: "7s""#),
];

const KUBECONFIG: &str = "{apiVersion: v1, kind: Config, current-context: a, \
    contexts: [{name: a, context: {cluster: a, user: a}}, {name: b, context: {cluster: b, user: b}}], \
    clusters: [{name: a, cluster: {server: 'https://10.0.0.2'}}, {name: b, cluster: {server: 'https://10.0.0.3'}}], \
    users: [{name: a, user: {token: a}}, {name: b, user: {tokenFile: /b/token}}]}";

fn command() -> Command {
    as_in_go(Run::augment_args(Command::new("run")))
}

fn parsed(folder: &Path, flags: &[&str]) -> Run {
    let base = [
        "run",
        "--oidc-issuer-url=https://a.example",
        "--oidc-client-id=kubernetes",
        "--server=https://10.0.0.1",
        "--certificate-authority={tmp}/serving/kube-oidc-gateway.crt",
        "--token=a",
        "--cert-dir={tmp}/serving",
        "--run-dir={tmp}/run",
        "--envoy-binary=/envoy",
        "--filter=/filter.wasm",
        "--system-ca-file={tmp}/none",
        "--audit-log-path=/audit.log",
        "--audit-webhook-config-file=/webhook",
    ];
    let folder = folder.to_str().unwrap();
    let words = base.iter().chain(flags).map(|word| word.replace("{tmp}", folder));
    Run::from_arg_matches(&command().try_get_matches_from(words).unwrap()).unwrap()
}

fn warnings(run: &Run) -> Vec<String> {
    [run.ignored.warnings(), run.serving.warnings(), run.audit.warnings()].concat()
}

/// One of Envoy's files; JSON inside of it without its quoting.
fn rendered(folder: &Path, flags: &[&str], name: &str) -> String {
    let files = gateway::files(parsed(folder, flags).settings().unwrap()).unwrap();
    let file = files.files().iter().find(|file| file.name == name);
    file.map(|file| file.text.replace('\\', "")).unwrap_or_default()
}

fn settings(folder: &Path, flags: &[&str]) -> String {
    format!("{:?}", parsed(folder, flags).settings().unwrap())
}

fn outputs(folder: &Path, flags: &[&str]) -> String {
    let audit = parsed(folder, flags).audit;
    format!("{:?} {:?}", audit.file().unwrap(), audit.webhook().unwrap())
}

#[test]
fn every_flag_has_an_effect() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("kubeconfig"), KUBECONFIG).unwrap();
    fs::write(folder.join("namespace"), "ns").unwrap();
    let differs = |flags: &[&str], text: &str, see: &dyn Fn(&[&str]) -> String| {
        let (with, without) = (see(flags), see(&[]));
        assert!(with.contains(text), "{flags:?}: no {text} in\n{with}");
        assert!(!without.contains(text), "{flags:?}: {text} without them");
    };
    for held in HELD {
        match held {
            Rendered(flags, name, text) => {
                differs(flags, text, &|flags| rendered(folder, flags, name));
            }
            Settings(flags, text) => differs(flags, text, &|flags| settings(folder, flags)),
            InAudit(flags, text) => differs(flags, text, &|flags| outputs(folder, flags)),
            Warned(flags) => {
                let more = warnings(&parsed(folder, flags)).len();
                assert_eq!(more, warnings(&parsed(folder, &[])).len() + 1, "{flags:?}");
            }
            Refused(flags) => {
                let audit = parsed(folder, flags).audit;
                assert!(audit.file().is_err() || audit.webhook().is_err(), "{flags:?}");
            }
            Told(flags, is_told) => {
                let told = |flags| is_told(&parsed(folder, flags).settings().unwrap());
                assert!(told(flags) && !told(&[]), "{flags:?}");
            }
            Lines(flags, format) => {
                let lines = |flags| parsed(folder, flags).log_format() == *format;
                assert!(lines(flags) && !lines(&[]), "{flags:?}");
            }
        }
    }
}

#[test]
fn no_flag_is_missing() {
    let name = |flag: &str| flag.trim_start_matches("--").split('=').next().unwrap().to_owned();
    let held = HELD.iter().map(|held| match held {
        Rendered(flags, ..)
        | Settings(flags, _)
        | InAudit(flags, _)
        | Warned(flags)
        | Told(flags, _)
        | Lines(flags, _)
        | Refused(flags) => name(flags[0]),
    });
    let held: BTreeSet<_> = held.chain(gateway::END_TO_END.map(name)).collect();
    let command = command();
    let flags = command.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned);
    let flags: BTreeSet<_> = flags.collect();
    assert_eq!(held, flags);
}
