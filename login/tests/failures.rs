//! Errors as they come about, of settings, files, issuers, proxies and networks: each with its cause and a way out.

mod common;

use std::fs;

use common::{World, plain::check};
use oidc_provider::{Answer, Endpoint, Misbehaviour};

/// A command, as words.
fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// A world's issuer, and more flags.
fn get_token(world: &World, more: &str) -> Vec<String> {
    let mut all = words("get-token --skip-open-browser");
    all.extend(world.flags());
    all.extend(words(more));
    all
}

/// The command fails with an error that holds `want`, and that helps.
fn fails(world: &World, arguments: &[String], want: &str) {
    let outcome = world.plugin().args(arguments).run();
    assert_eq!(outcome.code, Some(1), "{arguments:?}: {outcome:?}");
    let error = outcome.error();
    assert!(error.contains(want), "{arguments:?}: no {want:?} in {error}");
    check(error);
}

/// What the system and libraries say of settings and files.
#[test]
fn errors_of_settings_and_files() {
    let world = World::new();
    fs::write(world.path("broken"), "users: [").unwrap();
    fs::write(world.path("not-text"), b"\xff\xfe").unwrap();
    fs::write(world.path("empty.pem"), "").unwrap();
    let named = |issuer: &str| format!("get-token --oidc-client-id=c --oidc-issuer-url={issuer}");
    for (command, want) in [
        (&*named("login.example.com"), "write https://login.example.com"),
        (&named("login.example.com:8443"), "write https://login.example.com:8443"),
        (&named("http://login.example.com"), "begins with https://"),
        (&named("https://"), "it names no host"),
        (&named("https://login.example.com:99999"), "its port is no number"),
        (&named("https://127.0.0.1:1"), "nothing listens there"),
        (&named("https://login.invalid"), "there is no host of this name"),
        ("get-token --token-file=/nonexistent", "there is no such file"),
        ("get-token --token-file=/", "--token-file"),
        ("whoami --kubeconfig=/nonexistent", "there is no such file"),
        ("whoami --kubeconfig=/dev/null", "--context"),
        ("whoami --kubeconfig=broken", "is not valid"),
        ("whoami --kubeconfig=not-text", "is not valid"),
        ("convert --kubeconfig=broken", "is not valid"),
        (
            "setup --server=https://127.0.0.1:1 --oidc-issuer-url=https://i.example --oidc-client-id=c --kubeconfig=broken",
            "is not valid",
        ),
        (
            "setup --server=s.example --oidc-issuer-url=https://i.example --oidc-client-id=c",
            "write https://",
        ),
        (
            "setup --server=https://127.0.0.1:1 --oidc-issuer-url=https://i.example --oidc-client-id=c",
            "nothing listens there",
        ),
    ] {
        fails(&world, &words(command), want);
    }
    for (more, want) in [
        ("--certificate-authority=empty.pem", "holds no certificate"),
        ("--certificate-authority=none.pem", "there is no such file"),
        ("--listen-address=127.0.0.1:0 --template-dir=/nonexistent", "template folder"),
        (
            "--listen-address=127.0.0.1:0 --local-server-cert=/dev/null --local-server-key=/dev/null",
            "--local-server-key",
        ),
        ("--listen-address=192.0.2.1:8000", "this machine has no such address"),
        ("--token-store=keyring", "--token-store=file"),
        (
            "--listen-address=127.0.0.1:0 --authentication-timeout-sec=1 --token-store=none",
            "nobody logged in",
        ),
        ("--username=alice --password=wrong --token-store=none", "invalid_grant"),
    ] {
        fails(&world, &get_token(&world, more), want);
    }
    let mut whoami = words("whoami");
    whoami.extend(world.flags());
    fails(&world, &whoami, "kubectl oidc login");
}

