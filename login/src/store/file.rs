//! Records as files that only their owner can read, replaced by rename so that a reader never sees half of one.

use std::{fs, io, path::PathBuf};

use gateway_files::Readers;

use super::{Key, StoreError, crypt};
use crate::settings::{Encryption, StoreSettings};

/// A folder of records.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    encryption: Encryption,
}

impl FileStore {
    /// The store of these settings; nothing is touched yet.
    #[must_use]
    pub fn new(settings: &StoreSettings) -> Self {
        Self { folder: settings.dir.join("tokens"), encryption: settings.encryption.clone() }
    }

    /// Reads the bytes of a record.
    ///
    /// A file that cannot be decrypted is no error but its bytes: it counts as corrupt and is replaced, as when the
    /// person changes the passphrase.
    pub fn load(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if is_absent(&error) => return Ok(None),
            // Of root, from a time with sudo: the folder is ours, so the next login replaces it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(StoreError::File { path, error }),
        };
        match crypt::decrypt(&bytes, &self.encryption) {
            Ok(plain) => Ok(Some(plain)),
            Err(crypt::CryptError::Decrypt) => Ok(Some(bytes)),
            Err(error) => Err(StoreError::Crypt { path, error }),
        }
    }

    /// Writes the bytes of a record.
    pub fn save(&self, key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(key);
        let bytes = crypt::encrypt(bytes, &self.encryption)
            .map_err(|error| StoreError::Crypt { path: path.clone(), error })?;
        gateway_files::write(&path, &bytes, Readers::Owner)
            .map_err(|error| StoreError::File { path, error })
    }

    /// Removes a record; `false` if there was none.
    pub fn delete(&self, key: &Key) -> Result<bool, StoreError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(StoreError::File { path, error }),
        }
    }

    /// What to call it in a message.
    #[must_use]
    pub fn describe(&self) -> String {
        let how = match self.encryption {
            Encryption::None => "",
            Encryption::KeyFile(_) | Encryption::Passphrase(_) => " (encrypted)",
        };
        format!("{}{how}", self.folder.display())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let extension = match self.encryption {
            Encryption::None => "json",
            Encryption::KeyFile(_) | Encryption::Passphrase(_) => "age",
        };
        self.folder.join(format!("{}.{extension}", key.digest()))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{cli::StoreKind, settings::Account};

    fn store(folder: &Path, encryption: Encryption) -> FileStore {
        FileStore::new(&StoreSettings {
            kind: StoreKind::File,
            dir: folder.to_owned(),
            user_dir: folder.to_owned(),
            account: Account::Only,
            encryption,
        })
    }

    #[test]
    #[cfg(unix)]
    fn files_and_folders_are_their_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("new/deep"), Encryption::None);
        let key = Key::new("i", "c", &[]);
        store.save(&key, b"one").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.path(&key)), 0o600);
        assert_eq!(mode(&store.folder), 0o700);
        // A file that somebody opened to all is private again after the next login.
        fs::set_permissions(store.path(&key), fs::Permissions::from_mode(0o644)).unwrap();
        store.save(&key, b"two").unwrap();
        assert_eq!(mode(&store.path(&key)), 0o600);
        assert_eq!(store.load(&key).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn records_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        for encryption in [Encryption::None, Encryption::Passphrase("p".to_owned().into())] {
            let store = store(folder.path(), encryption);
            let (one, two) = (Key::new("i", "1", &[]), Key::new("i", "2", &[]));
            assert!(store.load(&one).unwrap().is_none());
            assert!(!store.delete(&one).unwrap());
            store.save(&one, b"1").unwrap();
            store.save(&two, b"2").unwrap();
            assert!(store.delete(&two).unwrap());
            assert_eq!(store.load(&one).unwrap().as_deref(), Some(&b"1"[..]));
            assert!(store.load(&two).unwrap().is_none());
        }
    }

    #[test]
    fn an_encrypted_file_holds_nothing_readable() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Encryption::Passphrase("p".to_owned().into()));
        let key = Key::new("i", "c", &[]);
        store.save(&key, b"s3cret").unwrap();
        let bytes = fs::read(store.path(&key)).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"s3cret"));
        let other = FileStore {
            folder: store.folder.clone(),
            encryption: Encryption::Passphrase("q".to_owned().into()),
        };
        assert_eq!(other.load(&key).unwrap(), Some(bytes), "the reader must call it corrupt");
    }
}
