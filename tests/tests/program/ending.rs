//! Ends: the program's own, which nobody may notice, and Envoy's, which must not last.

use std::time::{Duration, Instant};

use sandbox::program;

use crate::harness::{Load, Rig, Watches, until};

#[test]
fn sigterm_under_load_cuts_no_request() {
    let mut rig = Rig::new(&[]);
    let token = rig.token().mint();
    let watches = Watches::open(&rig, &token, 10);
    let load = Load::start(&rig, &token, "/version", 8, 200);
    until("requests", || (load.good() > 200).then_some(()));
    let probe = rig.probe();
    let start = Instant::now();
    rig.program.terminate().unwrap();
    until("it is unready", || (probe.get("/readyz").ok()?.status == 503).then_some(()));
    // It still serves.
    let before = load.good();
    until("requests while unready", || (load.good() > before + 100).then_some(()));
    assert_eq!(watches.still_open(), 10);
    // Load balancers have noticed by now and send nothing more.
    let (_, faults) = load.end();
    assert!(faults.is_empty(), "{faults:?}");
    let status = rig.program.wait(Duration::from_secs(30)).unwrap();
    assert!(status.success(), "{status}\n{}", rig.log());
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    until("watches end", || (watches.still_open() == 0).then_some(()));
}

#[test]
fn an_envoy_that_was_killed_is_back_within_three_seconds() {
    let rig = Rig::new(&[]);
    let token = rig.token().mint();
    let kubectl = rig.kubectl(token.clone());
    assert!(kubectl.run(["get", "--raw", "/version"]).unwrap().success());
    let agent = rig.agent();
    let url = format!("{}/version", rig.url());
    let start = Instant::now();
    program::kill(rig.envoy()).unwrap();
    until("it serves again", || {
        let answer = agent.get(&url).header("authorization", format!("Bearer {token}")).call();
        answer.ok().filter(|answer| answer.status() == 200)
    });
    // A machine that is busy with other things was slow at the first start, too.
    let limit = Duration::from_secs(3).max(rig.start_time * 2);
    assert!(start.elapsed() < limit, "{:?}, first {:?}", start.elapsed(), rig.start_time);
    until("it is counted", || (rig.metric("gateway_envoy_starts_total") > 1.5).then_some(()));
    assert!(rig.log().contains("Envoy ended (signal 9); it is started again"));
}
