//! `kube-oidc-gateway init`: a real login at the provider, files that the chart and `check` take, and an install into a real API
//! server.

use std::{
    env, fs,
    io::Write,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use gateway_tests::person::plugin;
use oidc_provider::{Config, Preset, Provider};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use sandbox::{
    Credential, Kubeconfig,
    assets::{self, Progress},
    realm,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{binary, cluster};

/// An operator with a folder, a provider, kubectl and helm.
struct Operator {
    folder: TempDir,
    provider: Provider,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/kube-oidc-gateway")
}

impl Operator {
    fn new() -> Self {
        let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
        let operator = Self { folder: tempfile::tempdir().unwrap(), provider };
        fs::write(operator.path("issuer.pem"), operator.provider.ca_pem()).unwrap();
        fs::create_dir(operator.path("bin")).unwrap();
        let helm = assets::helm(&Progress::new()).unwrap();
        symlink(helm, operator.path("bin/helm")).unwrap();
        symlink(&cluster().assets().kubectl, operator.path("bin/kubectl")).unwrap();
        operator
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, program: &Path) -> Command {
        let others = env::var_os("PATH").unwrap_or_default();
        let path = [self.path("bin")].into_iter().chain(env::split_paths(&others));
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("PATH", env::join_paths(path).unwrap())
            .env("HOME", self.path("home"))
            .env("XDG_DATA_HOME", self.path("home"))
            .env("KUBECACHEDIR", self.path("cache"))
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        command
    }

    /// `init` with the provider's answers and more flags.
    fn init(&self, more: &[&str]) -> Output {
        self.command(&binary())
            .args(["init", "--provider=other", "--oidc-username-claim=preferred_username"])
            .arg(format!("--oidc-issuer-url={}", self.provider.issuer().url()))
            .arg(format!("--oidc-client-id={}", realm::CLIENT))
            .args(["--oidc-ca-file=issuer.pem", "--out=out"])
            .arg(format!("--plugin={}", plugin().display()))
            .arg(format!("--chart={}", chart().display()))
            .args(more)
            // A login that needs no browser.
            .env("KUBECTL_OIDC_GRANT_TYPE", "password")
            .env("KUBECTL_OIDC_USERNAME", "k8s-user1")
            .env("KUBECTL_OIDC_PASSWORD", realm::password("k8s-user1"))
            .output()
            .unwrap()
    }

    fn kubectl(&self, name: &str, kubeconfig: &Kubeconfig) -> String {
        let path = self.path(name);
        let kubectl = cluster().kubectl_with(kubeconfig).unwrap();
        fs::copy(kubectl.kubeconfig(), &path).unwrap();
        path.display().to_string()
    }
}

/// The document that stands in the chart's values, as a file of its own.
fn authentication(values: &str) -> String {
    let (_, rest) = values.split_once("authenticationConfiguration:\n").unwrap();
    let lines = rest.lines().take_while(|line| line.starts_with("  "));
    lines.map(|line| &line[2..]).collect::<Vec<_>>().join("\n")
}

#[test]
fn init_logs_in_once_and_writes_what_the_chart_and_check_take() {
    let operator = Operator::new();
    let exposure = ["--exposure=load-balancer", "--host=gateway.invalid", "--group=system:viewers"];
    let output = operator.init(&[&exposure[..], &["--login", "--dry-run"]].concat());
    let (said, printed) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success(), "{said}{printed}");
    assert!(!operator.path("out").exists(), "--dry-run writes nothing");
    // What was checked, the claims, and the user.
    for want in [
        "issuer       ok       https://127.0.0.1:",
        "scopes ok openid profile email",
        "name         warning  gateway.invalid has no address yet",
        "preferred_username  k8s-user1",
        "  user    oidc:k8s-user1",
        "  groups  oidc:system:viewers",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&said).contains(&words(want)), "no {want:?} in {said}");
    }
    assert!(
        printed.contains("==> values.yaml") && printed.contains("==> binding.yaml"),
        "{printed}"
    );
    let line = printed.lines().find(|line| line.contains("kubectl oidc setup")).unwrap();
    let want =
        "kubectl oidc setup https://gateway.invalid --cluster-certificate-authority=gateway-ca.crt";
    assert!(line.contains(want), "{line}");

    let output = operator.init(&[&exposure[..], &["--login"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let values = operator.read("out/values.yaml");
    let binding = operator.read("out/binding.yaml");
    assert!(binding.contains("oidc:system:viewers") && binding.contains("name: view"), "{binding}");
    // The chart's schema, and its templates.
    let helm = operator
        .command(&operator.path("bin/helm"))
        .args(["template", "kube-oidc-gateway"])
        .arg(chart())
        .args(["--namespace=login", "--values=out/values.yaml"])
        .output()
        .unwrap();
    assert!(helm.status.success(), "{}", text(&helm.stderr));
    // kube-apiserver's rules, and the user that it makes.
    let document = operator.path("authentication.yaml");
    fs::write(&document, authentication(&values)).unwrap();
    let flag = format!("--authentication-config={}", document.display());
    let check = operator.command(&binary()).args(["check", &flag]).output().unwrap();
    assert!(check.status.success(), "{}", text(&check.stderr));
    let token = operator.path("token");
    fs::write(&token, operator.provider.issuer().token("k8s-user1", realm::CLIENT).mint()).unwrap();
    let token = format!("--token-file={}", token.display());
    let review = operator.command(&binary()).args(["review", &flag, &token]).output().unwrap();
    let review: Value = serde_json::from_slice(&review.stdout).unwrap();
    assert_eq!(review["status"]["user"]["username"], "oidc:k8s-user1", "{review}");

    // A second time nothing is lost.
    let other = ["--exposure=node-port", "--host=gateway.invalid"];
    let output = operator.init(&other);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--overwrite replaces"), "{}", text(&output.stderr));
    assert_eq!(operator.read("out/values.yaml"), values);
    let output = operator.init(&[&other[..], &["--overwrite"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(operator.read("out/values.yaml").contains("NodePort"));
}

#[test]
fn init_says_why_the_gateway_would_refuse_and_writes_nothing() {
    let operator = Operator::new();
    let url = operator.provider.issuer().url().to_owned();
    let slash = format!("--oidc-issuer-url={url}/");
    let itself = format!("it calls itself {url:?}");
    for (flags, want) in [
        // The guard: nobody has allowed the group.
        (
            &["--login", "--oidc-groups-prefix=-"][..],
            "The gateway would refuse this user: the gateway refuses this user: ",
        ),
        // The mapping.
        (
            &["--login", "--oidc-username-claim=nickname"],
            "The gateway would refuse this user: oidc: ",
        ),
        (&["--oidc-issuer-url=https://127.0.0.1:1/nobody"], "its host refuses the connection"),
        (&["--oidc-issuer-url=http://127.0.0.1:1"], "URL scheme must be https"),
        // Only a slash is too much.
        (&[&*slash], &*itself),
        (&["--token-file=issuer.pem"], "The gateway would refuse this user: "),
        (&["--exposure=ingress"], "--host is needed: nobody is there to be asked"),
        (&["--answers=issuer.pem"], "issuer.pem"),
    ] {
        // The last of a flag counts here only where clap lets it: these are in place of others.
        let output = operator
            .command(&binary())
            .args(["init", "--provider=other", "--oidc-ca-file=issuer.pem", "--out=out"])
            .arg(format!("--plugin={}", plugin().display()))
            .arg(format!("--oidc-client-id={}", realm::CLIENT))
            .args(
                (!flags.iter().any(|it| it.contains("issuer-url")))
                    .then(|| format!("--oidc-issuer-url={}", operator.provider.issuer().url())),
            )
            .args(flags)
            .env("KUBECTL_OIDC_GRANT_TYPE", "password")
            .env("KUBECTL_OIDC_USERNAME", "k8s-user1")
            .env("KUBECTL_OIDC_PASSWORD", realm::password("k8s-user1"))
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {said}");
        assert!(said.contains(want), "{flags:?}: no {want:?} in {said}");
        assert!(!operator.path("out").exists(), "{flags:?}");
    }
    // A certificate that the system's bundle does not know.
    let output = operator
        .command(&binary())
        .args(["init", "--provider=other", "--oidc-client-id=a"])
        .arg(format!("--oidc-issuer-url={}", operator.provider.issuer().url()))
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("not signed by a CA that is trusted for it"), "{said}");
}

#[test]
fn init_installs_into_a_cluster_if_one_may() {
    let operator = Operator::new();
    let admin = operator.kubectl("admin.conf", &cluster().admin_kubeconfig());
    let kubeconfig = format!("--kubeconfig={admin}");
    let flags = [
        "--install",
        "--group=system:viewers",
        "--namespace=init",
        // The sandbox has a role by the default one.
        "--release=init",
        // No controller runs a Job here.
        "--helm-arg=--set=checkHook.enabled=false",
    ];
    let output = operator.init(&[&flags[..], &[&kubeconfig]].concat());
    let (said, printed) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success(), "{said}{printed}");
    assert!(said.contains("you may do all that it does in init"), "{said}");
    let admin = cluster().admin();
    admin.must(["-n", "init", "get", "deployment", "init-kube-oidc-gateway"], "").unwrap();
    let stored = admin.must(["-n", "init", "get", "configmap", "-o", "yaml"], "").unwrap();
    assert!(stored.contains(operator.provider.issuer().url()), "{stored}");
    let can = ["auth", "can-i", "list", "pods", "--as=somebody", "--as-group=oidc:system:viewers"];
    assert_eq!(admin.must(can, "").unwrap().trim(), "yes");

    // Who may not is told what, and nothing is installed.
    let account =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: visitor, namespace: default}}";
    cluster().apply(account).unwrap();
    let token = cluster().service_account_token("default", "visitor", 600).unwrap();
    let visitor =
        Kubeconfig { credential: Credential::Token(token), ..cluster().admin_kubeconfig() };
    let kubeconfig = format!("--kubeconfig={}", operator.kubectl("visitor.conf", &visitor));
    let output = operator.init(&["--install", "--namespace=other", "--overwrite", &kubeconfig]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("you may not: create namespaces, create clusterroles"), "{said}");
    let namespaces = admin.must(["get", "namespaces"], "").unwrap();
    assert!(!namespaces.contains("other"), "{namespaces}");
}

/// A terminal: the person's end, and the programs'.
fn terminal() -> (fs::File, OwnedFd) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let programs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (person.into(), programs)
}

