//! The ways to the API server and to issuers: a pod's files, a proxy, client certificates, the constrained form of RBAC.

use std::process::Command;

use oidc_provider::{Config, Preset, Provider, SignWith};
use sandbox::{Authority, Credential, Identity, realm};
use serde_json::json;

use crate::{
    behaviour::whoami,
    haproxy::Haproxy,
    harness::{Files, Mount, Mutual, Rig, Setup, Tunnel, binary, cluster, token, until},
};

/// In a pod nothing is given but the issuer: address, CA and token are the pod's, and the token is read again.
#[test]
fn a_pod_needs_no_way_to_the_api_server() {
    let mut rig = Rig::ready(&Setup { in_pod: true, ..Setup::default() }, |_| Vec::new());
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201);
    rig.account.swap(&[("token", token().as_bytes())]);
    let taken = "gateway_reloads_total{input=\"credential\",result=\"ok\"}";
    until("the token is taken", || (rig.metric(taken) > 0.0).then_some(()));
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201);
}

fn proxied(host: &'static str, tunnel: &Tunnel, direct: &str) -> Setup {
    Setup {
        host,
        environment: vec![("HTTPS_PROXY", tunnel.url()), ("NO_PROXY", direct.to_owned())],
        ..Setup::default()
    }
}

/// argo-cd#14280: such proxies are common. Their passwords are in nothing that Envoy shows, in no log and in no file.
#[test]
fn a_proxy_s_password_stays_with_the_program() {
    let by_http = Tunnel::guarded("Basic dTpzZWNyZXQtd29yZA==");
    let by_socks = Tunnel::socks("u", "secret-word");
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("proxy").unwrap());
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    let tls = Haproxy::start(folder.path(), &authority, "", by_http.address(), "");
    for (tunnel, scheme, address) in [
        (&by_http, "http", by_http.address()),
        (&by_http, "https", tls.address()),
        (&by_socks, "socks5", by_socks.address()),
    ] {
        let before = tunnel.asked().len();
        let setup = Setup {
            environment: vec![("HTTPS_PROXY", format!("{scheme}://u:secret-word@{address}"))],
            ..proxied("issuer.test", tunnel, "")
        };
        let system = format!("--system-ca-file={}", ca.display());
        let rig = Rig::ready(&setup, |_| vec![system]);
        until("a token is taken", || {
            (whoami(&rig, &rig.token().mint(), &[]).0 == 201).then_some(())
        });
        let asked = tunnel.asked();
        assert!(
            asked.len() > before && asked.iter().all(|it| it.starts_with("issuer.test:")),
            "{asked:?}"
        );
        let holds =
            |text: &str| text.contains("secret-word") || text.contains("dTpzZWNyZXQtd29yZA");
        for path in ["/config_dump?include_eds", "/clusters", "/listeners", "/server_info"] {
            assert!(!holds(&rig.envoy_admin(path)), "{scheme} {path}");
        }
        assert!(!holds(&rig.log()), "{scheme}");
        let found = Command::new("grep")
            .args(["-rlE", "secret-word|dTpzZWNyZXQtd29yZA"])
            .arg(rig.run_directory())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{scheme}");
        let socket = std::fs::metadata(rig.run_directory().join("proxy.sock")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&socket.permissions()) & 0o777, 0o600);
    }
}

/// A proxy that cannot be used stops nothing where no issuer is behind it.
#[test]
fn a_proxy_for_nobody_stops_nothing() {
    let tunnel = Tunnel::start();
    let environment =
        vec![("HTTPS_PROXY", "ftp://u:p@proxy.test".to_owned()), ("NO_PROXY", "*".to_owned())];
    let rig = Rig::ready(&Setup { environment, ..proxied("localhost", &tunnel, "") }, |_| vec![]);
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201);
}

