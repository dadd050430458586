//! Puts rendered files into a directory, each by rename: Envoy sees the old file or the new one, whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use gateway_config::{File, Rendered};
use gateway_files::{self as files, Readers};

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path:?}: {source}")]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Writes the files that differ from what `directory` holds, and returns their names. The directory is made if it is not
/// there; it should be the one that the inputs name.
///
/// # Errors
/// With the first file that could not be written. Those before it are in place, which is a safe state.
pub fn write<'a>(rendered: &'a Rendered, directory: &Path) -> Result<Vec<&'a str>, WriteError> {
    let mut written = Vec::new();
    for File { name, text } in rendered.files() {
        let path = directory.join(name);
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            continue;
        }
        // No secret stands in them, and an Envoy of another user may have to read them.
        files::write(&path, text.as_bytes(), Readers::ByUmask)
            .map_err(|source| WriteError { path, source })?;
        written.push(name.as_str());
    }
    Ok(written)
}
