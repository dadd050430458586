//! What the tests share: a provider, the plugin as a process with a home of its own, and a person at its browser.
#![allow(dead_code, reason = "each test program uses a part")]

pub mod http;
pub mod plain;
pub mod tls;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use oidc_provider::{ClientConfig, Config, Issuer, IssuerConfig, Page, Provider, User};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes, even on a busy machine: reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A provider and a home folder for the plugin.
pub struct World {
    pub provider: Provider,
    pub issuer: Issuer,
    pub home: TempDir,
    pub user: String,
    pub password: String,
    pub client: String,
}

impl World {
    /// A plain issuer with the user alice and the public client `kube`.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same, changed.
    pub fn with(change: impl FnOnce(&mut IssuerConfig)) -> Self {
        let alice = User::new("alice", "secret").email("alice@example").groups(["dev"]);
        let mut config = IssuerConfig::new("main", "/realms/main")
            .client(ClientConfig::public("kube"))
            .user(alice);
        // Devices poll at once; RFC 8628 lets the issuer say so.
        config.device_interval_seconds = 1;
        change(&mut config);
        Self::of(config, "kube", "alice", "secret")
    }

    /// A plain issuer with the users alice and bob.
    pub fn of_two() -> Self {
        Self::with(|issuer| {
            let bob = User::new("bob", "secret").email("bob@example").groups(["ops"]);
            issuer.users.push(bob);
            issuer.clients[0].rotate_refresh_tokens = true;
        })
    }

    /// Logs in as this user.
    pub fn sign_in_as(&self, user: &str, url: &str) -> Page {
        self.provider.browser().sign_in(url, user, "secret").expect("the login leads to a page")
    }

    /// A whole login as this user.
    pub fn log_in_as(&self, user: &str, plugin: Plugin) -> Outcome {
        let mut running = plugin.spawn();
        let url = running.login_url();
        self.sign_in_as(user, &url);
        running.finish()
    }

    /// Starts the plugin twenty times for each of alice and bob, all at once. Whoever says "Log in" is answered by the one
    /// it is for; how often that was, and the credentials of each.
    pub fn twenty_of_two(
        &self,
        plugin: impl Fn(&str) -> Plugin + Sync,
    ) -> [(usize, Vec<Credential>); 2] {
        let (plugin, asked) = (&plugin, [AtomicUsize::new(0), AtomicUsize::new(0)]);
        let credentials = thread::scope(|scope| {
            let mut workers = [Vec::new(), Vec::new()];
            for _ in 0..20 {
                for (index, user) in ["alice", "bob"].into_iter().enumerate() {
                    let asked = &asked;
                    workers[index].push(scope.spawn(move || {
                        let mut running = plugin(user).spawn();
                        if let Some(url) = running.login_url_or_end() {
                            asked[index].fetch_add(1, Ordering::SeqCst);
                            self.sign_in_as(user, &url);
                        }
                        running.finish().credential()
                    }));
                }
            }
            workers.map(|workers| {
                workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
            })
        });
        let [alices, bobs] = credentials;
        let asked = asked.map(AtomicUsize::into_inner);
        [(asked[0], alices), (asked[1], bobs)]
    }

