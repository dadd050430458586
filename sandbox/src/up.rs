//! `sandbox up` and `sandbox down`: a sandbox that stays.

mod running;
mod state;

use std::{
    env,
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sandbox::{Error, Result, assets::Kubernetes};

use self::{running::Running, state::State};
use crate::FolderArgument;

/// How often a process that tells nobody is looked at.
const POLL: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub struct Up {
    #[command(flatten)]
    folder: FolderArgument,
    /// Return when the sandbox is ready and leave it running
    #[arg(long)]
    detach: bool,
    /// The gateway's port on 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Serve the provider's administration on this port of 127.0.0.1: whoever reaches it makes users and groups
    #[arg(long, value_name = "PORT")]
    provider_admin: Option<u16>,
}

#[derive(clap::Args)]
pub struct Down {
    #[command(flatten)]
    folder: FolderArgument,
}

impl Up {
    pub fn run(self, kubernetes: Kubernetes) -> Result<()> {
        if self.detach {
            return self.detached(kubernetes);
        }
        let state = State::claim(&self.folder.folder)?;
        let running = Running::start(kubernetes, state.folder(), self.port, self.provider_admin)?;
        state.ready(&running.told)?;
        println!("{}", running.told);
        running.watch()
    }

    /// Starts the same again without this terminal, and waits until it is ready.
    fn detached(self, kubernetes: Kubernetes) -> Result<()> {
        let folder = State::prepare(&self.folder.folder)?;
        let log = folder.join("sandbox.log");
        let mut child = self.spawn(kubernetes, &folder, &log)?;
        let mut told = 0;
        loop {
            told = tell(&log, told);
            if let Some(text) = state::told(&folder, child.id()) {
                println!("{text}");
                return Ok(());
            }
            let ended = child.try_wait();
            let ended = ended.map_err(|source| Error::Io { action: "wait".to_owned(), source })?;
            if ended.is_some() {
                tell(&log, told);
                let text = format!("the sandbox did not start; its log is {}", log.display());
                return Err(Error::Invalid(text));
            }
            thread::sleep(POLL);
        }
    }

    fn spawn(&self, kubernetes: Kubernetes, folder: &Path, log: &Path) -> Result<Child> {
        let start = || {
            let out = File::create(log)?;
            let mut command = Command::new(env::current_exe()?);
            command.arg(format!("--kubernetes={kubernetes}"));
            command.args(["up", "--folder"]).arg(folder);
            for (flag, value) in [("--port", self.port), ("--provider-admin", self.provider_admin)]
            {
                command.args(value.map(|port| format!("{flag}={port}")));
            }
            // The terminal's signals are not for it.
            command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
            command.spawn()
        };
        start().map_err(|source| Error::Io { action: "start the sandbox".to_owned(), source })
    }
}

impl Down {
    pub fn run(self) -> Result<()> {
        let start = Instant::now();
        match state::stop(&self.folder.folder)? {
            Some(id) => println!("stopped process {id} in {:.1} s", start.elapsed().as_secs_f64()),
            None => println!("no sandbox runs in {}", self.folder.folder.display()),
        }
        Ok(())
    }
}

/// Prints what a log has more than `told` bytes; its length now.
fn tell(log: &Path, told: u64) -> u64 {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(told))?;
        file.read_to_end(&mut text)
    });
    eprint!("{}", String::from_utf8_lossy(&text));
    told + read.unwrap_or_default() as u64
}