/// No resolver knows the issuer's name: only the proxy leads to it.
#[test]
fn issuers_behind_a_proxy_are_reached_through_it() {
    let tunnel = Tunnel::start();
    let setup = proxied("issuer.test", &tunnel, "other.test,.issuer.test");
    let mut rig = Rig::ready(&setup, |_| vec![]);
    until("a token is taken", || (whoami(&rig, &rig.token().mint(), &[]).0 == 201).then_some(()));

    // The issuer's CA changes: what the issuer does not answer under, by the same way, is not taken.
    let taken = |rig: &Rig, result: &str| {
        let name = format!("gateway_reloads_total{{input=\"configuration\",result=\"{result}\"}}");
        until(&format!("the CA is {result}"), || (rig.metric(&name) > 0.0).then_some(()));
    };
    let stranger = Authority::new("stranger").unwrap();
    rig.config.swap(&[("oidc-ca.pem", stranger.pem().as_bytes())]);
    taken(&rig, "refused");
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201, "the old one serves");
    let both = format!("{}{}", rig.provider.ca_pem(), stranger.pem());
    rig.config.swap(&[("oidc-ca.pem", both.as_bytes())]);
    taken(&rig, "ok");
    until("a token is taken", || (whoami(&rig, &rig.token().mint(), &[]).0 == 201).then_some(()));

    let target = rig.issuer().url().trim_start_matches("https://").to_owned();
    let target = target.split('/').next().unwrap();
    let asked = tunnel.asked();
    assert!(!asked.is_empty() && asked.iter().all(|it| it == target), "{asked:?} {target}");
}

/// At the start nobody is behind the proxy. Envoy's way through it is there all the same, also where the program has to lead to it.
#[test]
fn an_issuer_behind_a_proxy_may_come_by_a_reload() {
    for (tunnel, scheme) in [(Tunnel::start(), "http"), (Tunnel::socks("u", "p"), "socks5")] {
        let host = "later.test".to_owned();
        let config = Config { host, ..Config::of(Preset::KubernetesSandbox.issuer()) };
        let later = Provider::start(config).unwrap();
        let environment = vec![("HTTPS_PROXY", format!("{scheme}://u:p@{}", tunnel.address()))];
        let setup = Setup { chart: false, environment, ..proxied("localhost", &tunnel, "") };
        let mut rig = Rig::ready(&setup, |files| {
            let at = |name: &str| files.config.join(name).display().to_string();
            vec![
                format!("--authentication-config={}", at("authentication.yaml")),
                format!("--gateway-config={}", at("gateway.yaml")),
            ]
        });
        assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201);
        assert_eq!(tunnel.asked(), [""; 0]);

        // What the issuer does not answer under, by the same way, is not taken.
        let offer = |rig: &mut Rig, ca: &str, result: &str| {
            let mut both = realm::authentication_of(&rig.provider);
            let more = realm::authentication(&later.issuer(), ca, "preferred_username");
            both["jwt"].as_array_mut().unwrap().push(more["jwt"][0].clone());
            rig.config.swap(&[("authentication.yaml", both.to_string().as_bytes())]);
            let name =
                format!("gateway_reloads_total{{input=\"configuration\",result=\"{result}\"}}");
            until(&format!("it is {result}"), || (rig.metric(&name) > 0.0).then_some(()));
        };
        offer(&mut rig, Authority::new("stranger").unwrap().pem(), "refused");
        offer(&mut rig, later.ca_pem(), "ok");
        assert!(!rig.log().contains("is asked by the program itself"), "{}", rig.log());
        let token = later.issuer().token("k8s-user1", realm::CLIENT).mint();
        until("a token is taken", || (whoami(&rig, &token, &[]).0 == 201).then_some(()));
        assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201);
        let asked = tunnel.asked();
        assert!(
            !asked.is_empty() && asked.iter().all(|it| it.starts_with("later.test:")),
            "{scheme}: {asked:?}"
        );
    }
}

#[test]
fn issuers_that_no_proxy_names_are_reached_directly() {
    let tunnel = Tunnel::start();
    let rig = Rig::ready(&proxied("localhost", &tunnel, ""), |_| vec![]);
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201);
    assert_eq!(tunnel.asked(), [""; 0], "this machine is behind no proxy");
}

