//! Puts rendered files into a directory, each by rename: Envoy sees the old file or the new one, whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::render::{File, Rendered};

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path:?}: {source}")]
pub struct WriteError {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Rendered {
    /// Writes the files that differ from what `directory` holds, and returns their names. The directory is made if it is
    /// not there; it should be the one that the inputs name.
    ///
    /// # Errors
    /// With the first file that could not be written. Those before it are in place, which is a safe state.
    pub fn write(&self, directory: &Path) -> Result<Vec<&str>, WriteError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| WriteError { path, source }
        };
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let mut written = Vec::new();
        for File { name, text } in self.files() {
            let path = directory.join(name);
            if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
                continue;
            }
            let temporary = directory.join(format!(".{name}.new"));
            fs::write(&temporary, text).map_err(failed(&temporary))?;
            fs::rename(&temporary, &path).map_err(failed(&path))?;
            written.push(name.as_str());
        }
        Ok(written)
    }
}
