//! The flags that say which issuer, how to log in, and where to keep the token.

use clap::{Args, ValueEnum};

use super::go::{Pairs, pairs};

/// Which issuer, and as which client.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Issuer and client")]
pub struct IssuerFlags {
    /// Issuer URL, exactly as the cluster is configured with it
    #[arg(long, env = "KUBECTL_OIDC_ISSUER_URL", value_name = "URL")]
    pub oidc_issuer_url: Option<String>,
    /// Where the issuer's discovery document is, if not at the issuer's URL; what it says of itself must be that URL all the same
    #[arg(long, env = "KUBECTL_OIDC_DISCOVERY_URL", value_name = "URL")]
    pub oidc_discovery_url: Option<String>,
    /// Client ID; the ID token's audience
    #[arg(long, env = "KUBECTL_OIDC_CLIENT_ID", value_name = "ID")]
    pub oidc_client_id: Option<String>,
    /// Client secret; a public client has none
    #[arg(long, env = "KUBECTL_OIDC_CLIENT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub oidc_client_secret: Option<String>,
    /// Scopes beside openid, several with commas or blanks between or in several flags
    #[arg(long, env = "KUBECTL_OIDC_EXTRA_SCOPE", value_name = "SCOPE", value_delimiter = ',')]
    pub oidc_extra_scope: Vec<String>,
    /// Present the access token instead of the ID token (it must be a JWT)
    #[arg(long, env = "KUBECTL_OIDC_USE_ACCESS_TOKEN")]
    pub oidc_use_access_token: bool,
    /// Use PKCE with S256 (it is used anyway unless --oidc-pkce-method=no)
    #[arg(long, env = "KUBECTL_OIDC_USE_PKCE")]
    pub oidc_use_pkce: bool,
    /// PKCE method
    #[arg(
        long,
        env = "KUBECTL_OIDC_PKCE_METHOD",
        value_enum,
        default_value_t,
        ignore_case = true,
        value_name = "METHOD"
    )]
    pub oidc_pkce_method: PkceMethod,
    /// Parameters to add to the authorization request (also to the token request of client-credentials)
    #[arg(
        long,
        env = "KUBECTL_OIDC_AUTH_REQUEST_EXTRA_PARAMS",
        value_name = "NAME=VALUE",
        value_parser = pairs
    )]
    pub oidc_auth_request_extra_params: Vec<Pairs>,
    /// HTTP headers to send with every request to the issuer
    #[arg(
        long,
        env = "KUBECTL_OIDC_REQUEST_HEADER",
        value_name = "NAME=VALUE",
        value_parser = pairs,
        hide_env_values = true
    )]
    pub oidc_request_header: Vec<Pairs>,
}

/// PKCE (RFC 7636) in the authorization request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum PkceMethod {
    /// S256, whether or not the issuer announces it: servers ignore what they do not know.
    #[default]
    Auto,
    /// None, for an issuer that chokes on it.
    No,
    /// S256.
    #[value(name = "S256")]
    S256,
}

/// Whom to believe over TLS.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Trust")]
pub struct TrustFlags {
    /// File with CA certificates of the issuer, instead of the system's
    #[arg(long, env = "KUBECTL_OIDC_CERTIFICATE_AUTHORITY", value_name = "FILE")]
    pub certificate_authority: Vec<String>,
    /// The same, as base64 of the PEM text
    #[arg(
        long,
        env = "KUBECTL_OIDC_CERTIFICATE_AUTHORITY_DATA",
        value_name = "BASE64",
        value_delimiter = ','
    )]
    pub certificate_authority_data: Vec<String>,
    /// Do not check the issuer's certificate [a security risk]
    #[arg(long, env = "KUBECTL_OIDC_INSECURE_SKIP_TLS_VERIFY")]
    pub insecure_skip_tls_verify: bool,
}

/// How a token is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum GrantType {
    /// A browser; the device code where there is none; a password if --username is given
    #[default]
    Auto,
    /// Authorization code in a browser on this machine
    Authcode,
    /// Authorization code in any browser, typed in here
    AuthcodeKeyboard,
    /// Device code: log in on another device
    DeviceCode,
    /// User name and password (resource owner password credentials)
    Password,
    /// The client's own identity, for machines
    ClientCredentials,
    /// Another token in exchange for one (RFC 8693)
    TokenExchange,
}

