//! Addresses that come from outside, and the one rule for them: what is opened, shown as a link or sent secrets is https.
//!
//! A browser command takes an address among its arguments, and a system's opener takes whatever it knows: a flag, a file, a
//! script, a share of another machine. An address that has passed here begins with `http` and names a host.

use std::fmt;

use url::Url;

use crate::settings::is_loopback;

/// An address that a browser may be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link(Url);

/// Why an address is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} {reason}")]
pub struct AddressError {
    /// The address.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Link {
    /// An address that somebody else names: https, or http on this machine if `plain` allows it.
    ///
    /// `plain` is for issuers that are on this machine themselves. The user information of a URL is refused: it makes one
    /// host look like another.
    pub fn checked(text: &str, plain: bool) -> Result<Self, AddressError> {
        let refused = |reason| AddressError { url: text.to_owned(), reason };
        let url = Url::parse(text).map_err(|_| refused("is not an https URL"))?;
        if !url.has_host() || !(url.scheme() == "https" || plain && is_plain_and_here(&url)) {
            return Err(refused("is not an https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("holds a user name"));
        }
        Ok(Self(url))
    }

    /// An address of our own listener, which the settings name.
    pub fn own(text: &str) -> Result<Self, AddressError> {
        match Url::parse(text) {
            Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => Ok(Self(url)),
            _ => Err(AddressError { url: text.to_owned(), reason: "is not an http or https URL" }),
        }
    }

    /// The address as text; it begins with `http`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same with a query parameter more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.query_pairs_mut().append_pair(name, value);
        self
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_plain_and_here(url: &Url) -> bool {
    url.scheme() == "http" && is_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn break_in_5_only_web_addresses_over_tls_are_opened() {
        for (text, plain, want) in [
            ("https://login.example/device?user_code=A-B", false, true),
            ("HTTPS://login.example", false, true),
            ("http://127.0.0.1:8080/device", true, true),
            ("http://localhost:8080/device", true, true),
            ("http://[::1]/device", true, true),
            ("http://127.0.0.1:8080/device", false, false), // for issuers on this machine alone
            ("http://login.example/device", true, false),
            ("http://127.0.0.1.login.example/device", true, false),
            ("--gpu-launcher=sh", true, false),
            ("-new-tab", true, false),
            ("file:///etc/passwd", true, false),
            ("javascript:alert(1)", true, false),
            ("data:text/html,x", true, false),
            (r"\\share\file", true, false),
            ("//share/file", true, false),
            ("smb://share/file", true, false),
            ("ms-msdt:/id", true, false),
            ("vscode://file/etc", true, false),
            ("https://login.example@evil.example/", true, false),
            ("https://", true, false),
            ("/device", true, false),
            ("", true, false),
        ] {
            let found = Link::checked(text, plain);
            assert_eq!(found.is_ok(), want, "{text} {plain}: {found:?}");
            assert!(found.is_err() || found.unwrap().as_str().starts_with("http"), "{text}");
        }
    }

    #[test]
    fn an_address_of_ours_is_http_too() {
        assert!(Link::own("http://login.example:8000/login/x").is_ok());
        for text in ["file:///x", "-x", "localhost:8000"] {
            assert!(Link::own(text).is_err(), "{text}");
        }
    }
}
