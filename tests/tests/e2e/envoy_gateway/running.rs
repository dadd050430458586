//! Envoy Gateway and the Envoy that it starts, on this machine instead of in a cluster: objects from files, proxies as
//! processes. What that changes is in [`Running::here`], and in no object that matters to the doors.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_config::pod::{SECRETS, SERVICE_ACCOUNT};
use sandbox::{
    Port, Process, Spec,
    assets::{self, Progress},
};
use serde_json::{Value, json};

use crate::harness::{Rig, cluster, until};

/// Where the proxy's image has the system's CAs.
const SYSTEM_CA: &str = "/etc/ssl/certs";
/// The folder in which Envoy Gateway looks for Envoy. It downloads what is not there, so there is ours, whatever its version.
const ENVOY_VERSION: &str = "1.40.0";
/// Of Envoy Gateway's own objects.
const SYSTEM: &str = "envoy-gateway-system";

/// Envoy Gateway with its Envoy. Both end when it is dropped.
pub struct Running {
    process: Process,
    folder: tempfile::TempDir,
    serving: PathBuf,
    /// Where the gateway listens.
    pub port: Port,
    /// Its own ports are fixed: one runs at a time on a machine.
    _alone: File,
}

impl Running {
    /// Starts it with these objects, and waits until Envoy listens.
    pub fn start(rig: &Rig, objects: &[Value]) -> Self {
        let alone = std::env::temp_dir().join("kube-oidc-gateway-envoy-gateway.lock");
        let alone = File::options().create(true).append(true).open(alone).unwrap();
        alone.lock().unwrap();
        let program = assets::envoy_gateway(&Progress::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["objects", "account", "secrets", "system"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::copy(rig.gateway.token_file(), path("account/token")).unwrap();
        fs::write(path("account/ca.crt"), cluster().ca()).unwrap();
        fs::copy(rig.gateway.folder().join("system/ca.crt"), path("system/ca.crt")).unwrap();
        let envoy = path("data/envoy-versions").join(ENVOY_VERSION).join("bin");
        fs::create_dir_all(&envoy).unwrap();
        std::os::unix::fs::symlink(&cluster().assets().envoy, envoy.join("envoy")).unwrap();

        let home = path("config").display().to_string();
        let made =
            Command::new(&program).args(["certgen", "--local", "--config-home", &home]).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::write(path("gateway.yaml"), settings(folder.path()).to_string()).unwrap();
        let spec = Spec {
            name: "envoy-gateway",
            program,
            arguments: ["server", "--config-path", path("gateway.yaml").to_str().unwrap()]
                .map(str::to_owned)
                .into(),
            // It keeps modules in the home folder.
            environment: vec![("HOME".to_owned(), path("home").display().to_string())],
            folder: None,
            log: path("log"),
        };
        let port = Port::reserve().unwrap();
        let serving = rig.gateway.folder().join("serving");
        // What it is given first, it reads as a whole.
        write_objects(folder.path(), &serving, port.number(), objects);
        let process = Process::start(&spec).unwrap();
        let mut running = Self { process, folder, serving, port, _alone: alone };
        until("the Envoy of Envoy Gateway listens", || {
            if let Err(error) = running.process.check() {
                panic!("{error}\n{}", running.log());
            }
            TcpStream::connect(running.port.address()).ok()
        });
        running
    }

    /// Gives it other objects. It takes them when it sees them.
    pub fn apply(&self, objects: &[Value]) {
        write_objects(self.folder.path(), &self.serving, self.port.number(), objects);
    }

    /// What Envoy Gateway and Envoy said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The configuration that Envoy runs with.
    pub fn config_dump(&self) -> Value {
        let runs = fs::read_dir(self.folder.path().join("run")).unwrap();
        let mut files = runs.map(|run| run.unwrap().path().join("admin-address.txt"));
        let address = files.find_map(|file| fs::read_to_string(file).ok()).unwrap();
        let url = format!("http://{address}/config_dump");
        ureq::get(&url).call().unwrap().body_mut().read_json().unwrap()
    }
}

/// Envoy Gateway's own configuration.
fn settings(folder: &Path) -> Value {
    let host = json!({
        "configHome": folder.join("config"),
        "dataHome": folder.join("data"),
        "stateHome": folder.join("state"),
        "runtimeDir": folder.join("run"),
    });
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        "provider": {"type": "Custom", "custom": {
            "resource": {"type": "File", "file": {"paths": [folder.join("objects")]}},
            "infrastructure": {"type": "Host", "host": host},
        }},
        "extensionApis": {"enableBackend": true, "enableEnvoyPatchPolicy": true},
        "telemetry": {"metrics": {"prometheus": {"disable": true}}},
        "admin": {"address": {"host": "127.0.0.1", "port": Port::reserve().unwrap().number()}},
    })
}

