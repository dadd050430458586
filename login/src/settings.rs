//! Checked settings, made of the flags as they were written: what is here is complete and consistent.

use std::path::PathBuf;
use std::time::Duration;

use directories::{BaseDirs, ProjectDirs};
use oauth2::ClientSecret;
use url::{Host, Url};

use crate::cli::{
    ConnectFlags, GrantType, IssuerFlags, LoginFlags, PkceMethod, StoreFlags, StoreKind, TrustFlags,
};

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

/// Whom to believe over TLS, in addition to the system's certificate authorities.
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
        password: Option<oauth2::ResourceOwnerPassword>,
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
        let login = login(&flags.login)?;
        Ok(Self {
            client: client(&flags.issuer, &login.grant)?,
            trust: Trust::new(&flags.trust),
            login,
            store: StoreSettings::new(&flags.store)?,
        })
    }
}

impl Trust {
    fn new(flags: &TrustFlags) -> Self {
        Self {
            files: flags.certificate_authority.iter().filter_map(|path| path_of(path)).collect(),
            data: flags
                .certificate_authority_data
                .iter()
                .filter_map(|data| text_of(data))
                .collect(),
            insecure: flags.insecure_skip_tls_verify,
        }
    }
}

impl StoreSettings {
    /// Checks the flags of the store.
    pub fn new(flags: &StoreFlags) -> Result<Self, SettingsError> {
        let dir = match flags.token_store_dir.as_deref().and_then(path_of) {
            Some(dir) => dir,
            None => ProjectDirs::from("", "", "kubectl-oidc")
                .map(|dirs| dirs.data_local_dir().to_owned())
                .ok_or(SettingsError::NoDataFolder)?,
        };
        let key_file = flags.token_store_key_file.as_deref().and_then(path_of);
        let passphrase = flags.token_store_passphrase.as_deref().and_then(text_of);
        let encryption = match (key_file, passphrase) {
            (Some(path), _) => Encryption::KeyFile(path),
            (None, Some(passphrase)) => Encryption::Passphrase(passphrase.into()),
            (None, None) => Encryption::None,
        };
        Ok(Self { kind: flags.token_store, dir, encryption })
    }
}

fn client(flags: &IssuerFlags, grant: &Grant) -> Result<Client, SettingsError> {
    let issuer = flags.oidc_issuer_url.as_deref().and_then(text_of);
    let id = flags.oidc_client_id.as_deref().and_then(text_of);
    // A ready token names its own issuer and audience; they are checked only if given.
    let ready = matches!(grant, Grant::Ready(_));
    let issuer = match issuer {
        Some(issuer) => checked_issuer(issuer)?,
        None if ready => String::new(),
        None => {
            return Err(SettingsError::Missing("--oidc-issuer-url", "KUBECTL_OIDC_ISSUER_URL"));
        }
    };
    let id = match id {
        Some(id) => id,
        None if ready => String::new(),
        None => return Err(SettingsError::Missing("--oidc-client-id", "KUBECTL_OIDC_CLIENT_ID")),
    };
    Ok(Client {
        issuer,
        id,
        secret: flags.oidc_client_secret.as_deref().and_then(text_of).map(ClientSecret::new),
        scopes: scopes(&flags.oidc_extra_scope),
        extra_params: flags.oidc_auth_request_extra_params.clone(),
        pkce: flags.oidc_use_pkce || flags.oidc_pkce_method != PkceMethod::No,
        use_access_token: flags.oidc_use_access_token,
    })
}

/// The issuer must be reached over TLS, except on this machine: whoever sits between could hand out keys of their own.
fn checked_issuer(issuer: String) -> Result<String, SettingsError> {
    let invalid = |reason: String| SettingsError::Invalid {
        flag: "--oidc-issuer-url",
        value: issuer.clone(),
        reason,
    };
    let url = Url::parse(&issuer).map_err(|error| invalid(error.to_string()))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => return Err(invalid("an issuer's URL begins with https://".to_owned())),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("an issuer's URL has no query and no fragment".to_owned()));
    }
    Ok(issuer)
}

