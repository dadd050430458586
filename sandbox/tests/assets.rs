//! `sandbox assets`: which programs a sandbox runs, with an empty cache, programs that only tell a version, and a mirror on
//! loopback in place of Kubernetes' download site.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

const NEWEST: [(&str, &str); 2] =
    [("kube-apiserver", "Kubernetes v1.37.9"), ("kubectl", "Client Version: v1.37.9")];
const OLDER: [(&str, &str); 2] =
    [("kube-apiserver", "Kubernetes v1.36.9"), ("kubectl", "Client Version: v1.36.9")];

/// A machine with etcd, kwok and Envoy, and without Go.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        machine.install(
            "path",
            &[
                ("etcd", "etcd Version: 3.6.1"),
                ("kwok", "kwok version v0.8.0-sandbox"),
                ("envoy", "envoy  version: 0123/1.40.0/Clean/RELEASE/BoringSSL"),
            ],
        );
        machine
    }

    /// Puts programs into a folder that tell their versions, and nothing else.
    fn install(&self, folder: &str, programs: &[(&str, &str)]) -> PathBuf {
        let folder = self.path(folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, version) in programs {
            let file = folder.join(name);
            fs::write(&file, format!("#!/bin/sh\necho '{version}'\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether `sandbox assets` succeeds, and what it says.
    fn assets(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_sandbox"))
            .args(arguments)
            .arg("assets")
            .env_clear()
            .env("PATH", self.path("path"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("SANDBOX_KUBERNETES_MIRROR", nobody())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }
}

/// A mirror at which nobody listens.
fn nobody() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{free}")
}

/// A mirror that has this under every name.
fn mirror(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            let length = body.len();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        }
    });
    format!("http://{address}")
}

fn lines(folder: &Path, rest: &Path) -> String {
    let path = |folder: &Path, name: &str| format!("{}\n", folder.join(name).display());
    [
        path(rest, "etcd"),
        path(folder, "kube-apiserver"),
        path(folder, "kubectl"),
        path(rest, "kwok"),
        path(rest, "envoy"),
    ]
    .concat()
}

#[test]
fn the_newest_kubernetes_is_the_default_and_others_are_a_setting() {
    for (installed, arguments, environment) in [
        (NEWEST, &[][..], None),
        (NEWEST, &["--kubernetes=1.37"], Some("1.36")),
        (OLDER, &["--kubernetes=1.36"], None),
        (OLDER, &[], Some("1.36")),
    ] {
        let machine = Machine::new();
        let path = machine.install("path", &installed);
        let environment: Vec<_> =
            environment.iter().map(|&minor| ("SANDBOX_KUBERNETES", minor)).collect();
        let said = machine.assets(arguments, &environment);
        assert_eq!(said, (true, lines(&path, &path)), "{arguments:?} {environment:?}");
    }
    let machine = Machine::new();
    let (good, said) = machine.assets(&[], &[("SANDBOX_KUBERNETES", "1.20")]);
    assert!(!good && said.contains("the sandbox has no Kubernetes \"1.20\", only 1.37,"), "{said}");
}

/// Programs that somebody names are used, or refused in words: never others instead, without a word.
#[test]
fn the_programs_in_kubebuilder_assets_are_used() {
    let machine = Machine::new();
    let path = machine.install("path", &OLDER);
    let folder = machine.install("envtest", &NEWEST);
    let named = folder.display().to_string();
    let said = machine.assets(&[], &[("KUBEBUILDER_ASSETS", &named)]);
    assert_eq!(said, (true, lines(&folder, &path)));

    let (good, said) = machine.assets(&["--kubernetes=1.36"], &[("KUBEBUILDER_ASSETS", &named)]);
    let want = format!(
        "sandbox: KUBEBUILDER_ASSETS: {named}/kube-apiserver says \"Kubernetes v1.37.9\" of its version, and v1.36. is needed; "
    );
    assert!(!good && said.starts_with(&want) && said.lines().count() == 1, "{said}");
}

#[test]
fn another_archive_than_the_pinned_one_is_refused() {
    let machine = Machine::new();
    let mirror = mirror("<html>log in first</html>");
    let (good, said) = machine.assets(&[], &[("SANDBOX_KUBERNETES_MIRROR", &mirror)]);
    let lines: Vec<_> = said.lines().collect();
    let [told, refused] = *lines else { panic!("{said}") };
    assert!(told.starts_with("[4/4] kubernetes 1.37.2: downloading "), "{said}");
    let url = told.split(' ').next_back().unwrap();
    assert!(url.starts_with(&format!("{mirror}/v1.37.2/kubernetes-server-linux-")), "{said}");
    let want = format!("sandbox: {url} is not the archive that was released: its SHA-512 is ");
    assert!(!good && refused.starts_with(&want), "{said}");
    assert!(refused.contains("SANDBOX_KUBERNETES_MIRROR names another place"), "{said}");
}

/// It compiles then, for which this machine has no Go.
#[test]
fn without_a_way_to_the_archive_one_line_says_so() {
    let machine = Machine::new();
    let mirror = nobody();
    let (good, said) = machine.assets(&[], &[("SANDBOX_KUBERNETES_MIRROR", &mirror)]);
    let lines: Vec<_> = said.lines().collect();
    let [_, told, error] = *lines else { panic!("{said}") };
    assert!(told.starts_with(&format!("[4/4] kubernetes 1.37.2: {mirror}/v1.37.2/")), "{said}");
    assert!(told.contains(" cannot be had (") && told.ends_with("), so it is compiled"), "{said}");
    assert!(!good && error.starts_with("sandbox: go is missing: "), "{said}");

    // An empty mirror is none: nothing is asked for.
    let (good, said) = machine.assets(&[], &[("SANDBOX_KUBERNETES_MIRROR", "")]);
    assert!(!good && said.starts_with("sandbox: go is missing: "), "{said}");
}
