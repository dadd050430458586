//! `setup` with a gateway that says where to log in: what it may say, to whom it may say it, and what is made of it.
//!
//! The gateway is a server of the test's own, for it has to say what no real one says. The real one is in the end-to-end tests.

mod common;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Plugin, World, any_port};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What it shows of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// Its certificate and the authority's.
    Chain,
    /// Its certificate alone.
    Leaf,
    /// Its certificate, signed by somebody else, and the authority's, which has nothing to do with it.
    Stolen,
    /// A certificate of the authority, for another name.
    OtherName,
}

/// A gateway: a server over TLS with a document, and a cluster that knows whose a token is.
struct Gateway {
    address: SocketAddr,
    authority: CertificateDer<'static>,
    pem: String,
}

impl Gateway {
    fn start(shows: Shows, document: impl Fn(&str) -> Value + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let made = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap(), Issuer::new(params, key))
        };
        let (authority, issuer) = made("authority");
        let (_, thief) = made("authority");
        let key = KeyPair::generate().unwrap();
        let name = if shows == Shows::OtherName { "other.example" } else { "127.0.0.1" };
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let signer = if shows == Shows::Stolen { &thief } else { &issuer };
        let leaf = params.signed_by(&key, signer).unwrap();
        let mut chain = vec![leaf.der().clone()];
        if shows != Shows::Leaf {
            chain.push(authority.der().clone());
        }
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        let url = format!("https://{address}");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                // Who does not believe the certificate goes away.
                let _ = serve(StreamOwned::new(connection, stream.unwrap()), &document(&url));
            }
        });
        Self { address, authority: authority.der().clone(), pem: authority.pem() }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.authority);
        digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }
}

fn serve(
    mut stream: StreamOwned<ServerConnection, std::net::TcpStream>,
    document: &Value,
) -> std::io::Result<()> {
    let mut request = String::new();
    let mut chunk = [0; 4096];
    let is_whole = |request: &str| {
        let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() >= length.map_or(0, |length| length.parse().unwrap())
    };
    while !is_whole(&request) {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            read => request.push_str(&String::from_utf8_lossy(&chunk[..read])),
        }
    }
    let token = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
    let (status, body) = match token {
        _ if request.starts_with("GET /.well-known/oauth-protected-resource ") => {
            (document["status"].as_u64().unwrap_or(200), document.to_string())
        }
        Some(token) => {
            let user = json!({"username": common::claims(token)["sub"]});
            (201, json!({"status": {"userInfo": user}}).to_string())
        }
        None => (401, json!({"kind": "Status", "message": "Unauthorized"}).to_string()),
    };
    let moved = document["location"].as_str().unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nLocation: {moved}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn told(url: &str, world_issuer: &str, id: &str, cluster: Option<&str>) -> Value {
    let client = json!({"issuer": world_issuer, "client_id": id, "scopes": ["openid", "email"]});
    let mut document = json!({
        "resource": url,
        "authorization_servers": [world_issuer],
        "kubernetes": {"clients": [client]},
    });
    if let Some(cluster) = cluster {
        document["kubernetes"]["cluster"] = json!(cluster);
    }
    document
}

fn setup(world: &World, gateway: &Gateway) -> Plugin {
    let ca = format!("--certificate-authority={}", world.path("ca.pem").display());
    world.plugin().args(["setup", &gateway.url(), &ca]).args(any_port())
}

