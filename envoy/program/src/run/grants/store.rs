//! Where the grants are: a file, replaced by rename, or a `ConfigMap`, replaced only as it was read.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use gateway_config::parse_grants;
use gateway_core::elevation::{Grants, MOST_BYTES};
use gateway_files::{self as files, Readers};
use serde_json::{Value, json};

use crate::{
    access::{GRANTS_KEY, Place},
    run::{apiserver::ApiServer, view::View},
};

/// Where the grants are.
pub(super) struct Store(Place);

/// What a document is by then that was written: the object's `resourceVersion`; nothing of a file.
pub(super) type Written = Option<String>;

/// What was read, so that nothing else is replaced.
pub(super) enum Version {
    /// Of a file, which is locked meanwhile.
    Locked(#[expect(dead_code, reason = "it is held")] File),
    /// The object as it was.
    Object(Value),
}

impl Store {
    /// At this place. A file is made if there is none.
    pub(super) fn open(place: &Place) -> Result<Self, String> {
        if let Place::File(path) = place {
            let failed = |error: io::Error| format!("{}: {error}", path.display());
            let _lock = lock(path).map_err(failed)?;
            if !path.try_exists().map_err(failed)? {
                write(path, &text(&Grants::none()).unwrap_or_default())?;
            }
        }
        Ok(Self(place.clone()))
    }

    /// Reads the document.
    pub(super) fn read(&self, view: &Mutex<View>) -> Result<(Grants, Version), String> {
        match &self.0 {
            Place::File(path) => {
                let lock = lock(path).map_err(|error| format!("{}: {error}", path.display()))?;
                Ok((read_file(path)?, Version::Locked(lock)))
            }
            Place::ConfigMap { namespace, name } => {
                let object = client(view)
                    .get(&object_path(namespace, name))
                    .map_err(|error| format!("ConfigMap {namespace}/{name}: {error}"))?;
                let text = object.get("data").and_then(|data| data.get(GRANTS_KEY));
                let grants = match text.and_then(Value::as_str) {
                    Some(text) => parse_grants(text.as_bytes())?,
                    // As it is made.
                    None => Grants::none(),
                };
                Ok((grants, Version::Object(object)))
            }
        }
    }

    /// Writes a document. Nothing if it is another by now than was read.
    pub(super) fn write(
        &self,
        document: &str,
        version: &Version,
        view: &Mutex<View>,
    ) -> Result<Option<Written>, String> {
        match (&self.0, version) {
            (Place::ConfigMap { namespace, name }, Version::Object(object)) => {
                let mut object = object.clone();
                // Its resourceVersion stays: the API server refuses it if the object has another by now.
                object["data"][GRANTS_KEY] = json!(document);
                let written = client(view)
                    .put(&object_path(namespace, name), &object)
                    .map_err(|error| format!("ConfigMap {namespace}/{name}: {error}"))?;
                Ok(written.map(|object| version_of(&object)))
            }
            (Place::File(path), _) => write(path, document).map(|()| Some(None)),
            (Place::ConfigMap { .. }, Version::Locked(_)) => Err("nothing was read".to_owned()),
        }
    }
}

fn version_of(object: &Value) -> Written {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned)
}

fn write(path: &Path, document: &str) -> Result<(), String> {
    files::write(path, document.as_bytes(), Readers::Owner)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The document as it is written; none if it is longer than any may be.
pub(super) fn text(grants: &Grants) -> Option<String> {
    serde_json::to_string_pretty(grants).ok().filter(|text| text.len() <= MOST_BYTES)
}

fn read_file(path: &Path) -> Result<Grants, String> {
    match fs::read(path) {
        Ok(text) => parse_grants(&text).map_err(|error| format!("{}: {error}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Grants::none()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Keeps another program, or another gateway of this machine, from writing meanwhile. The document itself is replaced, so that a lock on it
/// would be on what is no longer there. Who may not write the document may not open the lock, either: who holds it keeps a loan from being ended.
fn lock(path: &Path) -> io::Result<File> {
    let lock: PathBuf = path.with_added_extension("lock");
    if let Some(folder) = path.parent() {
        files::folder(folder)?;
    }
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(lock)?;
    file.lock()?;
    Ok(file)
}

fn object_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps/{name}")
}

fn client(view: &Mutex<View>) -> ApiServer {
    view.lock().unwrap_or_else(PoisonError::into_inner).apiserver.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file is its owner's: it has names, and who writes it lends groups.
    #[test]
    fn a_file_is_written_whole_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grants.json");
        assert_eq!(read_file(&path), Ok(Grants::none()));
        Store::open(&Place::File(path.clone())).unwrap();
        assert_eq!(read_file(&path), Ok(Grants::none()));
        let lock = path.with_added_extension("lock");
        for path in [&path, &lock] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        }
    }
}
