//! The commands in the READMEs of deploy/ do what they say, at the real API server.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use gateway_tests::{built, readme::shell_blocks};
use sandbox::{
    Authority, Cluster, Kubectl,
    assets::{self, Progress},
};
use serde_json::{Value, json};

use crate::{cluster::cluster, helm};

/// Runs the commands of a README in a folder, as an administrator of a cluster: what each block printed.
fn run(cluster: &Cluster, readme: &str, folder: &Path) -> Vec<String> {
    let page = fs::read_to_string(root().join("deploy").join(readme)).unwrap();
    let kubectl = &cluster.assets().kubectl;
    let programs =
        [helm::program(), kubectl, &built::program()].map(|file| file.parent().unwrap().to_owned());
    let old = env::var_os("PATH").unwrap();
    let path = env::join_paths(programs.into_iter().chain(env::split_paths(&old))).unwrap();
    let blocks = shell_blocks(&page);
    assert!(!blocks.is_empty(), "{readme} has no commands");
    let said = blocks.iter().map(|block| {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &block.text])
            .current_dir(folder)
            .env("PATH", &path)
            .env("KUBECONFIG", cluster.admin().kubeconfig())
            .env("KUBERC", "off")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{readme}, line {}: {error}", block.line);
        String::from_utf8(output.stdout).unwrap()
    });
    said.collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A copy of a folder of deploy/: commands write beside the manifests.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(root().join("deploy").join(name)).unwrap() {
        let file = file.unwrap();
        let (from, to) = (file.path(), folder.path().join(file.file_name()));
        if !from.is_dir() {
            fs::copy(from, to).unwrap();
            continue;
        }
        fs::create_dir(&to).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    folder
}

/// Everything that the pods of a Deployment mount is there.
fn assert_complete(cluster: &Cluster, deployment: &str) {
    let object = |path: String| cluster.admin_client().get_json(&path).unwrap();
    let deployment = object(format!("/apis/apps/v1/namespaces/login/deployments/{deployment}"));
    let spec = &deployment["spec"]["template"]["spec"];
    let account = spec["serviceAccountName"].as_str().unwrap();
    object(format!("/api/v1/namespaces/login/serviceaccounts/{account}"));
    for volume in spec["volumes"].as_array().unwrap() {
        for (resource, name) in [
            ("configmaps", &volume["configMap"]["name"]),
            ("secrets", &volume["secret"]["secretName"]),
        ] {
            if let Value::String(name) = name {
                object(format!("/api/v1/namespaces/login/{resource}/{name}"));
            }
        }
    }
}

