//! The cluster that the tests of the chart share, with the namespace that everything is rendered for.

use std::sync::LazyLock;

use sandbox::Cluster;
use serde_json::json;

use crate::helm::NAMESPACE;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::builder().start().expect("the cluster starts");
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels}});
    // What kube-controller-manager puts into each namespace.
    let root = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kube-root-ca.crt", "namespace": NAMESPACE},
        "data": {"ca.crt": cluster.ca()}});
    for object in [namespace, root] {
        cluster.apply(&object.to_string()).expect("an object");
    }
    cluster
});

/// The cluster.
pub fn cluster() -> &'static Cluster {
    &CLUSTER
}