/// A person at a terminal, who has no cluster at hand, gets the files, and a group of the token's to start with.
#[test]
fn init_asks_who_sits_at_a_terminal() {
    let operator = Operator::new();
    let (mut person, programs) = terminal();
    let url = operator.provider.issuer().url().to_owned();
    let client = realm::CLIENT;
    // Groups and prefix by default; what is not understood is asked again.
    let answers = format!("what\nother\n{url}\n{client}\n\n\nnode-port\ngateway.invalid\n\n");
    person.write_all(answers.as_bytes()).unwrap();
    let output = operator
        .command(&binary())
        .args(["init", "--oidc-ca-file=issuer.pem", "--oidc-username-claim=preferred_username"])
        .arg(format!("--plugin={}", plugin().display()))
        .env("KUBECTL_OIDC_GRANT_TYPE", "password")
        .env("KUBECTL_OIDC_USERNAME", "k8s-user1")
        .env("KUBECTL_OIDC_PASSWORD", realm::password("k8s-user1"))
        .stdin(programs)
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for want in [
        "Issuer URL, like https://issuer.example.com: ",
        "Claim with the groups (- for none) [groups]: ",
        "Group to give the role view to, of oidc:system:viewers (- for none) [oidc:system:viewers]: ",
        "No cluster is reached from here",
    ] {
        assert!(said.contains(want), "no {want:?} in {said}");
    }
    assert!(operator.read("values.yaml").contains("gateway.invalid"));
    assert!(operator.read("binding.yaml").contains("oidc:system:viewers"));
}
