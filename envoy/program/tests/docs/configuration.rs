//! docs/gateway-configuration.md, of the types of `gateway_core::config` and their descriptions.

use std::{fmt::Write, fs, process::Command};

use gateway_config::parse_gateway;
use gateway_core::config::{API_VERSION, GatewayConfiguration, KIND};
use serde_json::Value;

const HEAD: &str = "# GatewayConfiguration: every field

<!-- Generated from the types of gateway_core::config; UPDATE_DOCS=1 cargo test -p kube-oidc-gateway --test docs -->

What the gateway does beyond authentication. Every field has a default, and the document is optional. An unknown field is an
error, and so is a field that is there twice. The error names it. [configuration.md](configuration.md) has an example.
";

#[test]
fn the_reference_is_what_the_types_say() {
    super::hold("docs/gateway-configuration.md", &reference());
}

/// What people copy from a page must be taken.
#[test]
fn the_documents_in_the_pages_are_valid() {
    let mut found = 0;
    for page in super::pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.contains(&format!("\nkind: {KIND}\n"))) {
            parse_gateway(block.as_bytes())
                .unwrap_or_else(|error| panic!("{}: {error}\n{block}", page.display()));
            found += 1;
        }
    }
    assert!(found > 2, "{found} documents found: are they written otherwise now?");
}

/// The same holds for an `AuthenticationConfiguration`, which `check` looks at with every rule of kube-apiserver's.
#[test]
fn the_authentication_configurations_in_the_pages_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authentication.yaml");
    let mut found = 0;
    for page in super::pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
        for block in blocks.filter(|it| it.contains("\nkind: AuthenticationConfiguration\n")) {
            fs::write(&file, block).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_kube-oidc-gateway"))
                .args(["check", "--authentication-config"])
                .arg(&file)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}\n{block}", page.display());
            found += 1;
        }
    }
    assert!(found > 20, "{found} documents found: are they written otherwise now?");
}

fn reference() -> String {
    let schema = GatewayConfiguration::schema();
    let defaults = serde_json::to_value(GatewayConfiguration::default()).unwrap();
    let mut text = format!("{HEAD}\n```yaml\napiVersion: {API_VERSION}\nkind: {KIND}\n```\n");
    let of_top = |name: &str, field: &Value| (name.to_owned(), field.clone());
    let fields: Vec<_> =
        schema["properties"].as_object().unwrap().iter().map(|(n, f)| of_top(n, f)).collect();
    for (name, field) in fields {
        let meaning = description(&field);
        let target = target(&schema, &field);
        write!(text, "\n## `{name}`\n\n{meaning}\n\n").unwrap();
        if let Some(properties) = target["properties"].as_object() {
            text.push_str("| field | default | allowed | meaning |\n|---|---|---|---|\n");
            for (inner, field) in properties {
                let path = format!("{name}.{inner}");
                row(&mut text, &schema, &path, field, &defaults[&name][inner]);
                let items = self::target(&schema, &field["items"]);
                for (each, field) in items["properties"].as_object().into_iter().flatten() {
                    row(&mut text, &schema, &format!("{path}[].{each}"), field, &field["default"]);
                }
            }
        } else if let Some(properties) =
            self::target(&schema, &target["items"])["properties"].as_object()
        {
            text.push_str("| field | default | allowed | meaning |\n|---|---|---|---|\n");
            for (inner, field) in properties {
                let path = format!("{name}[].{inner}");
                let parts = self::target(&schema, field)["properties"].as_object();
                for (part, field) in parts.into_iter().flatten() {
                    let path = format!("{path}.{part}");
                    row(&mut text, &schema, &path, field, &field["default"]);
                }
                if parts.is_none() {
                    row(&mut text, &schema, &path, field, &field["default"]);
                }
            }
        } else if variants(target).is_empty() {
            writeln!(text, "The value is {}; the default is `{}`.", kind(target), defaults[&name])
                .unwrap();
        } else {
            text.push_str("| value | meaning |\n|---|---|\n");
            for (value, meaning) in variants(target) {
                let default = if defaults[&name] == value { " (default)" } else { "" };
                writeln!(text, "| `{value}`{default} | {meaning} |").unwrap();
            }
        }
    }
    text
}

fn row(text: &mut String, schema: &Value, path: &str, field: &Value, default: &Value) {
    let target = target(schema, field);
    let configuration = GatewayConfiguration::default();
    let bound = configuration.bounds().into_iter().find(|bound| bound.field == path);
    let variants = variants(target);
    let mut meaning = description(field);
    let allowed = if let Some(bound) = bound {
        bound.rule
    } else if variants.is_empty() {
        kind(target).to_owned()
    } else {
        for (value, what) in &variants {
            write!(meaning, " `{value}`: {what}").unwrap();
        }
        variants.iter().map(|(value, _)| format!("`{value}`")).collect::<Vec<_>>().join(", ")
    };
    let default = match default {
        Value::String(default) => default.clone(),
        default => default.to_string(),
    };
    writeln!(text, "| `{path}` | `{default}` | {allowed} | {meaning} |").unwrap();
}

/// The type behind a reference.
fn target<'a>(schema: &'a Value, field: &'a Value) -> &'a Value {
    match field["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => field,
    }
}

/// The values of an enumeration, each with what it means.
fn variants(kind: &Value) -> Vec<(String, String)> {
    let variants = kind["oneOf"].as_array().cloned().unwrap_or_default();
    variants
        .iter()
        .map(|variant| (variant["const"].as_str().unwrap().to_owned(), description(variant)))
        .collect()
}

fn kind(kind: &Value) -> &'static str {
    match kind["type"].as_str() {
        Some("boolean") => "`true`, `false`",
        Some("array") if kind["items"].get("$ref").is_some() => "a list of objects",
        Some("array") => "a list of texts",
        Some("object") => "texts, each with a list of texts",
        Some("string") => "a text",
        Some("integer") => "a number",
        other => panic!("no word for {other:?}: {kind}"),
    }
}

#[track_caller]
pub fn description(field: &Value) -> String {
    let text = field["description"].as_str().unwrap_or_else(|| panic!("no description: {field}"));
    text.replace('\n', " ").replace('|', "\\|")
}
