//! The browser's login: Envoy's own oauth2 filter before the portal's.
//!
//! The filter sends who has no session to the issuer (authorization code, PKCE with S256), exchanges the code, and keeps the
//! ID token in a cookie, encrypted and authenticated. It checks nothing of the ID token; kube-authn does, at every request.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    error::RenderError,
    paths::{Watched, text, watched},
};

/// Where the issuer sends the browser back to.
pub const CALLBACK: &str = "/oauth2/callback";
/// Ends the session here; what the issuer remembers stays.
pub const LOGOUT: &str = "/oauth2/logout";
/// The cookie with the ID token. By its prefix browsers take it from this host alone, over TLS, for every path.
pub const COOKIE: &str = "__Host-portal-id";

/// The ways in which a client proves itself that Envoy knows.
const POST: &str = "client_secret_post";

/// What of a discovery document a login needs (OpenID Connect Discovery 1.0, RP-Initiated Logout 1.0).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Endpoints {
    /// Where the browser is sent to.
    pub authorization_endpoint: String,
    /// Where Envoy exchanges the code.
    pub token_endpoint: String,
    /// Where the user ends the login at the issuer.
    #[serde(default)]
    pub end_session_endpoint: Option<String>,
    /// How a client may prove itself.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
}

impl Endpoints {
    /// Whether the secret goes in a header: the standard's default, taken where the body is not named.
    #[must_use]
    pub fn basic(&self) -> bool {
        !self.token_endpoint_auth_methods_supported.iter().any(|method| method == POST)
    }
}

/// What the login is rendered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The URL under which people open the portal, without a path.
    pub url: String,
    /// The client that is registered at the issuer.
    pub client_id: String,
    /// Holds its secret.
    pub client_secret: PathBuf,
    /// Holds what cookies are encrypted and authenticated with.
    pub cookie_secret: PathBuf,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The issuer's URL, which `documents` knows.
    pub issuer: String,
    /// See [`Endpoints`].
    pub endpoints: Endpoints,
    /// The header that lets a request by without a login: that of a believed proxy.
    pub user_header: Option<String>,
}

/// A login as the template has it.
#[derive(Serialize)]
pub(super) struct Context<'a> {
    cluster: String,
    authorization_endpoint: &'a str,
    token_endpoint: &'a str,
    auth_type: &'static str,
    redirect_uri: String,
    callback: &'static str,
    logout: &'static str,
    cookie: &'static str,
    client_id: &'a str,
    scopes: &'a [String],
    user_header: Option<&'a str>,
    secrets: [Secret<'a>; 2],
}

/// A secret that Envoy reads, and reads again when it changes.
#[derive(Serialize)]
pub(super) struct Secret<'a> {
    /// What Envoy calls it.
    pub(super) name: &'static str,
    /// The file that names it.
    resource: String,
    file: Watched<'a>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        login: &'a Login,
        cluster: String,
        directory: &Path,
    ) -> Result<Self, RenderError> {
        let secret = |name, what, path: &'a Path| {
            let resource = directory.join(format!("secret-{name}.yaml"));
            let resource = text("directory", &resource)?.to_owned();
            Ok::<_, RenderError>(Secret { name, resource, file: watched(what, path)? })
        };
        Ok(Self {
            cluster,
            authorization_endpoint: &login.endpoints.authorization_endpoint,
            token_endpoint: &login.endpoints.token_endpoint,
            auth_type: if login.endpoints.basic() { "BASIC_AUTH" } else { "URL_ENCODED_BODY" },
            // The field is a format: a percent sign of the URL stands twice.
            redirect_uri: format!("{}{CALLBACK}", login.url.replace('%', "%%")),
            callback: CALLBACK,
            logout: LOGOUT,
            cookie: COOKIE,
            client_id: &login.client_id,
            scopes: &login.scopes,
            user_header: login.user_header.as_deref(),
            secrets: [
                secret("login-client", "client secret", &login.client_secret)?,
                secret("login-cookie", "cookie secret", &login.cookie_secret)?,
            ],
        })
    }

    pub(super) fn secrets(&self) -> &[Secret<'a>] {
        &self.secrets
    }
}
