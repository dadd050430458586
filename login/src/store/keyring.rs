//! The keyring of the operating system: Secret Service on Linux (GNOME Keyring, KDE Wallet and others), macOS Keychain,
//! Windows Credential Manager.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use keyring_core::{CredentialStore, Error};

use super::{
    Key,
    parts::{self, Entries, PART_SIZE},
};

/// How long a keyring may take to its first answer, on a machine that is not too busy. One that is well needs milliseconds; D-Bus
/// waits two minutes for one that does not start, and for ever for one that hangs.
const FIRST_ANSWER: Duration = Duration::from_secs(3);
/// How long any other answer may take: a person may be asked for a password.
const PROMPT: Duration = Duration::from_secs(60);

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

/// Why the keyring does not do what it is asked. The texts in it are libraries', for whoever asked with `-v`.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is none on this machine, or in this session.
    #[error("there is no keyring here")]
    Absent(String),
    /// It is locked, and the person or the system did not unlock it.
    #[error("the keyring is locked: unlock it, and try again")]
    Locked(String),
    /// It says nothing.
    #[error("the keyring does not answer (within {} s)", .0.as_secs())]
    Silent(Duration),
    /// It failed otherwise.
    #[error("the keyring failed (-v shows why)")]
    Failed(String),
}

/// An open keyring. No call of it lasts longer than its limit: what hangs is left behind, in a thread that ends with the process.
pub struct KeyringStore {
    entries: Connected,
}

#[derive(Clone)]
struct Connected(Arc<CredentialStore>);

impl std::fmt::Debug for KeyringStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyringStore")
    }
}

impl KeyringStore {
    /// Connects to the keyring.
    pub fn open() -> Result<Self, KeyringError> {
        let opening = begin(|| {
            connect().map(Connected).map_err(|error| KeyringError::Absent(reason(&error)))
        });
        let entries = if answers(FIRST_ANSWER) {
            // Many kubectl at once, each with a key exchange, keep a daemon busy for longer than one answer takes.
            opening.recv_timeout(PROMPT).unwrap_or(Err(KeyringError::Silent(PROMPT)))
        } else {
            opening.try_recv().unwrap_or(Err(KeyringError::Silent(FIRST_ANSWER)))
        };
        Ok(Self { entries: entries? })
    }

    /// Reads the bytes of a record.
    pub fn load(&self, key: &Key) -> Result<Option<Vec<u8>>, KeyringError> {
        let (entries, name) = (self.entries.clone(), key.user());
        within(PROMPT, move || parts::load(&entries, &name))
    }

    /// Writes the bytes of a record.
    pub fn save(&self, key: &Key, bytes: &[u8]) -> Result<(), KeyringError> {
        let (entries, name, bytes) = (self.entries.clone(), key.user(), bytes.to_vec());
        within(PROMPT, move || parts::save(&entries, &name, &bytes, PART_SIZE))
    }

    /// Removes a record; `false` if there was none.
    pub fn delete(&self, key: &Key) -> Result<bool, KeyringError> {
        let (entries, name) = (self.entries.clone(), key.user());
        within(PROMPT, move || parts::delete(&entries, &name))
    }

    /// The keys of all our entries, where the keyring can be searched; elsewhere the list of logins has to do.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        if !cfg!(any(target_os = "linux", target_os = "freebsd")) {
            return Vec::new();
        }
        let entries = self.entries.clone();
        let found = within(PROMPT, move || {
            let found = entries.0.search(&HashMap::from([("service", SERVICE)]));
            let found = found.map_err(|error| explain(&error))?;
            let names =
                found.iter().filter_map(|entry| entry.get_attributes().ok()?.remove("username"));
            Ok(names.filter_map(|user| Key::from_user(&user)).collect())
        });
        found.unwrap_or_default()
    }
}

/// What `call` says, if it says it in time.
fn within<T: Send + 'static>(
    limit: Duration,
    call: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, KeyringError> {
    begin(call).recv_timeout(limit).unwrap_or(Err(KeyringError::Silent(limit)))
}

/// Where what `call` says will come.
fn begin<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody may be waiting any more.
        let _ = sender.send(call());
    });
    receiver
}

/// Whether the keyring says anything in time, and be it that it is not there. The question is a small one, which a daemon
/// answers between others, but not one that D-Bus libraries answer by themselves.
///
/// The time counts by what the bus itself answers meanwhile: on a machine that is too busy, both are slow.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn answers(limit: Duration) -> bool {
    /// Into how many the limit is divided.
    const PARTS: u32 = 30;
    let (sender, connected) = mpsc::channel();
    let asked = begin(move || {
        let connection = zbus::blocking::Connection::session()?;
        // Nobody may be waiting any more.
        let _ = sender.send(connection.clone());
        connection.call_method(
            Some("org.freedesktop.secrets"),
            "/org/freedesktop/secrets",
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &("org.freedesktop.Secret.Service", "Collections"),
        )
    });
    let mut bus: Option<zbus::blocking::Connection> = None;
    for _ in 0..PARTS {
        if asked.recv_timeout(limit / PARTS).is_ok() {
            return true;
        }
        bus = bus.or_else(|| connected.try_recv().ok());
        if let Some(bus) = bus.clone() {
            let peer = "org.freedesktop.DBus.Peer";
            let (name, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
            let ping = begin(move || bus.call_method(Some(name), path, Some(peer), "Ping", &()));
            // A bus that hangs does not hold this up either.
            let _ = ping.recv_timeout(limit / 3);
        }
    }
    false
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn answers(_: Duration) -> bool {
    true
}

impl Connected {
    fn entry(&self, name: &str) -> Result<keyring_core::Entry, KeyringError> {
        self.0.build(SERVICE, name, None).map_err(|error| explain(&error))
    }
}

impl Entries for Connected {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_behind() {
        let (sender, receiver) = mpsc::channel::<()>();
        let limit = Duration::from_millis(1);
        let hangs =
            within(limit, move || receiver.recv().map_err(|_| KeyringError::Failed(String::new())));
        assert!(matches!(hangs, Err(KeyringError::Silent(found)) if found == limit), "{hangs:?}");
        drop(sender);
        assert_eq!(within(PROMPT, || Ok(7)).ok(), Some(7));
    }
}
