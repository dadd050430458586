//! All files of a gateway as one static bootstrap.
//!
//! `envoy --mode validate` looks at `envoy.yaml` alone: it would pass a gateway whose every other file is wrong. With clusters,
//! routes, filters and secrets in their places inside one bootstrap it judges them all.

use serde_json::{Map, Value, json};

use crate::{rendered::Rendered, upstream::PROBE_CLUSTER};

/// A rendered file that does not have the form that is expected of it.
#[derive(Debug, thiserror::Error)]
pub enum FlatError {
    /// Not YAML.
    #[error("{name}: {source}")]
    Yaml {
        /// The file.
        name: String,
        /// What is wrong.
        source: Box<serde_saphyr::Error>,
    },
    /// Something that another file refers to is not there.
    #[error("{name}: {what} is missing")]
    Missing {
        /// The file.
        name: String,
        /// What is missing.
        what: &'static str,
    },
}

impl Rendered {
    /// The files as one static bootstrap, for `envoy --mode validate`. It would not reload anything.
    pub fn flat(&self) -> Result<Value, FlatError> {
        let mut bootstrap = self.parsed("envoy.yaml")?;
        let secrets = self
            .files()
            .iter()
            .filter(|file| file.name.starts_with("secret-"))
            .map(|file| self.resources(&file.name))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .map(untyped)
            .collect();
        let clusters = self.resources("clusters.yaml")?.into_iter().map(untyped);
        if let Some(resources) = bootstrap.get_mut("static_resources") {
            resources["secrets"] = Value::Array(secrets);
            // The collector of traces stands in the bootstrap itself.
            let own = resources.get_mut("clusters").map(Value::take);
            let own = own.as_ref().and_then(Value::as_array).into_iter().flatten().cloned();
            resources["clusters"] = Value::Array(own.chain(clusters).collect());
        }
        if let Some(fields) = bootstrap.as_object_mut() {
            fields.remove("dynamic_resources");
        }
        self.flatten(&mut bootstrap)?;
        Ok(bootstrap)
    }

    /// Puts what is fetched from a file in the place of its address, at any depth.
    fn flatten(&self, value: &mut Value) -> Result<(), FlatError> {
        match value {
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.flatten(item)),
            Value::Object(fields) => {
                if fields.remove("rds").is_some() {
                    fields.insert("route_config".to_owned(), self.resource("routes.yaml")?);
                }
                // A reference to a secret without a source is one to a static secret.
                fields.remove("sds_config");
                if fields.remove("config_discovery").is_some() {
                    let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
                    let mut filter = self.resource(&format!("filter-{name}.yaml"))?;
                    fields.insert("typed_config".to_owned(), filter["typed_config"].take());
                }
                fields.values_mut().try_for_each(|field| self.flatten(field))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn parsed(&self, name: &str) -> Result<Value, FlatError> {
        let file = self
            .files()
            .iter()
            .find(|file| file.name == name)
            .ok_or_else(|| FlatError::Missing { name: name.to_owned(), what: "the file" })?;
        serde_saphyr::from_str(&file.text)
            .map_err(|source| FlatError::Yaml { name: name.to_owned(), source: Box::new(source) })
    }

    pub(crate) fn resources(&self, name: &str) -> Result<Vec<Value>, FlatError> {
        match self.parsed(name)?.get_mut("resources").map(Value::take) {
            Some(Value::Array(resources)) => Ok(resources),
            _ => Err(FlatError::Missing { name: name.to_owned(), what: "resources" }),
        }
    }

    /// The clusters, without the one by which a program beside Envoy asks: elsewhere there is none.
    pub(crate) fn clusters(&self) -> Result<Vec<Value>, FlatError> {
        let mut clusters = self.resources("clusters.yaml")?;
        clusters.retain(|cluster| cluster["name"] != PROBE_CLUSTER);
        Ok(clusters)
    }

    /// The only resource of a file, as a field of its type would hold it.
    pub(crate) fn resource(&self, name: &str) -> Result<Value, FlatError> {
        let first = self.resources(name)?.into_iter().next();
        first
            .map(untyped)
            .ok_or_else(|| FlatError::Missing { name: name.to_owned(), what: "a resource" })
    }
}

/// The connection manager of a filter chain.
pub(crate) fn manager(chain: &Value) -> &Value {
    let filters = chain["filters"].as_array().into_iter().flatten();
    let name = "envoy.filters.network.http_connection_manager";
    filters
        .filter(|filter| filter["name"] == name)
        .map(|filter| &filter["typed_config"])
        .next()
        .unwrap_or(&Value::Null)
}

pub(crate) fn untyped(resource: Value) -> Value {
    let mut fields: Map<String, Value> = match resource {
        Value::Object(fields) => fields,
        other => return other,
    };
    fields.remove("@type");
    json!(fields)
}
