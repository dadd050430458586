//! Which login a command is about: the one its flags name, else the one of the kubeconfig's context.

use super::CommandError;
use crate::cli::{ConnectFlags, KubeconfigFlags, parse_exec};
use crate::kubeconfig::{Cluster, Files, Kubeconfig};
use crate::settings::Settings;

/// A login, and the cluster it is for if a kubeconfig says so.
#[derive(Debug)]
pub struct Target {
    /// How to get its token.
    pub settings: Settings,
    /// Where it is used.
    pub cluster: Option<Cluster>,
}

impl Target {
    /// Finds the login.
    pub fn find(flags: &ConnectFlags, kube: &KubeconfigFlags) -> Result<Self, CommandError> {
        let config = Kubeconfig::load(&Files::locate(kube.kubeconfig.as_deref())?);
        let named = flags.issuer.oidc_issuer_url.is_some()
            || flags.login.token_file.is_some()
            || flags.login.token_env.is_some();
        if named {
            // The cluster is a bonus here: without a kubeconfig, the claims can be shown all the same.
            let context = config.and_then(|config| config.context(kube.context.as_deref())).ok();
            let cluster = context.map(|context| context.cluster);
            return Ok(Self { settings: Settings::new(flags)?, cluster });
        }
        let context = config?.context(kube.context.as_deref())?;
        let exec = context.exec.ok_or_else(|| {
            CommandError::Other(format!(
                "user {:?} of context {:?} has no exec section; give --oidc-issuer-url and --oidc-client-id, or another --context",
                context.user_name, context.name
            ))
        })?;
        let arguments = own_arguments(&exec.command, &exec.args).ok_or_else(|| {
            CommandError::Other(format!(
                "user {:?} of context {:?} logs in with {:?}, not with kubectl-oidc",
                context.user_name, context.name, exec.command
            ))
        })?;
        let parsed = parse_exec(arguments, &exec.env).map_err(|error| {
            // clap's text is several lines; the first one says it.
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            CommandError::Other(format!(
                "the exec section of user {:?}: {first}",
                context.user_name
            ))
        })?;
        Ok(Self { settings: Settings::new(&parsed.connect)?, cluster: Some(context.cluster) })
    }
}

/// The arguments that reach this program, if the exec section calls it: itself, through kubectl, or in kubekey's place.
fn own_arguments(command: &str, arguments: &[String]) -> Option<Vec<String>> {
    let name = command.rsplit(['/', '\\']).next().unwrap_or(command);
    match (name.strip_suffix(".exe").unwrap_or(name), arguments.split_first()) {
        ("kubectl-oidc" | "kubekey", _) => Some(arguments.to_vec()),
        ("kubectl", Some((plugin, rest))) if plugin == "oidc" => Some(rest.to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_sections_that_call_us() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (command, arguments, want) in [
            ("kubectl-oidc", &["get-token"][..], Some(&["get-token"][..])),
            ("/usr/local/bin/kubectl-oidc", &["get-token"], Some(&["get-token"])),
            (r"C:\bin\kubectl-oidc.exe", &["get-token"], Some(&["get-token"])),
            ("kubectl", &["oidc", "get-token"], Some(&["get-token"])),
            ("/usr/local/bin/kubekey", &[], Some(&[])),
            ("kubectl", &["oidc-login", "get-token"], None),
            ("aws", &["eks", "get-token"], None),
        ] {
            let found = own_arguments(command, &words(arguments));
            assert_eq!(found, want.map(words), "{command} {arguments:?}");
        }
    }
}
