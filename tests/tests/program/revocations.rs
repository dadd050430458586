//! Access that ends before its token: by a file and by a `ConfigMap`, for new requests and for those that run, in every replica.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sandbox::{Cluster, Kubectl, Running};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{LIMIT, Rig, Setup, binary, cluster, until};

/// Within which time a new request is refused, and a running one ended.
pub const NEW: Duration = Duration::from_secs(2);
pub const RUNNING: Duration = Duration::from_secs(5);

const EMPTY: &str =
    "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: Revocations\nrevocations: []\n";

/// A file of revocations, and the command that writes into it.
pub struct Document(TempDir);

impl Document {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("revocations.yaml"), EMPTY).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("revocations.yaml")
    }

    pub fn flag(&self) -> String {
        format!("--revocations={}", self.path().display())
    }

    pub fn say(&self, words: &[&str]) -> String {
        say(words, &["--file", self.path().to_str().unwrap()])
    }
}

/// Runs the program, which must do it.
pub fn say(words: &[&str], place: &[&str]) -> String {
    let output = Command::new(binary()).args(words).args(place).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The group by which users of several issuers are named.
pub const GROUP: &str = "the-revoked";

pub fn admin(rig: &Rig) -> Kubectl {
    let groups = ["system:masters", GROUP];
    rig.kubectl(rig.token().claim("groups", groups.as_slice()).mint())
}

/// Waits until requests are refused, and says how long that took.
pub fn refused(kubectl: &Kubectl, words: &str) -> Duration {
    let begun = Instant::now();
    until("it is refused", || {
        let output = kubectl.run(["get", "namespaces"]).unwrap();
        assert!(output.success() || output.stderr.contains(words), "{output:?}");
        (!output.success()).then_some(())
    });
    begun.elapsed()
}

/// Streams of every kind, by both protocols, that have begun.
fn streams(rig: &Rig, pod: &str) -> Vec<(String, Kubectl, Running)> {
    let log = format!("{pod}: begun");
    cluster().write_pod_log(&log).unwrap();
    let mut streams = Vec::new();
    for websockets in ["true", "false"] {
        let kubectl = admin(rig).environment("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
        let exec = ["exec", pod, "--", "sh", "-c", "echo begun; sleep 120"];
        let mut exec = kubectl.start(exec).unwrap();
        exec.line(LIMIT, |line| line == "begun").unwrap();
        streams.push((format!("exec {websockets}"), kubectl, exec));
    }
    let kubectl = admin(rig);
    let mut logs = kubectl.start(["logs", "-f", pod]).unwrap();
    logs.line(LIMIT, |line| line == log).unwrap();
    streams.push(("logs".to_owned(), kubectl, logs));
    let path = "/api/v1/namespaces/default/pods?watch=true";
    let kubectl = admin(rig);
    let mut watch = kubectl.start(["get", "--raw", path]).unwrap();
    watch.line(LIMIT, |line| line.contains("ADDED")).unwrap();
    streams.push(("watch".to_owned(), kubectl, watch));
    streams
}

/// Waits until all have ended, and fails if one of them took too long.
fn all_end(streams: Vec<(String, Kubectl, Running)>, revoked: Instant) {
    for (name, _kubectl, mut stream) in streams {
        stream.wait(LIMIT).unwrap();
        let took = revoked.elapsed();
        assert!(took < RUNNING, "{name} ended after {took:?}");
        println!("{name} ended after {took:?}");
    }
}

fn pod(name: &str) {
    let manifest = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}},
          spec: {{nodeName: {}, containers: [{{name: main, image: none}}]}}}}",
        sandbox::NODE
    );
    cluster().apply(&manifest).unwrap();
    let ready = ["wait", "--for=condition=Ready", "--timeout=30s", "pod", name];
    cluster().admin().must(ready, "").unwrap();
}

