//! `kube-oidc-gateway doctor`: a gateway that runs, one that is to run, and what is wrong with each, by name and with its cure.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use oidc_provider::{Config, Preset, Provider};
use sandbox::{
    Authority, Cluster, Port,
    assets::{self, Progress},
    realm,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Rig, binary, cluster, token};

/// What `doctor` finds: check, result, message, cure.
struct Findings(Vec<Value>);

impl Findings {
    /// Runs it. `input` is its standard input.
    fn of(flags: &[String], input: &str) -> Self {
        let mut child = Command::new(binary())
            .args(["doctor", "--output=json"])
            .args(flags)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stdout))
        });
        assert_eq!(said, "", "a doctor has findings and no log");
        let findings = Self(document.as_array().unwrap().clone());
        let failed = findings.0.iter().any(|finding| finding["result"] == "failed");
        assert_eq!(output.status.code(), Some(i32::from(failed)), "{document:#}");
        findings
    }

    fn holds(&self, check: &str, message: &str) {
        self.find(check, "ok", message, "");
    }

    fn fails(&self, check: &str, message: &str, cure: &str) {
        self.find(check, "failed", message, cure);
    }

    fn find(&self, check: &str, result: &str, message: &str, cure: &str) {
        let text =
            |finding: &Value, member: &str| finding[member].as_str().unwrap_or_default().to_owned();
        let found = self.0.iter().any(|finding| {
            finding["check"] == check
                && finding["result"] == result
                && text(finding, "message").contains(message)
                && text(finding, "cure").contains(cure)
        });
        assert!(
            found,
            "no {check} {result} {message:?} {cure:?} in {:#}",
            Value::from(self.0.clone())
        );
    }

    fn failed(&self) -> Vec<&str> {
        let failed = self.0.iter().filter(|finding| finding["result"] == "failed");
        failed.filter_map(|finding| finding["check"].as_str()).collect()
    }
}

/// The gateway that runs, by its own Envoy, its own command line and its own readiness.
#[test]
fn a_gateway_that_runs_is_found_well() {
    let rig = Rig::new(&[]);
    let flags = [
        format!("--process={}", rig.program.id()),
        "--host=127.0.0.1".to_owned(),
        "--token-file=-".to_owned(),
    ];
    let findings = Findings::of(&flags, &rig.token().mint());
    assert_eq!(findings.failed(), [""; 0], "{:#}", Value::from(findings.0.clone()));
    let issuer = rig.issuer().url().to_owned();
    findings.holds("gateway", "one runs here, and is ready");
    findings.holds("configuration", &issuer);
    findings.holds("issuer", &format!("{issuer}: "));
    findings.holds("issuer", "asked by Envoy");
    findings.holds("clock", "agrees with that of the API server");
    findings.holds("clock", &format!("agrees with that of {issuer}"));
    findings.holds("API server", "Kubernetes v1.");
    let account = format!("system:serviceaccount:{}:{}", Cluster::GATEWAY.0, Cluster::GATEWAY.1);
    findings.holds("credential", &account);
    findings.holds("rights", "all that this configuration needs");
    // Those of a test end soon.
    findings.holds("certificate", "for localhost, 127.0.0.1, until ");
    findings.holds("names", "127.0.0.1 is in the certificate");
    findings.holds("inotify", "inotify instances");
    findings.holds("Envoy", "1.");
    findings.holds("token", &rig.user());

    // What is wrong later is found, too.
    let refused = rig.issuer().token("k8s-user1", "another-client").mint();
    Findings::of(&flags, &refused).fails("token", "aud", "docs/troubleshooting.md");
    rig.provider.go_down().unwrap();
    let findings = Findings::of(&flags[..2], "");
    findings.fails("issuer", "its host refuses the connection", "is it up");
}

/// The files of a gateway that is to run.
struct Plan {
    folder: TempDir,
    provider: Provider,
    port: Port,
}

impl Plan {
    fn new() -> Self {
        let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
        let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve().unwrap());
        let plan = Self { folder, provider, port };
        let authority = Authority::new("serving").unwrap();
        let pair = authority.server(&["gateway.example"]).unwrap();
        let other = authority.server(&["gateway.example"]).unwrap();
        plan.write("crt.pem", &pair.certificate);
        plan.write("key.pem", &pair.key);
        plan.write("other-key.pem", &other.key);
        plan.write("other-ca.pem", authority.pem());
        plan.write("issuer-ca.pem", plan.provider.ca_pem());
        plan.write("account/ca.crt", cluster().ca());
        plan.write("account/token", &token());
        plan
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The flags of a gateway that would run. The last of a flag counts, so that `more` replaces.
    fn flags(&self, more: &[String]) -> Vec<String> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.file(name).display());
        let own = [
            format!("--server={}", cluster().url()),
            file("certificate-authority", "account/ca.crt"),
            format!("--token={}", token()),
            format!("--oidc-issuer-url={}", self.provider.issuer().url()),
            format!("--oidc-client-id={}", realm::CLIENT),
            "--oidc-username-claim=preferred_username".to_owned(),
            "--oidc-groups-claim=groups".to_owned(),
            file("oidc-ca-file", "issuer-ca.pem"),
            file("tls-cert-file", "crt.pem"),
            file("tls-private-key-file", "key.pem"),
            file("run-dir", "run"),
            format!("--envoy-binary={}", cluster().assets().envoy.display()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port.number()),
        ];
        let filter = gateway_tests::built::filter_flags();
        own.into_iter().chain(filter).chain(more.iter().cloned()).collect()
    }

    fn findings(&self, more: &[String], input: &str) -> Findings {
        Findings::of(&self.flags(more), input)
    }
}

