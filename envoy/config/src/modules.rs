//! The Wasm modules that Envoy loads: the filter, and the one beside it that counts connections. A native module does both.

use std::path::{Path, PathBuf};

/// The module that counts connections lies beside the filter's.
const CONNECTIONS: &str = "connections.wasm";

/// Where the module is that counts connections, if the filter's is there.
#[must_use]
pub fn connections_filter(filter: &Path) -> PathBuf {
    filter.with_file_name(CONNECTIONS)
}
