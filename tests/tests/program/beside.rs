//! One Envoy that is the gateway and, under another name on the same port, the portal.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use oidc_provider::ClientConfig;
use rustls::version::{TLS12, TLS13};
use sandbox::{Authority, realm};
use serde_json::{Value, json};

use crate::harness::{Rig, Sessions, Setup, Tunnel, binary, until};

const HOST: &str = "portal.example";
const AUDIENCE: &str = "github.com/planetlabs/kubehook";
const CLIENT: &str = "portal";
const SECRET: &str = "the-secret-of-the-portal-and-the-gateway";
const CLIENT_SECRET: &str = "the-secret-of-the-portals-client";
const COOKIE_SECRET: &str = "thirty-two-bytes-and-some-more-for-cookies";
const GENERATE: [&str; 4] = ["-H", "content-type: application/json", "-d", r#"{"lifetime": "2m"}"#];

/// A gateway that takes kubehook's tokens, and a portal that makes them and is a client of the provider.
fn rig(setup: Setup, more: impl FnOnce(&Path) -> Value) -> Rig {
    let mut client = ClientConfig::confidential(CLIENT, CLIENT_SECRET);
    client.redirect_uris = vec![format!("https://{HOST}/oauth2/callback")];
    client.require_pkce = true;
    client.default_scopes = ["profile", "email", "groups"].map(str::to_owned).to_vec();
    Rig::ready(&Setup { chart: false, clients: vec![client], ..setup }, |files| {
        let folder = files.config.parent().unwrap();
        let write = |name: &str, text: &str| written(folder, name, text);
        let issuers = fs::read(files.config.join("authentication.yaml")).unwrap();
        let mut issuers: Value = serde_json::from_slice(&issuers).unwrap();
        let issuer = &mut issuers["jwt"][0]["issuer"];
        issuer["audiences"] = json!([CLIENT, realm::CLIENT]);
        issuer["audienceMatchPolicy"] = "MatchAny".into();
        let issuers = write("issuers.json", &issuers.to_string());
        let secret = write("shared-secret", &format!("{SECRET}\n"));
        let mut gateway = realm::configuration();
        gateway["sharedSecret"] = json!({"audience": AUDIENCE, "secretFiles": [secret]});
        let gateway = write("gateway.json", &gateway.to_string());
        let mut portal = json!({
            "apiVersion": "gateway.kube-oidc.dev/v1alpha1",
            "kind": "PortalConfiguration",
            "host": HOST,
            "secretFile": [secret],
            "maxLifetime": "1h",
        });
        let more = more(folder);
        portal.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let portal = write("portal.yaml", &portal.to_string());
        vec![
            format!("--authentication-config={}", issuers.display()),
            format!("--gateway-config={}", gateway.display()),
            format!("--portal-config={}", portal.display()),
        ]
    })
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Of the portal's configuration what a login needs.
fn with_login(folder: &Path) -> Value {
    json!({
        "url": format!("https://{HOST}"),
        "loginClientId": CLIENT,
        "loginClientSecretFile": written(folder, "client-secret", CLIENT_SECRET),
        "loginCookieSecretFile": written(folder, "cookie-secret", COOKIE_SECRET),
    })
}

/// curl with `sni` in the TLS handshake; an address sends none. The status, 0 if there was no answer, and the body.
fn curl(rig: &Rig, sni: &str, words: &[&str], path: &str) -> (u16, String) {
    let port = rig.url().rsplit_once(':').unwrap().1.to_owned();
    let mut command = Command::new("curl");
    command.args(["--silent", "--insecure", "--max-time", "60", "--write-out", "\n%{http_code}"]);
    command.arg("--connect-to").arg(format!("{HOST}:{port}:127.0.0.1:{port}"));
    // A refusal may come before the body was sent. curl 7.88 then fails over HTTP/2 ("Stream error") and shows no status.
    if words.contains(&"-d") {
        command.arg("--http1.1");
    }
    command.args(words).arg(format!("https://{sni}:{port}{path}"));
    let text = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or(0), body.to_owned())
}

fn token_of(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{body}"));
    body["token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

/// The folder of a rig's files.
fn folder(rig: &Rig) -> PathBuf {
    rig.program.log().parent().unwrap().to_owned()
}

#[test]
pub fn a_portal_and_its_gateway_in_one_envoy() {
    let own = Authority::new("portal").unwrap().server(&[HOST]).unwrap();
    let rig = rig(Setup::default(), |folder| {
        let mut portal = with_login(folder);
        portal["tlsCert"] = json!(written(folder, "portal.crt", &own.certificate));
        portal["tlsKey"] = json!(written(folder, "portal.key", &own.key));
        portal["trustNetwork"] = json!(["127.0.0.1"]);
        portal
    });
    let id_token = rig.token().mint();
    let bearer = format!("authorization: Bearer {id_token}");
    let with_bearer = [&GENERATE[..], &["-H", &bearer]].concat();

    // The portal's own answers, and a login that begins.
    assert_eq!(curl(&rig, HOST, &[], "/healthz"), (200, String::new()));
    let (status, head) = curl(&rig, HOST, &["-D", "-"], "/");
    let location = format!("location: {}", rig.issuer().url());
    assert!(status == 302 && head.contains(&location), "{status} {head}");
    assert_eq!(curl(&rig, HOST, &GENERATE, "/generate").0, 401);

    a_login(&rig);

    // A token for whoever the gateway knows, and the gateway takes it.
    let (status, body) = curl(&rig, HOST, &with_bearer, "/generate");
    assert_eq!(status, 200, "{body}\n{}", rig.log());
    let made = token_of(&body);
    let user = rig.kubectl(&*made).must(["auth", "whoami", "-o", "json"], "").unwrap();
    let user: Value = serde_json::from_str(&user).unwrap();
    let name = format!("{}#k8s-user1", rig.issuer().url());
    assert_eq!(user["status"]["userInfo"]["username"], name);
    rig.kubectl(&*id_token).must(["get", "namespaces"], "").unwrap();

    no_way_from_one_into_the_other(&rig, &made, &bearer);

    // Its line is in the log, and no key or token anywhere.
    until("the portal's audit", || rig.log().contains("issued").then_some(()));
    let dump = rig.envoy_admin("/config_dump?include_eds");
    let file = folder(&rig).join("dump.json");
    fs::write(&file, &dump).unwrap();
    let lint = Command::new(binary()).arg("lint").arg(&file).output().unwrap();
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    for variable in ["KUBE_OIDC_GATEWAY_PORTAL_KEYS", "KUBE_OIDC_GATEWAY_SHARED_SECRETS"] {
        assert!(dump.contains(variable), "{variable}");
    }
    for text in [dump, rig.log()] {
        for hidden in [SECRET, CLIENT_SECRET, COOKIE_SECRET, &made, &id_token] {
            assert!(!text.contains(hidden), "{hidden}");
        }
    }
}

/// No resolver knows the issuer's name. The browser finds it by itself; the program, which asks for the login's addresses, and
/// Envoy's oauth2 filter, which redeems the code, get there by the proxy alone.
#[test]
fn a_login_at_an_issuer_behind_a_proxy() {
    let tunnel = Tunnel::start();
    let environment = vec![("HTTPS_PROXY", tunnel.url())];
    let rig = rig(Setup { host: "issuer.test", environment, ..Setup::default() }, with_login);
    let before = tunnel.asked().len();
    a_login(&rig);
    let issuer = rig.issuer().url().strip_prefix("https://").unwrap().to_owned();
    let issuer = issuer.split('/').next().unwrap();
    let asked = tunnel.asked();
    assert!(before > 0 && asked.iter().all(|target| target == issuer), "{before} of {asked:?}");
}

/// A whole login at the level of HTTP: to the provider's page, through its form, and back; and a token of that session.
fn a_login(rig: &Rig) {
    let jar = folder(rig).join("jar").display().to_string();
    let browse = |words: &[&str], url: &str| {
        let port = rig.url().rsplit_once(':').unwrap().1.to_owned();
        let mut command = Command::new("curl");
        command.args(["--silent", "--insecure", "--http1.1", "--location", "--max-time", "60"]);
        command.args(["--connect-to", &format!("{HOST}:443:127.0.0.1:{port}")]);
        command.args(["--connect-to", "issuer.test::127.0.0.1:"]);
        command.args(["--cookie", &jar, "--cookie-jar", &jar]).args(words).arg(url);
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    };
    let page = format!("https://{HOST}/");
    let end = ["--output", "/dev/null", "--write-out", "%{url_effective}"];
    let form = browse(&end, &page);
    assert!(form.starts_with(rig.issuer().url()), "{form}");
    let fields = ["-d", "username=k8s-user1", "-d", "password=k8s-user1-password", "-d", "login=1"];
    assert_eq!(browse(&[&end[..], &fields].concat(), &form), page, "{}", rig.log());

    let made = token_of(&browse(&GENERATE, &format!("{page}generate")));
    rig.kubectl(&*made).must(["get", "namespaces"], "").unwrap();
    // The session is the portal's: the gateway sees a request of nobody.
    let there = browse(&["--write-out", "%{http_code}"], &format!("{}/api", rig.url()));
    assert!(there.contains("401"), "{there}");
}

/// One name in the handshake and another in the request is neither's: not the API server behind the portal's back, not the
/// portal behind the gateway's, over either protocol and with whatever credential.
fn no_way_from_one_into_the_other(rig: &Rig, made: &str, bearer: &str) {
    let made = format!("authorization: Bearer {made}");
    let gateway = rig.url().strip_prefix("https://").unwrap().to_owned();
    let as_gateway = format!("host: {gateway}");
    let absolute = format!("https://{gateway}/api/v1/namespaces");
    let user = "x-forwarded-user: system:admin";
    let cases: [(&str, &[&str], &str, u16); 14] = [
        ("127.0.0.1", &["-H", "host: portal.example"], "/", 421),
        ("127.0.0.1", &["-H", "host: portal.example"], "/healthz", 421),
        ("127.0.0.1", &["-H", "host: PORTAL.example:443", "-H", bearer], "/api/v1/namespaces", 421),
        ("127.0.0.1", &["-H", "host: portal.example", "-H", &made], "/version", 421),
        (
            "127.0.0.1",
            &[
                "-H",
                "host: portal.example",
                "-H",
                "upgrade: websocket",
                "-H",
                "connection: upgrade",
                "-H",
                bearer,
            ],
            "/api",
            421,
        ),
        (HOST, &["-H", &as_gateway, "-H", bearer], "/api/v1/namespaces", 421),
        (HOST, &["-H", &as_gateway, "-H", user], "/whoami", 421),
        (HOST, &["-H", "host: portal.example.evil.example", "-H", bearer], "/whoami", 421),
        (HOST, &["-H", "host: portal-example"], "/healthz", 421),
        (HOST, &["--request-target", &absolute, "-H", bearer], "/", 421),
        (HOST, &["-H", "host: Portal.Example:8443"], "/healthz", 200),
        // The portal knows no API, and says so to whoever asks under its own name.
        (HOST, &["-H", bearer], "/api/v1/namespaces", 404),
        (HOST, &["-H", bearer, "-H", "impersonate-user: system:admin"], "/api/v1/namespaces", 404),
        // Nor has the gateway a portal under a name that is nobody's.
        ("127.0.0.1", &["-H", "host: other.example", "-H", bearer], "/healthz", 200),
    ];
    for version in ["--http1.1", "--http2"] {
        for (sni, words, path, want) in cases {
            // These are words of HTTP/1.1 alone.
            if version == "--http2"
                && words.iter().any(|it| it.contains("upgrade") || it.starts_with("--"))
            {
                continue;
            }
            let all = [&[version], words].concat();
            let (status, body) = curl(rig, sni, &all, path);
            assert_eq!(status, want, "{version} {sni} {words:?} {path}: {body}");
            assert!(status != 421 || body.contains("another name"), "{body}");
        }
    }
    let posted = [&GENERATE[..], &["-H", &as_gateway, "-H", bearer]].concat();
    let (status, body) = curl(rig, HOST, &posted, "/generate");
    assert!(status == 421 && !body.contains("token"), "{status} {body}");
    // Nor was a token made that nobody was shown.
    let line = until("the line of that request", || {
        let log = rig.log();
        let mut lines = log.lines();
        lines.find(|it| it.contains("/generate") && it.contains(":421")).map(str::to_owned)
    });
    assert!(!line.contains("issued"), "{line}");
}

/// Who may speak for a proxy is asked for a certificate, and nobody else is; a session that was made without one is none here.
#[test]
fn mutual_tls_is_the_portals_alone() {
    let (proxies, portals) =
        (Authority::new("proxies").unwrap(), Authority::new("portal").unwrap());
    let proxy = proxies.client("proxy.example", &[]).unwrap();
    let own = portals.server(&[HOST]).unwrap();
    let rig = rig(Setup::default(), |folder| {
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
            folder.join(name)
        };
        json!({
            "clientCa": write("client-ca.crt", proxies.pem()),
            "tlsCert": write("portal.crt", &own.certificate),
            "tlsKey": write("portal.key", &own.key),
        })
    });
    let folder = folder(&rig);
    let file = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    let (chain, key) = (file("proxy.crt", &proxy.certificate), file("proxy.key", &proxy.key));
    let header = ["-H", "x-forwarded-user: cooluser"];
    let certificate = ["--cert", &chain, "--key", &key];

    let vouched = [&GENERATE[..], &header, &certificate].concat();
    let (status, body) = curl(&rig, HOST, &vouched, "/generate");
    assert_eq!(status, 200, "{body}\n{}", rig.log());
    let made = token_of(&body);
    rig.kubectl(&*made).must(["auth", "whoami"], "").unwrap();
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let anybody = [&GENERATE[..], &header, version].concat();
        assert_eq!(curl(&rig, HOST, &anybody, "/generate").0, 0, "{version:?}");
    }
    // The gateway asks nobody for a certificate, and one does not make a request the portal's there.
    let there = [&GENERATE[..], &header, &certificate, &["-H", "host: portal.example"]].concat();
    assert_eq!(curl(&rig, "127.0.0.1", &there, "/generate").0, 421);
    for version in [&TLS12, &TLS13] {
        let client = Sessions::new(version, &[rig.authority.pem(), portals.pem()]);
        let (resumed, _) = client.ask(&rig, "127.0.0.1").unwrap();
        assert!(!resumed, "the first");
        let (resumed, _) = client.ask(&rig, "127.0.0.1").unwrap();
        assert!(resumed, "{version:?}: the gateway resumes its own sessions");
        assert_eq!(client.ask(&rig, HOST), None, "{version:?}");
    }
}
