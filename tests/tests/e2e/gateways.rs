//! Two gateways in one Envoy, with one module and one `vm_id`: they have nothing to do with each other.
//!
//! The judge is the API server's audit log: whom it saw, or that it saw nothing.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use gateway_tests::{built, crashing};
use oidc_provider::{Config, Provider, TokenBuilder};
use sandbox::{Gateway, audit::Event};
use serde_json::{Value, json};

use crate::{
    harness::{Probe, cluster, until},
    target::{CLIENT, USER, authentication, configuration, issuer, provider, workers},
    wire::{Answer, Ask, Door, Version},
};

const MASTERS: &str = "system:masters";
/// The account of these gateways: it may ask about rights, too.
const ACCOUNT: &str = "two-gateways";
const RELOADS: u32 = 50;

/// `prod`, which takes away what a client says of itself, and `dev`, which obeys it where the user's rights allow that, and whose
/// issuer may make anybody master of the cluster.
struct Pair {
    gateway: Gateway,
    prod: Provider,
    dev: Provider,
}

impl Pair {
    fn start(
        change: impl FnOnce(sandbox::GatewayBuilder<'static>) -> sandbox::GatewayBuilder<'static>,
    ) -> Self {
        // Two who make an object at the same time get in each other's way.
        static APPLIED: LazyLock<()> = LazyLock::new(|| cluster().apply(&account()).unwrap());
        LazyLock::force(&APPLIED);
        let prod = provider();
        let dev = Provider::start(Config::of(issuer("dev"))).unwrap();
        let builder = cluster()
            .gateway(authentication(&prod))
            .configuration(strict(0))
            .beside(authentication(&dev), loose(0))
            .service_account("kube-oidc-gateway", ACCOUNT)
            .workers(workers());
        let pair = Self { gateway: change(builder).start().unwrap(), prod, dev };
        until("both serve", || {
            let served = |side| pair.ask(side, &pair.token(side).mint(), &[]).status == 200;
            (served(Side::Prod) && served(Side::Dev)).then_some(())
        });
        pair
    }

    fn token(&self, side: Side) -> TokenBuilder {
        let provider = match side {
            Side::Prod => &self.prod,
            Side::Dev => &self.dev,
        };
        provider.issuer().token(USER, CLIENT)
    }

    fn door(&self, side: Side) -> Door<'_> {
        match side {
            Side::Prod => (&self.gateway).into(),
            Side::Dev => Door::beside(&self.gateway),
        }
    }

    fn ask(&self, side: Side, token: &str, headers: &[(&str, &str)]) -> Answer {
        self.try_ask(side, token, headers, Version::H2).unwrap()
    }

    fn try_ask(
        &self,
        side: Side,
        token: &str,
        headers: &[(&str, &str)],
        version: Version,
    ) -> Result<Answer, String> {
        let ask = Ask::version().bearer(token).headers(headers.iter().copied());
        ask.send(self.door(side), version)
    }

    /// Each token is its user's at its own gateway and nobody's at the other.
    fn assert_apart(&self, version: Version) {
        for (side, other) in [(Side::Prod, Side::Dev), (Side::Dev, Side::Prod)] {
            let token = self.token(side).mint();
            let own = self.try_ask(side, &token, &[], version).unwrap();
            assert_eq!(own.status, 200, "{side:?}: {own:?}");
            let probe = Probe::new();
            let ask = Ask::new("GET", &probe.path()).bearer(&token);
            let answer = ask.send(self.door(other), version).unwrap();
            assert_eq!(answer.status, 401, "{side:?} at {other:?}: {answer:?}");
            probe.assert_untouched();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Prod,
    Dev,
}

fn account() -> String {
    let bind = |role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("{ACCOUNT}-{}", role.replace(':', "-"))},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": "kube-oidc-gateway", "name": ACCOUNT}],
        })
    };
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"namespace": "kube-oidc-gateway", "name": ACCOUNT},
    });
    let items = [account, bind("kube-oidc-gateway"), bind("system:auth-delegator")];
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// The strict gateway's settings; `version` makes them another configuration that means the same.
fn strict(version: u32) -> Value {
    configuration(&json!({
        "clientImpersonation": "strip",
        "extras": {"credentialId": false},
        "tokenCache": {"maximumEntries": 1000 + version},
    }))
}

fn loose(version: u32) -> Value {
    configuration(&json!({
        "clientImpersonation": "authorize",
        "originalUser": {"enabled": false},
        "extras": {"credentialId": false},
        "allowedReserved": {"groups": [MASTERS]},
        "tokenCache": {"maximumEntries": 1000 + version},
    }))
}

/// Whom the API server saw.
fn impersonated(event: &Event) -> (&str, &[String]) {
    let user = event.impersonated_user.as_ref().expect("somebody");
    (&user.username, &user.groups)
}

