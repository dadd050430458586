//! What a person does with a browser, for tests and scripts that have neither: opens an address, fills in the provider's
//! form, and follows where it leads.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, header},
    tls::{Certificate, RootCerts, TlsConfig},
};
use url::Url;

/// More redirects than any login has.
const REDIRECTS: usize = 20;

/// A browser that trusts one certificate authority and keeps cookies for one login only, so that every login asks for the
/// password.
pub struct Browser {
    agent: Agent,
    cookies: Cookies,
}

/// Cookies by host, for all of its ports and paths.
#[derive(Clone, Debug, Default)]
struct Cookies(Vec<(String, String, String)>);

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
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Ok(Self { agent: config.into(), cookies: Cookies::default() })
    }

    /// The same browser with a cookie (`name=value`, attributes are ignored) that it had from this host before.
    #[must_use]
    pub fn with_cookie(mut self, host: &str, cookie: &str) -> Self {
        self.cookies.set(host, cookie);
        self
    }

    /// Opens `url` and, if that leads to a login page of the provider, logs in. The verification page of the device
    /// grant is a login page too, if the address has the user code.
    pub fn sign_in(&self, url: &str, user: &str, password: &str) -> Result<Page, BrowserError> {
        let mut cookies = self.cookies.clone();
        let page = self.open(&mut cookies, url, None)?;
        if !page.asks_for_password() {
            return Ok(page);
        }
        let mut form = vec![("username", user), ("password", password), ("allow", "1")];
        let user_code = page.user_code();
        form.extend(user_code.as_deref().map(|code| ("user_code", code)));
        let after = self.open(&mut cookies, &page.url, Some(form))?;
        if after.asks_for_password() { Err(BrowserError::WrongPassword) } else { Ok(after) }
    }

    /// Opens an address or sends a form to it, and follows redirects as browsers do.
    fn open(
        &self,
        cookies: &mut Cookies,
        url: &str,
        mut form: Option<Vec<(&str, &str)>>,
    ) -> Result<Page, BrowserError> {
        let mut at = url.to_owned();
        for _ in 0..REDIRECTS {
            let open = |source| BrowserError::Open { url: at.clone(), source };
            let parsed = Url::parse(&at);
            let host = parsed.as_ref().ok().and_then(Url::host_str).unwrap_or_default().to_owned();
            let cookie = cookies.of(&host);
            let sent = match form.take() {
                Some(form) => self.agent.post(&at).header(header::COOKIE, cookie).send_form(form),
                None => self.agent.get(&at).header(header::COOKIE, cookie).call(),
            };
            let mut answer: Response<Body> = sent.map_err(open)?;
            cookies.keep(&host, answer.headers());
            let location = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            let next = location.zip(parsed.ok()).and_then(|(to, from)| from.join(to).ok());
            if let Some(next) = next.filter(|_| answer.status().is_redirection()) {
                at = next.into();
                continue;
            }
            let text = answer.body_mut().read_to_string().map_err(open)?;
            return Ok(Page { url: at, status: answer.status().as_u16(), text });
        }
        Err(BrowserError::Open { url: at, source: ureq::Error::TooManyRedirects })
    }
}

impl Cookies {
    fn set(&mut self, host: &str, cookie: &str) {
        let pair = cookie.split(';').next().unwrap_or_default();
        let (name, value) = pair.trim().split_once('=').unwrap_or_default();
        self.0.retain(|(known, old, _)| known != host || old != name);
        self.0.push((host.to_owned(), name.to_owned(), value.to_owned()));
    }

    fn keep(&mut self, host: &str, answer: &HeaderMap) {
        for cookie in answer.get_all(header::SET_COOKIE) {
            self.set(host, cookie.to_str().unwrap_or_default());
        }
    }

    fn of(&self, host: &str) -> String {
        let own = self.0.iter().filter(|(known, ..)| known == host);
        own.map(|(_, name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

impl Page {
    fn asks_for_password(&self) -> bool {
        self.text.contains("name=\"password\"")
    }

    fn user_code(&self) -> Option<String> {
        let url = Url::parse(&self.url).ok()?;
        let found = url.query_pairs().find(|(name, _)| name == "user_code");
        found.map(|(_, code)| code.into_owned())
    }
}
