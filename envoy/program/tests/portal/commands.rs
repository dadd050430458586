//! What kubehook's documentation has people do, and what cannot work.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

use crate::portal::{PATIENCE, Portal, SECRET, claims, command, free};

/// The commands of kubehook's README, and that nothing we write, log or show has the secret or a token in it.
#[test]
fn kubehooks_commands_and_no_secret_anywhere() {
    let portal = Portal::start(&["--insecure-trust-header"]);
    assert!(portal.log().contains("WARN --insecure-trust-header"), "{}", portal.log());

    let (status, token) = portal.generate("cooluser", "24h");
    assert_eq!(status, 200, "{token}\n{}", portal.log());
    let found = claims(&token);
    assert_eq!(
        (&found["sub"], &found["aud"]),
        (&json!("cooluser"), &json!("github.com/planetlabs/kubehook"))
    );
    assert_eq!(found["exp"].as_u64().unwrap() - found["nbf"].as_u64().unwrap(), 86_400);

    let (status, config) =
        portal.curl(&["-X", "GET", "-H", "X-Forwarded-User: cooluser", "URL/kubecfg?lifetime=24h"]);
    assert_eq!(status, 200);
    let config: Value = serde_saphyr::from_str(&config).unwrap();
    assert_eq!(config["clusters"][0]["cluster"]["server"], "https://kubehook.example.org");
    assert_eq!(
        config["contexts"][0]["context"],
        json!({"cluster": "kubehook", "user": "kubehook"})
    );
    let in_config = config["users"][0]["user"]["token"].as_str().unwrap().to_owned();

    for version in ["authentication.k8s.io/v1beta1", "authentication.k8s.io/v1"] {
        let (status, review) = portal.review(version, &token);
        assert_eq!(status, 200, "{review}");
        assert_eq!(review["apiVersion"], version);
        assert_eq!(
            review["status"],
            json!({"authenticated": true, "user": {"username": "cooluser", "uid": "github.com/planetlabs/kubehook/cooluser"}})
        );
    }
    assert_eq!(portal.curl(&["URL/healthz"]), (200, String::new()));
    let (status, page) = portal.curl(&["URL/"]);
    assert!(status == 200 && page.starts_with("<!doctype html>"), "{status}");
    assert_eq!(portal.curl(&["URL/quitquitquit"]).0, 404, "kubehook let anybody end it");

    // Everything that Envoy shows and that is written.
    let secret = BASE64.encode(SECRET);
    let mut shown = String::new();
    for path in [
        "/config_dump?include_eds",
        "/server_info",
        "/stats",
        "/clusters",
        "/listeners",
        "/certs",
        "/memory",
    ] {
        shown += &portal.admin(path).unwrap();
    }
    assert!(
        shown.contains("KUBE_OIDC_GATEWAY_PORTAL_KEYS"),
        "the dump has the filter's configuration"
    );
    let access = portal.folder.path().join("access.log");
    let start = Instant::now();
    while !fs::read_to_string(&access).is_ok_and(|text| text.matches("issued").count() == 2) {
        assert!(start.elapsed() < PATIENCE, "no audit line");
        thread::sleep(Duration::from_millis(50));
    }
    let lines = fs::read_to_string(&access).unwrap();
    let audit: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let audit: Value = serde_json::from_str(audit["audit"].as_str().unwrap()).unwrap();
    assert_eq!((&audit["user"], &audit["jti"]), (&json!("cooluser"), &found["jti"]));
    shown += &lines;
    shown += &portal.log();
    for entry in fs::read_dir(portal.folder.path().join("run")).unwrap() {
        shown += &fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
    }
    for hidden in [SECRET, &secret, &token, &in_config] {
        assert!(!shown.contains(hidden), "{hidden}");
    }
}

/// kubehook's secret may be short, and its name unknown here: each has a flag, and the messages name it.
#[test]
fn break_in_11_a_short_secret_and_a_strange_name_need_a_flag() {
    let start = |flags: &[&str]| Portal::start(&[&["--insecure-trust-header"], flags].concat());
    let ask = |portal: &Portal, host: &str| {
        let json = "Content-Type: application/json";
        let (host, user) = (format!("Host: {host}"), "X-Forwarded-User: cooluser");
        let body = r#"{"lifetime": "1h"}"#;
        portal.curl(&["-H", json, "-H", &host, "-H", user, "-d", body, "URL/generate"])
    };
    let portal = start(&["--allowed-host", "portal.example"]);
    for (host, want) in [("portal.example", 200), ("127.0.0.1", 200), ("evil.example", 421)] {
        let (status, text) = ask(&portal, host);
        assert_eq!(status, want, "{host}: {text}");
        assert!(status == 200 || text.contains("--allowed-host"), "{text}");
    }
    drop(portal);
    let portal = start(&[]);
    assert_eq!(ask(&portal, "portal.example").0, 421);
    assert!(portal.log().contains("without TLS and --allowed-host"), "{}", portal.log());
    assert_eq!(portal.generate("cooluser", "1h").0, 200, "by its address");
    drop(portal);
    let files = tempfile::tempdir().unwrap();
    let short = files.path().join("short");
    fs::write(&short, "s").unwrap();
    let flags = ["--insecure-any-host", "--insecure-short-secret", "--secret-file"];
    let portal = start(&[&flags[..], &[short.to_str().unwrap()]].concat());
    assert_eq!(ask(&portal, "evil.example").0, 200);
    assert!(portal.log().contains("WARN --insecure-short-secret"), "{}", portal.log());
}

#[test]
fn what_cannot_work_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    fs::write(&broken, "clusters: [{name: a, cluster: {}}]").unwrap();
    let broken = broken.to_str().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // Nobody listens there.
    let nobody = free();
    let authentication = file(
        "authentication.yaml",
        &serde_json::json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {"url": format!("https://{nobody}"), "audiences": ["portal"]},
                "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
            }],
        })
        .to_string(),
    );
    let (client, cookie) = (file("client", "secret"), file("cookie", &"x".repeat(32)));
    let login = [
        "--authentication-config",
        &authentication,
        "--url=https://portal.example",
        "--login-client-id=portal",
        "--login-client-secret-file",
        &client,
        "--login-cookie-secret-file",
        &cookie,
    ];
    for (arguments, secret, want) in [
        (&[][..], None, "a key is needed"),
        (&[], Some(""), "the secret is empty"),
        (&[], Some("s"), "key \"secret\": the secret has 1 bytes"),
        (
            &["--issuer", "https://x"],
            Some(SECRET),
            "issuer: is needed with an ES256 key, and only then",
        ),
        (&["--max-lifetime", "0"], Some(SECRET), "maxLifetimeSeconds"),
        (&["--user-header", "Authorization"], Some(SECRET), "userHeader"),
        (
            &["--kubecfg-template", broken],
            Some(SECRET),
            "clusters[0]: needs a name and a cluster with a server",
        ),
        (&["--signing-key-file", broken], Some(SECRET), "is not a private key on P-256"),
        (&["--client-ca", "/x"], Some(SECRET), "--tls-cert"),
        (&["--plugin-client-id", "x"], Some(SECRET), "--authentication-config"),
        (&login, Some(SECRET), "; the program asked by itself, and its TLS is not Envoy's: "),
    ] {
        let mut command = command(folder.path(), free(), arguments);
        command.env_remove("KUBEHOOK_SECRET");
        if let Some(secret) = secret {
            command.env("KUBEHOOK_SECRET", secret);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(want), "{arguments:?}: {text}");
    }
}
