//! Why an issuer's keys cannot be had: each cause is made to happen with a real Envoy, and named in the log, in the metrics, in
//! `/readyz?verbose` and in what the client is told. docs/troubleshooting.md has a row for each.

mod altered;

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use oidc_provider::{Answer, Config, Endpoint, IssuerConfig, Misbehaviour, Preset, Provider};
use sandbox::{Authority, Manners, Port, ServedIssuer, realm};
use serde_json::{Value, json};

use crate::harness::{Files, Rig, Setup, until};

const DOCUMENT: &str = include_str!("../../../docs/troubleshooting.md");

/// What a rendered configuration and a server of the world can bring about.
const OF_SERVERS: [&str; 18] = [
    "refused",
    "no_address",
    "unreachable",
    "tls",
    "unknown_authority",
    "certificate_name",
    "certificate_expired",
    "certificate",
    "timeout",
    "reset",
    "not_http",
    "http_status",
    "redirect",
    "content_encoding",
    "too_large",
    "document",
    "no_usable_key",
    "url",
];

/// An issuer whose keys cannot be had.
struct Broken {
    cause: &'static str,
    url: String,
    ca: String,
    /// What the log has beside the cause: Envoy's reason, or the issuer's answer.
    detail: &'static str,
    _provider: Option<Provider>,
}

impl Broken {
    /// A provider that answers so when it is asked for its discovery document.
    fn answering(cause: &'static str, how: Misbehaviour, detail: &'static str) -> Self {
        Self::answering_at(Endpoint::Discovery, cause, how, detail)
    }

    /// A provider that answers so when it is asked there.
    fn answering_at(
        endpoint: Endpoint,
        cause: &'static str,
        how: Misbehaviour,
        detail: &'static str,
    ) -> Self {
        let provider = Provider::start(Config::of(issuer())).unwrap();
        provider.issuer().misbehave(endpoint, how).unwrap();
        let (url, ca) = (provider.issuer().url().to_owned(), provider.ca_pem().to_owned());
        Self { cause, url, ca, detail, _provider: Some(provider) }
    }

    /// Nobody who could be asked.
    fn nobody(cause: &'static str, url: String, detail: &'static str) -> Self {
        let ca = Authority::new("nobody").unwrap().pem().to_owned();
        Self { cause, url, ca, detail, _provider: None }
    }

    /// An issuer of the server of manners, which bears the cause's name there.
    fn in_a_manner(served: &ServedIssuer, cause: &'static str, detail: &'static str) -> Self {
        assert_eq!(served.name, cause);
        Self { cause, url: served.url.clone(), ca: served.ca.clone(), detail, _provider: None }
    }
}

fn issuer() -> IssuerConfig {
    Preset::KubernetesSandbox.issuer()
}

/// Answers every `ClientHello` with the alert `protocol_version` (RFC 8446, section 6): as a server does that speaks TLS 1.1 at most.
fn speaks_old_tls() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(&[21, 3, 1, 0, 2, 2, 70]);
        }
    });
    address
}

