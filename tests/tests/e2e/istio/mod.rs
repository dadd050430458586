//! The Istio objects: the API server takes them by Istio's own definitions, and the patches make, out of the listener that
//! Istio gives an ingress gateway or a sidecar, one whose doors `lint` proves and through which the demo's story passes. istiod
//! itself does not run; what it makes of objects is in `fixtures`, and `merge` and `clusters` are held to it.

mod clusters;
mod fixtures;
mod merge;

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use gateway_config::{
    ApiServer, Candidates, Credential, Documents, Inputs, Options, ServingCertificate,
    istio::{Istio, Place, Registry},
    pod::{SECRETS, SERVICE_ACCOUNT, SERVING},
};
use gateway_lint::{Sources, lint};
use gateway_net::Host;
use sandbox::{
    Credential as User, Port,
    assets::{self, Progress},
    realm,
};
use serde_json::{Value, json};

use self::merge::Proxy;
use crate::{
    budget::module,
    cors::{allowing_a_page, assert_a_page_may},
    harness::{Rig, cluster, pod, until},
    metadata::{assert_strangers_are_told, telling_strangers},
};

/// The Deployment whose sidecar is the gateway.
const WORKLOAD: &str = "kube-apiserver";
/// Where the proxy's image has the system's CAs.
const SYSTEM_CA: &str = "/etc/ssl/certs";

/// How the gateway stands in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// An ingress gateway.
    Gateway,
    /// An ingress gateway with clusters that istiod makes.
    Registry,
    /// The sidecar of [`WORKLOAD`].
    Sidecar,
}

const VARIANTS: [Variant; 3] = [Variant::Gateway, Variant::Registry, Variant::Sidecar];

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
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "login"}});
    cluster().apply(&namespace.to_string()).unwrap();
    cluster().apply(&workload().to_string()).unwrap();
    for object in VARIANTS.iter().flat_map(|variant| objects(&Rig::shared(), *variant)) {
        // A part of the workload, which whoever made it goes on to own.
        let manager = "--field-manager=kube-oidc-gateway";
        let dry_run = ["apply", "--server-side", manager, "--dry-run=server", "-f", "-"];
        let output = admin.run_with_input(dry_run, &object.to_string()).unwrap();
        assert!(output.success() && output.stderr.is_empty(), "{object}: {}", output.stderr);
    }
}

