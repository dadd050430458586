//! The limit on connections without a user, when a VM of the gateway's filter dies: no connection ends by that, and it is still
//! known on which of them somebody has signed in.

use std::{
    thread,
    time::{Duration, Instant},
};

use gateway_tests::{built, crashing};
use sandbox::{Credential, audit::Stage};
use serde_json::json;

use crate::{
    harness::{LIMIT, cluster, until},
    target::Target,
    wire::{Ask, Connection, Session, Version},
};

/// How many connections without a user an address may hold, in the one worker.
const MOST: u32 = 4;
/// How long each may last.
const PATIENCE: Duration = Duration::from_secs(2);

/// The network filter shared the VM of the gateway's filter: when it died, Envoy ended the worker's connections without an
/// answer where a 503 is due.
#[test]
fn break_in_5_a_crash_ends_no_connection() {
    let filter = built::rogue_wasm();
    let strip = json!({"clientImpersonation": "strip"});
    let target = Target::start_with(&strip, |gateway| gateway.filter(filter).workers(1));
    let behave = |behaviour| Ask::version().header("X-Rogue", behaviour);
    let mut held: Vec<_> = (0..8).map(|_| Connection::open(&target.gateway).unwrap()).collect();
    // Some have had an answer, one waits for it, the others have asked nothing.
    for connection in &mut held[..3] {
        assert_eq!(connection.ask(&behave("serve")).unwrap().status, 200);
    }
    held[3].send(&behave("pause").bytes()).unwrap();
    for version in Version::ALL {
        let answer = behave("panic").send(&target.gateway, version).unwrap();
        assert_eq!(answer.status, 503, "{version:?}: {answer:?}");
        for (number, connection) in held.iter_mut().enumerate().filter(|(number, _)| *number != 3) {
            until("it is served on the same connection", || {
                let answer = connection.ask(&behave("serve"));
                let status = answer.map(|answer| answer.status);
                assert!(matches!(status, Ok(200 | 503)), "{version:?}, {number}: {status:?}");
                (status == Ok(200)).then_some(())
            });
        }
    }
    let answer = held[3].answer().unwrap();
    assert!([503, 504].contains(&answer.status), "{answer:?}");
}

#[test]
fn signed_in_connections_count_no_longer_whatever_vm_dies() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("crashing.wasm");
    crashing::write(&built::filter(), &module);
    let target = Target::start_with(&json!({}), |gateway| {
        gateway.filter(&module).workers(1).inputs(|inputs| {
            inputs.options.limits.undecided_connections_per_address = MOST;
            inputs.options.limits.undecided_connection_timeout = PATIENCE;
        })
    });
    let ask = Ask::version().bearer(&target.token().mint());
    let gateway = &target.gateway;
    let mut first = Vec::new();
    let mut second = Vec::new();
    let start = Instant::now();
    // More than there are places, over both versions: whoever has signed in takes none.
    for _ in 0..3 * MOST {
        let mut connection = Connection::open(gateway).unwrap();
        assert_eq!(connection.ask(&ask).unwrap().status, 200);
        first.push(connection);
        let mut connection = Session::open(gateway).unwrap();
        assert_eq!(connection.ask(&ask).unwrap().status, 200);
        second.push(connection);
    }
    let crash =
        crashing::headers().fold(ask.clone(), |ask, (name, value)| ask.header(&name, value));
    let answer = crash.send(gateway, Version::H2).unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    until("the filter is back", || {
        let answer = ask.send(gateway, Version::H2).unwrap();
        (answer.status == 200).then_some(())
    });
    thread::sleep((PATIENCE * 2).saturating_sub(start.elapsed())); // as long as nobody may stay without a user, and a tick
    for connection in &mut first {
        assert_eq!(connection.ask(&ask).unwrap().status, 200);
    }
    for connection in &mut second {
        assert_eq!(connection.ask(&ask).unwrap().status, 200);
    }
    // The limit is there all the same.
    let idle = (0..3 * MOST).filter_map(|_| Connection::open(gateway).ok());
    let mut idle: Vec<_> = idle.collect();
    assert!(idle.iter_mut().filter_map(|it| it.ask(&Ask::version()).ok()).count() <= MOST as usize);
}

/// A client that keeps its connection would stay with the replica that it found first.
#[test]
fn a_connection_that_lasted_long_takes_no_new_request_and_ends_none() {
    let role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: durations},
      roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view},
      subjects: [{kind: Group, name: durations}]}";
    cluster().apply(role).unwrap();
    let target = Target::start_with(&json!({}), |gateway| {
        gateway.inputs(|inputs| {
            inputs.options.limits.connection_duration = Duration::from_secs(2);
            inputs.options.limits.drain_timeout = Duration::from_secs(1);
        })
    });
    let token = target.token().claim("groups", ["durations"].as_slice()).mint();
    let ask = Ask::version().bearer(&token);
    let mark = cluster().audit().mark().unwrap();
    let kubectl = target.gateway.kubectl(Credential::Token(token)).unwrap();
    let mut watch = kubectl.start(["get", "namespaces", "--watch", "-o", "name"]).unwrap();
    watch.line(LIMIT, |line| line == "namespace/default").unwrap();

    let mut second = Session::open(&target.gateway).unwrap();
    let mut first = Connection::open(&target.gateway).unwrap();
    assert_eq!(second.ask(&ask).unwrap().status, 200);
    assert_eq!(first.ask(&ask).unwrap().header("connection"), None);
    until("a new request needs another connection", || second.ask(&ask).is_err().then_some(()));
    until("an answer says that the connection ends", || {
        let answer = first.ask(&ask).unwrap();
        assert_eq!(answer.status, 200);
        (answer.header("connection") == Some("close")).then_some(())
    });

    let made = "{apiVersion: v1, kind: Namespace, metadata: {name: durations}}";
    cluster().apply(made).unwrap();
    watch.line(LIMIT, |line| line == "namespace/durations").unwrap();
    let events = cluster().audit().since(mark).unwrap();
    let watches = events.iter().filter(|event| {
        event.stage == Stage::ResponseStarted
            && event.request_uri.contains("namespaces?")
            && event.request_uri.contains("watch=true")
            && event
                .impersonated_user
                .as_ref()
                .is_some_and(|user| user.groups.iter().any(|group| group == "durations"))
    });
    assert_eq!(watches.count(), 1, "the watch had to begin anew");
}
