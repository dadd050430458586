//! A pod that the chart renders, run on this machine: its command line, environment, volumes, user and ServiceAccount as
//! they stand in the Deployment, at the paths that stand there, in a mount namespace of its own.
//!
//! What a kubelet adds is added: the image's entry point, the variables with the API server's address, a token of the
//! ServiceAccount. The network is this machine's, so that ports and addresses come from the values.

mod volumes;

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_tests::{built, mount::Mount};
pub use sandbox::wait::until;
use sandbox::{Client, Cluster, Port, Program};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::helm::{NAMESPACE, installed};

const DOCKERFILE: &str = include_str!("../../../../deploy/image/Dockerfile");
const CONTAINER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/pod/container.sh");

/// Where a container looks for programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running pod, with the objects that were rendered with it in the cluster.
pub struct Pod<'a> {
    program: Program,
    cluster: &'a Cluster,
    /// Its Deployment, ServiceAccount, role and so on, as the API server has them.
    objects: Vec<Value>,
    /// The projected volume with the token.
    account: Mount,
    port: Port,
    probe: Port,
    folder: TempDir,
}

impl<'a> Pod<'a> {
    /// Renders the chart with these values, applies what is rendered, and starts a pod of the Deployment.
    pub fn start(cluster: &'a Cluster, mut values: Value) -> Self {
        let (port, probe) = (Port::reserve().unwrap(), Port::reserve().unwrap());
        for (flag, value) in [
            ("bind-address", json!("127.0.0.1")),
            ("readiness-probe-address", json!("127.0.0.1")),
            ("secure-port", json!(port.number())),
            ("readiness-probe-port", json!(probe.number())),
        ] {
            values["extraArgs"][flag] = value;
        }
        // Clients here know no service.
        values["tls"]["dnsNames"] = json!(["localhost"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("values.yaml");
        fs::write(&file, values.to_string()).unwrap();
        let arguments = ["apply", "--server-side", "-n", NAMESPACE, "-o", "json", "-f", "-"];
        let applied = cluster.admin().must(arguments, &installed(&file)).unwrap();
        let applied: Value = serde_json::from_str(&applied).unwrap();
        let objects = applied["items"].as_array().unwrap().clone();

        let spec = &found(&objects, "Deployment")["spec"]["template"]["spec"];
        let mut account = None;
        let volumes = folder.path().join("volumes");
        fs::create_dir(&volumes).unwrap();
        for volume in spec["volumes"].as_array().unwrap() {
            let folder = volumes.join(volume["name"].as_str().unwrap());
            let mount = volumes::make(cluster, spec, volume, &folder);
            account = account.or(mount.filter(|_| volume.get("projected").is_some()));
        }
        let program = run(cluster, spec, folder.path());
        let account = account.expect("a projected volume");
        Self { program, cluster, objects, account, port, probe, folder }
    }

    /// Waits until the probes of the Deployment succeed.
    pub fn ready(&mut self) {
        let container = &self.spec()["containers"][0];
        let probes = ["startupProbe", "livenessProbe", "readinessProbe"];
        let paths =
            probes.map(|kind| container[kind]["httpGet"]["path"].as_str().unwrap().to_owned());
        let client = self.probe();
        let ready = self.program.wait_until(|| {
            for path in &paths {
                let answer = client.get(path).map_err(|error| error.to_string())?;
                if answer.status != 200 {
                    return Err(answer.body);
                }
            }
            Ok(())
        });
        ready.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    /// Tells it to end, as the kubelet does, and waits as long as the kubelet would.
    pub fn end(&mut self) -> ExitStatus {
        let seconds = self.spec()["terminationGracePeriodSeconds"].as_u64().unwrap();
        self.program.terminate().unwrap();
        self.program.wait(Duration::from_secs(seconds)).unwrap()
    }

    /// Gives it a new token, as the kubelet does before the old one expires.
    pub fn renew_token(&mut self) {
        let spec = self.spec().clone();
        let volumes = spec["volumes"].as_array().unwrap();
        let volume = volumes.iter().find_map(|volume| volume.get("projected")).unwrap();
        let files = volumes::projected(self.cluster, &spec, volume);
        self.account.swap(&volumes::borrowed(&files));
    }

    /// Gives its role these rules and no others.
    pub fn grant(&self, rules: &[Value]) {
        let name = self.object("ClusterRole")["metadata"]["name"].as_str().unwrap();
        let path = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}");
        self.cluster.admin_client().merge_patch(&path, &json!({"rules": rules})).unwrap();
    }

    /// The rules that were rendered.
    pub fn rules(&self) -> Vec<Value> {
        self.object("ClusterRole")["rules"].as_array().unwrap().clone()
    }

    /// The gateway's URL.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port.number())
    }

    /// The CA of its certificate, which Helm has made.
    pub fn ca(&self) -> String {
        let serving = self.objects.iter().find(|it| it["data"].get("ca.crt").is_some()).unwrap();
        let ca = serving["data"]["ca.crt"].as_str().unwrap();
        String::from_utf8(STANDARD.decode(ca).unwrap()).unwrap()
    }

    /// The port for probes and metrics.
    pub fn probe(&self) -> Client {
        let url = format!("http://{}", self.probe.address());
        Client::tls(&url, self.cluster.ca(), None).unwrap()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.program.log()).unwrap_or_default()).into_owned()
    }

    /// What `doctor` says in its container, as `kubectl exec` runs it there, and whether all is well.
    pub fn doctor(&self) -> (bool, String) {
        let process = self.program.id().to_string();
        let id = |name: &str| self.spec()["securityContext"][name].to_string();
        let output = Command::new("nsenter")
            .args(["--target", &process, "--mount", "--root"])
            .args(["--setuid", &id("runAsUser"), "--setgid", &id("runAsGroup"), "--"])
            .arg(&entry_point()[0])
            .args(["doctor", "--process", &process, "--host=localhost"])
            .env_clear()
            .env("PATH", PATH)
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", self.cluster.port().to_string())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// A file in one of its volumes.
    pub fn file(&self, volume: &str, name: &str) -> String {
        let path = self.folder.path().join("volumes").join(volume).join(name);
        fs::read_to_string(path).unwrap_or_default()
    }

    /// A file of `/proc` about its process.
    pub fn process_file(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.program.id())).unwrap()
    }

    /// The line of such a file that begins so, without the beginning.
    pub fn process(&self, file: &str, begins: &str) -> String {
        let text = self.process_file(file);
        let line = text.lines().find_map(|line| line.strip_prefix(begins));
        line.unwrap_or_else(|| panic!("no {begins} in {text}")).trim().to_owned()
    }

    fn spec(&self) -> &Value {
        &self.object("Deployment")["spec"]["template"]["spec"]
    }

    fn object(&self, kind: &str) -> &Value {
        found(&self.objects, kind)
    }
}

