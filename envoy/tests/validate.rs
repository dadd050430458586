//! The real Envoy takes what is rendered.

mod support;

use kube_oidc_gateway::render;

#[test]
fn envoy_takes_the_rendered_files() {
    let Some(envoy) = support::envoy() else { return };
    let root = tempfile::tempdir().unwrap();
    let inputs = support::inputs(root.path());
    support::make_files(&inputs);
    let rendered = render(&inputs).unwrap();
    rendered.write(&inputs.directory).unwrap();
    support::validate(&envoy, &rendered, &inputs.directory).unwrap();
}
