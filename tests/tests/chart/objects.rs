//! Every object of every rendering is one that the real API server takes, in a namespace that enforces the Pod Security
//! Standard "restricted".

use std::fs;

use sandbox::{
    Cluster,
    assets::{self, Progress},
};
use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    helm::{NAMESPACE, chart, rendered, values},
    rights,
};

#[test]
fn the_api_server_takes_every_object() {
    let cluster = cluster();
    let definitions = assets::crds(&Progress::new()).unwrap();
    let definitions = definitions.to_str().unwrap();
    // Server-side: some definitions are larger than the annotation of a client-side apply may be.
    cluster.admin().must(["apply", "--server-side", "-f", definitions], "").unwrap();
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    cluster.admin().must(established, "").unwrap();

    for (name, values) in values() {
        let manifest = rendered(&values);
        let objects = dry_run(cluster, &manifest).unwrap_or_else(|e| panic!("{name}: {e}"));
        rights::assert_least(&name, &objects);
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        // Admission looks at pods; at what makes them it only warns.
        let pod = pod_of(deployment);
        dry_run(cluster, &pod.to_string()).unwrap_or_else(|e| panic!("{name}: its pod: {e}"));
    }

    let plain = chart().join("../../kubernetes");
    for file in ["issuers.yaml", "gateway.yaml"] {
        let manifest = fs::read_to_string(plain.join(file)).unwrap();
        dry_run(cluster, &manifest).unwrap_or_else(|e| panic!("{file}: {e}"));
    }

    let mut pod = pod_of(&dry_run(cluster, &rendered(&values()[0].1)).unwrap().remove(0));
    pod["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
    let refused = dry_run(cluster, &pod.to_string()).unwrap_err();
    assert!(refused.contains("violates PodSecurity"), "{refused}");
}

/// The objects as the API server would store them.
fn dry_run(cluster: &Cluster, manifest: &str) -> Result<Vec<Value>, String> {
    let arguments = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "-n",
        NAMESPACE,
        "-o",
        "json",
        "-f",
        "-",
    ];
    let output = cluster.admin().run_with_input(arguments, manifest).map_err(|e| e.to_string())?;
    // The annotation is the user's own choice.
    let expected = |line: &str| line.is_empty() || line.contains("kubernetes.io/ingress.class");
    if !output.success() || !output.stderr.lines().all(expected) {
        return Err(output.stderr);
    }
    let list: Value = serde_json::from_str(&output.stdout).map_err(|e| e.to_string())?;
    let mut objects = list["items"].as_array().cloned().unwrap_or_else(|| vec![list]);
    objects.sort_by_key(|object| object["kind"] != "Deployment");
    Ok(objects)
}

fn pod_of(deployment: &Value) -> Value {
    let template = &deployment["spec"]["template"];
    let mut spec = template["spec"].clone();
    // The account of the rendering is not in the cluster.
    spec["serviceAccountName"] = json!("default");
    json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": {"name": "trial", "labels": template["metadata"]["labels"]}})
}
