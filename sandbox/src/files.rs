//! Files of the sandbox, written by rename, with errors that name them.

use std::path::Path;

use gateway_files::Readers;

use crate::error::{Context, Result};

/// Writes a file that others may read.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    written(path, bytes, Readers::ByUmask)
}

/// Writes a file that its owner alone may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    written(path, bytes, Readers::Owner)
}

fn written(path: &Path, bytes: &[u8], readers: Readers) -> Result<()> {
    gateway_files::write(path, bytes, readers).context(|| format!("write {}", path.display()))
}
