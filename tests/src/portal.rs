//! The portal as a process: the program of the target folder, on a free port of 127.0.0.1, with TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sandbox::{Authority, Port, Program};
use tempfile::TempDir;

use crate::built;

/// Where a portal will be: its address and the folder of its files. Both are needed before it can be started.
pub struct Site {
    port: Port,
    folder: TempDir,
    authority: Authority,
}

/// A running portal. Dropping it ends it.
pub struct Portal {
    program: Program,
    site: Site,
}

impl Site {
    /// A free port, and a certificate for it.
    ///
    /// # Panics
    /// If there is no port or no folder.
    #[must_use]
    pub fn reserve() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("portal").expect("an authority");
        Self { port: Port::reserve().expect("a port"), folder, authority }
    }

    /// `https://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// The bundle that signs its certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        self.authority.pem()
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of its folder; its path.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    fn tls(&self) -> [String; 2] {
        let files = self.authority.server(&[]).expect("a certificate");
        let files = files.write(self.folder.path(), "tls").expect("files");
        [files.certificate, files.key].map(|path| path.display().to_string())
    }

    /// Starts the portal with these flags and waits until it answers.
    ///
    /// # Panics
    /// With its log if it does not.
    #[must_use]
    pub fn start(self, envoy: &Path, arguments: &[&str]) -> Portal {
        let [chain, key] = self.tls();
        let text = |path: PathBuf| path.display().to_string();
        let own = [
            "portal".to_owned(),
            format!("--listen={}", self.port.address()),
            "--concurrency=2".to_owned(),
            "--shutdown-grace-period=2s".to_owned(),
            format!("--envoy={}", envoy.display()),
            format!("--filter={}", text(built::filter())),
            format!("--run-dir={}", text(self.path("run"))),
            format!("--access-log={}", text(self.path("access.log"))),
            format!("--tls-cert={chain}"),
            format!("--tls-key={key}"),
        ];
        let words = own.iter().map(String::as_str).chain(arguments.iter().copied());
        let program = built::program();
        let log = self.path("log");
        let program = Program::start(&program, words, &[], &log).expect("the program starts");
        let mut portal = Portal { program, site: self };
        let client = sandbox::Client::tls(&portal.url(), portal.site.ca(), None).expect("a client");
        let ready = portal.program.wait_until(|| match client.get("/healthz") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.body),
            Err(error) => Err(error.to_string()),
        });
        if let Err(error) = ready {
            panic!("{error}\n{}", portal.log());
        }
        portal
    }
}

impl Portal {
    /// `https://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        self.site.url()
    }

    /// Its folder: `log`, `access.log`, `run/` and what was written before the start.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// What the program and Envoy wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.site.path("log")).unwrap_or_default()
    }

    /// The program, to be sent signals.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}

/// A token for whom these headers name, as kubehook's users get theirs.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn generate(portal: &Portal, headers: &[(&str, &str)], lifetime: &str) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--cacert"]);
    command.arg(portal.site.file("ca.crt", portal.site.ca()));
    for (name, value) in [("content-type", "application/json")].iter().chain(headers) {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    let body = format!("{{\"lifetime\": \"{lifetime}\"}}");
    command.args(["-d", &body, &format!("{}/generate", portal.url())]);
    let output = command.output().expect("curl is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let token = text.split('"').find(|part| part.starts_with("ey"));
    token.unwrap_or_else(|| panic!("{text}")).to_owned()
}