/// What no library of the provider's does.
const MANNERS: [(&str, &str, &str); 4] = [
    (
        "certificate_expired",
        r#"{"certificate": {"lifetime": "expired"}}"#,
        "certificate has expired",
    ),
    ("certificate", r#"{"certificate": {"usage": "client"}}"#, "unsupported certificate purpose"),
    (
        "not_http",
        r#"{"tls": {"alpn": ["http/1.1"]}, "answer": {"version": "MAIL"}}"#,
        "its answer is not HTTP: protocol error",
    ),
    ("url", r#"{"keys_at": "$PLAIN/keys"}"#, "is not an https URL"),
];

fn manners() -> Manners {
    let start = Manners::builder(json!({"keys": []}));
    let all = MANNERS.iter().fold(start, |manners, (cause, how, _)| {
        let mut how: Value = serde_json::from_str(how).unwrap();
        how["name"] = (*cause).into();
        manners.issuer(how)
    });
    all.start().unwrap()
}

fn of_servers(closed: &Port, manners: &Manners) -> Vec<Broken> {
    let encoded = Misbehaviour {
        headers: vec![("content-encoding".to_owned(), "br".to_owned())],
        ..Misbehaviour::answer(Answer::Html)
    };
    let foreign = Provider::start(Config::of(issuer())).unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 2], 0));
    let elsewhere = Provider::start(Config { listen, ..Config::of(issuer()) }).unwrap();
    let mut all = vec![
        Broken::nobody("refused", format!("https://{}", closed.address()), "Connection refused"),
        Broken::nobody(
            "no_address",
            "https://nowhere.invalid".to_owned(),
            "its name was not found",
        ),
        // No connection leads to a broadcast address, on whichever machine.
        Broken::nobody(
            "unreachable",
            "https://255.255.255.255".to_owned(),
            "Network is unreachable",
        ),
        Broken::nobody(
            "tls",
            format!("https://{}", speaks_old_tls()),
            "TLSV1_ALERT_PROTOCOL_VERSION",
        ),
        Broken {
            cause: "unknown_authority",
            url: foreign.issuer().url().to_owned(),
            ca: Authority::new("stranger").unwrap().pem().to_owned(),
            detail: "unable to get local issuer certificate",
            _provider: Some(foreign),
        },
        Broken {
            cause: "certificate_name",
            url: format!("https://{}", elsewhere.address()),
            ca: elsewhere.ca_pem().to_owned(),
            detail: "expected SANs: [127.0.0.2]",
            _provider: Some(elsewhere),
        },
        Broken::answering("timeout", Misbehaviour::answer(Answer::Hang), "no answer in time"),
        Broken::answering("reset", Misbehaviour::answer(Answer::Close), ""),
        Broken::answering("http_status", Misbehaviour::answer(Answer::Status(503)), "HTTP 503"),
        Broken::answering(
            "redirect",
            Misbehaviour::answer(Answer::Redirect("https://other.example/".to_owned())),
            "HTTP 302: redirects are not followed",
        ),
        Broken::answering("content_encoding", encoded, r#"Content-Encoding "br" is not read"#),
        Broken::answering(
            "too_large",
            Misbehaviour::answer(Answer::HugeMib(2)),
            "bytes exceed keySets.maximumBytes",
        ),
        Broken::answering("document", Misbehaviour::answer(Answer::Html), "failed to decode"),
        Broken::answering_at(
            Endpoint::Jwks,
            "no_usable_key",
            Misbehaviour::answer(Answer::NoKeys),
            "no usable key",
        ),
    ];
    let served = manners.issuers().iter().zip(MANNERS);
    all.extend(served.map(|(issuer, (cause, _, why))| Broken::in_a_manner(issuer, cause, why)));
    all
}

/// The causes that have a row in the documentation.
fn rows() -> BTreeSet<&'static str> {
    let (_, table) = DOCUMENT.split_once("<!-- causes:").unwrap();
    let (table, _) = table.split_once("<!-- /causes -->").unwrap();
    table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

/// No cause is left to tests of a unit: Envoy meets each.
#[test]
fn every_cause_is_brought_about() {
    let provoked: Vec<_> = OF_SERVERS.into_iter().chain(altered::CAUSES).collect();
    assert_eq!(provoked.len(), rows().len());
    assert_eq!(provoked.into_iter().collect::<BTreeSet<_>>(), rows());
}

/// The words for a cause, which its row of the documentation has.
fn documented(cause: &str) -> &'static str {
    let begin = format!("| `{cause}` | ");
    let row = DOCUMENT.lines().find_map(|line| line.strip_prefix(&begin));
    let row = row.unwrap_or_else(|| panic!("nothing on {cause}"));
    row.split(" | ").next().unwrap()
}

