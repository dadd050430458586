//! Checked settings, made of the flags as they were written: what is here is complete and consistent.

mod check;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use oauth2::{ClientSecret, ResourceOwnerPassword};
use url::Url;

use crate::cli::{ConnectFlags, StoreKind};

pub use values::is_loopback;
pub(crate) use values::path_of;

/// Why the flags make no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A flag without which nothing can be done.
    #[error("{0} is missing (it may also be given as {1})")]
    Missing(&'static str, &'static str),
    /// A value that is no URL, or one that cannot serve here.
    #[error("{flag}={value:?}: {reason}")]
    Invalid {
        /// The flag.
        flag: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system does not say where the user's files are.
    #[error("the user's data folder is not known; set $HOME, or give --token-store-dir")]
    NoDataFolder,
}

/// All that leads to a token.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Issuer and client.
    pub client: Client,
    /// Whom to believe over TLS.
    pub trust: Trust,
    /// How to log in.
    pub login: Login,
    /// Where the token is kept.
    pub store: StoreSettings,
}

/// Issuer and client.
#[derive(Debug, Clone)]
pub struct Client {
    /// The issuer's URL as the cluster knows it, byte for byte.
    pub issuer: String,
    /// Client ID.
    pub id: String,
    /// Client secret of a confidential client.
    pub secret: Option<ClientSecret>,
    /// Scopes, openid first, none twice.
    pub scopes: Vec<String>,
    /// Parameters added to the authorization request.
    pub extra_params: Vec<(String, String)>,
    /// PKCE with S256 is used.
    pub pkce: bool,
    /// The access token is presented, not the ID token.
    pub use_access_token: bool,
}

/// Whom to believe over TLS: these authorities, or the system's if there are none.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// PEM files.
    pub files: Vec<PathBuf>,
    /// Base64 of PEM texts.
    pub data: Vec<String>,
    /// Certificates are not checked.
    pub insecure: bool,
}

/// How a token is asked for.
#[derive(Debug, Clone)]
pub enum Grant {
    /// A browser, or the device code where there seems to be none.
    BrowserOrDevice,
    /// Authorization code with a listener on this machine.
    AuthorizationCode,
    /// Authorization code typed in.
    Keyboard,
    /// Device code.
    DeviceCode,
    /// User name and password; what is absent is asked for.
    Password {
        /// User name.
        username: Option<String>,
        /// Password.
        password: Option<ResourceOwnerPassword>,
    },
    /// The client's own identity.
    ClientCredentials,
    /// A token that is already there.
    Ready(TokenSource),
}

/// Where a token stands that somebody else got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

/// How to log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// How a token is asked for.
    pub grant: Grant,
    /// Addresses to try, `host:port`.
    pub listen: Vec<String>,
    /// The redirect URI, with port 0 where the listener's belongs.
    pub redirect: Redirect,
    /// Redirect URI of the keyboard grant.
    pub keyboard_redirect: String,
    /// The login starts at `/` of the listener.
    pub start_at_root: bool,
    /// How the browser is opened.
    pub browser: Browser,
    /// How long a person may take.
    pub timeout: Duration,
    /// Where the browser goes afterwards.
    pub afterwards: Option<Url>,
    /// Certificate and key files of an https listener.
    pub listener_tls: Option<(PathBuf, PathBuf)>,
    /// The folder that the person named for the pages.
    pub template_dir: Option<PathBuf>,
}

/// The redirect URI of the authorization code grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// `http://HOST:PORT` with nothing after it (kubelogin's form).
    Host(String),
    /// A whole URI; port 0 stands for the listener's.
    Whole(Url, String),
}

/// How the browser is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Browser {
    /// As the system does.
    Default,
    /// By these words and the address.
    Command(Vec<String>),
    /// Not at all: the address is printed.
    Print,
}

/// Where tokens are kept.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The kind.
    pub kind: StoreKind,
    /// Folder of the file store, the locks and the list of logins.
    pub dir: PathBuf,
    /// What the file store is encrypted with.
    pub encryption: Encryption,
}

/// What the file store is encrypted with.
#[derive(Debug, Clone)]
pub enum Encryption {
    /// Nothing: the file's mode protects it.
    None,
    /// The age identities in this file.
    KeyFile(PathBuf),
    /// A passphrase.
    Passphrase(age::secrecy::SecretString),
}

impl Settings {
    /// Checks the flags.
    pub fn new(flags: &ConnectFlags) -> Result<Self, SettingsError> {
        let login = check::login(&flags.login)?;
        Ok(Self {
            client: check::client(&flags.issuer, &login.grant)?,
            trust: Trust::new(&flags.trust),
            login,
            store: StoreSettings::new(&flags.store)?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    /// Settings of `get-token` with these flags.
    pub(crate) fn settings(flags: &[&str]) -> Result<Settings, SettingsError> {
        let words = ["kubectl-oidc", "get-token"].iter().chain(flags);
        match Cli::read(words).unwrap().command {
            Some(Command::GetToken(get_token)) => Settings::new(&get_token.connect),
            other => panic!("{other:?}"),
        }
    }
}
