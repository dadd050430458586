//! The login with a browser: kubelogin's way, kubekey's way, and what comes back to kubectl.

mod common;

use std::{fs, net::TcpListener};

use chrono::DateTime;
use common::{World, any_port, http::get, query};
use oidc_provider::{Endpoint, Preset};

/// kubekey's known defect: after a new login it hands on the expiry of the token before; kubectl then asks again at once, or too late.
#[test]
fn kubekey_wrong_expiry_after_a_new_login() {
    let world = World::with(|issuer| issuer.token_lifetime_seconds = 5); // within the margin of 10 s: each call renews
    let first = world.log_in(world.get_token()).credential();
    world.issuer.end_logins("alice");
    world.issuer.set_token_lifetime(std::time::Duration::from_secs(3600));
    let second = world.log_in(world.get_token()).credential();
    assert_ne!(first.token, second.token);
    for credential in [&first, &second] {
        let expiry = DateTime::parse_from_rfc3339(&credential.expiry).unwrap().timestamp();
        assert_eq!(credential.claims()["exp"], expiry);
        assert!(credential.expiry.ends_with('Z'), "{}", credential.expiry);
    }
    let lifetime =
        second.claims()["exp"].as_i64().unwrap() - second.claims()["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 3600);
}

#[test]
fn the_answer_has_the_version_kubectl_asks_for() {
    let world = World::new();
    let first = world.log_in(world.get_token().exec_info("v1", false)).credential();
    assert_eq!(first.api_version, "client.authentication.k8s.io/v1");
    // From here on the stored token serves: no person, no browser, no issuer.
    world.provider.go_down().unwrap();
    for (version, interactive) in [("v1", true), ("v1beta1", true), ("v1beta1", false)] {
        let again = world.get_token().exec_info(version, interactive).run();
        assert_eq!(again.stderr, "");
        let again = again.credential();
        assert_eq!(again.api_version, format!("client.authentication.k8s.io/{version}"));
        assert_eq!((&again.token, &again.expiry), (&first.token, &first.expiry));
    }
    assert_eq!(
        world.get_token().run().credential().api_version,
        "client.authentication.k8s.io/v1beta1"
    );
    world.get_token().exec_info("v1alpha1", true).run().fails_with("v1alpha1");
}

#[test]
fn the_authorization_request_is_kubelogins_with_pkce() {
    let world = World::new();
    let mut running = world
        .get_token()
        .args(["--oidc-extra-scope", "openid profile groups email"])
        .args(["--oidc-auth-request-extra-params", "ttl=86400,prompt=login"])
        .spawn();
    let start = running.login_url();
    assert!(start.starts_with("http://localhost:"), "{start}");
    let (status, answer) = get(&start);
    assert_eq!(status, 302);
    let location = common::http::header(&answer, "Location").unwrap();
    let sent = query(location);
    let port = url::Url::parse(&start).unwrap().port().unwrap();
    let cookie = common::http::header(&answer, "Set-Cookie").unwrap().to_owned();
    for (name, want) in [
        ("response_type", "code"),
        ("client_id", "kube"),
        ("redirect_uri", &*format!("http://localhost:{port}")), // no slash: issuers compare bytes
        ("scope", "openid profile groups email"),
        ("code_challenge_method", "S256"),
        ("access_type", "offline"),
        ("ttl", "86400"),
        ("prompt", "login"),
    ] {
        assert_eq!(sent.get(name).map(String::as_str), Some(want), "{name} in {location}");
    }
    for (name, least) in [("state", 22), ("nonce", 22), ("code_challenge", 43)] {
        assert!(sent[name].len() >= least, "{name} in {location}");
    }
    world.sign_in_with(&cookie, &start);
    let credential = running.finish().credential();
    assert_eq!(credential.claims()["nonce"], sent["nonce"]);
    assert_eq!(credential.claims()["groups"], serde_json::json!(["dev"]));
}

/// Its example kubeconfig with client, issuer and command replaced: no argument, all in the environment.
#[test]
fn kubekeys_users_stanza_works() {
    let world = World::new();
    let kubekey = || {
        world
            .plugin()
            .env("CLIENT_ID", "kube")
            .env("CLIENT_SECRET", "")
            .env("IDP_ISSUER_URL", world.issuer.url())
            .env("KUBECTL_OIDC_CERTIFICATE_AUTHORITY", world.path("ca.pem"))
            .env("KUBECTL_OIDC_SKIP_OPEN_BROWSER", "true")
            .exec_info("v1beta1", true)
    };
    let mut running = kubekey().spawn();
    let start = running.login_url();
    let parsed = url::Url::parse(&start).unwrap();
    assert_eq!((parsed.host_str(), parsed.path()), (Some("127.0.0.1"), "/"));
    let (_, answer) = get(&start);
    let sent = query(common::http::header(&answer, "Location").unwrap());
    assert_eq!(sent["scope"], "openid profile email");
    assert_eq!(
        sent["redirect_uri"],
        format!("http://127.0.0.1:{}/callback", parsed.port().unwrap())
    );
    let cookie = common::http::header(&answer, "Set-Cookie").unwrap();
    assert_eq!(world.sign_in_with(cookie, &start).status, 200);
    let credential = running.finish().credential();
    assert_eq!(credential.api_version, "client.authentication.k8s.io/v1beta1");
    assert_eq!(kubekey().run().credential(), credential);

    let version = world.plugin().arg("-v").run();
    assert!(version.stdout.starts_with("kubectl-oidc "), "{}", version.stdout);
}

/// Whoever made the folder that a person works in must not choose the page.
#[test]
fn break_in_12_no_page_comes_from_the_working_directory() {
    let world = World::new();
    let page = |folder: &std::path::Path| {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("html_ok.tmpl"), "<script>alert(1)</script>theirs").unwrap();
    };
    page(&world.path("templates"));
    let mut running = world.get_token().arg("--token-store=none").spawn();
    let shown = world.sign_in(&running.login_url());
    assert!(shown.text.contains("Signed in") && !shown.text.contains("theirs"), "{}", shown.text);
    running.finish().credential();
    // The user's own folder of configuration.
    if cfg!(target_os = "linux") {
        page(&world.path(".config/kubectl-oidc/templates"));
        let mut running = world.get_token().arg("--token-store=none").spawn();
        let shown = world.sign_in(&running.login_url());
        assert!(shown.text.contains("theirs"), "{}", shown.text);
        running.finish().credential();
    }
}