fn workload() -> Value {
    let labels = json!({"app": WORKLOAD});
    let containers = json!([{"name": WORKLOAD, "image": "registry.example/kube-apiserver"}]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": WORKLOAD, "namespace": "login"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    })
}

#[test]
fn the_story_passes_through_istios_ingress_gateway() {
    story(Variant::Gateway);
}

#[test]
fn the_story_passes_by_clusters_that_istiod_makes() {
    story(Variant::Registry);
}

#[test]
fn the_story_passes_through_a_sidecar() {
    story(Variant::Sidecar);
}

fn story(variant: Variant) {
    let rig = Rig::builder()
        .configuration(telling_strangers(allowing_a_page(realm::configuration())))
        .start();
    let proxy = start(&rig, variant);
    let kubectl = |token: String| {
        let mut kubeconfig = rig.gateway.kubeconfig(User::Token(token));
        kubeconfig.server = format!("https://{}", proxy.port.address());
        cluster().kubectl_with(&kubeconfig).unwrap()
    };
    let user = kubectl(rig.token().mint());
    let me = user.must(["auth", "whoami", "-o", "json"], "").unwrap();
    assert!(me.contains(&rig.user()), "{me}");
    user.must(["get", "namespaces"], "").unwrap();
    let server = format!("https://{}", proxy.port.address());
    assert_a_page_may(&server, rig.gateway.ca(), &rig.token().mint());
    assert_strangers_are_told(&server, rig.gateway.ca());
    let name = format!("istio-story-{variant:?}").to_lowercase();
    let refused = user.run(["create", "namespace", &name]).unwrap();
    assert!(refused.stderr.contains("cannot create resource"), "{}", refused.stderr);
    let asked = user.run(["get", "namespaces", "--as", "system:admin"]).unwrap();
    assert!(asked.stderr.contains("cannot impersonate user"), "{}", asked.stderr);
    let admin = kubectl(rig.admin_token());
    admin.must(["create", "namespace", &name], "").unwrap();
    // By HTTP/1.1, whose cluster is another one.
    pod(&name);
    let said = admin.must(["exec", "-i", &name, "--", "cat"], "in and out").unwrap();
    assert_eq!(said, "in and out");
    let nobody = kubectl("nonsense".to_owned()).run(["get", "namespaces"]).unwrap();
    assert!(nobody.stderr.contains("You must be logged in"), "{}", nobody.stderr);
    assert!(fs::exists(proxy.folder.path().join("envoy.json")).unwrap());
}

/// Two gateways' objects in one proxy: Istio's plugins have no `vm_id`, so that both run in one VM.
#[test]
fn break_in_1_two_gateways_of_one_proxy_have_users_of_their_own() {
    let (first, second) = (Rig::new(), Rig::builder().configuration(strict()).start());
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve().unwrap());
    let (beside, other) = (tempfile::tempdir().unwrap(), Port::reserve().unwrap());
    let mut both = prepare(&first, Variant::Gateway, folder.path(), port.number());
    let added = prepare(&second, Variant::Gateway, beside.path(), other.number());
    // The second has a plugin, a listener and an issuer of its own. The clusters of the API server are the same.
    let added = added.to_string().replace("login.kube-oidc-gateway", "login.second");
    let mut added: Value = serde_json::from_str(&added).unwrap();
    added["static_resources"]["listeners"][0]["name"] = json!("second");
    for what in ["listeners", "clusters"] {
        let known = both["static_resources"][what].as_array_mut().unwrap();
        for one in added["static_resources"][what].as_array().unwrap() {
            if !known.iter().any(|it| it["name"] == one["name"]) {
                known.push(one.clone());
            }
        }
    }
    let proxy = run(&both, folder, port);
    let kubectl = |rig: &Rig, port: &Port, token: String| {
        let mut kubeconfig = rig.gateway.kubeconfig(User::Token(token));
        kubeconfig.server = format!("https://{}", port.address());
        cluster().kubectl_with(&kubeconfig).unwrap()
    };
    let whoami = |rig: &Rig, port: &Port, token: String| {
        kubectl(rig, port, token).run(["auth", "whoami", "-o", "json"]).unwrap()
    };
    let (ones, others) = ((&first, &proxy.port), (&second, &other));
    for ((rig, own), (host, strange)) in [(ones, others), (others, ones)] {
        let at_home = until("its keys are there", || {
            let output = whoami(rig, own, rig.token().mint());
            output.success().then_some(output)
        });
        assert!(at_home.stdout.contains(&rig.user()), "{at_home:?}");
        let abroad = whoami(host, strange, rig.token().mint());
        assert!(abroad.stderr.contains("You must be logged in"), "{abroad:?}");
    }
    // The rules are each its own, too: `system:masters` passes at one.
    // Of a refused `whoami` kubectl says that the API is missing.
    let master = |rig: &Rig, port| {
        kubectl(rig, port, rig.admin_token()).run(["get", "--raw", "/version"]).unwrap()
    };
    assert!(master(&first, &proxy.port).success());
    let refused = master(&second, &other);
    assert!(refused.stderr.contains("system:masters"), "{refused:?}");
}

/// No reserved name passes.
fn strict() -> Value {
    let mut configuration = realm::configuration();
    configuration["allowedReserved"]["groups"] = json!(["system:viewers"]);
    configuration
}

