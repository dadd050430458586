//! Where the Envoy binary is.

use std::{env, path::PathBuf};

use super::Error;

/// The binary that is named, or `envoy` in `PATH`.
pub fn find(named: Option<PathBuf>) -> Result<PathBuf, Error> {
    let in_path = || {
        env::split_paths(&env::var_os("PATH")?)
            .map(|folder| folder.join("envoy"))
            .find(|file| file.is_file())
    };
    named
        .or_else(in_path)
        .ok_or_else(|| Error::Usage("no envoy in PATH: name one with --envoy".to_owned()))
}