#[test]
fn kubekeys_pages_are_shown() {
    let world = World::new();
    let folder = world.path("pages");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("html_ok.tmpl"), "<h1>Hello {{ .Name }}</h1>").unwrap();
    fs::write(folder.join("html_fail.tmpl"), "<h1>No: {{.Msg}}</h1>").unwrap();
    world
        .issuer
        .change_user("alice", |user| {
            user.claims.insert("name".to_owned(), "Alice <b>".into());
        })
        .unwrap();
    let plugin = || world.get_token().env("KUBEKEY_TEMPLATEDIR", &folder);
    let mut running = plugin().spawn();
    let page = world.sign_in(&running.login_url());
    assert_eq!((page.status, page.text.as_str()), (200, "<h1>Hello Alice &lt;b&gt;</h1>"));
    running.finish().credential();

    let gone = world.path("gone");
    world.get_token().arg("--force-refresh").env("KUBEKEY_TEMPLATEDIR", gone).run().credential(); // refreshed: no page
    world.issuer.end_logins("alice");
    let failed =
        world.get_token().arg("--force-refresh").env("KUBEKEY_TEMPLATEDIR", world.path("gone"));
    failed.run().fails_with("template folder");
}

/// The guide's own exec section, `oidc-login` written as `oidc`.
#[test]
fn kanidms_guide() {
    let config = Preset::Kanidm.issuer();
    let world = World::of(config, "kubernetes", "demo_user", "demo_user-password");
    let guide = || {
        world
            .plugin()
            .arg("get-token")
            .arg(format!("--oidc-issuer-url={}", world.issuer.url()))
            .args(["--oidc-client-id=kubernetes", "--oidc-use-pkce"])
            .args(["--oidc-extra-scope", "openid profile groups email"])
            .arg(format!("--certificate-authority={}", world.path("ca.pem").display()))
            .args(any_port())
    };
    let credential = world.log_in(guide()).credential();
    assert_eq!(
        credential.claims()["groups"],
        serde_json::json!(["k8s_users@idm.example.com", "k8s_admins@idm.example.com"])
    );
    // Refresh tokens are rotated there: each one serves once.
    for _ in 0..3 {
        guide().arg("--force-refresh").run().credential();
    }
    // PKCE is mandatory there: without it the issuer sends the browser back with an error.
    let mut running = guide()
        .args(["--force-refresh", "--oidc-use-pkce=false", "--oidc-pkce-method=no"])
        .args(["--token-store=none"])
        .spawn();
    let start = running.login_url();
    let _ = world.provider.browser().sign_in(&start, &world.user, &world.password);
    running.finish().fails_with("the issuer refused the login");
}

