//! Where the Envoy binary is, and of which version.

use std::{
    env,
    path::{Path, PathBuf},
};

use gateway_lint::envoy_version::{CVE, ENVOY, Version, ask};

use super::error::Error;

/// The binary that is named, or `envoy` in `PATH`.
pub fn find(named: Option<PathBuf>) -> Result<PathBuf, Error> {
    let in_path = || {
        env::split_paths(&env::var_os("PATH")?)
            .map(|folder| folder.join("envoy"))
            .find(|file| file.is_file())
    };
    named
        .or_else(in_path)
        .ok_or_else(|| Error::Usage("no envoy in PATH: name one with --envoy-binary".to_owned()))
}

/// The version of an Envoy, by what its binary says or else by what is said of it; `None` if neither says.
///
/// # Errors
/// If the binary does not run, or one of the versions is known to be vulnerable.
pub fn version(binary: Option<&Path>, said: Option<Version>) -> Result<Option<Version>, Error> {
    let asked = binary.map(ask).transpose()?.flatten();
    for version in asked.into_iter().chain(said) {
        ENVOY.check(version)?;
    }
    Ok(asked.or(said))
}

/// What is said where nothing tells the version.
pub fn unknown() -> String {
    format!(
        "nothing tells the version of Envoy: it must not have {CVE}. Take {}, and name yours with --envoy-binary or --envoy-version",
        ENVOY.safe()
    )
}
