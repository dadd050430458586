//! kubernetes-sandbox's story, with a person in front of a browser.

use std::sync::LazyLock;

use gateway_tests::person::Person;
use sandbox::{
    Cluster, Credential, Gateway, Kubectl, Output, Port,
    wait::{LIMIT, until},
};
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    keycloak::{Keycloak, PASSWORD, REALM, USER},
};

/// What the realm's groups may do.
const BINDINGS: &str = include_str!("../../../sandbox/manifests/realm.yaml");

pub static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::builder().start().expect("the cluster starts");
    cluster.apply(BINDINGS).expect("the roles of the realm's groups are bound");
    cluster
});

/// Everything that takes part.
struct Stage {
    gateway: Gateway,
    keycloak: Keycloak,
    browser: Browser,
    person: Person,
    redirect: Port,
}

impl Stage {
    fn set() -> Self {
        // The one address that the client is registered with, as docs/login.md has it, on a port that is free here.
        let redirect = Port::reserve().unwrap();
        let keycloak = Keycloak::start(&format!("http://localhost:{}", redirect.number()));
        let person = Person::new(&CLUSTER.assets().kubectl);
        let gateway = CLUSTER.gateway(authentication(&keycloak));
        let gateway = gateway.configuration(sandbox::realm::configuration()).start().unwrap();
        Self { gateway, browser: Browser::start(), keycloak, person, redirect }
    }

    /// kubectl with the plugin as docs/login.md has it for Keycloak.
    fn kubectl(&self, more: &[&str]) -> Kubectl {
        let issuer = format!("--oidc-issuer-url={}", self.keycloak.issuer());
        let client = format!("--oidc-client-id={REALM}");
        let mut args = vec!["get-token", &issuer, &client];
        args.extend(more);
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "kubectl-oidc",
            "args": args,
            "interactiveMode": "IfAvailable",
        });
        let ca = self.person.file("keycloak.crt", self.keycloak.ca());
        let kubectl = self.gateway.kubectl(Credential::Exec(exec)).unwrap();
        let listen = self.redirect.address().to_string();
        self.person
            .takes(kubectl)
            .environment("KUBECTL_OIDC_CERTIFICATE_AUTHORITY", &ca)
            .environment("KUBECTL_OIDC_LISTEN_ADDRESS", &listen)
    }

    /// Runs a command during which the person signs in, the browser being sent there for the `visit`th time.
    fn run_signing_in(&self, kubectl: &Kubectl, words: &str, visit: usize) -> Output {
        let sign_in = || {
            self.browser.fill("#username", USER);
            self.browser.fill("#password", PASSWORD);
            self.browser.click("#kc-login");
        };
        self.run_at_the_browser(kubectl, words, visit, sign_in, "Signed in")
    }

    /// Runs a command during which the person does something at the browser, until the plugin's own page says `end`.
    fn run_at_the_browser(
        &self,
        kubectl: &Kubectl,
        words: &str,
        visit: usize,
        person: impl FnOnce(),
        end: &str,
    ) -> Output {
        std::thread::scope(|scope| {
            let running = scope.spawn(|| kubectl.run(words.split(' ')).unwrap());
            self.browser.open(&self.person.visit(visit, LIMIT));
            person();
            let own_page = format!("http://localhost:{}/", self.redirect.number());
            until("the plugin's own page", || {
                let there = self.browser.address().starts_with(&own_page);
                (there && self.browser.reads().contains(end)).then_some(())
            });
            running.join().unwrap()
        })
    }

    /// The token that the plugin has stored.
    fn token(kubectl: &Kubectl) -> String {
        let words = ["oidc", "whoami", "--show-token", "--offline", "-o", "json"];
        let text = kubectl.must(words, "").unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        document["token"].as_str().unwrap_or_else(|| panic!("{document}")).to_owned()
    }

    /// How often the browser was sent somewhere.
    fn visits(&self) -> usize {
        self.person.visits().len()
    }
}

