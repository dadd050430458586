//! How much memory the system lets this program have, and how much of it Envoy may fill.
//!
//! Source of the files: Linux, `Documentation/admin-guide/cgroup-v2.rst` (`memory.max`) and `cgroup-v1/memory.rst`
//! (`memory.limit_in_bytes`).

use std::{fs, path::Path};

const MIB: u64 = 1 << 20;

/// What lies outside of the heap that Envoy counts: V8's own memory, and this program.
const OUTSIDE: u64 = 64 * MIB;

/// Less than this Envoy takes without a request.
const LEAST: u64 = 64 * MIB;

/// The heap for Envoy if nobody says another: 85 % of the limit of this process's control group, and at least 64 MiB less than it.
/// `None` without a limit, and for one that is too small for a heap limit to help.
#[must_use]
pub fn heap_for_envoy() -> Option<u64> {
    heap(limit(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").ok()?)?)
}

fn heap(limit: u64) -> Option<u64> {
    let share = limit.checked_div(100)?.checked_mul(85)?;
    Some(share.min(limit.checked_sub(OUTSIDE)?)).filter(|heap| *heap >= LEAST)
}

/// The least limit of the process's group and those above it. `memberships` is `/proc/self/cgroup`: `ID:CONTROLLERS:PATH`.
fn limit(root: &Path, memberships: &str) -> Option<u64> {
    let limits = memberships.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let (root, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|it| it == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            return None;
        };
        let folder = root.join(group);
        let groups = folder.ancestors().take_while(|folder| folder.starts_with(&root));
        groups
            .filter_map(|group| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok())
            .min()
    });
    // Version 1 says "no limit" with a number as large as can be.
    limits.min().filter(|limit| *limit < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("pod/container/memory.max", "max\n");
        write("pod/memory.max", "536870912\n");
        write("memory.max", "268435456\n");
        write("memory/a/memory.limit_in_bytes", "1073741824\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        for (memberships, want) in [
            ("0::/pod/container\n", Some(256 << 20)),
            // In a namespace of its own a container is its own root.
            ("0::/\n", Some(256 << 20)),
            ("5:cpu,memory:/a\n4:cpu:/b\n", Some(1 << 30)),
            ("5:memory:/other\n", None), // no limit but the largest number
            ("4:cpu:/a\n", None),
            ("", None),
        ] {
            assert_eq!(limit(root.path(), memberships), want, "{memberships:?}");
        }
    }

    #[test]
    fn the_heap_leaves_room_for_what_is_outside_of_it() {
        for (limit, want) in [
            (1024, Some(870)),
            (512, Some(435)),
            (256, Some(192)),
            (128, Some(64)),
            (127, None),
            (0, None),
        ] {
            assert_eq!(heap(limit * MIB).map(|heap| heap / MIB), want, "{limit}");
        }
    }
}
