//! The Istio objects: the API server takes them by Istio's own definitions, and the patches make, out of the listener that
//! Istio gives an ingress gateway, one whose doors `lint` proves and through which the demo's story passes. istiod itself
//! does not run; see `merge`.

mod merge;

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use kube_oidc_gateway::{
    ApiServer, Credential, Documents, Host, Inputs, Limits, Protocols, ServingCertificate,
    istio::Istio,
    lint::{Sources, lint},
    pod::{SECRETS, SERVICE_ACCOUNT},
};
use sandbox::{
    Credential as User, Port,
    assets::{self, Progress},
    realm,
};
use serde_json::{Value, json};

use self::merge::Proxy;
use crate::{
    budget::module,
    harness::{Rig, cluster, until},
};

const LISTENER: &str = include_str!("listener.yaml");
/// Where the proxy's image has the system's CAs.
const SYSTEM_CA: &str = "/etc/ssl/certs";

/// Envoy with the configuration that Istio would give it.
struct IstioProxy {
    process: Child,
    folder: tempfile::TempDir,
    port: Port,
}

impl Drop for IstioProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_api_server_takes_the_objects_by_istios_definitions() {
    let definitions = assets::crds(&Progress::new()).unwrap().join("istio.yaml");
    let admin = cluster().admin();
    admin.must(["apply", "--server-side", "-f", definitions.to_str().unwrap()], "").unwrap();
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    admin.must(established, "").unwrap();
    let mut objects = objects(&Rig::shared());
    objects
        .insert(0, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "login"}}));
    cluster().apply(&objects.remove(0).to_string()).unwrap();
    for object in objects {
        let dry_run = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        let output = admin.run_with_input(dry_run, &object.to_string()).unwrap();
        assert!(output.success() && output.stderr.is_empty(), "{object}: {}", output.stderr);
    }
}

#[test]
fn the_story_passes_through_istios_ingress_gateway() {
    let rig = Rig::new();
    let objects = objects(&rig);
    let proxy = start(&rig, &objects);
    let kubectl = |token: String| {
        let mut kubeconfig = rig.gateway.kubeconfig(User::Token(token));
        kubeconfig.server = format!("https://{}", proxy.port.address());
        cluster().kubectl_with(&kubeconfig).unwrap()
    };
    let user = kubectl(rig.token().mint());
    let me = user.must(["auth", "whoami", "-o", "json"], "").unwrap();
    assert!(me.contains(&rig.user()), "{me}");
    user.must(["get", "namespaces"], "").unwrap();
    let refused = user.run(["create", "namespace", "istio-story"]).unwrap();
    assert!(refused.stderr.contains("cannot create resource"), "{}", refused.stderr);
    let asked = user.run(["get", "namespaces", "--as", "system:admin"]).unwrap();
    assert!(asked.stderr.contains("Warning"), "{}", asked.stderr);
    kubectl(rig.admin_token()).must(["create", "namespace", "istio-story"], "").unwrap();
    let nobody = kubectl("nonsense".to_owned()).run(["get", "namespaces"]).unwrap();
    assert!(nobody.stderr.contains("You must be logged in"), "{}", nobody.stderr);
    assert!(fs::exists(proxy.folder.path().join("envoy.json")).unwrap());
}

#[test]
fn without_a_patch_lint_says_which_door_is_missing() {
    let rig = Rig::shared();
    for (apply_to, operation, says) in [
        ("HTTP_FILTER", "INSERT_FIRST", "no header_mutation before it"),
        ("HTTP_FILTER", "INSERT_BEFORE", "no RBAC behind it"),
        ("HTTP_FILTER", "REMOVE", "stands behind the Wasm filter"),
        ("NETWORK_FILTER", "MERGE", "routes"),
    ] {
        let mut objects = objects(&rig);
        let filter = objects.iter_mut().find(|it| it["kind"] == "EnvoyFilter").unwrap();
        let patches = filter["spec"]["configPatches"].as_array_mut().unwrap();
        patches.retain(|it| it["applyTo"] != apply_to || it["patch"]["operation"] != operation);
        let findings = lint(&Sources::from_values(vec![(
            "bootstrap".to_owned(),
            bootstrap(&rig, &objects, Path::new("/nowhere"), 1),
        )]));
        assert!(findings.iter().any(|it| it.to_string().contains(says)), "{says}: {findings:?}");
    }
}

