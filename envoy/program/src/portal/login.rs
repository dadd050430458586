//! The browser's login, and the plugin that users may have instead of a token.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway_config::{
    Documents, Issuer,
    portal::{Endpoints, Login, PortalConfiguration, PortalError},
};
use gateway_portal::settings::Plugin;
use tracing::info;

use super::part::{SetupError, whole};
use crate::fetch::{self, FetchError};

/// Bytes of the cookies' secret: less could be guessed.
const LEAST_SECRET: usize = 32;

/// What is rendered; reads the issuer's discovery document unless the configuration says what it would.
pub(super) fn rendered(
    portal: &PortalConfiguration,
    documents: Option<&Documents>,
    user_header: Option<String>,
) -> Result<Option<Login>, SetupError> {
    let (Some(client_id), Some(url), Some(client_secret), Some(cookie_secret)) = (
        &portal.login_client_id,
        &portal.url,
        &portal.login_client_secret_file,
        &portal.login_cookie_secret_file,
    ) else {
        return Ok(None);
    };
    let documents = needed("loginClientId", documents)?;
    let url = url.trim_end_matches('/');
    let host = url.strip_prefix("https://").unwrap_or_default();
    if host.is_empty() || host.contains(['/', '?', '#', '@', '%', ' ']) {
        let why = format!("{url:?} is not https://HOST[:PORT]");
        return Err(PortalError::other("url", why).into());
    }
    let issuer = login_issuer(portal, documents)?;
    audience(documents, &issuer.url, client_id)?;
    check_secret("loginClientSecretFile", client_secret, 1)?;
    check_secret("loginCookieSecretFile", cookie_secret, LEAST_SECRET)?;
    let mut endpoints = match (&portal.login_authorization_endpoint, &portal.login_token_endpoint) {
        (Some(authorization), Some(token)) => Endpoints {
            authorization_endpoint: authorization.clone(),
            token_endpoint: token.clone(),
            end_session_endpoint: None,
            token_endpoint_auth_methods_supported: vec!["client_secret_post".to_owned()],
        },
        _ => discovered(issuer)?,
    };
    if portal.login_end_session_endpoint.is_some() {
        endpoints.end_session_endpoint.clone_from(&portal.login_end_session_endpoint);
    }
    Ok(Some(Login {
        url: url.to_owned(),
        client_id: client_id.clone(),
        client_secret: whole(client_secret)?,
        cookie_secret: whole(cookie_secret)?,
        scopes: portal.login_scope.clone(),
        issuer: issuer.url.clone(),
        endpoints,
        user_header,
    }))
}

/// What the issuer says. There is no Envoy yet to ask by.
fn discovered(issuer: &Issuer) -> Result<Endpoints, FetchError> {
    let (url, ca) = (&issuer.discovery_url, issuer.certificate_authority.as_deref());
    let endpoints = fetch::endpoints(&issuer.url, url, ca)?;
    info!("the portal's login: {url} was asked by the program itself, whose TLS is not Envoy's");
    Ok(endpoints)
}

/// What a kubeconfig without a token holds.
pub(super) fn plugin(
    portal: &PortalConfiguration,
    documents: Option<&Documents>,
) -> Result<Option<Plugin>, SetupError> {
    let Some(client_id) = &portal.plugin_client_id else { return Ok(None) };
    let documents = needed("pluginClientId", documents)?;
    let issuer = login_issuer(portal, documents)?;
    Ok(Some(Plugin {
        issuer: issuer.url.clone(),
        client_id: client_id.clone(),
        scopes: if portal.plugin_scope.is_empty() {
            portal.login_scope.clone()
        } else {
            portal.plugin_scope.clone()
        },
        certificate_authority_data: issuer
            .certificate_authority
            .as_ref()
            .map(|pem| STANDARD.encode(pem)),
    }))
}

fn login_issuer<'a>(
    portal: &PortalConfiguration,
    documents: &'a Documents,
) -> Result<&'a Issuer, PortalError> {
    let found = match (&portal.login_issuer, documents.issuers()) {
        (Some(url), known) => known.iter().find(|issuer| issuer.url == *url),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let why = "must be one of the AuthenticationConfiguration's issuers";
    found.ok_or_else(|| PortalError::other("loginIssuer", why))
}

fn needed<'a>(field: &str, documents: Option<&'a Documents>) -> Result<&'a Documents, PortalError> {
    let why = "needs an AuthenticationConfiguration (--authentication-config)";
    documents.ok_or_else(|| PortalError::other(field, why))
}

/// The portal would refuse the ID tokens of a client that is no audience.
fn audience(documents: &Documents, issuer: &str, client: &str) -> Result<(), PortalError> {
    let mut issuers = documents.authentication().jwt.iter().map(|jwt| &jwt.issuer);
    let found = issuers.find(|it| it.url == issuer);
    if found.is_some_and(|it| it.audiences.iter().any(|audience| audience == client)) {
        return Ok(());
    }
    let why = format!("{client:?} is no audience of {issuer:?} in the AuthenticationConfiguration");
    Err(PortalError::other("loginClientId", why))
}

/// Envoy takes the file's bytes as they are.
fn check_secret(field: &str, path: &Path, least: usize) -> Result<(), SetupError> {
    let failed = |source| SetupError::Read { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(failed)?;
    let why = if bytes.len() < least {
        format!("holds less than {least} bytes")
    } else if bytes.ends_with(b"\n") || bytes.ends_with(b"\r") {
        "ends with a line end, which would be part of the secret: write it with printf %s"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(PortalError::other(field, format!("{} {why}", path.display())).into())
}
