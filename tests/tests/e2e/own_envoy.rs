//! An Envoy that served something else before: the commands of deploy/envoy put the gateway into it, `lint` proves the whole,
//! and it serves both.

use std::{
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use gateway_tests::{built, readme::shell_blocks};
use sandbox::{Credential as User, Port, Process, Spec, realm};
use serde_json::json;

use crate::harness::{Rig, cluster, until};

/// Where the README has its files.
const FOLDER: &str = "/etc/kube-oidc-gateway";

/// A process that ends with the test.
struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The folder of the README, with the text of its files as it must be on this machine.
struct Place {
    folder: tempfile::TempDir,
    web: Port,
    gateway: Port,
}

impl Place {
    fn new(rig: &Rig) -> Self {
        let ports = || Port::reserve().unwrap();
        let place = Self { folder: tempfile::tempdir().unwrap(), web: ports(), gateway: ports() };
        for name in ["tls", "account", "run"] {
            fs::create_dir(place.path(name)).unwrap();
        }
        let copy =
            |from: PathBuf, to: &str| assert!(fs::copy(from, place.path(to)).is_ok(), "{to}");
        let serving = rig.gateway.folder().join("serving");
        copy(serving.join("tls.crt"), "tls/tls.crt");
        copy(serving.join("tls.key"), "tls/tls.key");
        copy(rig.gateway.token_file().to_owned(), "account/token");
        copy(built::filter(), "filter.wasm");
        fs::write(place.path("account/ca.crt"), cluster().ca()).unwrap();
        let existing = fs::read_to_string(documents().join("existing.yaml")).unwrap();
        fs::write(place.path("existing.yaml"), place.here(&existing)).unwrap();
        let issuers = realm::authentication_of(&rig.provider).to_string();
        fs::write(place.path("issuers.yaml"), issuers).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Through the gateway that is made here a user is known, and nobody else gets in. It has no settings of its own, so that
    /// the realm's groups, which begin with `system:`, would be refused.
    fn assert_serves(&self, rig: &Rig) {
        let kubectl = |token: String| {
            let mut kubeconfig = rig.gateway.kubeconfig(User::Token(token));
            kubeconfig.server = format!("https://{}", self.gateway.address());
            cluster().kubectl_with(&kubeconfig).unwrap()
        };
        let token = rig.token().claim("groups", ["developers"].as_slice()).mint();
        let me = kubectl(token).must(["auth", "whoami", "-o", "json"], "").unwrap();
        assert!(me.contains(&rig.user()), "{me}");
        let nobody = kubectl("nonsense".to_owned()).run(["get", "namespaces"]).unwrap();
        assert!(nobody.stderr.contains("You must be logged in"), "{}", nobody.stderr);
    }

    /// A text of deploy/envoy with this machine's folder and ports.
    fn here(&self, text: &str) -> String {
        let folder = self.folder.path().display();
        text.replace(FOLDER, &folder.to_string())
            .replace("/run/envoy/", &format!("{folder}/run/"))
            .replace("0.0.0.0:6443", &self.gateway.address().to_string())
            .replace("https://10.0.0.1:6443", &cluster().url())
            .replace("port_value: 8000", &format!("port_value: {}", self.web.number()))
    }
}

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy")
}

#[test]
fn the_commands_of_deploy_envoy_put_the_gateway_into_an_envoy() {
    let rig = Rig::new();
    let place = Place::new(&rig);
    let envoy = &cluster().assets().envoy;
    let programs = [envoy, &built::program()].map(|file| file.parent().unwrap().to_owned());
    let old = env::var_os("PATH").unwrap();
    let path = env::join_paths(programs.into_iter().chain(env::split_paths(&old))).unwrap();

    let page = fs::read_to_string(documents().join("README.md")).unwrap();
    let blocks = shell_blocks(&page);
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &place.here(&block.text)])
            .current_dir(place.folder.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "line {}: {said}{error}", block.line);
    }

    let log = fs::File::create(place.path("envoy.log")).unwrap();
    let process = Command::new(envoy)
        .args(["--disable-hot-restart", "--concurrency", "1", "--config-path"])
        .arg(place.path("envoy.yaml"))
        .stdin(Stdio::null())
        // The access log.
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut process = Envoy(process);
    for port in [&place.web, &place.gateway] {
        until("Envoy listens", || {
            let ended = process.0.try_wait().unwrap();
            let log = || fs::read_to_string(place.path("envoy.log")).unwrap_or_default();
            assert!(ended.is_none(), "{}", log());
            TcpStream::connect(port.address()).ok()
        });
    }
    place.assert_serves(&rig);
    let health = format!("http://{}/health", place.web.address());
    assert_eq!(ureq::get(&health).call().unwrap().body_mut().read_to_string().unwrap(), "well\n");
}

/// As it is installed, but for its program, which need not be there to be judged.
#[test]
fn systemd_takes_the_unit_and_finds_little_to_say_of_its_security() {
    let unit = fs::read_to_string(documents().join("kube-oidc-gateway.service")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kube-oidc-gateway.service");
    let program = built::program();
    let placed = unit.replace("/usr/local/bin/kube-oidc-gateway", program.to_str().unwrap());
    fs::write(&file, placed).unwrap();
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
    let rig = Rig::new();
    let place = Place::new(&rig);
    let credentials = place.path("credentials");
    fs::create_dir(&credentials).unwrap();
    for (from, to) in
        [("tls/tls.crt", "tls.crt"), ("tls/tls.key", "tls.key"), ("account/token", "token")]
    {
        fs::copy(place.path(from), credentials.join(to)).unwrap();
    }
    let ca = place.path("account/ca.crt");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gateway",
        "clusters": [{"name": "cluster", "cluster": {"server": cluster().url(), "certificate-authority": ca}}],
        "users": [{"name": "gateway", "user": {"tokenFile": "token"}}],
        "contexts": [{"name": "gateway", "context": {"cluster": "cluster", "user": "gateway"}}],
    });
    fs::write(credentials.join("kubeconfig"), kubeconfig.to_string()).unwrap();

    let unit = fs::read_to_string(documents().join("kube-oidc-gateway.service")).unwrap();
    let unit = unit
        .replace("\\\n", " ")
        .replace("%d/", &format!("{}/", credentials.display()))
        .replace(
            "/usr/local/lib/kube-oidc-gateway/",
            &format!("{}/", place.folder.path().display()),
        )
        .replace("/usr/local/bin/envoy", cluster().assets().envoy.to_str().unwrap())
        .replace("/run/kube-oidc-gateway", place.path("run").to_str().unwrap());
    let unit = place.here(&unit);
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let health = Port::reserve().unwrap().number();
    let on_loopback = format!(
        "--bind-address=127.0.0.1 --secure-port={} --readiness-probe-address=127.0.0.1 --readiness-probe-port={health}",
        place.gateway.number()
    );
    let words = command.split_whitespace().skip(1).chain(on_loopback.split(' '));
    let spec = Spec {
        name: "kube-oidc-gateway",
        program: built::program(),
        arguments: words.map(str::to_owned).collect(),
        environment: vec![],
        folder: None,
        log: place.path("log"),
    };
    let mut process = Process::start(&spec).unwrap();
    let ready = format!("http://127.0.0.1:{health}/readyz");
    until("the gateway of the unit is ready", || {
        if let Err(error) = process.check() {
            panic!("{error}\n{}", fs::read_to_string(&spec.log).unwrap_or_default());
        }
        ureq::get(&ready).call().ok()
    });
    place.assert_serves(&rig);
}
