//! The cluster by itself, with kubectl straight at the API server: what the gateway's tests rely on.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::LazyLock,
    time::Duration,
};

use sandbox::{Client, Cluster, Credential, Error, NODE, audit::Stage};

const LIMIT: Duration = Duration::from_secs(30);

/// Shared by the tests; ended by the watchdog when they are through.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::builder().start().unwrap());

/// A running pod of that name in the namespace `default`.
fn pod(name: &str) -> &'static Cluster {
    let cluster = &*CLUSTER;
    let manifest = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}},
          spec: {{nodeName: {NODE}, containers: [{{name: main, image: none}}]}}}}"
    );
    cluster.apply(&manifest).unwrap();
    let ready = ["wait", "--for=condition=Ready", "--timeout=15s", "pod", name];
    cluster.admin().must(ready, "").unwrap();
    cluster
}

#[test]
fn commands_run_in_pods() {
    let kubectl = pod("commands").admin();
    for (arguments, input, code, stdout) in [
        (&["exec", "commands", "--", "echo", "hello"][..], "", 0, "hello\n"),
        // Only if the end of the input reaches the command does it end.
        (&["exec", "-i", "commands", "--", "cat"][..], "some input", 0, "some input"),
        (&["exec", "commands", "--", "sh", "-c", "echo out; exit 7"][..], "", 7, "out\n"),
    ] {
        let output = kubectl.run_with_input(arguments, input).unwrap();
        assert_eq!(
            (output.code, &*output.stdout),
            (Some(code), stdout),
            "{arguments:?} {output:?}"
        );
    }
}

#[test]
fn files_are_copied_both_ways() {
    let cluster = pod("copies");
    let folder = tempfile::tempdir().unwrap();
    let (from, back) = (folder.path().join("from"), folder.path().join("back"));
    let content = "0123456789abcdef".repeat(20_000);
    fs::write(&from, &content).unwrap();
    let (from, back) = (from.display().to_string(), back.display().to_string());
    cluster.admin().must(["cp", &from, "copies:copied"], "").unwrap();
    assert_eq!(fs::read_to_string(cluster.pod_folder().join("copied")).unwrap(), content);
    cluster.admin().must(["cp", "copies:copied", &back], "").unwrap();
    assert_eq!(fs::read_to_string(&back).unwrap(), content);
}

#[test]
fn logs_are_followed_and_attached_to() {
    let cluster = pod("logs");
    cluster.write_pod_log("before").unwrap();
    let mut logs = cluster.admin().start(["logs", "-f", "logs"]).unwrap();
    logs.line(LIMIT, |line| line == "before").unwrap();
    let mut attached = cluster.admin().start(["attach", "logs"]).unwrap();
    cluster.write_pod_log("after").unwrap();
    logs.line(LIMIT, |line| line == "after").unwrap();
    // Attaching shows only what is logged from then on, and nothing says when that is.
    let start = std::time::Instant::now();
    while attached.line(Duration::from_millis(200), |line| line == "again").is_err() {
        assert!(start.elapsed() < LIMIT);
        cluster.write_pod_log("again").unwrap();
    }
}

