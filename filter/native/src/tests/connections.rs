//! Connections of which nobody is known, counted by the module's network filter.

use std::thread;

use serde_json::json;

use super::*;
use crate::{
    guard::on_demand::panic_at,
    mock::{Listener, Peer},
};

const LIMIT: &str = "gateway_connections_closed_total.reason.limit";
const LATE: &str = "gateway_connections_closed_total.reason.undecided";

fn counting(issuer: &Issuer, gateway: Value) -> Envoy {
    let document = issuer.document(gateway).replacen('{', r#"{"countsConnections":true,"#, 1);
    let envoy = Envoy::load("gateway", &document).expect("a valid configuration");
    assert_eq!(issuer.serve(&envoy), 2, "discovery and keys");
    envoy
}

fn closed(peers: &[Peer<'_>]) -> usize {
    peers.iter().filter(|peer| peer.is_closed()).count()
}

#[test]
fn an_address_has_so_many_connections_without_a_user() {
    let issuer = Issuer::new();
    let envoy = counting(&issuer, json!({}));
    let listener = Listener::load("per_address=2 undecided_seconds=30").unwrap();
    let token = issuer.token("jane");
    let (first, second) = (listener.connect("192.0.2.1"), listener.connect("192.0.2.1"));
    assert!(!first.is_closed() && !second.is_closed());
    assert!(listener.connect("192.0.2.1").is_closed());
    assert!(!listener.connect("192.0.2.2").is_closed(), "another address has its own");
    assert!(!listener.connect("2001:db8::1").is_closed());
    // Whoever is refused is nobody.
    assert_eq!(envoy.request_on(&first, get("none", &[])).headers(true), STOP);
    assert!(listener.connect("192.0.2.1").is_closed());
    assert_eq!(listener.counter(LIMIT), 2);
    // A user who is known needs no place, however many requests there are.
    for _ in 0..2 {
        assert_eq!(envoy.request_on(&first, get(&token, &[])).headers(true), CONTINUE);
    }
    let third = listener.connect("192.0.2.1");
    assert!(!third.is_closed());
    assert!(listener.connect("192.0.2.1").is_closed());
    drop(second);
    assert!(!listener.connect("192.0.2.1").is_closed(), "a place comes back");
    drop(first);
    let fourth = listener.connect("192.0.2.1");
    assert!(!fourth.is_closed());
    assert!(listener.connect("192.0.2.1").is_closed(), "the end of the known one gives no place");
}

#[test]
fn who_does_not_sign_in_is_sent_away_in_every_thread() {
    let issuer = Issuer::new();
    let envoy = counting(&issuer, json!({}));
    let listener = Listener::load("per_address=0 undecided_seconds=1").unwrap();
    let token = issuer.token("jane");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // More than one call ends.
                let nobodys: Vec<_> = (0..70).map(|_| listener.connect("192.0.2.1")).collect();
                let known = listener.connect("192.0.2.1");
                assert_eq!(envoy.request_on(&known, get(&token, &[])).headers(true), CONTINUE);
                let begun = Instant::now();
                while closed(&nobodys) < nobodys.len() {
                    assert!(begun.elapsed() < Duration::from_secs(20), "they stay");
                    for peer in nobodys.iter().chain([&known]) {
                        let before = closed(&nobodys);
                        peer.run();
                        assert!(closed(&nobodys) - before <= 32);
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                assert!(!known.is_closed());
            });
        }
    });
    assert_eq!(listener.counter(LATE), 140);
}

/// The next worker of a thread counts anew, and the connections of the one before end where they began.
#[test]
fn a_configuration_that_is_replaced_leaves_its_connections_alone() {
    let before = Listener::load("per_address=1 undecided_seconds=30").unwrap();
    let held = before.connect("192.0.2.9");
    let after = Listener::load("per_address=1 undecided_seconds=30").unwrap();
    assert!(!after.connect("192.0.2.9").is_closed());
    assert!(before.connect("192.0.2.9").is_closed());
    drop(held);
    assert!(!before.connect("192.0.2.9").is_closed());
}

#[test]
fn a_connection_that_nobody_could_end_is_not_let_in() {
    let listener = Listener::load("per_address=5 undecided_seconds=30").unwrap();
    assert!(listener.connect_without_scheduler("192.0.2.1").is_closed());
    panic_at("connection");
    assert!(listener.connect("192.0.2.1").is_closed());
    assert_eq!(listener.counter("gateway_panics_total"), 1);
    let socket = listener.connect("");
    assert!(!socket.is_closed(), "what comes from no address is never too much");
}

#[test]
fn a_configuration_of_connections_is_checked() {
    for document in ["", "{}", "per_address=-1 undecided_seconds=1", "per_address=1"] {
        assert!(Listener::load(document).is_none(), "{document}");
    }
}
