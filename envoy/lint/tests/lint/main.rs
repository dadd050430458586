//! What is rendered keeps every rule of `lint`, and each rule finds the configuration that breaks it.

mod around;
mod callouts;
mod clusters;
mod conditions;
mod delegate;
mod doors;
mod dump;
mod listener;
mod native;
mod portal;
mod probe;
mod routes;
#[path = "../../../config/tests/support/mod.rs"]
mod support;
mod together;
mod traces;
mod version;

use std::{fs, path::Path};

use gateway_config::{ClientImpersonation, FilterForm, Inputs, render};
use gateway_control::write;
use gateway_core::native::LIBRARY;
use gateway_lint::{Finding, Rule, Sources, lint};
use serde_json::{Value, json};

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/1/typed_config";
const STRIP: &str = "filter-strip.yaml";
const GATEWAY: &str = "filter-gateway.yaml";
const GATE: &str = "filter-gate.yaml";
const CONNECTIONS: &str = "filter-connections.yaml";
const ROUTES: &str = "routes.yaml";
const PROBE: &str = "routes-probe.yaml";
const CLUSTERS: &str = "clusters.yaml";
const ENVOY: &str = "envoy.yaml";
/// In the variant `in-cluster`: websocket, other upgrades, everything else, last.
const HOST: &str = "/resources/0/virtual_hosts/0";
const OPTIONS: &str =
    "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The files of a rendered gateway, to be broken, and the form of its filter.
struct Files(Vec<(String, Value)>, FilterForm);

impl Files {
    fn of(variant: &str) -> Self {
        Self::rendered(&Self::inputs(variant))
    }

    /// Those of a gateway like it whose filter is the native module.
    fn native(variant: &str) -> Self {
        let mut inputs = Self::inputs(variant);
        inputs.options.form = FilterForm::Native;
        inputs.options.filter = Path::new("/gateway").join(LIBRARY);
        Self::rendered(&inputs)
    }

    fn inputs(variant: &str) -> Inputs {
        let variants = support::variants(Path::new("/gateway"));
        let (_, mut inputs) = variants.into_iter().find(|(name, _)| *name == variant).unwrap();
        // One of them believes whoever answers, which is a finding.
        inputs.apiserver.ca.get_or_insert("/gateway/ca.crt".into());
        inputs
    }

    fn rendered(inputs: &Inputs) -> Self {
        let rendered = render(inputs).unwrap();
        let mut files: Vec<_> = rendered
            .files()
            .iter()
            .map(|file| (file.name.clone(), support::parsed(&rendered, &file.name)))
            .collect();
        // The bootstrap comes first.
        files.reverse();
        let mut files = Self(files, inputs.options.form);
        let mode = match inputs.documents.client_impersonation() {
            ClientImpersonation::Strip => "strip",
            ClientImpersonation::Reject => "reject",
            ClientImpersonation::Authorize => "authorize",
        };
        // What is there by default is said.
        files.plugin(|document| {
            let gateway = &mut document["gatewayConfiguration"];
            if gateway.is_null() {
                *gateway = document_with(&json!({}));
            }
            gateway["clientImpersonation"] = json!(mode);
        });
        files
    }

    /// Gives the filter the `GatewayConfiguration` with these fields.
    fn configure(&mut self, fields: &Value) {
        self.plugin(|document| document["gatewayConfiguration"] = document_with(fields));
    }

    /// Changes what the filter itself is given.
    fn plugin(&mut self, change: impl FnOnce(&mut Value)) {
        const CONFIGURATION: &str = "/resources/0/typed_config/config/configuration";
        let text = self.at(GATEWAY, CONFIGURATION)["value"].as_str().unwrap();
        let mut document: Value = serde_json::from_str(text).unwrap();
        change(&mut document);
        self.set(GATEWAY, CONFIGURATION, "value", json!(document.to_string()));
    }

    fn at(&mut self, file: &str, pointer: &str) -> &mut Value {
        let (_, value) = self.0.iter_mut().find(|(name, _)| name == file).unwrap();
        let pointer = match self.1 {
            FilterForm::Wasm if file == GATEWAY => delegate::place(pointer),
            FilterForm::Wasm => pointer.to_owned(),
            FilterForm::Native => native::place(pointer),
        };
        value.pointer_mut(&pointer).unwrap_or_else(|| panic!("{file} has no {pointer}"))
    }