pub fn authentication(keycloak: &Keycloak) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {
                "url": keycloak.issuer(),
                "audiences": [REALM],
                "certificateAuthority": keycloak.ca(),
            },
            "claimMappings": {
                "username": {
                    "claim": "preferred_username",
                    "prefix": format!("{}#", keycloak.issuer()),
                },
                "groups": {"claim": "groups", "prefix": ""},
            },
        }],
    })
}

/// One story, in order: each part needs what the one before has left. Starting Keycloak takes longer than telling it.
#[test]
fn from_a_login_page_to_a_logout() {
    let stage = Stage::set();
    let kubectl = stage.kubectl(&[]);

    // Keycloak holds the client to PKCE.
    let without = stage.kubectl(&["--oidc-pkce-method=no"]);
    let refused = stage.run_at_the_browser(&without, "get ns", 1, || {}, "code_challenge_method");
    assert!(refused.stderr.contains("Missing parameter: code_challenge_method"), "{refused:?}");

    // A login in the browser, once.
    let first = stage.run_signing_in(&kubectl, "get ns", 2);
    assert!(first.success() && first.stdout.contains("kube-system"), "{first:?}");
    let token = Stage::token(&kubectl);
    for _ in 0..2 {
        kubectl.must(["get", "ns"], "").unwrap();
    }
    assert_eq!(Stage::token(&kubectl), token, "the stored token serves");
    assert_eq!(stage.visits(), 2, "the second command needs no browser");

    // A viewer may not write; the words are those of kubernetes-sandbox.
    let user = format!("{}#{USER}", stage.keycloak.issuer());
    let refused = kubectl.run(["create", "ns", "test123"]).unwrap();
    let forbidden = format!(
        "Error from server (Forbidden): namespaces is forbidden: User \"{user}\" cannot create \
         resource \"namespaces\" in API group \"\" at the cluster scope\n"
    );
    assert_eq!((refused.code, refused.stderr), (Some(1), forbidden));

    // Groups changed in Keycloak arrive with the next token, and go with it.
    let renewing = stage.kubectl(&["--force-refresh"]);
    stage.keycloak.join("system:masters");
    let created = renewing.must(["create", "ns", "test123"], "").unwrap();
    assert_eq!(created, "namespace/test123 created\n");
    stage.keycloak.leave("system:masters");
    let refused = renewing.run(["create", "ns", "test124"]).unwrap();
    assert!(refused.stderr.starts_with("Error from server (Forbidden)"), "{refused:?}");

    // A token that has expired at the gateway is replaced without anybody's help.
    stage.keycloak.set_token_lifetime(2);
    renewing.must(["get", "ns"], "").unwrap();
    let expired = Stage::token(&kubectl);
    stage.keycloak.set_token_lifetime(300);
    let alone = stage.gateway.kubectl(Credential::Token(expired.clone())).unwrap();
    until("the token expires", || {
        let output = alone.run(["get", "ns"]).unwrap();
        output.stderr.contains("You must be logged in").then_some(())
    });
    kubectl.must(["get", "ns"], "").unwrap();
    assert_ne!(Stage::token(&kubectl), expired);
    assert_eq!(stage.visits(), 2, "the refresh token serves");

    // A logout ends the session at Keycloak, too; then a person is asked again.
    assert_eq!(stage.keycloak.sessions(), 1);
    let logout = kubectl.run(["oidc", "logout"]).unwrap();
    assert!(logout.stderr.contains("The refresh token is revoked."), "{logout:?}");
    let end_session = stage.person.visit(3, LIMIT);
    assert!(end_session.contains("/protocol/openid-connect/logout?"), "{end_session}");
    stage.browser.open(&end_session);
    if stage.browser.has("#kc-logout") {
        stage.browser.click("#kc-logout");
    }
    until("the session ends", || (stage.keycloak.sessions() == 0).then_some(()));
    let again = stage.run_signing_in(&kubectl, "get ns", 4);
    assert!(again.success() && again.stdout.contains("kube-system"), "{again:?}");
}