#[test]
fn ports_are_forwarded() {
    let cluster = pod("ports");
    for (port, request, want) in [
        (":7", "to and fro", "to and fro"),
        (":80", "GET /a HTTP/1.1\r\nhost: pod\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
    ] {
        let mut forward = cluster.admin().start(["port-forward", "ports", port]).unwrap();
        let from = "Forwarding from 127.0.0.1:";
        let line = forward.line(LIMIT, |line| line.starts_with(from)).unwrap();
        let number = line.trim_start_matches(from).split(' ').next().unwrap();
        let mut stream = TcpStream::connect(format!("127.0.0.1:{number}")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(want), "{answer}");
    }
}

/// It runs commands as whoever started it.
#[test]
fn the_node_serves_the_api_server_and_nobody_else() {
    let cluster = &*CLUSTER;
    let port = "jsonpath={.status.daemonEndpoints.kubeletEndpoint.Port}";
    let ready = ["wait", "--for=condition=Ready", "--timeout=30s", "node", NODE];
    cluster.admin().must(ready, "").unwrap();
    let port = cluster.admin().must(["get", "node", NODE, "-o", port], "").unwrap();
    let ca = fs::read_to_string(cluster.folder().join("node/ca.crt")).unwrap();
    let client = Client::tls(&format!("https://127.0.0.1:{port}"), &ca, None).unwrap();
    let error = client.get("/healthz").unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
    let mut plain = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(!answer.contains(" 200 "), "{answer}");
}

#[test]
fn default_roles_are_complete() {
    let cluster = &*CLUSTER;
    cluster
        .admin()
        .must(["create", "clusterrolebinding", "v", "--clusterrole=view", "--user=v"], "")
        .unwrap();
    for (verb, want) in [("list", "yes\n"), ("create", "no\n")] {
        let output = cluster.admin().run(["auth", "can-i", verb, "namespaces", "--as=v"]).unwrap();
        assert_eq!(output.stdout, want, "{verb}: {}", output.stderr);
    }
}

#[test]
fn the_audit_log_tells_who_asked_what() {
    let cluster = &*CLUSTER;
    let mark = cluster.audit().mark().unwrap();
    let admin = cluster.admin().run(["get", "--raw", "/version?asked=1", "--as=alice"]).unwrap();
    assert!(admin.success(), "{admin:?}");
    let wrong = cluster.kubectl(Credential::Token("wrong".to_owned())).unwrap();
    assert!(!wrong.run(["get", "--raw", "/version?asked=2"]).unwrap().success());

    let events = cluster.audit().since(mark).unwrap();
    let of = |uri: &str| -> Vec<_> { events.iter().filter(|e| e.request_uri == uri).collect() };
    let asked = of("/version?asked=1");
    assert_eq!(asked[0].stage, Stage::RequestReceived);
    assert_eq!(asked[0].user.username, "sandbox-admin");
    assert_eq!(asked[0].impersonated_user.as_ref().map(|u| &*u.username), None);
    let wrong = of("/version?asked=2");
    assert_eq!(wrong[0].response_status.as_ref().unwrap().code, 401);
    let done = |e: &sandbox::audit::Event| {
        e.request_uri == "/version?asked=1" && e.stage == Stage::ResponseComplete
    };
    let done = cluster.audit().wait_for(mark, LIMIT, done).unwrap();
    assert_eq!(done.impersonated_user.unwrap().username, "alice");
}

#[test]
fn the_gateway_may_impersonate_and_ask_and_nothing_else() {
    let cluster = &*CLUSTER;
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: kube-oidc-gateway, name: nobody}}";
    cluster.apply(account).unwrap();
    // Without the widths of columns, which go by the longest name.
    let allowed = |name: &str| -> Vec<String> {
        let token = cluster.service_account_token("kube-oidc-gateway", name, 600).unwrap();
        let kubectl = cluster.kubectl(Credential::Token(token)).unwrap();
        let table = kubectl.must(["auth", "can-i", "--list", "--no-headers"], "").unwrap();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        table.lines().map(words).collect()
    };
    // What every ServiceAccount may differs from minor to minor: 1.37 lets them read ClusterTrustBundles.
    let every = allowed("nobody");
    let beyond = allowed("gateway");
    let beyond: Vec<_> = beyond.iter().filter(|line| !every.contains(line)).collect();
    let (asks, acts): (Vec<&String>, Vec<&String>) =
        beyond.iter().partition(|line| line.starts_with("subjectaccessreviews."));
    assert!(asks.len() == 1 && asks[0].ends_with("[create]"), "{asks:?}");
    let resources: BTreeSet<_> =
        acts.iter().map(|line| line.split(['.', '/', ' ']).next().unwrap_or_default()).collect();
    assert_eq!(
        Vec::from_iter(resources),
        ["groups", "serviceaccounts", "uids", "userextras", "users"]
    );
    assert!(acts.iter().all(|line| line.ends_with("[impersonate]")), "{acts:?}");
}

/// In a cluster of its own: the others' requests would fail meanwhile.
#[test]
fn the_api_server_can_crash_and_come_back_where_it_was() {
    let cluster = Cluster::builder().start().unwrap();
    let url = cluster.url();
    cluster.kill_apiserver().unwrap();
    assert!(cluster.admin_client().get("/version").is_err());
    cluster.start_apiserver().unwrap();
    cluster.restart_etcd().unwrap();
    assert_eq!(cluster.url(), url);
    cluster.admin().must(["get", "node", NODE], "").unwrap();
}

#[test]
fn a_component_that_cannot_start_says_why_in_one_line() {
    let started = Cluster::builder().apiserver_arguments(["--no-such-flag"]).start();
    let Err(error) = started else { panic!("it started") };
    assert!(matches!(error, Error::Ended { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("unknown flag: --no-such-flag") && !text.contains('\n'), "{text}");
}
