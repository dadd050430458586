//! A running Envoy takes the rendered files as they are meant, and changes of them without a restart.

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gateway_config::{Inputs, Rendered, render};
use gateway_control::write;

const PATIENCE: Duration = Duration::from_mins(1);

/// An Envoy that ends with this value.
struct Envoy {
    child: Child,
    admin: PathBuf,
}

impl Envoy {
    fn start(inputs: &Inputs, rendered: &Rendered) -> Self {
        Self::start_with(inputs, rendered, Stdio::null())
    }

    fn start_with(inputs: &Inputs, rendered: &Rendered, stdout: Stdio) -> Self {
        let log = fs::File::create(inputs.directory.join("envoy.log")).unwrap();
        let child = Command::new(support::envoy())
            .args(rendered.arguments(&inputs.directory))
            .args(["--log-level", "warning"])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log)
            .spawn()
            .unwrap();
        let envoy = Self { child, admin: inputs.admin_socket.clone() };
        envoy.wait("ready", || envoy.get("/ready").is_some_and(|answer| answer.contains("LIVE")));
        envoy
    }

    /// What the admin interface answers, head included, if it answers at all.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.admin).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn stat(&self, name: &str) -> Option<u64> {
        let answer = self.get(&format!("/stats?filter=^{name}$"))?;
        answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
    }

    fn wait(&self, what: &str, happened: impl Fn() -> bool) {
        let start = Instant::now();
        while !happened() {
            assert!(start.elapsed() < PATIENCE, "not {what}\n{}", self.complaints());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The statistics that say that something was refused.
    fn complaints(&self) -> String {
        let stats = self.get("/stats").unwrap_or_default();
        let bad = ["update_rejected", "update_failure", "config_fail", "init_fetch_timeout"];
        stats
            .lines()
            .filter(|line| bad.iter().any(|word| line.contains(word)) && !line.ends_with(": 0"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway in `root`, and everything it needs.
fn gateway(root: &Path) -> Inputs {
    let mut inputs = support::inputs(root);
    inputs.options.listen = "127.0.0.1:0".parse().unwrap();
    support::make_files(&inputs);
    inputs
}

#[test]
fn a_change_of_everything_but_the_listener_is_live_without_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let before = gateway(root.path());
    fs::write(&before.options.filter, support::filter()).unwrap();
    let rendered = render(&before).unwrap();
    write(&rendered, &before.directory).unwrap();
    let envoy = Envoy::start(&before, &rendered);
    assert_eq!(envoy.stat("cluster_manager.active_clusters"), Some(5));

    let authority = format!("new\n{}", support::ISSUER_CA);
    let issuers = [("https://new.example", Some(authority.as_str()))];
    let after = Inputs {
        documents: support::documents(&issuers, &support::authorize_own_token()),
        ..before.clone()
    };
    let rendered = render(&after).unwrap();
    let written = write(&rendered, &after.directory).unwrap().join(" ");
    assert!(!written.contains("envoy.yaml"), "{written}");

    // Two to impersonate, two for own tokens, one for reviews, one to ask whether it answers, one for the new issuer.
    envoy.wait("all clusters", || envoy.stat("cluster_manager.active_clusters") == Some(7));
    envoy.wait("routes", || envoy.stat("http.gateway.rds.gateway.config_reload") == Some(2));
    for filter in ["strip", "gateway", "gate"] {
        let stat = format!("extension_config_discovery.http_filter.{filter}.config_reload");
        envoy.wait(&stat, || envoy.stat(&stat) == Some(2));
    }
    assert_eq!(envoy.complaints(), "");
}

/// Envoy's own YAML parser, not the tests', has the last word on what a scalar means.
#[test]
fn hostile_paths_mean_to_envoy_what_they_say() {
    let root = tempfile::tempdir().unwrap();
    let hostile = root.path().join(r#"x": {y}}} {{ a }} ' \ \" - &b *c #e, [f] %REQ(a)% ~ é😀"#);
    let inputs = Inputs {
        admin_socket: root.path().join("admin.sock"),
        access_log: hostile.join("access log"),
        ..gateway(&hostile)
    };
    let rendered = render(&inputs).unwrap();
    write(&rendered, &inputs.directory).unwrap();
    let envoy = Envoy::start(&inputs, &rendered);
    assert_eq!(envoy.complaints(), "");
    assert!(inputs.access_log.exists());
    let dump = envoy.get("/config_dump").unwrap();
    // A file that ECDS names, and a directory that CDS watches.
    for path in [&*inputs.options.filter, support::token(&inputs).parent().unwrap()] {
        let json = serde_json::json!(path).to_string();
        assert!(dump.contains(&json), "{json}");
    }
}

/// Opened a second time, a standard output that is a socket (journald's) is no file, and one that is a file is written over.
#[test]
fn standard_output_is_not_opened_again() {
    let root = tempfile::tempdir().unwrap();
    let inputs = gateway(root.path());
    assert_eq!(inputs.access_log, Path::new("/dev/stdout"));
    let rendered = render(&inputs).unwrap();
    write(&rendered, &inputs.directory).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let envoy = Envoy::start_with(&inputs, &rendered, OwnedFd::from(theirs).into());
    assert_eq!(envoy.complaints(), "");
    drop(ours);
}

#[test]
fn the_filters_counters_have_labels_in_prometheus() {
    let root = tempfile::tempdir().unwrap();
    let inputs = gateway(root.path());
    let rendered = render(&inputs).unwrap();
    write(&rendered, &inputs.directory).unwrap();
    let envoy = Envoy::start(&inputs, &rendered);
    let metrics = envoy.get("/stats/prometheus").unwrap();
    let ours: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("gateway_issuer_fetches_total{")).collect();
    let [line] = ours[..] else { panic!("{ours:?}\n{metrics}") };
    for label in [r#"result="failed""#, r#"issuer="issuer_example""#] {
        assert!(line.contains(label), "{line}");
    }
}

#[test]
fn a_secret_that_was_missing_is_found_when_it_comes() {
    let root = tempfile::tempdir().unwrap();
    let inputs = gateway(root.path());
    let files = [support::apiserver_ca(&inputs), support::token(&inputs), &inputs.serving.chain];
    let contents = files.map(|file| fs::read(file).unwrap());
    for file in files {
        fs::remove_file(file).unwrap();
    }
    let rendered = render(&inputs).unwrap();
    write(&rendered, &inputs.directory).unwrap();
    let envoy = Envoy::start(&inputs, &rendered);
    // Both clusters that send the token are there, though they cannot send it yet.
    assert_eq!(envoy.stat("cluster_manager.active_clusters"), Some(5));

    for (file, content) in files.into_iter().zip(contents) {
        let new = file.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(&new, file).unwrap();
    }
    for secret in
        ["apiserver-ca", "serving", "apiserver_impersonate_h2", "apiserver_impersonate_h1"]
    {
        let stat = format!("sds.{secret}.update_success");
        envoy.wait(&stat, || envoy.stat(&stat).is_some_and(|count| count > 0));
    }
}