fn objects(rig: &Rig) -> Vec<Value> {
    let documents =
        Documents::checked(realm::authentication_of(&rig.provider), Some(realm::configuration()));
    let documents = documents.unwrap();
    let nowhere = || Path::new("/nowhere").to_owned();
    let inputs = Inputs {
        directory: nowhere(),
        listen: ([0, 0, 0, 0], 8443).into(),
        serving: ServingCertificate { chain: nowhere(), key: nowhere() },
        protocols: Protocols::default(),
        apiserver: ApiServer {
            host: Host::Ip([127, 0, 0, 1].into()),
            port: cluster().port(),
            ca: Some(nowhere()),
            server_name: None,
            credential: Credential::Token(nowhere()),
        },
        issuers: documents.issuers,
        system_ca: Path::new(SYSTEM_CA).join("ca-certificates.crt"),
        issuer_certificate: None,
        plugin_configuration: documents.plugin_configuration,
        client_impersonation: documents.client_impersonation,
        own_token: documents.own_token,
        filter: nowhere(),
        concurrency: None,
        admin_socket: nowhere(),
        access_log: "/dev/null".into(),
        portal: None,
        audit_lines: false,
        trusted_hops: 0,
        trusted_proxies: Vec::new(),
        issuer_proxy: None,
        request_timeout: None,
        limits: Limits::default(),
    };
    let istio = Istio {
        name: "kube-oidc-gateway".to_owned(),
        namespace: "login".to_owned(),
        module: "registry.example/kube-oidc-gateway-filter:0.1.0".to_owned(),
        host: "*".to_owned(),
        certificate: "kube-oidc-gateway-tls".to_owned(),
    };
    istio.objects(&inputs).unwrap()
}

/// What a pod has at fixed places lies in `folder` here.
fn here(text: &str, folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    text.replace(&format!("{SYSTEM_CA}/ca-certificates.crt"), &path("system/ca.crt"))
        .replace(SYSTEM_CA, &path("system"))
        .replace(SERVICE_ACCOUNT, &path("account"))
        .replace(SECRETS, &path("secrets"))
}

/// The proxy's configuration as a bootstrap: what istiod would send it over ADS is put in its place.
fn bootstrap(rig: &Rig, objects: &[Value], folder: &Path, port: u16) -> Value {
    let kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    let listener = serde_saphyr::from_str(LISTENER).unwrap();
    let mut proxy = Proxy { listener, clusters: Vec::new() };
    proxy.apply(kind("EnvoyFilter"));

    let chain = &mut proxy.listener["filter_chains"][0];
    let file = |name: &str| rig.gateway.folder().join("serving").join(name);
    chain["transport_socket"]["typed_config"]["common_tls_context"]["tls_certificate_sds_secret_configs"] =
        json!([]);
    chain["transport_socket"]["typed_config"]["common_tls_context"]["tls_certificates"] = json!([{"certificate_chain": {"filename": file("tls.crt")}, "private_key": {"filename": file("tls.key")}}]);
    let filters = chain["filters"][0]["typed_config"]["http_filters"].as_array_mut().unwrap();
    let plugin = &kind("WasmPlugin")["spec"];
    for filter in filters {
        if filter["name"] != "login.kube-oidc-gateway" {
            continue;
        }
        *filter = json!({"name": filter["name"], "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "login.kube-oidc-gateway",
                "root_id": plugin["pluginName"],
                "failure_policy": plugin["failStrategy"],
                "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module()}}},
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": plugin["pluginConfig"].to_string(),
                },
            },
        }});
    }
    proxy.listener["address"]["socket_address"] =
        json!({"address": "127.0.0.1", "port_value": port});
    let whole = json!({
        "node": {"id": "router~gateway", "cluster": "kube-oidc-gateway.login"},
        "admin": {"address": {"pipe": {"path": folder.join("admin.sock")}}},
        "static_resources": {"listeners": [proxy.listener], "clusters": proxy.clusters},
    });
    serde_json::from_str(&here(&whole.to_string(), folder)).unwrap()
}

fn start(rig: &Rig, objects: &[Value]) -> IstioProxy {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let port = Port::reserve().unwrap();
    for name in ["secrets", "account", "system"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    for (name, text) in map["data"].as_object().unwrap() {
        fs::write(path.join("secrets").join(name), here(text.as_str().unwrap(), path)).unwrap();
    }
    fs::copy(rig.gateway.token_file(), path.join("account/token")).unwrap();
    fs::write(path.join("account/ca.crt"), cluster().ca()).unwrap();
    fs::copy(rig.gateway.folder().join("system/ca.crt"), path.join("system/ca.crt")).unwrap();

    let bootstrap = bootstrap(rig, objects, path, port.number());
    let findings = lint(&Sources::from_values(vec![("bootstrap".to_owned(), bootstrap.clone())]));
    assert!(findings.is_empty(), "{findings:#?}");
    let file = path.join("envoy.json");
    fs::write(&file, bootstrap.to_string()).unwrap();
    let log = fs::File::create(path.join("envoy.log")).unwrap();
    let process = Command::new(&cluster().assets().envoy)
        .arg("--config-path")
        .arg(&file)
        .args(["--disable-hot-restart", "--concurrency", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut proxy = IstioProxy { process, folder, port };
    until("Envoy with Istio's configuration listens", || {
        let ended = proxy.process.try_wait().unwrap();
        let log = || fs::read_to_string(proxy.folder.path().join("envoy.log")).unwrap_or_default();
        assert!(ended.is_none(), "{}", log());
        TcpStream::connect(proxy.port.address()).ok()
    });
    proxy
}
