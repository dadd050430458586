//! Access that ends while something else happens: while requests wait or begin, configurations and keys change, the way to the documents is
//! broken, and replicas start anew.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use oidc_provider::{Endpoint, Misbehaviour, Rotation};
use sandbox::{Cluster, realm};
use serde_json::{Value, json};

use crate::{
    harness::{Files, LIMIT, Load, Rig, Setup, cluster, until},
    revocations::{Document, GROUP, NEW, RUNNING, admin, config_map, path, refused, say},
};

const NAMESPACES: &str = "/api/v1/namespaces?limit=1";
const WATCH: &str = "/api/v1/namespaces?watch=true";
/// What tells a refusal of this kind from others.
const REVOKED: &str = "access has been revoked";

/// Flags that name files, so that these can change.
fn documents(files: &Files) -> Vec<String> {
    let config = files.config.display();
    vec![
        format!("--authentication-config={config}/authentication.yaml"),
        format!("--gateway-config={config}/gateway.yaml"),
    ]
}

/// A token of somebody whose group is revoked later.
fn revoked_later(rig: &Rig) -> String {
    rig.token().claim("groups", ["system:masters", GROUP].as_slice()).mint()
}

fn get(rig: &Rig, token: &str, path: &str) -> Result<(u16, String), String> {
    let answer = rig
        .agent()
        .get(format!("{}{path}", rig.url()))
        .header("authorization", format!("Bearer {token}"))
        .call();
    let mut answer = answer.map_err(|error| error.to_string())?;
    let body = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((answer.status().as_u16(), body))
}

/// The issuer has new keys, and takes its time to publish them. Whose token waits for these is revoked meanwhile.
#[test]
fn who_is_revoked_while_the_issuers_new_keys_are_fetched_is_refused() {
    let document = Document::new();
    let rig = Rig::new(&[&document.flag()]);
    admin(&rig).must(["get", "namespaces"], "").unwrap();
    let issuer = rig.issuer();
    issuer.misbehave(Endpoint::Jwks, Misbehaviour::delay(Duration::from_secs(4))).unwrap();
    issuer.rotate(Rotation::Replace);
    let token = revoked_later(&rig);
    let asked = issuer.requests(Endpoint::Jwks);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            until("somebody knows the key", || {
                let answer = get(&rig, &token, NAMESPACES).ok()?;
                // Not known yet, or not in time.
                (answer.0 != 401 && answer.0 != 503).then_some(answer)
            })
        });
        assert!(issuer.wait_for_requests(Endpoint::Jwks, asked + 1, LIMIT), "nobody asked");
        assert!(!asking.is_finished(), "nobody waited");
        document.say(&["revoke", "--group", GROUP]);
        let (status, body) = asking.join().unwrap();
        assert!(status == 403 && body.contains(REVOKED), "{status} {body}");
    });
}

/// Watches begin one after the other, and in the middle of it their user is revoked. None is left over: neither one that was decided on
/// before the document came, nor one that began when the others were ended.
#[test]
fn of_streams_that_begin_while_their_user_is_revoked_none_stays() {
    const STREAMS: u32 = 60;
    const EVERY: Duration = Duration::from_millis(50);
    let document = Document::new();
    let rig = Rig::new(&[&document.flag()]);
    admin(&rig).must(["get", "namespaces"], "").unwrap();
    let token = revoked_later(&rig);
    let url = format!("{}{WATCH}", rig.url());
    // When it ended, and whether it had begun.
    let stream = |rig: &Rig| {
        let answer =
            rig.agent().get(&url).header("authorization", format!("Bearer {token}")).call();
        match answer {
            Ok(answer) if answer.status() == 200 => {
                let lines = BufReader::new(answer.into_body().into_reader()).lines();
                lines.take_while(Result::is_ok).for_each(drop);
                (Instant::now(), true)
            }
            Ok(answer) => {
                assert_eq!(answer.status(), 403);
                (Instant::now(), false)
            }
            // It began, and was cut before its head came.
            Err(_) => (Instant::now(), true),
        }
    };
    thread::scope(|scope| {
        let mut streams = Vec::new();
        let mut revoked = None;
        for number in 0..STREAMS {
            if number == STREAMS / 3 {
                document.say(&["revoke", "--group", GROUP]);
                revoked = Some(Instant::now());
            }
            streams.push(scope.spawn(|| stream(&rig)));
            thread::sleep(EVERY);
        }
        let revoked = revoked.unwrap();
        // Those that began last began when the document had long been known.
        until("all have ended", || {
            streams.iter().all(thread::ScopedJoinHandle::is_finished).then_some(())
        });
        let streams: Vec<_> = streams.into_iter().map(|it| it.join().unwrap()).collect();
        let begun = streams.iter().filter(|(_, begun)| *begun);
        let last = begun.clone().map(|(end, _)| end.saturating_duration_since(revoked)).max();
        let begun = begun.count();
        assert!(begun >= 20 && begun < streams.len(), "{begun} of {} began", streams.len());
        assert!(last.unwrap() < RUNNING, "{last:?}");
    });
}