/// kube-apiserver's client asks a proxy for whatever the URL names, an address too.
#[test]
fn an_issuer_with_an_address_for_a_name_is_reached_through_a_proxy() {
    let tunnel = Tunnel::start();
    let rig = Rig::ready(&proxied("192.0.2.7", &tunnel, ""), |_| vec![]);
    until("a token is taken", || (whoami(&rig, &rig.token().mint(), &[]).0 == 201).then_some(()));
    let asked = tunnel.asked();
    assert!(!asked.is_empty() && asked.iter().all(|it| it.starts_with("192.0.2.7:")), "{asked:?}");
}

/// A proxy that leads to another server than the issuer gets nowhere: the certificate is looked at as without one.
#[test]
fn a_proxy_cannot_be_the_issuer() {
    let tunnel = Tunnel::start();
    let issuer = |files: &Files| {
        vec![format!("--oidc-issuer-url={}", files.issuer.replace("other.test", "issuer.test"))]
    };
    let rig = Rig::begin(&proxied("other.test", &tunnel, ""), issuer);
    until("the fetch has failed", || {
        let text = rig.probe().get("/metrics").ok()?.body;
        let mut lines =
            text.lines().filter(|line| line.starts_with("gateway_issuer_fetches_total{"));
        lines.find(|line| line.contains("\"failed\"") && !line.ends_with(" 0")).map(drop)
    });
    assert!(tunnel.asked().iter().all(|it| it.starts_with("issuer.test:")), "{:?}", tunnel.asked());
    // Why, is told as without a proxy.
    let told =
        "no keys fetched (certificate_name): discovery: its certificate is for another name: ";
    rig.wait_for_log(told);
    let report = rig.probe().get("/readyz").unwrap().body;
    assert!(report.contains("[-]issuers failed: no keys of https://issuer.test:"), "{report}");
}

fn pair(identity: &Identity) -> [(&str, &[u8]); 2] {
    [("tls.crt", identity.certificate.as_bytes()), ("tls.key", identity.key.as_bytes())]
}

/// TremoloSecurity/kube-oidc-proxy#67: an issuer that wants a client certificate, and one that is renewed.
#[test]
pub fn issuers_are_shown_a_client_certificate_and_its_successor() {
    let authority = Authority::new("mutual").unwrap();
    let mutual = Mutual::start(&authority);
    let [first, second] = ["first", "second"].map(|name| authority.client(name, &[]).unwrap());
    let mut mount = None;
    let flags = |files: &Files| {
        let folder = |name: &str| files.config.parent().unwrap().join(name);
        let mut client = Mount::new(&folder("client"));
        client.swap(&pair(&first));
        let authentication = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {
                    "url": mutual.url(), "audiences": [realm::CLIENT],
                    "certificateAuthority": authority.pem(),
                },
                "claimMappings": {"username": {"claim": "preferred_username", "prefix": ""}},
            }],
        });
        let mut gateway = realm::configuration();
        gateway["keySets"] = json!({"minimumRefetchSeconds": 1});
        gateway["extras"] = json!({"credentialId": false});
        let written = [("mutual.yaml", authentication), ("gateway.yaml", gateway)];
        for (name, document) in written {
            std::fs::write(folder(name), document.to_string()).unwrap();
        }
        mount = Some(client);
        vec![
            format!("--authentication-config={}", folder("mutual.yaml").display()),
            format!("--gateway-config={}", folder("gateway.yaml").display()),
            format!("--oidc-tls-client-cert-file={}", folder("client/tls.crt").display()),
            format!("--oidc-tls-client-key-file={}", folder("client/tls.key").display()),
        ]
    };
    let rig = Rig::begin(&Setup { chart: false, ..Setup::default() }, flags);
    mutual.publish(rig.issuer().jwks());
    let good = rig.token().claim("iss", mutual.url()).mint();
    until("the keys are there", || {
        let answer = rig.agent().get(format!("{}/version", rig.url()));
        let answer = answer.header("authorization", format!("Bearer {good}")).call().ok()?;
        (answer.status() == 200).then_some(())
    });
    assert!(mutual.has_seen(&first.certificate) && !mutual.has_seen(&second.certificate));

    mount.unwrap().swap(&pair(&second));
    let taken = "gateway_reloads_total{input=\"issuer_certificate\",result=\"ok\"}";
    until("it is taken", || (rig.metric(taken) > 0.0).then_some(()));
    // A key that nobody knows makes the filter ask the issuer again.
    until("the issuer has seen it", || {
        let stranger = rig.issuer().new_key(oidc_provider::Algorithm::Rs256);
        let kid = stranger.kid().to_owned();
        rig.issuer().publish(stranger);
        let unknown = rig.token().claim("iss", mutual.url()).sign(SignWith::Kid(kid)).mint();
        assert_eq!(whoami(&rig, &unknown, &[]).0, 401);
        mutual.has_seen(&second.certificate).then_some(())
    });
}

