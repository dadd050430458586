//! Where the filter's modules are.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::Args;
use gateway_config::FilterForm;
use gateway_core::native::LIBRARY;

use super::{error::Error, files::absolute};

/// Where an image has the Wasm modules, if they are not beside the program.
const SHARED: &str = "/usr/local/share/kube-oidc-gateway/filter.wasm";

/// Where an image has the native module, if it is not beside the program.
const NATIVE: &str = "/usr/local/lib/kube-oidc-gateway/libkube_oidc_gateway.so";

/// Which filter Envoy loads.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Clone, Args)]
pub struct FilterFlags {
    /// The form of the filter: wasm runs in a sandbox and everywhere; native is faster, and a part of Envoy's process
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    pub filter_form: FilterForm,
    /// The Wasm module, with connections.wasm of the same release beside it [default: filter.wasm beside this program, else in /usr/local/share/kube-oidc-gateway]
    #[arg(long, value_name = "FILE", env = "GATEWAY_FILTER")]
    pub filter: Option<PathBuf>,
    /// The native module, with --filter-form=native [default: libkube_oidc_gateway.so beside this program, else in /usr/local/lib/kube-oidc-gateway]
    #[arg(long, value_name = "FILE", env = "GATEWAY_NATIVE_FILTER")]
    pub native_filter: Option<PathBuf>,
}

impl FilterFlags {
    /// The whole path of the filter's module, in its form.
    pub fn module(&self) -> Result<PathBuf, Error> {
        match self.filter_form {
            FilterForm::Wasm => self.wasm(),
            FilterForm::Native => native(self.native_filter.as_deref()),
        }
    }

    /// The whole path of the Wasm module, which a portal is made of in either form.
    pub fn wasm(&self) -> Result<PathBuf, Error> {
        filter(self.filter.clone())
    }
}

/// The whole path of the Wasm module that is named, or else of the one beside this program, or of the image's.
pub fn filter(named: Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(path) = named {
        return absolute(&path);
    }
    found("filter.wasm", SHARED).ok_or_else(|| {
        Error::Usage("no filter.wasm beside this program: name one with --filter".to_owned())
    })
}

fn native(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(path) = named {
        return absolute(path);
    }
    found(LIBRARY, NATIVE).ok_or_else(|| {
        let text = "name one with --native-filter, or take --filter-form=wasm";
        Error::Usage(format!("no {LIBRARY} beside this program: {text}"))
    })
}

/// The file of this name beside this program, else the image's.
fn found(name: &str, of_image: &str) -> Option<PathBuf> {
    let program = env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent).map(|it| it.join(name));
    beside.into_iter().chain([PathBuf::from(of_image)]).find(|path| path.is_file())
}