/// Starts the container of a pod whose volumes are in `folder`.
fn run(cluster: &Cluster, spec: &Value, folder: &Path) -> Program {
    let [container] = spec["containers"].as_array().unwrap().as_slice() else {
        panic!("one container")
    };
    // The process below is all of that by itself, so that a rendering with less would pass unseen.
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert!(container.get("command").is_none(), "the image's entry point is meant");

    let root = folder.join("root");
    fs::create_dir(&root).unwrap();
    let mounts = folder.join("mounts");
    fs::write(&mounts, image(cluster) + &container_mounts(container, folder)).unwrap();
    let id = |name: &str| spec["securityContext"][name].to_string();
    let mut arguments = vec![
        "--mount".to_owned(),
        "--propagation=private".to_owned(),
        CONTAINER.to_owned(),
        root.display().to_string(),
        mounts.display().to_string(),
        id("runAsUser"),
        id("runAsGroup"),
        id("fsGroup"),
        format!("PATH={PATH}"),
        "KUBERNETES_SERVICE_HOST=127.0.0.1".to_owned(),
        format!("KUBERNETES_SERVICE_PORT={}", cluster.port()),
    ];
    for variable in container["env"].as_array().into_iter().flatten() {
        let text = |key: &str| variable[key].as_str().unwrap();
        arguments.push(format!("{}={}", text("name"), text("value")));
    }
    arguments.extend(entry_point());
    arguments.extend(
        container["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|argument| argument.as_str().unwrap().to_owned()),
    );
    Program::start(Path::new("unshare"), arguments, &[], &folder.join("log")).unwrap()
}

/// What the image holds, by this machine's own libraries.
fn image(cluster: &Cluster) -> String {
    let mut mounts = String::new();
    let mut add = |mode: &str, source: &Path, target: &str| {
        writeln!(mounts, "{mode} {} {target}", source.canonicalize().unwrap().display()).unwrap();
    };
    for folder in ["/usr", "/etc/ssl"] {
        add("ro", Path::new(folder), folder);
    }
    for folder in ["/dev", "/proc"] {
        add("rw", Path::new(folder), folder);
    }
    add("empty", Path::new("/"), "/usr/local");
    for (source, target) in [
        (&built::program(), "/usr/local/bin/kube-oidc-gateway"),
        (&built::filter(), "/usr/local/share/kube-oidc-gateway/filter.wasm"),
        (&built::connections(), "/usr/local/share/kube-oidc-gateway/connections.wasm"),
        (&cluster.assets().envoy, "/usr/local/bin/envoy"),
    ] {
        let copied = DOCKERFILE.contains(target) || target.ends_with("/envoy");
        assert!(copied, "the image has no {target}");
        add("ro", source, target);
    }
    mounts
}

fn container_mounts(container: &Value, folder: &Path) -> String {
    let mut mounts = String::new();
    for mount in container["volumeMounts"].as_array().unwrap() {
        let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
        let source = folder.join("volumes").join(mount["name"].as_str().unwrap());
        let target = mount["mountPath"].as_str().unwrap();
        writeln!(mounts, "{mode} {} {target}", source.display()).unwrap();
    }
    mounts
}

/// The image's.
fn entry_point() -> Vec<String> {
    let line = DOCKERFILE.lines().find_map(|line| line.strip_prefix("ENTRYPOINT "));
    serde_json::from_str(line.expect("an entry point")).unwrap()
}

fn found<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}
