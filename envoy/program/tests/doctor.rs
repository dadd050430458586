//! `doctor`, as far as it needs no cluster.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "no {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The folders of a doctor below this one.
fn folders(place: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(place).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("doctor-"))
        .collect()
}

/// A signal left a folder with the gateway's token, and an Envoy that ran on.
#[test]
fn a_signal_leaves_no_credential_and_no_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // It never serves, so that there is time for a signal.
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'envoy  version: 0/1.40.0/Clean/RELEASE/BoringSSL' && exit\necho $$ >{}\nexec sleep 1000\n",
        path("envoy.pid")
    );
    fs::write(path("envoy"), script).unwrap();
    fs::set_permissions(path("envoy"), fs::Permissions::from_mode(0o755)).unwrap();
    for module in ["filter.wasm", "connections.wasm"] {
        fs::write(path(module), "\0asm").unwrap();
    }
    fs::create_dir(path("tmp")).unwrap();
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
        .arg("doctor")
        .args(["--oidc-issuer-url=https://127.0.0.1:1", "--oidc-client-id=kubernetes"])
        .args(["--server=https://127.0.0.1:1", "--token=secret"])
        .arg(format!("--run-dir={}", path("run")))
        .arg(format!("--envoy-binary={}", path("envoy")))
        .arg(format!("--filter={}", path("filter.wasm")))
        .env("TMPDIR", path("tmp"))
        .env_remove("KUBECONFIG")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let envoy = until("Envoy", || {
        assert!(doctor.try_wait().unwrap().is_none(), "it ended");
        fs::read_to_string(path("envoy.pid")).ok()?.trim().parse::<i32>().ok()
    });
    assert_eq!(folders(Path::new(&path("tmp"))).len(), 1);

    let pid = rustix::process::Pid::from_child(&doctor);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = until("end", || doctor.try_wait().unwrap());
    assert_eq!(status.signal(), Some(15), "whoever waits for it sees why it ended");
    assert_eq!(folders(Path::new(&path("tmp"))), [] as [PathBuf; 0]);
    // Killed, it is gone or a zombie of whoever takes orphans.
    until("end of Envoy", || {
        let status = fs::read_to_string(format!("/proc/{envoy}/stat")).unwrap_or_default();
        (status.is_empty() || status.contains(") Z ")).then_some(())
    });
}