/// How to log in.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Login")]
pub struct LoginFlags {
    /// Name of this login, where several people or roles use one issuer and client: each has a token of its own. An e-mail
    /// address is sent to the issuer as a hint
    #[arg(long, env = "KUBECTL_OIDC_ACCOUNT", value_name = "NAME")]
    pub account: Option<String>,
    /// How a token is asked for
    #[arg(
        long,
        env = "KUBECTL_OIDC_GRANT_TYPE",
        value_enum,
        default_value_t,
        value_name = "GRANT"
    )]
    pub grant_type: GrantType,
    /// How the person must log in, the most wanted first: the token's acr must be one of these, else there is a new login
    #[arg(long, env = "KUBECTL_OIDC_ACR", value_name = "ACR", value_delimiter = ',')]
    pub acr: Vec<String>,
    /// The most seconds that may have passed since the person logged in, else there is a new login; 0 is a new one always
    #[arg(
        long,
        env = "KUBECTL_OIDC_MAX_AGE",
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32)
    )]
    pub max_age: Option<u32>,
    /// Addresses to listen on for the browser, tried in order; port 0 is any free port
    #[arg(
        long,
        env = "KUBECTL_OIDC_LISTEN_ADDRESS",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_values = ["127.0.0.1:8000", "127.0.0.1:18000"]
    )]
    pub listen_address: Vec<String>,
    /// Redirect URI to send, if not http://localhost:PORT; its port 0 becomes the listener's. With authcode-keyboard any URI
    #[arg(long, env = "KUBECTL_OIDC_REDIRECT_URL", value_name = "URL")]
    pub oidc_redirect_url: Option<String>,
    /// Host name in the redirect URI [default: localhost]
    #[arg(long, env = "KUBECTL_OIDC_REDIRECT_URL_HOSTNAME", value_name = "HOST")]
    pub oidc_redirect_url_hostname: Option<String>,
    /// Redirect URI of authcode-keyboard, if --oidc-redirect-url gives none
    #[arg(
        long,
        env = "KUBECTL_OIDC_REDIRECT_URL_AUTHCODE_KEYBOARD",
        value_name = "URL",
        default_value = "urn:ietf:wg:oauth:2.0:oob"
    )]
    pub oidc_redirect_url_authcode_keyboard: String,
    /// Start the login at / of the listener (kubekey's way), not at an address nobody can guess
    #[arg(long, env = "KUBECTL_OIDC_START_AT_ROOT")]
    pub start_at_root: bool,
    /// Print the address, open no browser
    #[arg(long, env = "KUBECTL_OIDC_SKIP_OPEN_BROWSER")]
    pub skip_open_browser: bool,
    /// Command that opens the browser; the address is added to it
    #[arg(long, env = "KUBECTL_OIDC_BROWSER_COMMAND", value_name = "COMMAND")]
    pub browser_command: Option<String>,
    /// How long to wait for the person, in seconds
    #[arg(
        long,
        env = "KUBECTL_OIDC_AUTHENTICATION_TIMEOUT_SEC",
        value_name = "SECONDS",
        default_value_t = 180,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    pub authentication_timeout_sec: u64,
    /// Where to send the browser after the login instead of showing a page
    #[arg(long, env = "KUBECTL_OIDC_OPEN_URL_AFTER_AUTHENTICATION", value_name = "URL")]
    pub open_url_after_authentication: Option<String>,
    /// Certificate for an https listener
    #[arg(
        long,
        env = "KUBECTL_OIDC_LOCAL_SERVER_CERT",
        value_name = "FILE",
        requires = "local_server_key"
    )]
    pub local_server_cert: Option<String>,
    /// Private key for an https listener
    #[arg(
        long,
        env = "KUBECTL_OIDC_LOCAL_SERVER_KEY",
        value_name = "FILE",
        requires = "local_server_cert"
    )]
    pub local_server_key: Option<String>,
    /// Folder with the pages for the browser, `html_ok.tmpl` and `html_fail.tmpl`
    #[arg(long, env = "KUBECTL_OIDC_TEMPLATE_DIR", value_name = "DIR")]
    pub template_dir: Option<String>,
    /// User name for the password grant
    #[arg(long, env = "KUBECTL_OIDC_USERNAME", value_name = "NAME")]
    pub username: Option<String>,
    /// Password for the password grant; asked for if absent
    #[arg(long, env = "KUBECTL_OIDC_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// File with a token to present, such as a projected ServiceAccount token: no login
    #[arg(
        long,
        env = "KUBECTL_OIDC_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "token_env"
    )]
    pub token_file: Option<String>,
    /// Name of an environment variable with a token to present, as CI runners set it: no login
    #[arg(long, env = "KUBECTL_OIDC_TOKEN_ENV", value_name = "VARIABLE")]
    pub token_env: Option<String>,
}

/// Where tokens are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// The keyring; a file where there is none
    #[default]
    Auto,
    /// The keyring of the operating system
    Keyring,
    /// A file that only you can read
    #[value(alias = "disk")]
    File,
    /// Nowhere: a login for every command
    None,
}

/// Where to keep the token.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Token store")]
pub struct StoreFlags {
    /// Where to keep the token
    #[arg(
        long,
        env = "KUBECTL_OIDC_TOKEN_STORE",
        visible_alias = "token-cache-storage",
        value_enum,
        default_value_t,
        value_name = "STORE"
    )]
    pub token_store: StoreKind,
    /// Folder of the file store; logins of another folder are kept apart, in a keyring too [default: kubectl-oidc in the user's data folder]
    #[arg(
        long,
        env = "KUBECTL_OIDC_TOKEN_STORE_DIR",
        visible_alias = "token-cache-dir",
        value_name = "DIR"
    )]
    pub token_store_dir: Option<String>,
    /// kubectl's folder of caches, in which kubelogin has a folder of its own
    #[arg(long, env = "KUBECACHEDIR", value_name = "DIR", hide = true)]
    pub kube_cache_dir: Option<String>,
    /// age identity file (from age-keygen) to encrypt the file store with
    #[arg(long, env = "KUBECTL_OIDC_TOKEN_STORE_KEY_FILE", value_name = "FILE")]
    pub token_store_key_file: Option<String>,
    /// Passphrase to encrypt the file store with; better given in its environment variable
    #[arg(
        long,
        env = "KUBECTL_OIDC_TOKEN_STORE_PASSPHRASE",
        hide_env_values = true,
        value_name = "PASSPHRASE",
        conflicts_with = "token_store_key_file"
    )]
    pub token_store_passphrase: Option<String>,
}