#[test]
fn a_revoked_users_requests_and_streams_end_and_others_stay() {
    pod("revoked");
    let document = Document::new();
    let rig = Rig::new(&[&document.flag()]);
    let kubectl = admin(&rig);
    kubectl.must(["get", "namespaces"], "").unwrap();
    let path = "/api/v1/namespaces/default/pods?watch=true";
    let other = rig.kubectl(rig.token().claim("jti", "other").mint());
    let mut others = other.start(["get", "--raw", path]).unwrap();
    others.line(LIMIT, |line| line.contains("ADDED")).unwrap();
    let running = streams(&rig, "revoked");
    // The laptop is gone, and was logged in by another token.
    let said = document.say(&["revoke", "--group", GROUP, "--reason", "laptop stolen"]);
    let revoked = Instant::now();
    assert!(said.contains("has no access until"), "{said}");
    let took = refused(&kubectl, "access has been revoked (reason: laptop stolen)");
    assert!(took < NEW, "{took:?}");
    println!("a new request was refused after {took:?}");
    all_end(running, revoked);
    assert_eq!(others.ended().unwrap(), None, "another login's watch ended");
    other.must(["get", "namespaces"], "").unwrap();
    // A client sees the end before Envoy has added up what its workers count.
    until("four streams are counted", || {
        let ended = rig.metric("gateway_streams_revoked_total{by=\"group\"}");
        ((ended - 4.0).abs() < 0.5).then_some(())
    });
    let log = rig.log();
    assert!(log.contains("access_revoked") && log.contains("laptop stolen"), "{log}");

    assert!(document.say(&["revocations", "list"]).contains("group the-revoked"));
    document.say(&["revocations", "remove", "--group", GROUP]);
    until("it is let in again", || {
        kubectl.run(["get", "namespaces"]).unwrap().success().then_some(())
    });
}

/// kube-apiserver waits for a body for a minute, and whoever sends it is somebody all that time.
#[test]
fn a_request_whose_body_comes_slowly_ends_with_its_users_access() {
    let document = Document::new();
    let rig = Rig::new(&[&document.flag()]);
    let user = rig.token().claim("groups", ["system:masters", GROUP].as_slice()).mint();
    let url = format!("https://localhost:{}/api/v1/namespaces", rig.address().port());
    let slow = |http: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--insecure", http, "--max-time", "50", "-X", "POST", "-T", "."]);
        command.args(["-H", "expect:", "-H", "content-type: application/json"]);
        command.arg("-H").arg(format!("authorization: Bearer {user}"));
        command.arg(&url).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    };
    let mut requests = ["--http1.1", "--http2"].map(slow);
    std::thread::sleep(Duration::from_secs(3));
    for request in &mut requests {
        assert!(request.try_wait().unwrap().is_none(), "it ended before");
    }
    document.say(&["revoke", "--group", GROUP]);
    let revoked = Instant::now();
    // The gateway's own word: curl waits for its input, and hears nothing meanwhile.
    until("both have ended", || {
        let log = rig.log();
        let ended = log.lines().filter(|line| line.contains("access_revoked"));
        (ended.filter(|line| line.contains("\"method\":\"POST\"")).count() == 2).then_some(())
    });
    let took = revoked.elapsed();
    println!("slow requests ended after {took:?}");
    assert!(took < RUNNING, "{took:?}");
    for request in &mut requests {
        request.kill().unwrap();
        request.wait().unwrap();
    }
}

