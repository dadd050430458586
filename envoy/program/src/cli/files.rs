//! Files that flags name.

use std::{
    fs,
    io::{self, Read},
    path::{self, Path, PathBuf},
};

use gateway_config::traces::{Traces, TracesFlags, Trust};

use super::error::Error;

/// What a file holds.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// What a file holds, or standard input for `-`.
pub fn read_or_stdin(path: &Path) -> Result<Vec<u8>, Error> {
    if path != Path::new("-") {
        return read(path);
    }
    let mut text = Vec::new();
    match io::stdin().read_to_end(&mut text) {
        Ok(_) => Ok(text),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// The whole path of a file.
pub fn absolute(path: &Path) -> Result<PathBuf, Error> {
    path::absolute(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// What flags say of traces, with whole paths.
pub fn traced(flags: TracesFlags) -> Result<Option<Traces>, Error> {
    let Some(mut traces) = flags.traces().map_err(Error::Usage)? else { return Ok(None) };
    if let Some(Trust::File(path)) = &mut traces.collector.tls {
        *path = absolute(path)?;
    }
    if let Some(token) = &mut traces.collector.token {
        token.file = absolute(&token.file)?;
    }
    Ok(Some(traces))
}

/// A DNS subdomain (RFC 1123), as it stands in a path without an escape.
pub fn is_object_name(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= 253
        && name.bytes().all(fits)
        && edge(name.bytes().next())
        && edge(name.bytes().last())
}
