//! The list of logins of this user of the machine: which issuer, client, account and store, nothing secret. Keyrings cannot be
//! listed on every system, and files lie in any folder, so this says where to look.
//!
//! It lies in the user's own folder, whatever folder the tokens are in.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use gateway_files::Readers;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{settings::StoreSettings, store::Key};

/// One login.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Login {
    /// The issuer.
    pub issuer: String,
    /// The client ID.
    pub client_id: String,
    /// What the person calls it, if several are told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The rest of the key.
    pub digest: String,
    /// `keyring` or `file`.
    pub store: String,
    /// The file store's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

impl Login {
    /// The key of this login.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::from_parts(&self.issuer, &self.client_id, &self.digest)
    }

    /// One that a keyring holds and no list has.
    #[must_use]
    pub fn in_keyring(key: &Key) -> Self {
        Self::new(key, None, KEYRING, None)
    }

    fn new(key: &Key, account: Option<String>, store: &str, folder: Option<PathBuf>) -> Self {
        Self {
            issuer: key.issuer().to_owned(),
            client_id: key.client_id().to_owned(),
            account,
            digest: key.digest().to_owned(),
            store: store.to_owned(),
            folder,
        }
    }

    fn of(settings: &StoreSettings, key: &Key, store: &str) -> Self {
        let folder = (store != KEYRING).then(|| settings.dir.clone());
        Self::new(key, settings.account.name(), store, folder)
    }

    /// The file of the list that says so. A login in files of several folders stands there for each.
    fn file(&self, user_dir: &Path) -> PathBuf {
        let folder = self.folder.as_deref().filter(|folder| *folder != user_dir);
        let more = folder.map_or_else(String::new, |folder| {
            let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
            digest.iter().take(4).fold("-".to_owned(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        });
        user_dir.join("logins").join(format!("{}{more}.json", self.digest))
    }
}

/// What the list calls the keyring.
pub const KEYRING: &str = "keyring";

/// A login of this key is noted as being in `store`.
#[must_use]
pub fn is_noted(settings: &StoreSettings, key: &Key, store: &str) -> bool {
    let login = Login::of(settings, key, store);
    read(&login.file(&settings.user_dir)).is_some_and(|noted| noted == login)
}

/// Notes a login. A list that cannot be written is no reason to fail a login.
pub fn note(settings: &StoreSettings, key: &Key, store: &str) {
    if is_noted(settings, key, store) {
        return;
    }
    let login = Login::of(settings, key, store);
    if let Ok(bytes) = serde_json::to_vec(&login) {
        let _ = gateway_files::write(&login.file(&settings.user_dir), &bytes, Readers::Owner);
    }
}

/// Strikes a login off.
pub fn forget(settings: &StoreSettings, login: &Login) {
    let _ = fs::remove_file(login.file(&settings.user_dir));
    // Where earlier versions had their lists.
    let former = settings.dir.join("logins").join(format!("{}.json", login.digest));
    if read(&former).is_some_and(|noted| noted.store == login.store) {
        let _ = fs::remove_file(former);
    }
}

/// All logins, by issuer, client and account.
#[must_use]
pub fn list(settings: &StoreSettings) -> Vec<Login> {
    let mut logins = Vec::new();
    for folder in settings.folders() {
        let Ok(entries) = fs::read_dir(folder.join("logins")) else { continue };
        logins.extend(entries.filter_map(|entry| read(&entry.ok()?.path())).map(|login| {
            // Earlier versions had a list in each folder of tokens, which said no more.
            let in_file = login.store != KEYRING && login.folder.is_none();
            Login { folder: login.folder.or_else(|| in_file.then(|| folder.to_owned())), ..login }
        }));
    }
    logins.sort();
    logins.dedup();
    logins
}

fn read(path: &Path) -> Option<Login> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::StoreKind,
        settings::{Account, Encryption},
    };

    fn settings(user_dir: &Path, dir: &Path) -> StoreSettings {
        let account = if dir == user_dir { Account::Only } else { Account::Folder(dir.to_owned()) };
        let (user_dir, dir) = (user_dir.to_owned(), dir.to_owned());
        let (kind, encryption) = (StoreKind::Auto, Encryption::None);
        StoreSettings { kind, dir, user_dir, account, encryption }
    }

    #[test]
    fn logins_are_noted_once_and_struck_off() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), folder.path());
        assert_eq!(list(&settings), []);
        let (a, b) = (Key::new("https://a", "c", &[]), Key::new("https://b", "c", &[]));
        note(&settings, &b, "file");
        note(&settings, &a, KEYRING);
        assert!(!is_noted(&settings, &a, "file"), "it moves");
        note(&settings, &a, "file");
        assert!(is_noted(&settings, &a, "file"));
        let found: Vec<_> =
            list(&settings).into_iter().map(|login| (login.key(), login.store)).collect();
        assert_eq!(found, [(a.clone(), "file".to_owned()), (b.clone(), "file".to_owned())]);
        fs::write(folder.path().join("logins/broken.json"), "{").unwrap();
        forget(&settings, &Login::of(&settings, &a, "file"));
        assert_eq!(list(&settings).len(), 1);
    }

    /// One list of the user's, whatever folder the tokens are in; what an earlier version noted in that folder counts too.
    #[test]
    fn every_folders_logins_are_in_one_list() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("own");
        let [one, other] = ["one", "other"].map(|name| settings(&own, &root.path().join(name)));
        let key = Key::new("https://a", "c", &[]);
        note(&one, &key, "file");
        note(&other, &key, "file");
        note(&other, &key, KEYRING);
        let all = list(&settings(&own, &own));
        assert_eq!(all.len(), 3, "{all:?}");
        let folders: Vec<_> = all.iter().filter_map(|login| login.folder.as_ref()).collect();
        assert_eq!(folders, [&one.dir, &other.dir]);

        let former = r#"{"issuer":"https://a","client_id":"c","digest":"d","store":"file"}"#;
        gateway_files::write(&one.dir.join("logins/d.json"), former.as_bytes(), Readers::Owner)
            .unwrap();
        let found = list(&one);
        let former = found.iter().find(|login| login.digest == "d").unwrap();
        assert_eq!(former.folder.as_deref(), Some(&*one.dir));
        forget(&one, former);
        assert_eq!(list(&one).len(), 3);
    }
}
