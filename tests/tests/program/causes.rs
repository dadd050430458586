//! Why an issuer's keys cannot be had: each cause is made to happen with a real Envoy, and named in the log, in the metrics, in
//! `/readyz?verbose` and in what the client is told. docs/troubleshooting.md has a row for each.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use oidc_provider::{Answer, Config, Endpoint, IssuerConfig, Misbehaviour, Preset, Provider};
use sandbox::{Authority, Port, realm};
use serde_json::{Value, json};

use crate::harness::{Files, Rig, Setup, until};

const DOCUMENT: &str = include_str!("../../../docs/troubleshooting.md");

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
        let provider = Provider::start(Config::of(issuer())).unwrap();
        provider.issuer().misbehave(Endpoint::Discovery, how).unwrap();
        let (url, ca) = (provider.issuer().url().to_owned(), provider.ca_pem().to_owned());
        Self { cause, url, ca, detail, _provider: Some(provider) }
    }

    /// Nobody who could be asked.
    fn nobody(cause: &'static str, url: String, detail: &'static str) -> Self {
        let ca = Authority::new("nobody").unwrap().pem().to_owned();
        Self { cause, url, ca, detail, _provider: None }
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

fn all_kinds(closed: &Port) -> Vec<Broken> {
    let encoded = Misbehaviour {
        headers: vec![("content-encoding".to_owned(), "br".to_owned())],
        ..Misbehaviour::answer(Answer::Html)
    };
    let foreign = Provider::start(Config::of(issuer())).unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 2], 0));
    let elsewhere = Provider::start(Config { listen, ..Config::of(issuer()) }).unwrap();
    vec![
        Broken::nobody("refused", format!("https://{}", closed.address()), "Connection refused"),
        Broken::nobody(
            "no_address",
            "https://nowhere.invalid".to_owned(),
            "its name was not found",
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
        Broken::answering("document", Misbehaviour::answer(Answer::Html), "failed to decode"),
    ]
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
    let closed = Port::reserve().unwrap();
    let broken = all_kinds(&closed);
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
        gateway["keySets"] = json!({"timeoutSeconds": 2});
        for (name, document) in [("broken.yaml", authentication), ("gateway.yaml", gateway)] {
            std::fs::write(folder(name), document.to_string()).unwrap();
        }
        vec![
            format!("--authentication-config={}", folder("broken.yaml").display()),
            format!("--gateway-config={}", folder("gateway.yaml").display()),
        ]
    };
    let rig = Rig::begin(&Setup { chart: false, ..Setup::default() }, flags);
    for Broken { cause, url, detail, .. } in &broken {
        let words = documented(cause);
        until(&format!("{cause} in the log"), || {
            let log = rig.log();
            let begin = format!("issuer {url}: no keys fetched ({cause}): discovery: ");
            let mut lines = log.lines().filter_map(|line| Some(line.split_once(&begin)?.1));
            lines.any(|line| line.contains(detail)).then_some(())
        });
        until(&format!("{cause} in /readyz?verbose"), || {
            let report = rig.probe().get("/readyz?verbose").ok()?.body;
            report.contains(&format!("{url} ({cause}: {words})")).then_some(())
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
    what_kubectl_prints_is_documented(&rig, &broken);
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
                let want = format!("{BEGIN}{}", documented(cause));
                // Its tries outlast the time in which somebody has to sign in on the connection.
                let closed = *cause == "timeout" && printed.trim_end() == CLOSED;
                assert!(closed || printed.trim_end() == want, "{cause}: {printed}");
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
