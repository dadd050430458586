//! The Wasm modules that Envoy loads: the filter, and the one beside it that counts connections.

use std::path::{Path, PathBuf};

use crate::limits::Limits;

/// The module that counts connections lies beside the filter's.
const CONNECTIONS: &str = "connections.wasm";

/// Where the module is that counts connections, if the filter's is there.
#[must_use]
pub fn connections_filter(filter: &Path) -> PathBuf {
    filter.with_file_name(CONNECTIONS)
}

/// The module that counts connections is missing.
#[derive(Debug, thiserror::Error)]
#[error(
    "no {0:?}, which comes with the filter and counts connections: put the {CONNECTIONS} of the same release there, or do without \
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
        fs::write(folder.path().join(CONNECTIONS), "").unwrap();
        NoModule::check(&filter, &limits).unwrap();
        fs::remove_file(folder.path().join(CONNECTIONS)).unwrap();
        limits.undecided_connections_per_address = 0;
        NoModule::check(&filter, &limits).unwrap();
    }
}
