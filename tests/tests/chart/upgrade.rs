//! What an upgrade does to the certificate that Helm makes: real `helm install` and `helm upgrade`.

use std::{fs, path::Path, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use sandbox::Cluster;
use serde_json::Value;

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
