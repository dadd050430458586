//! Logouts that end what runs: Keycloak's back-channel logout, and one at the portal beside the gateway, in a real browser.
//!
//! With `UPDATE_PICTURES` set, the pictures of the page are made anew ([`crate::portal`]).

use std::time::{Duration, Instant};

use sandbox::{
    Kubectl, Running, realm,
    wait::{LIMIT, until},
};
use serde_json::{Value, json};

use crate::{
    beside::{Beside, Documents, Place},
    browser::Browser,
    keycloak::{Keycloak, PASSWORD, REALM, USER},
    plugin::claims,
    portal::pictures,
    story,
};

const PATH: &str = "/oidc/logout";
const CLIENT: &str = "kubernetes-logout";
/// The portal's client and audience.
const PORTAL: &str = "portal";
const SECRET: &str = "the-secret-of-the-portals-client";
const AUDIENCE: &str = "github.com/planetlabs/kubehook";
/// How late what runs may end, from the administrator's word on.
const ENDED: Duration = Duration::from_secs(5);

/// The program in front of the cluster, which takes logout tokens, and has a portal.
fn start(place: Place, keycloak: &Keycloak) -> Beside {
    Beside::start(place, |write| {
        let mut authentication = story::authentication(keycloak);
        authentication["jwt"][0]["issuer"]["audiences"] = json!([CLIENT, PORTAL]);
        authentication["jwt"][0]["issuer"]["audienceMatchPolicy"] = json!("MatchAny");
        let mut gateway = realm::configuration();
        let secret = write("secret", "the-secret-by-which-the-gateway-takes-the-portals-tokens");
        gateway["sharedSecret"] = json!({"audience": AUDIENCE, "secretFiles": [secret]});
        gateway["logout"] = json!({"path": PATH, "lifetimeSeconds": 600});
        let portal = json!({
            "audience": AUDIENCE, "secretFile": [secret],
            "loginClientId": PORTAL, "loginClientSecretFile": write("client-secret", SECRET),
            "loginCookieSecretFile": write("cookies", "thirty-two-bytes-and-some-more-for-cookies"),
            "outliveLogin": true,
        });
        let revocations = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: Revocations\n";
        let flags = vec![format!("--revocations={}", write("revocations.yaml", revocations))];
        Documents { authentication, gateway, portal, flags }
    })
}

fn watch(kubectl: &Kubectl) -> Running {
    let mut watch = kubectl.start(["get", "--raw", "/api/v1/namespaces?watch=true"]).unwrap();
    watch.line(LIMIT, |line| line.contains("ADDED")).unwrap();
    watch
}

