//! A running portal, and how it is asked.

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
use serde_json::{Value, json};
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_mins(1);
pub const SECRET: &str = "a-secret-that-nobody-may-see-which-has-thirty-two-bytes-and-more";
pub const TEMPLATE: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: kubehook\n  cluster:\n    \
                        certificate-authority-data: REDACTED\n    server: https://kubehook.example.org\n";

/// A running portal. It ends with this value.
pub struct Portal {
    pub child: Child,
    pub folder: TempDir,
    pub address: SocketAddr,
}

impl Portal {
    /// Starts the program with the secret in the environment and these flags.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
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
        portal.wait();
        portal
    }

    /// Waits until it serves.
    pub fn wait(&mut self) {
        let start = Instant::now();
        while !self.admin("/ready").is_some_and(|answer| answer.contains("LIVE")) {
            let ended = self.child.try_wait().unwrap();
            let late = start.elapsed() > PATIENCE;
            assert!(ended.is_none() && !late, "{ended:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What Envoy's administration answers.
    pub fn admin(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.folder.path().join("run/admin.sock")).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// curl, with the address in place of `URL`.
    pub fn curl(&self, arguments: &[&str]) -> (u16, String) {
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
    pub fn raw(&self, request: &[u8]) -> String {
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
    pub fn generate(&self, user: &str, lifetime: &str) -> (u16, String) {
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

    pub fn review(&self, version: &str, token: &str) -> (u16, Value) {
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

pub fn terminate(child: &Child) {
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
}

pub fn command(folder: &Path, address: SocketAddr, arguments: &[&str]) -> Command {
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
pub fn filter() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_kube-oidc-gateway")).ancestors().nth(2).unwrap();
    env::var_os("GATEWAY_FILTER")
        .map_or_else(|| built.join("wasm32-wasip1/wasm/filter.wasm"), PathBuf::from)
}

/// An address that nobody has at the moment.
pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn claims(token: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
