//! The flags of logins without a person and without a secret: token exchange (RFC 8693) and client assertions (RFC 7523).

use clap::Args;

/// Logins of machines.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Machines")]
pub struct MachineFlags {
    /// File with the token to exchange, such as a projected ServiceAccount token. Without it and --subject-token-env the login
    /// itself is exchanged
    #[arg(
        long,
        env = "KUBECTL_OIDC_SUBJECT_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "subject_token_env"
    )]
    pub subject_token_file: Option<String>,
    /// Name of an environment variable with the token to exchange
    #[arg(long, env = "KUBECTL_OIDC_SUBJECT_TOKEN_ENV", value_name = "VARIABLE")]
    pub subject_token_env: Option<String>,
    /// Its type: jwt, id-token, access-token, saml2 or a URN [default: jwt; id-token of a login]
    #[arg(long, env = "KUBECTL_OIDC_SUBJECT_TOKEN_TYPE", value_name = "TYPE")]
    pub subject_token_type: Option<String>,
    /// File with the token of the party that acts for the subject
    #[arg(
        long,
        env = "KUBECTL_OIDC_ACTOR_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "actor_token_env"
    )]
    pub actor_token_file: Option<String>,
    /// Name of an environment variable with that token
    #[arg(long, env = "KUBECTL_OIDC_ACTOR_TOKEN_ENV", value_name = "VARIABLE")]
    pub actor_token_env: Option<String>,
    /// Its type [default: jwt]
    #[arg(long, env = "KUBECTL_OIDC_ACTOR_TOKEN_TYPE", value_name = "TYPE")]
    pub actor_token_type: Option<String>,
    /// For whom the token is to be: names of clients or services
    #[arg(long, env = "KUBECTL_OIDC_EXCHANGE_AUDIENCE", value_name = "AUDIENCE")]
    pub exchange_audience: Vec<String>,
    /// Where the token is to be used: URLs
    #[arg(long, env = "KUBECTL_OIDC_EXCHANGE_RESOURCE", value_name = "URL")]
    pub exchange_resource: Vec<String>,
    /// The type of token to ask for [default: the issuer chooses]
    #[arg(long, env = "KUBECTL_OIDC_REQUESTED_TOKEN_TYPE", value_name = "TYPE")]
    pub requested_token_type: Option<String>,
    /// File with a token that proves the client instead of a secret, such as a projected ServiceAccount token
    #[arg(
        long,
        env = "KUBECTL_OIDC_CLIENT_ASSERTION_FILE",
        value_name = "FILE",
        conflicts_with_all = ["client_assertion_env", "client_assertion_key_file"]
    )]
    pub client_assertion_file: Option<String>,
    /// Name of an environment variable with such a token
    #[arg(
        long,
        env = "KUBECTL_OIDC_CLIENT_ASSERTION_ENV",
        value_name = "VARIABLE",
        conflicts_with = "client_assertion_key_file"
    )]
    pub client_assertion_env: Option<String>,
    /// File with the client's private key (PEM; RSA, P-256 or P-384), which signs such a token (`private_key_jwt`)
    #[arg(long, env = "KUBECTL_OIDC_CLIENT_ASSERTION_KEY_FILE", value_name = "FILE")]
    pub client_assertion_key_file: Option<String>,
    /// ID of that key, as the issuer knows it
    #[arg(long, env = "KUBECTL_OIDC_CLIENT_ASSERTION_KEY_ID", value_name = "ID")]
    pub client_assertion_key_id: Option<String>,
    /// Audience of that token [default: the issuer]
    #[arg(long, env = "KUBECTL_OIDC_CLIENT_ASSERTION_AUDIENCE", value_name = "URL")]
    pub client_assertion_audience: Option<String>,
}
