//! The unit for systemd: what `systemd-analyze` says of it, and what its command does. systemd itself is not run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use gateway_tests::built;
use oidc_provider::{Config, Preset, Provider};
use sandbox::{Authority, Credential, Kubeconfig, Port, Program, realm};
use serde_json::json;

use crate::harness::{binary, cluster, token, until};

fn unit() -> String {
    let file = "../deploy/envoy/kube-oidc-gateway.service";
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// As it is installed, but for its program, which need not be there to be judged.
#[test]
fn systemd_takes_the_unit_and_finds_little_to_say_of_its_security() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kube-oidc-gateway.service");
    let program = binary().display().to_string();
    fs::write(&file, unit().replace("/usr/local/bin/kube-oidc-gateway", &program)).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&file).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}{error}");
        (said, error)
    };
    let (_, complaints) = analyze(&["verify"]);
    assert_eq!(complaints, "");
    // The threshold is in tenths.
    let (said, _) = analyze(&["security", "--offline=true", "--threshold=20"]);
    println!("{}", said.lines().last().unwrap_or_default());
}

/// What systemd would run, with the credentials in a folder as it has them.
#[test]
fn the_command_of_the_unit_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
    for name in ["configuration", "credentials", "run"] {
        fs::create_dir(path(name)).unwrap();
    }
    let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
    write("configuration/issuers.yaml", &realm::authentication_of(&provider).to_string());
    let authority = Authority::new("serving").unwrap();
    let pair = authority.server(&[]).unwrap();
    write("credentials/tls.crt", &pair.certificate);
    write("credentials/tls.key", &pair.key);
    write("credentials/token", &token());
    write("ca.crt", cluster().ca());
    let server = json!({"server": cluster().url(), "certificate-authority": path("ca.crt")});
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gateway",
        "clusters": [{"name": "cluster", "cluster": server}],
        "users": [{"name": "gateway", "user": {"tokenFile": "token"}}],
        "contexts": [{"name": "gateway", "context": {"cluster": "cluster", "user": "gateway"}}],
    });
    write("credentials/kubeconfig", &kubeconfig.to_string());

    let text = |path: PathBuf| path.display().to_string();
    let command = unit()
        .replace("\\\n", " ")
        .replace("%d/", &text(path("credentials/")))
        .replace("/etc/kube-oidc-gateway/", &text(path("configuration/")))
        .replace("/usr/local/lib/kube-oidc-gateway/filter.wasm", &text(built::filter()))
        .replace("/usr/local/bin/envoy", &text(cluster().assets().envoy.clone()))
        .replace("/run/kube-oidc-gateway", &text(path("run")));
    let command = command.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let (port, probe) = (Port::reserve().unwrap(), Port::reserve().unwrap());
    let mut arguments: Vec<_> = command.split_whitespace().skip(1).map(str::to_owned).collect();
    arguments.extend(
        ["--bind-address=127.0.0.1", "--readiness-probe-address=127.0.0.1"].map(str::to_owned),
    );
    arguments.push(format!("--secure-port={}", port.number()));
    arguments.push(format!("--readiness-probe-port={}", probe.number()));
    let mut program = Program::start(&binary(), arguments, &[], &path("log")).unwrap();
    let ready = format!("http://{}/readyz", probe.address());
    until("the gateway of the unit is ready", || {
        if let Err(error) = program.check() {
            panic!("{error}\n{}", fs::read_to_string(path("log")).unwrap_or_default());
        }
        ureq::get(&ready).call().ok()
    });

    // The unit has no GatewayConfiguration: the realm's groups, which begin with `system:`, would be refused.
    let issuer = provider.issuer();
    let user = issuer.token("k8s-user1", realm::CLIENT);
    let user = user.claim("groups", ["developers"].as_slice()).mint();
    let kubeconfig = Kubeconfig {
        server: format!("https://{}", port.address()),
        ca: authority.pem().to_owned(),
        credential: Credential::Token(user),
    };
    let kubectl = cluster().kubectl_with(&kubeconfig).unwrap();
    let me = kubectl.must(["auth", "whoami", "-o", "json"], "").unwrap();
    assert!(me.contains(&format!("{}#k8s-user1", issuer.url())), "{me}");
}