/// Whoever logs in again is let in: what is ended is the login.
#[test]
fn a_new_login_helps_where_logins_were_ended() {
    let document = Document::new();
    let rig = Rig::new(&[&document.flag()]);
    let now = now();
    let token = |issued_at: i64| rig.kubectl(rig.token().claim("iat", issued_at).mint());
    let (old, new) = (token(now - 60), token(now + 5));
    old.must(["get", "namespaces"], "").unwrap();
    document.say(&["revoke", "--user", &rig.user(), "--issued-before", "now"]);
    let took = refused(&old, "You must be logged in");
    assert!(took < NEW, "{took:?}");
    new.must(["get", "namespaces"], "").unwrap();
    // One token by its id.
    let jti = rig.kubectl(rig.token().claim("jti", "j-1").claim("iat", now + 5).mint());
    jti.must(["get", "namespaces"], "").unwrap();
    document.say(&["revoke", "--jti", "j-1", "--issuer", rig.issuer().url()]);
    assert!(refused(&jti, "You must be logged in") < NEW);
    new.must(["get", "namespaces"], "").unwrap();
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// The file is gone: the last state holds for a while, and then nobody is let in who could have been revoked.
#[test]
fn documents_that_nobody_can_read_end_in_503() {
    let document = Document::new();
    let path = document.path();
    let rig = Rig::with(
        |files| {
            let mut gateway = sandbox::realm::configuration();
            gateway["access"] = json!({"maximumStalenessSeconds": 8});
            let config = files.config.with_extension("gateway.json");
            fs::write(&config, gateway.to_string()).unwrap();
            vec![
                format!("--authentication-config={}/authentication.yaml", files.config.display()),
                format!("--gateway-config={}", config.display()),
                format!("--revocations={}", path.display()),
            ]
        },
        false,
    );
    let kubectl = admin(&rig);
    kubectl.must(["get", "namespaces"], "").unwrap();
    fs::write(&path, "kind: nonsense").unwrap();
    rig.wait_for_log("revocations cannot be read");
    kubectl.must(["get", "namespaces"], "").unwrap();
    let took = refused(&kubectl, "does not know at present whose access has been revoked");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(rig.metric("gateway_reload_refused{input=\"revocations\"}") > 0.5);
    fs::write(&path, EMPTY).unwrap();
    until("it is let in again", || {
        kubectl.run(["get", "namespaces"]).unwrap().success().then_some(())
    });
}

/// Without them a gateway is not ready: whoever is revoked would be let in until they are there.
#[test]
fn a_gateway_without_its_document_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revocations.yaml");
    let flag = format!("--revocations={}", path.display());
    let rig = Rig::start(|_| vec![flag], true);
    let probe = rig.probe();
    until("only access is missing", || {
        let report = probe.get("/readyz?verbose").ok()?.body;
        let others = report.lines().filter(|line| line.starts_with("[-]"));
        let others: Vec<_> = others.collect();
        matches!(others.as_slice(), [one] if one.starts_with("[-]access")).then_some(())
    });
    fs::write(&path, EMPTY).unwrap();
    until("it is ready", || (probe.get("/readyz").ok()?.status == 200).then_some(()));
    admin(&rig).must(["get", "namespaces"], "").unwrap();
}

const CONFIG_MAP: &str = "access";

