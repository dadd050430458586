//! The flags of `portal`: another way to say what a `PortalConfiguration` says.

use std::{env, path::PathBuf, time::Duration};

use clap::{Args, Command, FromArgMatches};
use gateway_config::{
    duration,
    portal::{PortalConfiguration, PortalError, Why},
};
use gateway_core::portal::settings::Network;
use gateway_net::{Dns, Host};
use kube_oidc_gateway::portal::{Portal, SetupError};
use tracing::warn;

use crate::cli::error::Error;

/// What a portal is.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Debug, Clone, Args)]
pub struct PortalFlags {
    /// The shared secret for HS256 tokens; in the environment or in --secret-file nobody else sees it
    #[arg(value_name = "SECRET", env = "KUBEHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// A file with a shared secret; can be given several times
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// Take a shared secret of less than 32 bytes: whoever has one token can find it by trying, and is then whoever he likes
    #[arg(long)]
    insecure_short_secret: bool,
    /// A private key on P-256 (PEM) for ES256 tokens; can be given several times; needs --issuer
    #[arg(long, value_name = "FILE")]
    signing_key_file: Vec<PathBuf>,
    /// The URL under which API servers reach this portal: `iss` of ES256 tokens
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// `aud` of the tokens
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "github.com/planetlabs/kubehook",
        env = "KUBEHOOK_AUDIENCE"
    )]
    audience: String,
    /// The header that names the user
    #[arg(
        long,
        value_name = "NAME",
        default_value = "X-Forwarded-User",
        env = "KUBEHOOK_USER_HEADER"
    )]
    user_header: String,
    /// The header that names the user's groups
    #[arg(
        long,
        value_name = "NAME",
        default_value = "X-Forwarded-Groups",
        env = "KUBEHOOK_GROUP_HEADER"
    )]
    group_header: String,
    /// What stands between two groups
    #[arg(long, value_name = "TEXT", default_value = ";", env = "KUBEHOOK_GROUP_HEADER_DELIMITER")]
    group_header_delimiter: String,
    /// The longest lifetime that can be asked for
    #[arg(long, value_name = "DURATION", default_value = "168h", env = "KUBEHOOK_MAX_LIFETIME", value_parser = duration)]
    max_lifetime: Duration,
    /// A kubeconfig with the clusters that users' kubeconfigs are to have
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_KUBECFG_TEMPLATE")]
    kubecfg_template: Option<PathBuf>,
    /// Mutual TLS: the CA whose certificates clients must show (PEM). Their headers are believed
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_CLIENT_CA")]
    client_ca: Option<PathBuf>,
    /// The DNS name that clients' certificates must be for
    #[arg(long, value_name = "NAME", env = "KUBEHOOK_CLIENT_CA_SUBJECT", requires = "client_ca")]
    client_ca_subject: Option<String>,
    /// The certificate chain that clients see (PEM); without it there is no TLS
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM), in the same directory
    #[arg(long, value_name = "FILE", env = "KUBEHOOK_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Believe the headers of peers in this network; can be given several times
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    trust_network: Vec<Network>,
    /// Believe everybody's headers, as kubehook does: only for a portal that nobody but a proxy can reach
    #[arg(long)]
    insecure_trust_header: bool,
    /// Let a token live longer than the login that it was made with
    #[arg(long)]
    outlive_login: bool,
    /// An origin whose pages may post, beside the portal's own; can be given several times
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// A name under which this portal is reached; can be given several times. Without TLS requests for other names are refused,
    /// but for addresses, localhost, and the hosts of --url and --issuer
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    allowed_host: Vec<Dns>,
    /// Answer whatever name a request has, without TLS too: any web page can then ask in its reader's place (DNS rebinding)
    #[arg(long, conflicts_with = "allowed_host")]
    insecure_any_host: bool,
    /// How many tokens one user gets in a second
    #[arg(long, value_name = "N", default_value_t = 5)]
    tokens_per_second: u32,
    #[command(flatten)]
    login: BrowserFlags,
}

/// The browser's login
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Login with a browser")]
struct BrowserFlags {
    /// Log users in at an issuer of --authentication-config, as this client; its redirect URI is URL/oauth2/callback
    #[arg(long, value_name = "ID", requires_all = ["url", "login_client_secret_file", "login_cookie_secret_file"])]
    login_client_id: Option<String>,
    /// The client's secret: these very bytes, without a line end
    #[arg(long, value_name = "FILE", requires = "login_client_id")]
    login_client_secret_file: Option<PathBuf>,
    /// At least 32 random bytes that encrypt and sign the session's cookies; the same for all portals of one name
    #[arg(long, value_name = "FILE", requires = "login_client_id")]
    login_cookie_secret_file: Option<PathBuf>,
    /// Under which people open this portal, as https://portal.example
    #[arg(long, value_name = "URL", requires = "login_client_id")]
    url: Option<String>,
    /// The issuer [default: the only one]
    #[arg(long, value_name = "URL")]
    login_issuer: Option<String>,
    /// What is asked for; can be given several times
    #[arg(long, value_name = "SCOPE", default_value = "openid", value_delimiter = ',')]
    login_scope: Vec<String>,
    /// Where the browser is sent to [default: as the issuer's discovery document says, read once at start]
    #[arg(long, value_name = "URL", requires = "login_token_endpoint")]
    login_authorization_endpoint: Option<String>,
    /// Where codes are exchanged; with a secret in the body
    #[arg(long, value_name = "URL", requires = "login_authorization_endpoint")]
    login_token_endpoint: Option<String>,
    /// Where the user ends the login at the issuer [default: as the discovery document says]
    #[arg(long, value_name = "URL")]
    login_end_session_endpoint: Option<String>,
    /// Offer kubeconfigs with kubectl-oidc in place of a token, for this client of the login's issuer
    #[arg(long, value_name = "ID")]
    plugin_client_id: Option<String>,
}

