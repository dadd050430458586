//! Dex as a process of the test's own. Everything it knows is in memory.

use std::fs;

use sandbox::{
    Authority, Port, Process, Spec,
    assets::{self, Progress},
    wait::LIMIT,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

/// The user that Dex knows.
pub const USER: &str = "ada@example.com";

/// That user's password.
pub const PASSWORD: &str = "password";

/// bcrypt of [`PASSWORD`], from Dex's own examples.
const HASH: &str = "$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W";

/// A running Dex.
pub struct Dex {
    issuer: String,
    ca: String,
    // Ends before its folder is removed.
    _process: Process,
    _port: Port,
    _folder: TempDir,
}

impl Dex {
    /// Starts it with these clients and, beside its own users, these connectors, as its configuration has them.
    pub fn start(clients: &Value, connectors: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve().unwrap();
        // Without a path: its device grant comes back to one at the host's root.
        let issuer = format!("https://{}", port.address());
        let authority = Authority::new("Dex of a test").unwrap();
        let files = authority.server(&[]).unwrap().write(folder.path(), "tls").unwrap();
        let configuration = json!({
            "issuer": issuer,
            "storage": {"type": "memory"},
            "web": {
                "https": port.address(),
                "tlsCert": files.certificate,
                "tlsKey": files.key,
            },
            "oauth2": {"skipApprovalScreen": true, "passwordConnector": "local"},
            "enablePasswordDB": true,
            "staticPasswords": [{"email": USER, "hash": HASH, "username": "ada", "userID": "1"}],
            "staticClients": clients,
            "connectors": connectors,
        });
        let path = folder.path().join("dex.json");
        fs::write(&path, configuration.to_string()).unwrap();
        let mut process = Process::start(&Spec {
            name: "Dex",
            program: assets::dex(&Progress::new()).unwrap(),
            arguments: vec!["serve".to_owned(), path.display().to_string()],
            environment: vec![],
            folder: Some(folder.path().to_owned()),
            log: folder.path().join("dex.log"),
        })
        .unwrap();
        let root = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
        let agent: Agent = Agent::config_builder().tls_config(tls).proxy(None).build().into();
        process
            .wait_until(LIMIT, || {
                let discovery = format!("{issuer}/.well-known/openid-configuration");
                agent.get(&discovery).call().map(drop).map_err(|error| error.to_string())
            })
            .unwrap();
        Self {
            issuer,
            ca: authority.pem().to_owned(),
            _process: process,
            _port: port,
            _folder: folder,
        }
    }

    /// The issuer's URL.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The authority that signed its certificate, PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }
}
