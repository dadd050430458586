//! The program `sandbox` as people run it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(30);

fn sandbox(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(arguments).arg("--folder").arg(folder).stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Processes that run on files of the folder.
fn processes(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let commands = fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    commands.filter(|line| line.contains(&folder)).collect()
}

fn wait_until_none_is_left(folder: &Path) {
    let start = Instant::now();
    while !processes(folder).is_empty() {
        assert!(start.elapsed() < LIMIT, "{:#?}", processes(folder));
    }
}

#[test]
fn the_story_is_true() {
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .arg("demo")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("namespace/test123 created"), "{}", text(&output));
}

#[test]
fn a_sandbox_stays_up_until_it_is_taken_down() {
    let folder = tempfile::tempdir().unwrap();
    let up = sandbox(&["up", "--detach"], folder.path()).output().unwrap();
    assert!(up.status.success(), "{}", text(&up));
    let again = sandbox(&["up"], folder.path()).output().unwrap();
    assert!(!again.status.success() && text(&again).contains("already"), "{}", text(&again));

    let said = text(&up);
    let setup = said.lines().find(|line| line.trim().starts_with("kubectl oidc setup")).unwrap();
    for flag in ["--cluster-certificate-authority=", "--certificate-authority="] {
        let file = setup.split(' ').find_map(|word| word.strip_prefix(flag)).unwrap();
        assert!(fs::read_to_string(file).unwrap().starts_with("-----BEGIN CERTIFICATE"), "{file}");
    }
    let plugin = Path::new(env!("CARGO_BIN_EXE_sandbox")).with_file_name("kubectl-oidc").exists();
    let kubectl = said.lines().find_map(|line| line.split_once("same version: ")).unwrap().1;
    for (name, code) in [("k8s-user1", 0), ("k8s-user2", 1), ("admin", 0)] {
        let kubeconfig = folder.path().join(format!("{name}.kubeconfig"));
        let user = fs::read_to_string(&kubeconfig).unwrap();
        assert_eq!(user.contains("kubectl-oidc"), plugin && name != "admin", "{user}");
        assert_eq!(user.contains("auth-provider"), !plugin && name != "admin", "{user}");
        let output = Command::new(kubectl)
            .args(["get", "ns"])
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECACHEDIR", folder.path().join("cache"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {}", text(&output));
    }

    let down = sandbox(&["down"], folder.path()).output().unwrap();
    assert!(down.status.success() && text(&down).starts_with("stopped"), "{}", text(&down));
    wait_until_none_is_left(folder.path());
    let again = sandbox(&["down"], folder.path()).output().unwrap();
    assert!(again.status.success() && text(&again).starts_with("no sandbox"), "{}", text(&again));
}

#[test]
fn nothing_is_left_of_a_sandbox_that_is_killed_while_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = sandbox(&["up"], folder.path()).stderr(Stdio::piped()).spawn().unwrap();
    // Its first step is done, the second one is on the way.
    let lines = BufReader::new(up.stderr.take().unwrap()).lines();
    let etcd = lines.map_while(Result::ok).find(|line| line.ends_with("etcd"));
    assert!(etcd.is_some());
    assert!(processes(folder.path()).len() > 1);
    up.kill().unwrap();
    up.wait().unwrap();
    wait_until_none_is_left(folder.path());
}

#[test]
fn a_port_in_use_gives_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let up = sandbox(&["up", "--port", &port.to_string()], folder.path()).output().unwrap();
    let want = format!("sandbox: cannot use port {port} on 127.0.0.1: Address already in use");
    let said = text(&up);
    assert!(!up.status.success() && said.starts_with(&want) && said.lines().count() == 1, "{said}");
}
