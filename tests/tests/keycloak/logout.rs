//! Logouts that end what runs: Keycloak's back-channel logout, and one at the portal beside the gateway, in a real browser.
//!
//! With `UPDATE_PICTURES` set, the pictures of the page are made anew ([`crate::portal`]).

use std::{
    fs,
    time::{Duration, Instant},
};

use gateway_tests::built;
use sandbox::{
    Authority, Cluster, Credential, Kubeconfig, Kubectl, Port, Program, Running, realm,
    wait::{LIMIT, until},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    browser::Browser,
    keycloak::{Keycloak, PASSWORD, REALM, USER},
    plugin::claims,
    portal::pictures,
    story::{self, CLUSTER},
};

const PATH: &str = "/oidc/logout";
const CLIENT: &str = "kubernetes-logout";
/// The portal's name, client and audience.
const HOST: &str = "localhost";
const PORTAL: &str = "portal";
const SECRET: &str = "the-secret-of-the-portals-client";
const AUDIENCE: &str = "github.com/planetlabs/kubehook";
/// How late what runs may end, from the administrator's word on.
const ENDED: Duration = Duration::from_secs(5);

/// The program in front of the cluster, which takes logout tokens, and has a portal.
struct Gateway {
    program: Program,
    port: Port,
    authority: Authority,
    // Ends after what runs in it.
    folder: TempDir,
}

impl Gateway {
    /// Where it will listen, and the CA of its certificate.
    fn place() -> (Port, Authority) {
        (Port::reserve().unwrap(), Authority::new("the gateway").unwrap())
    }

    fn start((port, authority): (Port, Authority), keycloak: &Keycloak) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let probe = Port::reserve().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let pair = authority.server(&[]).unwrap();
        let mut authentication = story::authentication(keycloak);
        authentication["jwt"][0]["issuer"]["audiences"] = json!([CLIENT, PORTAL]);
        authentication["jwt"][0]["issuer"]["audienceMatchPolicy"] = json!("MatchAny");
        let mut gateway = realm::configuration();
        let secret = write("secret", "the-secret-by-which-the-gateway-takes-the-portals-tokens");
        gateway["sharedSecret"] = json!({"audience": AUDIENCE, "secretFiles": [secret]});
        let portal = json!({
            "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "PortalConfiguration",
            "host": HOST, "url": portal_url(&port), "audience": AUDIENCE, "secretFile": [secret],
            "loginClientId": PORTAL, "loginClientSecretFile": write("client-secret", SECRET),
            "loginCookieSecretFile": write("cookies", "thirty-two-bytes-and-some-more-for-cookies"),
            "outliveLogin": true,
        });
        gateway["logout"] = json!({"path": PATH, "lifetimeSeconds": 600});
        let (namespace, account) = Cluster::GATEWAY;
        let token = CLUSTER.service_account_token(namespace, account, 600).unwrap();
        let ca = write("ca.crt", CLUSTER.ca());
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": CLUSTER.url(), "certificate-authority": ca}}],
            "users": [{"name": "a", "user": {"tokenFile": write("token", &token)}}],
        });
        let revocations = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: Revocations\n";
        let mut arguments = vec![
            "run".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--readiness-probe-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", port.number()),
            format!("--readiness-probe-port={}", probe.number()),
            format!("--tls-cert-file={}", write("crt.pem", &pair.certificate)),
            format!("--tls-private-key-file={}", write("key.pem", &pair.key)),
            format!("--kubeconfig={}", write("kubeconfig", &kubeconfig.to_string())),
            format!("--envoy-binary={}", CLUSTER.assets().envoy.display()),
            format!("--run-dir={}", folder.path().join("run").display()),
            format!("--authentication-config={}", write("auth.json", &authentication.to_string())),
            format!("--gateway-config={}", write("gateway.json", &gateway.to_string())),
            format!("--portal-config={}", write("portal.json", &portal.to_string())),
            format!("--revocations={}", write("revocations.yaml", revocations)),
            "--concurrency=2".to_owned(),
            "--shutdown-delay-duration=0s".to_owned(),
            "--drain-duration=1s".to_owned(),
        ];
        arguments.extend(built::filter_flags());
        let log = folder.path().join("log");
        let program = Program::start(&built::program(), arguments, &[], &log).unwrap();
        Self { program, port, authority, folder }
    }

    fn kubectl(&self, token: &str) -> Kubectl {
        let kubeconfig = Kubeconfig {
            server: format!("https://{}", self.port.address()),
            ca: self.authority.pem().to_owned(),
            credential: Credential::Token(token.to_owned()),
        };
        CLUSTER.kubectl_with(&kubeconfig).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.program.log()).unwrap_or_default()
    }
}

/// Where people find the portal: its name is told from the gateway's by the name in the TLS handshake.
fn portal_url(port: &Port) -> String {
    format!("https://{HOST}:{}", port.number())
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
    let place = Gateway::place();
    let url = format!("https://{}{PATH}", place.0.address());
    let keycloak = Keycloak::start_trusting("http://localhost:8000", Some(place.1.pem()));
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
    let gateway = Gateway::start(place, &keycloak);
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
    let written = fs::read_to_string(gateway.folder.path().join("revocations.yaml")).unwrap();
    assert!(written.contains(&session.to_string()) && written.contains("logged out"), "{written}");
}

/// Whoever logs out at the page ends the token that was made there, and the watch that runs with it; and the page says so.
#[test]
fn a_logout_at_the_page_ends_the_token_that_was_made_there() {
    let place = Gateway::place();
    let url = portal_url(&place.0);
    let keycloak = Keycloak::start("http://localhost:8000");
    keycloak.add_client(PORTAL, SECRET, &format!("{url}/oauth2/callback"));
    let gateway = Gateway::start(place, &keycloak);
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
