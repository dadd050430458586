//! Lets Envoy itself judge a rendered configuration before one serves with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use gateway_config::{FlatError, Rendered};
use gateway_files::{self as files, Readers};

use crate::write::WriteError;

/// The bootstrap that Envoy is shown.
const FLAT: &str = ".check.json";

/// Why a configuration was not found good.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Envoy did not run.
    #[error("cannot run {envoy:?}: {source}")]
    NoEnvoy {
        /// The program.
        envoy: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Envoy refuses the configuration.
    #[error("Envoy refuses the configuration: {0}")]
    Refused(String),
    /// The configuration could not be prepared for Envoy.
    #[error(transparent)]
    Flat(#[from] FlatError),
    /// The configuration could not be written for Envoy.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Asks `envoy --mode validate` about the whole configuration, certificates and Wasm module included: every file that the
/// inputs name must be there. The module is loaded, but not asked about its own configuration.
///
/// Takes about a second. `directory` gets a file `.check.json` for the time being.
pub fn check(rendered: &Rendered, envoy: &Path, directory: &Path) -> Result<(), CheckError> {
    let flat = Temporary(directory.join(FLAT));
    let text = rendered.flat()?.to_string();
    files::write(&flat.0, text.as_bytes(), Readers::ByUmask)
        .map_err(|source| WriteError { path: flat.0.clone(), source })?;
    let output = Command::new(envoy)
        .arg("--config-path")
        .arg(&flat.0)
        .args(["--mode", "validate", "--disable-hot-restart", "--log-level", "warning"])
        .output()
        .map_err(|source| CheckError::NoEnvoy { envoy: envoy.to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(CheckError::Refused(complaint(&String::from_utf8_lossy(&output.stderr))))
}

/// A file that goes away with this value.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is not there needs no removal.
        let _ = fs::remove_file(&self.0);
    }
}

/// What Envoy says is wrong, in one line.
fn complaint(output: &str) -> String {
    let (_, fault) = output
        .split_once(&format!("{FLAT}': "))
        .or_else(|| output.split_once("[critical]"))
        .unwrap_or(("", output));
    fault.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_one_line() {
        for (output, want) in [
            (
                "[2026-01-01 00:00:00.000][1][critical][main] [server.cc:76] error initializing \
                 configuration '/d/.check.json': Proto constraint validation failed\n  (field: x)\n",
                "Proto constraint validation failed (field: x)",
            ),
            (
                "[2026][1][critical][main] [main.cc:1] out of\nmemory\n",
                "[main] [main.cc:1] out of memory",
            ),
            ("what is\nthis\n", "what is this"),
        ] {
            assert_eq!(complaint(output), want);
        }
    }
}
