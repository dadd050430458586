//! The ways to a token that need no browser on this machine.

mod common;

use std::fs;

use common::{World, claims, query};
use oidc_provider::{ClientConfig, GrantType};

#[test]
fn device_code() {
    let world = World::new();
    let device =
        || world.get_token().args(["--grant-type=device-code", "--oidc-extra-scope=profile"]);
    let mut running = device().spawn();
    let line = running.line_with("enter the code");
    let code = line.split_whitespace().last().unwrap().to_owned();
    assert!(world.issuer.approve_device(&code, "alice").unwrap(), "{line}");
    let credential = running.finish().credential();
    assert_eq!(credential.claims()["preferred_username"], "alice");
    assert_eq!(device().run().credential(), credential);
    device().arg("--force-refresh").run().credential();

    let mut running = device().arg("--token-store=none").spawn();
    let line = running.line_with("enter the code");
    assert!(world.issuer.deny_device(line.split_whitespace().last().unwrap()));
    running.finish().fails_with("access_denied");
}

/// What an issuer calls its verification page is opened, so it must be a page on the web.
#[test]
#[cfg(unix)]
fn break_in_5_only_a_web_page_is_opened_for_a_device() {
    use oidc_provider::{Answer, Endpoint, Misbehaviour};
    let world = World::new();
    let opened = world.path("opened");
    let command = format!("sh -c 'printf \"%s\\n\" \"$@\" >> {}' browser", opened.display());
    let device = |verification: &str, complete: Option<&str>| {
        let mut body = serde_json::json!({
            "device_code": "d", "user_code": "A-B", "expires_in": 1, "interval": 1,
            "verification_uri": verification,
        });
        if let Some(complete) = complete {
            body["verification_uri_complete"] = complete.into();
        }
        let answer = Answer::Body {
            status: 200,
            content_type: "application/json".to_owned(),
            body: body.to_string(),
        };
        let answer = Misbehaviour::answer(answer);
        world.issuer.misbehave(Endpoint::DeviceAuthorization, answer).unwrap();
        let plugin = world.plugin().arg("get-token").args(world.flags());
        plugin.args([
            "--grant-type=device-code",
            "--token-store=none",
            "--browser-command",
            &command,
        ])
    };
    let page = "https://login.example/device";
    for bad in [
        "--gpu-launcher=touch /tmp/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        r"\\share\page",
        "smb://share/page",
        "http://login.example/device",
        "http://127.0.0.1/device",
        "https://login.example@evil.example/device",
    ] {
        let complete = device(page, Some(bad)).run();
        complete.fails_with("the issuer's verification_uri_complete cannot be used");
        let plain = device(bad, None).run();
        plain.fails_with("verification_uri cannot be used");
        assert!(!plain.stderr.contains("enter the code"), "it is not shown either: {plain:?}");
    }
    assert!(!opened.exists(), "{:?}", fs::read_to_string(&opened));
    // Nobody logs in there; the browser command has its address.
    device(page, Some("https://login.example/device?user_code=A-B")).run().error();
    device(page, None).run().error();
    let seen = fs::read_to_string(&opened).unwrap();
    assert_eq!(seen, format!("{page}?user_code=A-B\n{page}\n"));
}

/// A machine without a display gets the device code by itself, where somebody can read it.
#[test]
fn auto_without_a_browser() {
    let world = World::new();
    let auto = |world: &World| {
        let flags = world.flags();
        world.plugin().arg("get-token").args(flags).arg("--listen-address=127.0.0.1:0")
    };
    let mut running = auto(&world).exec_info("v1", true).spawn();
    let line = running.line_with("enter the code");
    world.issuer.approve_device(line.split_whitespace().last().unwrap(), "alice").unwrap();
    running.finish().credential();

    // Nobody there at all: said at once instead of waited for.
    let nobody = auto(&world).arg("--token-store=none").exec_info("v1", false).run();
    nobody.fails_with("neither a browser nor a terminal");

    // A client that may not use the device grant: the address is printed.
    let world = World::with(|issuer| {
        issuer.clients[0].grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    });
    let outcome = world.log_in(auto(&world).exec_info("v1", true));
    assert!(outcome.stderr.contains("Log in at http://localhost:"), "{}", outcome.stderr);
    outcome.credential();
}

#[test]
fn code_from_the_keyboard() {
    let world = World::with(|issuer| {
        issuer.clients[0].redirect_uris.push("http://localhost:1/cb".to_owned());
    });
    // Each in a folder of its own: the kubectl whose login failed is not asked again at once, and this process is all of them.
    let keyboard = |name: &str| {
        world
            .get_token()
            .args(["--grant-type=authcode-keyboard", "--token-store=none"])
            .arg(format!("--token-store-dir={}", world.path(name).display()))
            .arg("--oidc-redirect-url-authcode-keyboard=http://localhost:1/cb")
    };
    let back = |authorization: &str| world.way_back(authorization);
    // The code alone, or the whole address of the page that did not open.
    for whole in [false, true] {
        let mut running = keyboard("typed").exec_info("v1", true).spawn();
        let address = back(&running.login_url());
        running.line_with("enter the code");
        let typed = if whole { address.clone() } else { query(&address)["code"].clone() };
        running.type_in(&format!("  {typed}\n"));
        running.finish().credential();
    }
    let mut running = keyboard("foreign").exec_info("v1", true).spawn();
    let address = back(&running.login_url());
    running.type_in(&format!("{}\n", address.replace("state=", "state=x")));
    running.finish().fails_with("another login");

    let mut running = keyboard("nothing").exec_info("v1", true).spawn();
    running.login_url();
    running.type_in("\n");
    running.finish().fails_with("no code was entered");

    keyboard("silent").exec_info("v1", false).run().fails_with("interactiveMode");
}

