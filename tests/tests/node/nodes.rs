//! A cluster with real nodes: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, and for each node a kubelet with
//! a containerd. All of it is in the namespaces of `namespaces.sh`, and ends with them.

mod control_plane;
mod kubelet;

use std::{
    env,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
    time::Duration,
};

use sandbox::{
    Authority, Client, Credential, Kubeconfig, Kubectl, Process, Spec,
    assets::{self, Assets, Kubernetes, NodePrograms, Progress},
    wait,
};
use serde_json::Value;

use self::kubelet::Kubelet;
pub use self::kubelet::registries;
use crate::names;

/// Where kube-apiserver, the first kubelet and the tests' own servers are.
pub const APISERVER: &str = "10.88.0.1";

/// How long something may take that pulls nothing.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The first address of the range of services: the API server's, for pods.
const SERVICE: &str = "10.96.0.1";

static NODES: LazyLock<Nodes> = LazyLock::new(Nodes::start);

/// The cluster that all tests share.
pub fn nodes() -> &'static Nodes {
    &NODES
}

/// The folder for everything that this program writes, which goes with it.
pub fn folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = env::var_os("NODE_FOLDER");
        folder.expect("this is run by tests/tests/node/namespaces.sh: `make test-node`").into()
    });
    &FOLDER
}

/// A running cluster.
pub struct Nodes {
    /// An administrator's kubectl.
    pub admin: Kubectl,
    /// An administrator's HTTP.
    pub client: Client,
    /// The programs that it runs.
    pub assets: Assets,
    kubelets: Vec<Mutex<Kubelet>>,
    _parts: Vec<Process>,
}

impl Nodes {
    fn start() -> Self {
        let folder = folder();
        let progress = Progress::new();
        let assets = Assets::ensure(Kubernetes::default(), &progress).unwrap();
        let programs = assets::node(&progress).unwrap();
        let authority = Authority::new("nodes").unwrap();
        let mut parts = vec![names::serve(folder)];
        let (etcd, mut apiserver) = control_plane::storage_and_server(&assets, &authority, folder);
        let kubeconfig = kubeconfig(&authority, "admin", &["system:masters"]);
        let admin = Kubectl::new(&assets.kubectl, &kubeconfig).unwrap();
        let Credential::Certificate { certificate, key } = kubeconfig.credential else {
            unreachable!("an administrator has a certificate")
        };
        let identity = sandbox::Identity { certificate, key };
        let client = Client::tls(&kubeconfig.server, authority.pem(), Some(&identity)).unwrap();
        let up = apiserver.wait_until(LIMIT, || {
            let answer = client.get("/readyz").map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        });
        up.unwrap_or_else(|error| panic!("{error}\n{}", log("kube-apiserver")));
        parts.extend([etcd, apiserver]);
        parts.extend(control_plane::controllers(&programs, &authority, folder));
        let kubelets = [1, 2].map(|number| Kubelet::start(&programs, &authority, number));
        let nodes = Self {
            admin,
            client,
            assets,
            kubelets: kubelets.into_iter().map(Mutex::new).collect(),
            _parts: parts,
        };
        nodes.ready();
        nodes
    }

    /// Waits until every node takes pods.
    fn ready(&self) {
        for kubelet in &self.kubelets {
            let name = kubelet.lock().unwrap().name.clone();
            let ready = wait::within(LIMIT, "a node to be ready", || {
                let node = self.client.get_json(&format!("/api/v1/nodes/{name}"));
                let node = node.map_err(|error| error.to_string())?;
                condition(&node, "Ready").ok_or_else(|| node["status"]["conditions"].to_string())
            });
            ready.unwrap_or_else(|error| {
                panic!("{error}\n{}", log(&format!("{name}/kubelet")));
            });
        }
    }

    /// Starts a kubelet again, as its update does: pods go on.
    pub fn restart_kubelet(&self, node: &str) {
        let kubelet = self.kubelets.iter().find(|it| it.lock().unwrap().name == node).unwrap();
        kubelet.lock().unwrap().restart();
    }

    /// The names of the nodes.
    pub fn names(&self) -> Vec<String> {
        self.kubelets.iter().map(|kubelet| kubelet.lock().unwrap().name.clone()).collect()
    }

    /// An object or a list.
    pub fn get(&self, path: &str) -> Value {
        self.client.get_json(path).unwrap()
    }
}

/// Whether a condition of an object is true.
pub fn condition(object: &Value, kind: &str) -> Option<()> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().any(|it| it["type"] == kind && it["status"] == "True").then_some(())
}

/// The end of a part's log.
pub fn log(part: &str) -> String {
    let text = std::fs::read(folder().join(part).with_extension("log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// A part of the cluster, with its log in the folder.
fn part(
    name: &'static str,
    program: &Path,
    folder: &Path,
    arguments: &[(&str, String)],
) -> Process {
    let spec = Spec {
        name,
        program: program.to_owned(),
        arguments: arguments.iter().map(|(flag, value)| format!("--{flag}={value}")).collect(),
        environment: vec![],
        folder: None,
        log: folder.join(name).with_extension("log"),
    };
    Process::start(&spec).unwrap()
}

/// For a user of the API server with a certificate.
fn kubeconfig(authority: &Authority, user: &str, groups: &[&str]) -> Kubeconfig {
    let sandbox::Identity { certificate, key } = authority.client(user, groups).unwrap();
    Kubeconfig {
        server: format!("https://{APISERVER}:6443"),
        ca: authority.pem().to_owned(),
        credential: Credential::Certificate { certificate, key },
    }
}

/// The same as a file.
fn kubeconfig_file(authority: &Authority, user: &str, groups: &[&str]) -> String {
    let file = folder().join(user.replace(':', "-")).with_extension("kubeconfig");
    kubeconfig(authority, user, groups).write(&file).unwrap();
    file.display().to_string()
}
