//! OpenID Connect Back-Channel Logout 1.0: an issuer says that a session has ended, and what runs under it ends.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use oidc_provider::{Config, Preset, Provider};
use sandbox::{Kubectl, realm};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{LIMIT, Rig, cluster, until};

pub const PATH: &str = "/oidc/logout";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const EMPTY: &str =
    "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: Revocations\nrevocations: []\n";

/// A gateway that takes logout tokens, with its document.
fn rig(lifetime: u64) -> (Rig, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let document = document(&folder);
    fs::write(&document, EMPTY).unwrap();
    let rig = Rig::with(
        |files| {
            let mut gateway = realm::configuration();
            gateway["logout"] = json!({"path": PATH, "lifetimeSeconds": lifetime});
            let config = files.config.with_extension("gateway.json");
            fs::write(&config, gateway.to_string()).unwrap();
            vec![
                format!("--authentication-config={}/authentication.yaml", files.config.display()),
                format!("--gateway-config={}", config.display()),
                format!("--revocations={}", document.display()),
            ]
        },
        false,
    );
    (rig, folder)
}

fn document(folder: &TempDir) -> PathBuf {
    folder.path().join("revocations.yaml")
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs()
}

/// The claims of a logout token.
pub fn claims(issuer: &str, id: &str) -> Value {
    json!({
        "iss": issuer, "aud": realm::CLIENT, "iat": now(), "exp": now() + 120, "jti": id,
        "events": {EVENT: {}}, "sid": "s1", "sub": "x",
    })
}