/// The gateway's own settings, in other words each time.
fn gateway(number: u32) -> Value {
    let mut gateway = realm::configuration();
    gateway["limits"]["groups"] = json!(500 + number);
    gateway
}

/// A configuration that replaced another knew of no document until its first question was answered: it refused everybody for a moment. And
/// what had begun under the one before must end all the same.
#[test]
fn a_reload_refuses_nobody_and_what_began_before_it_ends() {
    let document = Document::new();
    let flag = document.flag();
    let mut rig = Rig::with(|files| [documents(files), vec![flag]].concat(), false);
    let kubectl = admin(&rig);
    kubectl.must(["get", "namespaces"], "").unwrap();
    let mut watches = Vec::new();
    let watch = |rig: &Rig| {
        let kubectl = admin(rig);
        let mut watch = kubectl.start(["get", "--raw", WATCH]).unwrap();
        watch.line(LIMIT, |line| line.contains("ADDED")).unwrap();
        (kubectl, watch)
    };
    watches.push(watch(&rig));
    let load = Load::start(&rig, &rig.token().mint(), NAMESPACES, 8, 200);
    for number in 0..4 {
        let metric = "gateway_reloads_total{input=\"configuration\",result=\"ok\"}";
        let before = rig.metric(metric);
        rig.config.swap(&[("gateway.yaml", gateway(number).to_string().as_bytes())]);
        until("it is live", || (rig.metric(metric) > before).then_some(()));
        let before = load.good();
        until("requests after it", || (load.good() > before + 100).then_some(()));
        watches.push(watch(&rig));
    }
    let (good, faults) = load.end();
    assert!(
        faults.is_empty(),
        "of {} requests {}: {:?}",
        good + faults.len(),
        faults.len(),
        faults.first()
    );
    // While the next configuration comes.
    rig.config.swap(&[("gateway.yaml", gateway(9).to_string().as_bytes())]);
    document.say(&["revoke", "--group", GROUP]);
    let revoked = Instant::now();
    refused(&kubectl, REVOKED);
    assert!(revoked.elapsed() < NEW, "{:?}", revoked.elapsed());
    for (_kubectl, mut watch) in watches {
        watch.wait(LIMIT).unwrap();
        assert!(revoked.elapsed() < RUNNING, "{:?}", revoked.elapsed());
    }
    // And when it is there.
    until("it is live", || {
        (rig.metric("gateway_reloads_total{input=\"configuration\",result=\"ok\"}") > 4.5)
            .then_some(())
    });
    for _ in 0..10 {
        let (status, body) = get(&rig, &revoked_later(&rig), NAMESPACES).unwrap();
        assert!(status == 403 && body.contains(REVOKED), "{status} {body}");
    }
}

/// Flags of a replica that follows a `ConfigMap`, and the words by which `revoke` finds it.
fn following(name: &str, staleness: u32) -> impl Fn(&Files) -> Vec<String> {
    let flag = format!("--revocations-configmap={name}");
    move |files| {
        let mut gateway = realm::configuration();
        gateway["access"] = json!({"maximumStalenessSeconds": staleness});
        let config = files.config.with_extension("gateway.json");
        fs::write(&config, gateway.to_string()).unwrap();
        vec![
            format!("--authentication-config={}/authentication.yaml", files.config.display()),
            format!("--gateway-config={}", config.display()),
            flag.clone(),
        ]
    }
}

