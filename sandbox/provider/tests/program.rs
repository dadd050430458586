//! The program, as the sandbox starts it. Apart from the other tests, because a child in the making holds copies of
//! their listeners for a moment.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use oidc_provider::{Browser, Config, Preset, Provider};
use serde_json::{Value, json};
use tempfile::TempDir;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_oidc-provider"))
}

/// The running program, ended when the test is.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn fails(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(!status.success());
    assert!(stdout.is_empty(), "{}", text(&stdout));
    text(&stderr)
}

#[test]
fn it_serves_presets_until_it_is_told_to_end() {
    let folder = TempDir::new().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let mut child = program()
        .args(["--preset", "kubernetes-sandbox", "--preset", "kanidm", "--preset", "google"])
        .args(["--host", "localhost", "--admin", "127.0.0.1:0", "--ca-file"])
        .arg(&ca_file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut running = Running(child);
    let ready: Value = serde_json::from_str(&line).unwrap();
    let url = |index: usize| ready["issuers"][index]["url"].as_str().unwrap().to_owned();
    assert!(url(0).starts_with("https://localhost:"), "{line}");
    assert!(url(0).ends_with("/auth/realms/kubernetes-sandbox"), "{line}");
    assert!(url(1).ends_with("/oauth2/openid/kubernetes"), "{line}");
    assert_eq!(url(2).matches('/').count(), 2, "no path: {line}");
    assert!(ready["admin"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{line}");

    let browser = Browser::new(&fs::read_to_string(&ca_file).unwrap()).unwrap();
    for index in 0..3 {
        let url = format!("{}/.well-known/openid-configuration", url(index));
        let document: Value =
            serde_json::from_str(&browser.sign_in(&url, "", "").unwrap().text).unwrap();
        assert_eq!(document["issuer"], ready["issuers"][index]["url"]);
    }
    let mut sign_in = program();
    sign_in.args(["sign-in", "--user", "k8s-user1", "--password", "wrong", "--ca-file"]);
    sign_in.arg(&ca_file).arg(format!(
        "{}/authorize?client_id=kubernetes-sandbox&response_type=code&redirect_uri=http://127.0.0.1:1/",
        url(0)
    ));
    let error = fails(sign_in);
    assert_eq!(error, "oidc-provider: the provider refused this user name and password\n");

    let terminated = Command::new("kill").arg(running.0.id().to_string()).status().unwrap();
    assert!(terminated.success());
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn it_prints_configurations_that_it_reads() {
    let output = program().args(["config", "kubernetes-sandbox", "google"]).output().unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, &output.stdout).unwrap();
    let config = Config::read(&file).unwrap();
    let issuers = vec![Preset::KubernetesSandbox.issuer(), Preset::Google.issuer()];
    assert_eq!(config, Config { issuers, ..Config::default() });
}

#[test]
fn mistakes_take_one_line() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.json");
    let with = |config: &Value| {
        fs::write(&file, config.to_string()).unwrap();
        let mut command = program();
        command.arg("--config").arg(&file);
        fails(command)
    };
    let path = file.display();
    for (error, want) in [
        (with(&json!({"isuers": []})), format!("{path}: unknown field `isuers`")),
        (
            with(&json!({"issuers": [{"path": "x"}]})),
            "issuers[0].path: must be empty or a path".to_owned(),
        ),
        (
            with(&json!({"listen": "127.0.0.1:0", "tls":
                {"certificate": "/nowhere/a", "private_key": "/nowhere/b", "ca": "/nowhere/c"}})),
            "/nowhere/a: ".to_owned(),
        ),
        (with(&json!({"listen": "192.0.2.1:1"})), "cannot listen on 192.0.2.1:1".to_owned()),
    ] {
        assert!(error.starts_with(&format!("oidc-provider: {want}")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert!(fails(program()).contains("--config"), "help says what is missing");
}

/// A child between fork and exec holds the listener open: the port was in use when it was bound again.
#[test]
fn going_down_while_processes_are_started() {
    let provider = Provider::start(Config::of(Preset::Kanidm.issuer())).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    Command::new("true").status().unwrap();
                }
            });
        }
        let results: Vec<_> = (0..200)
            .map(|_| {
                provider.go_down()?;
                let refused = TcpStream::connect(provider.address()).is_err();
                provider.come_up().map(|()| refused)
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        for result in results {
            assert!(result.unwrap(), "nobody listens while it is down");
        }
    });
}
