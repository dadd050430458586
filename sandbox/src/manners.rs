//! Issuers that answer in every manner in which a server of the world may: a small Go program, `assets/manners`, for what the
//! provider's own TLS and HTTP libraries never do. It publishes the provider's keys, so the provider mints the tokens.

use std::{fs, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    assets::{self, Progress},
    error::{Context, Error, Result},
    files,
    folder::Folder,
    pki::Identity,
    process::{Process, Spec},
};

/// How long it may take to make its certificates.
const READY: Duration = Duration::from_secs(60);

/// The running program. Dropping it ends it.
#[derive(Debug)]
pub struct Manners {
    // Ends before the folder it writes to is removed.
    _process: Process,
    ready: Ready,
    folder: Folder,
}

/// What it is started with.
#[derive(Debug)]
pub struct MannersBuilder {
    keys: Value,
    issuers: Vec<Value>,
    certificates: Vec<Value>,
}

/// An issuer that it serves.
#[derive(Clone, Debug, Deserialize)]
pub struct ServedIssuer {
    /// Its name in the table of manners.
    pub name: String,
    /// What tokens and configurations name.
    pub url: String,
    /// Where the discovery document is, if the URL does not lead there.
    pub discovery_url: Option<String>,
    /// Whom clients are to believe, PEM.
    pub ca: String,
}

/// A request for a document, as it came.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Request {
    /// The issuer's name.
    pub issuer: String,
    /// `discovery`, `keys`, or empty for any other path; with ` elsewhere` on a server that is not the issuer's own; `connect` for
    /// a tunnel through the proxy.
    pub endpoint: String,
    /// The request target.
    pub target: String,
    /// The client's `User-Agent`.
    pub agent: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// TLS's version.
    pub tls: String,
    /// The key exchange.
    pub group: String,
}

#[derive(Debug, Deserialize)]
struct Ready {
    proxy: String,
    issuers: Vec<ServedIssuer>,
    certificates: Vec<MadeCertificate>,
}

#[derive(Debug, Deserialize)]
struct MadeCertificate {
    name: String,
    certificate: String,
    key: String,
    ca: String,
}

impl Manners {
    /// One that publishes this JWK set.
    #[must_use]
    pub fn builder(keys: Value) -> MannersBuilder {
        MannersBuilder { keys, issuers: Vec::new(), certificates: Vec::new() }
    }

    /// The issuers, in the order in which they were added.
    #[must_use]
    pub fn issuers(&self) -> &[ServedIssuer] {
        &self.ready.issuers
    }

    /// A proxy (CONNECT, `http://ADDRESS`) that knows the issuers' names, which no resolver does.
    #[must_use]
    pub fn proxy(&self) -> &str {
        &self.ready.proxy
    }

    /// A certificate that was asked for, and whom to believe so that it is believed, PEM.
    #[must_use]
    pub fn certificate(&self, name: &str) -> Option<(Identity, String)> {
        let made = self.ready.certificates.iter().find(|made| made.name == name)?;
        let identity = Identity { certificate: made.certificate.clone(), key: made.key.clone() };
        Some((identity, made.ca.clone()))
    }

    /// Every request for a document until now.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let path = self.folder.file(LOG);
        let text = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
        // A line that is being written has no end yet.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| parse(line, "a request of the issuers' log")).collect()
    }
}

const LOG: &str = "requests.jsonl";

impl MannersBuilder {
    /// One issuer more, by the members of `Issuer` in `assets/manners/issuer.go`.
    #[must_use]
    pub fn issuer(mut self, issuer: Value) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// A certificate for another server, by the members of `Certificate` in `assets/manners/certificate.go`.
    #[must_use]
    pub fn certificate(mut self, name: &str, certificate: &Value) -> Self {
        self.certificates.push(json!({"name": name, "certificate": certificate}));
        self
    }

    /// Builds the program if it is missing, and starts it; all issuers answer when this returns.
    pub fn start(self) -> Result<Manners> {
        let program = assets::manners(&Progress::new())?;
        let folder = Folder::new(None)?;
        let (spec, ready) = (folder.file("spec.json"), folder.file("ready.json"));
        let what = json!({
            "ready": ready,
            "log": folder.file(LOG),
            "keys": self.keys,
            "issuers": self.issuers,
            "certificates": self.certificates,
        });
        files::write_private(&spec, what.to_string().as_bytes())?;
        let mut process = Process::start(&Spec {
            name: "the server of issuers",
            program,
            arguments: vec![spec.display().to_string()],
            environment: vec![],
            folder: None,
            log: folder.file("manners.log"),
        })?;
        let text = process
            .wait_until(READY, || fs::read_to_string(&ready).map_err(|error| error.to_string()))?;
        let ready = parse(&text, "what the server of issuers says")?;
        Ok(Manners { _process: process, ready, folder })
    }
}

fn parse<T: for<'a> Deserialize<'a>>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| Error::Json { what: what.to_owned(), source })
}
