//! Where tokens are kept between two calls: the keyring of the operating system, else a file, else nowhere.

mod crypt;
mod file;
mod folder;
mod keyring;
mod parts;
mod record;
mod silence;

use std::{cell::Cell, path::PathBuf};

use self::silence::Silence;
use crate::{
    cli::StoreKind,
    console::{Console, plain},
    settings::{Account, Client, Encryption, Grant, Settings, StoreSettings},
};

pub use crypt::CryptError;
pub use file::FileStore;
pub use folder::{FolderError, check as check_folder};
pub use keyring::{KeyringError, KeyringStore};
pub use parts::{Entries, PART_SIZE};
pub use record::{Key, Record};

/// Why a store does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The keyring.
    #[error("{0}; --token-store=file keeps tokens in a file")]
    Keyring(#[from] KeyringError),
    /// The folder.
    #[error("the token store cannot be used: {0}")]
    Folder(#[from] FolderError),
    /// A file.
    #[error("the token store {} cannot be used: {}; --token-store-dir names another folder", path.display(), plain(error))]
    File {
        /// File or folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The encryption of a file.
    #[error("the token store {} cannot be used: {error}", path.display())]
    Crypt {
        /// The file.
        path: PathBuf,
        /// Why.
        error: CryptError,
    },
}

/// What a store holds for a key.
#[derive(Debug)]
pub enum Found {
    /// A record.
    Record(Box<Record>),
    /// Nothing.
    Nothing,
    /// Something that is no record of this key. It counts as nothing and is replaced by the next login.
    Corrupt(String),
}

impl Found {
    fn read(bytes: Option<Vec<u8>>, key: &Key) -> Self {
        match bytes.map(|bytes| Record::parse(&bytes, key)) {
            None => Self::Nothing,
            Some(Ok(record)) => Self::Record(Box::new(record)),
            Some(Err(reason)) => Self::Corrupt(reason),
        }
    }

    /// The one of more use.
    fn or(self, other: Self) -> Self {
        let expiry = |found: &Self| match found {
            Self::Record(record) => record.expiry(),
            Self::Nothing | Self::Corrupt(_) => None,
        };
        match (&self, &other) {
            (Self::Nothing, _) => other,
            (_, Self::Record(_)) if expiry(&other) > expiry(&self) => other,
            _ => self,
        }
    }
}

/// Where a record went.
#[derive(Debug, PartialEq, Eq)]
pub enum Saved {
    /// The settings want none kept.
    Nowhere,
    /// Into the store that the settings choose, `keyring` or `file`.
    Chosen(&'static str),
    /// Elsewhere, for want of a keyring.
    Instead {
        /// `file`
        kind: &'static str,
        /// What to call the place.
        place: String,
        /// Why not where it should be.
        reason: String,
    },
}

/// A place for records: a keyring, a file, both in this order, or none.
#[derive(Debug)]
pub struct Store {
    keyring: Option<KeyringStore>,
    file: Option<FileStore>,
    /// Why the keyring that should be there is not.
    without_keyring: Option<String>,
    silence: Silence,
    /// The keyring is left alone, since it does not answer.
    is_silent: Cell<bool>,
    console: Console,
}

impl Store {
    /// Opens the store that the settings choose.
    ///
    /// With `auto`, a machine without a keyring gets the file store, and so does one whose keyring does not answer, for some
    /// minutes. A keyring that is there but locked does not: what the person locked does not go into a file behind their back.
    pub fn open(settings: &StoreSettings, console: Console) -> Result<Self, StoreError> {
        // Locks and the list of logins lie there even if tokens do not.
        if settings.kind != StoreKind::None {
            settings.folders().try_for_each(folder::check)?;
        }
        let file = || Some(FileStore::new(settings));
        let with = |keyring, file, without_keyring| Self {
            keyring,
            file,
            without_keyring,
            silence: Silence::new(&settings.user_dir),
            is_silent: Cell::new(false),
            console,
        };
        let only = |keyring, file| with(keyring, file, None);
        Ok(match settings.kind {
            StoreKind::None => only(None, None),
            StoreKind::File => only(None, file()),
            StoreKind::Keyring => {
                let store = KeyringStore::open();
                if let Err(error) = &store {
                    console.trace(|| format!("{error:?}"));
                }
                only(Some(store?), None)
            }
            // Whoever gives a key or a passphrase means the file.
            StoreKind::Auto if !matches!(settings.encryption, Encryption::None) => {
                only(None, file())
            }
            StoreKind::Auto if Silence::new(&settings.user_dir).is_remembered() => {
                let store = only(None, file());
                store.is_silent.set(true);
                store
            }
            StoreKind::Auto => match KeyringStore::open() {
                Ok(store) => only(Some(store), file()),
                Err(error @ KeyringError::Silent(_)) => {
                    let store = only(None, file());
                    store.leave_alone(&error);
                    store
                }
                Err(error) => {
                    console.trace(|| format!("{error:?}"));
                    with(None, file(), Some(error.to_string()))
                }
            },
        })
    }

    /// The keyring, unless it is left alone.
    fn keyring(&self) -> Option<&KeyringStore> {
        self.keyring.as_ref().filter(|_| !self.is_silent.get())
    }

    /// Does without the keyring for some minutes, and says so.
    fn leave_alone(&self, error: &KeyringError) {
        self.is_silent.set(true);
        self.silence.remember();
        let place = self.file.as_ref().map(FileStore::describe).unwrap_or_default();
        self.console.say(format_args!(
            "For {} minutes tokens are kept in {place}: {error}. With --token-store=file they always are.",
            silence::MINUTES
        ));
    }

    /// Looks a record up.
    ///
    /// Where both have one, a time in which the keyring did not answer left the file's: the one that lasts longer counts.
    pub fn load(&self, key: &Key) -> Result<Found, StoreError> {
        let in_keyring = match self.keyring().map(|store| store.load(key)) {
            None => None,
            Some(Ok(bytes)) => bytes,
            // A keyring without a place for us (WSL has none) leaves the file, if there may be one.
            Some(Err(KeyringError::Failed(_))) if self.file.is_some() => None,
            Some(Err(error @ KeyringError::Silent(_))) if self.file.is_some() => {
                self.leave_alone(&error);
                None
            }
            Some(Err(error)) => return Err(error.into()),
        };
        let in_keyring = Found::read(in_keyring, key);
        let Some(store) = &self.file else { return Ok(in_keyring) };
        Ok(match (in_keyring, store.load(key)) {
            // What the file has is of no use where the keyring has something.
            (found @ Found::Record(_), Err(_)) => found,
            (found, in_file) => found.or(Found::read(in_file?, key)),
        })
    }

    /// Keeps a record, in place of the former one.
    pub fn save(&self, key: &Key, record: &Record) -> Result<Saved, StoreError> {
        let bytes = record.to_bytes();
        let mut reason = self.without_keyring.clone();
        if let Some(store) = self.keyring() {
            match (store.save(key, &bytes), &self.file) {
                (Ok(()), file) => {
                    // What a time without a keyring left must not outlive it.
                    if let Some(file) = file {
                        file.delete(key)?;
                    }
                    return Ok(Saved::Chosen("keyring"));
                }
                (Err(error @ KeyringError::Failed(_)), Some(_)) => {
                    self.console.trace(|| format!("{error:?}"));
                    reason = Some(error.to_string());
                }
                (Err(error @ KeyringError::Silent(_)), Some(_)) => self.leave_alone(&error),
                (Err(error), _) => return Err(error.into()),
            }
        }
        let Some(store) = &self.file else { return Ok(Saved::Nowhere) };
        store.save(key, &bytes)?;
        Ok(match reason {
            None => Saved::Chosen("file"),
            Some(reason) => Saved::Instead { kind: "file", place: store.describe(), reason },
        })
    }

    /// Forgets a record. `false` if there was none.
    pub fn delete(&self, key: &Key) -> Result<bool, StoreError> {
        // One that is left alone may hold it all the same: it must not be said to be forgotten.
        let left_alone = (self.is_silent.get() && self.keyring.is_none()).then(KeyringStore::open);
        let left_alone = left_alone.transpose()?;
        let keyring = self.keyring.as_ref().or(left_alone.as_ref());
        let in_keyring = match keyring.map(|store| store.delete(key)) {
            None => false,
            Some(Ok(found)) => found,
            Some(Err(KeyringError::Failed(_))) if self.file.is_some() => false,
            Some(Err(error)) => return Err(error.into()),
        };
        let in_file = self.file.as_ref().map(|store| store.delete(key)).transpose()?;
        Ok(in_keyring || in_file.unwrap_or(false))
    }

    /// Takes over what an earlier version kept under `old` in this folder, which was this account's alone. Where a keyring
    /// kept it, it may have been anybody's.
    pub fn take_over(&self, old: &Key, key: &Key) -> Result<Option<Record>, StoreError> {
        let Some(file) = &self.file else { return Ok(None) };
        let Some(bytes) = file.load(old)? else { return Ok(None) };
        let Ok(record) = Record::parse(&bytes, old) else { return Ok(None) };
        file.save(key, &bytes)?;
        file.delete(old)?;
        Ok(Some(record))
    }

    /// What to call the place where the record of this key is, or would be.
    #[must_use]
    pub fn place(&self, key: &Key) -> String {
        let in_file =
            || self.file.as_ref().is_some_and(|store| matches!(store.load(key), Ok(Some(_))));
        match (self.keyring(), &self.file) {
            (Some(_), Some(store)) if in_file() => store.describe(),
            (Some(_), _) => keyring::NAME.to_owned(),
            (None, Some(store)) => store.describe(),
            (None, None) => "nowhere".to_owned(),
        }
    }
}

/// The key under which the login of these settings is kept: everything that makes the issuer give another token, and whose it
/// is.
#[must_use]
pub fn key(settings: &Settings) -> Key {
    let mut details = details(settings);
    match &settings.store.account {
        Account::Only => {}
        Account::Named(name) => details.push(format!("account={name}")),
        Account::Folder(folder) => details.push(format!("folder={}", folder.display())),
    }
    Key::new(&settings.client.issuer, &settings.client.id, &details)
}

/// The key of the same login before folders told logins apart, if this one is told apart by its folder.
#[must_use]
pub fn former_key(settings: &Settings) -> Option<Key> {
    let Client { issuer, id, .. } = &settings.client;
    matches!(settings.store.account, Account::Folder(_))
        .then(|| Key::new(issuer, id, &details(settings)))
}

fn details(settings: &Settings) -> Vec<String> {
    let Client { scopes, extra_params, headers, use_access_token, .. } = &settings.client;
    let mut details: Vec<String> = vec![format!("scopes={}", sorted(scopes))];
    // Of all this a digest is kept.
    details.extend(headers.iter().map(|(name, value)| {
        format!("header={name}={}", String::from_utf8_lossy(value.as_bytes()))
    }));
    details.extend(extra_params.iter().map(|(name, value)| format!("param={name}={value}")));
    if *use_access_token {
        details.push("access token".to_owned());
    }
    match &settings.login.grant {
        // However a person logs in, the token is the same.
        Grant::BrowserOrDevice | Grant::AuthorizationCode | Grant::Keyboard | Grant::DeviceCode => {
        }
        Grant::Password { username, .. } => {
            details.push(format!("password={}", username.as_deref().unwrap_or_default()));
        }
        Grant::ClientCredentials => details.push("client credentials".to_owned()),
        Grant::TokenExchange(exchange) => details.push(format!("exchange {exchange:?}")),
        Grant::Ready(source) => details.push(format!("{source:?}")),
    }
    details
}

fn sorted(scopes: &[String]) -> String {
    let mut scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    scopes.sort_unstable();
    scopes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    #[test]
    fn what_changes_the_token_changes_the_key() {
        let base = ["--oidc-issuer-url=https://i.example", "--oidc-client-id=c"];
        let key_of = |flags: &[&str]| key(&settings(&[&base, flags].concat()).unwrap());
        let plain = key_of(&[]);
        for same in [
            &["--oidc-extra-scope=openid"][..],
            &["--grant-type=device-code"],
            &["--skip-open-browser", "--listen-address=127.0.0.1:1"],
            &["--oidc-client-secret=s"],
        ] {
            assert_eq!(key_of(same), plain, "{same:?}");
        }
        let mut keys = vec![plain];
        for other in [
            &["--oidc-extra-scope=email"][..],
            &["--oidc-use-access-token"],
            &["--oidc-auth-request-extra-params=a=b"],
            &["--oidc-auth-request-extra-params=hd=b.example"],
            &["--username=a"],
            &["--username=b"],
            &["--grant-type=client-credentials"],
            &["--token-env=X"],
            &["--oidc-client-id=d"],
            &["--oidc-issuer-url=https://j.example"],
            &["--account=a"],
            &["--account=b"],
            &["--account=b", "--username=a"],
            &["--token-cache-dir=/a"],
            &["--token-cache-dir=/b"],
            &["--kube-cache-dir=/c"],
            &["--oidc-request-header=X-Tenant=a"],
            &["--oidc-request-header=X-Tenant=b"],
        ] {
            let found = key_of(other);
            assert!(!keys.contains(&found), "{other:?}");
            keys.push(found);
        }
        // A name tells more than a folder, and the folder's spelling tells nothing.
        assert_eq!(key_of(&["--account=a", "--token-store-dir=/a"]), key_of(&["--account=a"]));
        assert_eq!(key_of(&["--token-store-dir=/a/"]), key_of(&["--token-store-dir=/a"]));
        assert_eq!(key_of(&["--account= "]), key_of(&[]));
        assert_eq!(key_of(&["--oidc-extra-scope=a b"]), key_of(&["--oidc-extra-scope=b,a"]));
    }
}
