//! The files of a configuration.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::envoy_version::Version;
use crate::{dump, node::Node, version};

/// A bootstrap and the files that it refers to.
#[derive(Debug, Clone)]
pub struct Sources {
    bootstrap: String,
    files: BTreeMap<String, Value>,
    /// Which of them stands for a path that one of them names.
    paths: BTreeMap<String, String>,
    envoy: Option<Version>,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no YAML.
    #[error("{path:?}: {reason}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What is wrong, in one line.
        reason: String,
    },
    /// It would stand for more than one file, or another one might as well.
    #[error(
        "{path:?}: several files have its name; give the files by the paths that the configuration has for them"
    )]
    Ambiguous {
        /// What the configuration names.
        path: PathBuf,
    },
    /// Nothing refers to it, so that it would prove nothing.
    #[error("{0:?}: nothing refers to this file")]
    Unused(PathBuf),
}

impl Sources {
    /// Reads a bootstrap, or a running Envoy's `/config_dump` in its place, the files that are given, and those that these refer to (`path_config_source`) and that are
    /// there. A given file stands for a file of its name: the paths may be those of another machine.
    ///
    /// # Errors
    /// If a file that is given cannot be read, nothing refers to it, or it is not clear for which file it stands.
    pub fn read(bootstrap: &Path, given: &[PathBuf]) -> Result<Self, SourceError> {
        let name = |path: &Path| path.display().to_string();
        let (files, paths) = (BTreeMap::new(), BTreeMap::new());
        let mut sources = Self { bootstrap: name(bootstrap), files, paths, envoy: None };
        sources.files.insert(name(bootstrap), dump::as_bootstrap(read(bootstrap)?));
        for path in given {
            sources.files.insert(name(path), read(path)?);
        }
        let names: Vec<_> = given.iter().map(|path| name(path)).collect();
        let mut to_do = vec![name(bootstrap)];
        while let Some(file) = to_do.pop() {
            let mut references = Vec::new();
            if let Some(value) = sources.files.get(&file) {
                collect(value, &mut references);
            }
            for reference in references {
                if sources.paths.contains_key(&reference) {
                    continue;
                }
                let found = match sources.stand_in(&reference, &names)? {
                    Some(found) => found,
                    None if Path::new(&reference).is_file() => {
                        sources.files.insert(reference.clone(), read(Path::new(&reference))?);
                        reference.clone()
                    }
                    None => continue,
                };
                sources.paths.insert(reference, found.clone());
                to_do.push(found);
            }
        }
        let is_used = |path: &&PathBuf| sources.paths.values().any(|used| *used == name(path));
        match given.iter().find(|path| !is_used(path)) {
            Some(unused) => Err(SourceError::Unused(unused.clone())),
            None => Ok(sources),
        }
    }

    /// Sources that are at hand as values: a file's name with what it holds. The first is the bootstrap.
    #[must_use]
    pub fn from_values(files: Vec<(String, Value)>) -> Self {
        let bootstrap = files.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let value = |value| dump::as_bootstrap(snake_case(value));
        let files = files.into_iter().map(|(name, file)| (name, value(file))).collect();
        let mut sources = Self { bootstrap, files, paths: BTreeMap::new(), envoy: None };
        let names: Vec<_> = sources.files.keys().cloned().collect();
        let mut references = Vec::new();
        sources.files.values().for_each(|value| collect(value, &mut references));
        for reference in references {
            if let Ok(Some(found)) = sources.stand_in(&reference, &names) {
                sources.paths.insert(reference, found);
            }
        }
        sources
    }

    /// Says which Envoy has the configuration, which files do not tell.
    pub fn of_envoy(&mut self, version: Version) {
        self.envoy = Some(version);
    }

    /// Whether anything tells if Envoy's version may be used: what was said of it, or the dump of a running one.
    #[must_use]
    pub fn tell_version(&self) -> bool {
        !version::told(self, &self.bootstrap()).is_empty()
    }