    fn set(&mut self, file: &str, pointer: &str, field: &str, value: Value) {
        self.at(file, pointer)[field] = value;
    }

    fn remove(&mut self, file: &str, pointer: &str, field: &str) {
        self.at(file, pointer).as_object_mut().unwrap().remove(field).expect(field);
    }

    fn list(&mut self, file: &str, pointer: &str) -> &mut Vec<Value> {
        self.at(file, pointer).as_array_mut().unwrap()
    }

    fn lint(self) -> Vec<Finding> {
        lint(&Sources::from_values(self.0))
    }
}

/// A `GatewayConfiguration` with these fields.
fn document_with(fields: &Value) -> Value {
    let mut document = json!({
        "apiVersion": "gateway.kube-oidc.dev/v1alpha1",
        "kind": "GatewayConfiguration",
    });
    document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    document
}

#[test]
fn every_rendered_gateway_is_clean() {
    for (name, _) in support::variants(Path::new("/gateway")) {
        assert_eq!(Files::of(name).lint(), [], "{name}");
    }
}

#[test]
fn an_api_server_that_is_not_checked_is_found() {
    let mut inputs = support::inputs(Path::new("/gateway"));
    inputs.apiserver.ca = None;
    let findings = Files::rendered(&inputs).lint();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.rule == Rule::UpstreamTrust), "{findings:?}");
}

/// As users have it: files on disk, found by the paths in the bootstrap, or given from elsewhere.
#[test]
fn files_are_read_from_where_they_are() {
    let root = tempfile::tempdir().unwrap();
    let inputs = support::inputs(root.path());
    write(&render(&inputs).unwrap(), &inputs.directory).unwrap();
    let sources = Sources::read(&inputs.directory.join(ENVOY), &[]).unwrap();
    assert_eq!(lint(&sources), []);

    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("copy");
    fs::rename(&inputs.directory, &moved).unwrap();
    let sources = Sources::read(&moved.join(ENVOY), &[]).unwrap();
    assert!(lint(&sources).iter().any(|finding| finding.rule == Rule::Unread));
    let given: Vec<_> = [CLUSTERS, ROUTES, PROBE, STRIP, GATEWAY, GATE, CONNECTIONS]
        .iter()
        .map(|name| moved.join(name))
        .collect();
    let sources = Sources::read(&moved.join(ENVOY), &given).unwrap();
    assert_eq!(lint(&sources), []);
}

/// The configuration that is broken, how, and what is found: the rule and a part of its place.
type Case = (Rule, &'static str, fn(&mut Files), &'static str);

fn broken() -> Vec<Case> {
    let mut cases = listener::broken();
    cases.extend(doors::broken());
    cases.extend(routes::broken());
    cases.extend(conditions::broken());
    cases.extend(delegate::broken());
    cases.extend(around::broken());
    cases.extend(clusters::broken());
    cases.extend(callouts::broken());
    cases.extend(portal::broken());
    cases.extend(probe::broken());
    cases.extend(version::broken());
    cases.extend(together::broken());
    cases.extend(traces::broken());
    cases.extend(native::broken());
    cases
}

#[test]
fn every_rule_finds_what_breaks_it() {
    let cases = broken();
    for (index, (rule, variant, breaks, place)) in cases.iter().enumerate() {
        let case = format!("{index}, {}", rule.name());
        let mut files = Files::of(variant);
        breaks(&mut files);
        let findings = files.lint();
        assert!(!findings.is_empty(), "{case}: nothing found");
        for finding in &findings {
            assert_eq!(finding.rule, *rule, "{case}: {finding}");
        }
        let places: Vec<_> = findings.iter().map(|finding| finding.at.as_str()).collect();
        assert!(places.iter().any(|at| at.contains(place)), "{case}: {places:?}");
        let text = findings[0].to_string();
        assert!(text.contains("way out: "), "{text}");
    }
    for rule in Rule::ALL {
        assert!(cases.iter().any(|(known, ..)| known == rule), "{}: no case", rule.name());
    }
}