fn write_objects(folder: &Path, serving: &Path, port: u16, objects: &[Value]) {
    let objects = here(folder, serving, port, objects);
    let text = objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
    let new = folder.join("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, folder.join("objects/objects.yaml")).unwrap();
}

/// The objects as they must be on this machine: paths of the pod in the folder, Envoy a process that listens on loopback
/// alone, and the certificates that a cluster would have as Secrets.
fn here(folder: &Path, serving: &Path, port: u16, objects: &[Value]) -> Vec<Value> {
    let path = |name: &str| folder.join(name).display().to_string();
    let text = json!(objects)
        .to_string()
        .replace(&format!("{SYSTEM_CA}/ca-certificates.crt"), &path("system/ca.crt"))
        .replace(SYSTEM_CA, &path("system"))
        .replace(SERVICE_ACCOUNT, &path("account"))
        .replace(SECRETS, &path("secrets"));
    let mut placed: Vec<Value> = serde_json::from_str(&text).unwrap();
    for object in &mut placed {
        match object["kind"].as_str().unwrap() {
            "ConfigMap" if object["metadata"]["namespace"] == SYSTEM => {
                for (name, text) in object["data"].as_object().unwrap() {
                    fs::write(folder.join("secrets").join(name), text.as_str().unwrap()).unwrap();
                }
            }
            "EnvoyProxy" => {
                object["spec"]["provider"] =
                    json!({"type": "Host", "host": {"envoyVersion": ENVOY_VERSION}});
            }
            "Gateway" => object["spec"]["listeners"][0]["port"] = json!(port),
            _ => {}
        }
    }
    let gateway = objects.iter().find(|object| object["kind"] == "Gateway").unwrap();
    let namespace = &gateway["metadata"]["namespace"];
    let certificate = &gateway["spec"]["listeners"][0]["tls"]["certificateRefs"][0]["name"];
    placed.push(secret(certificate, namespace, serving));
    placed.push(secret(&json!("envoy"), &json!(SYSTEM), &folder.join("config/certs/envoy")));
    placed.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    placed.push(on_loopback(gateway, folder));
    // As in every namespace of a cluster.
    placed.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kube-root-ca.crt", "namespace": namespace},
        "data": {"ca.crt": cluster().ca()},
    }));
    placed
}

fn secret(name: &Value, namespace: &Value, folder: &Path) -> Value {
    let read = |name: &str| STANDARD.encode(fs::read(folder.join(name)).unwrap());
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"tls.crt": read("tls.crt"), "tls.key": read("tls.key")},
    })
}

/// Envoy Gateway's listeners take every address, and it is found by its name in a cluster: not here.
fn on_loopback(gateway: &Value, folder: &Path) -> Value {
    let metadata = &gateway["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap();
    let listener = format!("{}/{}/https", text("namespace"), text("name"));
    let replace = |kind: &str, name: &str, path: &str, value: &str| {
        json!({
            "type": format!("type.googleapis.com/envoy.config.{kind}"),
            "name": name,
            "operation": {"op": "replace", "path": path, "value": value},
        })
    };
    let address = "/address/socket_address/address";
    let endpoint = format!("/load_assignment/endpoints/0/lb_endpoints/0/endpoint{address}");
    let tls = "/transport_socket/typed_config/common_tls_context";
    let ca = format!("{tls}/validation_context/trusted_ca/filename");
    let own_ca = folder.join("config/certs/envoy/ca.crt").display().to_string();
    let ready = "envoy-gateway-proxy-ready-0.0.0.0-19003";
    let patches = json!([
        replace("listener.v3.Listener", &listener, address, "127.0.0.1"),
        replace("listener.v3.Listener", ready, address, "127.0.0.1"),
        replace("cluster.v3.Cluster", "wasm_cluster", &endpoint, "127.0.0.1"),
        replace("cluster.v3.Cluster", "wasm_cluster", &ca, &own_ca),
    ]);
    let target =
        json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": metadata["name"]});
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyPatchPolicy",
        "metadata": {"name": "here", "namespace": metadata["namespace"]},
        "spec": {"targetRef": target, "type": "JSONPatch", "jsonPatches": patches},
    })
}

/// Serves one file to whoever asks, until the process ends; its address.
pub fn serve(content: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let length = content.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            // A client that goes away is no failure.
            let _ = (&stream).write_all(head.as_bytes());
            let _ = (&stream).write_all(&content);
        }
    });
    address
}
