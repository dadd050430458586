//! The certificate that a Job makes: for the name of a load balancer that nobody knew at the install, and for names that change later.

use std::thread;

use sandbox::wait;
use serde_json::json;

use crate::{
    install::{left, unchanged},
    names,
    nodes::{LIMIT, nodes},
    release::Release,
};

/// Gives the Service of a release an address and a name, as a cloud does when it has made a load balancer; kube-proxy brings what comes
/// for the address to the pods.
pub fn balance(namespace: &str, service: &str, address: &str, name: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/services/{service}");
    wait::within(LIMIT, "the Service", || {
        nodes().client.get_json(&path).map(drop).map_err(|error| error.to_string())
    })
    .unwrap();
    names::add(name, address);
    let status =
        json!({"status": {"loadBalancer": {"ingress": [{"hostname": name}, {"ip": address}]}}});
    nodes().client.merge_patch(&format!("{path}/status"), &status).unwrap();
}

/// The name of an EKS load balancer is known only after the install.
#[test]
fn the_certificate_follows_the_load_balancer_and_the_values() {
    let mut release = Release::new(
        "balanced",
        &json!({
            "service": {"type": "LoadBalancer"},
            "tls": {"madeBy": "job", "loadBalancerNames": true},
        }),
    );
    thread::scope(|scope| {
        scope.spawn(|| balance(release.name, release.name, "192.0.2.10", "a1.elb.example"));
        release.install();
    });
    let (pods, ca) = (release.ready(2), release.secret("serving", "ca.crt"));
    release.lets_in("https://a1.elb.example", &ca);
    release.lets_in("https://192.0.2.10", &ca);

    names::add("two.example", "192.0.2.10");
    release.upgrade(&json!({"tls": {"dnsNames": ["two.example"]}}));
    assert_eq!(release.secret("serving", "ca.crt"), ca);
    release.lets_in("https://two.example", &ca);
    release.lets_in("https://a1.elb.example", &ca);
    unchanged(&release, &pods);

    // As the chart's README says, so that a gateway which is installed again is believed again.
    assert_eq!(left(&release), ["secret/balanced-authority", "secret/balanced-serving"]);
}
