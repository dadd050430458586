//! What reading a configuration takes besides the file.

use kube_rules::Rules;

/// What the file alone does not say.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Issuers that no authenticator may claim: those of the API server's own ServiceAccount tokens.
    pub disallowed_issuers: Vec<String>,
    /// Whose rules the file, its tokens and its issuers' keys are read by.
    pub rules: Rules,
}
