//! Where the filter's modules are.

use std::{
    env,
    path::{Path, PathBuf},
};

use gateway_config::connections_filter;

use crate::error::{Error, Result};

/// Names the module to use.
const VARIABLE: &str = "GATEWAY_FILTER";

/// Where cargo puts it, from its target folder.
const BUILT: &str = "wasm32-wasip1/wasm/filter.wasm";

/// The module that `GATEWAY_FILTER` names, else the one in the target folder that this program was built into.
pub(super) fn find() -> Result<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE).map(PathBuf::from) {
        return if named.is_file() {
            Ok(named)
        } else {
            Err(missing(&named.display().to_string()))
        };
    }
    let program = env::current_exe().unwrap_or_default();
    let built = program.ancestors().map(|folder| folder.join(BUILT)).find(|file| file.is_file());
    built.ok_or_else(|| missing(Path::new(BUILT).display().to_string().as_str()))
}

/// The module beside it that counts connections.
pub(super) fn find_connections() -> Result<PathBuf> {
    let module = connections_filter(&find()?);
    if module.is_file() { Ok(module) } else { Err(missing(&module.display().to_string())) }
}

fn missing(program: &str) -> Error {
    Error::Missing {
        program: program.to_owned(),
        hint: format!("run `make build`, or name the filter's module in {VARIABLE}"),
    }
}
