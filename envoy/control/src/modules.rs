//! Whether the Wasm modules are there that Envoy is to load.

use std::path::{Path, PathBuf};

use gateway_config::{Limits, connections_filter};

/// The module that counts connections is missing.
#[derive(Debug, thiserror::Error)]
#[error(
    "no {0:?}, which comes with the filter and counts connections: put the connections.wasm of the same release there, or do without \
     the limit by --max-undecided-connections-per-address=0"
)]
pub struct NoModule(PathBuf);

impl NoModule {
    /// Makes sure that the module is there, where connections are counted.
    ///
    /// # Errors
    /// If it is not.
    pub fn check(filter: &Path, limits: &Limits) -> Result<(), Self> {
        let module = connections_filter(filter);
        if limits.counts_connections() && !module.is_file() {
            return Err(Self(module));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn without_the_module_there_is_no_limit() {
        let folder = tempfile::tempdir().unwrap();
        let filter = folder.path().join("filter.wasm");
        let mut limits = Limits::default();
        let error = NoModule::check(&filter, &limits).unwrap_err().to_string();
        assert!(error.contains("connections.wasm"), "{error}");
        assert!(error.ends_with("--max-undecided-connections-per-address=0"), "{error}");
        fs::write(connections_filter(&filter), "").unwrap();
        NoModule::check(&filter, &limits).unwrap();
        fs::remove_file(connections_filter(&filter)).unwrap();
        limits.undecided_connections_per_address = 0;
        NoModule::check(&filter, &limits).unwrap();
    }
}
