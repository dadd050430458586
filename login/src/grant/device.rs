//! Device code: the person logs in on any device with a browser (RFC 8628).

use super::LoginError;
use crate::browser;
use crate::console::Console;
use crate::issuer::{Issuer, Past};
use crate::oauth::OAuthError;
use crate::settings::Login;
use crate::store::Record;

/// Logs in on another device.
pub fn login(issuer: &Issuer, settings: &Login, console: Console) -> Result<Record, LoginError> {
    let device = issuer.oauth.device_authorization()?;
    let answer = &device.answer;
    let code = answer.user_code().secret();
    let metadata = issuer.oauth.metadata();
    let plain = metadata.link("verification_uri", answer.verification_uri())?;
    let complete = answer
        .verification_uri_complete()
        .map(|uri| metadata.link("verification_uri_complete", uri.secret()))
        .transpose()?;
    console.say(format_args!("Log in at {plain} and enter the code {code}"));
    if let Some(complete) = &complete {
        console.say(format_args!("or at {complete}"));
    }
    let here = browser::is_likely(|name| std::env::var(name).ok())
        || matches!(settings.browser, crate::settings::Browser::Command(_));
    if here && browser::open(&settings.browser, complete.as_ref().unwrap_or(&plain), console) {
        console.trace(|| "a browser is opened there".to_owned());
    }
    let lifetime = answer.expires_in();
    match issuer.oauth.device_token(&device, settings.timeout.min(lifetime)) {
        Err(OAuthError::DeviceTimeout) if settings.timeout < lifetime => {
            Err(LoginError::Impatient { seconds: settings.timeout.as_secs() })
        }
        answer => Ok(issuer.accept(answer?, Past::default())?),
    }
}