fn kubeconfig(world: &World) -> Value {
    let text = fs::read_to_string(world.path(".kube/config")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn good(world: &World, shows: Shows) -> Gateway {
    let issuer = world.issuer.url().to_owned();
    Gateway::start(shows, move |url| told(url, &issuer, "kube", Some("prod")))
}

/// The system's roots, a given CA, or one that is known by its fingerprint: never whoever is there.
#[test]
fn a_gateway_is_believed_over_vouched_tls_only() {
    let world = World::new();
    let gateway = good(&world, Shows::Chain);
    let nothing = || assert!(!world.path(".kube").exists(), "nothing is written");
    let refused = |plugin: Plugin, want: &str| {
        plugin.arg("--yes").run().fails_with(want);
        nothing();
    };
    refused(setup(&world, &gateway), "no certificate authority known here signed it");
    let insecure = setup(&world, &gateway).arg("--cluster-insecure-skip-tls-verify");
    refused(insecure, "taken only over TLS that is vouched for");
    let pinned = |gateway: &Gateway, print: &str| {
        setup(&world, gateway).arg(format!("--ca-fingerprint={print}"))
    };
    let wrong = "00".repeat(32);
    let none = "of the certificates that it shows none has the fingerprint";
    refused(pinned(&gateway, &wrong), none);
    for (shows, want) in [
        (Shows::Leaf, none),
        (Shows::Stolen, "is not trusted"),
        (Shows::OtherName, "it is for other names than this one"),
    ] {
        let gateway = good(&world, shows);
        refused(pinned(&gateway, &gateway.fingerprint()), want);
    }
    let both = ["--cluster-certificate-authority=ca.pem", "--yes"];
    let outcome = pinned(&gateway, &gateway.fingerprint()).args(both).run();
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    nothing();

    let agreed = pinned(&gateway, &gateway.fingerprint()).arg("--yes");
    let outcome = world.log_in(agreed);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let written = kubeconfig(&world);
    let data = written["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap();
    let pem = String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
    assert_eq!(pem.replace("\r\n", "\n"), gateway.pem.replace("\r\n", "\n"));
    // By a file of the authority, and without a gateway that says anything.
    fs::write(world.path("gateway.pem"), &gateway.pem).unwrap();
    let by_file =
        setup(&world, &gateway).args(["--cluster-certificate-authority=gateway.pem", "--yes"]);
    assert_eq!(by_file.run().code, Some(0));
    let plain = world.plugin().args(["setup", "--server", &gateway.url(), "--cluster=plain"]);
    let plain = plain.args(world.flags()).arg("--oidc-extra-scope=email").args(any_port());
    let plain = plain.arg(format!("--ca-fingerprint=sha256:{}", gateway.fingerprint()));
    let outcome = plain.run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}

/// Shown before the login, and asked; nobody there and no `--yes` is a no.
#[test]
fn a_person_agrees_to_issuer_and_client_first() {
    let world = World::new();
    let gateway = good(&world, Shows::Chain);
    let print = format!("--ca-fingerprint={}", gateway.fingerprint());
    let outcome = setup(&world, &gateway).arg(&print).run();
    outcome.fails_with("nobody is there to agree to this; give --yes");
    for said in [world.issuer.url(), "kube", "prod", "openid email"] {
        assert!(outcome.stderr.contains(said), "{said}\n{}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("Log in with"), "{}", outcome.stderr);
    assert_eq!(world.issuer.requests(oidc_provider::Endpoint::Discovery), 0);
    assert!(!world.path(".kube").exists());
}

#[test]
#[cfg(target_os = "linux")]
fn a_person_is_asked_on_a_terminal() {
    use rustix::{
        fs::{Mode, OFlags},
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::{LocalModes, tcgetattr},
    };
    let world = World::new();
    let gateway = good(&world, Shows::Chain);
    for (typed, agrees) in [("n\r", false), ("\r", false), ("\x03", false), ("yes\r", true)] {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let programs = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let mut person: fs::File = person.into();
        let print = format!("--ca-fingerprint={}", gateway.fingerprint());
        let mut plugin = setup(&world, &gateway).arg(print);
        plugin.0.stdin(programs);
        let mut running = plugin.spawn_with_stdin();
        running.line_with("  scopes");
        // Before the program reads keys by itself, the terminal keeps ^C for signals.
        let asked = Instant::now();
        while tcgetattr(&person).unwrap().local_modes.contains(LocalModes::ICANON) {
            assert!(asked.elapsed() < Duration::from_secs(30), "nobody asks");
            thread::sleep(Duration::from_millis(5));
        }
        person.write_all(typed.as_bytes()).unwrap();
        if agrees {
            let url = running.login_url();
            world.sign_in(&url);
            let outcome = running.finish();
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        } else {
            running.finish().fails_with("nothing was written");
            assert!(!world.path(".kube").exists());
        }
    }
}

#[test]
fn a_document_for_another_url_or_with_plain_addresses_is_not_used() {
    let world = World::new();
    let issuer = world.issuer.url().to_owned();
    for (change, want) in [
        (json!({"resource": "https://other.example"}), "says that it is \"https://other.example\""),
        (json!({"authorization_servers": ["http://login.example"]}), "is not an https URL"),
        (json!({"authorization_servers": ["http://127.0.0.1:1"]}), "is not an https URL"),
        (json!({"authorization_servers": []}), "it names no issuer"),
        (json!({"kubernetes": {"cluster": "\u{1b}]0;x"}}), "characters other than printable ASCII"),
        (json!({"kubernetes": {"clients": []}}), "give --oidc-client-id"),
        (json!({"resource": 1}), "not the JSON"),
        (json!({"status": 404}), "this server does not say where to log in"),
        (json!({"status": 401}), "this server does not say where to log in"),
        (json!({"status": 302, "location": "https://evil.example/"}), "answered 302"),
    ] {
        let of_issuer = issuer.clone();
        let changed = change.clone();
        let gateway = Gateway::start(Shows::Chain, move |url| {
            let mut document = told(url, &of_issuer, "kube", None);
            document.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
            document
        });
        let print = format!("--ca-fingerprint={}", gateway.fingerprint());
        let outcome = setup(&world, &gateway).args([&*print, "--yes"]).run();
        assert!(outcome.error().contains(want), "{change}: {}", outcome.stderr);
        assert!(!world.path(".kube").exists());
    }
    let plain = world.plugin().args(["setup", "http://127.0.0.1:1", "--yes"]).run();
    plain.fails_with("is not the URL of a gateway; write https://HOST");
}

/// A gateway named an issuer that got the client's secret, without anybody who had looked at it.
#[test]
fn a_secret_goes_to_an_issuer_that_was_named() {
    let world = World::new();
    let gateway = good(&world, Shows::Chain);
    let print = format!("--ca-fingerprint={}", gateway.fingerprint());
    for secret in ["--oidc-client-secret=s", "--password=p"] {
        let yes = [&*print, "--yes", "--grant-type=password", "--username=u", secret];
        let want = "with --yes name it with --issuer";
        setup(&world, &gateway).args(yes).run().fails_with(want);
        let issuer = format!("--issuer={}", world.issuer.url());
        let named = setup(&world, &gateway).args(yes).arg(&issuer).run();
        assert!(!named.stderr.contains(want), "{}", named.stderr);
    }
}

/// What a gateway says is written to the letter, whatever a shell, YAML or a flag would make of it.
#[test]
fn what_a_gateway_says_is_data() {
    let id = "a'b\"c: $(touch pwned) `x` {{ y }} %z #k & *a \\";
    let cluster = "--server=x: \"$(touch pwned)\" 'q' # | y";
    let world =
        World::with(|issuer| issuer.clients = vec![oidc_provider::ClientConfig::public(id)]);
    let issuer = world.issuer.url().to_owned();
    let gateway = Gateway::start(Shows::Chain, move |url| told(url, &issuer, id, Some(cluster)));
    let print = format!("--ca-fingerprint={}", gateway.fingerprint());
    let outcome = world.log_in(setup(&world, &gateway).args([&*print, "--yes"]));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let written = kubeconfig(&world);
    assert_eq!(written["clusters"][0]["name"], cluster);
    assert_eq!(written["current-context"], cluster);
    let arguments = written["users"][0]["user"]["exec"]["args"].as_array().unwrap();
    assert!(arguments.contains(&json!(format!("--oidc-client-id={id}"))), "{arguments:?}");
    assert!(arguments.contains(&json!("--oidc-extra-scope=email")), "{arguments:?}");
    assert!(!arguments.iter().any(|it| it.as_str().unwrap().contains("fingerprint")));
    // The command that is printed is one that a shell reads as it is meant.
    let line = outcome.stderr.lines().find(|line| line.starts_with("Try: ")).unwrap();
    let words = shlex::split(line.trim_start_matches("Try: ")).unwrap();
    assert_eq!(words[..3], ["kubectl", "--context", cluster]);
    assert!(!world.path("pwned").exists());
    // And it is found again.
    assert_eq!(world.plugin().args(["whoami", "--offline"]).run().code, Some(0));
}

#[test]
fn of_several_issuers_one_is_chosen() {
    let world = World::new();
    let issuer = world.issuer.url().to_owned();
    let gateway = Gateway::start(Shows::Chain, move |url| {
        let mut document = told(url, &issuer, "kube", None);
        let other = json!({"issuer": "https://other.example", "client_id": "x"});
        document["authorization_servers"] = json!(["https://other.example", issuer]);
        document["kubernetes"]["clients"].as_array_mut().unwrap().insert(0, other);
        document
    });
    let print = format!("--ca-fingerprint={}", gateway.fingerprint());
    let with = |more: &[&str]| setup(&world, &gateway).args([&*print, "--yes"]).args(more);
    let outcome = with(&[]).run();
    outcome.fails_with("several issuers; choose one with --issuer: https://other.example, ");
    with(&["--issuer=https://nobody.example"]).run().fails_with("has no issuer");
    with(&["--oidc-issuer-url=https://nobody.example"]).run().fails_with("has no issuer");
    let chosen = format!("--issuer={}", world.issuer.url());
    let outcome = world.log_in(with(&[&chosen]));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(kubeconfig(&world)["clusters"][0]["name"], "127.0.0.1");
}

/// A gateway chooses its name, but no one else's place.
#[test]
fn a_name_that_a_gateway_gives_itself_replaces_nothing() {
    let world = World::new();
    let gateway = good(&world, Shows::Chain);
    let print = format!("--ca-fingerprint={}", gateway.fingerprint());
    let run = |more: &[&str]| setup(&world, &gateway).args([&*print, "--yes"]).args(more);
    fs::create_dir(world.path(".kube")).unwrap();
    for (there, want) in [
        (
            "clusters: [{name: prod, cluster: {server: 'https://real.example'}}]\n",
            "https://real.example",
        ),
        (
            "contexts: [{name: prod, context: {cluster: real, user: me}}]\n",
            "a context \"prod\" already",
        ),
        ("users: [{name: oidc-prod, user: {token: t}}]\n", "a user \"oidc-prod\" already"),
    ] {
        fs::write(world.path(".kube/config"), there).unwrap();
        run(&[]).run().fails_with(want);
        assert_eq!(fs::read_to_string(world.path(".kube/config")).unwrap(), there);
    }
    let outcome = world.log_in(run(&["--cluster=mine"]));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    fs::write(world.path(".kube/config"), "").unwrap();
    // Its own entries it may renew.
    for _ in 0..2 {
        assert_eq!(run(&[]).run().code, Some(0));
    }
}