/// The URL's host is this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// `openid` and the given ones, each once. One value may hold several (the Kanidm guide's way).
fn scopes(given: &[String]) -> Vec<String> {
    let mut scopes = vec!["openid".to_owned()];
    for scope in given.iter().flat_map(|value| value.split([' ', '\t', ','])) {
        if !scope.is_empty() && !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

fn login(flags: &LoginFlags) -> Result<Login, SettingsError> {
    let browser = match flags.browser_command.as_deref().and_then(text_of) {
        _ if flags.skip_open_browser => Browser::Print,
        Some(command) => Browser::Command(words("--browser-command", &command)?),
        None => Browser::Default,
    };
    Ok(Login {
        grant: grant(flags, &browser),
        listen: flags.listen_address.iter().filter_map(|address| text_of(address)).collect(),
        redirect: redirect(flags)?,
        keyboard_redirect: flags.oidc_redirect_url_authcode_keyboard.clone(),
        start_at_root: flags.start_at_root,
        browser,
        timeout: Duration::from_secs(flags.authentication_timeout_sec),
        afterwards: flags
            .open_url_after_authentication
            .as_deref()
            .and_then(text_of)
            .map(|url| parse_url("--open-url-after-authentication", &url))
            .transpose()?,
        listener_tls: match (&flags.local_server_cert, &flags.local_server_key) {
            (Some(cert), Some(key)) => path_of(cert).zip(path_of(key)),
            _ => None,
        },
        template_dir: flags.template_dir.as_deref().and_then(path_of),
    })
}

fn grant(flags: &LoginFlags, browser: &Browser) -> Grant {
    let username = flags.username.as_deref().and_then(text_of);
    if let Some(path) = flags.token_file.as_deref().and_then(path_of) {
        return Grant::Ready(TokenSource::File(path));
    }
    if let Some(variable) = flags.token_env.as_deref().and_then(text_of) {
        return Grant::Ready(TokenSource::Variable(variable));
    }
    match flags.grant_type {
        GrantType::Auto if username.is_some() => password(flags, username),
        // Whoever says how the browser is opened, or that it is not, has one somewhere.
        GrantType::Auto if *browser == Browser::Default => Grant::BrowserOrDevice,
        GrantType::Auto | GrantType::Authcode => Grant::AuthorizationCode,
        GrantType::AuthcodeKeyboard => Grant::Keyboard,
        GrantType::DeviceCode => Grant::DeviceCode,
        GrantType::Password => password(flags, username),
        GrantType::ClientCredentials => Grant::ClientCredentials,
    }
}

fn password(flags: &LoginFlags, username: Option<String>) -> Grant {
    let password = flags.password.clone().map(oauth2::ResourceOwnerPassword::new);
    Grant::Password { username, password }
}

fn redirect(flags: &LoginFlags) -> Result<Redirect, SettingsError> {
    let host = flags.oidc_redirect_url_hostname.as_deref().and_then(text_of);
    match flags.oidc_redirect_url.as_deref().and_then(text_of) {
        Some(text) => {
            let url = parse_url("--oidc-redirect-url", &text)?;
            Ok(Redirect::Whole(url, text))
        }
        None => Ok(Redirect::Host(host.unwrap_or_else(|| "localhost".to_owned()))),
    }
}

/// An http or https URL with a host.
fn parse_url(flag: &'static str, text: &str) -> Result<Url, SettingsError> {
    let invalid = |reason: String| SettingsError::Invalid { flag, value: text.to_owned(), reason };
    let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("it must be an http or https URL".to_owned()));
    }
    Ok(url)
}

/// The words of a command line, as a shell splits them.
fn words(flag: &'static str, text: &str) -> Result<Vec<String>, SettingsError> {
    shlex::split(text).filter(|words| !words.is_empty()).ok_or_else(|| SettingsError::Invalid {
        flag,
        value: text.to_owned(),
        reason: "a quotation mark is not closed".to_owned(),
    })
}

