//! The image `plugin` of a release, as Envoy Gateway fetches it from a registry. `make release-check` runs it.

use std::{env, fs, net::TcpStream, path::PathBuf, process::Command};

use gateway_config::envoy_gateway::Module;
use sandbox::{Port, Process, Spec};
use serde_json::json;

use super::{objects_with, running::Running, story};
use crate::harness::{LIMIT, Rig};

/// Debian's registry, without TLS, as those who ask take it on loopback alone.
struct Registry {
    port: Port,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve().unwrap();
        let configuration = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": folder.path().join("storage")}},
            "http": {"addr": port.address().to_string()},
        });
        let file = folder.path().join("config.yml");
        fs::write(&file, configuration.to_string()).unwrap();
        let spec = Spec {
            name: "docker-registry",
            program: "docker-registry".into(),
            arguments: vec!["serve".to_owned(), file.display().to_string()],
            environment: vec![],
            folder: None,
            log: folder.path().join("log"),
        };
        let mut process = Process::start(&spec).unwrap();
        let up = process.wait_until(LIMIT, || {
            TcpStream::connect(port.address()).map(drop).map_err(|error| error.to_string())
        });
        up.unwrap_or_else(|error| panic!("{error}"));
        Self { port, _process: process, _folder: folder }
    }
}

#[test]
#[ignore = "make release-check makes the release that it needs"]
fn the_published_image_of_the_plugin_serves_in_envoy_gateway() {
    let release = PathBuf::from(env::var_os("RELEASE").expect("RELEASE: `make release-check`"));
    let images = fs::read_to_string(release.join("images.txt")).unwrap();
    let digest = images
        .lines()
        .find_map(|line| line.split_once("/plugin@").map(|(_, digest)| digest.to_owned()))
        .expect("the image plugin");
    let registry = Registry::start();
    let name = format!("{}/kube-oidc-gateway/plugin", registry.port.address());
    let layout = release.join("images/plugin");
    let pushed = Command::new("skopeo")
        .args(["copy", "--quiet", "--dest-tls-verify=false"])
        .arg(format!("oci:{}", layout.display()))
        .arg(format!("docker://{name}:release"))
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));

    let rig = Rig::new();
    let running =
        Running::start(&rig, &objects_with(&rig, Module::Image(format!("{name}@{digest}"))));
    story(&rig, &running);
    assert!(running.config_dump().to_string().contains("wasm_cluster"), "fetched by Envoy Gateway");
}
