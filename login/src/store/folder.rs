//! The folder of tokens, locks and the list of logins. Whoever else can write it puts tokens of their own there, which are
//! presented as ours: it is refused, with the command that mends it.

#[cfg(unix)]
use std::fs;
use std::{
    io,
    path::{Path, PathBuf},
};

use crate::console::plain;

/// What lies in the folder.
const PARTS: [&str; 4] = ["tokens", "locks", "logins", "verified"];

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Other users can write it.
    #[error(
        "the folder {} can be written by other users of this machine (mode {mode:04o}), who could put their token there; correct it with: chmod go-w {}",
        path.display(), quoted(path)
    )]
    Writable {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another user has it.
    #[error(
        "the folder {} belongs to another user (user ID {owner}), who could put their token there; correct it with: sudo chown -R \"$(id -u)\" {}, or name another one with --token-store-dir",
        path.display(), quoted(path)
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// It cannot be looked at.
    #[error("the folder {} cannot be looked at: {}; correct it with: sudo chown -R \"$(id -u)\" {}, or name another one with --token-store-dir", path.display(), plain(error), quoted(path))]
    Unknown {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Refuses a folder that another user can write.
///
/// One that is shared and sticky (`/tmp`) may be named: what is made in it is its maker's alone. What is not there yet is made
/// private.
pub fn check(folder: &Path) -> Result<(), FolderError> {
    check_one(folder, true)?;
    PARTS.iter().try_for_each(|part| check_one(&folder.join(part), false))
}

#[cfg(unix)]
fn check_one(path: &Path, may_be_shared: bool) -> Result<(), FolderError> {
    use std::os::unix::fs::MetadataExt as _;

    /// Write permission of group and others.
    const OTHERS: u32 = 0o022;
    /// Only a file's owner, the folder's, and root remove and rename in it.
    const STICKY: u32 = 0o1000;
    let path = || path.to_owned();
    let found = match fs::metadata(path()) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => return Ok(()), // whoever opens it will say so
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        Err(error) => return Err(FolderError::Unknown { path: path(), error }),
    };
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    let own = owner == rustix::process::geteuid().as_raw();
    // Root can do everything anyway; a shared folder is mostly root's.
    let shared = may_be_shared && owner == 0;
    if !own && !shared {
        return Err(FolderError::Owner { path: path(), owner });
    }
    if mode & OTHERS != 0 && !(may_be_shared && mode & STICKY != 0) {
        return Err(FolderError::Writable { path: path(), mode });
    }
    Ok(())
}

/// Windows gives a user's folders to that user alone.
#[cfg(not(unix))]
fn check_one(_: &Path, _: bool) -> Result<(), FolderError> {
    Ok(())
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    shlex::try_quote(&text).map_or_else(|_| text.clone(), std::borrow::Cow::into_owned)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn break_in_12_a_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("it's a store");
        assert!(check(&root).is_ok(), "it will be made");
        fs::create_dir(&root).unwrap();
        for (mode, want) in [
            (0o700, true),
            (0o755, true),
            (0o777, false),
            (0o770, false),
            (0o720, false),
            (0o1777, true),
        ] {
            with_mode(&root, mode);
            let found = check(&root);
            assert_eq!(found.is_ok(), want, "{mode:o} {found:?}");
            if let Err(error) = found {
                let text = error.to_string();
                assert!(text.contains(&format!("(mode {mode:04o})")), "{text}");
                assert!(text.contains("chmod go-w \"") && text.contains("it's a store"), "{text}");
            }
        }
        for part in PARTS {
            let path = root.join(part);
            fs::create_dir(&path).unwrap();
            for mode in [0o777, 0o1777, 0o770] {
                with_mode(&path, mode);
                assert!(
                    matches!(check(&root), Err(FolderError::Writable { .. })),
                    "{part} {mode:o}"
                );
            }
            with_mode(&path, 0o700);
            assert!(check(&root).is_ok(), "{part}");
        }
    }

    /// The tests of a container's build run as root, who can give a folder away.
    #[test]
    fn break_in_12_a_folder_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let theirs = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&tokens, Some(12_345), None).unwrap();
            folder.path()
        } else {
            // Root's own folder is no user's place for tokens.
            std::os::unix::fs::symlink("/usr", folder.path().join("locks")).unwrap();
            folder.path()
        };
        let error = check(theirs).unwrap_err();
        assert!(matches!(error, FolderError::Owner { .. }), "{error}");
        assert!(error.to_string().contains("sudo chown -R"), "{error}");
    }
}
