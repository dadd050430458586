//! Programs and modules that the tests run and do not build.

use std::{
    env,
    path::{Path, PathBuf},
};

/// A built file: the one that a variable names, else the one in the target folder that this test is of.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn built(variable: &str, path: &str) -> PathBuf {
    if let Some(named) = env::var_os(variable) {
        return named.into();
    }
    let test = env::current_exe().expect("a running test");
    let found = test.ancestors().map(|folder| folder.join(path)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no {}: name it in {variable}", Path::new(path).display()))
}

/// filter.wasm.
#[must_use]
pub fn filter() -> PathBuf {
    built("GATEWAY_FILTER", "wasm32-wasip1/wasm/filter.wasm")
}

/// connections.wasm, which lies beside it.
#[must_use]
pub fn connections() -> PathBuf {
    filter().with_file_name("connections.wasm")
}

/// kube-oidc-gateway.
#[must_use]
pub fn program() -> PathBuf {
    built("GATEWAY_PROGRAM", "debug/kube-oidc-gateway")
}
