//! Keycloak's back-channel logout: an administrator ends a session, and what runs under it ends.

use std::{
    fs,
    time::{Duration, Instant},
};

use gateway_tests::built;
use sandbox::{
    Authority, Cluster, Credential, Kubeconfig, Kubectl, Port, Program, Running, realm,
    wait::{LIMIT, until},
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    keycloak::{Keycloak, REALM},
    plugin::claims,
    story::{self, CLUSTER},
};

const PATH: &str = "/oidc/logout";
const CLIENT: &str = "kubernetes-logout";
/// How late what runs may end, from the administrator's word on.
const ENDED: Duration = Duration::from_secs(5);

/// The program in front of the cluster, which takes logout tokens.
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
        authentication["jwt"][0]["issuer"]["audiences"] = json!([CLIENT]);
        let mut gateway = realm::configuration();
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
        let output = kubectl.run(["get", "namespaces"]).unwrap();
        let is_refused = output.stderr.contains("You must be logged in to the server");
        assert!(!output.success() && is_refused, "{output:?}");
        println!("the watch ended {took:?} after the administrator's word, in {REALM}");
    };
    end(session.as_str().unwrap(), &mut of_ended, &ended);
    assert_eq!(of_other.ended().unwrap(), None, "another session's watch ended");
    stays.must(["get", "namespaces"], "").unwrap();
    end(other.as_str().unwrap(), &mut of_other, &stays);
    let written = fs::read_to_string(gateway.folder.path().join("revocations.yaml")).unwrap();
    assert!(written.contains(&session.to_string()) && written.contains("logged out"), "{written}");
}
