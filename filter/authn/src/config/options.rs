//! What reading a configuration takes besides the file.

/// What the file alone does not say.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Issuers that no authenticator may claim: those of the API server's own ServiceAccount tokens.
    pub disallowed_issuers: Vec<String>,
}
