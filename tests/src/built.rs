//! Programs and modules that the tests run and do not build.

use std::{
    env,
    path::{Path, PathBuf},
};

use sandbox::FilterForm;

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

/// Whether these tests run with the filter as a native module (`FILTER=native`).
///
/// # Panics
/// If `FILTER` asks for something else than the two forms.
#[must_use]
pub fn is_native() -> bool {
    sandbox::filter_form().expect("a form of the filter") == FilterForm::Native
}

/// filter.wasm, for what is about the Wasm module whatever form the tests run with.
#[must_use]
pub fn filter() -> PathBuf {
    built("GATEWAY_FILTER", "wasm32-wasip1/wasm/filter.wasm")
}

/// connections.wasm, which lies beside it.
#[must_use]
pub fn connections() -> PathBuf {
    filter().with_file_name("connections.wasm")
}

/// The native module.
#[must_use]
pub fn native() -> PathBuf {
    built("GATEWAY_NATIVE_FILTER", "native/libkube_oidc_gateway.so")
}

/// The filter that fails on demand, in the form that these tests run with.
#[must_use]
pub fn rogue() -> PathBuf {
    if is_native() { rogue_native() } else { rogue_wasm() }
}

/// The one that is a native module, for what is about Envoy's process.
#[must_use]
pub fn rogue_native() -> PathBuf {
    built("ROGUE_NATIVE_FILTER", "native/librogue_native.so")
}

/// The one that is a Wasm module, for what is about VMs.
#[must_use]
pub fn rogue_wasm() -> PathBuf {
    built("ROGUE_FILTER", "wasm32-wasip1/wasm/rogue.wasm")
}

/// The flags by which the program has the filter in the form that these tests run with.
#[must_use]
pub fn filter_flags() -> Vec<String> {
    let mut flags = vec![format!("--filter={}", filter().display())];
    if is_native() {
        flags.push("--filter-form=native".to_owned());
        flags.push(format!("--native-filter={}", native().display()));
    }
    flags
}

/// kube-oidc-gateway.
#[must_use]
pub fn program() -> PathBuf {
    built("GATEWAY_PROGRAM", "debug/kube-oidc-gateway")
}
