//! Where the filter's modules are, and in which form a gateway has the filter.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use gateway_config::{FilterForm, connections_filter};

use crate::error::{Error, Result};

/// Says the form: `wasm`, which is the default, or `native`.
const FORM: &str = "FILTER";

/// The form that `FILTER` asks for: `wasm` or `native`; Wasm if it asks for none.
///
/// # Errors
/// If it asks for something else.
pub fn filter_form() -> Result<FilterForm> {
    let asked = env::var_os(FORM).unwrap_or_default();
    match asked.to_str() {
        Some("" | "wasm") => Ok(FilterForm::Wasm),
        Some("native") => Ok(FilterForm::Native),
        _ => Err(Error::Invalid(format!("{FORM} is wasm or native, not {}", asked.display()))),
    }
}

/// The form of a module: the names of shared libraries end in `.so`.
pub(super) fn form_of(module: &Path) -> FilterForm {
    if module.extension() == Some(OsStr::new("so")) { FilterForm::Native } else { FilterForm::Wasm }
}

/// The module in a form: the one that a variable names, else the one in the target folder that this program was built into.
pub(super) fn find(form: FilterForm) -> Result<PathBuf> {
    match form {
        FilterForm::Wasm => {
            find_built("GATEWAY_FILTER", "wasm32-wasip1/wasm/filter.wasm", "make build")
        }
        FilterForm::Native => {
            find_built("GATEWAY_NATIVE_FILTER", "native/libkube_oidc_gateway.so", "make native")
        }
    }
}

/// The module that counts connections beside a filter in this form, which may be another than the gateway's.
pub(super) fn find_connections(form: FilterForm) -> Result<PathBuf> {
    let module = find(form)?;
    if form == FilterForm::Native {
        return Ok(module);
    }
    let module = connections_filter(&module);
    if module.is_file() {
        return Ok(module);
    }
    Err(missing("GATEWAY_FILTER", &module, "make build"))
}

fn find_built(variable: &str, built: &str, command: &str) -> Result<PathBuf> {
    if let Some(named) = env::var_os(variable).map(PathBuf::from) {
        return if named.is_file() { Ok(named) } else { Err(missing(variable, &named, command)) };
    }
    let program = env::current_exe().unwrap_or_default();
    let found = program.ancestors().map(|folder| folder.join(built)).find(|file| file.is_file());
    found.ok_or_else(|| missing(variable, Path::new(built), command))
}

fn missing(variable: &str, program: &Path, command: &str) -> Error {
    Error::Missing {
        program: program.display().to_string(),
        hint: format!("run `{command}`, or name the filter's module in {variable}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_s_name_tells_its_form() {
        assert_eq!(form_of(Path::new("/a/libkube_oidc_gateway.so")), FilterForm::Native);
        assert_eq!(form_of(Path::new("/a/filter.wasm")), FilterForm::Wasm);
        assert_eq!(form_of(Path::new("/a.so/filter.wasm")), FilterForm::Wasm);
    }
}
