//! Where kube-apiserver and kubectl of each minor of Kubernetes come from, and the rest of the default minor's programs.

use std::{collections::BTreeMap, env};

use serde::Deserialize;

use super::{
    archive::Archive,
    kubernetes::Kubernetes,
    recipe::{Pin, Program, Recipe, Source, SourceFile, source_files},
};
use crate::error::{Error, Result};

/// Where the archives of releases are, in place of Kubernetes' own download site: the URL below which
/// `vVERSION/kubernetes-server-linux-ARCH.tar.gz` is. Empty: no archive is asked for.
pub(super) const MIRROR: &str = "SANDBOX_KUBERNETES_MIRROR";

/// What `versions.toml` says of Kubernetes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Releases {
    downloads: String,
    minors: BTreeMap<String, Release>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    version: String,
    accepts: Vec<String>,
    /// By the architecture's name in Kubernetes' releases, in hexadecimal digits.
    sha512: BTreeMap<String, String>,
}

/// How to get kube-apiserver and kubectl of a minor.
pub(super) fn recipe(kubernetes: Kubernetes, releases: Releases) -> Result<Recipe> {
    let module = match kubernetes {
        Kubernetes::V1_34 => source_files!("kubernetes/1.34": "go.mod", "go.sum"),
        Kubernetes::V1_35 => source_files!("kubernetes/1.35": "go.mod", "go.sum"),
        Kubernetes::V1_36 => source_files!("kubernetes/1.36": "go.mod", "go.sum"),
        Kubernetes::V1_37 => source_files!("kubernetes/1.37": "go.mod", "go.sum"),
    };
    let programs = vec![
        Program { name: "kube-apiserver", version_arguments: &["--version"] },
        Program { name: "kubectl", version_arguments: &["version", "--client"] },
    ];
    let packages = vec!["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"];
    of_release("kubernetes", kubernetes, releases, module, programs, packages)
}

/// How to get what else a cluster with a real node runs, of the default minor.
pub(super) fn node(releases: Releases) -> Result<Recipe> {
    let module = source_files!("node": "go.mod", "go.sum");
    let program = |name| Program { name, version_arguments: &["--version"] };
    let programs =
        ["kube-scheduler", "kube-proxy", "kube-controller-manager", "kubelet"].map(program);
    let packages = vec![
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kube-proxy",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kubelet",
    ];
    of_release("node", Kubernetes::default(), releases, module, programs.into(), packages)
}

fn of_release(
    name: &'static str,
    kubernetes: Kubernetes,
    mut releases: Releases,
    module: Vec<SourceFile>,
    programs: Vec<Program>,
    packages: Vec<&'static str>,
) -> Result<Recipe> {
    let release = releases.minors.remove(kubernetes.name()).ok_or_else(|| {
        Error::Invalid(format!("versions.toml: no kubernetes.minors.\"{kubernetes}\""))
    })?;
    let downloads = match env::var(MIRROR) {
        Ok(mirror) if mirror.is_empty() => None,
        Ok(mirror) => Some(mirror),
        Err(_) => Some(releases.downloads),
    };
    let archive = downloads.and_then(|downloads| archive(&downloads, &release));
    let (major, minor) = kubernetes.major_minor();
    let ldflags = [
        ("gitVersion", format!("v{}", release.version)),
        ("gitMajor", major.to_owned()),
        ("gitMinor", minor.to_owned()),
    ]
    .map(|(name, value)| format!(" -X k8s.io/component-base/version.{name}={value}"))
    .concat();
    Ok(Recipe {
        name,
        pin: Pin { version: release.version, accepts: release.accepts },
        programs,
        source: Source::Go { module, packages, ldflags, patch: None, archive },
    })
}

/// The release's archive for this machine, if there is one.
fn archive(downloads: &str, release: &Release) -> Option<Archive> {
    let architecture = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => "amd64",
        ("linux", "aarch64") => "arm64",
        _ => return None,
    };
    let (downloads, version) = (downloads.trim_end_matches('/'), &release.version);
    Some(Archive {
        url: format!("{downloads}/v{version}/kubernetes-server-linux-{architecture}.tar.gz"),
        sha512: release.sha512.get(architecture)?.clone(),
        folder: "kubernetes/server/bin",
        variable: MIRROR,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::recipes::recipes;

    #[test]
    fn a_minor_is_built_from_one_release_and_fetched_as_that() {
        for minor in Kubernetes::ALL {
            let recipe = recipes(minor).unwrap().pop().unwrap();
            of_one_release(minor, &recipe);
        }
        of_one_release(Kubernetes::default(), &crate::assets::recipes::node().unwrap());
    }

    fn of_one_release(minor: Kubernetes, recipe: &Recipe) {
        let version = &recipe.pin.version;
        assert!(version.starts_with(&format!("{minor}.")), "{minor}: {version}");
        assert_eq!(recipe.pin.accepts, [format!("v{minor}.")]);
        let Source::Go { module, ldflags, archive, .. } = &recipe.source else { panic!("not Go") };
        assert!(ldflags.contains(&format!("gitVersion=v{version} ")), "{ldflags}");
        let staging = version.replacen('1', "v0", 1);
        let replaced = module[0].1.lines().filter(|line| line.contains("=>"));
        let mut count = 0;
        for line in replaced {
            assert!(line.ends_with(&format!(" {staging}")), "{line}");
            count += 1;
        }
        assert!(count > 20, "{minor}: {count}");
        if let Some(Archive { url, sha512, .. }) = archive {
            assert!(url.contains(&format!("/v{version}/kubernetes-server-linux-")), "{url}");
            assert!(sha512.len() == 128 && sha512.bytes().all(|c| c.is_ascii_hexdigit()));
        }
    }
}
