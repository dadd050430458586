//! The gateway in the sidecar of another workload, such as a kube-apiserver that runs in the mesh's cluster as a pod.
//!
//! Clients are outside of the mesh and speak TLS with the gateway's certificate. So the mesh's own TLS is off for this port, and
//! an `EnvoyFilter` puts the gateway's in its place. All other ports stay as they are.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{Istio, PORT};
use crate::{
    inputs::Inputs,
    paths::ServingCertificate,
    pod::{self, SERVING},
};

/// The inputs with the serving certificate in its place.
pub(super) fn serving(inputs: &Inputs) -> Inputs {
    let file = |name: &str| PathBuf::from(SERVING).join(name);
    let serving = ServingCertificate { chain: file("tls.crt"), key: file("tls.key") };
    Inputs { serving, ..inputs.clone() }
}

impl Istio {
    pub(super) fn beside(&self, workload: &str) -> [Value; 3] {
        // Istio makes an inbound chain for HTTP out of a Service's port that says so. Its clients speak TLS: they must not take
        // that for granted, so that no other proxy sees the Service.
        let mut service = self.service("LoadBalancer");
        service["metadata"]["annotations"] = json!({"networking.istio.io/exportTo": "~"});
        service["spec"]["ports"][0]["appProtocol"] = json!("http");
        let mut off = Map::new();
        off.insert(PORT.to_string(), json!({"mode": "DISABLE"}));
        let spec = json!({"selector": {"matchLabels": self.labels()}, "portLevelMtls": off});
        let mtls = self.object("security.istio.io/v1", "PeerAuthentication", json!({"spec": spec}));
        [service, mtls, self.volumes_for(workload)]
    }

    /// What the workload's pods get beside what they have, as a part of it for server-side apply: Istio's injection reads
    /// volumes from annotations.
    fn volumes_for(&self, workload: &str) -> Value {
        let secret = json!({"secretName": self.certificate});
        let serving = json!({"name": "gateway-serving", "secret": secret});
        let mount = json!({"name": "gateway-serving", "mountPath": SERVING, "readOnly": true});
        let annotations = json!({
            "sidecar.istio.io/userVolume": by_name(&self.volumes(), serving),
            "sidecar.istio.io/userVolumeMount": by_name(&pod::mounts(), mount),
        });
        let metadata = json!({"labels": self.labels(), "annotations": annotations});
        let spec = json!({"template": {"metadata": metadata}});
        self.named(workload, "apps/v1", "Deployment", json!({"spec": spec}))
    }
}

/// As the annotations have it: an object in JSON, of what stands beside the names.
fn by_name(list: &Value, last: Value) -> String {
    let items = list.as_array().cloned().unwrap_or_default().into_iter().chain([last]);
    let named = items.filter_map(|mut item| {
        let name = item.as_object_mut()?.remove("name")?;
        Some((name.as_str()?.to_owned(), item))
    });
    Value::Object(named.collect()).to_string()
}
