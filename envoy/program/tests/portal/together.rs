//! Two portals in one Envoy, with one module and one `vm_id`: the keys are both's, nothing else is.

use std::{env, fs, net::SocketAddr, path::Path, process::Command, time::Instant};

use gateway_config::portal::{Inputs, Part, render};
use gateway_core::portal_keys::VARIABLE;
use gateway_portal::Settings;
use kube_oidc_gateway::portal::Keys;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::portal::{PATIENCE, Portal, filter, free};

const V1: &str = "authentication.k8s.io/v1";
const JSON: &str = "Content-Type: application/json";
const NAMES: [&str; 2] = ["first", "second"];

/// The settings of a portal, its name in each of them.
fn settings(name: &str, rate: u32) -> Settings {
    let settings = json!({
        "audience": name,
        "userHeader": format!("x-{name}-user"),
        "groupHeader": "x-groups",
        "groupHeaderDelimiter": ";",
        "maxLifetimeSeconds": 3600,
        "tokensPerSecond": rate,
        "trust": {"clientCertificate": false, "networks": ["127.0.0.1/32"], "anybody": false},
        "issuer": format!("https://{name}.example"),
        "hosts": [format!("{name}.example")],
        "template": {"clusters": [[name, {"server": format!("https://api.{name}.example")}]]},
    });
    Settings::parse(settings.to_string().as_bytes()).unwrap()
}

/// An Envoy of this portal alone.
fn rendered(name: &str, rate: u32, folder: &Path, listen: SocketAddr) -> Value {
    let inputs = Inputs {
        directory: folder.join("run"),
        listen,
        part: Part {
            host: None,
            serving: None,
            client_ca: None,
            client_subject: None,
            settings: settings(name, rate),
            login: None,
            filter: filter(),
            access_log: folder.join(format!("{name}.log")),
        },
        documents: None,
        system_ca: "/etc/ssl/certs/ca-certificates.crt".into(),
        concurrency: None,
    };
    let rendered = render(&inputs).unwrap();
    let file = rendered.files().iter().find(|file| file.name == "envoy.yaml").unwrap();
    serde_saphyr::from_str(&file.text).unwrap()
}

/// Both, and their addresses. A user gets `rate` tokens a second of each.
fn start(rate: u32) -> (Portal, [SocketAddr; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let addresses = [free(), free()];
    let [mut both, mut second] =
        [0, 1].map(|index| rendered(NAMES[index], rate, folder.path(), addresses[index]));
    let mut listener = second["static_resources"]["listeners"][0].take();
    listener["name"] = json!("second");
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let filters = manager["http_filters"].as_array_mut().unwrap();
    let portal = filters.iter_mut().find(|filter| filter["name"] == "portal").unwrap();
    portal["typed_config"]["config"]["name"] = json!("second");
    both["static_resources"]["listeners"].as_array_mut().unwrap().push(listener);
    fs::create_dir(folder.path().join("run")).unwrap();
    let configuration = folder.path().join("both.json");
    fs::write(&configuration, both.to_string()).unwrap();

    let key = folder.path().join("key");
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let mut keys = Keys::new(false);
    keys.add_private_key(&key).unwrap();
    let (keys, _) = keys.document().unwrap();
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let child = Command::new(env::var_os("ENVOY_BIN").unwrap_or_else(|| "envoy".into()))
        .arg("--config-path")
        .arg(&configuration)
        .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
        .env(VARIABLE, keys)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut portal = Portal { child, folder, address: addresses[0] };
    portal.wait();
    (portal, addresses)
}

/// A token as this portal makes it, or the reason why not.
fn generate(portal: &Portal, name: &str) -> (u16, Value) {
    let user = format!("x-{name}-user: jane");
    let (status, body) =
        portal.curl(&["-H", JSON, "-H", &user, "-d", r#"{"lifetime": "1h"}"#, "URL/generate"]);
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} {body}")))
}

#[test]
fn two_portals_in_one_vm_have_nothing_in_common_but_the_keys() {
    let (mut portal, addresses) = start(5);
    let tokens = [0, 1].map(|index| {
        portal.address = addresses[index];
        let (status, body) = generate(&portal, NAMES[index]);
        assert_eq!(status, 200, "{body}\n{}", portal.log());
        body["token"].as_str().unwrap().to_owned()
    });
    for (own, other) in [(0, 1), (1, 0)] {
        let (name, foreign) = (NAMES[own], NAMES[other]);
        portal.address = addresses[own];
        let (status, review) = portal.review(V1, &tokens[own]);
        assert_eq!((status, &review["status"]["user"]["username"]), (200, &json!("jane")));
        assert_eq!(portal.review(V1, &tokens[other]).0, 403, "{foreign}'s token at {name}");
        assert_eq!(generate(&portal, foreign).0, 400, "{foreign}'s header at {name}");

        let host = |name: &str| format!("Host: {name}.example");
        assert_eq!(portal.curl(&["-H", &host(name), "URL/"]).0, 200);
        assert_eq!(portal.curl(&["-H", &host(foreign), "URL/"]).0, 421);

        let (_, document) = portal.curl(&["URL/.well-known/openid-configuration"]);
        assert!(document.contains(&host(name)[6..]) && !document.contains(foreign), "{document}");
        let user = format!("x-{name}-user: john");
        let (status, kubeconfig) = portal.curl(&["-H", &user, "URL/kubecfg?lifetime=1h"]);
        let server = |name: &str| kubeconfig.contains(&format!("https://api.{name}.example"));
        assert!(status == 200 && server(name) && !server(foreign), "{kubeconfig}");
    }
    // They are in one VM indeed: the main thread's, the worker's, and the one that these are copies of.
    let stats = portal.admin("/stats?filter=wasm.*v8.*active").unwrap();
    assert!(stats.contains("active: 3"), "{stats}");
}

/// Who asks one portal more often than he may is not refused by the other.
#[test]
fn two_portals_in_one_vm_have_rates_of_their_own() {
    let (mut portal, addresses) = start(1);
    let start = Instant::now();
    while generate(&portal, NAMES[0]).0 != 429 {
        assert!(start.elapsed() < PATIENCE, "nobody is refused");
    }
    portal.address = addresses[1];
    assert_eq!(generate(&portal, NAMES[1]).0, 200);
}
