//! Changing the documents that say whose access has ended: in a file, or in a `ConfigMap` of the cluster.
//!
//! A change reads the document, and writes it only if nobody else has in between. Entries that are over leave it by the way.

mod packed;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use gateway_client::Connection;
use gateway_config::parse_revocations;
use gateway_core::{
    access::{MOST_ENTRIES, Revocation, Revocations},
    callout::MOST_DOCUMENTS,
};
use gateway_files::{self as files, Readers};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde_json::{Value, json};

use self::packed::MOST_BYTES;
pub(crate) use self::packed::read;
use crate::api::{Api, ApiError, NoApi};

/// How often a change is tried that somebody else was faster with.
const TRIES: u32 = 8;
/// For how long a change of a file waits for another one: anybody who may read the folder can hold its lock.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of a document stays free for who ends access by hand.
const ROOM: usize = 8;

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file, YAML or JSON.
    File(PathBuf),
    /// A `ConfigMap`, under the key [`KEY`] or [`GRANTS_KEY`].
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// The key of a `ConfigMap` under which the document stands.
pub const KEY: &str = "revocations.yaml";
/// The same of grants, which the program writes.
pub const GRANTS_KEY: &str = "grants.json";

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::ConfigMap { namespace, name } => write!(f, "ConfigMap {namespace}/{name}"),
        }
    }
}

/// Bytes of the Revocations that the filter reads, as it gets them: beside the grants.
pub(crate) const MOST_REVOCATIONS: usize = MOST_DOCUMENTS - MOST_BYTES - 1024;

/// Whether the filter reads as much. What it would not read never reaches it: it would go on with what it has, until that is too old. Gives the bytes
/// that it has.
///
/// # Errors
/// Likewise, where these are too many.
pub(crate) fn fits(document: &Revocations) -> Result<usize, usize> {
    let bytes = serde_json::to_vec(document).map_or(0, |text| text.len());
    if bytes > MOST_REVOCATIONS { Err(bytes) } else { Ok(bytes) }
}

/// Where a document is, and the way there.
pub struct Store {
    kind: Kind,
    keeps_room: bool,
}

enum Kind {
    File(PathBuf),
    ConfigMap { api: Api, namespace: String, name: String },
}

/// Why a document could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be used.
    #[error("{path:?}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// See [`NoApi`].
    #[error(transparent)]
    NoApi(#[from] NoApi),
    /// The API server refuses.
    #[error("{what}: {error}")]
    Api {
        /// The `ConfigMap`.
        what: String,
        /// Why.
        error: ApiError,
    },
    /// What is there is no such document.
    #[error("{what}: {reason}")]
    Document {
        /// Where it is.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// It would not fit.
    #[error(
        "{what}: with this entry it would have {bytes} bytes, and there is room for {most}: prune it, or end many at once by group or \
         issuedBefore"
    )]
    TooLarge {
        /// Where it is.
        what: String,
        /// How many, in a `ConfigMap` as they are packed.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// Others change it all the time.
    #[error("{0}: others change it all the time: try again")]
    Busy(String),
    /// Another program changes it, or pretends to.
    #[error(
        "{path:?}: another program holds the lock of its folder (lslocks shows which): try again"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// What is left is for others.
    #[error(
        "{0}: it is so full that the rest is kept for who ends access by hand: prune it, or shorten logout.lifetimeSeconds"
    )]
    Full(String),
}

impl Store {
    /// The document at this place. A `ConfigMap` is reached by `connection`.
    ///
    /// # Errors
    /// If there is no way to it.
    pub fn new(
        place: Place,
        connection: impl FnOnce() -> Result<Connection, String>,
    ) -> Result<Self, StoreError> {
        let kind = match place {
            Place::File(path) => Kind::File(path),
            Place::ConfigMap { namespace, name } => {
                let connection = connection().map_err(NoApi)?;
                Kind::ConfigMap { api: Api::new(&connection)?, namespace, name }
            }
        };
        Ok(Self { kind, keeps_room: false })
    }

