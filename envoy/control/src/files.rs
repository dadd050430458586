//! The one way in which files are written: under another name, and renamed. Who reads sees the old file or the new one, whole.
//!
//! What holds a secret its owner alone may read, from its first byte on and whatever the umask says; a file that was there with
//! other rights is replaced and not written into.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    process,
};

/// Rights of anybody but the owner.
const OTHERS: u32 = 0o077;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner.
    Owner,
    /// Whoever the process's umask lets.
    ByUmask,
}

/// Writes a file, and its folder if that is not there.
pub fn write(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    match readers {
        Readers::Owner => folder(parent)?,
        Readers::ByUmask => fs::create_dir_all(parent)?,
    }
    // The process ID keeps two writers apart; what a dead process of that number has left goes.
    let temporary = path.with_added_extension(format!("{}.new", process::id()));
    gone(fs::remove_file(&temporary))?;
    let made = match readers {
        Readers::Owner => create(&temporary, content),
        Readers::ByUmask => fs::write(&temporary, content),
    };
    let written = made.and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a file that is not there yet, for its owner.
pub fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, content)
}

/// Makes a folder, and those above it, that only their owner can look into. One that is there keeps its rights.
pub fn folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether anybody but its owner may do something with a file that is there.
#[must_use]
pub fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.permissions().mode() & OTHERS != 0)
}

/// What was not there needed no removal.
pub fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// Break-in row 4: a key was written into a file that others had been let into.
    #[test]
    fn break_in_4_a_file_open_to_others_is_replaced_by_a_private_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/deep/key");
        write(&path, b"one", Readers::Owner).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(is_open_to_others(&path));
        // Who opened the old file while it was open reads the old file.
        let mut old = fs::File::open(&path).unwrap();
        write(&path, b"two", Readers::Owner).unwrap();
        assert_eq!((mode(&path), is_open_to_others(&path)), (0o600, false));
        assert_eq!(io::read_to_string(&mut old).unwrap(), "one");
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    /// A link in a file's place is replaced; what it leads to stays as it is.
    #[test]
    fn a_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (path, other) = (root.path().join("key"), root.path().join("other"));
        fs::write(&other, "other").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        write(&path, b"key", Readers::Owner).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"other");
        assert_eq!(mode(&path), 0o600);
    }

    /// The first moment at which a file is there is the one at which it is made: it is then private already.
    #[test]
    fn a_file_is_private_before_its_first_byte() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("empty");
        create(&path, b"").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(create(&path, b"").is_err(), "a file that is there was opened by somebody else");
    }
}
