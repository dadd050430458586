//! `rbac`: what must the gateway's account be allowed to do?

use std::process::ExitCode;

use clap::{Args, Command};
use gateway_config::rbac::{Form, Role};

use super::{
    error::Error,
    output::{print_text, say},
    run::Run,
};

/// Print the least ClusterRole for a configuration.
///
/// Takes the command line of `run`, with the same flags. Each rule is there for a feature of the configuration, which is named
/// beside it. Pipe it to `kubectl apply -f -`.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct Rbac {
    /// The ServiceAccount to bind the role to
    #[arg(long, value_name = "NAMESPACE:NAME", value_parser = service_account)]
    service_account: Option<(String, String)>,
    /// The name of the role and its binding
    #[arg(long, value_name = "NAME", default_value = "kube-oidc-gateway")]
    name: String,
    /// Print the form of KEP-5284 (Kubernetes 1.36) instead: rights to act as others, limited to verbs
    #[arg(long)]
    constrained: bool,
    #[command(flatten)]
    run: Run,
}

impl Rbac {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let documents = self.run.documents()?;
        for warning in documents.warnings() {
            say(format_args!("warning: {warning}"));
        }
        let form = if self.constrained { Form::Constrained } else { Form::Plain };
        let keys = self.run.extra_keys();
        let role = Role::least(documents.authentication(), documents.gateway(), &keys, form);
        let account =
            self.service_account.as_ref().map(|(namespace, name)| (&**namespace, &**name));
        print_text(role.to_yaml(&self.name, account))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows in `--help` the flags that make a difference here; all others of `run` are taken.
pub fn brief(command: Command) -> Command {
    const SHOWN: &[&str] = &[
        "authentication_config",
        "disable_impersonation",
        "extra_user_header_client_ip",
        "extra_user_headers",
        "gateway_config",
        "kubernetes_rules",
        "token_passthrough",
    ];
    command.mut_args(|argument| {
        let id = argument.get_id().as_str();
        let is_own = argument.get_help_heading().is_none();
        let is_shown = is_own || id.starts_with("oidc_") || SHOWN.contains(&id);
        match id {
            // `run` takes and ignores it; here it says something.
            "as_user_extra" => argument.value_name("KEY").hide(false).help(
                "A key that users may ask for by kubectl --as-user-extra; repeatable. RBAC has no wildcard for them",
            ),
            _ => argument.hide(!is_shown),
        }
    })
}

fn service_account(text: &str) -> Result<(String, String), &'static str> {
    let (namespace, name) = text.split_once(':').ok_or("must be NAMESPACE:NAME")?;
    Ok((namespace.to_owned(), name.to_owned()))
}