impl PortalFlags {
    /// What no flag says: kubehook's variables, and the defaults.
    pub fn of_environment() -> Result<Self, Error> {
        let command = Self::augment_args(Command::new("portal").no_binary_name(true));
        let matches = command.try_get_matches_from([""; 0]);
        let flags = matches.and_then(|matches| Self::from_arg_matches(&matches));
        flags.map_err(|error| Error::Usage(one_line(&error)))
    }

    /// What the flags say.
    pub fn portal(&self) -> Portal {
        if self.secret.is_some() && env::var_os("KUBEHOOK_SECRET").is_none() {
            warn!("a secret on the command line is seen by every user of this machine");
        }
        Portal { configuration: self.configuration(), secret: self.secret.clone() }
    }

    fn configuration(&self) -> PortalConfiguration {
        let flags = self.clone();
        PortalConfiguration {
            host: None,
            secret_file: flags.secret_file,
            insecure_short_secret: flags.insecure_short_secret,
            signing_key_file: flags.signing_key_file,
            issuer: flags.issuer,
            audience: flags.audience,
            user_header: flags.user_header,
            group_header: flags.group_header,
            group_header_delimiter: flags.group_header_delimiter,
            max_lifetime: flags.max_lifetime,
            kubecfg_template: flags.kubecfg_template,
            client_ca: flags.client_ca,
            client_ca_subject: flags.client_ca_subject,
            tls_cert: flags.tls_cert,
            tls_key: flags.tls_key,
            trust_network: flags.trust_network,
            insecure_trust_header: flags.insecure_trust_header,
            outlive_login: flags.outlive_login,
            origin: flags.origin,
            allowed_host: flags.allowed_host,
            insecure_any_host: flags.insecure_any_host,
            tokens_per_second: flags.tokens_per_second,
            login_client_id: flags.login.login_client_id,
            login_client_secret_file: flags.login.login_client_secret_file,
            login_cookie_secret_file: flags.login.login_cookie_secret_file,
            url: flags.login.url,
            login_issuer: flags.login.login_issuer,
            login_scope: flags.login.login_scope,
            login_authorization_endpoint: flags.login.login_authorization_endpoint,
            login_token_endpoint: flags.login.login_token_endpoint,
            login_end_session_endpoint: flags.login.login_end_session_endpoint,
            plugin_client_id: flags.login.plugin_client_id,
        }
    }
}

/// What is wrong, for who has given flags: fields by the flags' names.
pub fn in_flags(error: SetupError) -> Error {
    let SetupError::Field(PortalError { field, why }) = error else { return error.into() };
    let why = match why {
        Why::Needs(others) => {
            let others: Vec<_> = others.iter().map(|other| flag(other)).collect();
            format!("needs {}", others.join(" and "))
        }
        Why::Excludes(other) => format!("excludes {}", flag(other)),
        Why::Other(why) => why,
    };
    Error::Usage(format!("{}: {why}", flag(&field)))
}

/// `--max-lifetime` for `maxLifetime`.
fn flag(field: &str) -> String {
    field.chars().fold("--".to_owned(), |flag, letter| match letter {
        'A'..='Z' => format!("{flag}-{}", letter.to_ascii_lowercase()),
        letter => format!("{flag}{letter}"),
    })
}

fn host_name(text: &str) -> Result<Dns, &'static str> {
    match text.parse() {
        Ok(Host::Dns(name)) => Ok(name),
        _ => Err("not a DNS name (without a port)"),
    }
}

fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("Usage:")).collect();
    said.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who says nothing has the same portal by a document and by flags, and every field has its flag.
    #[test]
    fn flags_and_fields_are_the_same() {
        let flags = PortalFlags::augment_args(Command::new("portal"));
        let matches = flags.clone().try_get_matches_from(["portal"]).unwrap();
        let none = PortalFlags::from_arg_matches(&matches).unwrap().configuration();
        assert_eq!(none, PortalConfiguration::default());
        let schema = PortalConfiguration::schema();
        let of_fields = schema["properties"].as_object().unwrap().keys();
        let mut of_fields: Vec<_> =
            of_fields.filter(|field| *field != "host").map(|field| flag(field)).collect();
        of_fields.sort_unstable();
        let mut of_flags: Vec<_> = flags
            .get_arguments()
            .filter_map(|it| it.get_long())
            .map(|it| format!("--{it}"))
            .collect();
        of_flags.sort_unstable();
        assert_eq!(of_flags, of_fields);
    }
}
