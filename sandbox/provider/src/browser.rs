//! What a person does with a browser, for tests and scripts that have neither: opens an address, fills in the provider's
//! form, and follows where it leads.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent, Body, ResponseExt,
    http::Response,
    tls::{Certificate, RootCerts, TlsConfig},
};
use url::Url;

/// A browser that trusts one certificate authority and keeps no cookies, so that every login asks for the password.
pub struct Browser {
    agent: Agent,
}

/// Where a login ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The address after all redirects.
    pub url: String,
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

/// Why a login came to no page.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// The certificate authority is not PEM.
    #[error("cannot read the certificate authority: {0}")]
    Ca(ureq::Error),
    /// A page could not be fetched.
    #[error("cannot open {url}: {source}")]
    Open {
        /// Its address.
        url: String,
        /// Why.
        source: ureq::Error,
    },
    /// The provider does not know this user or password.
    #[error("the provider refused this user name and password")]
    WrongPassword,
}

impl Browser {
    /// A browser that trusts `ca`, given as PEM.
    pub fn new(ca: &str) -> Result<Self, BrowserError> {
        let ca = Certificate::from_pem(ca.as_bytes()).map_err(BrowserError::Ca)?;
        let roots = RootCerts::Specific(Arc::new(vec![ca]));
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Ok(Self { agent: config.into() })
    }

    /// Opens `url` and, if that leads to a login page of the provider, logs in. The verification page of the device
    /// grant is a login page too, if the address has the user code.
    pub fn sign_in(&self, url: &str, user: &str, password: &str) -> Result<Page, BrowserError> {
        let opened = self.agent.get(url).call();
        let page = Page::read(url, opened)?;
        if !page.asks_for_password() {
            return Ok(page);
        }
        let mut form = vec![("username", user), ("password", password), ("allow", "1")];
        let user_code = page.user_code();
        form.extend(user_code.as_deref().map(|code| ("user_code", code)));
        let sent = self.agent.post(&page.url).send_form(form);
        let after = Page::read(&page.url, sent)?;
        if after.asks_for_password() { Err(BrowserError::WrongPassword) } else { Ok(after) }
    }
}

impl Page {
    fn read(url: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<Self, BrowserError> {
        let open = |source| BrowserError::Open { url: url.to_owned(), source };
        let mut answer = answer.map_err(open)?;
        let url = answer.get_uri().to_string();
        let text = answer.body_mut().read_to_string().map_err(open)?;
        Ok(Self { url, status: answer.status().as_u16(), text })
    }

    fn asks_for_password(&self) -> bool {
        self.text.contains("name=\"password\"")
    }

    fn user_code(&self) -> Option<String> {
        let url = Url::parse(&self.url).ok()?;
        let found = url.query_pairs().find(|(name, _)| name == "user_code");
        found.map(|(_, code)| code.into_owned())
    }
}