#[test]
fn google_gives_a_refresh_token_for_offline_access() {
    let config = Preset::Google.issuer();
    let world = World::of(config, "kubernetes.apps.example", "jane", "jane-password");
    let google = || {
        world.get_token().args(["--oidc-client-secret=google-secret", "--oidc-extra-scope=email"])
    };
    let first = world.log_in(google()).credential();
    assert_eq!(first.claims()["email"], "jane@example.com");
    google().arg("--force-refresh").run().credential();
    // A parameter of the person's own replaces ours, and then there is nothing to refresh with.
    let online = || google().args(["--oidc-auth-request-extra-params=access_type=online"]);
    world.log_in(online());
    world.log_in(online().arg("--force-refresh"));
    // The secret is needed there.
    let mut wrong =
        world.get_token().args(["--oidc-client-secret=wrong", "--token-store=none"]).spawn();
    let page = world.sign_in(&wrong.login_url());
    assert_eq!(page.status, 400);
    assert!(page.text.contains("--oidc-client-secret"), "{}", page.text);
    wrong.finish().fails_with("invalid_client");
}

#[test]
fn a_cancelled_login_ends() {
    let world = World::new();
    let mut running = world.get_token().spawn();
    let start = running.login_url();
    let (_, answer) = get(&start);
    let sent = query(common::http::header(&answer, "Location").unwrap());
    let port = url::Url::parse(&start).unwrap().port().unwrap();
    let back = format!(
        "http://localhost:{port}/?error=access_denied&error_description=no%1b%5b2J&state={}&iss={}",
        sent["state"],
        world.issuer.url()
    );
    let cookie = common::http::header(&answer, "Set-Cookie").unwrap().split(';').next().unwrap();
    let (status, page) = common::http::get_with(&back, &format!("Cookie: {cookie}\r\n"));
    assert_eq!(status, 400);
    assert!(page.contains("cancelled"), "{page}");
    let outcome = running.finish();
    outcome.fails_with("the login was cancelled or is not permitted (access_denied: no");
    assert!(!outcome.stderr.contains('\u{1b}'), "an issuer's text must not command the terminal");
}

#[test]
fn nobody_comes() {
    let world = World::new();
    let outcome = world.get_token().arg("--authentication-timeout-sec=1").run();
    outcome.fails_with("nobody logged in within 1 s");
    outcome.fails_with("register http://localhost:");
}

#[test]
fn a_taken_port_is_named() {
    let world = World::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let flags = world.flags();
    let listen = format!("--listen-address={address}");
    let plugin = world.plugin().arg("get-token").args(flags);
    let outcome = plugin.args([&*listen, "--skip-open-browser"]).run();
    outcome.fails_with(&format!("{address} is in use"));
}

#[test]
fn the_browser_command_gets_the_address() {
    let world = World::new();
    let pipe = world.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let command = format!("sh -c 'echo noise; printf %s \"$0\" > {}'", pipe.display());
    let flags = world.flags();
    let running = world
        .plugin()
        .arg("get-token")
        .args(flags)
        .args(["--listen-address=127.0.0.1:0", "--browser-command", &command])
        .spawn();
    let url = fs::read_to_string(&pipe).unwrap();
    assert_eq!(world.sign_in(&url).status, 200);
    running.finish().credential(); // and the command's own output is not on standard output
}

/// `BROWSER=w3m` runs in the terminal: what it draws is not for kubectl.
#[test]
#[cfg(target_os = "linux")]
fn a_browser_in_the_terminal_does_not_write_into_the_credential() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let (pipe, browser) = (world.path("pipe"), world.path("w3m"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let script = format!("#!/bin/sh\necho a page\nprintf %s \"$1\" > {}\n", pipe.display());
    fs::write(&browser, script).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let plugin = world.plugin().arg("get-token").args(world.flags());
    let running = plugin.arg("--listen-address=127.0.0.1:0").env("BROWSER", &browser).spawn();
    let url = fs::read_to_string(&pipe).unwrap();
    assert_eq!(world.sign_in(&url).status, 200);
    let outcome = running.finish();
    assert!(outcome.stderr.contains("a page"), "{outcome:?}");
    outcome.credential();
}

#[test]
fn the_browser_goes_where_the_person_wants_afterwards() {
    let world = World::new();
    let after = world.issuer.endpoint(Endpoint::Jwks);
    let mut running =
        world.get_token().arg(format!("--open-url-after-authentication={after}")).spawn();
    let page = world.sign_in(&running.login_url());
    assert_eq!(page.url, after);
    running.finish().credential();
}

#[test]
fn an_https_listener() {
    let world = World::with(|issuer| {
        issuer.clients[0].redirect_uris = vec!["https://localhost/*".to_owned()];
    });
    let (certificate, key) = (world.path("local.crt"), world.path("local.key"));
    common::tls::certificate(&certificate, &key);
    let mut running = world
        .get_token()
        .arg(format!("--local-server-cert={}", certificate.display()))
        .arg(format!("--local-server-key={}", key.display()))
        .spawn();
    let start = running.login_url();
    assert!(start.starts_with("https://localhost:"), "{start}");
    let own = fs::read_to_string(&certificate).unwrap();
    let page = common::tls::sign_in(&[world.provider.ca_pem(), &own], &start, "alice", "secret");
    assert!(page.contains("Signed in"), "{page}");
    running.finish().credential();
}
