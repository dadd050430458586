//! Files that hold secrets: their owner alone may read them, from their first byte on.
//!
//! A file is written under another name, with mode 0600 whatever the umask says, and renamed: who reads sees the old file or
//! the new one, whole, and a file that was there with other rights is replaced and not written into.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    process,
};

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, setrlimit, umask},
};

/// Rights of anybody but the owner.
const OTHERS: u32 = 0o077;

/// Writes a file, and its folder if that is not there.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    folder(path.parent().unwrap_or(Path::new(".")))?;
    // The process ID keeps two writers apart; what a dead process of that number has left goes.
    let temporary = path.with_added_extension(format!("{}.new", process::id()));
    gone(fs::remove_file(&temporary))?;
    let written = create(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a file that is not there yet.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, content)
}

/// Makes a folder, and those above it, that only their owner can look into. One that is there keeps its rights.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether anybody but its owner may do something with a file that is there.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.permissions().mode() & OTHERS != 0)
}

/// What was not there needed no removal.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes what this process and its children write without saying for whom their owner's alone.
pub fn write_for_the_owner_alone() {
    umask(Mode::from_bits_truncate(OTHERS));
}

/// Lets this process and its children leave no image of their memory, which holds tokens and keys, when they crash.
pub fn leave_no_core() {
    // Less than before is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
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
        write(&path, b"one").unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(is_open_to_others(&path));
        // Who opened the old file while it was open reads the old file.
        let mut old = fs::File::open(&path).unwrap();
        write(&path, b"two").unwrap();
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
        write(&path, b"key").unwrap();
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
