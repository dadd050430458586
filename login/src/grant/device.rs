//! Device code: the person logs in on any device with a browser (RFC 8628).

use super::{Ask, LoginError};
use crate::{
    address::Link,
    browser,
    issuer::{Issuer, Past},
    oauth::{DeviceAuthorization, OAuthError},
    settings::{Browser, Login},
    store::Record,
};

/// A code that waits for the person.
pub struct Code {
    device: DeviceAuthorization,
    plain: Link,
    complete: Option<Link>,
}

impl Code {
    /// Tells the person.
    pub fn say(&self, ask: &Ask<'_>) {
        let (plain, code) = (&self.plain, self.device.answer.user_code().secret());
        ask.console.say(format_args!("Log in at {plain} and enter the code {code}"));
        if let Some(complete) = &self.complete {
            ask.console.say(format_args!("or at {complete}"));
        }
        ask.announce(&format!("{plain} with the code {code}"));
    }
}

/// Logs in on another device.
pub fn login(ask: &Ask<'_>) -> Result<Record, LoginError> {
    let code = begin(ask)?;
    code.say(ask);
    let here = browser::is_likely(|name| std::env::var(name).ok())
        || matches!(ask.settings.browser, Browser::Command(_));
    let link = code.complete.as_ref().unwrap_or(&code.plain);
    if here && browser::open(&ask.settings.browser, link, ask.console) {
        ask.console.trace(|| "a browser is opened there".to_owned());
    }
    finish(ask, &code)
}

/// Asks for a code.
pub fn begin(ask: &Ask<'_>) -> Result<Code, LoginError> {
    let device = ask.issuer.oauth.device_authorization()?;
    let answer = &device.answer;
    let metadata = ask.issuer.oauth.metadata();
    let plain = metadata.link("verification_uri", answer.verification_uri())?;
    let complete = answer
        .verification_uri_complete()
        .map(|uri| metadata.link("verification_uri_complete", uri.secret()))
        .transpose()?;
    Ok(Code { device, plain, complete })
}

/// Waits for the person.
pub fn finish(ask: &Ask<'_>, code: &Code) -> Result<Record, LoginError> {
    wait(ask.issuer, ask.settings, code)
}

/// The same, for a thread of its own.
pub fn wait(issuer: &Issuer, settings: &Login, code: &Code) -> Result<Record, LoginError> {
    let lifetime = code.device.answer.expires_in();
    match issuer.oauth.device_token(&code.device, settings.timeout.min(lifetime)) {
        Err(OAuthError::DeviceTimeout) if settings.timeout < lifetime => {
            Err(LoginError::Impatient { seconds: settings.timeout.as_secs() })
        }
        answer => Ok(issuer.accept(answer?, Past::default())?),
    }
}
