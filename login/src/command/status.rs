//! `status` and `clean`: all logins of this machine.

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{describe::when, error::CommandError, standard::print};
use crate::{
    cli::{OutputFormat, Status, StoreKind},
    console::{Console, json as printed_as_json, printable},
    logins::{self, Login},
    settings::StoreSettings,
    store::{Found, Key, KeyringStore, Store, StoreError, check_folder},
};

/// Lists the stored logins.
pub fn run(flags: &Status) -> Result<(), CommandError> {
    let console = flags.messages.console();
    let settings = StoreSettings::new(&flags.store)?;
    let logins = all(&settings)?;
    let mut rows = Vec::new();
    for login in &logins {
        rows.push((login, look(login, &settings, console)));
    }
    match flags.output {
        OutputFormat::Json => {
            let rows = rows.iter().map(|(login, state)| document(login, state)).collect();
            print(&printed_as_json(&Value::Array(rows)))
        }
        OutputFormat::Text if rows.is_empty() => {
            console.say("No logins are stored.");
            Ok(())
        }
        OutputFormat::Text => {
            for (login, state) in rows {
                let account = login.account.as_ref().map(|name| format!("{name}  "));
                let line = format!(
                    "{}  {}  {}{}  {}",
                    login.issuer,
                    login.client_id,
                    account.unwrap_or_default(),
                    login.store,
                    state.text()
                );
                print(&printable(&line))?;
            }
            Ok(())
        }
    }
}

/// Forgets all stored logins.
pub fn clean(flags: &Status) -> Result<(), CommandError> {
    let console = flags.messages.console();
    let settings = StoreSettings::new(&flags.store)?;
    let mut failed = None;
    let logins = all(&settings)?;
    if logins.is_empty() {
        console.say("No logins are stored.");
    }
    for login in logins {
        match open(&login, &settings, console).and_then(|store| Ok(store.delete(&login.key())?)) {
            Ok(_) => {
                logins::forget(&settings, &login);
                console.say(format_args!("{} of {} is forgotten.", login.client_id, login.issuer));
            }
            Err(error) => {
                console.say(format_args!("{} of {}: {error}", login.client_id, login.issuer));
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// How a stored login stands.
enum State {
    Valid { expiry: chrono::DateTime<Utc>, refreshable: bool },
    Gone,
    Unreadable(String),
}

impl State {
    fn text(&self) -> String {
        match self {
            Self::Valid { expiry, refreshable } => {
                let now = Utc::now();
                let how = match (*expiry > now, refreshable) {
                    (true, _) => "valid until",
                    (false, true) => "to be refreshed, expired",
                    (false, false) => "expired",
                };
                format!("{how} {}", when(*expiry, now))
            }
            Self::Gone => "no longer stored".to_owned(),
            Self::Unreadable(reason) => format!("not readable: {reason}"),
        }
    }
}

fn look(login: &Login, settings: &StoreSettings, console: Console) -> State {
    let found = open(login, settings, console).and_then(|store| Ok(store.load(&login.key())?));
    match found {
        Ok(Found::Record(record)) => match record.expiry() {
            Some(expiry) => State::Valid { expiry, refreshable: record.refresh_token.is_some() },
            None => State::Gone,
        },
        Ok(Found::Nothing) => State::Gone,
        Ok(Found::Corrupt(reason)) => State::Unreadable(reason),
        Err(error) => State::Unreadable(error.to_string()),
    }
}

/// All logins of this user of the machine: those of the list, and what else the keyring has of ours.
fn all(settings: &StoreSettings) -> Result<Vec<Login>, CommandError> {
    settings.folders().try_for_each(check_folder).map_err(StoreError::from)?;
    let mut logins = logins::list(settings);
    if matches!(settings.kind, StoreKind::Auto | StoreKind::Keyring)
        && let Ok(keyring) = KeyringStore::open()
    {
        let known = |key: &Key| {
            logins.iter().any(|login| login.store == logins::KEYRING && login.key() == *key)
        };
        let more: Vec<_> = keyring.keys().into_iter().filter(|key| !known(key)).collect();
        logins.extend(more.iter().map(Login::in_keyring));
        logins.sort();
    }
    Ok(logins)
}

/// The store that a login of the list is in.
pub(super) fn open(
    login: &Login,
    settings: &StoreSettings,
    console: Console,
) -> Result<Store, CommandError> {
    let kind = if login.store == logins::KEYRING { StoreKind::Keyring } else { StoreKind::File };
    let dir = login.folder.clone().unwrap_or_else(|| settings.dir.clone());
    Ok(Store::open(&StoreSettings { kind, dir, ..settings.clone() }, console)?)
}

fn document(login: &Login, state: &State) -> Value {
    let mut document = json!({
        "issuer": login.issuer,
        "clientId": login.client_id,
        "store": login.store,
    });
    if let Some(account) = &login.account {
        document["account"] = json!(account);
    }
    match state {
        State::Valid { expiry, refreshable } => {
            document["expirationTimestamp"] =
                json!(expiry.to_rfc3339_opts(SecondsFormat::Secs, true));
            document["refreshable"] = json!(refreshable);
        }
        State::Gone => document["error"] = json!("no longer stored"),
        State::Unreadable(reason) => document["error"] = json!(reason),
    }
    document
}
