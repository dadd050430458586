//! The objects for Envoy Gateway: the API server takes them by Envoy Gateway's own definitions, and the real Envoy Gateway
//! makes of them an Envoy whose doors `lint` proves and through which the demo's story passes. With an object missing or
//! refused, nobody reaches the API server.

mod published;
mod running;

use std::{fs, path::Path, time::Duration};

use gateway_config::{
    ApiServer, Candidates, Credential, Documents, Inputs, Options, ServingCertificate,
    envoy_gateway::{EnvoyGateway, Module},
};
use gateway_lint::{Rule, Sources, lint};
use gateway_net::Host;
use sandbox::{
    Credential as User, Kubectl,
    assets::{self, Progress},
    realm,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use self::running::Running;
use crate::{
    budget::module,
    cors::{allowing_a_page, assert_a_page_may},
    harness::{LIMIT, Probe, Rig, cluster, pod, until},
    metadata::{assert_strangers_are_told, telling_strangers},
    target::assert_never_the_gateway_itself,
};

#[test]
fn the_api_server_takes_the_objects_by_envoy_gateways_definitions() {
    let folder = assets::crds(&Progress::new()).unwrap();
    let admin = cluster().admin();
    let mut names = Vec::new();
    for file in [
        "gateway-api.yaml",
        "backends.yaml",
        "envoyextensionpolicies.yaml",
        "envoypatchpolicies.yaml",
        "envoyproxies.yaml",
        "httproutefilters.yaml",
    ] {
        let file = folder.join(file).display().to_string();
        let applied =
            admin.must(["apply", "--server-side", "-o", "name", "-f", &file], "").unwrap();
        names.extend(
            applied.lines().filter(|name| name.starts_with("customresource")).map(str::to_owned),
        );
    }
    let mut wait = vec!["wait", "--for=condition=Established", "--timeout=60s"];
    wait.extend(names.iter().map(String::as_str));
    admin.must(wait, "").unwrap();
    for namespace in ["login", "envoy-gateway-system"] {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        cluster().apply(&namespace.to_string()).unwrap();
    }
    for object in objects(&Rig::shared()) {
        let dry_run = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        let output = admin.run_with_input(dry_run, &object.to_string()).unwrap();
        assert!(output.success() && output.stderr.is_empty(), "{object}: {}", output.stderr);
    }
}

/// One test: Envoy Gateway has fixed ports, and each start of it is some seconds.
#[test]
fn the_story_passes_through_envoy_gateway_and_nothing_does_without_its_doors() {
    let rig = Rig::new();
    let objects = objects(&rig);
    let mark = cluster().audit().mark().unwrap();
    let running = Running::start(&rig, &objects);

    story(&rig, &running);
    forged(&rig, &running);
    let server = format!("https://{}", running.port.address());
    assert_a_page_may(&server, rig.gateway.ca(), &rig.token().mint());
    assert_strangers_are_told(&server, rig.gateway.ca());

    let dump = running.config_dump();
    assert!(dump.to_string().contains(r#""vm_id":"kube-oidc-gateway""#), "workers find each other");
    let findings = lint(&Sources::from_values(vec![("config_dump".to_owned(), dump)]));
    // Envoy Gateway's own, on loopback: what drains the pod asks there.
    let rules: Vec<_> = findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::AdminTcp], "{findings:#?}");

    for (case, change) in broken() {
        running.apply(&objects);
        until("the gateway serves", || ask(&rig, &running, "/version").filter(|it| *it == 200));
        let mut objects = objects.clone();
        change(&mut objects);
        running.apply(&objects);
        // Without its clusters the filter is on, and has no keys: 503.
        let refused = |path: &str| ask(&rig, &running, path).filter(|it| [403, 503].contains(it));
        until(case, || refused("/version"));
        let probe = Probe::new();
        until(case, || refused(&probe.path()));
        probe.assert_untouched();
    }
    assert_never_the_gateway_itself(mark);
}

/// A way to break the objects.
type Change = fn(&mut Vec<Value>);

/// What may be missing, or be refused by Envoy Gateway, so that a good token gets no further.
fn broken() -> [(&'static str, Change); 6] {
    fn patches(objects: &mut [Value]) -> &mut Vec<Value> {
        let policy = objects.iter_mut().find(|it| it["kind"] == "EnvoyPatchPolicy").unwrap();
        policy["spec"]["jsonPatches"].as_array_mut().unwrap()
    }
    [
        ("no patches", |objects| objects.retain(|it| it["kind"] != "EnvoyPatchPolicy")),
        ("no module", |objects| objects.retain(|it| it["kind"] != "EnvoyExtensionPolicy")),
        ("no backends", |objects| objects.retain(|it| it["kind"] != "Backend")),
        // Never a cluster without TLS instead.
        ("no word of whom to believe", |objects| {
            objects.retain(|it| it["kind"] != "BackendTLSPolicy");
        }),
        // As if Envoy Gateway called its listener otherwise: those patches find nothing.
        ("no listener of that name", |objects| {
            for patch in patches(objects) {
                if patch["type"].as_str().unwrap().ends_with("Listener") {
                    patch["name"] = json!("tcp-10443");
                }
            }
        }),
        // As if Envoy Gateway knew no such field: that patch alone is skipped, and the filter stays switched off.
        ("a patch that is refused", |objects| {
            for patch in patches(objects) {
                if patch["operation"]["path"] == "/disabled" {
                    patch["operation"]["value"] = json!("no");
                }
            }
        }),
    ]
}

fn story(rig: &Rig, running: &Running) {
    let kubectl = |token: String| -> Kubectl {
        let mut kubeconfig = rig.gateway.kubeconfig(User::Token(token));
        kubeconfig.server = format!("https://{}", running.port.address());
        cluster().kubectl_with(&kubeconfig).unwrap()
    };
    let user = kubectl(rig.token().mint());
    let me = user.must(["auth", "whoami", "-o", "json"], "").unwrap();
    assert!(me.contains(&rig.user()), "{me}");
    user.must(["get", "namespaces"], "").unwrap();
    let refused = user.run(["create", "namespace", "gateway-story"]).unwrap();
    assert!(refused.stderr.contains("cannot create resource"), "{}", refused.stderr);
    let asked = user.run(["get", "namespaces", "--as", "system:admin"]).unwrap();
    assert!(asked.stderr.contains("cannot impersonate user"), "{}", asked.stderr);

    let mut watch = user.start(["get", "namespaces", "--watch", "-o", "name"]).unwrap();
    watch.line(LIMIT, |line| line == "namespace/default").unwrap();
    let admin = kubectl(rig.admin_token());
    admin.must(["create", "namespace", "gateway-story"], "").unwrap();
    watch.line(LIMIT, |line| line == "namespace/gateway-story").unwrap();
    pod("gateway-story");
    let said = admin.must(["exec", "-i", "gateway-story", "--", "cat"], "in and out").unwrap();
    assert_eq!(said, "in and out");

    let nobody = kubectl("nonsense".to_owned()).run(["get", "namespaces"]).unwrap();
    assert!(nobody.stderr.contains("You must be logged in"), "{}", nobody.stderr);
}

/// A client that says what only the gateway may: without a token nothing arrives, with one it is still itself.
fn forged(rig: &Rig, running: &Running) {
    let said = [
        ("impersonate-user", "system:admin"),
        ("impersonate-group", "system:masters"),
        ("x-remote-user", "system:admin"),
        ("x-gateway-asked", "system:admin"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-gateway-mode", "impersonate"),
        ("wasm.mode", "impersonate"),
        ("wasm.user", "system:admin"),
    ];
    for (name, value) in said {
        let probe = Probe::new();
        let url = format!("https://{}{}", running.port.address(), probe.path());
        let code = agent(rig).get(&url).header(name, value).call().unwrap().status();
        assert_eq!(code, 401, "{name}");
        probe.assert_untouched();
    }
    let token = format!("Bearer {}", rig.token().mint());
    let asked = |said: &[(&str, &str)], probe: &Probe| {
        let url = format!("https://{}{}", running.port.address(), probe.path());
        let request = agent(rig).get(&url).header("authorization", &token);
        let request =
            said.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.call().unwrap().status()
    };
    let probe = Probe::new();
    assert_eq!(asked(&said, &probe), 403, "may not impersonate");
    probe.assert_untouched();
    assert_eq!(asked(&said[2..], &probe), 200);
    let event = probe.completed();
    assert_eq!(event.impersonated_user.map(|it| it.username), Some(rig.user()));
}

/// The answer to a good token: its code, if there is one. A listener that is being replaced ends its connections.
fn ask(rig: &Rig, running: &Running, path: &str) -> Option<u16> {
    let url = format!("https://{}{path}", running.port.address());
    let token = format!("Bearer {}", rig.token().mint());
    let request = agent(rig).get(&url).header("authorization", token);
    // By which the rules that make the clusters match nothing.
    let answer = request.header("x-gateway-cluster", "any").call();
    Some(answer.ok()?.status().as_u16())
}

fn agent(rig: &Rig) -> Agent {
    let ca = Certificate::from_pem(rig.gateway.ca().as_bytes()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[ca])).build();
    let config = Agent::config_builder().tls_config(tls).http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(20))).build().into()
}

