//! The API server's certificate changes while everything runs.

use std::fs;

use oidc_provider::{Config, Preset, Provider};
use sandbox::{Identity, Manners, wait::until};
use serde_json::{Value, json};

use super::{Gateway, POD, Way, cluster, sni, works};

const DOCUMENT: &str = include_str!("../../../../docs/troubleshooting.md");

const NAME: &str = "renewed.apiserver.test";

/// Certificates for the name, all of one root, and whom to believe.
fn certificates(all: &[Value]) -> (Vec<Identity>, String) {
    let name = |index: usize| format!("certificate-{index}");
    let start = Manners::builder(json!({"keys": []}));
    let manners = all.iter().enumerate().fold(start, |manners, (index, certificate)| {
        let mut certificate = certificate.clone();
        certificate["names"] = json!([NAME]);
        manners.certificate(&name(index), &certificate)
    });
    let manners = manners.start().unwrap();
    let made: Vec<_> =
        (0..all.len()).map(|index| manners.certificate(&name(index)).unwrap()).collect();
    let ca = made[0].1.clone();
    assert!(made.iter().all(|(_, of)| *of == ca), "one root for all");
    (made.into_iter().map(|(identity, _)| identity).collect(), ca)
}

fn provider() -> Provider {
    Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap()
}

/// Of the same root: nobody notices, neither who is connected nor who comes.
#[test]
fn a_certificate_of_the_api_server_that_is_replaced_is_not_noticed() {
    let (identities, ca) = certificates(&[json!({}), json!({"key": "rsa2048"})]);
    let folder = tempfile::tempdir().unwrap();
    let files = identities[0].write(folder.path(), "serving").unwrap();
    let cluster = cluster();
    cluster.start_apiserver_with(&[sni(&files)]).unwrap();
    let way = Way { server: cluster.url(), ca, name: Some(NAME.to_owned()) };
    let provider = provider();
    let gateway = Gateway::start(&cluster, &way, &provider);
    gateway.ready().unwrap();
    works(&gateway.kubectl, &[]).unwrap_or_else(|error| panic!("{error}\n{}", gateway.log()));
    let mut watch = gateway.kubectl.start(["get", "namespaces", "--watch"]).unwrap();
    watch.line(super::LIMIT, |line| line.starts_with("kube-system")).unwrap();

    identities[1].write(folder.path(), "serving").unwrap();
    until("the API server to show the new one", || {
        // Each question of the program's is on a connection of its own.
        assert_eq!(gateway.probe.get("/readyz").unwrap().status, 200, "{}", gateway.log());
        gateway.kubectl.must(["get", "--raw", "/version"], "").unwrap();
        gateway.kubectl.must(["exec", POD, "--", "true"], "").unwrap();
        (shown(&cluster.url()) == identities[1].certificate.lines().nth(1).unwrap()).then_some(())
    });
    // Once more, now that it is shown to every new connection.
    works(&gateway.kubectl, &[]).unwrap_or_else(|error| panic!("{error}\n{}", gateway.log()));
    assert_eq!(gateway.probe.get("/readyz").unwrap().status, 200);
    cluster.admin().must(["create", "namespace", "witness"], "").unwrap();
    watch.line(super::LIMIT, |line| line.starts_with("witness")).unwrap();
    let log = fs::read_to_string(&gateway.log).unwrap();
    assert!(!log.contains("not ready: apiserver: the API server does not answer"), "{log}");
}

/// The first line of the certificate (PEM) that a new connection is shown.
fn shown(url: &str) -> String {
    let address = url.trim_start_matches("https://");
    let output = std::process::Command::new("openssl")
        .args(["s_client", "-connect", address, "-servername", NAME])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().skip_while(|line| !line.contains("BEGIN CERTIFICATE"));
    lines.nth(1).unwrap_or_default().to_owned()
}

/// It ends, and a new one takes its place: what is refused is refused for that time only, everybody is told why, and nothing has to be
/// started again.
#[test]
fn a_certificate_of_the_api_server_that_ends_is_named_and_its_successor_is_taken() {
    const REASON: &str = "certificate_has_expired";
    let (identities, ca) = certificates(&[json!({}), json!({"seconds": 10})]);
    let [good, short] = &identities[..] else { panic!("two") };
    let folder = tempfile::tempdir().unwrap();
    let files = good.write(folder.path(), "serving").unwrap();
    let cluster = cluster();
    cluster.start_apiserver_with(&[sni(&files)]).unwrap();
    let way = Way { server: cluster.url(), ca, name: Some(NAME.to_owned()) };
    let provider = provider();
    let gateway = Gateway::start(&cluster, &way, &provider);
    gateway.ready().unwrap();
    works(&gateway.kubectl, &[]).unwrap_or_else(|error| panic!("{error}\n{}", gateway.log()));

    short.write(folder.path(), "serving").unwrap();
    let straight = way.kubectl(&cluster);
    until("the short certificate to be over", || {
        let words = way.flags().into_iter().chain(["get", "--raw", "/readyz"].map(str::to_owned));
        straight.run(words).unwrap().stderr.contains("has expired").then_some(())
    });
    // Whoever has a connection of its own goes on with it. An API server that was started again has none.
    cluster.start_apiserver_with(&[sni(&files)]).unwrap();
    let report = until("the gateway to say that it is not ready", || {
        let answer = gateway.probe.get("/readyz?verbose").unwrap();
        (answer.status == 503 && answer.body.contains(REASON)).then_some(answer.body)
    });
    let told = "[-]apiserver failed: the API server does not answer: ";
    assert!(report.contains(told), "{report}");
    until("the reason in the log", || {
        let log = fs::read_to_string(&gateway.log).unwrap();
        let mut lines = log
            .lines()
            .filter(|line| line.contains("not ready: apiserver: the API server does not answer: "));
        lines.any(|line| line.contains(REASON)).then_some(())
    });
    until("the metric", || {
        let text = gateway.probe.get("/metrics").unwrap().body;
        let ready = text.lines().find(|line| line.starts_with("gateway_ready{check=\"apiserver\""));
        ready.is_some_and(|line| line.ends_with(" 0")).then_some(())
    });
    let exec = || gateway.kubectl.run(["exec", POD, "--", "true"]).unwrap();
    assert!(!exec().success());
    let output = gateway.kubectl.run(["get", "--raw", "/version"]).unwrap();
    let printed = output.stderr.trim_end();
    assert!(printed.starts_with("Error from server (ServiceUnavailable): "), "{output:?}");
    assert!(DOCUMENT.contains(&format!("```\n{printed}\n```")), "{printed}");
    assert!(DOCUMENT.contains(&format!("`{REASON}`")));

    good.write(folder.path(), "serving").unwrap();
    until("the gateway to take the new one", || {
        let output = exec();
        if output.success() { Ok(()) } else { Err(output.stderr) }
    });
    gateway.ready().unwrap();
    works(&gateway.kubectl, &[]).unwrap_or_else(|error| panic!("{error}\n{}", gateway.log()));
}
