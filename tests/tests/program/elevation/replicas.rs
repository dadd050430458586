//! Two replicas behind a balancer, which share their grants in a `ConfigMap` by the rights that the documentation gives them.

use std::{
    fs, io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Instant,
};

use oidc_provider::{Config, Issuer, Preset, Provider};
use sandbox::{Cluster, Credential, Kubeconfig, Kubectl, Running, realm};
use serde_json::{Value, json};

use super::{ENDED, HOST, SECRET, becomes, portal, step};
use crate::harness::{LIMIT, Rig, Setup, cluster, until};

/// As docs/elevation.md names it.
const CONFIG_MAP: &str = "gateway-grants";
/// A group with the rights of `edit`, which nobody has for good.
const GROUP: &str = "elevation-replicas";
const POD: &str = "lent";
const WATCH: [&str; 3] = ["get", "--raw", "/api/v1/namespaces/default/pods?watch=true"];

/// A provider, and replicas that know it.
struct Stage {
    provider: Provider,
}

impl Stage {
    fn set() -> Self {
        let admin = cluster().admin();
        let binding = format!("--group={GROUP}");
        let rights = ["create", "clusterrolebinding", GROUP, "--clusterrole=edit", &binding];
        admin.must(rights, "").unwrap();
        let (namespace, account) = Cluster::GATEWAY;
        let page = fs::read_to_string("../docs/elevation.md").unwrap();
        let mut blocks = page.split("```yaml\n").filter_map(|rest| rest.split("```").next());
        let objects = blocks.find(|block| block.contains("kind: Role\n")).unwrap();
        let objects = objects.replace("namespace: login", &format!("namespace: {namespace}"));
        let objects = objects.replace("name: kube-oidc-gateway,", &format!("name: {account},"));
        cluster().apply(&objects).unwrap();
        let manifest = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {POD}}},
              spec: {{nodeName: {}, containers: [{{name: main, image: none}}]}}}}",
            sandbox::NODE
        );
        cluster().apply(&manifest).unwrap();
        admin.must(["wait", "--for=condition=Ready", "--timeout=30s", "pod", POD], "").unwrap();
        cluster().write_pod_log("lent: begun").unwrap();
        let realm = Preset::KubernetesSandbox.issuer();
        let config = Config { host: "127.0.0.1".to_owned(), ..Config::of(realm) };
        Self { provider: Provider::start(config).unwrap() }
    }

    fn replica(&self) -> Rig {
        let setup = Setup { in_pod: true, chart: false, ..Setup::default() };
        Rig::ready(&setup, |files| {
            let write = |name: &str, document: &Value| {
                files.write(name, &document.to_string()).display().to_string()
            };
            let mut gateway = realm::configuration();
            gateway["elevation"] = json!({"rules": [{
                "name": "replicas", "groups": [GROUP], "toGroups": ["developers"], "approvers": ["leads"],
                "maximumSeconds": 600,
            }]});
            let secret = files.config.with_file_name("portal-secret");
            fs::write(&secret, SECRET).unwrap();
            let portal = json!({
                "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "PortalConfiguration",
                "host": HOST, "secretFile": [secret],
            });
            let authentication = realm::authentication_of(&self.provider);
            vec![
                format!("--authentication-config={}", write("shared.json", &authentication)),
                format!("--gateway-config={}", write("lending.json", &gateway)),
                format!("--portal-config={}", write("portal.json", &portal)),
                format!("--grants-configmap={CONFIG_MAP}"),
            ]
        })
    }

    fn issuer(&self) -> Issuer {
        self.provider.issuer()
    }

    /// A token that outlasts the test.
    fn token(&self, user: &str, subject: &str, group: &str) -> String {
        let token = self.issuer().token(user, realm::CLIENT).expires_in(1800);
        token.claim("sub", subject).claim("groups", [group].as_slice()).mint()
    }
}

