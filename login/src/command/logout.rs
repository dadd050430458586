//! `logout`: the refresh token is revoked, the stored login forgotten, the browser's session ended.

use super::{error::CommandError, status, target::Target};
use crate::{
    browser,
    cli::Logout,
    console::Console,
    issuer::Issuer,
    logins,
    session::Session,
    settings::{Browser, Grant, Settings, StoreSettings},
    store::{Key, Store},
};

/// Ends a login.
pub fn run(flags: &Logout) -> Result<(), CommandError> {
    let console = flags.connect.messages.console();
    let target = Target::find(&flags.connect, &flags.kubeconfig)?;
    let settings = &target.settings;
    if matches!(settings.login.grant, Grant::Ready(_)) {
        return Err(CommandError::Other(
            "this login is a token from elsewhere; there is nothing to log out of (--token-file, --token-env)".to_owned(),
        ));
    }
    let session = Session::new(settings, console);
    let record = session.stored()?;
    // Forgotten first: an issuer that cannot be reached must not keep a token on this machine.
    let found = forget(&settings.store, session.key(), console)?;
    let whose = format!("client {:?} at {}", settings.client.id, settings.client.issuer);
    if found {
        console.say(format_args!("The login of {whose} is forgotten."));
    } else {
        console.say(format_args!("There was no stored login of {whose}."));
    }
    if flags.local {
        return Ok(());
    }
    let issuer = Issuer::connect(settings, session.key(), console)?;
    if let Some(token) = record.and_then(|record| record.refresh_token) {
        console.say(match issuer.oauth.revoke(&token) {
            Ok(true) => "The refresh token is revoked.".to_owned(),
            Ok(false) => {
                "The issuer offers no revocation; the refresh token expires by itself.".to_owned()
            }
            Err(error) => format!("The refresh token could not be revoked: {error}"),
        });
    }
    end_session(&issuer, settings, console);
    Ok(())
}

/// Forgets a login wherever it is. `false` if it was nowhere.
fn forget(settings: &StoreSettings, key: &Key, console: Console) -> Result<bool, CommandError> {
    let mut found = Store::open(settings, console)?.delete(key)?;
    for login in logins::list(settings).iter().filter(|login| login.key() == *key) {
        found |= status::open(login, settings, console)?.delete(key)?;
        logins::forget(settings, login);
    }
    Ok(found)
}

/// Opens the issuer's end-session page (OpenID Connect RP-Initiated Logout 1.0). The ID token, which could go along as a hint,
/// does not: the address stands in the browser's history and in the list of processes.
fn end_session(issuer: &Issuer, settings: &Settings, console: Console) {
    let Ok(link) = issuer.oauth.metadata().end_session_endpoint() else { return };
    let url = link.with("client_id", &settings.client.id);
    let likely = browser::is_likely(|name| std::env::var(name).ok());
    let here = likely || matches!(settings.login.browser, Browser::Command(_));
    if here && browser::open(&settings.login.browser, &url, console) {
        console.say(format_args!("The browser ends the session at the issuer: {url}"));
    } else {
        console.say(format_args!("To end the session in your browser too, go to {url}"));
    }
}
