//! kube-oidc-proxy as a chain: any program that takes its flags.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use sandbox::Port;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    chains::Beside,
    client,
    process::Server,
    world::{CLIENT, World},
};

/// A running kube-oidc-proxy.
pub struct OidcProxy {
    process: Server,
    port: Port,
    ca: String,
    log: PathBuf,
    _folder: TempDir,
}

impl OidcProxy {
    /// Starts one in front of what a gateway stands in front of.
    pub fn start(program: &Path, world: &World, beside: &Beside) -> Result<Self> {
        let inputs = &beside.inputs;
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let file = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            fs::write(file(name), text).with_context(|| format!("cannot write {name}"))
        };
        write("issuer.crt", world.provider.ca_pem())?;
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {
                "server": format!("https://127.0.0.1:{}", inputs.apiserver.port),
                "certificate-authority": inputs.apiserver.ca,
            }}],
            "users": [{"name": "bench", "user": {"token": world.service_account_token()?}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        write("kubeconfig", &kubeconfig.to_string())?;
        let (port, ready) = (Port::reserve()?, Port::reserve()?);
        let mut command = Command::new(program);
        command.env("GOMAXPROCS", inputs.options.concurrency.unwrap_or(2).to_string()).args([
            format!("--oidc-issuer-url={}", world.issuer().url()),
            format!("--oidc-client-id={CLIENT}"),
            format!("--oidc-ca-file={}", file("issuer.crt").display()),
            "--oidc-username-claim=preferred_username".to_owned(),
            "--oidc-username-prefix=-".to_owned(),
            "--oidc-groups-claim=groups".to_owned(),
            format!("--kubeconfig={}", file("kubeconfig").display()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", port.number()),
            format!("--readiness-probe-port={}", ready.number()),
            format!("--tls-cert-file={}", inputs.serving.chain.display()),
            format!("--tls-private-key-file={}", inputs.serving.key.display()),
        ]);
        let address = port.address();
        let log = file("log");
        let process =
            Server::start(command, &log, || std::net::TcpStream::connect(address).is_ok())?;
        Ok(Self { process, port, ca: beside.ca.clone(), log, _folder: folder })
    }

    /// What it says.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process's number.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Where clients connect.
    pub fn server(&self) -> Result<client::Server> {
        client::Server::new(self.port.address(), &self.ca)
    }
}
