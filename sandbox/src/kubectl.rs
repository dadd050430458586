//! Runs the real kubectl: to its end with its output, or in the background while a test looks on.

mod running;

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

pub use self::running::Running;
use crate::{
    error::{Error, Result},
    folder::Folder,
    group::Group,
    kubeconfig::Kubeconfig,
};

/// How long a command may take after it closed its output.
const LIMIT: Duration = Duration::from_secs(60);

/// kubectl with a kubeconfig of its own, apart from the user's.
#[derive(Debug)]
pub struct Kubectl {
    program: PathBuf,
    folder: Folder,
    environment: Vec<(String, String)>,
}

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code, or `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl Output {
    /// Whether it exited with 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl Kubectl {
    /// With a kubeconfig that it writes for itself.
    pub fn new(program: &Path, kubeconfig: &Kubeconfig) -> Result<Self> {
        let folder = Folder::new(None)?;
        kubeconfig.write(&folder.file("config"))?;
        Ok(Self { program: program.to_owned(), folder, environment: Vec::new() })
    }

    /// Sets an environment variable of its commands, such as `KUBECTL_REMOTE_COMMAND_WEBSOCKETS`.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its kubeconfig file. kubectl itself writes to it when it refreshes a token.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.file("config")
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// Only if it could not be run; a failure of kubectl is an [`Output`].
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        self.run_with_input(arguments, "")
    }

    /// Like [`Self::run`], with text on standard input (`apply -f -`, `exec -i`).
    pub fn run_with_input<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Result<Output> {
        let mut group = self.spawn(arguments)?;
        let stdin = group.stdin();
        let (stdout, stderr) = group.output();
        let (stdout, stderr) = thread::scope(|scope| {
            // A command that ends without reading everything is no failure here.
            scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
            let stderr = scope.spawn(|| read(stderr));
            (read(stdout), stderr.join().unwrap_or_default())
        });
        let status = group.wait(LIMIT)?;
        Ok(Output { code: status.code(), stdout, stderr })
    }

    /// Runs a command that must succeed; gives its standard output.
    pub fn must<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Result<String> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let output = self.run_with_input(&arguments, input)?;
        if output.success() {
            return Ok(output.stdout);
        }
        let words: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        Err(Error::Command {
            command: format!("kubectl {}", words.join(" ")),
            status: output.code.map_or("signal".to_owned(), |code| format!("exit code {code}")),
            stderr: output.stderr.trim().to_owned(),
        })
    }

    /// Starts a command that goes on (`logs -f`, `get -w`, `port-forward`); it is killed when the handle is dropped.
    pub fn start<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Running> {
        Ok(Running::new(self.spawn(arguments)?))
    }

    fn spawn<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Group> {
        let arguments: Vec<OsString> =
            arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        Group::spawn(&self.program, &arguments, |command| {
            command
                .env("KUBECONFIG", self.kubeconfig())
                .env("KUBECACHEDIR", self.folder.file("cache"))
                // The user's own preferences must not change what a test sees.
                .env("KUBERC", "off")
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
        })
    }
}

fn read(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    let read = stream.map(|mut stream| stream.read_to_end(&mut bytes));
    drop(read);
    String::from_utf8_lossy(&bytes).into_owned()
}
