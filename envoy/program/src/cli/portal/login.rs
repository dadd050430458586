//! `kube-oidc-gateway portal`: the browser's login, and the plugin that users may have instead of a token.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use gateway_config::{
    Documents, Issuer,
    portal::{Endpoints, Login},
};
use gateway_core::portal::settings::Plugin;

use super::{Error, absolute};
use crate::cli::fetch;

/// Bytes of the cookies' secret: less could be guessed.
const LEAST_SECRET: usize = 32;

/// The browser's login
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Login with a browser")]
pub struct BrowserFlags {
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

impl BrowserFlags {
    /// What is rendered; reads the issuer's discovery document unless flags say what it would.
    pub fn rendered(
        &self,
        documents: Option<&Documents>,
        user_header: Option<String>,
    ) -> Result<Option<Login>, Error> {
        let (Some(client_id), Some(url), Some(client_secret), Some(cookie_secret)) = (
            &self.login_client_id,
            &self.url,
            &self.login_client_secret_file,
            &self.login_cookie_secret_file,
        ) else {
            return Ok(None);
        };
        let documents = needed("--login-client-id", documents)?;
        let url = url.trim_end_matches('/');
        let host = url.strip_prefix("https://").unwrap_or_default();
        if host.is_empty() || host.contains(['/', '?', '#', '@', '%', ' ']) {
            return Err(Error::Usage(format!("--url: {url:?} is not https://HOST[:PORT]")));
        }
        let issuer = self.issuer(documents)?;
        audience(documents, &issuer.url, client_id)?;
        check_secret("--login-client-secret-file", client_secret, 1)?;
        check_secret("--login-cookie-secret-file", cookie_secret, LEAST_SECRET)?;
        let ca = issuer.certificate_authority.as_deref();
        let mut endpoints = match (&self.login_authorization_endpoint, &self.login_token_endpoint) {
            (Some(authorization), Some(token)) => Endpoints {
                authorization_endpoint: authorization.clone(),
                token_endpoint: token.clone(),
                end_session_endpoint: None,
                token_endpoint_auth_methods_supported: vec!["client_secret_post".to_owned()],
            },
            _ => fetch::endpoints(&issuer.url, &issuer.discovery_url, ca)
                .map_err(|error| Error::Usage(format!("--login-issuer: {error}")))?,
        };
        if self.login_end_session_endpoint.is_some() {
            endpoints.end_session_endpoint.clone_from(&self.login_end_session_endpoint);
        }
        Ok(Some(Login {
            url: url.to_owned(),
            client_id: client_id.clone(),
            client_secret: absolute(client_secret)?,
            cookie_secret: absolute(cookie_secret)?,
            scopes: self.login_scope.clone(),
            issuer: issuer.url.clone(),
            endpoints,
            user_header,
        }))
    }

    /// Under which people open the portal.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// What a kubeconfig without a token holds.
    pub fn plugin(&self, documents: Option<&Documents>) -> Result<Option<Plugin>, Error> {
        let Some(client_id) = &self.plugin_client_id else { return Ok(None) };
        let documents = needed("--plugin-client-id", documents)?;
        let issuer = self.issuer(documents)?;
        Ok(Some(Plugin {
            issuer: issuer.url.clone(),
            client_id: client_id.clone(),
            certificate_authority_data: issuer
                .certificate_authority
                .as_ref()
                .map(|pem| STANDARD.encode(pem)),
        }))
    }

    fn issuer<'a>(&self, documents: &'a Documents) -> Result<&'a Issuer, Error> {
        let found = match (&self.login_issuer, documents.issuers()) {
            (Some(url), known) => known.iter().find(|issuer| issuer.url == *url),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        found.ok_or_else(|| {
            Error::Usage("--login-issuer: must be one of --authentication-config's".to_owned())
        })
    }
}

fn needed<'a>(flag: &str, documents: Option<&'a Documents>) -> Result<&'a Documents, Error> {
    documents.ok_or_else(|| Error::Usage(format!("{flag} needs --authentication-config")))
}

/// The portal would refuse the ID tokens of a client that is no audience.
fn audience(documents: &Documents, issuer: &str, client: &str) -> Result<(), Error> {
    let mut issuers = documents.authentication().jwt.iter().map(|jwt| &jwt.issuer);
    let found = issuers.find(|it| it.url == issuer);
    if found.is_some_and(|it| it.audiences.iter().any(|audience| audience == client)) {
        return Ok(());
    }
    let why = format!(
        "--login-client-id: {client:?} is no audience of {issuer:?} in --authentication-config"
    );
    Err(Error::Usage(why))
}

/// Envoy takes the file's bytes as they are.
fn check_secret(flag: &str, path: &Path, least: usize) -> Result<(), Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let why = if bytes.len() < least {
        format!("holds less than {least} bytes")
    } else if bytes.ends_with(b"\n") || bytes.ends_with(b"\r") {
        "ends with a line end, which would be part of the secret: write it with printf %s"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Usage(format!("{flag}: {} {why}", path.display())))
}
