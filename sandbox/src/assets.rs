//! The programs the sandbox runs: found on this machine where the version is right, else built or fetched once into a
//! cache folder of the user.
//!
//! Order: the folder `KUBEBUILDER_ASSETS` names, `PATH`, the cache (`$XDG_CACHE_HOME` or `~/.cache`, then
//! `kube-oidc-gateway/NAME-VERSION-HASH/`). The hash is of everything that defines the build, so a changed recipe is a new entry,
//! and each minor of Kubernetes has one of its own. What Kubernetes publishes is downloaded where that can be reached, and built
//! where it cannot.

mod archive;
mod cache;
mod fetch;
mod gobuild;
mod gofiles;
mod kubernetes;
mod locate;
mod patch;
mod progress;
mod recipe;
mod recipes;
mod releases;
mod tool;
mod workplace;

use std::path::PathBuf;

pub use self::{
    kubernetes::{Kubernetes, UnknownKubernetes},
    progress::Progress,
};
use self::{recipe::Recipe, recipes::recipes};
use crate::error::{Error, Result};

/// Paths of the sandbox's programs.
#[derive(Clone, Debug)]
pub struct Assets {
    /// The minor of kube-apiserver, and of kubectl unless [`KUBECTL`] names another.
    pub kubernetes: Kubernetes,
    /// etcd 3.6 or 3.7.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// kwok with the sandbox's changes.
    pub kwok: PathBuf,
    /// Envoy 1.40.
    pub envoy: PathBuf,
}

/// The environment variable that names another minor of kubectl than kube-apiserver's.
pub const KUBECTL: &str = "SANDBOX_KUBECTL";

impl Assets {
    /// Finds every program, and builds or fetches what is missing: half an hour on a slow machine, told on `progress`.
    ///
    /// Any number of processes may ask at once; one builds, the others wait for it.
    pub fn ensure(kubernetes: Kubernetes, progress: &Progress) -> Result<Self> {
        let recipes = recipes(kubernetes)?;
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
            kubernetes,
            etcd: path("etcd")?,
            kube_apiserver: path("kube-apiserver")?,
            kubectl: match Kubernetes::named_by(KUBECTL)? {
                Some(other) if other != kubernetes => kubectl(other, progress)?,
                _ => path("kubectl")?,
            },
            kwok: path("kwok")?,
            envoy: path("envoy")?,
        })
    }
}

/// kubectl of a minor.
fn kubectl(kubernetes: Kubernetes, progress: &Progress) -> Result<PathBuf> {
    for recipe in &recipes(kubernetes)? {
        if recipe.programs.iter().any(|program| program.name == "kubectl") {
            let programs = recipe_programs(recipe, progress)?;
            if let Some((_, path)) = programs.into_iter().find(|(name, _)| *name == "kubectl") {
                return Ok(path);
            }
        }
    }
    Err(Error::Invalid("no recipe of the sandbox's programs makes kubectl".to_owned()))
}

/// Helm 3, which only tests of the chart run; found or built as [`Assets::ensure`] does.
pub fn helm(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipes::helm()?, progress)
}

/// Dex, an issuer that is not ours, for the logins at it; found or built as [`Assets::ensure`] does, in some minutes.
pub fn dex(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipes::dex()?, progress)
}

/// kubelogin, beside which kubectl-oidc is run; found or built as [`Assets::ensure`] does, in a minute.
pub fn kubelogin(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipes::kubelogin()?, progress)
}

/// Docker Compose, for the sandbox in containers; found or built as [`Assets::ensure`] does.
pub fn compose(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipes::compose()?, progress)
}

/// Envoy Gateway, for the test of its objects; found or built as [`Assets::ensure`] does, in some ten minutes.
pub fn envoy_gateway(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipes::envoy_gateway()?, progress)
}

/// Programs of Kubernetes that a cluster with a real node has beside [`Assets`].
#[derive(Clone, Debug)]
pub struct NodePrograms {
    /// kube-scheduler.
    pub scheduler: PathBuf,
    /// kube-proxy.
    pub proxy: PathBuf,
    /// kube-controller-manager.
    pub controller_manager: PathBuf,
    /// The kubelet.
    pub kubelet: PathBuf,
}

/// What a real node needs of the default minor; found or built as [`Assets::ensure`] does, in some four minutes.
pub fn node(progress: &Progress) -> Result<NodePrograms> {
    let programs = recipe_programs(&recipes::node()?, progress)?;
    let paths: Vec<PathBuf> = programs.into_iter().map(|(_, path)| path).collect();
    let [scheduler, proxy, controller_manager, kubelet] = paths.try_into().map_err(|paths| {
        Error::Invalid(format!("the recipe of a node's programs makes {paths:?}"))
    })?;
    Ok(NodePrograms { scheduler, proxy, controller_manager, kubelet })
}

/// A release of Envoy with CVE-2026-73548, for tests that it is refused, or harmless; fetched as [`Assets::ensure`] does.
pub fn vulnerable_envoy(progress: &Progress) -> Result<PathBuf> {
    only_program(&recipes::vulnerable_envoy()?, progress)
}

/// The folder with the custom resource definitions of cert-manager, the Prometheus operator, Istio, the Gateway API and Envoy
/// Gateway, which tests of the manifests install.
pub fn crds(progress: &Progress) -> Result<PathBuf> {
    cache::entry(&recipes::crds()?, progress)
}

/// The server of issuers in all manners ([`crate::Manners`]); built in some seconds.
pub fn manners(progress: &Progress) -> Result<PathBuf> {
    Ok(cache::entry(&recipes::manners()?, progress)?.join("manners"))
}

/// The OpenTelemetry collector ([`crate::Collector`]), for the tests of traces; built in some four minutes.
pub fn collector(progress: &Progress) -> Result<PathBuf> {
    Ok(cache::entry(&recipes::collector()?, progress)?.join("collector"))
}

fn only_program(recipe: &Recipe, progress: &Progress) -> Result<PathBuf> {
    let program = recipe_programs(recipe, progress)?.pop();
    let missing = || Error::Invalid(format!("the recipe of {} makes no program", recipe.name));
    program.map(|(_, path)| path).ok_or_else(missing)
}

fn recipe_programs(recipe: &Recipe, progress: &Progress) -> Result<Vec<(&'static str, PathBuf)>> {
    let installed = recipe
        .programs
        .iter()
        .map(|program| Ok((program.name, locate::installed(program, &recipe.pin.accepts)?)));
    let installed: Vec<_> = installed.collect::<Result<_>>()?;
    if installed.iter().all(|(_, path)| path.is_some()) {
        return Ok(installed.into_iter().filter_map(|(name, path)| Some((name, path?))).collect());
    }
    let folder = cache::entry(recipe, progress)?;
    Ok(installed
        .into_iter()
        .map(|(name, path)| (name, path.unwrap_or_else(|| folder.join(name))))
        .collect())
}
