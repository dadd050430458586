//! The schema of the chart's values holds the documents of this project field by field: `helm` refuses a misspelt one.

use std::fs;

use gateway_core::config::{API_VERSION, GatewayConfiguration, KIND};
use serde_json::{Value, json};

use super::{hold, portal, root};

const SCHEMA: &str = "deploy/helm/kube-oidc-gateway/values.schema.json";

#[test]
fn the_schema_of_the_charts_values_has_the_documents() {
    let text = fs::read_to_string(root().join(SCHEMA)).unwrap();
    let mut schema: Value = serde_json::from_str(&text).unwrap();
    let mut gateway = GatewayConfiguration::schema();
    for (field, value) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        gateway["properties"][field] = json!({"const": value});
    }
    gateway["required"] = json!(["apiVersion", "kind"]);
    for (name, document) in
        [("gatewayConfiguration", gateway), ("portalConfiguration", portal::document())]
    {
        add(&mut schema, name, document);
    }
    hold(SCHEMA, &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()));
}

/// Puts the schema of a document among the definitions, and beside it, as `NAME.TYPE`, the types that it refers to.
fn add(schema: &mut Value, name: &str, mut document: Value) {
    let definitions = schema["definitions"].as_object_mut().unwrap();
    let old = format!("{name}.");
    definitions.retain(|key, _| !key.starts_with(&old));
    let document = document.as_object_mut().unwrap();
    for key in ["$schema", "title"] {
        document.remove(key);
    }
    let types = document.remove("$defs").unwrap_or_default();
    for (key, value) in types.as_object().into_iter().flatten() {
        definitions.insert(format!("{name}.{key}"), renamed(value, name));
    }
    definitions.insert(name.to_owned(), renamed(&Value::Object(document.clone()), name));
}

/// What refers to `#/$defs/TYPE` refers to `#/definitions/NAME.TYPE`: Helm's older versions know draft 7 alone.
fn renamed(value: &Value, name: &str) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix("#/$defs/") {
            Some(key) => json!(format!("#/definitions/{name}.{key}")),
            None => value.clone(),
        },
        Value::Array(items) => items.iter().map(|item| renamed(item, name)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, field)| (key.clone(), renamed(field, name))).collect()
        }
        _ => value.clone(),
    }
}
