//! Files that flags name.

use std::{
    fs,
    path::{self, Path, PathBuf},
};

use super::error::Error;

/// What a file holds.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// The whole path of a file.
pub fn absolute(path: &Path) -> Result<PathBuf, Error> {
    path::absolute(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
