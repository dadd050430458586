//! The sandbox's node: kwok, which keeps pods running in name, and whose exec, attach, logs and port-forward are real.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::backend::Backend;
use crate::{
    error::{Context, Error, Result},
    files,
    folder::Folder,
    http::Client,
    pki::{Authority, IdentityFiles},
    port::Port,
    process::{Process, READY, Spec},
};

const CONFIGURATION: &str = include_str!("../../manifests/kwok.yaml");

/// The name of the node, for a pod's `spec.nodeName`: there is no scheduler.
pub const NODE: &str = "sandbox";

/// How to start the node, and what the API server must know of it.
pub(super) struct Node {
    files: PathBuf,
    port: Port,
    log: PathBuf,
    serving: IdentityFiles,
    client_ca: PathBuf,
    health: Client,
    pub ca: PathBuf,
    pub client: IdentityFiles,
    /// Where commands run in pods.
    pub work: PathBuf,
    /// What pods log.
    pub pod_log: PathBuf,
}

impl Node {
    pub fn new(folder: &Folder) -> Result<Self> {
        let files = folder.folder("node")?;
        let authority = Authority::new("sandbox node")?;
        let ca = files.join("ca.crt");
        files::write(&ca, authority.pem().as_bytes())?;
        let pod_log = files.join("pod.log");
        fs::write(&pod_log, "").context(|| format!("write {}", pod_log.display()))?;
        let port = Port::reserve()?;
        let client = authority.client("kube-apiserver", &[])?;
        let url = format!("https://{}", port.address());
        Ok(Self {
            serving: authority.server(&[])?.write(&files, "serving")?,
            health: Client::tls(&url, authority.pem(), Some(&client))?,
            client: client.write(&files, "apiserver")?,
            client_ca: ca.clone(),
            ca,
            port,
            work: folder.folder("node/work")?,
            log: folder.file("kwok.log"),
            pod_log,
            files,
        })
    }

    /// Starts kwok and waits until it is healthy. Once 0.8.0 ended at its start, with a panic in its controller of nodes. So it is started
    /// once more; its log keeps what the first one said.
    pub fn start(&self, program: &Path, kubeconfig: &Path) -> Result<Process> {
        match self.start_once(program, kubeconfig) {
            Err(error @ Error::Ended { .. }) => {
                eprintln!("{error}; once more");
                self.start_once(program, kubeconfig)
            }
            other => other,
        }
    }

    fn start_once(&self, program: &Path, kubeconfig: &Path) -> Result<Process> {
        let backend = Backend::start()?;
        let configuration = CONFIGURATION
            .replace("WORK_FOLDER", &self.work.display().to_string())
            .replace("LOG_FILE", &self.pod_log.display().to_string())
            .replace("ECHO_PORT", &backend.echo.port().to_string())
            .replace("HTTP_PORT", &backend.http.port().to_string());
        let file = self.files.join("kwok.yaml");
        files::write(&file, configuration.as_bytes())?;
        let address = self.port.address();
        let arguments = [
            ("config", file.display().to_string()),
            ("kubeconfig", kubeconfig.display().to_string()),
            ("manage-all-nodes", "true".to_owned()),
            ("node-ip", "127.0.0.1".to_owned()),
            ("node-port", address.port().to_string()),
            ("server-address", address.to_string()),
            ("tls-cert-file", self.serving.certificate.display().to_string()),
            ("tls-private-key-file", self.serving.key.display().to_string()),
        ];
        let mut process = Process::start(&Spec {
            name: "kwok",
            program: program.to_owned(),
            arguments: arguments.map(|(name, value)| format!("--{name}={value}")).into(),
            environment: vec![(
                "KWOK_CLIENT_CA_FILE".to_owned(),
                self.client_ca.display().to_string(),
            )],
            folder: None,
            log: self.log.clone(),
        })?;
        process.wait_until(READY, || {
            let answer = self.health.get("/healthz").map_err(|e| e.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        })?;
        Ok(process)
    }

    /// Adds a line to what pods log, in the format of the Container Runtime Interface.
    pub fn write_log(&self, line: &str) -> Result<()> {
        let now = OffsetDateTime::now_utc()
            .format(&Rfc3339)
            .map_err(|e| Error::Invalid(format!("cannot tell the time: {e}")))?;
        let write = || {
            let mut file = File::options().append(true).open(&self.pod_log)?;
            file.write_all(format!("{now} stdout F {line}\n").as_bytes())
        };
        write().context(|| format!("write {}", self.pod_log.display()))
    }
}
