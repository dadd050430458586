//! The compose project of `sandbox/compose`, started for a test and removed with its volumes when the test is over.
//!
//! It is started through testcontainers, so that nothing of it outlives the test; what a user of the project would type
//! (`docker compose run`, `docker stop`, kubectl) is run as a user would.

#![expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "for tests: whatever goes wrong is a panic with its reason"
)]

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

pub use sandbox::wait::until;
use sandbox::{
    Port,
    assets::{Assets, Kubernetes, Progress},
};
use serde_json::Value;
use tempfile::TempDir;
use testcontainers::{
    compose::DockerCompose,
    core::{WaitFor, wait::HealthWaitStrategy},
};

/// The project while it runs, with a second gateway and a TCP balancer in front of both (`balancer.yaml`).
pub struct Project {
    compose: DockerCompose,
    environment: [(&'static str, String); 4],
    kubectl: PathBuf,
    folder: TempDir,
    ports: [Port; 3],
}

/// A user's kubeconfig, with the token that Keycloak gave when it was made.
pub struct Login {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
}

/// What a command that is expected to fail or not has said.
pub struct Said {
    /// Whether it succeeded.
    pub success: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Project {
    /// Starts everything and waits until the gateway is ready.
    pub async fn start() -> Self {
        let assets =
            Assets::ensure(Kubernetes::from_environment().unwrap(), &Progress::new()).unwrap();
        let ports = [(); 3].map(|()| Port::reserve().unwrap());
        let [gateway, keycloak, balancer] = &ports;
        let name = format!("kube-oidc-gateway-test-{}", std::process::id());
        let environment = [
            ("COMPOSE_PROJECT_NAME", name.clone()),
            ("GATEWAY_PORT", gateway.number().to_string()),
            ("KEYCLOAK_PORT", keycloak.number().to_string()),
            ("BALANCER_PORT", balancer.number().to_string()),
        ];
        let healthy = || WaitFor::Healthcheck(HealthWaitStrategy::new());
        let mut compose = DockerCompose::with_local_client(&compose_files()[..])
            .with_project_name(&name)
            .with_env_vars(environment.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
            // `--wait` of testcontainers gives up after a minute, which Keycloak may need alone.
            .with_wait(false)
            .with_wait_for_service("gateway", healthy())
            .with_wait_for_service("gateway-2", healthy());
        compose.up().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        symlink(root().join("sandbox"), folder.path().join("sandbox")).unwrap();
        Self { compose, environment, kubectl: assets.kubectl, folder, ports }
    }

    /// The name by which Docker Compose knows it.
    pub fn name(&self) -> &str {
        &self.environment[0].1
    }

    /// The balancer's URL.
    pub fn balancer(&self) -> String {
        format!("https://{}", self.ports[2].address())
    }

    /// Runs a command of a README in a shell, as its reader would after he has cloned the project: for this project, its
    /// ports, and with a kubectl. What it writes stays in a folder of its own.
    pub fn shell(&self, command: &str) -> Said {
        let folder = if command.starts_with("make ") { &root() } else { self.folder.path() };
        self.shell_in(folder, command)
    }

    /// Likewise, in a folder of choice.
    pub fn shell_in(&self, folder: &Path, command: &str) -> Said {
        let programs = self.kubectl.parent().expect("a folder").display();
        let path = format!("{programs}:{}", env::var("PATH").unwrap());
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", command]).current_dir(folder).env("PATH", path);
        shell.envs(self.environment.iter().map(|(k, v)| (k, v)));
        // Targets of the Makefile build; this is no part of whatever has started the test.
        said(shell.env_remove("MAKEFLAGS").env_remove("MAKELEVEL"))
    }

    /// Stops and removes everything.
    pub async fn end(self) {
        self.compose.down().await.unwrap();
    }

    /// `docker compose run --rm tools ...`, which must succeed: its output.
    pub fn tools(&self, arguments: &[&str]) -> String {
        let said = self.compose(&[&["run", "--rm", "-T", "tools"], arguments].concat());
        assert!(said.success, "{arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    /// `docker compose ...` for this project.
    pub fn compose(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new("docker");
        command.arg("compose");
        for file in compose_files() {
            command.arg("--file").arg(file);
        }
        command.args(arguments).envs(self.environment.iter().map(|(k, v)| (k, v)));
        said(&mut command)
    }

    /// `docker VERB ARGUMENTS... CONTAINER` for the container of a service, which must succeed: its output.
    pub fn docker(&self, arguments: &[&str], service: &str) -> String {
        let container = self.compose.service(service).expect("a service of the project").id();
        docker(&[arguments, &[container]].concat())
    }

    /// Waits until a service is healthy.
    pub fn healthy(&self, service: &str) {
        until(&format!("{service} is healthy"), || {
            let state = self.docker(&["inspect", "-f", "{{.State.Health.Status}}"], service);
            (state == "healthy").then_some(()).ok_or(state)
        });
    }

    /// Logs a user in, by the script that the README shows.
    pub fn login(&self, user: &str) -> Login {
        let kubeconfig = self.folder.path().join(user);
        fs::write(&kubeconfig, self.tools(&["generate-kubeconfig", user])).unwrap();
        Login { kubectl: self.kubectl.clone(), kubeconfig }
    }
}

/// `docker ARGUMENTS...`, which must succeed: its output.
pub fn docker(arguments: &[&str]) -> String {
    let said = said(Command::new("docker").args(arguments));
    assert!(said.success, "docker {arguments:?}: {}", said.err);
    said.out.trim().to_owned()
}

impl Login {
    /// kubectl to its end.
    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        said(self.command().args(arguments))
    }

    /// kubectl, which must succeed: its output.
    pub fn must(&self, arguments: &[&str]) -> String {
        let said = self.kubectl(arguments);
        assert!(said.success, "kubectl {arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    /// kubectl, still running.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The name under which the API server knows this user.
    pub fn name(&self) -> Result<String, String> {
        let said = self.kubectl(&["auth", "whoami", "-o", "json"]);
        if !said.success {
            return Err(said.err);
        }
        let review: Value = serde_json::from_str(&said.out).map_err(|error| error.to_string())?;
        let name = review["status"]["userInfo"]["username"].as_str();
        name.map(str::to_owned).ok_or(said.out)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }
}

fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { success: status.success(), out: text(stdout), err: text(stderr) }
}

fn compose_files() -> [PathBuf; 2] {
    ["sandbox/compose/compose.yaml", "tests/containers/balancer.yaml"].map(|file| root().join(file))
}

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