#[test]
fn without_a_patch_lint_says_which_door_is_missing() {
    use Variant::{Gateway, Registry, Sidecar};

    let rig = Rig::shared();
    for (variant, apply_to, operation, says) in [
        (Gateway, "HTTP_FILTER", "INSERT_FIRST", "no header_mutation before it"),
        (Gateway, "HTTP_FILTER", "INSERT_BEFORE", "no RBAC behind it"),
        (Gateway, "HTTP_FILTER", "REMOVE", "stands behind the gateway's filter"),
        (Gateway, "NETWORK_FILTER", "MERGE", "routes"),
        (Registry, "HTTP_FILTER", "INSERT_BEFORE", "no RBAC behind it"),
        (Sidecar, "HTTP_FILTER", "INSERT_FIRST", "no header_mutation before it"),
        (Sidecar, "HTTP_FILTER", "INSERT_BEFORE", "no RBAC behind it"),
        (Sidecar, "HTTP_FILTER", "REMOVE", "stands behind the gateway's filter"),
        (Sidecar, "NETWORK_FILTER", "MERGE", "stream_idle_timeout"),
        (Sidecar, "FILTER_CHAIN", "MERGE", "clients connect without TLS"),
        // istiod's own route leads to the port.
        (Sidecar, "VIRTUAL_HOST", "REPLACE", r#"there is no cluster "inbound|8443||""#),
    ] {
        let mut objects = objects(&rig, variant);
        let filter = objects.iter_mut().find(|it| it["kind"] == "EnvoyFilter").unwrap();
        let patches = filter["spec"]["configPatches"].as_array_mut().unwrap();
        let before = patches.len();
        patches.retain(|it| it["applyTo"] != apply_to || it["patch"]["operation"] != operation);
        assert!(patches.len() < before, "{variant:?} has no {operation} of {apply_to}");
        assert_found(&rig, variant, &objects, says);
    }
}

/// Names that are not those of clusters lead nowhere, and a rule that names nobody is no trust.
#[test]
fn without_its_rules_lint_says_what_is_missing() {
    let rig = Rig::shared();
    let mut objects = objects(&rig, Variant::Registry);
    for object in objects.iter_mut().filter(|it| it["kind"] == "DestinationRule") {
        let subsets = object["spec"]["subsets"].as_array_mut().into_iter().flatten();
        subsets.for_each(|it| it["trafficPolicy"]["tls"]["subjectAltNames"] = json!([]));
    }
    let says = "its certificate is not checked against a CA and a name";
    assert_found(&rig, Variant::Registry, &objects, says);
    objects.retain(|it| it["kind"] != "DestinationRule");
    let says = r#"there is no cluster "outbound|443|apiserver-impersonate-h2|"#;
    assert_found(&rig, Variant::Registry, &objects, says);
}

fn assert_found(rig: &Rig, variant: Variant, objects: &[Value], says: &str) {
    let bootstrap = bootstrap(rig, variant, objects, Path::new("/nowhere"), 1);
    let findings = lint(&Sources::from_values(vec![("bootstrap".to_owned(), bootstrap)]));
    let found = findings.iter().any(|it| it.to_string().contains(says));
    assert!(found, "{variant:?}: {says}: {findings:#?}");
}

fn objects(rig: &Rig, variant: Variant) -> Vec<Value> {
    let authentication = realm::authentication_of(&rig.provider);
    let documents = Documents::from_values(&authentication, Some(rig.configuration())).unwrap();
    let nowhere = || Path::new("/nowhere").to_owned();
    let (host, port) = match variant {
        Variant::Registry => ("kubernetes.default.svc".parse().unwrap(), 443),
        Variant::Gateway | Variant::Sidecar => (Host::Ip([127, 0, 0, 1].into()), cluster().port()),
    };
    let registered = variant == Variant::Registry;
    let inputs = Inputs {
        directory: nowhere(),
        options: Options::new(([0, 0, 0, 0], 8443).into(), nowhere()),
        serving: ServingCertificate { chain: nowhere(), key: nowhere() },
        apiserver: ApiServer {
            host,
            port,
            ca: Some(nowhere()),
            server_name: None,
            credential: Credential::Token(nowhere()),
        },
        documents,
        leaving: Vec::new(),
        candidates: Candidates::default(),
        system_ca: Path::new(SYSTEM_CA).join("ca-certificates.crt"),
        issuer_certificate: None,
        admin_socket: nowhere(),
        access_log: "/dev/null".into(),
        portal: None,
    };
    let istio = Istio {
        name: "kube-oidc-gateway".to_owned(),
        namespace: "login".to_owned(),
        module: "registry.example/kube-oidc-gateway/plugin:0.1.0".to_owned(),
        certificate: "kube-oidc-gateway-tls".to_owned(),
        account: (variant == Variant::Sidecar).then(|| "gateway-account".to_owned()),
        place: match variant {
            Variant::Gateway | Variant::Registry => Place::Gateway { host: "*".to_owned() },
            Variant::Sidecar => Place::Sidecar { workload: WORKLOAD.to_owned() },
        },
        registry: Registry {
            apiserver: registered,
            issuers: registered,
            domain: "cluster.local".to_owned(),
        },
    };
    istio.objects(&inputs).unwrap()
}

/// What a pod has at fixed places lies in `folder` here.
fn here(text: &str, folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    text.replace(&format!("{SYSTEM_CA}/ca-certificates.crt"), &path("system/ca.crt"))
        .replace(SYSTEM_CA, &path("system"))
        .replace(SERVICE_ACCOUNT, &path("account"))
        .replace(SERVING, &path("serving"))
        .replace(SECRETS, &path("secrets"))
}

/// The proxy's configuration as a bootstrap: what istiod and the agent would send it is put in its place.
fn bootstrap(rig: &Rig, variant: Variant, objects: &[Value], folder: &Path, port: u16) -> Value {
    let kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    let mut proxy = Proxy::read(match variant {
        Variant::Gateway | Variant::Registry => fixtures::GATEWAY,
        Variant::Sidecar => fixtures::SIDECAR,
    });
    proxy.clusters = clusters::made_of(objects);
    proxy.apply(kind("EnvoyFilter"));
    proxy.clusters.iter_mut().for_each(|cluster| discovered(cluster, objects));
    if variant == Variant::Sidecar {
        // What is for other ports has filters that Istio's Envoy alone has. For ours the listener's filters are disabled.
        let chains = proxy.listener["filter_chains"].as_array_mut().unwrap();
        chains.retain(|chain| chain["filter_chain_match"]["destination_port"] == 8443);
        chains[0]["filter_chain_match"] = json!({"transport_protocol": "raw_buffer"});
        proxy.listener["listener_filters"] = json!([]);
    }
    let chain = &mut proxy.listener["filter_chains"][0];
    if variant != Variant::Sidecar {
        let file = |name: &str| rig.gateway.folder().join("serving").join(name);
        let context = &mut chain["transport_socket"]["typed_config"]["common_tls_context"];
        context["tls_certificate_sds_secret_configs"] = json!([]);
        context["tls_certificates"] = json!([{
            "certificate_chain": {"filename": file("tls.crt")},
            "private_key": {"filename": file("tls.key")},
        }]);
    }
    let managers = chain["filters"].as_array_mut().unwrap();
    let filters = managers[0]["typed_config"]["http_filters"].as_array_mut().unwrap();
    let plugin = &kind("WasmPlugin")["spec"];
    for filter in filters.iter_mut().filter(|filter| filter["config_discovery"].is_object()) {
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

/// Where a cluster of the registry's leads, and the CA that the agent reads from its file.
fn discovered(cluster: &mut Value, objects: &[Value]) {
    let name = cluster["name"].as_str().unwrap().to_owned();
    let Some(host) = name.strip_prefix("outbound|").and_then(|it| it.rsplit('|').next()) else {
        return;
    };
    let entries = objects.iter().filter(|it| it["kind"] == "ServiceEntry").map(|it| &it["spec"]);
    let entry = entries.into_iter().find(|it| it["hosts"] == json!([host]));
    let (address, port) = match entry {
        Some(entry) => {
            let address = entry["endpoints"][0]["address"].as_str().unwrap_or(host);
            (address.to_owned(), entry["ports"][0]["number"].clone())
        }
        None => ("127.0.0.1".to_owned(), json!(cluster_port())),
    };
    let endpoint = json!({"address": {"socket_address": {"address": address, "port_value": port}}});
    cluster["load_assignment"] = json!({
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
    });
    if cluster["type"] == "EDS" {
        cluster["type"] = json!("STATIC");
        cluster.as_object_mut().unwrap().remove("eds_cluster_config");
    }
    let context = &mut cluster["transport_socket"]["typed_config"]["common_tls_context"];
    let combined = context.as_object_mut().unwrap().remove("combined_validation_context").unwrap();
    let secret = &combined["validation_context_sds_secret_config"]["name"];
    let file = secret.as_str().unwrap().strip_prefix("file-root:").unwrap();
    let mut trusted = combined["default_validation_context"].clone();
    trusted["trusted_ca"] = json!({"filename": file});
    context["validation_context"] = trusted;
}

fn cluster_port() -> u16 {
    cluster().port()
}

fn start(rig: &Rig, variant: Variant) -> IstioProxy {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve().unwrap());
    let bootstrap = prepare(rig, variant, folder.path(), port.number());
    run(&bootstrap, folder, port)
}

/// The proxy's configuration, and the files that it names.
fn prepare(rig: &Rig, variant: Variant, path: &Path, port: u16) -> Value {
    let objects = objects(rig, variant);
    for name in ["secrets", "account", "system", "serving"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    for (name, text) in map["data"].as_object().unwrap() {
        fs::write(path.join("secrets").join(name), here(text.as_str().unwrap(), path)).unwrap();
    }
    for name in ["tls.crt", "tls.key"] {
        let file = rig.gateway.folder().join("serving").join(name);
        fs::copy(file, path.join("serving").join(name)).unwrap();
    }
    fs::copy(rig.gateway.token_file(), path.join("account/token")).unwrap();
    fs::write(path.join("account/ca.crt"), cluster().ca()).unwrap();
    fs::copy(rig.gateway.folder().join("system/ca.crt"), path.join("system/ca.crt")).unwrap();
    bootstrap(rig, variant, &objects, path, port)
}

fn run(bootstrap: &Value, folder: tempfile::TempDir, port: Port) -> IstioProxy {
    let path = folder.path();
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
