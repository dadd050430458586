//! The folder a cluster or gateway keeps its files in.

use std::{
    env, fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    error::{Context, Result},
    watchdog,
};

/// If set, temporary folders stay, for whoever wants to read logs afterwards.
const KEEP: &str = "SANDBOX_KEEP";

/// A folder for files, and one for sockets: the path of a Unix socket has at most 107 bytes, a project's folder may be
/// deeper than that.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    temporary: TempDir,
}

impl Folder {
    /// A given folder, or a temporary one, which is removed when this is dropped or the process is gone.
    pub fn new(given: Option<&Path>) -> Result<Self> {
        let mut temporary = tempfile::Builder::new()
            .prefix("sandbox-")
            .tempdir()
            .context(|| "make a temporary folder".to_owned())?;
        if env::var_os(KEEP).is_some() {
            temporary.disable_cleanup(true);
        } else {
            watchdog::remove_at_end(temporary.path())?;
        }
        let root = match given {
            None => temporary.path().to_owned(),
            Some(given) => {
                private(given)?;
                given.canonicalize().context(|| format!("use {}", given.display()))?
            }
        };
        Ok(Self { root, temporary })
    }

    /// The path of a file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The path of a socket.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// Makes a folder in it, which only its owner can look into.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.file(name);
        private(&path)?;
        Ok(path)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.root
    }
}

fn private(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .context(|| format!("make {}", path.display()))
}
