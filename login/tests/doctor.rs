//! `doctor`: what is wrong is found, with its cure, and nothing else is called wrong.

mod common;

use std::{collections::BTreeMap, fs};

use common::{Plugin, World, any_port, http::Server};
use oidc_provider::{Answer, Endpoint, Misbehaviour};
use serde_json::{Value, json};

/// A kubeconfig whose context logs in at the world's issuer and is for this cluster.
fn kubeconfig(world: &World, server: &str, more: &[&str]) {
    let mut arguments = vec!["get-token".to_owned()];
    arguments.extend(world.flags());
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    let document = json!({
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"exec": {"command": "kubectl-oidc", "args": arguments}}}],
    });
    fs::create_dir_all(world.path(".kube")).unwrap();
    fs::write(world.path(".kube/config"), document.to_string()).unwrap();
}

fn cluster() -> Server {
    Server::start(|_| {
        let user = json!({"username": "oidc:alice", "groups": ["a", "b"]});
        json!({"kind": "SelfSubjectReview", "status": {"userInfo": user}}).to_string()
    })
}

/// Each check's result, message and cure.
fn doctor(plugin: Plugin) -> (Option<i32>, BTreeMap<String, (String, String)>) {
    let outcome = plugin.args(["doctor", "-o", "json"]).run();
    let rows: Value = serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = rows.as_array().unwrap().iter().map(|row| {
        let said =
            format!("{}: {} → {}", text(row, "result"), text(row, "message"), text(row, "cure"));
        (text(row, "check"), (text(row, "result"), said))
    });
    (outcome.code, rows.collect())
}

#[test]
fn all_is_well() {
    let world = World::new();
    let cluster = cluster();
    let more = ["--oidc-extra-scope=groups", "--listen-address=127.0.0.1:0", "--token-store=file"];
    kubeconfig(&world, &cluster.url(), &more);
    let login = world.plugin().args(["login", "--skip-open-browser"]);
    assert_eq!(world.log_in(login).code, Some(0));
    let (code, found) = doctor(world.plugin());
    assert_eq!(code, Some(0), "{found:#?}");
    for check in [
        "kubeconfig",
        "proxy",
        "port",
        "issuer",
        "clock",
        "scopes",
        "redirect URI",
        "login",
        "refresh token",
        "groups",
        "cluster",
    ] {
        assert_eq!(
            found.get(check).map(|found| found.0.as_str()),
            Some("ok"),
            "{check}: {found:#?}"
        );
    }
    assert!(found["cluster"].1.contains("sees oidc:alice in 2 groups"), "{found:#?}");
    let text = world.plugin().arg("doctor").run();
    assert_eq!((text.code, text.stderr.as_str()), (Some(0), ""));
    assert!(
        text.stdout.lines().any(|line| line.starts_with("clock ") && line.contains("  ok ")),
        "{}",
        text.stdout
    );
    assert!(!text.stdout.contains("eyJ"));
}

#[test]
fn each_fault_has_its_cure() {
    let world = World::new();
    kubeconfig(&world, "https://127.0.0.1:1", &["--listen-address=127.0.0.1:0"]);
    // Nobody is logged in, there is no keyring, the cluster is away.
    let (code, found) = doctor(world.plugin());
    assert_eq!(code, Some(1));
    for (check, want) in [
        ("login", "→ log in with: kubectl oidc login"),
        ("keyring", "warning: there is none here"),
        ("cluster", "nothing listens there"),
    ] {
        assert!(found[check].1.contains(want), "{check} {want}: {found:#?}");
    }
    assert_eq!(found["issuer"].0, "ok", "the rest is tried all the same");

    // A clock.
    let date = (chrono::Utc::now() + chrono::TimeDelta::hours(1))
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks] {
        world.issuer.misbehave(endpoint, Misbehaviour::header("Date", date.clone())).unwrap();
    }
    let (_, found) = doctor(world.plugin());
    assert!(
        found["clock"].1.starts_with("failed: this machine's clock is 59 min behind")
            || found["clock"].1.starts_with("failed: this machine's clock is 60 min behind"),
        "{found:#?}"
    );
    assert!(found["clock"].1.contains("timedatectl"), "{found:#?}");
    world.issuer.behave();

    // A proxy, and kubectl's policy.
    let (_, found) = doctor(world.plugin().env("HTTPS_PROXY", "ftp://x"));
    assert!(found["proxy"].1.contains("is not a URL of a proxy"), "{found:#?}");
    fs::write(world.path(".kube/kuberc"), "credentialPluginPolicy: DenyAll\n").unwrap();
    let (_, found) = doctor(world.plugin());
    assert!(found["kuberc policy"].1.contains("credentialPluginAllowlist"), "{found:#?}");

    // A redirect URI that is not registered.
    kubeconfig(
        &world,
        "https://127.0.0.1:1",
        &["--listen-address=127.0.0.1:0", "--oidc-redirect-url=http://other.example/cb"],
    );
    let (_, found) = doctor(world.plugin());
    assert!(
        found["redirect URI"].1.contains("register http://other.example/cb for client \"kube\""),
        "{found:#?}"
    );

    // An issuer that shows a page whatever it is asked says nothing; one that refuses the rest of the request says that.
    let more = ["--listen-address=127.0.0.1:0", "--oidc-redirect-url=http://localhost:1/cb"];
    kubeconfig(&world, "https://127.0.0.1:1", &more);
    for (answer, check, want) in [
        (Answer::Html, "redirect URI", "warning: only a browser can tell"),
        (Answer::Redirect("https://i.example/error".to_owned()), "redirect URI", "warning: only a"),
        (
            Answer::Redirect("http://localhost:1/cb?error=invalid_scope".to_owned()),
            "login request",
            "failed: the issuer refuses it: invalid_scope",
        ),
    ] {
        world.issuer.misbehave(Endpoint::Authorization, Misbehaviour::answer(answer)).unwrap();
        let (_, found) = doctor(world.plugin());
        assert!(
            found.get(check).is_some_and(|found| found.1.starts_with(want)),
            "{want}: {found:#?}"
        );
    }
    world.issuer.behave();

    // A taken port, a scope that is not there, an unknown authority.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen-address={}", taken.local_addr().unwrap());
    kubeconfig(&world, "https://127.0.0.1:1", &[&listen, "--oidc-extra-scope=nonsense"]);
    let (_, found) = doctor(world.plugin());
    assert!(found["port"].1.contains("is in use"), "{found:#?}");
    assert!(found["scopes"].1.contains("does not list nonsense"), "{found:#?}");
    let issuer = format!("--oidc-issuer-url={}", world.issuer.url());
    let plugin = world.plugin().args(["doctor", &issuer, "--oidc-client-id=kube"]).args(any_port());
    let outcome = plugin.run();
    assert!(
        outcome.stdout.contains("no certificate authority known here signed it"),
        "{outcome:?}"
    );
    assert!(
        outcome.stdout.contains("→ give its certificate authority with --certificate-authority"),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("failed; "), "{outcome:?}");
}

#[test]
fn a_kubeconfig_that_is_none_is_the_first_finding() {
    let world = World::new();
    let (code, found) = doctor(world.plugin());
    assert_eq!(code, Some(1));
    assert!(found["kubeconfig"].1.contains("--context"), "{found:#?}");
}