#[test]
fn break_in_1_two_gateways_have_rules_of_their_own() {
    let pair = Pair::start(|gateway| gateway);
    for version in Version::ALL {
        pair.assert_apart(version);
    }
    // Its issuer may say so at one, and not at the other.
    let master = |side| pair.token(side).claim("groups", [MASTERS].as_slice()).mint();
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let list = |side, token: &str| {
        Ask::new("GET", secrets).bearer(token).send(pair.door(side), Version::H2).unwrap().status
    };
    assert_eq!(list(Side::Dev, &master(Side::Dev)), 200);
    assert_eq!(list(Side::Prod, &master(Side::Dev)), 401);
    assert_eq!(list(Side::Prod, &master(Side::Prod)), 403);

    // `kubectl --as`: one takes it away, and says so; the other asks for each value, as the user.
    let asked = [("Impersonate-User", "bob")];
    let probe = Probe::new();
    let ask = Ask::new("GET", &probe.path()).bearer(&pair.token(Side::Prod).mint()).headers(asked);
    let answer = ask.send(pair.door(Side::Prod), Version::H2).unwrap();
    assert!(answer.status == 200 && answer.header("warning").is_some(), "{answer:?}");
    assert_eq!(impersonated(&probe.completed()).0, USER);
    let probe = Probe::new();
    let ask = Ask::new("GET", &probe.path()).bearer(&master(Side::Dev)).headers(asked);
    let answer = ask.send(pair.door(Side::Dev), Version::H2).unwrap();
    assert!(answer.status == 200 && answer.header("warning").is_none(), "{answer:?}");
    assert_eq!(impersonated(&probe.completed()).0, "bob");
    let answer = pair.ask(Side::Dev, &pair.token(Side::Dev).mint(), &asked);
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[test]
fn break_in_1_reloads_of_one_gateway_touch_neither() {
    let pair = Pair::start(|gateway| gateway);
    let done = AtomicBool::new(false);
    let asked = AtomicU32::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = [(Side::Prod, Version::H1), (Side::Dev, Version::H2)]
            .into_iter()
            .map(|(side, version)| {
                let (pair, done, asked) = (&pair, &done, &asked);
                scope.spawn(move || {
                    let other = if side == Side::Prod { Side::Dev } else { Side::Prod };
                    while !done.load(Ordering::Relaxed) {
                        // A new token each time: none of them is in a cache.
                        let token = pair.token(side).mint();
                        let own = pair.try_ask(side, &token, &[], version).unwrap();
                        assert_eq!(own.status, 200, "{side:?}: {own:?}");
                        let strange = pair.try_ask(other, &token, &[], version).unwrap();
                        assert_eq!(strange.status, 401, "{side:?} at {other:?}: {strange:?}");
                        asked.fetch_add(2, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for version in 1..=RELOADS / 2 {
            pair.gateway.configure(&authentication(&pair.prod), Some(&strict(version))).unwrap();
            pair.gateway.configure_beside(&authentication(&pair.dev), &loose(version)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert!(asked.load(Ordering::Relaxed) > RELOADS, "there was load");
}

#[test]
fn break_in_1_an_invalid_configuration_of_one_touches_neither() {
    let pair = Pair::start(|gateway| gateway);
    let mut invalid = loose(1);
    invalid["noSuchField"] = json!(1);
    let refused = pair.gateway.configure_beside(&authentication(&pair.dev), &invalid);
    assert!(refused.unwrap_err().to_string().contains("noSuchField"));
    for version in Version::ALL {
        pair.assert_apart(version);
    }
}

/// A VM is both gateways'. Each worker has one.
#[test]
fn break_in_1_a_crash_of_the_vm_mixes_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("crashing.wasm");
    crashing::write(&built::filter(), &module);
    let pair = Pair::start(|gateway| gateway.filter(&module));
    let crash =
        crashing::headers().fold(Ask::version(), |ask, (name, value)| ask.header(&name, value));
    for version in Version::ALL {
        for side in [Side::Prod, Side::Dev] {
            let ask = crash.clone().bearer(&pair.token(side).mint());
            let answer = ask.send(pair.door(side), version).unwrap();
            assert_eq!(answer.status, 503, "{answer:?}");
            let served = |side| {
                let token = pair.token(side).mint();
                let answer = pair.try_ask(side, &token, &[], version);
                answer.is_ok_and(|answer| answer.status == 200).then_some(())
            };
            // The first requests after a crash meet no filter, and are refused for it.
            until("both are back", || served(Side::Dev).and(served(Side::Prod)));
            for _ in 0..4 {
                until("it is apart", || {
                    let strange =
                        pair.try_ask(Side::Prod, &pair.token(Side::Dev).mint(), &[], version);
                    let status = strange.map_or(0, |answer| answer.status);
                    assert!(matches!(status, 0 | 401 | 503), "{status}");
                    (status == 401).then_some(())
                });
            }
        }
    }
}