/// Gives each connection to the next of the replicas, as a TCP load balancer does.
fn balance(replicas: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (client, to) in listener.incoming().zip(replicas.iter().cycle()) {
            let client = client.unwrap();
            let server = TcpStream::connect(to).unwrap();
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    address
}

/// Streams of every kind, by both protocols, that have begun.
fn streams(kubectl: impl Fn() -> Kubectl) -> Vec<(String, Kubectl, Running)> {
    let mut streams = Vec::new();
    for websockets in ["true", "false"] {
        let kubectl = kubectl().environment("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
        let mut exec =
            kubectl.start(["exec", POD, "--", "sh", "-c", "echo begun; sleep 120"]).unwrap();
        exec.line(LIMIT, |line| line == "begun").unwrap();
        streams.push((format!("exec {websockets}"), kubectl, exec));
    }
    for (name, words, begun) in
        [("logs", &["logs", "-f", POD][..], "lent: begun"), ("watch", &WATCH, "ADDED")]
    {
        let kubectl = kubectl();
        let mut running = kubectl.start(words.iter().copied()).unwrap();
        running.line(LIMIT, |line| line.contains(begun)).unwrap();
        streams.push((name.to_owned(), kubectl, running));
    }
    streams
}

fn groups(kubectl: &Kubectl) -> Vec<String> {
    let said = kubectl.must(["auth", "whoami", "-o", "json"], "").unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let groups = said["status"]["userInfo"]["groups"].as_array().unwrap();
    groups.iter().map(|group| group.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_config_map_lends_in_all_replicas_and_outlives_them() {
    let stage = Stage::set();
    let (jane, kim) =
        (stage.token("k8s-user2", "jane", "developers"), stage.token("k8s-user3", "kim", "leads"));
    let wish = json!({"groups": [GROUP], "seconds": 600, "reason": "INC-1"});
    let lent = |kubectl: &Kubectl| groups(kubectl).iter().any(|group| group == GROUP);
    let [a, b] = [stage.replica(), stage.replica()];
    let balancer = balance(vec![a.address(), b.address()]);
    let everywhere = cluster()
        .kubectl_with(&Kubeconfig {
            server: format!("https://{balancer}"),
            ca: format!("{}{}", a.authority.pem(), b.authority.pem()),
            credential: Credential::Token(jane.clone()),
        })
        .unwrap();
    assert!(!lent(&everywhere) && !lent(&everywhere));

    // Asked for at one, agreed to at the other, which has to hear of it first.
    let (status, answer) = portal(&a, &jane, "", Some(&wish));
    assert_eq!(status, 200, "{answer}\n{}", a.log());
    let id = answer["grant"]["id"].as_str().unwrap();
    until("the other one knows of it", || {
        let (_, view) = portal(&b, &kim, "", None);
        (view["requests"][0]["id"] == id).then_some(())
    });
    let (status, answer) = step(&b, &kim, id, "approve");
    assert_eq!((status, &answer["grant"]["state"]), (200, &json!("Approved")), "{answer}");
    for rig in [&a, &b] {
        becomes(rig, &jane, true);
    }
    for _ in 0..4 {
        assert!(lent(&everywhere), "{:?}", groups(&everywhere));
    }
    for rig in [&a, &b] {
        assert!(rig.metric("gateway_lent_requests_total") > 0.5, "it came by this one, too");
    }

    // Ended at one: what runs through both ends.
    let running: Vec<_> =
        [&a, &b].into_iter().flat_map(|rig| streams(|| rig.kubectl(&*jane))).collect();
    assert_eq!(step(&a, &jane, id, "end").0, 200);
    let ended = Instant::now();
    for (name, _kubectl, mut stream) in running {
        stream.wait(LIMIT).unwrap();
        let took = ended.elapsed();
        assert!(took < ENDED, "{name} ended after {took:?}");
        println!("{name} ended after {took:?}");
    }
    for rig in [&a, &b] {
        becomes(rig, &jane, false);
    }
    assert!(!lent(&everywhere) && !lent(&everywhere));

    // Several at once at both: nobody's request is written over.
    let askers: Vec<_> = (0..8)
        .map(|number| {
            let token = stage.token("k8s-user2", &format!("asker-{number}"), "developers");
            let (port, wish) = (if number % 2 == 0 { &a } else { &b }, &wish);
            (port, token, wish)
        })
        .collect();
    thread::scope(|scope| {
        for (rig, token, wish) in &askers {
            scope.spawn(move || {
                // One that was too slow is told to try again.
                until("it is asked for", || {
                    let (status, answer) = portal(rig, token, "", Some(wish));
                    assert!([200, 409].contains(&status), "{status} {answer}");
                    (status == 200).then_some(())
                });
            });
        }
    });
    let count = askers.len();
    let (_, view) = portal(&a, &kim, "", None);
    assert_eq!(view["requests"].as_array().unwrap().len(), count, "{view}");

    // All replicas start anew: what is open stays so.
    let (_, answer) = portal(&b, &jane, "", Some(&wish));
    let id = answer["grant"]["id"].as_str().unwrap();
    assert_eq!(step(&a, &kim, id, "approve").0, 200);
    becomes(&b, &jane, true);
    drop((a, b));
    let begun = Instant::now();
    let [a, b] = [stage.replica(), stage.replica()];
    for rig in [&a, &b] {
        assert!(lent(&rig.kubectl(&*jane)), "lent from the first request on");
        let (_, view) = portal(rig, &kim, "", None);
        assert_eq!(
            (view["requests"].as_array().unwrap().len(), view["open"][0]["id"].as_str()),
            (count, Some(id)),
            "{view}"
        );
    }
    println!("two replicas lent again {:?} after the start", begun.elapsed());
    assert_eq!(step(&b, &kim, id, "end").0, 200);
    for rig in [&a, &b] {
        becomes(rig, &jane, false);
    }
    // Nobody but the gateway has to have it in memory: it is in the object.
    let (namespace, _) = Cluster::GATEWAY;
    let object = cluster()
        .admin()
        .must(["get", "configmap", CONFIG_MAP, "-n", namespace, "-o", "json"], "")
        .unwrap();
    let object: Value = serde_json::from_str(&object).unwrap();
    let document: Value =
        serde_json::from_str(object["data"]["grants.json"].as_str().unwrap()).unwrap();
    let of =
        |id: &str| document["grants"].as_array().unwrap().iter().find(|it| it["id"] == id).cloned();
    assert_eq!(of(id).unwrap()["state"], "Ended");
}
