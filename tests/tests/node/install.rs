//! From nothing to a gateway that lets users in, and back to nothing.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    nodes::nodes,
    release::{Release, chart},
};

/// What is in a namespace, but for what every namespace has and Helm's own notes; and what is labelled as the release's elsewhere.
fn objects(release: &Release) -> Vec<String> {
    let admin = &nodes().admin;
    let kinds = |namespaced: &str| {
        let list = ["api-resources", "--verbs=list", "-o", "name", namespaced];
        let text = admin.must(list, "").unwrap();
        let kinds = text.lines().filter(|kind| !kind.starts_with("events"));
        kinds.collect::<Vec<_>>().join(",")
    };
    let own = admin
        .must(["-n", release.name, "get", &kinds("--namespaced=true"), "-o", "name"], "")
        .unwrap();
    let label = format!("app.kubernetes.io/instance={}", release.name);
    let others =
        admin.must(["get", &kinds("--namespaced=false"), "-o", "name", "-l", &label], "").unwrap();
    let always = ["serviceaccount/default", "configmap/kube-root-ca.crt"];
    let lines = own.lines().chain(others.lines());
    let mut names: Vec<String> = lines
        .filter(|name| !always.contains(name) && !name.starts_with("secret/sh.helm.release."))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// The file of a container's cgroup in which the kernel has the limit of its memory, in either version.
fn memory_limit(pod: &Value) -> String {
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let container = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap();
    let container = container.strip_prefix("containerd://").unwrap();
    let find = Command::new("find")
        .args(["/sys/fs/cgroup", "-path", &format!("*{uid}*/{container}/*")])
        .args(["(", "-name", "memory.limit_in_bytes", "-o", "-name", "memory.max", ")"])
        .output()
        .unwrap();
    let file = String::from_utf8(find.stdout).unwrap();
    let file = file.lines().next().unwrap_or_else(|| panic!("no cgroup of {container}"));
    fs::read_to_string(Path::new(file)).unwrap().trim().to_owned()
}

/// The chart's image where "restricted" is enforced: install, `helm test`, a name that is changed, and what is left in the end.
#[test]
fn the_chart_comes_and_goes_where_restricted_is_enforced() {
    let mut release = Release::new("plain", &json!({}));
    let before = objects(&release);
    assert!(before.is_empty(), "{before:?}");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let refused = nodes()
        .admin
        .run_with_input(["-n", release.name, "apply", "-f", "-"], &pod.to_string())
        .unwrap();
    assert!(refused.stderr.contains("violates PodSecurity \"restricted:"), "{refused:?}");

    release.install();
    let pods = release.ready(2);
    let mut places: Vec<_> = pods.iter().map(|pod| pod["spec"]["nodeName"].clone()).collect();
    places.sort_by_key(ToString::to_string);
    assert_eq!(places, ["node1", "node2"], "they outlive a node");
    assert_eq!(memory_limit(&pods[0]), (1_u64 << 30).to_string());
    let (url, ca) = (release.url(), release.secret("tls", "ca.crt"));
    release.lets_in(&url, &ca);
    let said = release.test();
    assert!(said.contains("Phase:          Succeeded"), "{said}");

    // `helm upgrade --set tls.dnsNames=…` succeeded and the certificate kept its old names.
    let other = "https://kubernetes.example.com";
    crate::names::add(
        "kubernetes.example.com",
        release.service()["spec"]["clusterIP"].as_str().unwrap(),
    );
    release.upgrade(&json!({"tls": {"dnsNames": ["kubernetes.example.com"]}}));
    assert_eq!(release.secret("tls", "ca.crt"), ca);
    release.lets_in(other, &ca);
    unchanged(&release, &pods);

    release.uninstall();
    let left = objects(&release);
    assert!(left.is_empty(), "{left:?}");
}

/// The pods are the same, and no container was started again.
pub fn unchanged(release: &Release, pods: &[Value]) {
    let of = |pods: &[Value]| {
        let mut ids: Vec<String> = pods
            .iter()
            .map(|pod| {
                let status = &pod["status"]["containerStatuses"][0];
                format!("{} {}", pod["metadata"]["uid"], status["restartCount"])
            })
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(of(&release.pods()), of(pods));
}

/// What `helm uninstall` leaves.
pub fn left(release: &Release) -> Vec<String> {
    release.uninstall();
    objects(release)
}

/// A typo in a document installed happily.
#[test]
fn a_document_that_is_refused_is_not_installed() {
    let release = Release::new("refused", &json!({}));
    let document = json!({"authenticationConfiguration": {
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": "https://i.example", "audiences": ["a"]},
            "claimMappings": {"username": {"expression": "claims.sub +"}},
        }],
    }});
    let output = release.try_helm("install", &chart(), &document);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("refused-check"), "{said}");
    let log = nodes().admin.must(["-n", release.name, "logs", "job/refused-check"], "").unwrap();
    assert!(log.contains("jwt[0].claimMappings.username.expression"), "{log}");
    let list = nodes().get("/apis/apps/v1/namespaces/refused/deployments");
    assert_eq!(list["items"], json!([]));
}
