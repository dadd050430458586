//! An API server that answers no request: whatever the cause, `/readyz` says so, in Envoy's words, as requests have it.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use sandbox::{Authority, Identity};

use crate::{
    behaviour::whoami,
    harness::{Rig, Setup, cluster, until},
};

const DOCUMENT: &str = include_str!("../../../docs/troubleshooting.md");

/// A TCP port in front of something, until it is dropped.
struct Front {
    ended: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Leads to a port of this machine, or nowhere: then connections are taken, and nothing more.
    fn to(port: u16, target: Option<u16>) -> Self {
        let listener = bind(port);
        let port = listener.local_addr().unwrap().port();
        let (ended, open) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<TcpStream>>>::default());
        let (over, kept) = (Arc::clone(&ended), Arc::clone(&open));
        let thread = thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let client = client.unwrap();
                kept.lock().unwrap().push(client.try_clone().unwrap());
                if let Some(target) = target {
                    let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
                    kept.lock().unwrap().push(server.try_clone().unwrap());
                    forward(client.try_clone().unwrap(), server.try_clone().unwrap());
                    forward(server, client);
                }
            }
        });
        Self { ended, open, port, thread: Some(thread) }
    }
}

fn bind(port: u16) -> TcpListener {
    until("the port is free", || TcpListener::bind(("127.0.0.1", port)).ok())
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

impl Drop for Front {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.thread.take().unwrap().join().unwrap();
    }
}

/// OpenSSL's server: it speaks any TLS, and answers no request.
struct Server(Child);

impl Server {
    fn start(folder: &Path, port: u16, identity: &Identity, flags: &[&str]) -> Self {
        let files = identity.write(folder, "server").unwrap();
        drop(bind(port));
        let mut command = Command::new("openssl");
        command.args([
            "s_server",
            "-quiet",
            "-alpn",
            "h2",
            "-accept",
            &format!("127.0.0.1:{port}"),
        ]);
        command.arg("-cert").arg(&files.certificate).arg("-key").arg(&files.key).args(flags);
        // With the end of its input it would end.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(child.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn assert_unready(rig: &Rig, cause: &str, words: &[&str]) {
    let report = until(cause, || {
        let answer = rig.probe().get("/readyz").ok()?;
        let told = words.iter().any(|word| answer.body.contains(word));
        (answer.status == 503 && told).then_some(answer.body)
    });
    assert!(report.contains("[-]apiserver failed: the API server does not answer: "), "{report}");
    until(&format!("{cause} in the log"), || {
        let log = rig.log();
        let mut lines = log
            .lines()
            .filter(|line| line.contains("not ready: apiserver: the API server does not answer: "));
        lines.any(|line| words.iter().any(|word| line.contains(word))).then_some(())
    });
    until(&format!("{cause} in the metrics"), || {
        (rig.metric("gateway_ready{check=\"apiserver\"}") < 0.5).then_some(())
    });
    let (_, section) = DOCUMENT.split_once("`upstream`\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    for word in words {
        assert!(section.contains(&format!("`{word}`")), "{word} is not in the documentation");
    }
}

/// What kubectl says, whichever the cause.
fn assert_printed(rig: &Rig, token: &str, cause: &str) {
    let output = rig.kubectl(token).run(["get", "--raw", "/version"]).unwrap();
    let printed = output.stderr.trim_end();
    assert!(!output.success() && !printed.is_empty(), "{cause}: {output:?}");
    let section = DOCUMENT.split("\n## ").find(|section| {
        section.lines().next().is_some_and(|heading| heading.contains("`upstream`"))
    });
    let block = format!("```\n{printed}\n```");
    assert!(section.unwrap().contains(&block), "{cause} is not documented with:\n{printed}");
}

#[test]
fn whatever_keeps_requests_from_the_api_server_makes_it_unready() {
    let folder = tempfile::tempdir().unwrap();
    let (own, stranger) = (Authority::new("own").unwrap(), Authority::new("stranger").unwrap());
    let here = ["127.0.0.1"];
    let good = own.server_until(&here, 1).unwrap();
    let mut front = Some(Front::to(0, Some(cluster().port())));
    let port = front.as_ref().unwrap().port;
    let server = Some((format!("https://127.0.0.1:{port}"), own.pem().to_owned()));
    let page = "https://page.example";
    let cors = format!("--cors-allowed-origins=^{page}$");
    let rig = Rig::ready(&Setup { server, ..Setup::default() }, |_| vec![cors]);
    let token = rig.token().mint();
    assert_eq!(whoami(&rig, &token, &[]).0, 201);

    front.take();
    assert_unready(&rig, "nobody listens", &["Connection refused"]);
    assert_eq!(whoami(&rig, &token, &[]).0, 503);
    assert_printed(&rig, &token, "nobody listens");
    // A page that may use the API may read Envoy's own answers too.
    let request = rig.agent().get(format!("{}/version", rig.url())).header("origin", page);
    let answer = request.header("authorization", format!("Bearer {token}")).call().unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["access-control-allow-origin"], page);
    for (cause, identity, flags, words) in [
        (
            "an unknown CA",
            stranger.server_until(&here, 1).unwrap(),
            &[][..],
            "unable_to_get_local_issuer_certificate",
        ),
        ("another name", own.server_until(&["other.test"], 1).unwrap(), &[], "SAN_matcher"),
        (
            "a certificate that ended",
            own.server_until(&here, -1).unwrap(),
            &[],
            "certificate_has_expired",
        ),
        ("TLS 1.1", good.clone(), &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "PROTOCOL_VERSION"),
        (
            "groups that nobody else has",
            good.clone(),
            &["-tls1_3", "-groups", "ffdhe2048"],
            "HANDSHAKE_FAILURE",
        ),
    ] {
        let server = Server::start(folder.path(), port, &identity, flags);
        assert_unready(&rig, cause, &[words]);
        assert_eq!(whoami(&rig, &token, &[]).0, 503, "{cause}");
        assert_printed(&rig, &token, cause);
        drop(server);
    }
    let server = Server::start(folder.path(), port, &good, &[]);
    assert_unready(&rig, "TLS, and no answer", &["upstream request timeout"]);
    drop(server);
    front = Some(Front::to(port, None));
    assert_unready(
        &rig,
        "a connection, and no TLS",
        &["connection timeout", "upstream request timeout"],
    );
    front.take();

    front = Some(Front::to(port, Some(cluster().port())));
    until("it is ready again", || (rig.probe().get("/readyz").ok()?.status == 200).then_some(()));
    assert_eq!(whoami(&rig, &token, &[]).0, 201);
    drop(front);
}