fn replica(name: &str, is_ready: bool) -> Rig {
    let setup = Setup { in_pod: true, chart: false, ..Setup::default() };
    let flags = following(name, 6);
    if is_ready { Rig::ready(&setup, flags) } else { Rig::begin(&setup, flags) }
}

fn revoke(name: &str, kubeconfig: &Path) {
    let (namespace, _) = Cluster::GATEWAY;
    let place = ["--configmap", name, "-n", namespace, "--kubeconfig", path(kubeconfig)];
    say(&["revoke", "--group", GROUP], &place);
}

/// All of them at once: there is nobody left whom they could ask, and the first request is refused.
#[test]
fn replicas_that_all_start_anew_let_nobody_in_who_was_revoked() {
    const NAME: &str = "access-restart";
    config_map(NAME);
    let replicas = [replica(NAME, true), replica(NAME, true)];
    revoke(NAME, &cluster().admin().kubeconfig());
    for rig in &replicas {
        let token = revoked_later(rig);
        until("it is refused", || (get(rig, &token, NAMESPACES).unwrap().0 == 403).then_some(()));
    }
    drop(replicas);
    let replicas = [replica(NAME, false), replica(NAME, false)];
    for rig in &replicas {
        let token = revoked_later(rig);
        // Before it is ready, too: what listens is asked.
        let first = until("an answer", || {
            let (status, body) = get(rig, &token, NAMESPACES).ok()?;
            assert!(matches!(status, 401 | 403 | 503), "{status} {body}");
            (status == 403).then_some(body)
        });
        assert!(first.contains(REVOKED), "{first}");
        let probe = rig.probe();
        until("it is ready", || (probe.get("/readyz").ok()?.status == 200).then_some(()));
        assert_eq!(get(rig, &token, NAMESPACES).unwrap().0, 403);
        assert_eq!(get(rig, &rig.token().mint(), NAMESPACES).unwrap().0, 200);
    }
}

/// The right to read the object is gone for longer than the last state may hold. What begins is refused, what runs goes on, and all is well
/// when the right is back. With a right that is there, no state is ever too old, however short it may hold.
#[test]
fn a_watch_that_is_broken_for_too_long_ends_in_503_and_recovers() {
    const NAME: &str = "access-broken";
    config_map(NAME);
    let rig = replica(NAME, true);
    let token = rig.token().mint();
    let load = Load::start(&rig, &token, NAMESPACES, 2, 20);
    // Longer than a watch of the object lasts.
    thread::sleep(Duration::from_secs(12));
    let (_, faults) = load.end();
    assert!(faults.is_empty(), "{:?}", faults.first());
    let kubectl = admin(&rig);
    let mut watch = kubectl.start(["get", "--raw", WATCH]).unwrap();
    watch.line(LIMIT, |line| line.contains("ADDED")).unwrap();
    let (namespace, _) = Cluster::GATEWAY;
    cluster().admin().must(["delete", "rolebinding", NAME, "-n", namespace], "").unwrap();
    let gone = Instant::now();
    let body = until("nobody is let in", || {
        let (status, body) = get(&rig, &token, NAMESPACES).unwrap();
        assert!(matches!(status, 200 | 503), "{status} {body}");
        (status == 503).then_some(body)
    });
    assert!(body.contains("does not know at present whose access has been revoked"), "{body}");
    assert!(gone.elapsed() < Duration::from_secs(20), "{:?}", gone.elapsed());
    assert_eq!(watch.ended().unwrap(), None, "what runs was ended");
    // Somebody is revoked meanwhile.
    revoke(NAME, &cluster().admin().kubeconfig());
    config_map(NAME);
    until("it is let in again", || (get(&rig, &token, NAMESPACES).unwrap().0 == 200).then_some(()));
    let back = Instant::now();
    watch.wait(LIMIT).unwrap();
    assert!(back.elapsed() < RUNNING, "{:?}", back.elapsed());
    assert_eq!(get(&rig, &revoked_later(&rig), NAMESPACES).unwrap().0, 403);
}
