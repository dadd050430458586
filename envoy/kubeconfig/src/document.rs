//! One file.

use std::{
    fs, io,
    path::{Path, PathBuf, absolute},
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Why a file cannot be read. No text says what stands there, which may be a credential.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file itself.
    #[error("{error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no kubeconfig.
    #[error("{reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl ReadError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

/// What stands in a file.
#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "kebab-case", bound = "U: DeserializeOwned + Default")]
pub(crate) struct Document<U> {
    #[serde(deserialize_with = "or_nothing")]
    pub(crate) current_context: String,
    #[serde(deserialize_with = "or_nothing")]
    contexts: Vec<NamedContext>,
    #[serde(deserialize_with = "or_nothing")]
    clusters: Vec<NamedCluster>,
    #[serde(deserialize_with = "or_nothing")]
    users: Vec<NamedUser<U>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedContext {
    #[serde(deserialize_with = "or_nothing")]
    name: String,
    #[serde(deserialize_with = "or_nothing")]
    context: Context,
}

/// `contexts[*].context`: names of a cluster and a user.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Context {
    /// `cluster`
    #[serde(deserialize_with = "or_nothing")]
    pub cluster: String,
    /// `user`
    #[serde(deserialize_with = "or_nothing")]
    pub user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedCluster {
    #[serde(deserialize_with = "or_nothing")]
    name: String,
    #[serde(deserialize_with = "or_nothing")]
    cluster: Cluster,
}

/// `clusters[*].cluster`. A text that is empty is not given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Cluster {
    /// `server`
    #[serde(deserialize_with = "or_nothing")]
    pub server: String,
    /// `tls-server-name`
    #[serde(deserialize_with = "or_nothing")]
    pub tls_server_name: String,
    /// `insecure-skip-tls-verify`
    #[serde(deserialize_with = "or_nothing")]
    pub insecure_skip_tls_verify: bool,
    /// `certificate-authority`: the path of a file, relative to none.
    #[serde(deserialize_with = "or_nothing")]
    pub certificate_authority: String,
    /// `certificate-authority-data`: base64, which counts before the file.
    #[serde(deserialize_with = "or_nothing")]
    pub certificate_authority_data: String,
    /// `proxy-url`
    #[serde(deserialize_with = "or_nothing")]
    pub proxy_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound = "U: DeserializeOwned + Default")]
struct NamedUser<U> {
    #[serde(deserialize_with = "or_nothing")]
    name: String,
    #[serde(deserialize_with = "or_nothing")]
    user: U,
}

/// As in Go, `null` is as good as nothing.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl<U> Default for Document<U> {
    fn default() -> Self {
        let (contexts, clusters, users) = (Vec::new(), Vec::new(), Vec::new());
        Self { current_context: String::new(), contexts, clusters, users }
    }
}

impl<U> Document<U> {
    pub(crate) fn contexts(&self) -> impl Iterator<Item = (&str, &Context)> {
        self.contexts.iter().map(|named| (&*named.name, &named.context))
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = (&str, &Cluster)> {
        self.clusters.iter().map(|named| (&*named.name, &named.cluster))
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = (&str, &U)> {
        self.users.iter().map(|named| (&*named.name, &named.user))
    }
}

impl<U: DeserializeOwned + Default> Document<U> {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, ReadError> {
        let text = text(path)?;
        if mapping(path, &text)?.is_empty() {
            return Ok(Self::default());
        }
        let document = serde_saphyr::from_str(&text);
        let mut document: Self = document.map_err(|error| {
            let reason = at(&error, "holds something else than a kubeconfig has there");
            ReadError::Malformed { path: path.to_owned(), reason }
        })?;
        for named in &mut document.clusters {
            let file = &mut named.cluster.certificate_authority;
            *file = beside(path, file);
        }
        Ok(document)
    }
}

/// The document of a file as it stands. An empty file is an empty document.
pub fn read(path: &Path) -> Result<Value, ReadError> {
    mapping(path, &text(path)?).map(Value::Object)
}

/// Parses YAML. Errors name a place, not what stands there.
pub fn parse(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(text).map_err(|error| at(&error, "is not YAML"))
}

/// What a path that a file names means: it is relative to the file's folder.
#[must_use]
pub fn beside(file: &Path, path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    let file = absolute(file).unwrap_or_else(|_| file.to_owned());
    file.parent().unwrap_or(Path::new("/")).join(path).to_string_lossy().into_owned()
}

fn text(path: &Path) -> Result<String, ReadError> {
    let bytes = fs::read(path);
    let bytes = bytes.map_err(|error| ReadError::Io { path: path.to_owned(), error })?;
    String::from_utf8(bytes)
        .map_err(|error| ReadError::Malformed { path: path.to_owned(), reason: error.to_string() })
}

fn mapping(path: &Path, text: &str) -> Result<Map<String, Value>, ReadError> {
    let malformed = |reason| ReadError::Malformed { path: path.to_owned(), reason };
    match parse(text).map_err(malformed)? {
        Value::Null => Ok(Map::new()),
        Value::Object(document) => Ok(document),
        _ => Err(malformed("it is not a mapping".to_owned())),
    }
}

fn at(error: &serde_saphyr::Error, what: &str) -> String {
    match error.location() {
        Some(place) => format!("line {}, column {} {what}", place.line(), place.column()),
        None => format!("it {what}"),
    }
}
