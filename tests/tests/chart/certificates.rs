//! The Jobs that make the gateway's CA and certificate in the cluster: their commands, as their ServiceAccount, at the real API
//! server.

use std::{fs, path::Path, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_tests::built;
use sandbox::Cluster;
use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    helm::{NAMESPACE, rendered, values},
};

const SECRETS: [&str; 2] = ["by-job-authority", "by-job-serving"];

struct Jobs {
    objects: Vec<Value>,
    folder: tempfile::TempDir,
}

impl Jobs {
    /// What the chart renders, with all in the cluster that the Jobs need.
    fn new(cluster: &Cluster) -> Self {
        let values = values().into_iter().find(|(name, _)| name == "job").unwrap().1;
        let folder = tempfile::tempdir().unwrap();
        // What other tests try has other names.
        let named = folder.path().join("values.yaml");
        let text = fs::read_to_string(values).unwrap() + "fullnameOverride: by-job\n";
        fs::write(&named, text).unwrap();
        let manifest = rendered(&named);
        let objects = manifest.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap());
        let objects: Vec<Value> = objects.collect();
        let jobs = Self { objects, folder };
        for kind in ["ServiceAccount", "Role", "RoleBinding"] {
            let hook = jobs.objects.iter().find(|object| {
                object["kind"] == kind
                    && object["metadata"]["annotations"]["helm.sh/hook"].is_string()
            });
            cluster.apply(&hook.unwrap().to_string()).unwrap();
        }
        let service = jobs.objects.iter().find(|object| object["kind"] == "Service").unwrap();
        cluster.apply(&service.to_string()).unwrap();
        let account = jobs.account();
        let token = cluster.service_account_token(NAMESPACE, &account, 600).unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {
                "server": cluster.url(), "certificate-authority-data": STANDARD.encode(cluster.ca())}}],
            "users": [{"name": "a", "user": {"token": token}}],
        });
        fs::write(jobs.folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        jobs
    }

    fn account(&self) -> String {
        let role = self.objects.iter().find(|object| object["kind"] == "Role").unwrap();
        role["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// The Job of a hook, with more words for its command: what it said, and whether all is well.
    fn run(&self, hook: &str, more: &[&str]) -> (bool, String) {
        let job = self.objects.iter().find(|object| {
            let hooks =
                object["metadata"]["annotations"]["helm.sh/hook"].as_str().unwrap_or_default();
            object["kind"] == "Job" && hooks.starts_with(hook)
        });
        let spec = &job.unwrap()["spec"]["template"]["spec"];
        assert_eq!(spec["serviceAccountName"], self.account());
        let words: Vec<String> =
            serde_json::from_value(spec["containers"][0]["args"].clone()).unwrap();
        let words = words.iter().filter(|word| {
            let flag = word.split('=').next().unwrap();
            !more.iter().any(|it| it.split('=').next() == Some(flag) && flag.ends_with("wait"))
        });
        let output = Command::new(built::program())
            .args(words)
            .args(more)
            .args(["--namespace", NAMESPACE])
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    fn grant(&self, cluster: &Cluster, rules: &[Value]) {
        let path = format!(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles/{}",
            self.account()
        );
        cluster.admin_client().merge_patch(&path, &json!({"rules": rules})).unwrap();
    }
}

fn secret(cluster: &Cluster, name: &str) -> Value {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}");
    cluster.admin_client().get_json(&path).unwrap()["data"].clone()
}

/// Whether the certificate is one of the CA's and for this name or address.
fn is_for(data: &Value, check: &str, name: &str, folder: &Path) -> bool {
    for file in ["ca.crt", "tls.crt"] {
        let content = STANDARD.decode(data[file].as_str().unwrap()).unwrap();
        fs::write(folder.join(file), content).unwrap();
    }
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let verified = openssl(&["verify", "-x509_strict", "-CAfile", "ca.crt", "tls.crt"]);
    assert!(verified.contains("tls.crt: OK"), "{verified}");
    openssl(&["x509", "-in", "tls.crt", "-noout", check, name]).contains("does match")
}

/// Two `helm template` made two CAs, and a load balancer's name is known only after the install.
#[test]
fn a_ca_stays_and_its_certificate_follows_the_names() {
    let cluster = cluster();
    let jobs = Jobs::new(cluster);
    let folder = jobs.folder.path();
    let (good, said) = jobs.run("pre-install", &[]);
    assert!(good && said.contains("the CA was made"), "{said}");
    let [authority, first] = SECRETS.map(|name| secret(cluster, name));
    assert_eq!(first["ca.crt"], authority["tls.crt"]);
    assert!(first.get("ca.key").is_none() && first["tls.key"] != authority["tls.key"]);
    for (check, name) in [
        ("-checkhost", "by-job.login.svc"),
        ("-checkhost", "kubernetes.example.com"),
        ("-checkip", "192.0.2.1"),
    ] {
        assert!(is_for(&first, check, name, folder), "{name}");
    }
    let (good, said) = jobs.run("pre-install", &[]);
    assert!(
        good && said.contains("the CA was kept") && said.contains("certificate was kept"),
        "{said}"
    );
    assert_eq!(SECRETS.map(|name| secret(cluster, name)), [authority.clone(), first.clone()]);

    let (good, said) = jobs.run("post-install", &["--load-balancer-wait=0s"]);
    assert!(!good && said.contains("has no load balancer's name or address yet"), "{said}");
    let status = json!({"status": {"loadBalancer": {"ingress": [{"hostname": "a.elb.example"}, {"ip": "192.0.2.2"}]}}});
    let service = format!("/api/v1/namespaces/{NAMESPACE}/services/by-job/status");
    cluster.admin_client().merge_patch(&service, &status).unwrap();
    let (good, said) = jobs.run("post-install", &[]);
    assert!(
        good && said.contains("the CA was kept") && said.contains("certificate was made"),
        "{said}"
    );
    let second = secret(cluster, SECRETS[1]);
    assert_eq!(second["ca.crt"], first["ca.crt"]);
    for (check, name) in [
        ("-checkhost", "a.elb.example"),
        ("-checkip", "192.0.2.2"),
        ("-checkhost", "kubernetes.example.com"),
    ] {
        assert!(is_for(&second, check, name, folder), "{name}");
    }
    let (good, said) = jobs.run("pre-install", &[]);
    assert!(good && said.contains("certificate was kept"), "an upgrade keeps them: {said}");

    // Each right is needed, and no other.
    let role = jobs.objects.iter().find(|object| object["kind"] == "Role").unwrap();
    let rules = role["rules"].as_array().unwrap().clone();
    for (index, want) in [
        "create secret by-job-authority: 403",
        "read secrets by-job-authority: 403",
        "read secrets by-job-serving: 403",
        "read services by-job: 403",
    ]
    .iter()
    .enumerate()
    {
        if index == 0 {
            cluster.admin().must(["-n", NAMESPACE, "delete", "secret", SECRETS[0]], "").unwrap();
        }
        let mut fewer = rules.clone();
        fewer.remove(index);
        jobs.grant(cluster, &fewer);
        sandbox::wait::until(&format!("{want} is said"), || {
            let (good, said) = jobs.run("pre-install", &["--dns-name=other.example"]);
            if !good && said.contains(want) { Ok(()) } else { Err(said) }
        });
        jobs.grant(cluster, &rules);
        sandbox::wait::until("the rights are back", || {
            let (good, said) = jobs.run("pre-install", &[]);
            if good { Ok(()) } else { Err(said) }
        });
    }
}
