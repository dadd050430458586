//! CVE-2026-73548: bytes that a client sends behind an upgrade request, before the server has agreed to it.
//!
//! Two defences, each tested with the other one taken away: the filter's hold in an Envoy without the fix, and the fix under a
//! filter without the hold. The judge is a server in kube-apiserver's place.

mod server;

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use gateway_config::Credential as Way;
use gateway_tests::{
    built::{self, is_native},
    unheld,
};
use oidc_provider::{Config, Endpoint, Misbehaviour, Provider};
use sandbox::assets::{self, Progress};
use serde_json::json;

use self::server::Server;
use crate::{
    harness::until,
    target::{self, Target, USER, provider},
    upgrades,
    wire::{Ask, Connection, Tunnel, Version},
};

const PROTOCOLS: [&str; 2] = ["SPDY/3.1", "websocket"];
/// A whole request, which would run as whoever the connection belongs to.
const SMUGGLED: &[u8] = b"GET /api/v1/secrets HTTP/1.1\r\nHost: localhost\r\n\r\n";
const MEBIBYTE: usize = 1 << 20;
/// How long an issuer takes to answer: longer than a gateway to start, shorter than a request may wait.
const SLOW: Duration = Duration::from_secs(8);

/// A gateway with one worker in front of a [`Server`].
struct Rig {
    target: Target,
    server: Server,
    _folder: tempfile::TempDir,
}

/// What is taken away, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    Fix,
    Hold,
    Both,
}

impl Rig {
    fn start(without: Without, certificate: bool) -> Self {
        Self::start_at(provider(), without, certificate)
    }

    fn start_at(provider: Provider, without: Without, certificate: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start();
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, server.ca()).unwrap();
        let settings = json!({"limits": {"waitSeconds": 14}, "keySets": {"timeoutSeconds": 14}});
        let target = Target::start_at(provider, &settings, |mut gateway| {
            if matches!(without, Without::Fix | Without::Both) {
                gateway = gateway.envoy(vulnerable());
            }
            if matches!(without, Without::Hold | Without::Both) {
                gateway = gateway.filter(without_hold(folder.path()));
            }
            let pair = certificate.then(|| upgrades::administrator(folder.path()));
            let port = server.port();
            gateway.workers(1).inputs(move |inputs| {
                inputs.apiserver.port = port;
                inputs.apiserver.ca = Some(ca);
                if let Some(pair) = pair {
                    inputs.apiserver.credential = Way::Certificate(pair);
                }
            })
        });
        Self { target, server, _folder: folder }
    }

    fn ask(&self, protocol: &str) -> Ask {
        Ask::exec(protocol).bearer(&self.target.token().mint())
    }

    /// Sends an upgrade with `early` behind it; when that has been where it goes, the server answers with `status`, and the
    /// client sends `late` if that is 101.
    fn exchange(&self, case: &Case) -> Exchange {
        let ask = self.ask(case.protocol);
        let agent = ask.agent().to_owned();
        let (release, hold) = mpsc::channel();
        thread::scope(|scope| {
            let ask = &ask;
            let client = scope.spawn(move || self.send(ask, case, &hold));
            self.server.wait_for(&agent);
            self.pass();
            let before = self.server.behind(&agent);
            self.server.answer(&agent, case.status, case.protocol);
            let all = match case.status {
                101 => self.server.wait_for_bytes(&agent, case.early.len() + case.late.len()),
                _ => self.server.wait_for_end(&agent),
            };
            drop(release);
            let status = client.join().unwrap().unwrap_or_else(|e| panic!("{case:?}: {e}"));
            Exchange { status, before, all }
        })
    }

    /// The worker has done all that it had to do before: a request has been through it.
    fn pass(&self) {
        let ask = self.ask("SPDY/3.1");
        thread::scope(|scope| {
            let client = scope.spawn(|| ask.send(&self.target.gateway, Version::H1));
            self.server.answer(ask.agent(), 403, "");
            assert_eq!(client.join().unwrap().unwrap().status, 403);
        });
    }

    /// The client: gives the answer's status, and keeps the connection as long as `hold` has a sender.
    fn send(&self, ask: &Ask, case: &Case, hold: &Receiver<()>) -> Result<u16, String> {
        let (gateway, upgraded) = (&self.target.gateway, case.status == 101);
        match case.version {
            Version::H1 => {
                let mut connection = Connection::open(gateway)?;
                connection.send(&[&ask.bytes(), &*case.early].concat())?;
                let status = connection.answer()?.status;
                if upgraded {
                    connection.send(&case.late)?;
                }
                let _ = hold.recv();
                Ok(status)
            }
            Version::H2 => {
                let mut tunnel = Tunnel::open(gateway, ask)?;
                tunnel.send(&case.early)?;
                if case.trailers {
                    tunnel.send_trailers()?;
                }
                let status = tunnel.status()?;
                if upgraded && !case.trailers {
                    tunnel.send(&case.late)?;
                }
                let _ = hold.recv();
                Ok(status)
            }
        }
    }
}

/// One upgrade.
#[derive(Clone)]
struct Case {
    protocol: &'static str,
    version: Version,
    status: u16,
    early: Vec<u8>,
    late: Vec<u8>,
    /// Behind the early bytes, over HTTP/2.
    trailers: bool,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { protocol, version, status, trailers, .. } = self;
        write!(f, "{protocol}, {version:?}, {status}, trailers: {trailers}")
    }
}

