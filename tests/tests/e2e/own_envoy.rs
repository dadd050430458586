//! An Envoy that served something else before: the commands of deploy/envoy put the gateway into it, `lint` proves the whole,
//! and it serves both.

use std::{
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use gateway_tests::{built, readme::shell_blocks};
use sandbox::{Credential as User, Port, realm};

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
        copy(built::connections(), "connections.wasm");
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