    /// The same for entries that strangers bring about, such as those who log in and out: they do not fill the document.
    #[must_use]
    pub fn keeping_room(self) -> Self {
        Self { keeps_room: true, ..self }
    }

    /// The document as it is now.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self) -> Result<Revocations, StoreError> {
        match &self.kind {
            Kind::File(path) => self.of_file(path),
            Kind::ConfigMap { api, .. } => {
                let found = self.found(api)?;
                found.map_or_else(|| Ok(Revocations::default()), |object| self.of_object(&object))
            }
        }
    }

    /// Changes it, and takes out what is over at `now` (seconds since 1970). `change` may be called more than once. Gives what it gave, and
    /// how many entries were over.
    ///
    /// # Errors
    /// If it cannot be read or written, or would not be valid.
    pub fn change<T>(
        &self,
        now: u64,
        change: impl Fn(&mut Vec<Revocation>) -> T,
    ) -> Result<(T, usize), StoreError> {
        let apply = |document: &mut Revocations| {
            let before = document.revocations.len();
            document.revocations.retain(|entry| entry.end().is_none_or(|end| now < end));
            let pruned = before - document.revocations.len();
            let left = document.revocations.len();
            let made = change(&mut document.revocations);
            document.check().map_err(|error| self.refused(error.to_string()))?;
            let bytes = self.fits(document)?;
            let count = document.revocations.len();
            let is_full =
                leaves_no_room(count, MOST_ENTRIES) || leaves_no_room(bytes, MOST_REVOCATIONS);
            if self.keeps_room && count > left && is_full {
                return Err(StoreError::Full(self.what()));
            }
            Ok::<_, StoreError>((made, pruned))
        };
        match &self.kind {
            Kind::File(path) => {
                let failed = |source| StoreError::File { path: path.clone(), source };
                let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
                let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(failed)?;
                // Until the end of this call, which closes the folder.
                let begun = Instant::now();
                while let Err(error) = flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                    if error != Errno::WOULDBLOCK {
                        return Err(failed(error.into()));
                    }
                    if begun.elapsed() > PATIENCE {
                        return Err(StoreError::Locked { path: path.clone() });
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                let mut document = self.of_file(path)?;
                let made = apply(&mut document)?;
                let text = text(&document);
                write(path, text.as_bytes()).map_err(failed)?;
                Ok(made)
            }
            Kind::ConfigMap { api, .. } => {
                for _ in 0..TRIES {
                    let object = self.found(api)?;
                    let mut document = match &object {
                        Some(object) => self.of_object(object)?,
                        None => Revocations::default(),
                    };
                    let made = apply(&mut document)?;
                    if self.put(api, object, &document)? {
                        return Ok(made);
                    }
                }
                Err(StoreError::Busy(self.what()))
            }
        }
    }

    fn of_file(&self, path: &Path) -> Result<Revocations, StoreError> {
        match fs::read(path) {
            Ok(text) => parse_revocations(&text).map_err(|reason| self.refused(reason)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Revocations::default()),
            Err(source) => Err(StoreError::File { path: path.to_owned(), source }),
        }
    }

    fn of_object(&self, object: &Value) -> Result<Revocations, StoreError> {
        match read(object, KEY).map_err(|reason| self.refused(reason))? {
            Some(text) => {
                parse_revocations(&text).map_err(|reason| self.refused(format!("{KEY}: {reason}")))
            }
            None => Ok(Revocations::default()),
        }
    }

    fn fits(&self, document: &Revocations) -> Result<usize, StoreError> {
        let what = || self.what();
        fits(document).map_err(|bytes| StoreError::TooLarge {
            what: what(),
            bytes,
            most: MOST_REVOCATIONS,
        })
    }

    /// The `ConfigMap`, if it is there.
    fn found(&self, api: &Api) -> Result<Option<Value>, StoreError> {
        match api.get(&self.path()) {
            Ok(object) => Ok(Some(object)),
            Err(ApiError::Status { code: 404, .. }) => Ok(None),
            Err(error) => Err(StoreError::Api { what: self.what(), error }),
        }
    }

    /// Writes it in the place of what was read. False if somebody else was faster.
    fn put(
        &self,
        api: &Api,
        object: Option<Value>,
        document: &Revocations,
    ) -> Result<bool, StoreError> {
        let Kind::ConfigMap { namespace, name, .. } = &self.kind else { return Ok(false) };
        let is_new = object.is_none();
        let mut object = object.unwrap_or_else(|| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace},
            })
        });
        let bytes = packed::put(&mut object, KEY, text(document));
        if bytes > MOST_BYTES {
            return Err(StoreError::TooLarge { what: self.what(), bytes, most: MOST_BYTES });
        }
        if self.keeps_room && leaves_no_room(bytes, MOST_BYTES) {
            return Err(StoreError::Full(self.what()));
        }
        let result = if is_new {
            api.create(&format!("/api/v1/namespaces/{namespace}/configmaps"), &object)
        } else {
            api.replace(&self.path(), &object)
        };
        match result {
            Ok(_) => Ok(true),
            Err(ApiError::Status { code: 409, .. }) => Ok(false),
            Err(error) => Err(StoreError::Api { what: self.what(), error }),
        }
    }

    fn path(&self) -> String {
        match &self.kind {
            Kind::File(_) => String::new(),
            Kind::ConfigMap { namespace, name, .. } => {
                format!("/api/v1/namespaces/{namespace}/configmaps/{name}")
            }
        }
    }

    fn what(&self) -> String {
        match &self.kind {
            Kind::File(path) => path.display().to_string(),
            Kind::ConfigMap { namespace, name, .. } => format!("ConfigMap {namespace}/{name}"),
        }
    }

    fn refused(&self, reason: String) -> StoreError {
        StoreError::Document { what: self.what(), reason }
    }
}

