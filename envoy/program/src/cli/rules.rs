//! `--kubernetes-rules`, wherever a configuration is read.

use clap::Args;
use kube_authn::Rules;

/// Whose rules hold.
#[derive(Debug, Clone, Copy, Args)]
pub struct RulesFlag {
    /// The minor version of Kubernetes whose rules are applied: 1.36, 1.37 or 1.38 (as of its beta) [default: 1.37]
    #[arg(long, value_name = "MINOR")]
    pub kubernetes_rules: Option<Rules>,
}

impl RulesFlag {
    /// The rules, by default those of the newest minor that is released.
    pub fn rules(self) -> Rules {
        self.kubernetes_rules.unwrap_or_default()
    }
}
