//! etcd, on a Unix socket: no port that others on the machine could reach.

use std::path::{Path, PathBuf};

use crate::{
    error::Result,
    folder::Folder,
    http::Client,
    process::{Process, READY, Spec},
};

const ALONE: &str = "http://127.0.0.1:1";

/// How to start etcd.
pub(super) struct Etcd {
    spec: Spec,
    socket: PathBuf,
}

impl Etcd {
    pub fn new(program: &Path, folder: &Folder) -> Self {
        let socket = folder.socket("etcd.sock");
        let peers = folder.socket("etcd-peers.sock");
        let unix = |path: &Path| format!("unix://{}", path.display());
        let arguments = [
            ("data-dir", folder.file("etcd").display().to_string()),
            ("listen-client-urls", unix(&socket)),
            ("listen-peer-urls", unix(&peers)),
            // For the other members of a cluster, with a host and a port; this one is alone.
            ("advertise-client-urls", ALONE.to_owned()),
            ("initial-advertise-peer-urls", ALONE.to_owned()),
            ("initial-cluster", format!("default={ALONE}")),
            ("log-level", "warn".to_owned()),
            // Nothing in a sandbox outlives the machine.
            ("unsafe-no-fsync", "true".to_owned()),
        ];
        let spec = Spec {
            name: "etcd",
            program: program.to_owned(),
            arguments: arguments.map(|(name, value)| format!("--{name}={value}")).into(),
            environment: vec![],
            folder: None,
            log: folder.file("etcd.log"),
        };
        Self { spec, socket }
    }

    /// What kube-apiserver calls it.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub fn start(&self) -> Result<Process> {
        let mut process = Process::start(&self.spec)?;
        let client = Client::unix(&self.socket);
        process.wait_until(READY, || {
            let answer = client.get("/health").map_err(|e| e.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        })?;
        Ok(process)
    }
}