fn leaves_no_room(used: usize, most: usize) -> bool {
    used > most / ROOM * (ROOM - 1)
}

/// JSON is YAML. An entry a line: a thousand of them can be read, and compared with what was there.
fn text(document: &Revocations) -> String {
    let Revocations { api_version, kind, revocations } = document;
    let mut text = format!("apiVersion: {api_version}\nkind: {kind}\nrevocations:");
    if revocations.is_empty() {
        text.push_str(" []");
    }
    text.push('\n');
    for entry in revocations {
        // Texts alone: they can be written.
        let entry = serde_json::to_string(entry).unwrap_or_default();
        text.push_str("- ");
        text.push_str(&entry);
        text.push('\n');
    }
    text
}

/// Writes a file that keeps its rights: a gateway of another user may have to read it.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let rights = match fs::metadata(path) {
        Ok(known) => known.permissions(),
        Err(_) => return files::write(path, content, Readers::ByUmask),
    };
    let new = path.with_added_extension("edited");
    files::write(&new, content, Readers::ByUmask)?;
    fs::set_permissions(&new, rights)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn store(path: &Path) -> Store {
        Store::new(Place::File(path.to_owned()), || unreachable!()).unwrap()
    }

    fn entry(user: &str, until: &str) -> Revocation {
        Revocation { user: user.to_owned(), until: until.to_owned(), ..Revocation::default() }
    }

    #[test]
    fn a_file_is_changed_by_rename_and_what_is_over_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        let store = store(&path);
        assert_eq!(store.read().unwrap().revocations, []);
        let old = entry("old", "2001-01-01T00:00:00Z");
        let jane = entry("jane \"x\": é", "2040-01-01T00:00:00Z");
        store.change(0, |entries| entries.extend([old.clone(), jane.clone()])).unwrap();
        assert_eq!(store.read().unwrap().revocations, [old, jane.clone()]);
        let (count, pruned) = store.change(1_000_000_000, |entries| entries.len()).unwrap();
        assert_eq!((count, pruned), (1, 1));
        assert_eq!(store.read().unwrap().revocations, [jane]);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    /// What would not be valid is not written: the gateway would go on with what is there, for five minutes.
    #[test]
    fn what_cannot_be_meant_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        let store = store(&path);
        let error = store.change(0, |entries| entries.push(entry("jane", "soon"))).unwrap_err();
        assert!(error.to_string().contains("revocations[0].until"), "{error}");
        assert!(!path.exists());
        fs::write(&path, "kind: Other").unwrap();
        let error = store.change(0, Vec::clear).unwrap_err();
        assert!(error.to_string().contains("apiVersion: Required value"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "kind: Other");
    }

    /// Who may read the folder can lock it, and would keep everybody from ending access.
    #[test]
    fn a_lock_that_is_held_for_ever_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        let held = File::open(folder.path()).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        let error = store(&path).change(0, Vec::clear).unwrap_err();
        assert!(error.to_string().contains("lslocks"), "{error}");
        drop(held);
        store(&path).change(0, Vec::clear).unwrap();
    }

    /// Somebody who logs in and out all day must not keep an administrator from revoking.
    #[test]
    fn what_strangers_bring_about_leaves_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        let fill = |entries: &mut Vec<Revocation>| {
            let new = entries.len()..43_750;
            entries.extend(new.map(|n| entry(&n.to_string(), "2040-01-01T00:00:00Z")));
        };
        store(&path).keeping_room().change(0, fill).unwrap();
        let add =
            |entries: &mut Vec<Revocation>| entries.push(entry("jane", "2040-01-01T00:00:00Z"));
        let error = store(&path).keeping_room().change(0, add).unwrap_err();
        assert!(error.to_string().contains("by hand"), "{error}");
        store(&path).change(0, add).unwrap();
        // What takes another one's place needs none.
        let replace = |entries: &mut Vec<Revocation>| {
            entries.pop();
            add(entries);
        };
        store(&path).keeping_room().change(0, replace).unwrap();
    }

    /// More than the filter reads would not reach it: what was there would hold until it is too old, and then nobody would be let in.
    #[test]
    fn what_the_filter_would_not_read_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        let store = store(&path);
        let entry = Revocation { reason: "r".repeat(256), ..entry("", "2040-01-01T00:00:00Z") };
        let many = |count: usize| -> Vec<_> {
            (0..count).map(|n| Revocation { user: n.to_string(), ..entry.clone() }).collect()
        };
        let fit = Revocations { revocations: many(20_000), ..Revocations::default() };
        assert!(fits(&fit).is_ok());
        let error = store.change(0, |entries| *entries = many(30_000)).unwrap_err();
        assert!(error.to_string().contains("there is room for 7339008"), "{error}");
        assert!(!path.exists());
    }

    /// As long as entries are that people write. How many fit is on the page about access.
    #[test]
    fn fifty_thousand_entries_with_reasons_fit_into_a_config_map() {
        let entry = |n: usize| Revocation {
            user: format!(
                "https://keycloak.example.com/realms/staff#{:x}",
                (n + 1) * 2_654_435_761
            ),
            until: format!("2040-01-{:02}T{:02}:{:02}:00Z", n % 28 + 1, n % 24, n % 60),
            reason: ["laptop stolen", "left the company", "logged out at the provider"][n % 3]
                .to_owned(),
            ..Revocation::default()
        };
        for (count, most) in [(10_000, MOST_BYTES / 4), (50_000, MOST_BYTES)] {
            let revocations = (0..count).map(entry).collect();
            let document = Revocations { revocations, ..Revocations::default() };
            let text = text(&document);
            let (length, mut object) = (text.len(), json!({}));
            let bytes = packed::put(&mut object, KEY, text);
            println!("{count} entries: {length} bytes, {bytes} packed");
            assert!(length > MOST_BYTES && bytes < most, "{count}: {length}, {bytes}");
            let text = read(&object, KEY).unwrap().unwrap();
            assert_eq!(parse_revocations(&text).unwrap(), document);
        }
    }

    #[test]
    fn changes_at_the_same_time_all_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let new = entry(&number.to_string(), "2040-01-01T00:00:00Z");
                    store(path).change(0, |entries| entries.push(new.clone())).unwrap();
                });
            }
        });
        assert_eq!(store(&path).read().unwrap().revocations.len(), 8);
    }
}