/// A connection shows the certificate, and Envoy's for questions shows none: the program asks by itself whether a new one is taken.
#[test]
fn who_asks_whether_a_new_client_certificate_is_taken_says_so() {
    let Credential::Certificate { certificate, key } = cluster().admin_kubeconfig().credential
    else {
        panic!("the administrator has a certificate")
    };
    let good = Identity { certificate, key };
    let mut mount = None;
    let flags = |files: &Files| {
        let folder = |name: &str| files.config.parent().unwrap().join(name);
        let mut client = Mount::new(&folder("client"));
        client.swap(&pair(&good));
        mount = Some(client);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {
                "server": cluster().url(), "certificate-authority": "account/ca.crt",
            }}],
            "users": [{"name": "a", "user": {
                "client-certificate": "client/tls.crt", "client-key": "client/tls.key",
            }}],
        });
        let path = folder("by-certificate");
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        vec![format!("--kubeconfig={}", path.display())]
    };
    let rig = Rig::ready(&Setup::default(), flags);
    let mut mount = mount.unwrap();
    let mut offer = |identity: &Identity, result: &str| {
        mount.swap(&pair(identity));
        let name = format!("gateway_reloads_total{{input=\"credential\",result=\"{result}\"}}");
        until(&format!("it is {result}"), || (rig.metric(&name) > 0.0).then_some(()));
    };
    let stranger = Authority::new("stranger").unwrap().client("gateway", &[]).unwrap();
    offer(&stranger, "refused");
    rig.wait_for_log("(401); the program asked by itself, and its TLS is not Envoy's");
    offer(&Identity { certificate: format!("{}\n", good.certificate), ..good.clone() }, "ok");
    rig.wait_for_log("Envoy's cluster for questions shows no certificate");
    assert_eq!(whoami(&rig, &rig.token().mint(), &[]).0, 201);
}

/// KEP-5284: the role that `rbac --constrained` prints is enough to be ready with.
#[test]
fn the_constrained_role_is_enough_to_be_ready() {
    let flags = |files: &Files| {
        let at = |name: &str| files.config.join(name).display().to_string();
        let documents = vec![
            format!("--authentication-config={}", at("authentication.yaml")),
            format!("--gateway-config={}", at("gateway.yaml")),
        ];
        let printed = Command::new(binary())
            .arg("rbac")
            .args(&documents)
            .args(["--constrained", "--name=constrained", "--service-account=default:constrained"])
            .output()
            .unwrap();
        assert!(printed.status.success(), "{printed:?}");
        cluster().apply(&String::from_utf8(printed.stdout).unwrap()).unwrap();
        documents
    };
    let account =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: constrained, namespace: default}}";
    cluster().apply(account).unwrap();
    let setup = Setup { account: ("default", "constrained"), chart: false, ..Setup::default() };
    let rig = Rig::ready(&setup, flags);
    let (status, user) = whoami(&rig, &rig.token().mint(), &[]);
    assert_eq!((status, &user["username"]), (201, &json!(rig.user())), "{user}");
    assert!((rig.metric("gateway_missing_rights")).abs() < f64::EPSILON);
}