/// Coming from kube-oidc-proxy: the line of the migration page, with each file of values that its charts document.
#[test]
fn the_one_line_that_changes_takes_kube_oidc_proxys_values() {
    let page = fs::read_to_string(root().join("docs/migrating-from-kube-oidc-proxy.md")).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("+helm install ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    symlink(root().canonicalize().unwrap().join("deploy"), folder.path().join("deploy")).unwrap();
    let mut tried = 0;
    for (name, values) in helm::values() {
        if !name.starts_with("proxy-") {
            continue;
        }
        fs::copy(values, folder.path().join("values.yaml")).unwrap();
        let output = Command::new(helm::program())
            .args(["install", "--dry-run=server"])
            .args(line.split_whitespace())
            .current_dir(folder.path())
            .env("KUBECONFIG", cluster().admin().kubeconfig())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {error}");
        let notes = String::from_utf8_lossy(&output.stdout);
        let ingress = name == "proxy-ingress";
        assert_eq!(notes.contains("The Ingress must pass TLS through"), ingress, "{name}: {notes}");
        tried += 1;
    }
    assert!(tried >= 7, "{tried}");
}

/// In clusters of their own: what they leave there is in the way of what others try.
#[test]
fn the_commands_of_kubernetes_and_of_helm() {
    let cluster = Cluster::builder().start().unwrap();
    let folder = copy("kubernetes");
    run(&cluster, "kubernetes/README.md", folder.path());
    assert_complete(&cluster, "kube-oidc-gateway");

    let cluster = Cluster::builder().start().unwrap();
    // The sandbox's own gateway has rights of the same name.
    let own = ["delete", "clusterrole,clusterrolebinding", "kube-oidc-gateway"];
    cluster.admin().must(own, "").unwrap();
    let said = run(&cluster, "helm/kube-oidc-gateway/README.md", &root());
    assert!(said[0].contains("kubectl oidc setup"), "{}", said[0]);
    assert_complete(&cluster, "kube-oidc-gateway");
}

#[test]
fn the_commands_of_istio() {
    let cluster = Cluster::builder().start().unwrap();
    let definitions = assets::crds(&Progress::new()).unwrap().join("istio.yaml");
    let admin = cluster.admin();
    admin.must(["apply", "--server-side", "-f", definitions.to_str().unwrap()], "").unwrap();
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    admin.must(established, "").unwrap();
    let folder = copy("istio");
    let pair = Authority::new("serving").unwrap().server(&[]).unwrap();
    fs::write(folder.path().join("tls.crt"), pair.certificate).unwrap();
    fs::write(folder.path().join("tls.key"), pair.key).unwrap();
    // The workload in the mesh, and the way to what it serves: here it is this cluster.
    admin.must(["create", "namespace", "tenant"], "").unwrap();
    let workload = ["create", "deployment", "kube-apiserver", "--image=registry.example/a"];
    admin.must(["-n", "tenant"].into_iter().chain(workload), "").unwrap();
    fs::copy(admin.kubeconfig(), folder.path().join("tenant.kubeconfig")).unwrap();
    let said = run(&cluster, "istio/README.md", folder.path());
    let printed = ["gateway.yaml", "registry.yaml", "sidecar.yaml"];
    let printed = printed.map(|name| fs::read_to_string(folder.path().join(name)).unwrap());
    assert_eq!([&said[0], &said[2], &said[4]], printed.each_ref());
    assert_complete(&cluster, "kube-oidc-gateway");

    let object = |path: &str| cluster.admin_client().get_json(path).unwrap();
    let deployment = object("/apis/apps/v1/namespaces/tenant/deployments/kube-apiserver");
    let template = &deployment["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["app"], "kube-apiserver");
    assert_eq!(template["metadata"]["labels"]["kube-oidc-gateway"], "kube-oidc-gateway");
    assert_eq!(template["spec"]["containers"][0]["image"], "registry.example/a");
    let volumes = &template["metadata"]["annotations"]["sidecar.istio.io/userVolume"];
    let volumes: Value = serde_json::from_str(volumes.as_str().unwrap()).unwrap();
    for (resource, name) in [
        ("configmaps", &volumes["gateway-secrets"]["configMap"]["name"]),
        ("secrets", &volumes["gateway-account"]["secret"]["secretName"]),
        ("secrets", &volumes["gateway-serving"]["secret"]["secretName"]),
    ] {
        object(&format!("/api/v1/namespaces/tenant/{resource}/{}", name.as_str().unwrap()));
    }
}

/// Envoy Gateway is not there to say that the patches are in force: the test says it.
#[test]
fn the_commands_of_envoy_gateway() {
    let cluster = Cluster::builder().start().unwrap();
    let definitions = assets::crds(&Progress::new()).unwrap();
    let admin = cluster.admin();
    for name in [
        "gateway-api",
        "backends",
        "envoyextensionpolicies",
        "envoypatchpolicies",
        "envoyproxies",
        "httproutefilters",
    ] {
        let file = definitions.join(name).with_extension("yaml");
        admin.must(["apply", "--server-side", "-f", file.to_str().unwrap()], "").unwrap();
    }
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    admin.must(established, "").unwrap();
    admin.must(["create", "namespace", "envoy-gateway-system"], "").unwrap();
    let folder = copy("envoy-gateway");
    let pair = Authority::new("serving").unwrap().server(&[]).unwrap();
    fs::write(folder.path().join("tls.crt"), pair.certificate).unwrap();
    fs::write(folder.path().join("tls.key"), pair.key).unwrap();
    let said = thread::scope(|scope| {
        scope.spawn(|| program_patches(admin));
        run(&cluster, "envoy-gateway/README.md", folder.path())
    });
    assert_eq!(said[0], fs::read_to_string(folder.path().join("gateway.yaml")).unwrap());
}

/// Writes, as soon as the policy is there, into its status what Envoy Gateway does.
fn program_patches(admin: &Kubectl) {
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let ancestor = json!({
        "ancestorRef": {"name": "kube-oidc-gateway"},
        "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
        "conditions": [condition("Accepted"), condition("Programmed")],
    });
    let status = json!({"status": {"ancestors": [ancestor]}}).to_string();
    let policy = ["-n", "login", "envoypatchpolicy", "kube-oidc-gateway"];
    admin.must(["wait", "--for=create", "--timeout=60s"].into_iter().chain(policy), "").unwrap();
    let patch = ["patch", "--subresource=status", "--type=merge", "-p", &status];
    admin.must(patch.into_iter().chain(policy), "").unwrap();
}

#[test]
fn the_commands_of_monitoring() {
    let folder = copy("monitoring");
    run(cluster(), "monitoring/README.md", folder.path());
    let path = "/api/v1/namespaces/monitoring/configmaps/kube-oidc-gateway-dashboards";
    let map = cluster().admin_client().get_json(path).unwrap();
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let dashboard: Value =
        serde_json::from_str(map["data"]["overview.json"].as_str().unwrap()).unwrap();
    assert_eq!(dashboard["uid"], "kube-oidc-gateway");
}
