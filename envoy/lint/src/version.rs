//! Whether the Envoy that has the configuration is of a version that may have it.

use crate::envoy_version::{CVE, ENVOY, ISTIO, Product, SWITCH, Version};
use crate::{
    finding::{Findings, Rule},
    node::Node,
    sources::Sources,
};

pub fn check(sources: &Sources, bootstrap: &Node<'_>, findings: &mut Findings) {
    for (product, version, at) in told(sources, bootstrap) {
        if let Err(vulnerable) = product.check(version) {
            findings.add(Rule::EnvoyVersion, &at, vulnerable.to_string());
        }
    }
    let layers = bootstrap.get("layered_runtime").map(|it| it.items("layers"));
    for layer in layers.unwrap_or_default() {
        let fixed = layer.get("static_layer").and_then(|it| it.get(SWITCH));
        // Envoy takes a text for a value, too.
        let on = |it: &Node<'_>| it.value() == true || it.value() == "true";
        if let Some(switch) = fixed.filter(|it| !on(it)) {
            findings.add(Rule::EnvoyVersion, &switch, format!("the fix of {CVE} is switched off"));
        }
    }
}

/// What tells the version, where: what is said of it goes first, then what a running Envoy says of itself. Istio's and others
/// that are built between two releases name none; then the mesh's own version decides.
pub fn told<'a>(sources: &Sources, bootstrap: &Node<'a>) -> Vec<(Product, Version, Node<'a>)> {
    if let Some(version) = sources.envoy() {
        return vec![(ENVOY, version, bootstrap.clone())];
    }
    let Some(node) = bootstrap.get("node") else { return Vec::new() };
    let istio = node.get("metadata").filter(|it| it.text("ISTIO_VERSION").is_some());
    if let Some(metadata) = istio {
        let version = metadata.text("ISTIO_VERSION").and_then(release);
        return version.map(|version| (ISTIO, version, metadata)).into_iter().collect();
    }
    let built = node.get("user_agent_build_version");
    let version = built.as_ref().and_then(build);
    version.zip(built).map(|(version, at)| (ENVOY, version, at)).into_iter().collect()
}

/// The release in an Istio's version, which distributions put a suffix to: `1.30.4-distroless`. What comes before a release
/// (`1.31-alpha.…`, `1.31.0-rc.1`) is none.
fn release(version: &str) -> Option<Version> {
    let (release, suffix) = version.split_once('-').unwrap_or((version, ""));
    let before = ["alpha", "beta", "rc", "dev"].iter().any(|it| suffix.starts_with(it));
    if before { None } else { release.parse().ok() }
}

/// The release in a `BuildVersion`; protobuf's JSON leaves zeros out.
fn build(built: &Node<'_>) -> Option<Version> {
    let version = built.get("version")?;
    let labelled = built.get("metadata").is_some_and(|it| it.get("build.label").is_some());
    let part = |field| u32::try_from(version.number(field).unwrap_or(0)).ok();
    let release = Version(part("major_number")?, part("minor_number")?, part("patch")?);
    (!labelled && release != Version(0, 0, 0)).then_some(release)
}