#[test]
fn password() {
    let world = World::new();
    let password = || world.get_token().args(["--username=alice", "--oidc-extra-scope=profile"]);
    let first = password().arg("--password=secret").run().credential();
    assert_eq!(first.claims()["preferred_username"], "alice");
    // Stored under the user's name: no password is needed until it has to be asked for again.
    assert_eq!(password().run().credential(), first);
    password().arg("--force-refresh").run().credential();
    world.get_token().arg("--username=bob").exec_info("v1", false).run().fails_with("the password");
    let wrong = password().args(["--token-store=none", "--password=s3cr3t-but-wrong", "-v"]).run();
    wrong.fails_with("invalid_grant");
    assert!(!wrong.stderr.contains("s3cr3t"), "{}", wrong.stderr);
    // From the environment, where the process list does not show it.
    let env = world.get_token().args(["--grant-type=password", "--token-store=none"]);
    env.env("KUBECTL_OIDC_USERNAME", "alice")
        .env("KUBECTL_OIDC_PASSWORD", "secret")
        .run()
        .credential();
}

#[test]
fn client_credentials() {
    let world = World::with(|issuer| {
        issuer.clients.push(ClientConfig::confidential("robot", "r0b0t"));
    });
    let robot = || {
        world.get_token().args([
            "--oidc-client-id=robot",
            "--grant-type=client-credentials",
            "--oidc-client-secret=r0b0t",
        ])
    };
    let credential = robot().run().credential();
    assert_eq!(credential.claims()["iss"], world.issuer.url());
    world.provider.go_down().unwrap();
    assert_eq!(robot().run().credential(), credential);
    world.provider.come_up().unwrap();
    let wrong = robot().args(["--oidc-client-secret=wrong", "--token-store=none"]).run();
    wrong.fails_with("--oidc-client-secret");
}

#[test]
fn access_token_instead_of_id_token() {
    let world = World::new();
    let access = || world.get_token().arg("--oidc-use-access-token");
    let id = world.log_in(world.get_token()).credential();
    let credential = world.log_in(access()).credential();
    assert_ne!(credential.token, id.token);
    assert_eq!(credential.claims()["iss"], world.issuer.url());
    assert_eq!(access().run().credential(), credential);
    let renewed = access().arg("--force-refresh").run().credential();
    assert_ne!(renewed.token, credential.token);
    assert_eq!(renewed.claims()["sub"], credential.claims()["sub"]);

    // An opaque one is of no use to a cluster.
    let world = World::with(|issuer| {
        issuer.clients[0].access_tokens = oidc_provider::AccessTokenFormat::Opaque;
    });
    let mut running = world.get_token().arg("--oidc-use-access-token").spawn();
    world.sign_in(&running.login_url());
    running.finish().fails_with("not a JSON Web Token but opaque");
}

#[test]
fn a_token_from_a_file_or_the_environment() {
    let world = World::new();
    let token = world.issuer.token("alice", "kube").mint();
    let file = world.path("token");
    fs::write(&file, format!("{token}\n")).unwrap();
    let from_file =
        || world.plugin().arg("get-token").arg(format!("--token-file={}", file.display()));
    let checked = || {
        let flags = world.flags();
        from_file().args(flags)
    };
    // Without an issuer nothing is asked of anybody; with one, its keys are, once for each token.
    let credential = from_file().run().credential();
    assert_eq!(credential.token, token);
    assert_eq!(world.issuer.all_requests().values().sum::<u64>(), 0);
    assert_eq!(checked().run().credential(), credential);
    world.provider.go_down().unwrap();
    assert_eq!(checked().run().credential(), credential);
    let renewed = world.issuer.token("alice", "kube").claim("jti", "other").mint();
    fs::write(&file, &renewed).unwrap();
    checked().run().fails_with("cannot be reached");
    world.provider.come_up().unwrap();
    assert_eq!(checked().run().credential().token, renewed);

    let forged = world.issuer.token("alice", "kube").signature(vec![0; 256]).mint();
    for (bad, why) in [
        (forged, "signature"),
        (world.issuer.token("alice", "other").mint(), "is meant for"),
        (world.issuer.token("alice", "kube").claim("iss", "https://other").mint(), "is issued by"),
        (
            world.issuer.token("alice", "kube").expires_in(-60).mint(),
            "ago; the program that writes it must renew it",
        ),
        ("opaque".to_owned(), "not a JSON Web Token"),
    ] {
        fs::write(&file, &bad).unwrap();
        let outcome = checked().run();
        outcome.fails_with(why);
        assert!(!outcome.stderr.contains(&bad) || bad == "opaque", "{}", outcome.stderr);
    }

    let from_env = || world.plugin().args(["get-token", "--token-env=CI_TOKEN"]);
    let credential = from_env().env("CI_TOKEN", &token).run().credential();
    assert_eq!(claims(&credential.token)["preferred_username"], "alice");
    from_env().run().fails_with("no variable CI_TOKEN");
}
