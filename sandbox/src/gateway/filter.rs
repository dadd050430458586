//! Where the filter's module is.

use std::{
    env,
    path::{Path, PathBuf},
};

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

fn missing(program: &str) -> Error {
    Error::Missing {
        program: program.to_owned(),
        hint: format!("run `make build`, or name the filter's module in {VARIABLE}"),
    }
}
