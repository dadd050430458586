//! A request's target arrives as the client wrote it, byte for byte: what the API server authorizes is what was asked for.

use crate::{
    harness::{Probe, Rig},
    wire::{Ask, Version},
};

#[test]
fn the_target_arrives_byte_for_byte() {
    let rig = Rig::shared();
    let token = rig.admin_token();
    for target in [
        // Encoded slashes, two slashes in a row and an encoded blank, through a service's proxy.
        "/api/v1/namespaces/x/services/y:z/proxy/a%2Fb//c?x=%20",
        "/api/v1/namespaces/x/services/https:y:z/proxy/%2e%2e/a",
        // Dots are the API server's business.
        "/api/v1/namespaces/x/services/y/proxy/a/../b/./c",
        // Lower and upper case of the same escape.
        "/api/v1/namespaces/x/services/y/proxy/%2f%2F",
        // Nothing is decoded and nothing is encoded anew.
        "/api/v1/namespaces/x/services/y/proxy/%41~!$&'()*+,;=:@",
        "/version?a=b&a=c&&=%00+%2B?",
    ] {
        for version in Version::ALL {
            let probe = Probe::new();
            let separator = if target.contains('?') { '&' } else { '?' };
            let sent = format!("{target}{separator}{}", probe.word());
            Ask::new("GET", &sent).bearer(&token).send(&rig.gateway, version).unwrap();
            assert_eq!(probe.completed().request_uri, sent, "{version:?}");
        }
    }
}
