//! kubelogin's stanzas, each with its outcome: what works with it works here. The flags are those of its version 1.36.3, and the values are written as its documents have them.
//!
//! `make compare-kubelogin` gets a kubelogin, or takes the one that `KUBELOGIN` names; the same stanzas run by it, and the outcomes are compared.

mod common;

use std::{collections::BTreeSet, ffi::OsStr, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Plugin, World, any_port, query};
use oidc_provider::ClientConfig;

/// What becomes of a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// A person logs in at the address that is printed, and kubectl gets a token.
    Login,
    /// kubectl gets a token, and nobody is asked.
    Token,
    /// An error.
    Error,
}

struct Case {
    name: &'static str,
    arguments: &'static [&'static str],
    outcome: Outcome,
    /// Of the authorization request.
    sent: &'static [(&'static str, &'static str)],
}

const fn case(
    name: &'static str,
    arguments: &'static [&'static str],
    outcome: Outcome,
    sent: &'static [(&'static str, &'static str)],
) -> Case {
    Case { name, arguments, outcome, sent }
}

/// `HOME` stands for the home folder, `CA` and `CA_DATA` for the issuer's authority, `PORT` for one that is free.
const CASES: &[Case] = &[
    case("nothing more", &[], Outcome::Login, &[("scope", "openid"), ("access_type", "offline")]),
    case(
        "scopes in several flags",
        &["--oidc-extra-scope=email", "--oidc-extra-scope=groups,profile"],
        Outcome::Login,
        &[("scope", "openid email groups profile")],
    ),
    case(
        "scopes as CSV",
        &["--oidc-extra-scope=\"email\",\"groups\""],
        Outcome::Login,
        &[("scope", "openid email groups")],
    ),
    case(
        "extra parameters",
        &[
            "--oidc-auth-request-extra-params=ttl=86400,prompt=login",
            "--oidc-auth-request-extra-params=hd=a.example",
        ],
        Outcome::Login,
        &[("ttl", "86400"), ("prompt", "login"), ("hd", "a.example")],
    ),
    case(
        "a parameter with commas",
        &[r#"--oidc-auth-request-extra-params=claims={"id_token":{"a":null,"b":null}}"#],
        Outcome::Login,
        &[("claims", r#"{"id_token":{"a":null,"b":null}}"#)],
    ),
    case(
        "a parameter in quotation marks, and another",
        &[r#"--oidc-auth-request-extra-params="acr=1,2",prompt=login"#],
        Outcome::Login,
        &[("acr", "1,2"), ("prompt", "login")],
    ),
    case(
        "a parameter without a value",
        &["--oidc-auth-request-extra-params=ttl"],
        Outcome::Error,
        &[],
    ),
    case("headers", &["--oidc-request-header=Origin=localhost"], Outcome::Login, &[]),
    case(
        "headers, several",
        &["--oidc-request-header=Origin=localhost,X-A=b"],
        Outcome::Login,
        &[],
    ),
    case(
        "PKCE, the old flag",
        &["--oidc-use-pkce"],
        Outcome::Login,
        &[("code_challenge_method", "S256")],
    ),
    case(
        "PKCE by method",
        &["--oidc-pkce-method=S256"],
        Outcome::Login,
        &[("code_challenge_method", "S256")],
    ),
    case("no PKCE", &["--oidc-pkce-method=no"], Outcome::Login, &[]),
    case("a method that is none", &["--oidc-pkce-method=plain"], Outcome::Error, &[]),
    case("grant authcode", &["--grant-type=authcode"], Outcome::Login, &[]),
    case("a grant that is none", &["--grant-type=implicit"], Outcome::Error, &[]),
    case(
        "password",
        &["--grant-type=password", "--username=alice", "--password=secret"],
        Outcome::Token,
        &[],
    ),
    case("password by its user", &["--username=alice", "--password=secret"], Outcome::Token, &[]),
    case("a wrong password", &["--username=alice", "--password=wrong"], Outcome::Error, &[]),
    case(
        "the user of another grant",
        &["--grant-type=authcode", "--username=alice"],
        Outcome::Login,
        &[],
    ),
    case(
        "the access token",
        &["--oidc-use-access-token", "--username=alice", "--password=secret"],
        Outcome::Token,
        &[],
    ),
    case(
        "a redirect URI",
        &["--oidc-redirect-url=http://127.0.0.1:PORT/", "--listen-address=127.0.0.1:PORT"],
        Outcome::Login,
        &[("redirect_uri", "http://127.0.0.1:PORT/")],
    ),
    case(
        "a second address",
        &["--listen-address=192.0.2.1:8000,127.0.0.1:PORT"],
        Outcome::Login,
        &[("redirect_uri", "http://localhost:PORT")],
    ),
    case(
        "addresses in several flags",
        &["--listen-address=192.0.2.1:8000", "--listen-address=127.0.0.1:PORT"],
        Outcome::Login,
        &[],
    ),
    case("timeout", &["--authentication-timeout-sec=60"], Outcome::Login, &[]),
    case(
        "afterwards",
        &["--open-url-after-authentication=https://127.0.0.1:1/"],
        Outcome::Login,
        &[],
    ),
    case("cache folder", &["--token-cache-dir=~/cache"], Outcome::Login, &[]),
    case("cache on disk", &["--token-cache-storage=disk"], Outcome::Login, &[]),
    case("no cache", &["--token-cache-storage=none"], Outcome::Login, &[]),
    case("a cache that is none", &["--token-cache-storage=cloud"], Outcome::Error, &[]),
    case("authority data", &["--certificate-authority-data=CA_DATA"], Outcome::Login, &[]),
    case(
        "authorities in both forms",
        &["--certificate-authority=~/ca.pem", "--certificate-authority-data=CA_DATA"],
        Outcome::Login,
        &[],
    ),
    case(
        "an authority that is absent",
        &["--certificate-authority=~/none.pem"],
        Outcome::Error,
        &[],
    ),
    case("no verification", &["--insecure-skip-tls-verify"], Outcome::Login, &[]),
    case(
        "renegotiation",
        &["--tls-renegotiation-once", "--tls-renegotiation-freely=true"],
        Outcome::Login,
        &[],
    ),
    case("force", &["--force-refresh"], Outcome::Login, &[]),
    case(
        "its log",
        &[
            "-v1",
            "--logtostderr=true",
            "--alsologtostderr",
            "--stderrthreshold=2",
            "--log_dir=/tmp",
            "--vmodule=a=1",
            "--add_dir_header",
            "--one_output",
            "--skip_headers",
            "--skip_log_headers",
            "--log_file_max_size=1",
            "--log_backtrace_at=a.go:1",
        ],
        Outcome::Login,
        &[],
    ),
    case(
        "klog's newer flags",
        &["--legacy_stderr_threshold_behavior=false", "--alsologtostderrthreshold=ERROR"],
        Outcome::Login,
        &[],
    ),
    case(
        "a switch that is off",
        &["--skip-open-browser=true", "--oidc-use-access-token=false"],
        Outcome::Login,
        &[],
    ),
    case("its log in a file", &["--log_file=~/log", "--v=1"], Outcome::Login, &[]),
    case(
        "a browser by its command",
        &["--browser-command=true", "--skip-open-browser=false"],
        Outcome::Login,
        &[],
    ),
    case(
        "a client with a secret",
        &["--oidc-client-id=robot", "--oidc-client-secret=r0b0t"],
        Outcome::Login,
        &[("client_id", "robot")],
    ),
    case(
        "a client with a wrong secret",
        &[
            "--oidc-client-id=robot",
            "--oidc-client-secret=wrong",
            "--username=alice",
            "--password=secret",
        ],
        Outcome::Error,
        &[],
    ),
    case(
        "client credentials",
        &[
            "--grant-type=client-credentials",
            "--oidc-client-id=robot",
            "--oidc-client-secret=r0b0t",
            "--oidc-use-access-token",
        ],
        Outcome::Token,
        &[],
    ),
    case("a flag that is none", &["--nothing"], Outcome::Error, &[]),
    case("an argument", &["more"], Outcome::Error, &[]),
];

fn world() -> World {
    World::with(|issuer| {
        issuer.clients[0].redirect_uris.push("http://127.0.0.1:*/*".to_owned());
        issuer.clients[0].redirect_uris.push("urn:ietf:wg:oauth:2.0:oob".to_owned());
        issuer.clients.push(ClientConfig::confidential("robot", "r0b0t"));
    })
}

fn arguments(world: &World, case: &Case, port: u16) -> Vec<String> {
    let data = STANDARD.encode(world.provider.ca_pem());
    let home = world.home.path().display().to_string();
    let replaced = |word: &&str| {
        word.replace("PORT", &port.to_string()).replace("CA_DATA", &data).replace('~', &home)
    };
    let mut words = vec!["get-token".to_owned()];
    words.push(format!("--oidc-issuer-url={}", world.issuer.url()));
    let own: Vec<String> = case.arguments.iter().map(replaced).collect();
    let has = |name: &str| own.iter().any(|word| word.starts_with(name));
    if !has("--oidc-client-id") {
        words.push(format!("--oidc-client-id={}", world.client));
    }
    if !has("--certificate-authority") && !has("--insecure") {
        words.push(format!("--certificate-authority={}", world.path("ca.pem").display()));
    }
    if !has("--listen-address") {
        words.push("--listen-address=127.0.0.1:0".to_owned());
    }
    if !has("--skip-open-browser") {
        words.push("--skip-open-browser".to_owned());
    }
    words.extend(own);
    words
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[test]
fn every_stanza_has_its_outcome() {
    for case in CASES {
        let (world, port) = (world(), free_port());
        let plugin = world.plugin().args(arguments(&world, case, port)).exec_info("v1", true);
        let mut running = plugin.spawn();
        let found = match running.login_url_or_end() {
            Some(start) => {
                let (_, answer) = common::http::get(&start);
                let location = common::http::header(&answer, "Location").unwrap().to_owned();
                let sent = query(&location);
                for (name, want) in case.sent {
                    let want = want.replace("PORT", &port.to_string());
                    let found = sent.get(*name).map(String::as_str);
                    assert_eq!(found, Some(&*want), "{}: {name} in {location}", case.name);
                }
                let pkce = !case.arguments.contains(&"--oidc-pkce-method=no");
                assert_eq!(sent.contains_key("code_challenge"), pkce, "{}", case.name);
                let cookie = common::http::header(&answer, "Set-Cookie").unwrap().to_owned();
                let page = world.provider.browser();
                let host = url::Url::parse(&start).unwrap().host_str().unwrap().to_owned();
                let _ = page.with_cookie(&host, &cookie).sign_in(&start, "alice", "secret");
                Outcome::Login
            }
            None => Outcome::Token,
        };
        let outcome = running.finish();
        let found = if outcome.code == Some(0) { found } else { Outcome::Error };
        assert_eq!(found, case.outcome, "{}: {outcome:?}", case.name);
        if found != Outcome::Error {
            outcome.credential();
        }
    }
}

/// kubelogin#1048: Entra ID's single page applications want an `Origin` from whoever redeems their code.
#[test]
fn kubelogin_1048_headers_are_sent_with_every_request() {
    let issuer = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&issuer);
    let server = common::http::Server::start(move |request| {
        seen.lock().unwrap().push(request.to_owned());
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        if request.starts_with("GET /.well-known") {
            return serde_json::json!({
                "issuer": format!("http://{host}"),
                "token_endpoint": format!("http://{host}/token"), "jwks_uri": format!("http://{host}/keys"),
            })
            .to_string();
        }
        serde_json::json!({"error": "invalid_grant"}).to_string()
    });
    let world = World::new();
    let plugin = world.plugin().args([
        "get-token",
        "--oidc-client-id=c",
        "--username=a",
        "--password=b",
        "-v",
    ]);
    let plugin = plugin.arg(format!("--oidc-issuer-url={}", server.url()));
    let outcome = plugin.arg("--oidc-request-header=Origin=https://s3cret.example,X-Two=2").run();
    outcome.fails_with("invalid_grant");
    assert!(!outcome.stderr.contains("s3cret"), "a value may be a secret: {}", outcome.stderr);
    let requests = issuer.lock().unwrap();
    assert_eq!(requests.len(), 2);
    for request in requests.iter() {
        assert!(request.contains("origin: https://s3cret.example\r\n"), "{request}");
        assert!(request.contains("x-two: 2\r\n"), "{request}");
    }
}

/// `--oidc-redirect-url` is the redirect URI of the keyboard too, whatever kind of URI it is.
#[test]
fn the_keyboards_redirect_uri_is_the_given_one() {
    for (flags, want) in [
        (&["--oidc-redirect-url=http://localhost:1/cb"][..], "http://localhost:1/cb"),
        (&["--oidc-redirect-url=urn:ietf:wg:oauth:2.0:oob"], "urn:ietf:wg:oauth:2.0:oob"),
        (&["--oidc-redirect-url-authcode-keyboard=http://localhost:2"], "http://localhost:2"),
        (&[], "urn:ietf:wg:oauth:2.0:oob"),
    ] {
        let world = world();
        let plugin = world.get_token().args(["--grant-type=authcode-keyboard"]).args(flags);
        let mut running = plugin.exec_info("v1", true).spawn();
        assert_eq!(query(&running.login_url())["redirect_uri"], want, "{flags:?}");
    }
}

#[test]
fn version_and_flags_before_the_command() {
    let world = World::new();
    let run = |words: &[&str]| world.plugin().args(words).run();
    for words in [&["version"][..], &["version", "-v1"], &["--logtostderr", "version"]] {
        let outcome = run(words);
        assert_eq!(outcome.code, Some(0), "{words:?}: {outcome:?}");
        assert!(outcome.stdout.starts_with("kubectl-oidc "), "{words:?}: {outcome:?}");
    }
    for words in [
        &["clean", "-v1", "--stderrthreshold=2"][..],
        &["-v", "1", "clean"],
        &["clean", "--token-cache-dir=~/x"],
    ] {
        assert_eq!(run(words).code, Some(0), "{words:?}");
    }
    let flags = world.flags();
    let outcome = world.plugin().args(["-v1", "get-token"]).args(flags).args(any_port());
    world.log_in(outcome).credential();
}

/// kubectl's caches elsewhere: kubelogin's are there too, and so are other logins.
#[test]
fn kubecachedir_names_the_folder() {
    let world = World::new();
    let folder = world.path("caches");
    let plugin = || world.get_token().env("KUBECACHEDIR", &folder);
    let first = world.log_in(plugin()).credential();
    common::only_file(&folder.join("kubectl-oidc/tokens"));
    assert_eq!(plugin().run().credential(), first);
    let own = world.log_in(plugin().arg("--token-cache-dir=~/own")).credential();
    common::only_file(&world.path("own/tokens"));
    assert_ne!(own, first);
}

/// The discovery document elsewhere, as `discoveryURL` names it in an `AuthenticationConfiguration`.
#[test]
fn a_discovery_document_of_another_place() {
    let world = World::new();
    let document = world.issuer.endpoint(oidc_provider::Endpoint::Discovery);
    let plugin = |url: &str| {
        let plugin =
            world.get_token().args(["--username=alice", "--password=secret", "--token-store=none"]);
        plugin.arg(format!("--oidc-discovery-url={url}")).run()
    };
    plugin(&document).credential();
    plugin("https://127.0.0.1:1/none").fails_with("cannot be reached");
    // Another issuer's document does not do.
    let elsewhere = World::new();
    let other = elsewhere.issuer.endpoint(oidc_provider::Endpoint::Discovery);
    let outcome = world.get_token().args([
        "--username=alice",
        "--password=secret",
        "--insecure-skip-tls-verify",
    ]);
    let outcome = outcome.arg(format!("--oidc-discovery-url={other}")).run();
    outcome.fails_with("calls itself");
}

/// Flags of kubelogin that no case of the table can have: where a person or another program is needed.
const ELSEWHERE: [(&str, &str); 3] = [
    ("--local-server-cert", "authcode.rs"),
    ("--local-server-key", "authcode.rs"),
    ("--help", "every command has it"),
];

/// The table has every flag of the kubelogin that it is compared with.
fn every_flag_is_in_the_table(kubelogin: &OsStr) {
    let help = Command::new(kubelogin).args(["get-token", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.split_whitespace().filter(|word| word.starts_with("--"));
    let flags: BTreeSet<&str> = flags.map(|word| word.trim_end_matches(',')).collect();
    assert!(flags.len() > 40, "{help}");
    // What every stanza has.
    let mut known: BTreeSet<&str> = ["--oidc-issuer-url"].into();
    known.extend(ELSEWHERE.map(|(flag, _)| flag));
    for word in CASES.iter().flat_map(|case| case.arguments) {
        known.insert(word.split('=').next().unwrap_or(word));
    }
    let missing: Vec<_> = flags.difference(&known).collect();
    assert!(missing.is_empty(), "no stanza has {missing:?}");
}

/// The same stanzas by a kubelogin, outside CI.
#[test]
#[ignore = "make compare-kubelogin runs it, with a kubelogin"]
fn compare_with_kubelogin() {
    let kubelogin = std::env::var_os("KUBELOGIN").expect("KUBELOGIN names a kubelogin");
    every_flag_is_in_the_table(&kubelogin);
    let mut different = Vec::new();
    for case in CASES {
        let (world, port) = (world(), free_port());
        let mut command = Command::new(&kubelogin);
        command.args(arguments(&world, case, port)).env_clear().env("HOME", world.home.path());
        let mut running = Plugin(command).exec_info("v1", true).spawn();
        let found = match running.any_url_or_end() {
            Some(start) => {
                let _ = world.provider.browser().sign_in(&start, "alice", "secret");
                Outcome::Login
            }
            None => Outcome::Token,
        };
        let outcome = running.finish();
        let found = if outcome.code == Some(0) { found } else { Outcome::Error };
        println!("{:45} kubelogin: {found:?}, kubectl-oidc: {:?}", case.name, case.outcome);
        if found != case.outcome {
            different.push(format!("{}: {found:?}\n{}", case.name, outcome.stderr));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
