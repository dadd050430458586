//! What happens to pods in the life of a cluster, while a user works: an upgrade, kubelets that start again and renew tokens, a rollout, a
//! node that is drained.

use std::{
    collections::BTreeSet,
    env,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use sandbox::wait;
use serde_json::{Value, json};

use crate::{
    issuer,
    nodes::{LIMIT, folder, nodes},
    release::{Release, apply},
    traffic::{Streams, Traffic, worker},
};

/// `preStopSeconds` and `terminationGracePeriodSeconds` of the release: streams live for both once their pod is told to end.
const STREAMS: Duration = Duration::from_secs(2 + 8);

/// The tokens by which a gateway has acted since a place in API server's audit log, each by its name.
fn credentials(release: &Release, since: u64) -> BTreeSet<String> {
    let mut log = File::open(folder().join("audit.log")).unwrap();
    log.seek(SeekFrom::Start(since)).unwrap();
    let mut text = Vec::new();
    log.read_to_end(&mut text).unwrap();
    let account = format!("system:serviceaccount:{0}:{0}", release.name);
    let text = String::from_utf8_lossy(&text);
    // The last line may still be written.
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|event| {
            event["user"]["username"] == account && !event["impersonatedUser"].is_null()
        })
        .filter_map(|event| {
            let ids = &event["user"]["extra"]["authentication.kubernetes.io/credential-id"];
            ids[0].as_str().map(str::to_owned)
        })
        .collect()
}

fn now() -> u64 {
    folder().join("audit.log").metadata().unwrap().len()
}

fn drain(release: &Release, node: &str) {
    let selector = format!("--pod-selector=app.kubernetes.io/instance={}", release.name);
    let drain = ["drain", node, "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=120s"];
    let drained = nodes().admin.must(drain.into_iter().chain([selector.as_str()]), "");
    drained.unwrap_or_else(|error| panic!("{error}\n{}", release.story()));
}

fn node_of(pod: &Value) -> String {
    pod["spec"]["nodeName"].as_str().unwrap().to_owned()
}

fn uncordon(node: &str) {
    nodes().admin.must(["uncordon", node], "").unwrap();
}

fn restart(release: &Release) {
    let deployment = format!("deployment/{}", release.name);
    let admin = &nodes().admin;
    admin.must(["-n", release.name, "rollout", "restart", &deployment], "").unwrap();
    let status = ["-n", release.name, "rollout", "status", &deployment, "--timeout=180s"];
    admin.must(status, "").unwrap_or_else(|error| panic!("{error}\n{}", release.story()));
}

/// The chart and the tag of the image of the earlier commit, from which an upgrade starts.
fn earlier() -> (PathBuf, &'static str) {
    let chart = env::var_os("NODE_EARLIER").expect("NODE_EARLIER names the earlier commit's chart");
    (chart.into(), "earlier")
}

#[test]
fn nobody_notices_what_happens_to_pods() {
    let mut release = Release::new(
        "busy",
        &json!({
            "preStopSeconds": 2, "terminationGracePeriodSeconds": 8,
            "podDisruptionBudget": {"enabled": true, "maxUnavailable": 1},
            "serviceAccount": {"tokenExpirationSeconds": 600},
        }),
    );
    apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "staff", "namespace": release.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": issuer::GROUP}]}));
    let (chart, tag) = earlier();
    release.helm("install", &chart, &json!({"image": {"tag": tag}}));
    worker(&release);
    let (url, ca) = (release.url(), release.secret("tls", "ca.crt"));
    release.lets_in(&url, &ca);
    let kubectl = Release::kubectl(&url, &ca);
    let traffic = Traffic::start(&release, &url, &ca);

    let streams = Streams::open(&release, &kubectl);
    release.upgrade(&json!({}));
    traffic.check("upgrade");
    streams.lasted(STREAMS);
    assert_eq!(release.secret("tls", "ca.crt"), ca, "nobody needs another CA");
    release.settled(2);

    // A kubelet renews a token after 80 % of its life, and when it was started again.
    let (before, watches, since) = (credentials(&release, 0), traffic.watches(), now());
    assert!(before.len() >= 2, "{before:?}");
    for node in nodes().names() {
        nodes().restart_kubelet(&node);
    }
    let mut mark = since;
    wait::within(LIMIT, "every pod to act by a new token", || {
        let used = credentials(&release, mark);
        let old: Vec<_> = used.intersection(&before).collect();
        if old.is_empty() && used.len() == 2 {
            return Ok(());
        }
        let text = format!("{} of {} are old", old.len(), used.len());
        if !old.is_empty() {
            mark = now();
        }
        Err(text)
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", release.story()));
    traffic.check("renewal");
    assert_eq!(traffic.watches(), watches, "no watch ends with a token that the gateway had");

    let streams = Streams::open(&release, &kubectl);
    restart(&release);
    traffic.check("rollout");
    streams.lasted(STREAMS);
    release.settled(2);

    let streams = Streams::open(&release, &kubectl);
    let node = node_of(&release.pods()[0]);
    drain(&release, &node);
    traffic.check("drain");
    streams.lasted(STREAMS);
    for pod in release.ready(2) {
        assert_ne!(node_of(&pod), node);
    }
    uncordon(&node);
    traffic.end();

    // A budget that counts who is missing lets the only pod go.
    release.upgrade(&json!({"replicaCount": 1}));
    let [pod] = &*release.ready(1) else { unreachable!("one pod") };
    let node = node_of(pod);
    drain(&release, &node);
    let [moved] = &*release.ready(1) else { unreachable!("one pod") };
    assert_ne!(node_of(moved), node);
    uncordon(&node);
    release.lets_in(&url, &ca);
}