/// Before anything is installed: an Envoy for the time being asks as the gateway would.
#[test]
fn a_gateway_that_is_to_run_is_looked_at_by_an_envoy_of_its_own() {
    let plan = Plan::new();
    let issuer = plan.provider.issuer();
    let good = issuer.token("k8s-user1", realm::CLIENT).mint();
    let flags = ["--host=gateway.example".to_owned(), "--token-file=-".to_owned()];
    let findings = plan.findings(&flags, &good);
    findings.holds("filter", "Envoy and the filter take this configuration");
    findings.holds("issuer", "asked by Envoy");
    findings.holds("API server", "asked by Envoy");
    findings.holds("names", "gateway.example is in the certificate");
    // The guard, as it would be: nobody has allowed the group.
    findings.fails("token", "the gateway refuses this user: ", "docs/troubleshooting.md");
    assert_eq!(findings.failed(), ["token"], "{:#}", Value::from(findings.0.clone()));
    assert!(!plan.file("run").exists(), "nothing is left of it");

    // What it says of an issuer is what its Envoy is told.
    let flags = [
        format!("--oidc-ca-file={}", plan.file("other-ca.pem").display()),
        "--token=garbage".to_owned(),
        format!("--tls-private-key-file={}", plan.file("other-key.pem").display()),
    ];
    let findings = plan.findings(&flags, "");
    findings.fails(
        "issuer",
        "not signed by a CA that is trusted for it",
        "issuer.certificateAuthority",
    );
    findings.holds("API server", "answers");
    findings.fails("credential", "does not take the gateway's credential", "--kubeconfig");
    findings.fails("certificate", "do not belong together", "the key of one certificate");

    let flags = [
        format!("--certificate-authority={}", plan.file("other-ca.pem").display()),
        format!("--oidc-issuer-url={}/nothing", issuer.url()),
        "--host=other.example".to_owned(),
    ];
    let findings = plan.findings(&flags, "");
    findings.fails("API server", "CERTIFICATE_VERIFY_FAILED", "--certificate-authority");
    findings.fails("issuer", "it answers with an HTTP error", "the issuer's own log");
    findings.fails("names", "no certificate is for other.example", "tls.dnsNames");

    // An account that nobody has given a role.
    let account =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody, namespace: default}}";
    cluster().apply(account).unwrap();
    let nobody = cluster().service_account_token("default", "nobody", 600).unwrap();
    let findings = plan.findings(&[format!("--token={nobody}")], "");
    findings.holds("credential", "system:serviceaccount:default:nobody");
    findings.fails("rights", "resources: [\"users\"]", "rbac` --service-account=default:nobody");
    findings.find("rights", "warning", "kubectl --as", "print the role");
}

/// What is lacking is one finding, and the rest is looked at all the same.
#[test]
fn what_is_lacking_keeps_nothing_else_from_being_looked_at() {
    let plan = Plan::new();
    let old = assets::vulnerable_envoy(&Progress::new()).unwrap();
    plan.write("gateway.yaml", "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: GatewayConfiguration\nclientImpersonation: keep\n");
    let flags = [
        format!("--envoy-binary={}", old.display()),
        "--tls-server-name=other.example".to_owned(),
        "--filter=/nowhere/filter.wasm".to_owned(),
    ];
    let findings = plan.findings(&flags, "");
    findings.fails("Envoy", "CVE-2026-73548", "1.39.1");
    findings.fails("module", "/nowhere/filter.wasm", "connections.wasm");
    findings.holds("issuer", "asked by this program, whose TLS is not Envoy's");
    findings.fails("API server", "not valid for name \"other.example\"", "--tls-server-name");
    let flags = [
        format!("--gateway-config={}", plan.file("gateway.yaml").display()),
        "--kubeconfig=/nowhere".to_owned(),
        "--server=".to_owned(),
    ];
    let findings = plan.findings(&flags, "");
    findings.fails("configuration", "clientImpersonation: unknown variant `keep`", "check");
    findings.fails("API server", "/nowhere", "--kubeconfig");
    findings.holds("certificate", "for localhost, gateway.example, 127.0.0.1, until ");
}
