//! Real `helm install` and `helm upgrade`: what becomes of the certificate that Helm makes, and of documents that are refused.

use std::{fs, path::Path, process::Command, thread};

use base64::{Engine, engine::general_purpose::STANDARD};
use sandbox::Cluster;
use serde_json::{Value, json};

use crate::helm::{self, chart};

fn helm(cluster: &Cluster, verb: &str, names: &str) {
    let set = format!("oidc.clientId=c,oidc.issuerUrl=https://i.example,{names}");
    let output = Command::new(helm::program())
        .args([verb, "gateway", chart().to_str().unwrap(), "-n", "default", "--set", &set])
        .env("KUBECONFIG", cluster.admin().kubeconfig())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The files of a Secret.
fn secret(cluster: &Cluster, name: &str) -> Value {
    let path = format!("/api/v1/namespaces/default/secrets/gateway-kube-oidc-gateway-{name}");
    cluster.admin_client().get_json(&path).unwrap()["data"].clone()
}

fn openssl(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// `helm upgrade --set tls.dnsNames=…` succeeded and the certificate kept its old names.
#[test]
fn a_changed_name_gives_another_certificate_of_the_same_ca() {
    let cluster = Cluster::builder().start().unwrap();
    helm(&cluster, "install", "tls.dnsNames={one.example}");
    let (first, authority) = (secret(&cluster, "tls"), secret(&cluster, "ca"));
    assert_eq!(first["ca.crt"], authority["tls.crt"]);

    helm(&cluster, "upgrade", "tls.dnsNames={one.example},replicaCount=3");
    assert_eq!(secret(&cluster, "tls"), first, "the names are the same");

    helm(&cluster, "upgrade", "tls.dnsNames={two.example},tls.ipAddresses={192.0.2.7}");
    let second = secret(&cluster, "tls");
    assert_eq!(second["ca.crt"], first["ca.crt"]);
    assert_eq!(secret(&cluster, "ca"), authority);
    assert_ne!(second["tls.crt"], first["tls.crt"]);

    let folder = tempfile::tempdir().unwrap();
    for name in ["ca.crt", "tls.crt"] {
        let content = STANDARD.decode(second[name].as_str().unwrap()).unwrap();
        fs::write(folder.path().join(name), content).unwrap();
    }
    let verified = openssl(&["verify", "-CAfile", "ca.crt", "tls.crt"], folder.path());
    assert!(verified.contains("tls.crt: OK"), "{verified}");
    for (check, name, want) in [
        ("-checkhost", "two.example", "does match"),
        ("-checkhost", "one.example", "does NOT match"),
        ("-checkhost", "gateway-kube-oidc-gateway.default.svc", "does match"),
        ("-checkip", "192.0.2.7", "does match"),
    ] {
        let said = openssl(&["x509", "-in", "tls.crt", "-noout", check, name], folder.path());
        assert!(said.contains(want), "{name}: {said}");
    }
}

/// Ends the hook's Job as the Job controller does when its pod has failed, once it is there.
fn fail_the_check(cluster: &Cluster) {
    let job = ["-n", "default", "job/gateway-kube-oidc-gateway-check"];
    let wait = ["wait", "--for=create", "--timeout=60s"];
    cluster.admin().must(wait.into_iter().chain(job), "").unwrap();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": ""});
    let status = json!({"status": {
        "startTime": "2026-01-01T00:00:00Z", "failed": 1,
        "conditions": [condition("FailureTarget"), condition("Failed")],
    }});
    let status = status.to_string();
    let patch = ["patch", "--subresource=status", "--type=merge", "-p", &status];
    cluster.admin().must(patch.into_iter().chain(job), "").unwrap();
}

#[test]
fn nothing_is_installed_with_documents_that_are_refused() {
    let cluster = Cluster::builder().start().unwrap();
    let content = "authenticationConfig.content=kind: AuthenticationConfiguration";
    let output = thread::scope(|scope| {
        scope.spawn(|| fail_the_check(&cluster));
        Command::new(helm::program())
            .args(["install", "gateway", chart().to_str().unwrap(), "-n", "default"])
            .args(["--set", content])
            .env("KUBECONFIG", cluster.admin().kubeconfig())
            .output()
            .unwrap()
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("gateway-kube-oidc-gateway-check"), "{said}");
    for path in
        ["/apis/apps/v1/namespaces/default/deployments", "/api/v1/namespaces/default/secrets"]
    {
        let list = cluster.admin_client().get_json(path).unwrap();
        let names =
            list["items"].as_array().unwrap().iter().map(|it| it["metadata"]["name"].clone());
        let ours: Vec<_> = names.filter(|it| it.as_str().unwrap().starts_with("gateway")).collect();
        assert!(ours.is_empty(), "{path}: {ours:?}");
    }
}
