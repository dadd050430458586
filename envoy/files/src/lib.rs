//! The one way in which files are written: under another name, and renamed. Who reads sees the old file or the new one, whole.
//!
//! What holds a secret its owner alone may read, from its first byte on and whatever the umask says; a file that was there with
//! other rights is replaced and not written into. Windows gives a user's folders to that user alone, and has no such rights.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::Path,
    process,
};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner. It is on the disk when it gets its name: a token or a key must outlive a loss of power.
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
        Readers::Owner => create(&temporary, content).and_then(|file| file.sync_all()),
        Readers::ByUmask => fs::write(&temporary, content),
    };
    let written = made.and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a file that is not there yet, so that nobody else has opened it, for its owner.
pub fn create(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    Ok(file)
}

/// Makes a folder, and those above it, that only their owner can look into. One that is there keeps its rights.
pub fn folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Whether anybody but its owner may do something with a file that is there.
#[cfg(unix)]
#[must_use]
pub fn is_open_to_others(path: &Path) -> bool {
    /// Rights of anybody but the owner.
    const OTHERS: u32 = 0o077;
    let mode = fs::metadata(path).map(|data| std::os::unix::fs::MetadataExt::mode(&data));
    mode.is_ok_and(|mode| mode & OTHERS != 0)
}

/// What was not there needed no removal.
pub fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