#[test]
fn each_cause_is_named_wherever_somebody_looks_for_it() {
    let (closed, manners) = (Port::reserve().unwrap(), manners());
    let broken = of_servers(&closed, &manners);
    assert_eq!(broken.iter().map(|it| it.cause).collect::<BTreeSet<_>>(), OF_SERVERS.into());
    let rig = begin(&broken, &json!({"timeoutSeconds": 2}), |_| vec![]);
    assert_named(&rig, &broken);
    what_kubectl_prints_is_documented(&rig, &broken);
}

/// The program with all of these issuers, and some `keySets`.
fn begin(broken: &[Broken], key_sets: &Value, more: impl FnOnce(&Files) -> Vec<String>) -> Rig {
    let jwt = |broken: &Broken| {
        json!({
            "issuer": {
                "url": broken.url, "audiences": [realm::CLIENT], "certificateAuthority": broken.ca,
            },
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        })
    };
    let authentication = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": broken.iter().map(jwt).collect::<Vec<_>>(),
    });
    let flags = |files: &Files| {
        let folder = |name: &str| files.config.parent().unwrap().join(name);
        let mut gateway = realm::configuration();
        gateway["keySets"] = key_sets.clone();
        for (name, document) in [("broken.yaml", authentication), ("gateway.yaml", gateway)] {
            std::fs::write(folder(name), document.to_string()).unwrap();
        }
        let mut flags = vec![
            format!("--authentication-config={}", folder("broken.yaml").display()),
            format!("--gateway-config={}", folder("gateway.yaml").display()),
            // Ten tries on one connection, on a busy machine.
            "--undecided-connection-timeout=1m".to_owned(),
        ];
        flags.extend(more(files));
        flags
    };
    Rig::begin(&Setup { chart: false, ..Setup::default() }, flags)
}

fn assert_logged(rig: &Rig, Broken { cause, url, detail, .. }: &Broken) {
    until(&format!("{cause} in the log"), || {
        let log = rig.log();
        let begin = format!("issuer {url}: no keys fetched ({cause}): ");
        let mut lines = log.lines().filter_map(|line| Some(line.split_once(&begin)?.1));
        let told = lines.any(|line| line.contains(detail));
        let of_it = || log.lines().filter(|line| line.contains(url)).collect::<Vec<_>>();
        if told { Ok(()) } else { Err(of_it().join("\n")) }
    });
}

/// In the log, in `/readyz?verbose`, in the metrics, and in the answer to a client.
fn assert_named(rig: &Rig, broken: &[Broken]) {
    for broken in broken {
        assert_logged(rig, broken);
        let Broken { cause, url, .. } = broken;
        let words = documented(cause);
        until(&format!("{cause} in /readyz?verbose"), || {
            let report = rig.probe().get("/readyz?verbose").map_err(|error| error.to_string())?;
            let told = report.body.contains(&format!("{url} ({cause}: {words})"));
            if told { Ok(()) } else { Err(report.body) }
        });
        let reason = format!("reason=\"{cause}\"");
        until(&format!("{cause} in the metrics"), || {
            let text = rig.probe().get("/metrics").ok()?.body;
            let has = |name: &str, value: fn(f64) -> bool| {
                text.lines().filter(|line| line.starts_with(name) && line.contains(&reason)).any(
                    |line| {
                        line.rsplit(' ').next().and_then(|it| it.parse().ok()).is_some_and(value)
                    },
                )
            };
            let failing = has("gateway_issuer_failing{", |value| value > 0.5);
            let counted = has("gateway_callout_failures_total{", |value| value > 0.0);
            (failing && counted).then_some(())
        });
        let token = rig.token().claim("iss", url.as_str()).mint();
        let want = format!("the keys of issuer {url:?} are not available yet: {words}");
        until(&format!("{cause} in the answer"), || {
            let answer = rig.agent().get(format!("{}/version", rig.url()));
            let mut answer =
                answer.header("authorization", format!("Bearer {token}")).call().ok()?;
            assert_eq!(answer.status(), 503, "{cause}");
            let status: Value = answer.body_mut().read_json().unwrap();
            // A request that comes while the next try is under way waits for that.
            (status["message"] == *want).then_some(())
        });
    }
}