/// Sends a request; the status, the body, and what may be kept of it.
fn send(rig: &Rig, kind: &str, body: &str) -> (u16, String, String) {
    let mut answer = rig
        .agent()
        .post(format!("{}{PATH}", rig.url()))
        .header("content-type", kind)
        .send(body)
        .unwrap();
    let kept = answer.headers().get("cache-control").map(|it| it.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    (status, answer.body_mut().read_to_string().unwrap(), kept.unwrap_or_default())
}

const FORM: &str = "application/x-www-form-urlencoded";

pub fn log_out(rig: &Rig, token: &str) -> u16 {
    let (status, body, kept) = send(rig, FORM, &format!("logout_token={token}"));
    assert_eq!(kept, "no-store", "{status} {body}");
    status
}

/// A client of a session.
fn client(rig: &Rig, session: &str) -> Kubectl {
    rig.kubectl(rig.token().claim("sid", session).mint())
}

fn refused(kubectl: &Kubectl) {
    let begun = Instant::now();
    until("it is refused", || {
        let output = kubectl.run(["get", "namespaces"]).unwrap();
        assert!(output.success() || output.stderr.contains("log in again"), "{output:?}");
        (!output.success()).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn an_issuer_ends_a_login_and_what_runs_under_it() {
    let (rig, folder) = rig(3600);
    let (ended, other) = (client(&rig, "s1"), client(&rig, "s2"));
    for kubectl in [&ended, &other] {
        kubectl.must(["get", "namespaces"], "").unwrap();
    }
    // What a watch begins with.
    cluster().admin().must(["create", "configmap", "logout"], "").unwrap();
    let path = "/api/v1/namespaces/default/configmaps?watch=true";
    let start = |kubectl: &Kubectl| {
        let mut watch = kubectl.start(["get", "--raw", path]).unwrap();
        watch.line(LIMIT, |line| line.contains("ADDED")).unwrap();
        watch
    };
    let (mut watch, mut others) = (start(&ended), start(&other));
    let issuer = rig.issuer();
    let token = issuer.mint(&claims(issuer.url(), "l1"));
    assert_eq!(log_out(&rig, &token), 200, "{}", rig.log());
    let said = Instant::now();
    refused(&ended);
    watch.wait(LIMIT).unwrap();
    assert!(said.elapsed() < Duration::from_secs(5), "{:?}", said.elapsed());
    other.must(["get", "namespaces"], "").unwrap();
    assert_eq!(others.ended().unwrap(), None);
    let written = fs::read_to_string(document(&folder)).unwrap();
    assert!(written.contains("\"sid\":\"s1\"") && written.contains("logged out"), "{written}");

    // It comes again, perhaps by another hand: once is enough.
    assert_eq!(log_out(&rig, &token), 400);
    // A subject: all its logins until now, and none after.
    let subject = claims(issuer.url(), "l2");
    let mut subject = subject.as_object().unwrap().clone();
    let old = rig.token().claim("iat", now() - 30);
    subject.remove("sid");
    subject.insert("sub".to_owned(), old.claims()["sub"].clone());
    let old = rig.kubectl(old.mint());
    let new = rig.kubectl(rig.token().claim("iat", now() + 30).mint());
    old.must(["get", "namespaces"], "").unwrap();
    assert_eq!(log_out(&rig, &issuer.mint(&Value::Object(subject))), 200);
    refused(&old);
    new.must(["get", "namespaces"], "").unwrap();
    let ended = rig.metric("gateway_logouts_total{result=\"ok\"}");
    assert!((ended - 2.0).abs() < 0.5, "{ended}");
}

#[test]
fn what_is_no_logout_token_ends_nothing() {
    let (rig, folder) = rig(3600);
    let issuer = rig.issuer();
    let url = issuer.url().to_owned();
    let with = |id: &str, change: &dyn Fn(&mut Value)| {
        let mut claims = claims(&url, id);
        change(&mut claims);
        issuer.mint(&claims)
    };
    // Of the same name, and with another key.
    let stranger = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
    let forged = stranger.issuer().mint(&claims(&url, "f1"));
    let others = stranger.issuer().mint(&claims(stranger.issuer().url(), "f2"));
    let tokens = [
        ("forged", forged),
        ("of nobody's issuer", others),
        ("an ID token", rig.token().claim("sid", "s1").mint()),
        ("with a nonce", with("a", &|it| it["nonce"] = json!("n"))),
        ("of another event", with("b", &|it| it["events"] = json!({"x": {}}))),
        (
            "of nobody",
            with("c", &|it| {
                it.as_object_mut().unwrap().remove("sub");
                it.as_object_mut().unwrap().remove("sid");
            }),
        ),
        ("without an id", with("d", &|it| drop(it.as_object_mut().unwrap().remove("jti")))),
        ("for somebody else", with("e", &|it| it["aud"] = json!("other"))),
        ("expired", with("f", &|it| it["exp"] = json!(now() - 1))),
        ("old", with("g", &|it| it["iat"] = json!(now() - 3600))),
        ("no token", "a.b.c".to_owned()),
    ];
    for (what, token) in &tokens {
        assert_eq!(log_out(&rig, token), 400, "{what}");
    }
    let good = with("good", &|_| {});
    for (kind, body, status) in [
        ("application/json", format!("{{\"logout_token\":\"{good}\"}}"), 400),
        (FORM, String::new(), 400),
        (FORM, format!("logout_token={good}&logout_token={good}"), 400),
        (FORM, format!("logout_token={}", "a".repeat(100_000)), 400),
    ] {
        assert_eq!(send(&rig, kind, &body).0, status, "{body:.80}");
    }
    let get = rig.agent().get(format!("{}{PATH}?logout_token={good}", rig.url())).call().unwrap();
    assert_eq!(get.status(), 401, "by no other spelling");
    let get = rig.agent().get(format!("{}{PATH}", rig.url())).call().unwrap();
    assert_eq!(get.status(), 405);
    assert_eq!(fs::read_to_string(document(&folder)).unwrap(), EMPTY);
    let log = rig.log();
    assert!(log.contains("a logout token was not taken"), "{log}");
    assert!(
        !tokens.iter().any(|(_, token)| token.len() > 100 && log.contains(token)),
        "a token is in the log"
    );
}

/// Grants alone bring a socket for the filter's questions, and nobody who takes logout tokens: a path would lead to 503.
#[test]
fn a_path_with_nobody_behind_it_is_refused_at_the_start_and_at_a_reload() {
    const WAY_OUT: &str =
        "logout.path: Invalid value: needs --revocations or --revocations-configmap";
    let with_path = || {
        let mut gateway = realm::configuration();
        gateway["logout"] = json!({"path": PATH});
        gateway.to_string()
    };
    let flags = |files: &crate::harness::Files| {
        let config = files.config.display();
        vec![
            format!("--authentication-config={config}/authentication.yaml"),
            format!("--gateway-config={config}/gateway.yaml"),
            format!("--grants={}", files.config.with_extension("grants.json").display()),
        ]
    };
    let mut rig = Rig::start(
        |files| {
            let mut flags = flags(files);
            let path = files.config.with_extension("gateway.json");
            fs::write(&path, with_path()).unwrap();
            flags[1] = format!("--gateway-config={}", path.display());
            flags
        },
        false,
    );
    assert!(!rig.program.wait(LIMIT).unwrap().success());
    assert!(rig.log().contains(WAY_OUT), "{}", rig.log());

    let mut rig = Rig::with(flags, false);
    let kubectl = rig.kubectl(rig.token().mint());
    kubectl.must(["get", "namespaces"], "").unwrap();
    rig.config.swap(&[("gateway.yaml", with_path().as_bytes())]);
    until("it is refused", || {
        let metric = "gateway_reloads_total{input=\"configuration\",result=\"refused\"}";
        (rig.metric(metric) > 0.5).then_some(())
    });
    assert!(rig.log().contains(WAY_OUT), "{}", rig.log());
    // What was there before goes on.
    kubectl.must(["get", "namespaces"], "").unwrap();
    let answer = send(&rig, FORM, "logout_token=a.b.c");
    assert_eq!(answer.0, 401, "no path has been opened: {answer:?}");
}

/// Another issuer that the gateway believes says that its session `s1` has ended, and signs it well: that of the first goes on.
#[test]
fn another_issuers_session_of_the_same_name_stays() {
    let other = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let document = document(&folder);
    fs::write(&document, EMPTY).unwrap();
    let rig = Rig::with(
        |files| {
            let mut gateway = realm::configuration();
            gateway["logout"] = json!({"path": PATH});
            let write = |name: &str, value: &Value| {
                let path = files.config.with_extension(name);
                fs::write(&path, value.to_string()).unwrap();
                path
            };
            let own = fs::read(files.config.join("authentication.yaml")).unwrap();
            let mut both: Value = serde_json::from_slice(&own).unwrap();
            let more = realm::authentication_of(&other)["jwt"][0].clone();
            both["jwt"].as_array_mut().unwrap().push(more);
            vec![
                format!("--authentication-config={}", write("both.json", &both).display()),
                format!("--gateway-config={}", write("gateway.json", &gateway).display()),
                format!("--revocations={}", document.display()),
            ]
        },
        false,
    );
    let stays = client(&rig, "s1");
    let theirs = other.issuer().token("k8s-user1", realm::CLIENT).claim("sid", "s1").mint();
    let ends = rig.kubectl(theirs);
    for kubectl in [&stays, &ends] {
        until("requests are served", || {
            kubectl.run(["get", "namespaces"]).unwrap().success().then_some(())
        });
    }
    // In the name of the first, by the other's key.
    let forged = other.issuer().mint(&claims(rig.issuer().url(), "x1"));
    assert_eq!(log_out(&rig, &forged), 400);
    let token = other.issuer().mint(&claims(other.issuer().url(), "x2"));
    assert_eq!(log_out(&rig, &token), 200, "{}", rig.log());
    refused(&ends);
    stays.must(["get", "namespaces"], "").unwrap();
}
