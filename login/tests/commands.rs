//! setup, whoami, status, logout and clean.

mod common;

use std::fs;

use common::{Plugin, World, any_port, http::Server};
use oidc_provider::Endpoint;
use serde_json::{Value, json};

/// A cluster that knows who alice is.
fn cluster() -> Server {
    Server::start(|request| {
        let token = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        match token.map(common::claims) {
            Some(claims)
                if request
                    .starts_with("POST /apis/authentication.k8s.io/v1/selfsubjectreviews") =>
            {
                json!({
                    "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
                    "status": {"userInfo": {
                        "username": format!("oidc:{}", claims["sub"].as_str().unwrap()),
                        "groups": ["oidc:dev", "system:authenticated"],
                    }},
                })
                .to_string()
            }
            _ => r#"{"kind":"Status","status":"Failure","message":"Unauthorized","code":401}"#
                .to_owned(),
        }
    })
}

fn setup(world: &World, server: &str) -> Plugin {
    let flags = world.flags();
    world
        .plugin()
        .args(["setup", "--server", server, "--cluster=test"])
        .args(flags)
        .args(any_port())
        .arg("--oidc-extra-scope=groups,email,profile")
}

#[test]
fn setup_writes_a_kubeconfig_that_works() {
    let world = World::new();
    let cluster = cluster();
    fs::create_dir(world.path(".kube")).unwrap();
    let kubeconfig = world.path(".kube/config");
    fs::write(
        &kubeconfig,
        "# mine\ncurrent-context: old\nusers:\n- name: old # mine too\n  user: {token: t}\n",
    )
    .unwrap();

    let dry = world.log_in(setup(&world, &cluster.url()).arg("--dry-run"));
    assert!(
        dry.stdout.contains("command: kubectl-oidc") || dry.stdout.contains("/kubectl-oidc"),
        "{}",
        dry.stdout
    );
    assert!(!fs::read_to_string(&kubeconfig).unwrap().contains("exec"));

    // Logged in already: no person is needed.
    let outcome = setup(&world, &cluster.url()).run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for said in ["groups", "dev", "alice@example", "oidc:dev, system:authenticated"] {
        assert!(outcome.stderr.contains(said), "{said}\n{}", outcome.stderr);
    }
    let text = fs::read_to_string(&kubeconfig).unwrap();
    for kept in ["# mine\n", "- name: old # mine too", "current-context: test"] {
        assert!(text.contains(kept), "{kept}\n{text}");
    }
    assert!(!text.contains("eyJ"), "no token is written\n{text}");

    // What was written is found again, and calls us.
    let whoami = || world.plugin().arg("whoami");
    let outcome = whoami().run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for said in ["Issuer", "alice@example", "silently", "oidc:dev, system:authenticated"] {
        assert!(outcome.stdout.contains(said), "{said}\n{}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("eyJ"), "no token is shown unasked");
    let outcome = whoami().args(["-o", "json", "--show-token"]).run();
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(document["issuer"], world.issuer.url());
    assert_eq!(document["cluster"]["userInfo"]["groups"][0], "oidc:dev");
    assert_eq!(document["claims"]["email"], "alice@example");
    assert!(document["token"].as_str().unwrap().starts_with("eyJ"));

    // A user with a login of another kind.
    let outcome = whoami().args(["--context", "absent"]).run();
    outcome.fails_with("no context named \"absent\"");
}

/// KEP-3104: with such a policy kubectl runs no plugin, and what was set up does not work.
#[test]
fn setup_sees_a_policy_that_forbids_the_plugin() {
    let world = World::new();
    let cluster = cluster();
    fs::create_dir(world.path(".kube")).unwrap();
    let policy = |text: &str| fs::write(world.path(".kube/kuberc"), text).unwrap();
    policy("credentialPluginPolicy: DenyAll\n");
    let outcome = world.log_in(setup(&world, &cluster.url()));
    let forbids = "kubectl's own policy forbids this login: kubectl may run no plugin (DenyAll)";
    for said in [forbids, "kubectl kuberc set --section credentialplugin --policy Allowlist"] {
        assert!(outcome.stderr.contains(said), "{said}\n{}", outcome.stderr);
    }
    policy("credentialPluginPolicy: AllowAll\n");
    let outcome = setup(&world, &cluster.url()).run();
    assert!(!outcome.stderr.contains("policy"), "{}", outcome.stderr);
}

#[test]
fn setup_with_a_secret_keeps_it_out_of_the_arguments() {
    let world = World::with(|issuer| {
        issuer.clients[0] = oidc_provider::ClientConfig::confidential("kube", "s3cret");
    });
    let cluster = cluster();
    let outcome = world.log_in(setup(&world, &cluster.url()).arg("--oidc-client-secret=s3cret"));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let text = fs::read_to_string(world.path(".kube/config")).unwrap();
    assert_eq!(text.matches("s3cret").count(), 1, "{text}");
    assert!(text.contains("name: KUBECTL_OIDC_CLIENT_SECRET"), "{text}");
    // And it is found there.
    assert_eq!(world.plugin().arg("whoami").run().code, Some(0));
}

#[test]
fn setup_says_why_a_cluster_refuses() {
    let world = World::with(|issuer| issuer.users[0].email_verified = false);
    let refusing = Server::start(|_| r#"{"kind":"Status","message":"Unauthorized"}"#.to_owned());
    let outcome = world.log_in(setup(&world, &refusing.url()));
    outcome.fails_with("refuses the token (401)");
    outcome.fails_with("the issuer has not verified the e-mail address");
    assert!(!world.path(".kube").exists(), "nothing is written");
    setup(&world, "https://127.0.0.1:1").run().fails_with("cannot be reached");
    setup(&world, "http://cluster.example").run().fails_with("not an https URL");
    // A cluster of that name is another one.
    fs::create_dir(world.path(".kube")).unwrap();
    let other = "clusters: [{name: 127.0.0.1, cluster: {server: 'https://other.example'}}]\n";
    fs::write(world.path(".kube/config"), other).unwrap();
    let cluster = cluster();
    let flags = world.flags();
    let plugin = world.plugin().arg("setup").args(flags).args(["--server", &cluster.url()]);
    plugin.arg("--oidc-extra-scope=groups,email,profile").run().fails_with("https://other.example");
}

/// A condition of the gateway's, and a login that has been ended: the token is good, and its claims are not what is wrong.
#[test]
fn a_refusal_with_words_is_told_in_these_words() {
    let world = World::new();
    let said = "condition two-factors: log in with a second factor; log in again: kubectl oidc login --acr=mfa --max-age=900";
    let refusing = Server::start(move |_| json!({"kind": "Status", "message": said}).to_string());
    let outcome = world.log_in(setup(&world, &refusing.url()));
    outcome.fails_with(&format!("refuses this login (401): {said}"));
    assert!(!outcome.stderr.contains("administrator must correct"), "{}", outcome.stderr);
    assert!(!world.path(".kube").exists(), "nothing is written");
}

#[test]
fn setup_without_a_server_prints_the_user() {
    let world = World::new();
    let flags = world.flags();
    let outcome = world.log_in(world.plugin().arg("setup").args(flags).args(any_port()));
    assert!(outcome.stdout.contains("interactiveMode: IfAvailable"), "{}", outcome.stdout);
    assert!(!world.path(".kube").exists());
}

#[test]
fn status_logout_and_clean() {
    let world = World::new();
    let run = |words: &[&str]| world.plugin().args(words).run();
    assert_eq!(run(&["status"]).stderr, "No logins are stored.\n");
    world.log_in(world.get_token());
    let email = world.get_token().arg("--oidc-extra-scope=email");
    world.log_in(email);

    let status = run(&["status"]);
    assert_eq!(status.stdout.lines().count(), 2, "{}", status.stdout);
    assert!(status.stdout.contains("valid until"), "{}", status.stdout);
    let status: Value = serde_json::from_str(&run(&["status", "-o", "json"]).stdout).unwrap();
    assert_eq!(status[0]["clientId"], "kube");
    assert_eq!(status[0]["refreshable"], true);

    let flags = world.flags();
    let logout = || world.plugin().arg("logout").args(&flags).arg("--skip-open-browser");
    world.issuer.reset_requests();
    let outcome = logout().run();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""), "{}", outcome.stderr);
    assert_eq!(world.issuer.requests(Endpoint::Revocation), 1);
    assert!(outcome.stderr.contains("The refresh token is revoked."), "{}", outcome.stderr);
    let end = world.issuer.endpoint(Endpoint::EndSession);
    assert!(outcome.stderr.contains(&format!("{end}?client_id=kube")), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("eyJ"), "no token in an address: {}", outcome.stderr);
    assert_eq!(run(&["status"]).stdout.lines().count(), 1);
    // Asked for again.
    world.log_in(world.get_token());
    world.plugin().arg("whoami").args(&flags).run();

    // An issuer that is gone does not keep the token here.
    world.provider.go_down().unwrap();
    let outcome = logout().run();
    outcome.fails_with("cannot be reached");
    assert!(outcome.stderr.contains("is forgotten"), "{}", outcome.stderr);
    world.provider.come_up().unwrap();
    assert!(logout().arg("--local").run().stderr.contains("no stored login"));
    world.plugin().arg("whoami").args(&flags).run().fails_with("not logged in");

    let outcome = run(&["clean"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(run(&["status"]).stdout, "");
}

/// An issuer on this machine does without TLS, which the OAuth library does not allow for revocation.
#[test]
fn logout_at_an_issuer_on_this_machine() {
    use kubectl_oidc::store::{Key, Record};
    let world = World::new();
    let issuer = Server::start(|request| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let url = |path: &str| format!("http://{host}{path}");
        serde_json::json!({
            "issuer": url(""), "token_endpoint": url("/token"), "revocation_endpoint": url("/revoke"),
        })
        .to_string()
    });
    let key = Key::new(&issuer.url(), "kube", &["scopes=openid".to_owned()]);
    let mut record = Record::new(&key, world.issuer.token("alice", "kube").mint());
    record.refresh_token = Some("r3fresh".to_owned());
    let tokens = world.path(".local/share/kubectl-oidc/tokens");
    fs::create_dir_all(&tokens).unwrap();
    fs::write(tokens.join(format!("{}.json", key.digest())), record.to_bytes()).unwrap();
    let logout = world.plugin().args(["logout", "--oidc-client-id=kube", "--skip-open-browser"]);
    let outcome = logout.arg(format!("--oidc-issuer-url={}", issuer.url())).run();
    assert!(outcome.stderr.contains("is forgotten"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("The refresh token is revoked."), "{}", outcome.stderr);
    let asked: Vec<_> = issuer.requests.try_iter().collect();
    let revoked = asked.iter().find(|request| request.starts_with("POST /revoke ")).unwrap();
    assert!(revoked.contains("token=r3fresh&token_type_hint=refresh_token&client_id=kube"));
}

/// The secret is shown as it is at the token endpoint, and in the other place if that is refused.
#[test]
fn logout_of_a_confidential_client() {
    for refused_once in [false, true] {
        let world = World::with(|issuer| {
            issuer.clients[0] = oidc_provider::ClientConfig::confidential("kube", "s3:cr+t");
        });
        let secret = "--oidc-client-secret=s3:cr+t";
        world.log_in(world.get_token().arg(secret)).credential();
        let refused = oidc_provider::Answer::Body {
            status: 401,
            content_type: "application/json".to_owned(),
            body: r#"{"error":"invalid_client"}"#.to_owned(),
        };
        if refused_once {
            let once = oidc_provider::Misbehaviour::answer(refused).times(1);
            world.issuer.misbehave(Endpoint::Revocation, once).unwrap();
        }
        let flags = world.flags();
        let logout =
            world.plugin().arg("logout").args(&flags).args([secret, "--skip-open-browser"]);
        let outcome = logout.run();
        assert!(outcome.stderr.contains("The refresh token is revoked."), "{}", outcome.stderr);
    }
}

#[test]
fn nothing_asked_is_help_and_mistakes_are_named() {
    let world = World::new();
    let help = world.plugin().run();
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("kubectl oidc setup"), "{}", help.stdout);
    let outcome = world.plugin().args(["get-token", "--no-such-flag"]).run();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    assert!(outcome.stderr.contains("--no-such-flag"), "{}", outcome.stderr);
    world.plugin().arg("get-token").run().fails_with("--oidc-issuer-url is missing");
    world.plugin().env("CLIENT_ID", "c").run().fails_with("--oidc-issuer-url is missing");
}
