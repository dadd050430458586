//! The portal as its users meet it: the program, Envoy, the Wasm filter.
//!
//! kubehook's documented commands are golden here, with only the address changed. Needs the filter's module
//! (`GATEWAY_FILTER`) and Envoy (`ENVOY_BIN`); `make unit` names both.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_mins(1);
const SECRET: &str = "a-secret-that-nobody-may-see";
const TEMPLATE: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: kubehook\n  cluster:\n    \
                        certificate-authority-data: REDACTED\n    server: https://kubehook.example.org\n";

/// A running portal. It ends with this value.
struct Portal {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Portal {
    /// Starts the program with the secret in the environment and these flags.
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let address = free();
        let child = command(folder.path(), address, arguments)
            .env("KUBEHOOK_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut portal = Self { child, folder, address };
        let start = Instant::now();
        while !portal.admin("/ready").is_some_and(|answer| answer.contains("LIVE")) {
            let ended = portal.child.try_wait().unwrap();
            let late = start.elapsed() > PATIENCE;
            assert!(ended.is_none() && !late, "{ended:?}\n{}", portal.log());
            thread::sleep(Duration::from_millis(50));
        }
        portal
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What Envoy's administration answers.
    fn admin(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.folder.path().join("run/admin.sock")).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// curl, with the address in place of `URL`.
    fn curl(&self, arguments: &[&str]) -> (u16, String) {
        let output = self.curl_raw(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or_default();
        (status.parse().unwrap_or(0), body.to_owned())
    }

    fn curl_raw(&self, arguments: &[&str]) -> Output {
        let url = format!("http://{}", self.address);
        Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"])
            .args(arguments.iter().map(|word| word.replace("URL", &url)))
            .output()
            .unwrap()
    }

    /// What comes back for these very bytes.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may answer and close before everything is sent.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        // The head is enough: Envoy closes a second later.
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut part) {
                Ok(read @ 1..) => answer.extend_from_slice(&part[..read]),
                _ => break,
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// kubehook's documented way to a token.
    fn generate(&self, user: &str, lifetime: &str) -> (u16, String) {
        let user = format!("X-Forwarded-User: {user}");
        let body = json!({ "lifetime": lifetime }).to_string();
        let (status, body) = self.curl(&[
            "-X",
            "POST",
            "-H",
            "Content-Type: application/json",
            "-H",
            &user,
            "-d",
            &body,
            "URL/generate",
        ]);
        let body: Value = serde_json::from_str(&body).unwrap();
        (status, body["token"].as_str().or(body["error"].as_str()).unwrap().to_owned())
    }

    fn review(&self, version: &str, token: &str) -> (u16, Value) {
        let body = json!({"apiVersion": version, "kind": "TokenReview", "spec": {"token": token}});
        let (status, body) = self.curl(&[
            "-X",
            "POST",
            "-H",
            "Content-Type: application/json",
            "-d",
            &body.to_string(),
            "URL/authenticate",
        ]);
        (status, serde_json::from_str(&body).unwrap())
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        // The program ends its Envoy.
        terminate(&self.child);
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn terminate(child: &Child) {
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
}

fn command(folder: &Path, address: SocketAddr, arguments: &[&str]) -> Command {
    let template = folder.join("template");
    fs::write(&template, TEMPLATE).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"));
    command
        .arg("portal")
        .args(["--listen", &address.to_string(), "--concurrency", "2"])
        .args(["--shutdown-grace-period", "5s"])
        .args([Path::new("--run-dir"), &folder.join("run")])
        .args([Path::new("--access-log"), &folder.join("access.log")])
        .args([Path::new("--filter"), &filter()])
        .args(arguments);
    if !arguments.contains(&"--kubecfg-template") {
        command.args([Path::new("--kubecfg-template"), &template]);
    }
    command
}

/// The module that `GATEWAY_FILTER` names, else the one in the target folder.
fn filter() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_kube-oidc-gateway")).ancestors().nth(2).unwrap();
    env::var_os("GATEWAY_FILTER")
        .map_or_else(|| built.join("wasm32-wasip1/wasm/filter.wasm"), PathBuf::from)
}

/// An address that nobody has at the moment.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// The commands of kubehook's README, and that nothing we write, log or show has the secret or a token in it.
#[test]
fn kubehooks_commands_and_no_secret_anywhere() {
    let portal = Portal::start(&["--insecure-trust-header"]);
    assert!(portal.log().contains("warning: --insecure-trust-header"), "{}", portal.log());

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

#[test]
fn attacks() {
    let portal = Portal::start(&[
        "--insecure-trust-header",
        "--max-lifetime",
        "1h",
        "--tokens-per-second",
        "1",
    ]);
    let (address, json) = (portal.address, "Content-Type: application/json\r\n");
    let post = |headers: &str, body: &str| {
        let length = body.len();
        portal.raw(
            format!("POST /generate HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
                .as_bytes(),
        )
    };
    let good = r#"{"lifetime": "1h"}"#;
    let user = "X-Forwarded-User: cooluser\r\n";
    for (headers, body, want) in [
        (format!("{json}{user}"), good, "200"),
        (format!("{json}{user}X-Forwarded-User: root\r\n"), good, "400"),
        (format!("{json}{user}x-forwarded-user: root\r\n"), good, "400"),
        (format!("{json}X-Forwarded-User: a\x01b\r\n"), good, "400"),
        (format!("{json}X-Forwarded-User: system:admin\r\n"), good, "403"),
        (format!("{json}{user}X-Forwarded-Groups: dev;system:masters\r\n"), good, "403"),
        (format!("{json}X_Forwarded_User: cooluser\r\n"), good, "400"),
        (json.to_owned(), good, "400"),
        (format!("{json}{user}"), r#"{"lifetime": "2h"}"#, "500"),
        (format!("{json}{user}"), r#"{"lifetime": "0"}"#, "400"),
        (format!("{json}{user}"), r#"{"lifetime": "-1h"}"#, "400"),
        (format!("{json}{user}"), r#"{"lifetime": "9223372036854775808ns"}"#, "400"),
        (format!("{json}{user}"), r#"{"lifetime": 3600}"#, "400"),
        (format!("{json}{user}"), "{", "400"),
        (
            format!("Content-Type: application/x-www-form-urlencoded\r\n{user}"),
            "lifetime=1h",
            "403",
        ),
        (format!("{json}{user}Origin: https://evil.example\r\n"), good, "403"),
        (format!("{json}{user}Sec-Fetch-Site: cross-site\r\n"), good, "403"),
    ] {
        let answer = post(&headers, body);
        let (_, status) =
            answer.split_once(' ').unwrap_or_else(|| panic!("{headers} {body}: {answer}"));
        assert!(status.starts_with(want), "{headers} {body}: {answer}");
    }
    let large = post(&format!("{json}{user}"), &" ".repeat(10 << 20));
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");

    let none = format!(
        "{}.{}.",
        BASE64.encode(r#"{"alg":"none"}"#),
        BASE64.encode(r#"{"sub":"root","aud":"github.com/planetlabs/kubehook"}"#)
    );
    let other = Portal::start(&["--insecure-trust-header", "--audience", "other"]);
    let elsewhere = other.generate("cooluser", "1h").1;
    for (token, want) in [
        (none, "signing method"),
        (elsewhere, "invalid JWT audience other"),
        ("x".to_owned(), "malformed"),
    ] {
        let (status, review) = portal.review("authentication.k8s.io/v1", &token);
        assert_eq!((status, &review["status"]["authenticated"]), (403, &Value::Null));
        assert!(review["status"]["error"].as_str().unwrap().contains(want), "{review}");
    }
    // One user's rate, over both workers.
    let limited = (0..12).filter(|_| portal.generate("greedy", "1h").0 == 429).count();
    assert!(limited > 0, "no limit");
    // The portal is as well as before.
    assert_eq!(portal.curl(&["URL/healthz"]).0, 200);
}

#[test]
fn es256_tokens_with_published_keys_that_are_rotated() {
    let files = tempfile::tempdir().unwrap();
    let keys = ["old", "new"].map(|name| {
        let path = files.path().join(name);
        fs::write(&path, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let start = |names: &[&str]| {
        let mut arguments = vec!["--insecure-trust-header", "--issuer", "https://portal.example"];
        arguments.extend(names.iter().flat_map(|name| ["--signing-key-file", *name]));
        Portal::start(&arguments)
    };
    let before = start(&[&keys[0]]);
    let old = before.generate("cooluser", "1h").1;
    drop(before);
    let during = start(&[&keys[1], &keys[0]]);
    let new = during.generate("cooluser", "1h").1;
    let (_, jwks) = during.curl(&["URL/keys"]);
    let jwks: Value = serde_json::from_str(&jwks).unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2, "{jwks}");
    let (_, document) = during.curl(&["URL/.well-known/openid-configuration"]);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["issuer"], "https://portal.example");
    for token in [&old, &new] {
        assert_eq!(during.review("authentication.k8s.io/v1", token).0, 200);
    }
    assert_eq!(claims(&new)["iss"], "https://portal.example");
    drop(during);
    let after = start(&[&keys[1]]);
    assert_eq!(after.review("authentication.k8s.io/v1", &new).0, 200);
    let (status, review) = after.review("authentication.k8s.io/v1", &old);
    assert_eq!(
        (status, review["status"]["error"].as_str()),
        (403, Some("invalid JWT token: signature is invalid"))
    );
}

/// A secret is exchanged, then the old one taken out, while the portal answers.
#[test]
fn keys_are_rotated_without_a_restart() {
    let files = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (first, second) = (secret("first", "the-old-secret"), secret("second", "the-old-secret"));
    let flags = [
        "--insecure-trust-header",
        "--tokens-per-second=100",
        "--secret-file",
        &first,
        "--secret-file",
        &second,
    ];
    let portal = Portal::start(&flags);
    let old = portal.generate("cooluser", "1h").1;
    // What the kernel has queued for a listener that is closed is reset: a client connects again.
    let post = |path: &str, user: &str, body: &Value| {
        let (url, body) = (format!("URL{path}"), body.to_string());
        let json = "Content-Type: application/json";
        let start = Instant::now();
        loop {
            let (status, text) = portal.curl(&["-H", json, "-H", user, "-d", &body, &url]);
            if status != 0 {
                return (status, text);
            }
            assert!(start.elapsed() < PATIENCE, "{}", portal.log());
        }
    };
    let is_good = |token: &str| {
        let version = "authentication.k8s.io/v1";
        let body = json!({"apiVersion": version, "kind": "TokenReview", "spec": {"token": token}});
        post("/authenticate", "X-Any: a", &body).0 == 200
    };
    let made = || {
        let text = post("/generate", "X-Forwarded-User: cooluser", &json!({"lifetime": "1h"})).1;
        serde_json::from_str::<Value>(&text).ok()?["token"].as_str().map(str::to_owned)
    };
    let wait = |what: &str, ready: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !ready() {
            assert!(start.elapsed() < PATIENCE, "{what}\n{}", portal.log());
            thread::sleep(Duration::from_millis(50));
        }
    };
    let live = |times: usize| {
        wait("a change is live", &|| portal.log().matches("is live").count() >= times);
    };

    // The new one signs; what the old one signed is good.
    secret("first", "the-new-secret");
    live(1);
    wait("the old Envoy ends", &|| portal.admin("/ready").is_none());
    let new = made().unwrap();
    assert!(signed_by("the-new-secret", &new));
    assert!(is_good(&old) && is_good(&new));
    // An empty file is no key: what there was goes on.
    secret("first", "");
    wait("a refusal", &|| {
        portal.log().contains("the secret is empty; the old keys and files go on")
    });
    assert!(is_good(&new));
    // The old one is out.
    secret("first", "the-new-secret");
    secret("second", "the-new-secret-once-more");
    live(2);
    wait("the old token is refused", &|| !is_good(&old));
    assert!(is_good(&new));
}

/// Whether this secret signed a token: a portal with it alone says so.
fn signed_by(secret: &str, token: &str) -> bool {
    use gateway_core::portal::{KeyRing, keys};
    let entry = keys::KeyEntry::HS256 { id: "s".to_owned(), secret: BASE64.encode(secret) };
    let document = serde_json::to_vec(&keys::KeyDocument { keys: vec![entry] }).unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64.decode(signature).unwrap();
    KeyRing::parse(&document).unwrap().verify_hs256(input.as_bytes(), &signature).is_some()
}

/// An authority and what it signed: PEM files.
struct Authority {
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca"), authority.pem()).unwrap();
        for (name, usage) in [
            ("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth),
            ("proxy.example", ExtendedKeyUsagePurpose::ClientAuth),
            ("other.example", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &authority).unwrap();
            fs::write(folder.path().join(format!("{name}.crt")), certificate.pem()).unwrap();
            fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn a_header_counts_only_from_a_peer_that_mutual_tls_or_a_network_vouches_for() {
    let (own, foreign) = (Authority::new(), Authority::new());
    let ask = |portal: &Portal, certificate: Option<(&Authority, &str)>| {
        let url = format!("https://{}/generate", portal.address);
        let ca = own.file("ca");
        let body = r#"{"lifetime": "1h"}"#;
        let mut arguments = vec![
            "--cacert".to_owned(),
            ca,
            "-H".into(),
            "Content-Type: application/json".into(),
            "-H".into(),
            "X-Forwarded-User: cooluser".into(),
            "-d".into(),
            body.into(),
            url,
        ];
        if let Some((authority, name)) = certificate {
            let [chain, key] = ["crt", "key"].map(|end| authority.file(&format!("{name}.{end}")));
            arguments.extend(["--cert".to_owned(), chain, "--key".to_owned(), key]);
        }
        let words: Vec<_> = arguments.iter().map(String::as_str).collect();
        portal.curl(&words).0
    };
    let (chain, key, ca) = (own.file("127.0.0.1.crt"), own.file("127.0.0.1.key"), own.file("ca"));
    let tls = ["--tls-cert", &chain, "--tls-key", &key];

    let portal = Portal::start(
        &[&tls[..], &["--client-ca", &ca, "--client-ca-subject", "proxy.example"]].concat(),
    );
    assert_eq!(ask(&portal, Some((&own, "proxy.example"))), 200, "{}", portal.log());
    for certificate in [None, Some((&own, "other.example")), Some((&foreign, "proxy.example"))] {
        assert_eq!(ask(&portal, certificate), 0, "the handshake fails");
    }
    drop(portal);

    let portal = Portal::start(&[&tls[..], &["--trust-network", "127.0.0.0/8"]].concat());
    assert_eq!(ask(&portal, None), 200);
    drop(portal);
    let portal = Portal::start(&[&tls[..], &["--trust-network", "192.0.2.0/24"]].concat());
    assert_eq!(ask(&portal, None), 403);
    // A client's word for its address does not count.
    let forged = [
        "-H",
        "X-Forwarded-For: 192.0.2.1",
        "-H",
        "X-Forwarded-User: a",
        "-H",
        "Content-Type: application/json",
        "-k",
        "-d",
        r#"{"lifetime": "1h"}"#,
    ];
    let url = format!("https://{}/generate", portal.address);
    assert_eq!(portal.curl(&[&forged[..], &[&url]].concat()).0, 403);
}

#[test]
fn told_to_end_it_ends_after_what_is_under_way() {
    let mut portal = Portal::start(&["--insecure-trust-header"]);
    assert_eq!(portal.generate("cooluser", "1h").0, 200);
    let body = r#"{"lifetime": "1h"}"#;
    let head = format!(
        "POST /generate HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nX-Forwarded-User: a\r\nContent-Length: {}\r\n\r\n",
        portal.address,
        body.len()
    );
    let mut under_way = TcpStream::connect(portal.address).unwrap();
    under_way.write_all(head.as_bytes()).unwrap();
    terminate(&portal.child);
    let start = Instant::now();
    while portal.admin("/ready").is_some_and(|answer| answer.contains("LIVE")) {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
    under_way.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("token"), "{answer}");
    let status = loop {
        if let Some(status) = portal.child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    assert!(TcpStream::connect(portal.address).is_err(), "Envoy has ended too");
}

#[test]
fn an_envoy_that_ends_by_itself_is_started_anew() {
    let portal = Portal::start(&["--insecure-trust-header"]);
    let token = portal.generate("cooluser", "1h").1;
    let start = Instant::now();
    while !portal.log().contains("the portal serves") {
        assert!(start.elapsed() < PATIENCE, "{}", portal.log());
        thread::sleep(Duration::from_millis(20));
    }
    let mut admin = UnixStream::connect(portal.folder.path().join("run/admin.sock")).unwrap();
    admin.write_all(b"POST /quitquitquit HTTP/1.1\r\nHost: admin\r\n\r\n").unwrap();
    while !portal.log().contains("it is started anew")
        || !portal.admin("/ready").is_some_and(|answer| answer.contains("LIVE"))
    {
        assert!(start.elapsed() < PATIENCE, "{}", portal.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(portal.review("authentication.k8s.io/v1", &token).0, 200, "with the same keys");
}

#[test]
fn what_cannot_work_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    fs::write(&broken, "clusters: [{name: a, cluster: {}}]").unwrap();
    let broken = broken.to_str().unwrap();
    for (arguments, secret, want) in [
        (&[][..], None, "a key is needed"),
        (&[], Some(""), "the secret is empty"),
        (
            &["--issuer", "https://x"],
            Some("s"),
            "issuer: is needed with an ES256 key, and only then",
        ),
        (&["--max-lifetime", "0"], Some("s"), "maxLifetimeSeconds"),
        (&["--user-header", "Authorization"], Some("s"), "userHeader"),
        (
            &["--kubecfg-template", broken],
            Some("s"),
            "clusters[0]: needs a name and a cluster with a server",
        ),
        (&["--signing-key-file", broken], Some("s"), "is not a private key on P-256"),
        (&["--client-ca", "/x"], Some("s"), "--tls-cert"),
        (&["--plugin-client-id", "x"], Some("s"), "--authentication-config"),
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
