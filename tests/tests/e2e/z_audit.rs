//! The last test by its name, and so the last to start: what the API server's audit log says about all of them together.

use sandbox::{
    Cluster,
    audit::{Event, Stage},
};

use crate::harness::{cluster, log_start, rigs_in_use, until};

/// What the gateway may do as itself: ask whether a client may impersonate, and whether a token that is not the issuer's
/// is good.
const ITS_OWN: [&str; 2] = [
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "/apis/authentication.k8s.io/v1/tokenreviews",
];

#[test]
fn nothing_was_ever_done_as_the_gateway_itself() {
    until("the other tests end", || (rigs_in_use() == 0).then_some(()));
    let events = cluster().audit().since(log_start()).unwrap();
    let by_gateway: Vec<&Event> = events
        .iter()
        .filter(|event| event.user.username == Cluster::GATEWAY_USER)
        // The first stage is written before the API server has looked at the impersonation headers.
        .filter(|event| event.stage != Stage::RequestReceived)
        .collect();
    let as_nobody = |event: &&&Event| {
        event.impersonated_user.as_ref().is_none_or(|user| user.username.is_empty())
    };
    let alone: Vec<_> = by_gateway
        .iter()
        .filter(as_nobody)
        .filter(|event| !ITS_OWN.contains(&event.request_uri.as_str()))
        .collect();
    println!("{} events of the gateway, {} of itself alone", by_gateway.len(), alone.len());
    assert!(alone.is_empty(), "{alone:#?}");
}
