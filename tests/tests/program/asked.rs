//! How an issuer is asked, and what is taken from it: one that serves Go's client, and gave 406, 503 or nothing here.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use sandbox::{Authority, realm};
use serde_json::{Value, json};

use crate::harness::{Files, Rig, Setup, binary, until};

/// Its path, as it is configured and as Go asks for it.
const PATH: (&str, &str) = ("/my realm/é", "/my%20realm/%C3%A9");
/// How many keys are read.
const MOST: usize = 1000;

/// An issuer with blanks and raw UTF-8 in its URL, whose answers are compressed though nobody asked for that, and whose key set is
/// `application/jwk-set+json` and nothing else.
struct Odd {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    /// How many of its connections began with an abridged handshake.
    resumed: Arc<AtomicUsize>,
    keys: Arc<OnceLock<Value>>,
}

impl Odd {
    fn start(authority: &Authority) -> Self {
        let identity = authority.server(&[]).unwrap();
        let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, keys) = (Arc::<Mutex<_>>::default(), Arc::<OnceLock<_>>::default());
        let (config, seen, served) = (Arc::new(config), Arc::clone(&heads), Arc::clone(&keys));
        let resumed = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&resumed);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (config, seen, served) =
                    (Arc::clone(&config), Arc::clone(&seen), Arc::clone(&served));
                let count = Arc::clone(&count);
                thread::spawn(move || {
                    serve(client.unwrap(), config, address, (&seen, &count), &served)
                });
            }
        });
        Self { address, heads, resumed, keys }
    }

    fn url(&self) -> String {
        format!("https://{}{}", self.address, PATH.0)
    }
}

fn serve(
    client: TcpStream,
    config: Arc<ServerConfig>,
    address: SocketAddr,
    (seen, resumed): (&Mutex<Vec<String>>, &AtomicUsize),
    keys: &OnceLock<Value>,
) -> Option<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, client);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    if stream.conn.handshake_kind() == Some(HandshakeKind::Resumed) {
        resumed.fetch_add(1, Ordering::Relaxed);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let base = PATH.1.to_ascii_lowercase();
    let is_keys = head.starts_with(&format!("get {base}/keys?a=b%20c "));
    let document = if head.starts_with(&format!("get {base}/.well-known/openid-configuration ")) {
        let url = format!("https://{address}{}", PATH.0);
        Some(json!({"issuer": url, "jwks_uri": format!("{url}/keys?a=b c")}))
    } else {
        keys.get().filter(|_| is_keys).cloned()
    };
    // As a server negotiates that has but one type.
    let takes = |kind: &str| {
        let accept = head.lines().find_map(|line| line.strip_prefix("accept: "));
        accept.is_none_or(|accept| accept.contains(kind) || accept.contains("*/*"))
    };
    let kind = if is_keys { "application/jwk-set+json" } else { "application/json" };
    let (status, body) = match document {
        Some(_) if !takes(kind) => ("406 Not Acceptable", Vec::new()),
        Some(document) => ("200 OK", gzip(document.to_string().as_bytes())),
        None => ("404 Not Found", Vec::new()),
    };
    seen.lock().unwrap().push(head);
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-encoding: gzip\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .ok()?;
    stream.write_all(&body).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["--stdout", "--no-name"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip, which every Linux has");
    let mut into = gzip.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writes = thread::spawn(move || into.write_all(&bytes).unwrap());
    let output = gzip.wait_with_output().unwrap();
    writes.join().unwrap();
    output.stdout
}

/// The issuer's own keys, and so many of other names before them.
fn many(jwks: &Value, count: usize) -> Value {
    let own = jwks["keys"].as_array().unwrap();
    let more = (own.len()..count).map(|number| {
        let mut key = own[0].clone();
        key["kid"] = json!(format!("other-{number}"));
        key
    });
    json!({"keys": more.chain(own.iter().cloned()).collect::<Vec<_>>()})
}

/// panva/openid-client#466 and #648, auth0/jwks-rsa-java#77: types, encodings and numbers that others did not take.
#[test]
fn an_issuer_that_go_s_client_reaches_is_reached() {
    let authority = Authority::new("odd").unwrap();
    let odd = Odd::start(&authority);
    let authentication = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {
                "url": odd.url(), "audiences": [realm::CLIENT],
                "certificateAuthority": authority.pem(),
            },
            "claimMappings": {"username": {"claim": "preferred_username", "prefix": ""}},
        }],
    });
    let flags = |files: &Files| {
        let folder = |name: &str| files.config.parent().unwrap().join(name);
        std::fs::write(folder("odd.yaml"), authentication.to_string()).unwrap();
        vec![format!("--authentication-config={}", folder("odd.yaml").display())]
    };
    let rig = Rig::begin(&Setup { chart: false, ..Setup::default() }, flags);
    odd.keys.set(many(&rig.issuer().jwks(), MOST)).unwrap();
    let good = rig.token().claim("iss", odd.url()).mint();
    // Every one of the workers: each has the keys of the shared record.
    for _ in 0..8 {
        until("a token is taken", || {
            let answer = rig.agent().get(format!("{}/version", rig.url()));
            let answer = answer.header("authorization", format!("Bearer {good}")).call().ok()?;
            (answer.status() == 200).then_some(())
        });
    }
    until("the keys are counted", || (rig.metric("gateway_issuer_keys{") > 999.5).then_some(()));
    let heads = odd.heads.lock().unwrap().clone();
    let asked = |head: &&String| head.contains("user-agent: kube-oidc-gateway");
    let heads: Vec<_> = heads.iter().filter(asked).collect();
    assert!(heads.len() >= 2, "{heads:?}");
    // The certificate is looked at each time: in an abridged handshake nobody would.
    assert_eq!(odd.resumed.load(Ordering::Relaxed), 0);
    for head in heads {
        assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
        assert!(!head.contains("\r\naccept: "), "Go's client names no type: {head}");
    }

    // `review` reads what the filter reads, by Envoy and without one.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("token"), &good).unwrap();
    std::fs::write(at("odd.yaml"), authentication.to_string()).unwrap();
    for (run, by) in [
        (rig.run_directory(), "are fetched by the Envoy of the gateway here"),
        (at("nobody"), "are fetched by this program, not by a gateway's Envoy"),
    ] {
        let output = Command::new(binary())
            .arg("review")
            .arg(format!("--authentication-config={}", at("odd.yaml").display()))
            .arg(format!("--token-file={}", at("token").display()))
            .arg(format!("--run-dir={}", run.display()))
            .output()
            .unwrap();
        let (said, complained) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(complained.contains(by), "{by}: {complained}");
        assert!(output.status.success(), "{by}: {said}");
    }
}
