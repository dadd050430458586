//! kubectl's own rule for credential plugins (KEP-3104, `kuberc`): a policy, and a list of the programs that it may run.
//!
//! How kubectl finds the file: `kubectl/pkg/kuberc/kuberc.go`, `LoadKuberc`. What the policy allows: client-go,
//! `plugin/pkg/client/auth/exec/exec.go`, `updateCommandAndCheckAllowlistLocked`.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use directories::BaseDirs;
use serde_json::Value;

use super::setup::{own_command, shell_word};
use crate::console::plain;

/// The name of the program in a list. The first is what kubectl writes, the other one its older name.
const NAMES: [&str; 2] = ["command", "name"];

/// What kubectl makes of this program.
pub struct Verdict {
    /// Whether it runs it.
    pub allowed: bool,
    /// Why, or why not.
    pub reason: String,
    /// What would change that; empty if it is allowed.
    pub cure: String,
}

/// Whether kubectl may run this program; `None` if there is no kuberc.
pub fn check() -> Option<Verdict> {
    let path = path()?;
    let refused = |reason, cure: &str| Verdict { allowed: false, reason, cure: cure.to_owned() };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            let reason = format!("{} cannot be read: {}", path.display(), plain(&error));
            return Some(refused(reason, "correct its permissions: kubectl reads it, too"));
        }
    };
    let Ok(document) = serde_saphyr::from_str::<Value>(&text) else {
        let reason = format!("{} is not YAML", path.display());
        return Some(refused(reason, "correct it: kubectl reads it, too"));
    };
    let command = own_command();
    let search = env::var_os("PATH").unwrap_or_default();
    let (allowed, reason) = judge(&document, &command, &search);
    let cure = if allowed { String::new() } else { cure(&document, &command, &path) };
    Some(Verdict { allowed, reason, cure })
}

fn path() -> Option<PathBuf> {
    match env::var("KUBERC").ok().filter(|path| !path.is_empty()) {
        Some(off) if off == "off" => None,
        Some(path) => Some(PathBuf::from(path)),
        None => Some(BaseDirs::new()?.home_dir().join(".kube").join("kuberc")),
    }
}

/// The programs that the list names.
fn list(document: &Value) -> impl Iterator<Item = &str> {
    let list = document.get("credentialPluginAllowlist").and_then(Value::as_array);
    list.into_iter().flatten().flat_map(|entry| {
        NAMES.iter().filter_map(|key| entry.get(*key)?.as_str()).filter(|name| !name.is_empty())
    })
}

/// Whether `command` may run, and why. `search` is the value of `PATH`.
fn judge(document: &Value, command: &str, search: &OsStr) -> (bool, String) {
    let own = resolved(command, search);
    let is_own = |known: &str| known == command || own.is_some() && resolved(known, search) == own;
    match document.get("credentialPluginPolicy").and_then(Value::as_str) {
        None | Some("" | "AllowAll") => (true, "kubectl may run every plugin".to_owned()),
        Some("DenyAll") => (false, "kubectl may run no plugin (DenyAll)".to_owned()),
        Some("Allowlist") if list(document).any(is_own) => {
            (true, "kubectl may run this plugin".to_owned())
        }
        Some("Allowlist") => {
            (false, "kubectl may not run this plugin: it is not in the list".to_owned())
        }
        Some(other) => (false, format!("the policy {other:?} is none that kubectl knows")),
    }
}

/// What Go's `exec.LookPath` finds: a name is looked for along the path, anything else is a path.
fn resolved(command: &str, search: &OsStr) -> Option<PathBuf> {
    if command.contains(std::path::is_separator) {
        return Some(PathBuf::from(command)).filter(|path| path.is_file());
    }
    env::split_paths(search).map(|folder| folder.join(command)).find(|path| path.is_file())
}

/// The command that allows this program and leaves the others as they are: kubectl replaces the whole list.
fn cure(document: &Value, command: &str, path: &Path) -> String {
    let others = match document.get("credentialPluginPolicy").and_then(Value::as_str) {
        Some("Allowlist") => list(document).collect(),
        _ => Vec::new(),
    };
    let entry = |name| format!(" --allowlist-entry command={}", shell_word(name));
    let entries = others.into_iter().chain([command]).map(entry).collect::<Vec<_>>().concat();
    format!(
        "allow it with: kubectl kuberc set --section credentialplugin --policy Allowlist{entries} (kubectl before 1.36: in {}, put credentialPluginPolicy: Allowlist, and into credentialPluginAllowlist: - name: {command:?})",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_kubectls() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().display().to_string();
        fs::write(folder.path().join("kubectl-oidc"), "").unwrap();
        for (text, want) in [
            ("{}", true),
            ("credentialPluginPolicy: AllowAll", true),
            ("credentialPluginPolicy: DenyAll", false),
            ("credentialPluginPolicy: Allowlist", false),
            (
                "{credentialPluginPolicy: Allowlist, credentialPluginAllowlist: [{name: aws}]}",
                false,
            ),
            (
                "{credentialPluginPolicy: Allowlist, credentialPluginAllowlist: [{name: kubectl-oidc}]}",
                true,
            ),
            (
                "{credentialPluginPolicy: Allowlist, credentialPluginAllowlist: [{command: BIN/kubectl-oidc}]}",
                true,
            ),
            // Another program of the same name.
            (
                "{credentialPluginPolicy: Allowlist, credentialPluginAllowlist: [{command: /other/kubectl-oidc}]}",
                false,
            ),
            ("credentialPluginPolicy: Other", false),
        ] {
            let text = text.replace("BIN", &bin);
            let document = serde_saphyr::from_str(&text).unwrap();
            for command in [format!("{bin}/kubectl-oidc"), "kubectl-oidc".to_owned()] {
                let judged = judge(&document, &command, folder.path().as_os_str());
                assert_eq!(judged.0, want, "{command}: {text}");
            }
        }
    }

    #[test]
    fn the_command_keeps_what_is_allowed_already() {
        for (text, want) in [
            (
                "credentialPluginPolicy: DenyAll",
                "--policy Allowlist --allowlist-entry command=own (",
            ),
            (
                "{credentialPluginPolicy: Allowlist, credentialPluginAllowlist: [{name: aws}, {command: a b}]}",
                "--allowlist-entry command=aws --allowlist-entry command='a b' --allowlist-entry command=own (",
            ),
        ] {
            let document = serde_saphyr::from_str(text).unwrap();
            let cure = cure(&document, "own", Path::new("/home/kuberc"));
            assert!(
                cure.contains(want)
                    && cure.ends_with(r#"into credentialPluginAllowlist: - name: "own")"#),
                "{cure}"
            );
        }
    }
}