fn objects(rig: &Rig) -> Vec<Value> {
    let content = fs::read(module()).unwrap();
    let sha256 = format!("{:x}", Sha256::digest(&content));
    let url = format!("http://{}/filter.wasm", running::serve(content));
    objects_with(rig, Module::Web { url, sha256 })
}

fn objects_with(rig: &Rig, module: Module) -> Vec<Value> {
    let authentication = realm::authentication_of(&rig.provider);
    let documents = Documents::from_values(
        &authentication,
        Some(telling_strangers(allowing_a_page(realm::configuration()))),
    )
    .unwrap();
    let nowhere = || Path::new("/nowhere").to_owned();
    let inputs = Inputs {
        directory: nowhere(),
        options: Options::new(([0, 0, 0, 0], 8443).into(), nowhere()),
        serving: ServingCertificate { chain: nowhere(), key: nowhere() },
        apiserver: ApiServer {
            host: Host::Ip([127, 0, 0, 1].into()),
            port: cluster().port(),
            ca: Some(nowhere()),
            server_name: Some("kubernetes.default.svc".parse().unwrap()),
            credential: Credential::Token(nowhere()),
        },
        documents,
        leaving: Vec::new(),
        candidates: Candidates::default(),
        system_ca: "/etc/ssl/certs/ca-certificates.crt".into(),
        issuer_certificate: None,
        admin_socket: nowhere(),
        access_log: "/dev/null".into(),
        portal: None,
    };
    let gateway = EnvoyGateway {
        name: "kube-oidc-gateway".to_owned(),
        namespace: "login".to_owned(),
        proxy_namespace: "envoy-gateway-system".to_owned(),
        module,
        host: None,
        certificate: "kube-oidc-gateway-tls".to_owned(),
    };
    gateway.objects(&inputs).unwrap()
}