/// Of what issuers, proxies and networks answer.
#[test]
fn errors_of_answers() {
    let world = World::new();
    let body = |status, kind: &str, body: &str| Answer::Body {
        status,
        content_type: kind.to_owned(),
        body: body.to_owned(),
    };
    let html = || body(200, "text/html", "<html>sign in");
    let json = |text: &str| body(200, "application/json", text);
    let bare = format!("{{\"issuer\": {:?}}}", world.issuer.url());
    let device = r#"{"device_code":"d","user_code":"u","verification_uri":"x"}"#;
    for (endpoint, answer, want) in [
        (Endpoint::Discovery, html(), "does the network want you to sign in first"),
        (Endpoint::Discovery, json(""), "it is empty"),
        (Endpoint::Discovery, json("{\"issuer\": "), "not the JSON that it should be"),
        (Endpoint::Discovery, json(&bare), "offers no token endpoint"),
        (Endpoint::Discovery, Answer::Status(404), "is the address right?"),
        (Endpoint::Discovery, Answer::Status(502), "try again in some minutes"),
        (Endpoint::Discovery, Answer::Close, "cannot be reached"),
        (Endpoint::Jwks, html(), "key set cannot be used"),
        (Endpoint::Jwks, json("{}"), "key set"),
        (Endpoint::Token, html(), "does the network want you to sign in first"),
        (Endpoint::Token, json(r#"{"id_token":"x"}"#), "not a JSON Web Token"),
        (Endpoint::Token, json("{}"), "it holds no token"),
        (Endpoint::Token, body(401, "text/html", "<html>"), "--oidc-client-secret"),
        (Endpoint::DeviceAuthorization, json(device), "verification_uri cannot be used"),
    ] {
        world.issuer.misbehave(endpoint, Misbehaviour::answer(answer)).unwrap();
        let more = match endpoint {
            Endpoint::DeviceAuthorization => "--grant-type=device-code --token-store=none",
            _ => "--username=alice --password=secret --token-store=none",
        };
        fails(&world, &get_token(&world, more), want);
        world.issuer.behave();
    }
}

/// sudo leaves files that the user cannot read in a folder that is the user's: "Permission denied" for ever.
#[test]
#[cfg(target_os = "linux")]
fn leftovers_of_root_are_replaced() {
    use std::os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    };
    const NOBODY: u32 = 65_534;
    let world = World::new();
    // Root could read everything: it lets somebody else run the program.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let own = |path: &std::path::Path| {
        if is_root {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    };
    own(world.home.path());
    let get_token = || {
        let mut plugin = world.get_token().args(["--token-store=file", "-v"]);
        if is_root {
            plugin.0.uid(NOBODY).gid(NOBODY);
        }
        plugin
    };
    world.log_in(get_token()).credential();
    let folder = world.path(".local/share/kubectl-oidc");
    for part in ["tokens", "locks"] {
        let file = common::only_file(&folder.join(part));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        if is_root {
            std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
        }
    }
    let outcome = world.log_in(get_token());
    assert!(!outcome.stderr.contains("cannot be used"), "{outcome:?}");
    let credential = outcome.credential();
    assert_eq!(get_token().run().credential(), credential);
    // A folder of root's is named, with the command that mends it.
    if is_root {
        std::os::unix::fs::chown(folder.join("tokens"), Some(0), Some(0)).unwrap();
        get_token().run().fails_with("sudo chown -R");
    }
}

#[test]
fn setups_help_begins_with_an_example() {
    let world = World::new();
    let help = world.plugin().args(["setup", "--help"]).run();
    let example = help.stdout.find("kubectl oidc setup --server").unwrap();
    assert!(example < help.stdout.find("--oidc-redirect-url").unwrap(), "{}", help.stdout);
}

/// A typo in $KUBECONFIG was "no context is chosen".
#[test]
fn a_kubeconfig_variable_without_files_names_them() {
    let world = World::new();
    let typos = std::env::join_paths(["/nonexistent/typo", "/nonexistent/other"]).unwrap();
    for command in ["login", "whoami", "logout"] {
        let outcome = world.plugin().arg(command).env("KUBECONFIG", &typos).run();
        for said in ["/nonexistent/typo", "/nonexistent/other", "$KUBECONFIG"] {
            outcome.fails_with(said);
        }
        check(outcome.error());
        // Without the variable it may well be that nobody has a kubeconfig yet.
        world.plugin().arg(command).run().fails_with("no context is chosen");
    }
    let outcome = world.plugin().arg("doctor").env("KUBECONFIG", &typos).run();
    assert!(outcome.stdout.contains("/nonexistent/typo"), "{outcome:?}");
    // One of several is enough, as for kubectl.
    fs::write(world.path("there"), "current-context: x\n").unwrap();
    let one = std::env::join_paths(["/nonexistent/typo", "there"]).unwrap();
    let outcome = world.plugin().arg("whoami").env("KUBECONFIG", one).run();
    outcome.fails_with("no context named \"x\"");
    // A new file is what setup makes.
    let setup =
        world.plugin().args(words("setup --server=https://127.0.0.1:1")).args(world.flags());
    setup.env("KUBECONFIG", &typos).run().fails_with("nothing listens there");
}

/// What setup says is for setup: no kubeconfig and no context is there yet.
#[test]
fn setup_names_its_own_ways_out() {
    let world = World::new();
    let outcome = world.plugin().arg("setup").run();
    for said in ["kubectl oidc setup https://", "--oidc-issuer-url"] {
        outcome.fails_with(said);
    }
    check(outcome.error());

    // The issuer's certificate serves as that of an unknown server.
    let server = format!("--server={}", world.issuer.url());
    let outcome = world.plugin().args(["setup", &server]).args(world.flags()).run();
    outcome.fails_with("--cluster-certificate-authority or --ca-fingerprint");
    assert!(!outcome.error().contains("in the kubeconfig"), "{outcome:?}");
    check(outcome.error());

    let wrong = words("setup --username=alice --password=wrong --token-store=none");
    let outcome = world.plugin().args(wrong).args(world.flags()).run();
    outcome.fails_with("invalid_grant");
    outcome.fails_with("run the command again");
    assert!(!outcome.error().contains("kubectl oidc login"), "{outcome:?}");
    check(outcome.error());
    // Where a login is there, it is what to do.
    let wrong = get_token(&world, "--username=alice --password=wrong --token-store=none");
    world.plugin().args(wrong).run().fails_with("kubectl oidc login");
}

/// `completion bash | head -1` and `status | head -0`: whoever reads has read enough. kubectl, though, must have a credential.
#[test]
fn a_pipe_that_closes_is_no_error_but_for_a_credential() {
    let world = World::new();
    let closed = |mut plugin: common::Plugin| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = plugin.0.stdout(writer).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let flags = ["--username=alice", "--password=secret", "--token-store=file"];
    assert_eq!(world.get_token().args(flags).run().code, Some(0));
    for command in [
        "completion bash",
        "man",
        "status",
        "status -o json",
        "version",
        "__complete -- lo",
        "--help",
    ] {
        let outcome = closed(world.plugin().args(words(command)));
        assert_eq!(outcome, (Some(0), String::new()), "{command}");
    }
    let (code, said) = closed(world.get_token().args(flags));
    assert_eq!(code, Some(1));
    assert!(said.contains("standard output cannot be written"), "{said}");
}
