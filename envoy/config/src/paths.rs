//! Paths as a configuration can hold them.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::RenderError;

/// The Unix socket, mode 0600, by which the program asks servers as requests do: beside Envoy's administration.
#[must_use]
pub fn probe_socket(admin_socket: &Path) -> PathBuf {
    admin_socket.with_file_name("probe.sock")
}

/// The Unix socket at which `run` leads to a proxy that Envoy does not speak to itself.
#[must_use]
pub fn proxy_socket(admin_socket: &Path) -> PathBuf {
    admin_socket.with_file_name("proxy.sock")
}

/// The Unix socket, mode 0600, at which `run` says whose access has ended.
#[must_use]
pub fn access_socket(admin_socket: &Path) -> PathBuf {
    admin_socket.with_file_name("access.sock")
}

/// The Unix socket, mode 0600, at which `run` takes logout tokens.
#[must_use]
pub fn logout_socket(admin_socket: &Path) -> PathBuf {
    admin_socket.with_file_name("logout.sock")
}

/// A certificate chain and its key, PEM files.
///
/// The directory of the chain is watched. Key and chain are read together, so they should lie in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingCertificate {
    /// The certificate, followed by its intermediates.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A file whose directory Envoy watches.
#[derive(Serialize)]
pub(crate) struct Watched<'a> {
    path: &'a str,
    directory: &'a str,
}

impl<'a> Watched<'a> {
    pub(crate) fn directory(&self) -> &'a str {
        self.directory
    }
}

/// A certificate chain and its key.
#[derive(Serialize)]
pub(crate) struct WatchedPair<'a> {
    chain: Watched<'a>,
    key: Watched<'a>,
}

impl<'a> WatchedPair<'a> {
    pub(crate) fn of(chain: Watched<'a>, key: Watched<'a>) -> Self {
        Self { chain, key }
    }

    pub(crate) fn chain(&self) -> &Watched<'a> {
        &self.chain
    }
}

/// A pair, by the names of its two halves.
pub(crate) fn watched_pair<'a>(
    chain: &'static str,
    key: &'static str,
    pair: &'a ServingCertificate,
) -> Result<WatchedPair<'a>, RenderError> {
    Ok(WatchedPair { chain: watched(chain, &pair.chain)?, key: watched(key, &pair.key)? })
}

/// A file, by a path that names its directory.
pub(crate) fn watched<'a>(what: &'static str, path: &'a Path) -> Result<Watched<'a>, RenderError> {
    let directory = path.parent().ok_or_else(|| RenderError::bad_path(what, path))?;
    Ok(Watched { path: text(what, path)?, directory: text(what, directory)? })
}

/// A directory as a prefix of its files' paths.
pub(crate) fn folder(directory: &Path) -> Result<&str, RenderError> {
    Ok(text("directory", directory)?.trim_end_matches('/'))
}

/// A path as text: absolute, UTF-8 and without control characters, which Envoy's configuration cannot hold.
pub(crate) fn text<'a>(what: &'static str, path: &'a Path) -> Result<&'a str, RenderError> {
    path.to_str()
        .filter(|text| path.is_absolute() && !text.chars().any(char::is_control))
        .ok_or_else(|| RenderError::bad_path(what, path))
}
