//! docs/portal-configuration.md and its schema, of the type `gateway_config::portal::PortalConfiguration`.

use std::fmt::Write;

use gateway_config::portal::{KIND, PortalConfiguration};
use gateway_core::config::API_VERSION;
use serde_json::Value;

use super::configuration::description;

const HEAD: &str = "# PortalConfiguration: every field

<!-- Generated from gateway_config::portal::PortalConfiguration; UPDATE_DOCS=1 cargo test -p kube-oidc-gateway --test docs -->

A portal beside the gateway ([portal.md](portal.md#beside-the-gateway)). Only `host` is required. An unknown field is an error, and so is a field that is
there twice. Every error begins with the field's path. Each field except `host` is also a flag of `kube-oidc-gateway portal`: `--max-lifetime` for `maxLifetime`. There is a
[schema](portal-configuration.schema.json) for editors.
";

#[test]
fn the_reference_of_the_portal_is_what_the_type_says() {
    super::hold("docs/portal-configuration.md", &reference());
    let schema = serde_json::to_string_pretty(&document()).unwrap();
    super::hold("docs/portal-configuration.schema.json", &format!("{schema}\n"));
}

/// The schema of the whole document: what every document of this kind says comes before its fields.
pub fn document() -> Value {
    let mut schema = PortalConfiguration::schema();
    for (field, value) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        schema["properties"][field] = serde_json::json!({"const": value});
    }
    schema["required"] = serde_json::json!(["apiVersion", "kind", "host"]);
    schema
}

fn reference() -> String {
    let schema = PortalConfiguration::schema();
    let defaults = serde_json::to_value(PortalConfiguration::default()).unwrap();
    let mut text = format!("{HEAD}\n```yaml\napiVersion: {API_VERSION}\nkind: {KIND}\n```\n\n");
    text.push_str("| field | default | allowed | meaning |\n|---|---|---|---|\n");
    for (name, field) in schema["properties"].as_object().unwrap() {
        let default = match &defaults[name] {
            Value::Null => "none".to_owned(),
            Value::String(default) => format!("`{default}`"),
            default => format!("`{default}`"),
        };
        let meaning = description(field);
        writeln!(text, "| `{name}` | {default} | {} | {meaning} |", allowed(name, field)).unwrap();
    }
    text
}

fn allowed(name: &str, field: &Value) -> &'static str {
    let kind = match &field["type"] {
        Value::Array(kinds) => &kinds[0],
        kind => kind,
    };
    match kind.as_str() {
        _ if name == "maxLifetime" => "a duration",
        Some("boolean") => "`true`, `false`",
        Some("array") => "a list of texts",
        Some("integer") => "a number",
        Some("string") => "a text",
        other => panic!("no word for {other:?}: {field}"),
    }
}
