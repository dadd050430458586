//! A filter whose VM crashes under load: service is back at once, what was paused ends, and nothing gets past it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use gateway_tests::built;
use serde_json::json;

use crate::{
    harness::cluster,
    target::{self, Target},
    wire::{Ask, Connection, Version},
};

/// What the listener gives a request that waits for the filter, shortened.
const UNDECIDED: Duration = Duration::from_secs(3);
/// How soon a worker whose VM crashed serves again.
const BACK: Duration = Duration::from_secs(2);
/// More than a worker takes to notice a timer on a busy machine.
const SLACK: Duration = Duration::from_secs(3);
const CRASHES: usize = 5;

fn behave(behaviour: &str) -> Ask {
    Ask::version().header("X-Rogue", behaviour)
}

/// envoy#26485: a VM that traps while requests are served, refused and paused, on both workers.
#[test]
fn the_vm_crashes_under_load() {
    let mark = cluster().audit().mark().unwrap();
    let filter = built::rogue_wasm();
    let target = Target::start_with(&json!({"clientImpersonation": "strip"}), |gateway| {
        gateway.filter(filter).inputs(|inputs| {
            inputs.options.limits.undecided_timeout = UNDECIDED;
        })
    });
    let served = |ask: &Ask| ask.send(&target.gateway, Version::H2).map(|answer| answer.status);
    assert_eq!(served(&behave("serve")), Ok(200));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Over HTTP/1.1, a connection for each: both workers have some.
        for behaviour in ["serve", "serve", "skip", "skip"] {
            let (done, target) = (&done, &target);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let Ok(mut connection) = Connection::open(&target.gateway) else { continue };
                    while let Ok(answer) = connection.ask(&behave(behaviour)) {
                        let allowed: &[u16] =
                            if behaviour == "serve" { &[200, 503] } else { &[403, 503] };
                        assert!(allowed.contains(&answer.status), "{behaviour}: {answer:?}");
                        if done.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                }
            });
        }
        let paused: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let start = Instant::now();
                    let answer = behave("pause").send(&target.gateway, Version::H1);
                    (answer, start.elapsed())
                })
            })
            .collect();
        for _ in 0..CRASHES {
            let answer = behave("panic").send(&target.gateway, Version::H2).unwrap();
            assert_eq!(answer.status, 503, "{answer:?}");
            let crashed = Instant::now();
            // New connections meet either worker; eight in a row have met both.
            let mut row = 0;
            while row < 8 {
                row = if served(&behave("serve")) == Ok(200) { row + 1 } else { 0 };
                assert!(
                    crashed.elapsed() < BACK + SLACK,
                    "no service since {:?}",
                    crashed.elapsed()
                );
            }
        }
        done.store(true, Ordering::Relaxed);
        for request in paused {
            let (answer, took) = request.join().unwrap();
            assert!(took < UNDECIDED + SLACK, "{took:?}");
            let status = answer.map(|answer| answer.status);
            assert!(!matches!(status, Ok(200..=399)), "{status:?}");
        }
    });
    target::assert_never_the_gateway_itself(mark);
}
