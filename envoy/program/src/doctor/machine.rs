//! What the machine lets a gateway have.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use gateway_config::Limits;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit};

use super::finding::Findings;
use crate::run::memory::heap_for_envoy;

/// How many inotify instances Envoy takes with its files (docs/running.md).
const INSTANCES: u64 = 15;
/// Open files beside connections: Envoy's own, and the program's.
const OWN_FILES: u64 = 200;
const LIMIT: &str = "fs.inotify.max_user_instances";

pub(super) fn look(findings: &mut Findings, limits: &Limits, runs: bool) {
    inotify(findings, runs);
    open_files(findings, limits);
    if let Some(bytes) = heap_for_envoy() {
        let mib = bytes >> 20;
        findings.ok("memory", format!("Envoy's heap may have {mib} MiB of this control group's"));
    }
}

fn inotify(findings: &mut Findings, runs: bool) {
    let path = Path::new("/proc/sys").join(LIMIT.replace('.', "/"));
    let limit = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let Some(limit) = limit else { return };
    let (user, used) = (geteuid().as_raw(), instances(Path::new("/proc")));
    let free = limit.saturating_sub(used);
    let found = format!("{free} of {limit} inotify instances are free for user {user}");
    if runs || free >= INSTANCES {
        findings.ok("inotify", found);
    } else {
        findings.fail(
            "inotify",
            format!("{found}; Envoy takes {INSTANCES}, and aborts at its start without them"),
            format!("sysctl {LIMIT}=512 on the node, or a user id of the gateway's own"),
        );
    }
}

/// The inotify instances of this user's processes, as far as they can be seen.
fn instances(proc: &Path) -> u64 {
    let user = geteuid().as_raw();
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let own = processes.filter(|it| it.metadata().is_ok_and(|it| it.uid() == user));
    let files = own.filter_map(|it| fs::read_dir(it.path().join("fd")).ok()).flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.filter(|target| target == Path::new("anon_inode:inotify")).count() as u64
}

fn open_files(findings: &mut Findings, limits: &Limits) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A connection of a client, and one to the API server.
    let wanted = limits.connections * 2 + OWN_FILES;
    match maximum {
        Some(most) if most < wanted => findings.warn(
            "open files",
            format!("{most} may be open; {} connections need {wanted}", limits.connections),
            format!(
                "raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd), or --max-connections={}",
                (most.saturating_sub(OWN_FILES) / 2).max(1)
            ),
        ),
        Some(most) => findings.ok("open files", format!("{most} may be open")),
        None => findings.ok("open files", "as many as the machine has"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_counted_by_what_files_are() {
        let proc = tempfile::tempdir().unwrap();
        for (process, target) in [
            ("1", "anon_inode:inotify"),
            ("2", "anon_inode:[eventpoll]"),
            ("3", "anon_inode:inotify"),
        ] {
            let folder = proc.path().join(process).join("fd");
            fs::create_dir_all(&folder).unwrap();
            std::os::unix::fs::symlink(target, folder.join("7")).unwrap();
        }
        fs::write(proc.path().join("uptime"), "1").unwrap();
        assert_eq!(instances(proc.path()), 2);
    }
}
