//! kubectl's own rule for credential plugins (KEP-3104, `kuberc`): a policy, and a list of the programs that it may run.

use std::env;
use std::fs;
use std::path::PathBuf;

use directories::BaseDirs;
use serde_json::Value;

use super::setup::own_command;
use crate::console::plain;

/// The name of the program in a list.
const NAMES: [&str; 2] = ["name", "command"];

/// Tells whether kubectl may run this program; nothing, if there is no kuberc.
pub fn check(mut tell: impl FnMut(bool, String, &str)) {
    let Some(path) = path() else { return };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            let said = format!("{} cannot be read: {}", path.display(), plain(&error));
            return tell(false, said, "mend its permissions: kubectl reads it too");
        }
    };
    let Ok(document) = serde_saphyr::from_str::<Value>(&text) else {
        let said = format!("{} is not YAML", path.display());
        return tell(false, said, "mend it: kubectl reads it too");
    };
    let (allowed, said) = judge(&document, &own_command());
    let cure =
        format!("add {:?} to credentialPluginAllowlist in {}", own_command(), path.display());
    tell(allowed, said, &cure);
}

fn path() -> Option<PathBuf> {
    match env::var("KUBERC").ok().filter(|path| !path.is_empty()) {
        Some(off) if off == "off" => None,
        Some(path) => Some(PathBuf::from(path)),
        None => Some(BaseDirs::new()?.home_dir().join(".kube").join("kuberc")),
    }
}

/// Whether `command` may run, and why.
fn judge(document: &Value, command: &str) -> (bool, String) {
    let list = document.get("credentialPluginAllowlist").and_then(Value::as_array);
    let name = command.rsplit(['/', '\\']).next().unwrap_or(command);
    let listed = list.into_iter().flatten().any(|entry| {
        let names = NAMES.iter().filter_map(|key| entry.get(*key)?.as_str());
        names.into_iter().any(|known| known == command || known == name)
    });
    match document.get("credentialPluginPolicy").and_then(Value::as_str) {
        None | Some("" | "AllowAll") => (true, "kubectl may run every plugin".to_owned()),
        Some("DenyAll") => (false, "kubectl may run no plugin (DenyAll)".to_owned()),
        Some("Allowlist") if listed => (true, "kubectl may run this plugin".to_owned()),
        Some("Allowlist") => {
            (false, "kubectl may not run this plugin: it is not in the list".to_owned())
        }
        Some(other) => (false, format!("the policy {other:?} is none that kubectl knows")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_kubectls() {
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
                "{credentialPluginPolicy: Allowlist, credentialPluginAllowlist: [{command: /bin/kubectl-oidc}]}",
                true,
            ),
            ("credentialPluginPolicy: Other", false),
        ] {
            let document = serde_saphyr::from_str(text).unwrap();
            assert_eq!(judge(&document, "/bin/kubectl-oidc").0, want, "{text}");
        }
    }
}
