//! Where the filter's module is.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{error::Error, files::absolute};

/// Where an image has the module, if it is not beside the program.
const SHARED: &str = "/usr/local/share/kube-oidc-gateway/filter.wasm";

/// The whole path of the module that is named, or else of the one beside this program, or of the image's.
pub fn filter(named: Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(path) = named {
        return absolute(&path);
    }
    let program = env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent).map(|it| it.join("filter.wasm"));
    let found = beside.into_iter().chain([PathBuf::from(SHARED)]).find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::Usage("no filter.wasm beside this program: name one with --filter".to_owned())
    })
}
