//! kubectl-oidc alone, at an issuer that is not ours: as kubectl calls it, with a home folder of its own and no keyring.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway_tests::person::plugin;
use serde_json::Value;
use tempfile::TempDir;

/// The plugin, for one issuer.
pub struct Plugin {
    issuer: String,
    home: TempDir,
}

impl Plugin {
    /// For an issuer whose certificate this authority (PEM) signed.
    pub fn new(issuer: &str, ca: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("ca.pem"), ca).unwrap();
        Self { issuer: issuer.to_owned(), home }
    }

    /// Its home folder, which is its working directory too.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What a command does without anybody's help.
    pub fn run(&self, command: &str, flags: &[&str]) -> Output {
        self.command(command, flags).output().unwrap()
    }

    /// The token that kubectl gets without anybody's help.
    #[track_caller]
    pub fn token(&self, flags: &[&str]) -> String {
        token(&self.run("get-token", flags))
    }

    /// The token that kubectl gets after a person went to the address that is printed after `before`.
    #[track_caller]
    pub fn token_of_a_login(
        &self,
        flags: &[&str],
        before: &str,
        person: impl FnOnce(&str),
    ) -> String {
        let mut command = self.command("get-token", flags);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = String::new();
        let address = lines.by_ref().find_map(|line| {
            said.push_str(&line);
            said.push('\n');
            let (_, after) = line.split_once(before)?;
            after.split_whitespace().next().map(str::to_owned)
        });
        // Whoever writes into a pipe that nobody reads would wait.
        let rest = thread::spawn(move || lines.collect::<Vec<_>>().join("\n"));
        let Some(address) = address else { panic!("no line with {before:?} in:\n{said}") };
        person(&address);
        let mut stdout = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let status = child.wait().unwrap();
        said.push_str(&rest.join().unwrap());
        token(&Output { status, stdout, stderr: said.into_bytes() })
    }

    fn command(&self, command: &str, flags: &[&str]) -> Command {
        let mut plugin = Command::new(plugin());
        plugin
            .args([command, "--certificate-authority=ca.pem"])
            .arg(format!("--oidc-issuer-url={}", self.issuer))
            .args(flags)
            .env_clear()
            .env("HOME", self.home.path())
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
            .current_dir(self.home.path());
        plugin
    }
}

#[track_caller]
fn token(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let credential: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {said}", output.status));
    credential["status"]["token"].as_str().expect("a token").to_owned()
}

/// The payload of a token.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
