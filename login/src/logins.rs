//! The list of logins on this machine: which issuer, client and store, nothing secret. Keyrings cannot be listed on every
//! system, so this says where to look.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::{Key, replace_file};

/// One login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The issuer.
    pub issuer: String,
    /// The client ID.
    pub client_id: String,
    /// The rest of the key.
    pub digest: String,
    /// `keyring` or `file`.
    pub store: String,
}

impl Login {
    /// The key of this login.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::from_parts(&self.issuer, &self.client_id, &self.digest)
    }
}

/// A login of this key is noted as being in `store`.
#[must_use]
pub fn is_noted(folder: &Path, key: &Key, store: &str) -> bool {
    let noted = fs::read(path(folder, key.digest())).ok();
    let noted: Option<Login> = noted.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    noted.is_some_and(|login| login.key() == *key && login.store == store)
}

/// Notes a login. A list that cannot be written is no reason to fail a login.
pub fn note(folder: &Path, key: &Key, store: &str) {
    if is_noted(folder, key, store) {
        return;
    }
    let login = Login {
        issuer: key.issuer().to_owned(),
        client_id: key.client_id().to_owned(),
        digest: key.digest().to_owned(),
        store: store.to_owned(),
    };
    if let Ok(bytes) = serde_json::to_vec(&login) {
        let _ = replace_file(&path(folder, key.digest()), &bytes);
    }
}

/// Strikes a login off.
pub fn forget(folder: &Path, key: &Key) {
    let _ = fs::remove_file(path(folder, key.digest()));
}

/// All logins, by issuer and client.
#[must_use]
pub fn list(folder: &Path) -> Vec<Login> {
    let Ok(entries) = fs::read_dir(folder.join("logins")) else { return Vec::new() };
    let mut logins: Vec<Login> = entries
        .filter_map(|entry| fs::read(entry.ok()?.path()).ok())
        .filter_map(|bytes| serde_json::from_slice(&bytes).ok())
        .collect();
    logins.sort_by(|a, b| {
        (&a.issuer, &a.client_id, &a.digest).cmp(&(&b.issuer, &b.client_id, &b.digest))
    });
    logins
}

fn path(folder: &Path, digest: &str) -> PathBuf {
    folder.join("logins").join(format!("{digest}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_noted_once_and_struck_off() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(list(folder.path()), []);
        let (a, b) = (Key::new("https://a", "c", &[]), Key::new("https://b", "c", &[]));
        note(folder.path(), &b, "file");
        note(folder.path(), &a, "keyring");
        assert!(!is_noted(folder.path(), &a, "file"), "it moves");
        note(folder.path(), &a, "file");
        assert!(is_noted(folder.path(), &a, "file"));
        let found: Vec<_> =
            list(folder.path()).into_iter().map(|login| (login.key(), login.store)).collect();
        assert_eq!(found, [(a.clone(), "file".to_owned()), (b.clone(), "file".to_owned())]);
        fs::write(folder.path().join("logins/broken.json"), "{").unwrap();
        forget(folder.path(), &a);
        assert_eq!(list(folder.path()).len(), 1);
    }
}