struct Exchange {
    /// As the client saw it.
    status: u16,
    /// What was at the server before it answered, behind the request.
    before: Vec<u8>,
    all: Vec<u8>,
}

fn vulnerable() -> PathBuf {
    assets::vulnerable_envoy(&Progress::new()).unwrap()
}

fn without_hold(folder: &Path) -> PathBuf {
    let module = folder.join("unheld.wasm");
    unheld::write(&built::filter(), &module);
    module
}

fn cases(status: u16) -> Vec<Case> {
    let mut cases = Vec::new();
    for protocol in PROTOCOLS {
        for (version, trailers) in [(Version::H1, false), (Version::H2, false), (Version::H2, true)]
        {
            let (early, late) = (SMUGGLED.to_vec(), Vec::new());
            cases.push(Case { protocol, version, status, early, late, trailers });
        }
    }
    cases
}

/// Nothing that follows an upgrade request is at the server before the 101, and nothing ever if that does not come.
fn assert_held(rig: &Rig) {
    for status in [101, 403, 400, 200] {
        for case in cases(status) {
            let seen = rig.exchange(&case);
            assert_eq!(text(&seen.before), "", "{case:?}: before the answer");
            let want: &[u8] = if status == 101 { SMUGGLED } else { b"" };
            assert_eq!(text(&seen.all), text(want), "{case:?}");
            // RFC 8441: over HTTP/2 a 200 agrees.
            let agreed = status == 101 && case.version == Version::H2;
            assert_eq!(seen.status, if agreed { 200 } else { status }, "{case:?}");
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn cve_2026_73548_the_hold_alone_keeps_early_bytes_back() {
    for certificate in [false, true] {
        assert_held(&Rig::start(Without::Fix, certificate));
    }
}

#[test]
fn cve_2026_73548_the_fix_alone_keeps_early_bytes_back() {
    for certificate in [false, true] {
        assert_held(&Rig::start(Without::Hold, certificate));
    }
}

/// Else the others would prove nothing.
#[test]
fn cve_2026_73548_without_either_early_bytes_arrive() {
    let rig = Rig::start(Without::Both, false);
    for case in cases(403) {
        let seen = rig.exchange(&case);
        // Envoys without the fix wait with those of a WebSocket.
        let want = if case.protocol == "websocket" { b"" } else { SMUGGLED };
        assert_eq!(text(&seen.before), text(want), "{case:?}");
    }
}

/// The hold loses and swaps nothing, and no limit of a buffer ends the request.
#[test]
fn a_mebibyte_before_the_101_and_one_behind_it_arrive_in_order() {
    let numbers = |from: usize| -> Vec<u8> {
        (from..from + MEBIBYTE / 8).flat_map(|number| (number as u64).to_be_bytes()).collect()
    };
    let (early, late) = (numbers(0), numbers(MEBIBYTE / 8));
    let whole = [&*early, &late].concat();
    for without in [Without::Nothing, Without::Fix] {
        let rig = Rig::start(without, false);
        for protocol in PROTOCOLS {
            for version in Version::ALL {
                let (early, late) = (early.clone(), late.clone());
                let case = Case { protocol, version, status: 101, early, late, trailers: false };
                let seen = rig.exchange(&case);
                assert_eq!(seen.before.len(), 0, "{without:?}: {case:?}");
                assert!(seen.all == whole, "{without:?}: {case:?}: {} bytes", seen.all.len());
            }
        }
    }
}

/// The hold begins with the request, whenever it is decided on: here it waits for its issuer's keys.
#[test]
fn early_bytes_of_an_upgrade_that_waited_are_held() {
    let provider = Provider::start(Config::of(target::issuer("late"))).unwrap();
    let issuer = provider.issuer();
    issuer.misbehave(Endpoint::Discovery, Misbehaviour::delay(SLOW)).unwrap();
    let rig = Rig::start_at(provider, Without::Fix, false);
    let ask = Ask::exec("SPDY/3.1").bearer(&issuer.token(USER, target::CLIENT).mint());
    let mut connection = Connection::open(&rig.target.gateway).unwrap();
    connection.send(&[&ask.bytes(), SMUGGLED].concat()).unwrap();
    until("it waits", || {
        let stats = rig.target.gateway.stats().unwrap();
        (stats.sum("gateway_waiting_requests") == 1).then_some(())
    });
    if is_native() {
        // Envoy would not hear that a native module lets them go on (docs/native.md).
        let refused = connection.answer().unwrap();
        let retry = refused.headers.iter().find(|(name, _)| name == "retry-after");
        assert_eq!((refused.status, retry.map(|(_, value)| value.as_str())), (503, Some("1")));
        rig.pass();
        assert!(!rig.server.knows(ask.agent()), "it has gone on");
        connection = Connection::open(&rig.target.gateway).unwrap();
        connection.send(&[&ask.bytes(), SMUGGLED].concat()).unwrap();
    }
    rig.server.wait_for(ask.agent());
    rig.pass();
    assert_eq!(text(&rig.server.behind(ask.agent())), "");
    rig.server.answer(ask.agent(), 101, "SPDY/3.1");
    assert_eq!(connection.answer().unwrap().status, 101);
    let behind = rig.server.wait_for_bytes(ask.agent(), SMUGGLED.len());
    assert_eq!(text(&behind), text(SMUGGLED));
}
