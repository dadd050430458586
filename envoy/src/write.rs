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
        let mut written = Vec::new();
        for File { name, text } in self.files() {
            let path = directory.join(name);
            if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
                continue;
            }
            Temporary::write(directory, &format!(".{name}.new"), text)?.rename(&path)?;
            written.push(name.as_str());
        }
        Ok(written)
    }
}

/// A file that goes away with this value.
pub(crate) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Writes a file into a directory, which is made if it is not there.
    pub(crate) fn write(directory: &Path, name: &str, text: &str) -> Result<Self, WriteError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let file = Self { path: directory.join(name) };
        fs::write(&file.path, text).map_err(failed(&file.path))?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn rename(self, to: &Path) -> Result<(), WriteError> {
        fs::rename(&self.path, to).map_err(failed(to))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError { path, source }
}
