//! Leaves no process and no temporary folder behind, however this process ends.
//!
//! Destructors do not run on `kill -9`, nor for what a test keeps in a static. So every child gets a process group of its
//! own, and one small shell (`watchdog.sh`) knows the groups and waits for the end of a pipe that only this process
//! writes to. A child does not run before the shell knows its group, so there is no moment at which one can be lost.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::error::{Context, Error, Result};

const SCRIPT: &str = include_str!("watchdog.sh");

/// Waits for a line, then becomes the command it was given, with as many open files as the system allows: a gateway in
/// front of thousands of watches needs two for each.
const LAUNCH: &str = r#"read -r go || exit 1
ulimit -n "$(ulimit -Hn)"
exec "$@" </dev/null"#;

static WATCHDOG: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();

/// Starts `program` in a process group of its own, which the watchdog ends when this process is gone.
///
/// `prepare` sets output, environment and the like; standard input is empty.
pub(crate) fn spawn(
    program: &Path,
    arguments: &[String],
    prepare: impl FnOnce(&mut Command),
) -> Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", LAUNCH, "sandbox"]).arg(program).args(arguments);
    prepare(&mut command);
    command.stdin(Stdio::piped()).process_group(0);
    let mut child = command.spawn().context(|| format!("start {}", program.display()))?;
    let launched = tell(&format!("+ {}", child.id())).and_then(|()| {
        let mut stdin = child.stdin.take().ok_or_else(|| {
            Error::Invalid(format!("{} was started without a standard input", program.display()))
        })?;
        writeln!(stdin, "go").context(|| format!("start {}", program.display()))
    });
    if let Err(error) = launched {
        // Standard input is closed by now, so the shell ends by itself.
        drop(child.stdin.take());
        let _ = child.wait();
        return Err(error);
    }
    Ok(child)
}

/// Forgets the group of a child that was waited for: its number may be another's soon.
pub(crate) fn forget(group: u32) {
    let _ = tell(&format!("- {group}"));
}

/// Has a folder removed when this process is gone.
pub(crate) fn remove_at_end(folder: &Path) -> Result<()> {
    tell(&format!("folder {}", folder.display()))
}

fn tell(line: &str) -> Result<()> {
    let mut watchdog = watchdog();
    if watchdog.is_none() {
        *watchdog = Some(start()?);
    }
    let Some(pipe) = watchdog.as_mut() else { return Ok(()) };
    writeln!(pipe, "{line}").context(|| "reach the watchdog of the sandbox's processes".to_owned())
}

fn watchdog() -> MutexGuard<'static, Option<ChildStdin>> {
    WATCHDOG.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
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