/// The watch of a session that an administrator ends is over within five seconds, and the next request is refused; another session of the
/// same user's goes on until it is ended itself.
#[test]
fn an_administrator_ends_a_session_at_keycloak_and_kubectls_watch_ends() {
    let place = Place::reserve();
    let url = format!("https://{}{PATH}", place.port.address());
    let keycloak = Keycloak::start_trusting("http://localhost:8000", Some(place.authority.pem()));
    keycloak.add(&json!({
        "clientId": CLIENT,
        "publicClient": true,
        "directAccessGrantsEnabled": true,
        "attributes": {
            "backchannel.logout.url": url,
            "backchannel.logout.session.required": "true",
        },
        "protocolMappers": [{
            "name": "groups", "protocol": "openid-connect",
            "protocolMapper": "oidc-group-membership-mapper",
            "config": {"claim.name": "groups", "full.path": "false", "id.token.claim": "true"},
        }],
    }));
    let gateway = start(place, &keycloak);
    let tokens = [(); 2].map(|()| keycloak.log_in_for(CLIENT, "id_token"));
    let [session, other] = tokens.each_ref().map(|token| claims(token)["sid"].clone());
    assert!(session.is_string() && session != other, "{session} {other}");
    let [ended, stays] = tokens.each_ref().map(|token| gateway.kubectl(token));
    for kubectl in [&ended, &stays] {
        until("requests are served", || {
            let output = kubectl.run(["get", "namespaces"]).unwrap();
            if output.success() { Ok(()) } else { Err(format!("{output:?}\n{}", gateway.log())) }
        });
    }
    let (mut of_ended, mut of_other) = (watch(&ended), watch(&stays));

    let end = |session: &str, watch: &mut Running, kubectl: &Kubectl| {
        let said = Instant::now();
        keycloak.end_session(session);
        watch.wait(LIMIT).unwrap_or_else(|error| panic!("{error}\n{}", gateway.log()));
        let took = said.elapsed();
        assert!(took < ENDED, "{took:?}\n{}", gateway.log());
        // Each of Envoy's workers learns of it by itself: the one that ends the watch may be the first.
        until("the next request is refused", || {
            let output = kubectl.run(["get", "namespaces"]).unwrap();
            let is_refused = output.stderr.contains("You must be logged in to the server");
            if !output.success() && is_refused { Ok(()) } else { Err(format!("{output:?}")) }
        });
        let took = said.elapsed();
        assert!(took < ENDED, "the next request: {took:?}\n{}", gateway.log());
        println!("the watch ended {took:?} after the administrator's word, in {REALM}");
    };
    end(session.as_str().unwrap(), &mut of_ended, &ended);
    assert_eq!(of_other.ended().unwrap(), None, "another session's watch ended");
    stays.must(["get", "namespaces"], "").unwrap();
    end(other.as_str().unwrap(), &mut of_other, &stays);
    let written = gateway.read("revocations.yaml");
    assert!(written.contains(&session.to_string()) && written.contains("logged out"), "{written}");
}

/// Whoever logs out at the page ends the token that was made there, and the watch that runs with it; and the page says so.
#[test]
fn a_logout_at_the_page_ends_the_token_that_was_made_there() {
    let place = Place::reserve();
    let url = place.portal();
    let keycloak = Keycloak::start("http://localhost:8000");
    keycloak.add_client(PORTAL, SECRET, &format!("{url}/oauth2/callback"));
    let gateway = start(place, &keycloak);
    let browser = Browser::start();
    let shows = |words: &str| {
        until(words, || {
            let shown = browser.reads();
            if shown.contains(words) { Ok(()) } else { Err(format!("{shown}\n{}", gateway.log())) }
        });
    };
    until("the gateway is there", || {
        gateway.kubectl("x").run(["version"]).unwrap().stderr.contains("logged in").then_some(())
    });
    browser.open(&url);
    browser.fill("#username", USER);
    browser.fill("#password", PASSWORD);
    browser.click("#kc-login");
    shows("Get access");
    shows("It ends when you log out here");
    // By the page's own way, as its buttons make one.
    let make = "return fetch('generate', {method: 'POST', headers: {'content-type': 'application/json'}, body: '{\"lifetime\": \"1h\"}'}).then((answer) => answer.json())";
    let made: Value = browser.run(make);
    let token = made["token"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let kubectl = gateway.kubectl(&token);
    until("requests are served", || {
        let output = kubectl.run(["get", "namespaces"]).unwrap();
        if output.success() { Ok(()) } else { Err(format!("{output:?}\n{}", gateway.log())) }
    });
    let mut watch = watch(&kubectl);
    browser.click("#logout");
    let said = Instant::now();
    watch.wait(LIMIT).unwrap_or_else(|error| panic!("{error}\n{}", gateway.log()));
    assert!(said.elapsed() < ENDED, "{:?}", said.elapsed());
    let output = kubectl.run(["get", "namespaces"]).unwrap();
    assert!(output.stderr.contains("this login has been revoked"), "{output:?}");
    shows("You are logged out");
    shows("The tokens that you made with this login have ended");
    pictures(&browser, "logout-ended");
}
