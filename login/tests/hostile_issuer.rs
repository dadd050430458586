//! What an issuer says is not obeyed: where secrets are sent, and what the terminal shows.

mod common;

use common::{World, http::Server};
use oidc_provider::{Answer, Endpoint, Misbehaviour};
use serde_json::{Value, json};

/// An issuer on this machine needs no TLS. What it names on another machine does.
#[test]
fn break_in_12_an_issuer_on_this_machine_cannot_name_plain_endpoints_elsewhere() {
    let world = World::new();
    let password = ["--username=a", "--password=s3cret"];
    for (endpoint, flags) in [
        ("authorization_endpoint", &["--grant-type=authcode"][..]),
        ("token_endpoint", &password),
        ("jwks_uri", &password),
        ("device_authorization_endpoint", &["--grant-type=device-code"]),
    ] {
        let issuer = Server::start(move |request| {
            if request.starts_with("POST ") {
                return r#"{"id_token":"a.b.c"}"#.to_owned();
            }
            let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            let mut document = json!({
                "issuer": format!("http://{host}"),
                "authorization_endpoint": format!("http://{host}/auth"),
                "token_endpoint": format!("http://{host}/token"),
                "jwks_uri": format!("http://{host}/keys"),
            });
            document[endpoint] = json!("http://login.example/endpoint");
            document.to_string()
        });
        let plugin = world.plugin().args(["get-token", "--oidc-client-id=kube"]);
        let issuer_url = format!("--oidc-issuer-url={}", issuer.url());
        let outcome = plugin.arg(issuer_url).args(common::any_port()).args(flags).run();
        outcome.fails_with(&format!("the issuer's {endpoint} cannot be used"));
        outcome.fails_with("is not an https URL");
    }
}

/// Keys over TLS stay keys over TLS.
#[test]
fn break_in_12_a_redirect_does_not_lead_out_of_tls() {
    let world = World::new();
    let keys = Server::start(|_| r#"{"keys":[]}"#.to_owned());
    for (to, why) in [
        (keys.url(), "is not an https URL"),
        ("file:///etc/passwd".to_owned(), "is not an https URL"),
        (world.issuer.endpoint(Endpoint::Jwks), "too many redirects"),
    ] {
        let redirect = Misbehaviour::answer(Answer::Redirect(to));
        world.issuer.misbehave(Endpoint::Jwks, redirect).unwrap();
        let mut running = world.get_token().arg("--token-store=none").spawn();
        world.sign_in(&running.login_url());
        running.finish().fails_with(why);
    }
    assert!(keys.requests.try_recv().is_err(), "it was not asked");
    // One that stays is followed.
    let elsewhere = world.issuer.endpoint(Endpoint::Jwks);
    let once = Misbehaviour::answer(Answer::Redirect(elsewhere)).times(1);
    world.issuer.misbehave(Endpoint::Jwks, once).unwrap();
    world.log_in(world.get_token()).credential();
}

/// Claims and error texts stand in one line each, and in the order in which they are written.
#[test]
fn break_in_12_what_an_issuer_says_does_not_command_the_terminal() {
    let evil = "Ada\nCluster  fine\r\u{1b}[2J\u{9b}2J\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}end";
    let harmless = |text: &str| {
        assert!(text.contains("end"), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("Cluster")), "{text}");
        let bad = |c: char| {
            c != '\n'
                && (c.is_control()
                    || matches!(c, '\u{61c}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'))
        };
        assert!(!text.chars().any(bad), "{text:?}");
    };
    let world = World::new();
    world
        .issuer
        .change_user("alice", |user| {
            user.claims.insert("name".to_owned(), evil.into());
        })
        .unwrap();
    let scope = "--oidc-extra-scope=profile";
    world.log_in(world.get_token().arg(scope)).credential();
    let whoami = || world.plugin().arg("whoami").args(world.flags()).args([scope, "--offline"]);
    harmless(&whoami().run().stdout);
    let document = whoami().args(["-o", "json"]).run().stdout;
    harmless(&document);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["claims"]["name"], evil, "programs get it as it is");

    let body = json!({"error": "invalid_grant", "error_description": evil}).to_string();
    let refusal = Answer::Body { status: 400, content_type: "application/json".to_owned(), body };
    world.issuer.misbehave(Endpoint::Token, Misbehaviour::answer(refusal)).unwrap();
    let password = ["--username=a", "--password=b", "--token-store=none", "-v"];
    harmless(&world.get_token().args(password).run().stderr);
}
