//! `rbac`: what must the gateway's account be allowed to do?

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use gateway_config::rbac::{Form, Role};

use super::{error::Error, render::documents, rules::RulesFlag};

/// Print the least ClusterRole for a configuration.
///
/// Each rule is there for a feature of the configuration, which is named beside it. Pipe it to `kubectl apply -f -`.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct Rbac {
    /// The AuthenticationConfiguration, YAML or JSON
    #[arg(long, value_name = "FILE")]
    authentication_config: PathBuf,
    /// The GatewayConfiguration [default: all defaults]
    #[arg(long, value_name = "FILE")]
    gateway_config: Option<PathBuf>,
    #[command(flatten)]
    rules: RulesFlag,
    /// The ServiceAccount to bind the role to
    #[arg(long, value_name = "NAMESPACE:NAME", value_parser = service_account)]
    service_account: Option<(String, String)>,
    /// The name of the role and its binding
    #[arg(long, value_name = "NAME", default_value = "kube-oidc-gateway")]
    name: String,
    /// A key that users may ask for by kubectl --as-user-extra; repeatable. RBAC has no wildcard for them
    #[arg(long, value_name = "KEY")]
    as_user_extra: Vec<String>,
    /// Print the form of KEP-5284 (Kubernetes 1.36) instead: rights to act as others, limited to verbs
    #[arg(long)]
    constrained: bool,
}

impl Rbac {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let documents =
            documents(&self.authentication_config, self.gateway_config.as_deref(), self.rules)?;
        let form = if self.constrained { Form::Constrained } else { Form::Plain };
        let role =
            Role::least(documents.authentication(), documents.gateway(), &self.as_user_extra, form);
        let account =
            self.service_account.as_ref().map(|(namespace, name)| (&**namespace, &**name));
        print!("{}", role.to_yaml(&self.name, account));
        Ok(ExitCode::SUCCESS)
    }
}

fn service_account(text: &str) -> Result<(String, String), &'static str> {
    let (namespace, name) = text.split_once(':').ok_or("must be NAMESPACE:NAME")?;
    Ok((namespace.to_owned(), name.to_owned()))
}
