//! Checked settings, made of the flags as they were written: what is here is complete and consistent.

mod check;
mod machine;
mod values;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use oauth2::{ClientSecret, ResourceOwnerPassword};
use ureq::http::{HeaderName, HeaderValue};
use url::Url;

use crate::{
    cli::{ConnectFlags, StoreKind},
    required::RequiredLogin,
};

pub use machine::{Assertion, Exchange};
pub use values::is_loopback;

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
    /// Where the discovery document is, if not at the issuer's URL.
    pub discovery: Option<Url>,
    /// Headers of every request to the issuer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What proves a client without a secret.
    pub assertion: Option<Assertion>,
    /// Scopes, openid first, none twice.
    pub scopes: Vec<String>,
    /// Parameters added to the authorization request.
    pub extra_params: Vec<(String, String)>,
    /// PKCE with S256 is used.
    pub pkce: bool,
    /// The access token is presented, not the ID token.
    pub use_access_token: bool,
    /// What the login must be like. It is no part of what tells logins apart: a better one takes the place of the one that is kept.
    pub required: RequiredLogin,
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
    /// A token in exchange for another.
    TokenExchange(Exchange),
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
    /// Folder of the file store.
    pub dir: PathBuf,
    /// Folder of this user of the machine, whatever the former is: the list of logins, and the locks of the keyring's.
    pub user_dir: PathBuf,
    /// Whose login it is.
    pub account: Account,
    /// What the file store is encrypted with.
    pub encryption: Encryption,
}

/// What tells logins of one client at one issuer apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// Nothing: there is one.
    Only,
    /// The name in `--account`.
    Named(String),
    /// The folder in `--token-store-dir`, as kubelogin's users do it.
    Folder(PathBuf),
}

impl Account {
    /// What to call it.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Only => None,
            Self::Named(name) => Some(name.clone()),
            Self::Folder(folder) => Some(folder.display().to_string()),
        }
    }
}

impl StoreSettings {
    /// The folders beside which an entry may lie, each once: the user's own for the keyring, and that of the files.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        let files_alone = match self.kind {
            StoreKind::File => true,
            StoreKind::Auto => !matches!(self.encryption, Encryption::None),
            StoreKind::Keyring | StoreKind::None => false,
        };
        let keyring_alone = matches!(self.kind, StoreKind::Keyring | StoreKind::None);
        let user_dir = &*self.user_dir;
        self.folders().filter(move |folder| {
            let own = *folder == user_dir;
            if own { !files_alone || self.dir == self.user_dir } else { !keyring_alone }
        })
    }

    /// The folders in which a login may be noted, each once: the user's own first.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        let other = (self.dir != self.user_dir).then_some(&*self.dir);
        std::iter::once(&*self.user_dir).chain(other)
    }
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
        let login = check::login(&flags.login, &flags.machine)?;
        let mut store = StoreSettings::new(&flags.store)?;
        if let Some(name) = flags.login.account.as_deref().and_then(values::text_of) {
            store.account = Account::Named(name);
        }
        Ok(Self {
            client: Client {
                assertion: Assertion::new(&flags.machine),
                required: check::required(&flags.login)?,
                ..check::client(&flags.issuer, &login.grant)?
            },
            trust: Trust::new(&flags.trust),
            login,
            store,
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