    /// An issuer with a client and a user.
    pub fn of(config: IssuerConfig, client: &str, user: &str, password: &str) -> Self {
        let provider = Provider::start(Config::of(config)).expect("the provider starts");
        let issuer = provider.issuer();
        let home = tempfile::tempdir().expect("a folder");
        fs::write(home.path().join("ca.pem"), provider.ca_pem()).expect("written");
        let own = str::to_owned;
        Self {
            issuer,
            provider,
            home,
            user: own(user),
            password: own(password),
            client: own(client),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The plugin with nothing of the person's environment.
    pub fn plugin(&self) -> Plugin {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-oidc"));
        // Windows's own libraries need some of it.
        if cfg!(not(windows)) {
            command.env_clear();
        }
        command.env("HOME", self.home.path());
        command.current_dir(self.home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // On a machine with a session bus the tests must not touch its keyring.
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
        Plugin(command)
    }

    /// `get-token` for this world's issuer and client, on any port, opening no browser.
    pub fn get_token(&self) -> Plugin {
        self.plugin().arg("get-token").args(self.flags()).args(any_port())
    }

    /// Issuer, client and certificate authority.
    pub fn flags(&self) -> Vec<String> {
        vec![
            format!("--oidc-issuer-url={}", self.issuer.url()),
            format!("--oidc-client-id={}", self.client),
            format!("--certificate-authority={}", self.path("ca.pem").display()),
        ]
    }

    /// Logs in where the plugin says, and follows to its page.
    pub fn sign_in(&self, url: &str) -> Page {
        let browser = self.provider.browser();
        browser.sign_in(url, &self.user, &self.password).expect("the login leads to a page")
    }

    /// Logs in at an authorization request's own address: where the issuer sends the browser, which does not go there.
    pub fn way_back(&self, authorization: &str) -> String {
        let ca = ureq::tls::Certificate::from_pem(self.provider.ca_pem().as_bytes()).expect("PEM");
        let roots = ureq::tls::RootCerts::new_with_certs(&[ca]);
        let tls = ureq::tls::TlsConfig::builder().root_certs(roots).build();
        let agent: ureq::Agent =
            ureq::Agent::config_builder().tls_config(tls).max_redirects(0).build().into();
        let form = [("username", &*self.user), ("password", &*self.password)];
        let answer = agent.post(authorization).send_form(form).expect("an answer");
        answer.headers()["location"].to_str().expect("text").to_owned()
    }

    /// Logs in with a browser that has this cookie of the start already.
    pub fn sign_in_with(&self, cookie: &str, url: &str) -> Page {
        let host = url::Url::parse(url).expect("an address").host_str().expect("a host").to_owned();
        let browser = self.provider.browser().with_cookie(&host, cookie);
        browser.sign_in(url, &self.user, &self.password).expect("the login leads to a page")
    }

    /// A whole login: what the plugin printed.
    pub fn log_in(&self, plugin: Plugin) -> Outcome {
        let mut running = plugin.spawn();
        let url = running.login_url();
        let page = self.sign_in(&url);
        let outcome = running.finish();
        assert_eq!(page.status, 200, "{}\n{}", page.text, outcome.stderr);
        outcome
    }
}

/// Flags for a login on any port, that opens no browser.
pub fn any_port() -> [&'static str; 2] {
    ["--listen-address=127.0.0.1:0", "--skip-open-browser"]
}

/// The plugin, not yet started.
pub struct Plugin(pub Command);

impl Plugin {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// As kubectl calls it.
    pub fn exec_info(self, version: &str, interactive: bool) -> Self {
        let info = serde_json::json!({
            "apiVersion": format!("client.authentication.k8s.io/{version}"),
            "kind": "ExecCredential",
            "spec": {"interactive": interactive},
        });
        self.env("KUBERNETES_EXEC_INFO", info.to_string())
    }

    pub fn spawn(mut self) -> Running {
        self.0.stdin(Stdio::piped());
        self.spawn_with_stdin()
    }

    /// With the standard input that it was given.
    pub fn spawn_with_stdin(mut self) -> Running {
        self.0.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.0.spawn().expect("the plugin starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut stdout = child.stdout.take().expect("piped");
        let output = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).expect("text");
            text
        });
        let stdin = child.stdin.take(); // none, if it was given
        Running { child, lines, said: String::new(), output: Some(output), stdin }
    }

    /// Runs to the end without anybody's help.
    pub fn run(self) -> Outcome {
        self.spawn().finish()
    }
}

/// The plugin at work.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    said: String,
    output: Option<JoinHandle<String>>,
    pub stdin: Option<ChildStdin>,
}

impl Running {
    /// The next line on standard error that holds `text`.
    pub fn line_with(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push_str(&line);
                    self.said.push('\n');
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {text:?} ({error}) in:\n{}", self.said),
            }
        }
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a kill does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Where it wants the person to log in.
    pub fn login_url(&mut self) -> String {
        let line = self.line_with("Log in");
        let start = line.find("http").expect("an address");
        line[start..].split_whitespace().next().expect("an address").to_owned()
    }

    /// The same, or `None` if it ends without.
    pub fn login_url_or_end(&mut self) -> Option<String> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push_str(&line);
            self.said.push('\n');
            if line.starts_with("Log in") {
                return line[line.find("http")?..].split_whitespace().next().map(str::to_owned);
            }
        }
        None
    }

    /// The first address that is printed, or `None` if it ends without.
    pub fn any_url_or_end(&mut self) -> Option<String> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push_str(&line);
            self.said.push('\n');
            if let Some(at) =
                line.find("http://localhost:").or_else(|| line.find("http://127.0.0.1:"))
            {
                return line[at..].split_whitespace().next().map(str::to_owned);
            }
        }
        None
    }

    pub fn type_in(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(text.as_bytes()).expect("read by the plugin");
        stdin.flush().expect("read by the plugin");
    }

    pub fn finish(mut self) -> Outcome {
        drop(self.stdin.take());
        let stdout = self.output.take().expect("once").join().expect("read");
        let status = self.child.wait().expect("it ends");
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        Outcome { code: status.code(), stdout, stderr: std::mem::take(&mut self.said) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the plugin left.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The credential, which must be all of standard output.
    pub fn credential(&self) -> Credential {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        let document: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", self.stdout, self.stderr));
        let text = |pointer: &str| {
            document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Credential {
            api_version: text("/apiVersion"),
            token: text("/status/token"),
            expiry: text("/status/expirationTimestamp"),
        }
    }

    /// The one line that says why it failed.
    pub fn error(&self) -> &str {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "nothing but a credential goes to standard output");
        let errors: Vec<&str> =
            self.stderr.lines().filter(|l| l.starts_with("kubectl-oidc: ")).collect();
        match errors.as_slice() {
            [only] => only,
            other => panic!("not one line: {other:?} in\n{}", self.stderr),
        }
    }

    pub fn fails_with(&self, text: &str) {
        assert!(self.error().contains(text), "no {text:?} in {}", self.stderr);
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub api_version: String,
    pub token: String,
    pub expiry: String,
}

impl Credential {
    pub fn claims(&self) -> Value {
        claims(&self.token)
    }
}

/// The payload of a token.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

/// Query parameters of an address.
pub fn query(url: &str) -> BTreeMap<String, String> {
    url::Url::parse(url).expect("an address").query_pairs().into_owned().collect()
}

/// The one file below a folder.
pub fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.unwrap().path()).collect();
    match files.as_slice() {
        [only] => only.clone(),
        other => panic!("not one file: {other:?}"),
    }
}

/// A value for an environment variable.
pub fn joined(parts: &[&str]) -> OsString {
    parts.concat().into()
}
