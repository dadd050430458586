//! A node: a kubelet, and the containerd that it tells what to run. Several on one machine have addresses, cgroups, sockets and ranges
//! of pods of their own.

use std::{
    env, fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use sandbox::{Authority, Process};
use serde_json::json;

use super::{LIMIT, NodePrograms, folder, kubeconfig_file, log, part};
use crate::names;

/// A running node.
pub struct Kubelet {
    /// The node's name.
    pub name: String,
    program: PathBuf,
    arguments: Vec<(&'static str, String)>,
    process: Option<Process>,
    _containerd: Process,
}

impl Kubelet {
    /// Starts one; it has the images when this returns, and may not be ready yet.
    pub fn start(programs: &NodePrograms, authority: &Authority, number: u8) -> Self {
        let name = format!("node{number}");
        let own = folder().join(&name);
        fs::create_dir(&own).unwrap();
        let socket = PathBuf::from(format!("/run/{name}.sock"));
        let containerd = containerd(&own, &name, &socket, number);
        import(&socket, &own);

        let address = format!("10.88.0.{number}");
        let serving = authority.server(&[&address]).unwrap().write(&own, "kubelet").unwrap();
        let root = own.join("kubelet");
        fs::create_dir(&root).unwrap();
        // Mounts of volumes must be seen by containers that run already.
        mount(&["--bind", text(&root), text(&root)]);
        mount(&["--make-rshared", text(&root)]);
        let configuration = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("{}/{name}", env::var("NODE_CGROUP").unwrap()),
            "containerRuntimeEndpoint": format!("unix://{}", socket.display()),
            "address": address,
            "healthzPort": 0,
            "authentication": {
                "anonymous": {"enabled": false}, "webhook": {"enabled": true},
                "x509": {"clientCAFile": folder().join("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": serving.certificate, "tlsPrivateKeyFile": serving.key,
            "podLogsDir": format!("/run/{name}-logs"),
            "volumePluginDir": own.join("plugins"),
            "resolvConf": "",
            "clusterDNS": [names::SERVER], "clusterDomain": "cluster.local",
            "failSwapOn": false,
            "enforceNodeAllocatable": [],
            "localStorageCapacityIsolation": false,
            // Nobody else's full disk drives pods away, or takes images away that cannot be pulled.
            "evictionHard": {"memory.available": "1Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "syncFrequency": "10s",
            "nodeStatusUpdateFrequency": "2s",
        });
        let file = own.join("kubelet.yaml");
        fs::write(&file, configuration.to_string()).unwrap();
        let user = format!("system:node:{name}");
        let arguments = vec![
            ("config", file.display().to_string()),
            ("kubeconfig", kubeconfig_file(authority, &user, &["system:nodes"])),
            ("hostname-override", name.clone()),
            ("node-ip", address),
            ("root-dir", root.display().to_string()),
        ];
        let program = programs.kubelet.clone();
        let process = part("kubelet", &program, &own, &arguments);
        Self { name, program, arguments, process: Some(process), _containerd: containerd }
    }

    /// Ends it and starts it again.
    pub fn restart(&mut self) {
        drop(self.process.take());
        self.process =
            Some(part("kubelet", &self.program, &folder().join(&self.name), &self.arguments));
    }
}

/// Where containerd looks for the way to a registry, each time that it pulls: `NAME/hosts.toml`.
pub fn registries() -> PathBuf {
    folder().join("registries")
}

fn containerd(own: &Path, name: &str, socket: &Path, number: u8) -> Process {
    let network = own.join("network");
    fs::create_dir(&network).unwrap();
    // Each pod has a line to the machine of its own, and no bridge: what goes from one to the other passes the machine's rules.
    let list = json!({"cniVersion": "0.4.0", "name": name, "plugins": [{
        "type": "ptp",
        "ipam": {
            "type": "host-local", "dataDir": format!("/run/{name}-addresses"),
            "ranges": [[{"subnet": format!("10.88.{number}.0/24")}]], "routes": [{"dst": "0.0.0.0/0"}],
        },
    }]});
    fs::write(network.join("pods.conflist"), list.to_string()).unwrap();
    let configuration = format!(
        r#"version = 2
root = "{root}"
state = "/run/{name}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/kube-oidc-gateway-sandbox-busybox:local"
  # Where this machine's root may not make a process less likely to be killed.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{network}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{registries}"
"#,
        registries = registries().display(),
        root = own.join("containerd").display(),
        socket = socket.display(),
        plugins =
            env::var("NODE_PLUGINS").expect("NODE_PLUGINS names the folder of the CNI plugins"),
        network = network.display(),
    );
    let file = own.join("containerd.toml");
    fs::write(&file, configuration).unwrap();
    let arguments = [("config", file.display().to_string())];
    let mut process = part("containerd", Path::new("containerd"), own, &arguments);
    let up = process.wait_until(LIMIT, || {
        UnixStream::connect(socket).map(drop).map_err(|error| error.to_string())
    });
    up.unwrap_or_else(|error| panic!("{error}\n{}", log(&format!("{name}/containerd"))));
    process
}

/// Gives a containerd the images that `make test-node` has made.
fn import(socket: &Path, own: &Path) {
    let archive =
        env::var_os("NODE_IMAGES").expect("NODE_IMAGES names the images of `make test-node`");
    let output = Command::new("ctr")
        .args(["--address", text(socket), "--namespace", "k8s.io", "images", "import"])
        .arg(archive)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    fs::write(own.join("import.log"), &said).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

fn mount(arguments: &[&str]) {
    let status = Command::new("mount").args(arguments).status().unwrap();
    assert!(status.success(), "mount {arguments:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
