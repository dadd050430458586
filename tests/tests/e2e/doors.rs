//! The doors behind the filter: with a filter that crashes, is skipped, lies or forgets, and with a client that forges what
//! the filter would set, nothing reaches the API server under the gateway's credential.

use std::{
    fs,
    path::PathBuf,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use gateway_tests::built;
use sandbox::audit::{Identity, Mark};
use serde_json::json;

use crate::{
    harness::{cluster, until},
    target::{self, Target},
    wire::{Answer, Ask, Connection, Version},
};

const FORBIDDEN: (u16, &str) = (403, "Forbidden");
const UNAVAILABLE: (u16, &str) = (503, "ServiceUnavailable");

/// What the listener gives a request that waits for the filter, shortened.
const UNDECIDED: Duration = Duration::from_secs(3);

static START: LazyLock<Mark> = LazyLock::new(|| cluster().audit().mark().unwrap());

/// Shared by the tests that do not crash it: one that strips the client's impersonation headers before the filter, and one whose
/// filter has to read them, so that the gate compares.
static ROGUES: LazyLock<[Target; 2]> =
    LazyLock::new(|| ["strip", "authorize"].map(|mode| rogue(mode, built::rogue())));

/// A gateway with a filter that fails on demand. One worker: the request behind a crash meets the VM that crashed.
fn rogue(client_impersonation: &str, filter: PathBuf) -> Target {
    LazyLock::force(&START);
    Target::start_with(&json!({"clientImpersonation": client_impersonation}), |gateway| {
        let gateway = gateway.filter(filter).workers(1);
        gateway.inputs(|inputs| {
            inputs.options.limits.undecided_timeout = UNDECIDED;
        })
    })
}

/// A request of every kind: plain, WebSocket, SPDY; over HTTP/2 the last two are extended CONNECT.
fn every_kind() -> Vec<(&'static str, Ask, Version)> {
    let kinds = [("plain", None), ("websocket", Some("websocket")), ("SPDY", Some("SPDY/3.1"))];
    let with = |version| {
        kinds.map(|(name, protocol)| (name, protocol.map_or_else(Ask::version, Ask::exec), version))
    };
    Version::ALL.into_iter().flat_map(with).collect()
}

fn assert_all_refused(behaviour: &str, want: (u16, &str)) {
    for (kind, ask, version) in every_kind() {
        let case = format!("{behaviour}, {kind}");
        for rogue in &*ROGUES {
            // With a token that a filter which does its work would let through.
            let token = rogue.token().mint();
            let ask = ask.clone().bearer(&token).header("X-Rogue", behaviour);
            rogue.assert_refused(&case, &ask, version, want);
        }
    }
    target::assert_never_the_gateway_itself(*START);
}

/// envoy#26485 and its kin: a VM that traps. The next request finds a new VM or none, never a way past it.
#[test]
fn a_filter_that_panics() {
    let rogue = rogue("strip", built::rogue_wasm());
    for (kind, ask, version) in every_kind() {
        let ask = ask.header("X-Rogue", "panic");
        rogue.assert_refused(&format!("panic, {kind}"), &ask, version, UNAVAILABLE);
        // This filter marks nothing unasked: to be served by it is to be refused at the gate.
        let mark = cluster().audit().mark().unwrap();
        let start = Instant::now();
        loop {
            let next = Ask::version().bearer(&rogue.token().mint());
            let answer = next.send(&rogue.gateway, version).unwrap();
            target::assert_nothing_arrived("behind a panic", mark, &next);
            if answer.status == 403 {
                break;
            }
            target::assert_status("behind a panic", &answer, UNAVAILABLE);
            assert!(start.elapsed() < Duration::from_secs(2), "the filter is not back");
        }
    }
    target::assert_never_the_gateway_itself(*START);
}

/// No sandbox is around it: Envoy ends, and nothing has passed.
#[test]
fn a_native_filter_that_ends_envoy() {
    let rogue = rogue("strip", built::rogue_native());
    for (kind, ask, version) in every_kind() {
        let mark = cluster().audit().mark().unwrap();
        let ask = ask.bearer(&rogue.token().mint()).header("X-Rogue", "panic");
        let answer = ask.send(&rogue.gateway, version);
        assert!(answer.is_err(), "{kind}: {answer:?}");
        // The connection is closed before the process is gone.
        let start = Instant::now();
        while rogue.gateway.check().is_ok() {
            assert!(start.elapsed() < Duration::from_secs(10), "{kind}: Envoy goes on");
            thread::sleep(Duration::from_millis(20));
        }
        target::assert_nothing_arrived(kind, mark, &ask);
        rogue.gateway.start_envoy().unwrap();
        let next = Ask::version().bearer(&rogue.token().mint());
        rogue.assert_refused(&format!("behind the end, {kind}"), &next, version, FORBIDDEN);
    }
    target::assert_never_the_gateway_itself(*START);
}

#[test]
fn a_filter_that_lets_everything_pass() {
    assert_all_refused("nothing", FORBIDDEN);
}

#[test]
fn a_filter_that_marks_but_writes_no_user() {
    assert_all_refused("mark", FORBIDDEN);
}

/// Against `lint` (`skipped`): what stands around the Wasm filter keeps requests from it, by what a client says. Nothing is marked, so nothing
/// goes on.
#[test]
fn a_filter_that_requests_are_kept_from() {
    const BY_STATUS: &str = "envoy.type.matcher.v3.HttpResponseStatusCodeClassMatchInput";
    const BY_HEADER: &str =
        "envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-rogue";
    LazyLock::force(&START);
    let real = Target::start_with(&json!({}), |gateway| gateway.filter(built::filter()));
    let path = real.gateway.folder().join("envoy/filter-gateway.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let skips = text.replacen(BY_STATUS, BY_HEADER, 1).replacen("2xx:", "skip:", 1);
    assert!(skips.contains(BY_HEADER) && skips.contains("skip:"), "{text}");
    fs::write(path.with_extension("new"), skips).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    let asks = |version| {
        let ask = Ask::version().bearer(&real.token().mint()).header("X-Rogue", "skip");
        ask.send(&real.gateway, version).unwrap().status
    };
    until("Envoy to keep requests from the filter", || {
        let status = asks(Version::H2);
        if status == 403 { Ok(()) } else { Err(status.to_string()) }
    });
    for (kind, ask, version) in every_kind() {
        let ask = ask.bearer(&real.token().mint()).header("X-Rogue", "skip");
        real.assert_refused(&format!("kept from the filter, {kind}"), &ask, version, FORBIDDEN);
    }
    target::assert_never_the_gateway_itself(*START);
}

/// An empty `Impersonate-User` counts as none at kube-apiserver.
#[test]
fn a_filter_that_writes_an_empty_user() {
    assert_all_refused("mark-empty", FORBIDDEN);
}

#[test]
fn a_filter_that_claims_a_mode_which_is_not_configured() {
    assert_all_refused("mark-own-token", FORBIDDEN);
}

/// The client's token stays where the client put it, once or twice: what arrives is the gateway's credential and nothing beside it. The
/// API server takes the token, too, and would have seen its user.
#[test]
fn a_filter_that_leaves_the_clients_token() {
    let [strips, _] = &*ROGUES;
    let rogue = Identity {
        username: "rogue".into(),
        groups: vec!["system:authenticated".into()],
        ..Identity::default()
    };
    for (kind, ask, version) in every_kind() {
        for (case, tokens) in [("once", 1), ("twice", 2), ("as another's", 0)] {
            let mut ask = ask.clone().header("X-Rogue", "serve");
            for _ in 0..tokens {
                let token = strips.token().mint();
                ask = ask.header("Authorization", format!("Bearer {token}"));
            }
            if tokens == 0 {
                ask = ask.header("Authorization", "Basic YWRtaW46YWRtaW4=");
            }
            strips.assert_served(&format!("{case}, {kind}"), &ask, version, &rogue);
        }
    }
    target::assert_never_the_gateway_itself(*START);
}

/// A VM that dies wakes nobody. Envoy's own timer ends the request that waited, whether its client goes on or not.
#[test]
fn a_request_that_waits_when_its_vm_dies() {
    let rogue = rogue("strip", built::rogue_wasm());
    let mark = cluster().audit().mark().unwrap();
    let start = Instant::now();
    let paused = Ask::version().bearer(&rogue.token().mint()).header("X-Rogue", "pause");
    let mut connection = Connection::open(&rogue.gateway).unwrap();
    connection.send(&paused.bytes()).unwrap();
    let panic = Ask::version().header("X-Rogue", "panic");
    rogue.assert_refused("panic", &panic, Version::H2, UNAVAILABLE);
    let answer: Answer = connection.answer().unwrap();
    let waited = start.elapsed();
    // The timer's own answer is 504, but it passes the filter, whose VM is dead.
    assert!([503, 504].contains(&answer.status), "{answer:?}");
    assert!(waited >= UNDECIDED && waited < UNDECIDED * 2, "{waited:?}");
    target::assert_nothing_arrived("paused", mark, &paused);
}

/// The marks are filter state, which no client can set: headers of the same names are only headers.
#[test]
fn a_client_that_forges_what_the_filter_sets() {
    LazyLock::force(&START);
    let real = Target::start(&json!({}));
    let unauthorized = (401, "Unauthorized");
    let [strips, reads] = &*ROGUES;
    for (gateway, want) in [(&real, unauthorized), (strips, FORBIDDEN), (reads, FORBIDDEN)] {
        for (kind, ask, version) in every_kind() {
            let forged = [
                ("wasm.user", "admin"),
                ("wasm.mode", "impersonate"),
                ("x-wasm-user", "admin"),
                ("x-wasm-mode", "impersonate"),
                ("x-gateway-asked", "admin"),
                ("x-gateway-mode", "impersonate"),
                ("x-rogue-was-here", "1"),
                ("Impersonate-User", "admin"),
                ("Impersonate-Group", "system:masters"),
                ("X-Remote-User", "admin"),
                ("X-Remote-Group", "system:masters"),
                ("x-envoy-original-path", "/api"),
                ("x-envoy-internal", "true"),
                ("x-request-id", "00000000-0000-4000-8000-000000000000"),
            ];
            let (forged, case) = (ask.headers(forged), format!("forged, {kind}"));
            gateway.assert_refused(&case, &forged, version, want);
        }
    }
    target::assert_never_the_gateway_itself(*START);
}