/// An empty value counts as absent: kubeconfigs and CI files pass variables that may be unset.
fn text_of(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A path; `~` at its beginning is the home folder (no shell expands a kubeconfig's arguments).
pub(crate) fn path_of(text: &str) -> Option<PathBuf> {
    let text = text_of(text)?;
    match (text.strip_prefix('~'), BaseDirs::new()) {
        (Some(""), Some(dirs)) => Some(dirs.home_dir().to_owned()),
        (Some(rest), Some(dirs)) if rest.starts_with(['/', '\\']) => {
            Some(dirs.home_dir().join(&rest[1..]))
        }
        _ => Some(PathBuf::from(text)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    /// Settings of `get-token` with these flags.
    pub(crate) fn settings(flags: &[&str]) -> Result<Settings, SettingsError> {
        let words = ["kubectl-oidc", "get-token"].iter().chain(flags);
        match Cli::try_parse_from(words).unwrap().command {
            Some(Command::GetToken(get_token)) => Settings::new(&get_token.connect),
            other => panic!("{other:?}"),
        }
    }

    fn with(flags: &[&str]) -> Settings {
        let base = ["--oidc-issuer-url=https://i.example/r", "--oidc-client-id=c"];
        settings(&[&base, flags].concat()).unwrap()
    }

    #[test]
    fn scopes_from_kanidms_guide_and_others() {
        for (flags, want) in [
            (&[][..], "openid"),
            (&["--oidc-extra-scope", "openid profile groups email"], "openid profile groups email"),
            (&["--oidc-extra-scope=email", "--oidc-extra-scope=profile"], "openid email profile"),
            (&["--oidc-extra-scope=a,b, a"], "openid a b"),
        ] {
            assert_eq!(with(flags).client.scopes.join(" "), want, "{flags:?}");
        }
    }

    #[test]
    fn issuer_needs_tls_beyond_this_machine() {
        for (issuer, ok) in [
            ("https://i.example", true),
            ("http://127.0.0.1:8080/realms/x", true),
            ("http://localhost:8080", true),
            ("http://[::1]:8080", true),
            ("http://i.example", false),
            ("http://127.0.0.1.i.example", false),
            ("https://i.example/?a=b", false),
            ("i.example", false),
        ] {
            let flag = format!("--oidc-issuer-url={issuer}");
            assert_eq!(settings(&[&flag, "--oidc-client-id=c"]).is_ok(), ok, "{issuer}");
        }
    }

    #[test]
    fn grant_follows_kubelogins_rule() {
        let grant = |flags: &[&str]| format!("{:?}", with(flags).login.grant);
        assert!(grant(&[]).starts_with("BrowserOrDevice"));
        assert!(grant(&["--skip-open-browser"]).starts_with("AuthorizationCode"));
        assert!(grant(&["--browser-command=firefox -P x"]).starts_with("AuthorizationCode"));
        assert!(grant(&["--username=a"]).starts_with("Password"));
        assert!(grant(&["--grant-type=authcode", "--username=a"]).starts_with("AuthorizationCode"));
        assert!(grant(&["--token-env=X"]).starts_with("Ready"));
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let settings = with(&[
            "--oidc-client-secret=s3cret",
            "--username=a",
            "--password=s3cret",
            "--token-store-passphrase=s3cret",
        ]);
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = settings(&["--oidc-client-id=c"]).unwrap_err().to_string();
        assert!(error.contains("--oidc-issuer-url"), "{error}");
        let error = settings(&["--oidc-issuer-url=https://i"]).unwrap_err().to_string();
        assert!(error.contains("--oidc-client-id"), "{error}");
        // An empty value is an absent one.
        let error = settings(&["--oidc-issuer-url=", "--oidc-client-id=c"]).unwrap_err();
        assert!(matches!(error, SettingsError::Missing("--oidc-issuer-url", _)), "{error}");
    }

    #[test]
    fn tilde_is_the_home_folder() {
        let home = BaseDirs::new().unwrap().home_dir().to_owned();
        assert_eq!(path_of("~/a/b"), Some(home.join("a/b")));
        assert_eq!(path_of("/a/~b"), Some(PathBuf::from("/a/~b")));
        assert_eq!(path_of("~b"), Some(PathBuf::from("~b")));
    }
}
