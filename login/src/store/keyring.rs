//! The keyring of the operating system: Secret Service on Linux (GNOME Keyring, KDE Wallet and others), macOS Keychain,
//! Windows Credential Manager.

use std::collections::HashMap;
use std::sync::Arc;

use keyring_core::{CredentialStore, Error};

use super::Key;
use super::parts::{self, Entries, PART_SIZE};

/// Service name of our entries.
const SERVICE: &str = "kubectl-oidc";

/// What to call the keyring in a message.
pub const NAME: &str = if cfg!(target_os = "macos") {
    "the login keychain"
} else if cfg!(windows) {
    "Windows Credential Manager"
} else {
    "the keyring (Secret Service)"
};

/// Why the keyring does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is none on this machine, or in this session.
    #[error("there is no keyring here ({0})")]
    Absent(String),
    /// It is locked, and the person or the system did not unlock it.
    #[error("the keyring is locked ({0})")]
    Locked(String),
    /// It failed otherwise.
    #[error("the keyring failed: {0}")]
    Failed(String),
}

/// An open keyring.
pub struct KeyringStore {
    store: Arc<CredentialStore>,
}

impl std::fmt::Debug for KeyringStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyringStore")
    }
}

impl KeyringStore {
    /// Connects to the keyring.
    pub fn open() -> Result<Self, KeyringError> {
        connect().map(|store| Self { store }).map_err(|error| KeyringError::Absent(reason(&error)))
    }

    /// Reads the bytes of a record.
    pub fn load(&self, key: &Key) -> Result<Option<Vec<u8>>, KeyringError> {
        parts::load(self, &key.user())
    }

    /// Writes the bytes of a record.
    pub fn save(&self, key: &Key, bytes: &[u8]) -> Result<(), KeyringError> {
        parts::save(self, &key.user(), bytes, PART_SIZE)
    }

    /// Removes a record; `false` if there was none.
    pub fn delete(&self, key: &Key) -> Result<bool, KeyringError> {
        parts::delete(self, &key.user())
    }

    /// The keys of all our entries, where the keyring can be searched; elsewhere the list of logins has to do.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        if !cfg!(any(target_os = "linux", target_os = "freebsd")) {
            return Vec::new();
        }
        let found = self.store.search(&HashMap::from([("service", SERVICE)])).unwrap_or_default();
        found
            .iter()
            .filter_map(|entry| entry.get_attributes().ok()?.remove("username"))
            .filter_map(|user| Key::from_user(&user))
            .collect()
    }

    fn entry(&self, name: &str) -> Result<keyring_core::Entry, KeyringError> {
        self.store.build(SERVICE, name, None).map_err(|error| explain(&error))
    }
}

impl Entries for KeyringStore {
    type Error = KeyringError;

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, KeyringError> {
        match self.entry(name)?.get_secret() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NoEntry) => Ok(None),
            // Two entries of one name: some other program's doing. None of them is believed.
            Err(Error::Ambiguous(entries)) => {
                for entry in entries {
                    entry.delete_credential().map_err(|error| explain(&error))?;
                }
                Ok(None)
            }
            Err(error) => Err(explain(&error)),
        }
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<(), KeyringError> {
        self.entry(name)?.set_secret(value).map_err(|error| explain(&error))
    }

    fn remove(&self, name: &str) -> Result<bool, KeyringError> {
        match self.entry(name)?.delete_credential() {
            Ok(()) => Ok(true),
            Err(Error::NoEntry) => Ok(false),
            Err(error) => Err(explain(&error)),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn connect() -> Result<Arc<CredentialStore>, Error> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

#[cfg(target_os = "macos")]
fn connect() -> Result<Arc<CredentialStore>, Error> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

#[cfg(windows)]
fn connect() -> Result<Arc<CredentialStore>, Error> {
    Ok(windows_native_keyring_store::Store::new()?)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "macos", windows)))]
fn connect() -> Result<Arc<CredentialStore>, Error> {
    Err(Error::NotSupportedByStore("this operating system".to_owned()))
}

fn explain(error: &Error) -> KeyringError {
    match error {
        Error::NoStorageAccess(_) if !is_without_collection(error) => {
            KeyringError::Locked(reason(error))
        }
        _ => KeyringError::Failed(reason(error)),
    }
}

/// A Secret Service that has no default collection, as under WSL: nothing is locked, there is only nowhere to write.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn is_without_collection(error: &Error) -> bool {
    let Error::NoStorageAccess(cause) = error else { return false };
    matches!(cause.downcast_ref(), Some(secret_service::Error::NoResult))
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn is_without_collection(_: &Error) -> bool {
    false
}

/// The innermost cause: the outer ones only say that there is one.
fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
