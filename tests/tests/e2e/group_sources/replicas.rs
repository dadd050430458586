//! Several workers and several replicas: each group that is taken away is gone within its lifetime, wherever a request lands.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use oidc_provider::User;
use sandbox::{Gateway, realm};
use serde_json::json;

use super::{Rig, extend};
use crate::{
    harness::{gateway, until},
    target,
    wire::{Ask, Version},
};

const LIFETIME: Duration = Duration::from_secs(6);

/// The status of a user's request, on a connection of its own: any worker may get it.
fn status(gateway: &Gateway, token: &str) -> u16 {
    let ask = Ask::new("GET", "/api/v1/namespaces/default/pods").bearer(token);
    ask.send(gateway, Version::H1).unwrap().status
}

#[test]
fn workers_and_replicas_differ_for_no_longer_than_a_lifetime() {
    let more = json!({"when": "ClaimAbsent"});
    let configuration = json!({"groupCache": {"lifetimeSeconds": LIFETIME.as_secs()}});
    let rig = Rig::start("entra", &more, &configuration);
    // The other replica has the same configuration.
    let mut whole = realm::configuration();
    whole["groupSources"] = json!([rig.source]);
    extend(&mut whole, &configuration);
    let second = gateway(realm::authentication_of(&rig.provider))
        .workers(target::workers())
        .configuration(whole)
        .start()
        .unwrap();
    let replicas = [&rig.gateway, &second];
    let user = |groups: &[&str]| {
        let mut user = User::new("leaver", "x");
        user.groups = groups.iter().map(ToString::to_string).collect();
        user.claims.insert("oid".to_owned(), json!("leaver"));
        rig.issuer().put_user(user);
    };
    user(&["system:viewers"]);
    let token = rig.token("leaver");
    for replica in replicas {
        until("the user is known", || (status(replica, &token) == 200).then_some(()));
    }
    // In the middle of a lifetime.
    thread::sleep(LIFETIME / 3);
    user(&["others"]);
    let gone = Instant::now();
    let mut last = gone;
    // As many new connections as find each worker of each replica many times.
    while gone.elapsed() < LIFETIME + Duration::from_secs(3) {
        for replica in replicas {
            let begun = Instant::now();
            match status(replica, &token) {
                200 => last = last.max(begun),
                403 => {}
                other => panic!("{other}"),
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    let differed = last - gone;
    assert!(differed < LIFETIME, "{differed:?}");
    // A group that is new is there within the same time.
    user(&["system:viewers"]);
    let come = Instant::now();
    while come.elapsed() < LIFETIME {
        for replica in replicas {
            assert!([200, 403].contains(&status(replica, &token)));
        }
        thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..20 {
        assert_eq!(replicas.map(|replica| status(replica, &token)), [200, 200]);
    }
    let log = fs::read_to_string(rig.gateway.log()).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}
