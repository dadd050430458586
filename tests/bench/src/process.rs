//! What the system counts of a process, and a child that ends with its handle.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Ticks a second of `/proc/PID/stat` (`sysconf(_SC_CLK_TCK)`, 100 on every Linux that Envoy is built for).
const TICKS: f64 = 100.0;
/// How long a server may take to be ready. Far more than it takes.
pub const READY: Duration = Duration::from_secs(120);

/// Seconds of processors that a process has used, all its threads together.
pub fn processor_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))
        .with_context(|| format!("process {process} is gone"))?;
    // Behind the name in parentheses, counted from field 3: user time is 14, system time 15 (proc_pid_stat(5)).
    let fields: Vec<&str> =
        stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
    let used = ticks(14).zip(ticks(15)).context("/proc/PID/stat is not as expected")?;
    Ok((used.0 + used.1) / TICKS)
}

/// Time that Envoy's workers have run, all together, once they have nothing left to do: the kernel counts a thread's time when
/// it stops. Unlike [`processor_seconds`] it is exact enough for one request.
pub fn worker_time(process: u32) -> Result<Duration> {
    let mut time = Duration::ZERO;
    let tasks = format!("/proc/{process}/task");
    for task in fs::read_dir(&tasks).with_context(|| format!("process {process} is gone"))? {
        let task = task?.path();
        if !fs::read_to_string(task.join("comm"))?.starts_with("wrk:") {
            continue;
        }
        while fs::read_to_string(task.join("stat"))?.contains(") R ") {
            thread::yield_now();
        }
        // Nanoseconds on a processor come first (the kernel's Documentation/scheduler/sched-stats.rst).
        let text = fs::read_to_string(task.join("schedstat")).context("no /proc/PID/schedstat")?;
        let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
        time +=
            Duration::from_nanos(nanoseconds.context("/proc/PID/schedstat is not as expected")?);
    }
    Ok(time)
}

/// Resident memory of a process in MiB.
pub fn resident_mib(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))
        .with_context(|| format!("process {process} is gone"))?;
    let kib: Option<f64> = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Ok(kib.context("/proc/PID/status has no VmRSS")? / 1024.0)
}

/// A server that ends with this value.
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts a program with its output in `log`, and waits until `ready`.
    pub fn start(command: Command, log: &Path, ready: impl Fn() -> bool) -> Result<Self> {
        Self::start_within(READY, command, log, ready)
    }

    /// The same, with another time in which it has to be ready.
    pub fn start_within(
        patience: Duration,
        mut command: Command,
        log: &Path,
        ready: impl Fn() -> bool,
    ) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone().context("cannot write the log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let mut server = Self { child };
        let start = Instant::now();
        while !ready() {
            if let Some(status) = server.child.try_wait().context("cannot wait for a process")? {
                let text = fs::read_to_string(log).unwrap_or_default();
                // The first of Envoy's last words says why; those after it are where.
                let critical = text.lines().find(|line| line.contains("[critical]"));
                let why = critical.or(text.lines().last()).unwrap_or_default();
                bail!("{program} ended ({status}): {why}");
            }
            if start.elapsed() > patience {
                bail!("{program} is not ready after {} s", patience.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
