//! The programs the sandbox runs: found on this machine where the version is right, else built or fetched once into a
//! cache folder of the user.
//!
//! Order: the folder `KUBEBUILDER_ASSETS` names, `PATH`, the cache (`$XDG_CACHE_HOME` or `~/.cache`, then
//! `kube-oidc-gateway/NAME-VERSION-HASH/`). The hash is of everything that defines the build, so a changed recipe is a new entry.

mod cache;
mod fetch;
mod gobuild;
mod gofiles;
mod locate;
mod patch;
mod progress;
mod recipe;
mod tool;

use std::path::PathBuf;

pub use self::progress::Progress;
use self::recipe::{Recipe, recipes};
use crate::error::{Error, Result};

/// Paths of the sandbox's programs.
#[derive(Clone, Debug)]
pub struct Assets {
    /// etcd 3.6.
    pub etcd: PathBuf,
    /// kube-apiserver 1.36.
    pub kube_apiserver: PathBuf,
    /// kubectl 1.36.
    pub kubectl: PathBuf,
    /// kwok with the sandbox's changes.
    pub kwok: PathBuf,
    /// Envoy 1.40.
    pub envoy: PathBuf,
}

impl Assets {
    /// Finds every program, and builds or fetches what is missing: half an hour on a slow machine, told on `progress`.
    ///
    /// Any number of processes may ask at once; one builds, the others wait for it.
    pub fn ensure(progress: &Progress) -> Result<Self> {
        let recipes = recipes()?;
        let mut found = Vec::new();
        for (index, recipe) in recipes.iter().enumerate() {
            progress.step(index + 1, recipes.len());
            found.extend(recipe_programs(recipe, progress)?);
        }
        let mut path = |name: &str| {
            let index = found.iter().position(|(found, _)| *found == name);
            index.map(|index| found.swap_remove(index).1).ok_or_else(|| {
                Error::Invalid(format!("no recipe of the sandbox's programs makes {name}"))
            })
        };
        Ok(Self {
            etcd: path("etcd")?,
            kube_apiserver: path("kube-apiserver")?,
            kubectl: path("kubectl")?,
            kwok: path("kwok")?,
            envoy: path("envoy")?,
        })
    }
}

/// Helm 3, which only tests of the chart run; found or built as [`Assets::ensure`] does.
pub fn helm(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipe::helm()?, progress)
}

/// Docker Compose, for the sandbox in containers; found or built as [`Assets::ensure`] does.
pub fn compose(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipe::compose()?, progress)
}

/// Envoy Gateway, for the test of its objects; found or built as [`Assets::ensure`] does, in some ten minutes.
pub fn envoy_gateway(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipe::envoy_gateway()?, progress)
}

/// A release of Envoy with CVE-2026-73548, for tests that it is refused, or harmless; fetched as [`Assets::ensure`] does.
pub fn vulnerable_envoy(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipe::vulnerable_envoy()?, progress)
}

/// The folder with the custom resource definitions of cert-manager, the Prometheus operator, Istio, the Gateway API and Envoy
/// Gateway, which tests of the manifests install.
pub fn crds(progress: &Progress) -> Result<PathBuf> {
    cache::entry(&recipe::crds()?, progress)
}

fn only_program(recipe: &Recipe, progress: &Progress) -> Result<PathBuf> {
    let program = recipe_programs(recipe, progress)?.pop();
    let missing = || Error::Invalid(format!("the recipe of {} makes no program", recipe.name));
    program.map(|(_, path)| path).ok_or_else(missing)
}

fn recipe_programs(recipe: &Recipe, progress: &Progress) -> Result<Vec<(&'static str, PathBuf)>> {
    let installed: Vec<_> = recipe
        .programs
        .iter()
        .map(|program| (program.name, locate::installed(program, &recipe.pin.accepts)))
        .collect();
    if installed.iter().all(|(_, path)| path.is_some()) {
        return Ok(installed.into_iter().filter_map(|(name, path)| Some((name, path?))).collect());
    }
    let folder = cache::entry(recipe, progress)?;
    Ok(installed
        .into_iter()
        .map(|(name, path)| (name, path.unwrap_or_else(|| folder.join(name))))
        .collect())
}