/// kubectl tries ten times, each for a second or more: all causes at the same time.
fn what_kubectl_prints_is_documented(rig: &Rig, broken: &[Broken]) {
    const BEGIN: &str = "Error from server (ServiceUnavailable): the keys of issuer \"https://issuer.example\" are not available yet: ";
    const CLOSED: &str = "Unable to connect to the server: unexpected EOF";
    assert!(DOCUMENT.contains(&format!("```\n{CLOSED}\n```")));
    let mut lines = DOCUMENT.lines();
    let example = lines.find_map(|line| line.strip_prefix(BEGIN)).expect(BEGIN);
    assert_eq!(example, documented("http_status"));
    let kubectls: Vec<_> = broken
        .iter()
        .map(|it| (it, rig.kubectl(rig.token().claim("iss", it.url.as_str()).mint())))
        .collect();
    thread::scope(|scope| {
        for (Broken { cause, url, .. }, kubectl) in &kubectls {
            scope.spawn(move || {
                let output = kubectl.run(["get", "--raw", "/version"]).unwrap();
                assert!(!output.success(), "{cause}: {output:?}");
                let printed = output.stderr.replace(url, "https://issuer.example");
                let printed = printed.trim_end();
                let words = |cause: &str| format!("{BEGIN}{}", documented(cause));
                // Where a try lasts, a request may have waited for it in vain, or kubectl's tries outlast the time in which somebody
                // has to sign in on the connection.
                let lasts = ["timeout", "connect_timeout"].contains(cause);
                let in_vain = lasts && (printed == CLOSED || printed == words("timeout"));
                assert!(in_vain || printed == words(cause), "{cause}: {printed}");
            });
        }
    });
}

/// The key was an unknown one, and why it was not used nobody found out.
#[test]
fn a_key_that_is_not_used_is_named_once_and_where_a_token_needs_it() {
    let flags = |files: &Files| {
        let path = files.config.parent().unwrap().join("gateway.yaml");
        let mut gateway = realm::configuration();
        gateway["keySets"] = json!({
            "minimumRefetchSeconds": 1, "minimumLifetimeSeconds": 1, "defaultLifetimeSeconds": 1,
            "maximumLifetimeSeconds": 2,
        });
        std::fs::write(&path, gateway.to_string()).unwrap();
        vec![
            format!(
                "--authentication-config={}",
                files.config.join("authentication.yaml").display()
            ),
            format!("--gateway-config={}", path.display()),
        ]
    };
    let rig = Rig::ready(&Setup { chart: false, ..Setup::default() }, flags);
    let broken = json!({"kty": "RSA", "kid": "broken", "n": "AQAB==", "e": "AQAB"});
    let odd = Misbehaviour::answer(Answer::OddKeys(vec![broken]));
    let issuer = rig.issuer();
    issuer.misbehave(Endpoint::Jwks, odd).unwrap();
    let named = r#"keys[0] "broken": member "n" is malformed"#;
    let told = format!("issuer {}: keys not used: {named}", issuer.url());
    rig.wait_for_log(&told);
    // Refreshes, by whichever worker, tell nothing new.
    let fetches = issuer.requests(Endpoint::Jwks);
    until("the keys are fetched again", || {
        (issuer.requests(Endpoint::Jwks) >= fetches + 4).then_some(())
    });
    assert_eq!(rig.log().matches(&told).count(), 1);
    let token = rig.token().header("kid", "broken").mint();
    let answer = rig.agent().get(format!("{}/version", rig.url()));
    let answer = answer.header("authorization", format!("Bearer {token}")).call().unwrap();
    assert_eq!(answer.status(), 401);
    let escaped = named.replace('"', "\\\"");
    rig.wait_for_log(&format!(r#"(no key \"broken\" in the key set; not used: {escaped})"#));
}
