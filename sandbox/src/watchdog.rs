//! Leaves no process and no temporary folder behind, however this process ends.
//!
//! Destructors do not run on `kill -9`, nor for what a test keeps in a static. So one small shell (`watchdog.sh`) knows
//! what there is to end and to remove, and waits for the end of a pipe that only this process writes to.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use crate::error::{Context, Error, Result};

const SCRIPT: &str = include_str!("watchdog.sh");

static WATCHDOG: Mutex<Option<ChildStdin>> = Mutex::new(None);

/// Has a process group killed when this process is gone.
pub(crate) fn kill_at_end(group: u32) -> Result<()> {
    tell(&format!("+ {group}"))
}

/// Forgets a group whose first process was waited for: its number may be another's soon.
pub(crate) fn forget(group: u32) {
    // If nobody hears it, nobody kills the group either.
    let _ = tell(&format!("- {group}"));
}

/// Has a folder removed when this process is gone.
pub(crate) fn remove_at_end(folder: &Path) -> Result<()> {
    tell(&format!("folder {}", folder.display()))
}

fn tell(line: &str) -> Result<()> {
    let mut watchdog = WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner);
    if watchdog.is_none() {
        *watchdog = Some(start()?);
    }
    let Some(pipe) = watchdog.as_mut() else { return Ok(()) };
    writeln!(pipe, "{line}").context(|| "reach the watchdog of the sandbox's processes".to_owned())
}

fn start() -> Result<ChildStdin> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context(|| "start /bin/sh".to_owned())?;
    child
        .stdin
        .take()
        .ok_or_else(|| Error::Invalid("the watchdog was started without a pipe".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        io::{BufRead, BufReader},
        thread,
        time::{Duration, Instant},
    };

    use crate::{folder::Folder, group::Group};

    const ROLE: &str = "SANDBOX_WATCHDOG_TEST_VICTIM";

    /// The test starts itself as the process that is killed: it makes a folder and a child with a child of its own, tells
    /// of them, and waits for its end.
    #[test]
    fn nothing_is_left_of_a_process_that_was_killed() {
        let name = "watchdog::tests::nothing_is_left_of_a_process_that_was_killed";
        if env::var_os(ROLE).is_some() {
            victim();
        }
        let mut victim = std::process::Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", name])
            .env(ROLE, "1")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(victim.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("victim: ").map(|(_, rest)| rest.to_owned()))
            .unwrap();
        let (pids, folder) = told.split_once(" in ").unwrap();
        let alive = || {
            let command = |pid: &str| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            pids.split(' ').filter(|pid| !command(pid).is_empty()).count()
        };
        let exists = || fs::exists(folder).unwrap();
        let becomes = |wanted: (usize, bool)| {
            let start = Instant::now();
            while (alive(), exists()) != wanted {
                assert!(start.elapsed() < Duration::from_secs(10), "{} alive of {told}", alive());
                thread::sleep(Duration::from_millis(5));
            }
        };
        // A process has no command line for a moment while it executes its program.
        becomes((2, true));
        victim.kill().unwrap();
        victim.wait().unwrap();
        becomes((0, false));
    }

    fn victim() -> ! {
        let folder = Folder::new(None).unwrap();
        let script = "sleep 1000 & echo $! >$0/tmp; mv $0/tmp $0/pid; wait";
        let path = folder.path().display().to_string();
        let arguments = ["-c".to_owned(), script.to_owned(), path.clone()];
        let group = Group::spawn("/bin/sh".as_ref(), &arguments, |_| ()).unwrap();
        let grandchild = loop {
            match fs::read_to_string(folder.file("pid")) {
                Ok(pid) => break pid,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        println!("\nvictim: {} {} in {path}", group.id(), grandchild.trim());
        loop {
            thread::park();
        }
    }
}
