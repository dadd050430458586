//! filter.wasm without its hold on what follows an upgrade request: what Envoy does with those bytes by itself.

use std::{fs, path::Path};

use crate::module;

/// The callback that holds. One that a module does not export is not called.
const CALLBACK: &str = "proxy_on_request_body";

/// Writes a copy of the module at `filter` to `to` that never looks at a body.
///
/// # Panics
/// If that is no module of the filter's.
pub fn write(filter: &Path, to: &Path) {
    let module = fs::read(filter).unwrap_or_else(|e| panic!("{}: {e}", filter.display()));
    assert!(module::exported(&module, CALLBACK).is_some(), "no {CALLBACK}");
    let changed = module::export(&module, |name, index| (name != CALLBACK).then_some(index));
    fs::write(to, changed).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
}