    pub(super) fn envoy(&self) -> Option<Version> {
        self.envoy
    }

    pub(super) fn bootstrap(&self) -> Node<'_> {
        let value = self.files.get(&self.bootstrap).unwrap_or(&Value::Null);
        Node::root(&self.bootstrap, value)
    }

    /// Everything that was read, file by file.
    pub(super) fn files(&self) -> impl Iterator<Item = Node<'_>> {
        self.files.iter().map(|(name, value)| Node::root(name, value))
    }

    /// The resources of the file that a config source names.
    pub(super) fn resources(&self, config_source: &Node<'_>) -> Option<Vec<Node<'_>>> {
        let path = config_source.at(&["path_config_source"])?.text("path")?;
        let (name, value) = self.files.get_key_value(self.paths.get(path)?)?;
        Some(Node::root(name, value).items("resources"))
    }

    /// What is at hand for a path: the file itself, or the one of its name among those that are given. That stands for no other then, which may
    /// say something else.
    fn stand_in(&self, reference: &str, given: &[String]) -> Result<Option<String>, SourceError> {
        let file_name = |path: &str| Path::new(path).file_name().map(ToOwned::to_owned);
        let found = if self.files.contains_key(reference) {
            Some(reference)
        } else {
            let alike = |name: &&String| {
                **name != self.bootstrap && file_name(name) == file_name(reference)
            };
            let mut alike = given.iter().filter(alike);
            let first = alike.next().map(String::as_str);
            if alike.next().is_some() {
                return Err(SourceError::Ambiguous { path: reference.into() });
            }
            first
        };
        let taken =
            |(path, used): (&String, &String)| path != reference && Some(used.as_str()) == found;
        if self.paths.iter().any(taken) {
            return Err(SourceError::Ambiguous { path: reference.into() });
        }
        Ok(found.map(str::to_owned))
    }
}

fn read(path: &Path) -> Result<Value, SourceError> {
    let text = fs::read_to_string(path)
        .map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
    let value = serde_saphyr::from_str(&text).map_err(|error| SourceError::Yaml {
        path: path.to_owned(),
        reason: error.to_string().lines().next().unwrap_or("not YAML").to_owned(),
    })?;
    Ok(snake_case(value))
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        Value::Object(fields) => {
            if let Some(path) = fields.get("path_config_source").and_then(|it| it.get("path")) {
                references.extend(path.as_str().map(str::to_owned));
            }
            fields.values().for_each(|field| collect(field, references));
        }
        _ => {}
    }
}

/// Whose keys are names of filters.
const BY_FILTER: &str = "typed_per_filter_config";

/// Protobuf's JSON has field names in both forms; here they are all in the one of the `.proto` files. Names of filters, by which maps have
/// their keys, stay. Whatever a message of any type may stand in as JSON (`TypedStruct`) is that message.
fn snake_case(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(snake_case).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| match (snake_key(&key), value) {
                (key, Value::Object(named)) if key == BY_FILTER => {
                    let named = named.into_iter().map(|(name, value)| (name, snake_case(value)));
                    (key, named.collect())
                }
                (key, value) => (key, snake_case(value)),
            });
            Value::Object(unwrapped(fields.collect()))
        }
        other => other,
    }
}

/// The message that a `TypedStruct` (of xDS, or of UDPA) holds; Envoy makes no difference. Any other as it is.
fn unwrapped(fields: Map<String, Value>) -> Map<String, Value> {
    let kind = fields.get("@type").and_then(Value::as_str);
    let is_struct = kind.is_some_and(|kind| kind.ends_with(".TypedStruct"));
    let Some(url) = fields.get("type_url").filter(|_| is_struct) else { return fields };
    let inner = fields.get("value").and_then(Value::as_object);
    let mut inner = inner.cloned().unwrap_or_default();
    inner.insert("@type".to_owned(), url.clone());
    inner
}

