//! Single values: URLs, paths, lists of words.

use url::{Host, Url};

use super::SettingsError;

/// The issuer must be reached over TLS, except on this machine: whoever sits between could hand out keys of their own.
pub(super) fn checked_issuer(issuer: String) -> Result<String, SettingsError> {
    let invalid = |reason: String| SettingsError::Invalid {
        flag: "--oidc-issuer-url",
        value: issuer.clone(),
        reason,
    };
    let url = Url::parse(&issuer).map_err(|error| invalid(no_url(&issuer, error)))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(invalid("an issuer's URL begins with https://".to_owned())),
        // `login.example:8443` is an address with the scheme `login.example`.
        _ => return Err(invalid(no_url(&issuer, url::ParseError::RelativeUrlWithoutBase))),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("an issuer's URL has no query and no fragment".to_owned()));
    }
    Ok(issuer)
}

/// Why a text is no URL, in words.
fn no_url(text: &str, error: url::ParseError) -> String {
    match error {
        url::ParseError::RelativeUrlWithoutBase => {
            format!("it has no scheme; write https://{text}")
        }
        url::ParseError::EmptyHost => "it names no host".to_owned(),
        url::ParseError::InvalidPort => "its port is no number up to 65535".to_owned(),
        url::ParseError::InvalidIpv4Address | url::ParseError::InvalidIpv6Address => {
            "its host is no address".to_owned()
        }
        _ => "its host has characters that no host's name has".to_owned(),
    }
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
pub(super) fn scopes(given: &[String]) -> Vec<String> {
    let mut scopes = vec!["openid".to_owned()];
    for scope in given.iter().flat_map(|value| value.split([' ', '\t', ','])) {
        // Go's lists are CSV, and so a scope may stand in quotation marks, which no scope holds (RFC 6749, section 3.3).
        let scope = scope.trim_matches('"');
        if !scope.is_empty() && !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

/// An http or https URL with a host.
pub(super) fn parse_url(flag: &'static str, text: &str) -> Result<Url, SettingsError> {
    let invalid = |reason: String| SettingsError::Invalid { flag, value: text.to_owned(), reason };
    let url = Url::parse(text).map_err(|error| invalid(no_url(text, error)))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("it must be an http or https URL".to_owned()));
    }
    Ok(url)
}

/// Any URI, unchanged: issuers compare redirect URIs byte for byte.
pub(super) fn uri(flag: &'static str, text: &str) -> Result<String, SettingsError> {
    match Url::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(SettingsError::Invalid {
            flag,
            value: text.to_owned(),
            reason: no_url(text, error),
        }),
    }
}

/// The words of a command line, as a shell splits them.
pub(super) fn words(flag: &'static str, text: &str) -> Result<Vec<String>, SettingsError> {
    shlex::split(text).filter(|words| !words.is_empty()).ok_or_else(|| SettingsError::Invalid {
        flag,
        value: text.to_owned(),
        reason: "a quotation mark is not closed".to_owned(),
    })
}

/// An empty value counts as absent: kubeconfigs and CI files pass variables that may be unset.
pub(super) fn text_of(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