/// What a chart would make: the object, and the right to read that one.
pub fn config_map(name: &str) {
    let (namespace, account) = Cluster::GATEWAY;
    let manifest = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         rules: [{{apiGroups: [\"\"], resources: [configmaps], resourceNames: [{name}], verbs: [get, watch]}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}\n\
         subjects: [{{kind: ServiceAccount, name: {account}, namespace: {namespace}}}]\n"
    );
    cluster().apply(&manifest).unwrap();
}

/// Two replicas follow one `ConfigMap`, and so does one that starts later.
#[test]
fn a_config_map_ends_access_in_all_replicas() {
    config_map(CONFIG_MAP);
    pod("replicas");
    let (namespace, _) = Cluster::GATEWAY;
    let flag = format!("--revocations-configmap={CONFIG_MAP}");
    let replica = || {
        let setup = Setup { in_pod: true, ..Setup::default() };
        Rig::ready(&setup, |_| vec![flag.clone()])
    };
    let rigs = [replica(), replica()];
    let clients: Vec<_> = rigs.iter().map(admin).collect();
    for client in &clients {
        client.must(["get", "namespaces"], "").unwrap();
    }
    let running: Vec<_> = rigs.iter().flat_map(|rig| streams(rig, "replicas")).collect();
    let admin_config = cluster().admin().kubeconfig();
    let place = ["--configmap", CONFIG_MAP, "-n", namespace, "--kubeconfig"];
    let place = [&place[..], &[path(&admin_config)]].concat();
    say(&["revoke", "--group", GROUP, "--for", "1h"], &place);
    let revoked = Instant::now();
    for client in &clients {
        refused(client, "access has been revoked");
        assert!(revoked.elapsed() < NEW, "{:?}", revoked.elapsed());
    }
    all_end(running, revoked);
    // A replica that comes later knows it, too.
    let late = replica();
    assert!(!admin(&late).run(["get", "namespaces"]).unwrap().success());
    assert_eq!(say(&["revocations", "list"], &place).lines().count(), 1);
    say(&["revocations", "remove", "--group", GROUP], &place);
    for client in &clients {
        until("it is let in again", || {
            client.run(["get", "namespaces"]).unwrap().success().then_some(())
        });
    }
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// As many entries as one document is meant for.
#[test]
fn ten_thousand_entries_are_followed() {
    let document = Document::new();
    let rig = Rig::new(&[&document.flag()]);
    let kubectl = admin(&rig);
    kubectl.must(["get", "namespaces"], "").unwrap();
    let entry =
        |n| format!("- {{\"user\":\"user-{n}@example.com\",\"until\":\"2040-01-01T00:00:00Z\"}}\n");
    let entries = (0..10_000).map(entry).collect::<Vec<_>>().concat();
    let many = EMPTY.replace(" []\n", &format!("\n{entries}"));
    fs::write(document.path(), &many).unwrap();
    rig.wait_for_log("revocations have changed");
    // What else this machine does may make one of them late, and not each.
    let mut took = Vec::new();
    while !took.iter().any(|took| *took < NEW) {
        assert!(took.len() < 3, "{took:?}");
        until("it is let in", || {
            kubectl.run(["get", "namespaces"]).unwrap().success().then_some(())
        });
        document.say(&["revoke", "--group", GROUP]);
        took.push(refused(&kubectl, "access has been revoked"));
        document.say(&["revocations", "remove", "--group", GROUP]);
    }
}

/// What following a `ConfigMap` rests on: the version of an object that nobody has changed for long is none to watch from, and within ten seconds
/// a watch says from where the next one goes on.
#[test]
fn kube_apiserver_says_from_where_a_watch_goes_on() {
    const NAME: &str = "access-watched";
    config_map(NAME);
    let (namespace, _) = Cluster::GATEWAY;
    let path = format!(
        "/api/v1/namespaces/{namespace}/configmaps?watch=true&fieldSelector=metadata.name%3D{NAME}&allowWatchBookmarks=true&resourceVersion=&timeoutSeconds=10"
    );
    let output = cluster().admin().must(["get", "--raw", &path], "").unwrap();
    let events = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events: Vec<_> = events.collect();
    let version = |event: &Value| event["object"]["metadata"]["resourceVersion"].clone();
    let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
    assert_eq!(kind(&events[0]), "ADDED", "{events:?}");
    let last = events.last().unwrap();
    assert_eq!(kind(last), "BOOKMARK", "{events:?}");
    assert!(version(last).is_string(), "{events:?}");
}

/// As text a few more would have no room: `revoke` packs the document, and the gateway follows it in both forms.
#[test]
fn a_long_document_is_packed_in_its_config_map_and_followed() {
    const NAME: &str = "access-packed";
    let (namespace, _) = Cluster::GATEWAY;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revocations.yaml");
    let entry = |n| {
        format!(
            "- {{\"user\":\"https://issuer.example.com/realms/staff#user-{n}\",\"until\":\"2040-01-01T00:00:00Z\",\"reason\":\"left the company\"}}\n"
        )
    };
    let entries = (0..7_000).map(entry).collect::<Vec<_>>().concat();
    fs::write(&file, EMPTY.replace(" []\n", &format!("\n{entries}"))).unwrap();
    config_map(NAME);
    let admin_client = cluster().admin();
    let from = format!("--from-file=revocations.yaml={}", path(&file));
    admin_client.must(["delete", "configmap", NAME, "-n", namespace], "").unwrap();
    admin_client.must(["create", "configmap", NAME, "-n", namespace, &from], "").unwrap();
    let setup = Setup { in_pod: true, ..Setup::default() };
    let rig = Rig::ready(&setup, |_| vec![format!("--revocations-configmap={NAME}")]);
    let kubectl = admin(&rig);
    kubectl.must(["get", "namespaces"], "").unwrap();
    let admin_config = admin_client.kubeconfig();
    let place = ["--configmap", NAME, "-n", namespace, "--kubeconfig", path(&admin_config)];
    say(&["revoke", "--group", GROUP, "--reason", "laptop stolen"], &place);
    refused(&kubectl, "access has been revoked (reason: laptop stolen)");
    let object = admin_client.must(["get", "configmap", NAME, "-n", namespace, "-o", "json"], "");
    let object: serde_json::Value = serde_json::from_str(&object.unwrap()).unwrap();
    let packed = object["binaryData"]["revocations.yaml.gz"].as_str().unwrap();
    assert!(object["data"].get("revocations.yaml").is_none() && packed.len() < 200_000);
    assert_eq!(say(&["revocations", "list"], &place).lines().count(), 7_001);
    say(&["revocations", "remove", "--group", GROUP], &place);
    until("it is let in again", || {
        kubectl.run(["get", "namespaces"]).unwrap().success().then_some(())
    });
}