fn snake_key(key: &str) -> String {
    let camel = key.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && key.starts_with(|first: char| first.is_ascii_lowercase());
    if !camel {
        return key.to_owned();
    }
    key.chars().fold(String::new(), |mut snake, c| {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        snake
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_of_a_field_name_are_one() {
        let camel =
            json!({"httpFilters": [{"typedConfig": {"@type": "x"}}], "envoy.filters.httpX": 1});
        let snake =
            json!({"http_filters": [{"typed_config": {"@type": "x"}}], "envoy.filters.httpX": 1});
        assert_eq!(snake_case(camel), snake);
        // But a filter's name, which is one whatever it looks like.
        let named = json!({"typedPerFilterConfig": {"theGate": {"isOptional": true}}});
        let kept = json!({"typed_per_filter_config": {"theGate": {"is_optional": true}}});
        assert_eq!(snake_case(named), kept);
    }

    #[test]
    fn a_message_within_a_struct_is_that_message() {
        for kind in ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"] {
            let kind = format!("type.googleapis.com/{kind}");
            let wrapped =
                json!({"a": {"@type": kind, "typeUrl": "t/x.Y", "value": {"codecType": 1}}});
            assert_eq!(snake_case(wrapped), json!({"a": {"@type": "t/x.Y", "codec_type": 1}}));
            let empty = json!({"@type": kind, "type_url": "t/x.Y"});
            assert_eq!(snake_case(empty), json!({"@type": "t/x.Y"}));
        }
        let other = json!({"@type": "t/x.Y", "type_url": "t/x.Z", "value": {"a": 1}});
        assert_eq!(snake_case(other.clone()), other);
    }

    #[test]
    fn given_files_stand_for_paths_of_another_machine() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let bootstrap = write(
            "envoy.yaml",
            "{dynamic_resources: {cds_config: {path_config_source: {path: /etc/envoy/cds.yaml}}}}",
        );
        let cds = write("cds.yaml", "{resources: [{name: a}]}");
        let other = write("other.yaml", "{resources: []}");
        let sources = Sources::read(&bootstrap, std::slice::from_ref(&cds)).unwrap();
        let config = sources.bootstrap().at(&["dynamic_resources", "cds_config"]).unwrap();
        assert_eq!(sources.resources(&config).unwrap()[0].text("name"), Some("a"));
        let error = Sources::read(&bootstrap, &[cds, other]).unwrap_err();
        assert!(error.to_string().contains("nothing refers"), "{error}");
        let sources = Sources::read(&bootstrap, &[]).unwrap();
        let config = sources.bootstrap().at(&["dynamic_resources", "cds_config"]).unwrap();
        assert!(sources.resources(&config).is_none());
    }

    /// A gate that is shut does not stand for one of another folder that is open.
    #[test]
    fn a_file_stands_for_no_other_of_its_name_that_is_read_itself() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let paths = ["a/gate.yaml", "b/gate.yaml", "c/gate.yaml"];
        let gates = paths.map(|name| write(name, &format!("{{resources: [{{name: {name}}}]}}")));
        let source = |path: &Path| json!({"path_config_source": {"path": path}});
        let text = json!({"a": source(&gates[0]), "b": source(&gates[1])}).to_string();
        let bootstrap = write("envoy.yaml", &text);
        let sources = Sources::read(&bootstrap, &[]).unwrap();
        for (field, want) in [("a", paths[0]), ("b", paths[1])] {
            let config = sources.bootstrap().get(field).unwrap();
            assert_eq!(sources.resources(&config).unwrap()[0].text("name"), Some(want));
        }
        // Of another machine: one file for two others, or one of two.
        let elsewhere =
            json!({"a": source(Path::new("/x/gate.yaml")), "b": source(Path::new("/y/gate.yaml"))});
        let bootstrap = write("other.yaml", &elsewhere.to_string());
        for given in [&gates[..1], &gates[..2]] {
            let error = Sources::read(&bootstrap, given).unwrap_err();
            assert!(error.to_string().contains("several files have its name"), "{error}");
        }
    }
}
