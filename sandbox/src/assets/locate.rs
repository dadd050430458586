//! Finds programs that are installed already, if their version is one the sandbox is made for.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::recipe::Program;

/// The program from `KUBEBUILDER_ASSETS` or `PATH`, if what it says of its version contains `accepts`.
pub(super) fn installed(program: &Program, accepts: &str) -> Option<PathBuf> {
    let folders = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from).into_iter();
    let path = env::var_os("PATH").unwrap_or_default();
    folders
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(program.name))
        .filter(|file| is_executable(file))
        .find(|file| version(file, program.version_arguments).contains(accepts))
}

/// A tool that the sandbox cannot get by itself.
pub(super) fn tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn version(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// `echo` tells whatever version it is asked to.
    #[test]
    fn a_program_counts_only_in_the_right_version() {
        let version_arguments = &["Client Version: v1.36.3"];
        for (name, accepts, want) in [
            ("echo", "v1.36.", true),
            ("echo", "v1.32.", false),
            ("no-such-program", "v1.36.", false),
        ] {
            let program = Program { name, version_arguments };
            assert_eq!(installed(&program, accepts).is_some(), want, "{name} {accepts}");
        }
    }

    #[test]
    fn only_an_executable_file_is_a_program() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubectl");
        fs::write(&file, "").unwrap();
        for (mode, want) in [(0o755, true), (0o644, false)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_executable(&file), want, "{mode:o}");
        }
        assert!(!is_executable(folder.path()));
    }
}
