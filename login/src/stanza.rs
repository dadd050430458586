//! A user of a kubeconfig: by which program it logs in, and what that would be as a call of this one.

mod azure;
mod convert;

use std::path::Path;

use serde_json::{Map, Value};

pub use convert::{Converted, convert};

/// How a user logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stanza {
    /// With this program, or with kubekey in whose place it is put: its arguments and environment.
    Ours(Call),
    /// With kubekey.
    Kubekey(Call),
    /// With kubelogin (`kubectl oidc-login`).
    Kubelogin(Call),
    /// With Azure's kubelogin, which is another program.
    Azure(Call),
    /// With an auth-provider section, which kubectl has not known since 1.26: its name and configuration.
    AuthProvider(String, Map<String, Value>),
    /// With another program.
    Other(String),
    /// By what stands there: a token, a certificate, nothing.
    Fixed,
}

/// Arguments and environment of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// Arguments from the program's own command on (`get-token`).
    pub arguments: Vec<String>,
    /// Variables that the stanza sets.
    pub env: Vec<(String, String)>,
}

impl Call {
    /// A variable that is set to something.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl Stanza {
    /// Reads a user (what stands under `user:`).
    #[must_use]
    pub fn read(user: &Value) -> Self {
        if let Some(exec) = user.get("exec").filter(|exec| exec.is_object()) {
            return Self::of_exec(exec);
        }
        let Some(provider) = user.get("auth-provider").filter(|provider| provider.is_object())
        else {
            return Self::Fixed;
        };
        let name = provider.get("name").and_then(Value::as_str).unwrap_or_default();
        let config = provider.get("config").and_then(Value::as_object).cloned();
        Self::AuthProvider(name.to_owned(), config.unwrap_or_default())
    }

    fn of_exec(exec: &Value) -> Self {
        let text = |value: &Value, key: &str| {
            value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let list = |key: &str| exec.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let command = text(exec, "command");
        let arguments: Vec<String> =
            list("args").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let env =
            list("env").iter().map(|pair| (text(pair, "name"), text(pair, "value"))).collect();
        let call = |skipped: usize| Call {
            arguments: arguments.iter().skip(skipped).cloned().collect(),
            env,
        };
        let first = arguments.first().map(String::as_str);
        match (program(&command), first) {
            ("kubectl-oidc", _) => Self::Ours(call(0)),
            ("kubectl", Some("oidc")) => Self::Ours(call(1)),
            ("kubekey", _) => Self::Kubekey(call(0)),
            ("kubectl", Some("oidc-login")) => Self::Kubelogin(call(1)),
            ("kubelogin", _) if azure::is_meant(&arguments) => Self::Azure(call(0)),
            ("kubelogin" | "kubectl-oidc_login", _) => Self::Kubelogin(call(0)),
            // kubelogin's image.
            ("docker" | "podman" | "nerdctl", _) => {
                let image = |word: &&String| word.contains("int128/kubelogin");
                match arguments.iter().position(|word| image(&word)) {
                    Some(at) => Self::Kubelogin(in_container(call(at + 1))),
                    None => Self::Other(command),
                }
            }
            _ => Self::Other(command),
        }
    }
}

/// What a container needs and a program on this machine does not.
fn in_container(mut call: Call) -> Call {
    call.arguments.retain(|word| {
        !word.starts_with("--token-cache-dir=") && !word.starts_with("--listen-address=0.0.0.0:")
    });
    call
}

/// The name of a program without its folder.
fn program(command: &str) -> &str {
    let name = command.rsplit(['/', '\\']).next().unwrap_or(command);
    name.strip_suffix(".exe").unwrap_or(name)
}

/// A path in a kubeconfig, which is relative to the file's folder.
fn beside(file: &Path, path: &str) -> String {
    file.parent().unwrap_or(Path::new("")).join(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn users_are_told_apart() {
        let kind = |command: &str, args: &[&str]| {
            let user = json!({"exec": {"command": command, "args": args}});
            match Stanza::read(&user) {
                Stanza::Ours(call) => format!("ours {}", call.arguments.join(" ")),
                Stanza::Kubekey(_) => "kubekey".to_owned(),
                Stanza::Kubelogin(call) => format!("kubelogin {}", call.arguments.join(" ")),
                Stanza::Azure(_) => "azure".to_owned(),
                Stanza::Other(command) => command,
                other => format!("{other:?}"),
            }
        };
        for (command, args, want) in [
            ("kubectl-oidc", &["get-token"][..], "ours get-token"),
            ("/usr/local/bin/kubectl-oidc", &["get-token"], "ours get-token"),
            (r"C:\bin\kubectl-oidc.exe", &["get-token"], "ours get-token"),
            ("kubectl", &["oidc", "get-token"], "ours get-token"),
            ("/usr/local/bin/kubekey", &[], "kubekey"),
            ("kubectl", &["oidc-login", "get-token"], "kubelogin get-token"),
            (
                "kubelogin",
                &["get-token", "--oidc-client-id=c"],
                "kubelogin get-token --oidc-client-id=c",
            ),
            (r"C:\bin\kubectl-oidc_login.exe", &["get-token"], "kubelogin get-token"),
            ("kubelogin", &["get-token", "--login", "devicecode", "--server-id", "x"], "azure"),
            ("kubelogin", &["get-token", "--environment=AzurePublicCloud"], "azure"),
            (
                "docker",
                &[
                    "run",
                    "-p",
                    "8000:8000",
                    "registry.example/int128/kubelogin:v1",
                    "get-token",
                    "--token-cache-dir=/.token-cache",
                    "--listen-address=0.0.0.0:8000",
                ],
                "kubelogin get-token",
            ),
            ("docker", &["run", "x"], "docker"),
            ("aws", &["eks", "get-token"], "aws"),
            ("kubectl", &["example"], "kubectl"),
        ] {
            assert_eq!(kind(command, args), want, "{command} {args:?}");
        }
        assert_eq!(Stanza::read(&json!({"token": "t"})), Stanza::Fixed);
        assert_eq!(Stanza::read(&Value::Null), Stanza::Fixed);
        let user = json!({"auth-provider": {"name": "oidc", "config": {"client-id": "c"}}});
        assert!(matches!(Stanza::read(&user), Stanza::AuthProvider(name, _) if name == "oidc"));
    }
}
