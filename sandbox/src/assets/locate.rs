//! Finds programs that are installed already, if their version is one the sandbox is made for.

use std::{
    env,
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{kubernetes::Kubernetes, recipe::Program};
use crate::error::{Error, Result};

/// The folder with the programs that a control plane is tested with, by the convention of Kubernetes' controller-runtime.
const FOLDER: &str = "KUBEBUILDER_ASSETS";

/// What that folder holds by that convention.
const IN_FOLDER: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

/// The program from `KUBEBUILDER_ASSETS` or `PATH`, if what it says of its version contains one of `accepts`.
///
/// # Errors
/// If `KUBEBUILDER_ASSETS` names no folder, or one with another version of the program: whoever set it wants its programs.
pub(super) fn installed(program: &Program, accepts: &[String]) -> Result<Option<PathBuf>> {
    let folder = env::var_os(FOLDER).filter(|value| !value.is_empty()).map(PathBuf::from);
    installed_in(folder.as_deref(), &env::var_os("PATH").unwrap_or_default(), program, accepts)
}

fn installed_in(
    folder: Option<&Path>,
    path: &OsStr,
    program: &Program,
    accepts: &[String],
) -> Result<Option<PathBuf>> {
    let right = |said: &str| accepts.iter().any(|accepted| said.contains(accepted));
    if let Some(folder) = folder {
        if !folder.is_dir() {
            let text = format!("{FOLDER}: {} is no folder", folder.display());
            return Err(Error::Invalid(text));
        }
        let file = folder.join(program.name);
        if is_executable(&file) {
            let said = version(&file, program.version_arguments);
            if right(&said) {
                return Ok(Some(file));
            }
            if IN_FOLDER.contains(&program.name) {
                return Err(Error::Invalid(format!(
                    "{FOLDER}: {} says {:?} of its version, and {} is needed; name a folder with that one, choose another \
                     Kubernetes by {}, or unset {FOLDER}",
                    file.display(),
                    said.lines().next().unwrap_or_default(),
                    accepts.join(" or "),
                    Kubernetes::VARIABLE,
                )));
            }
        }
    }
    Ok(env::split_paths(path)
        .map(|folder| folder.join(program.name))
        .filter(|file| is_executable(file))
        .find(|file| right(&version(file, program.version_arguments))))
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

    fn program(name: &'static str) -> Program {
        Program { name, version_arguments: &["Client Version: v1.37.2"] }
    }

    /// `echo` tells whatever version it is asked to.
    #[test]
    fn a_program_counts_only_in_the_right_version() {
        for (name, accepts, want) in [
            ("echo", &["v1.37."][..], true),
            ("echo", &["v1.36.", "v1.37."], true),
            ("echo", &["v1.32."], false),
            ("no-such-program", &["v1.37."], false),
        ] {
            let accepts: Vec<_> = accepts.iter().map(|&text| text.to_owned()).collect();
            let path = env::var_os("PATH").unwrap();
            let found = installed_in(None, &path, &program(name), &accepts).unwrap();
            assert_eq!(found.is_some(), want, "{name} {accepts:?}");
        }
    }

    /// Nobody who names a folder is given other programs without a word.
    #[test]
    fn a_folder_that_is_named_counts_before_the_path_or_is_refused() {
        let (folder, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |place: &Path, name: &str| {
            let file = place.join(name);
            fs::write(&file, "#!/bin/sh\necho \"$1\"\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        let find = |folder: &Path, name: &'static str, accepts: &str| {
            let accepts = [accepts.to_owned()];
            installed_in(Some(folder), path.path().as_os_str(), &program(name), &accepts)
        };
        let in_path = write(path.path(), "kubectl");
        let from_path = find(folder.path(), "kubectl", "v1.37.").unwrap();
        assert_eq!(from_path, Some(in_path), "the folder has none");

        let (kubectl, kwok) = (write(folder.path(), "kubectl"), write(folder.path(), "kwok"));
        assert_eq!(find(folder.path(), "kubectl", "v1.37.").unwrap(), Some(kubectl.clone()));
        let refused = find(folder.path(), "kubectl", "v1.36.").unwrap_err().to_string();
        let want = format!(
            "KUBEBUILDER_ASSETS: {} says \"Client Version: v1.37.2\" of its version, and v1.36. is needed; name a folder with \
             that one, choose another Kubernetes by SANDBOX_KUBERNETES, or unset KUBEBUILDER_ASSETS",
            kubectl.display()
        );
        assert_eq!(refused, want);
        assert_eq!(find(folder.path(), "kwok", "v1.37.").unwrap(), Some(kwok));
        assert_eq!(
            find(folder.path(), "kwok", "v0.8.").unwrap(),
            None,
            "no part of the convention"
        );

        let gone = folder.path().join("gone");
        let refused = find(&gone, "kubectl", "v1.37.").unwrap_err().to_string();
        assert_eq!(refused, format!("KUBEBUILDER_ASSETS: {} is no folder", gone.display()));
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
