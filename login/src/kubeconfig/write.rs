//! Writing: an item goes where one of its name stands already, else into the default file; a file is replaced by rename under
//! kubectl's own lock, and everything else in it stays.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use gateway_files::Readers;
use serde_json::{Map, Value, json};

use super::{Files, Kubeconfig, KubeconfigError, edit, load::read};

/// A cluster, a user and a context to write.
#[derive(Debug, Clone)]
pub struct Change {
    /// Name and content of the cluster.
    pub cluster: (String, Value),
    /// Name and content of the user.
    pub user: (String, Value),
    /// Name and content of the context.
    pub context: (String, Value),
    /// Make the context the current one.
    pub make_current: bool,
}

/// Users to put in the place of those of their names.
pub type Users = Vec<(String, Value)>;

/// A file as it is and as it would be.
#[derive(Debug)]
pub struct Rewritten {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub before: String,
    /// Its text with the users replaced.
    pub after: String,
    /// Comments in it would be lost.
    pub comments_lost: bool,
}

/// A file that was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Comments in it are lost, because its form does not allow for a change in place.
    pub comments_lost: bool,
}

/// Writes a change.
pub fn apply(files: &Files, change: &Change) -> Result<Vec<Written>, KubeconfigError> {
    let mut written = Vec::new();
    for path in plan(files, change)?.into_keys() {
        // Planned again under the lock, for what others wrote meanwhile.
        let edits = || Ok(plan(files, change)?.remove(&path).unwrap_or_default());
        let rewritten = locked(&path, edits)?;
        written.push(Written { path, comments_lost: rewritten.comments_lost });
    }
    Ok(written)
}

/// A file with these users in the place of those of their names; it is written if `write`.
pub fn rewritten(path: &Path, users: &Users, write: bool) -> Result<Rewritten, KubeconfigError> {
    let edits = users.iter().map(|(name, user)| {
        let item = json!({ "name": name, "user": user });
        edit::Edit::Item { list: "users", item }
    });
    let edits: Vec<_> = edits.collect();
    if write { locked(path, || Ok(edits)) } else { edited(path, path, &edits) }
}

/// Edits a file under its lock.
fn locked(
    path: &Path,
    edits: impl FnOnce() -> Result<Vec<edit::Edit>, KubeconfigError>,
) -> Result<Rewritten, KubeconfigError> {
    // Through a symbolic link, to the file itself: a rename would replace the link.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let _lock = FileLock::take(&real)?;
    let rewritten = edited(path, &real, &edits()?)?;
    let mode = mode_of(&real);
    gateway_files::write(&real, rewritten.after.as_bytes(), Readers::Owner)
        .and_then(|()| keep_mode(&real, mode))
        .map_err(|error| KubeconfigError::Write { path: path.to_owned(), error })?;
    Ok(rewritten)
}

fn edited(path: &Path, real: &Path, edits: &[edit::Edit]) -> Result<Rewritten, KubeconfigError> {
    let before = match fs::read_to_string(real) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(KubeconfigError::Write { path: path.to_owned(), error }),
    };
    let document = read(real)?.unwrap_or_else(|| json!({}));
    let (after, comments_lost) = edit::text(&before, &document, edits)
        .map_err(|reason| KubeconfigError::Malformed { path: path.to_owned(), reason })?;
    Ok(Rewritten { path: path.to_owned(), before, after, comments_lost })
}

/// What [`apply`] would leave in each file.
pub fn preview(files: &Files, change: &Change) -> Result<String, KubeconfigError> {
    let mut output = String::new();
    for (path, edits) in plan(files, change)? {
        let mut document = Value::Object(Map::new());
        edit::apply(&mut document, &edits);
        let text = serde_saphyr::to_string(&document).unwrap_or_default();
        let _ = write!(output, "# into {}\n{text}", path.display());
    }
    Ok(output)
}

/// Which edits go into which file.
fn plan(
    files: &Files,
    change: &Change,
) -> Result<BTreeMap<PathBuf, Vec<edit::Edit>>, KubeconfigError> {
    // A named file may be new.
    let config = Kubeconfig::load(&Files { explicit: false, ..files.clone() })?;
    let default = files.default_path().ok_or(KubeconfigError::NoHome)?.to_owned();
    let mut plan: BTreeMap<PathBuf, Vec<edit::Edit>> = BTreeMap::new();
    let items = [
        ("clusters", "cluster", &change.cluster),
        ("users", "user", &change.user),
        ("contexts", "context", &change.context),
    ];
    let found = config.files_of(&change.cluster.0, &change.user.0, &change.context.0);
    for ((list, kind, (name, content)), path) in items.into_iter().zip(found) {
        let path = path.unwrap_or(&default);
        let item = json!({ "name": name, kind: content });
        plan.entry(path.to_owned()).or_default().push(edit::Edit::Item { list, item });
    }
    if change.make_current && config.current_context() != Some(change.context.0.as_str()) {
        plan.entry(default).or_default().push(edit::Edit::Current(change.context.0.clone()));
    }
    Ok(plan)
}

/// kubectl's lock: a file beside, which exists while somebody writes.
struct FileLock(PathBuf);

impl FileLock {
    fn take(path: &Path) -> Result<Self, KubeconfigError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let failed = |error| KubeconfigError::Write { path: lock.clone(), error };
        if let Some(folder) = lock.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        match fs::OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KubeconfigError::Locked(lock))
            }
            Err(error) => Err(KubeconfigError::Write { path: lock, error }),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn mode_of(path: &Path) -> Option<fs::Permissions> {
    fs::metadata(path).map(|metadata| metadata.permissions()).ok()
}

/// A file keeps the mode it had; a new one is its owner's alone.
fn keep_mode(path: &Path, mode: Option<fs::Permissions>) -> io::Result<()> {
    mode.map_or(Ok(()), |mode| fs::set_permissions(path, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        Change {
            cluster: ("c".to_owned(), json!({"server": "https://s"})),
            user: ("u".to_owned(), json!({"exec": {"command": "kubectl-oidc"}})),
            context: ("x".to_owned(), json!({"cluster": "c", "user": "u"})),
            make_current: true,
        }
    }

    fn files(paths: &[&Path]) -> Files {
        Files { paths: paths.iter().map(|path| (*path).to_owned()).collect(), explicit: false }
    }

    #[test]
    fn a_new_file_is_private_and_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config");
        let files = files(&[&path]);
        apply(&files, &change()).unwrap();
        let document = read(&path).unwrap().unwrap();
        assert_eq!(
            document,
            json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "x",
                "clusters": [{"name": "c", "cluster": {"server": "https://s"}}],
                "users": [{"name": "u", "user": {"exec": {"command": "kubectl-oidc"}}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            })
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no lock is left");
        // Once more changes nothing.
        let before = fs::read_to_string(&path).unwrap();
        apply(&files, &change()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn an_item_is_changed_where_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "current-context: other\nextensions: [{name: e}]\n").unwrap();
        fs::write(&two, "users:\n- name: u\n  user: {token: old}\n- name: v\n  user: {token: v}\n")
            .unwrap();
        apply(&files(&[&one, &two]), &change()).unwrap();
        let (one, two) = (read(&one).unwrap().unwrap(), read(&two).unwrap().unwrap());
        assert_eq!(one["current-context"], "x");
        assert_eq!(one["extensions"], json!([{"name": "e"}]));
        assert_eq!(one["clusters"][0]["name"], "c");
        assert!(one.get("users").is_none());
        assert_eq!(
            two,
            json!({"users": [
                {"name": "u", "user": {"exec": {"command": "kubectl-oidc"}}},
                {"name": "v", "user": {"token": "v"}},
            ]})
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_link_stays_a_link_and_a_mode_stays_a_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "kind: Config\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        apply(&files(&[&link]), &change()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().file_type().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::read_to_string(&real).unwrap().contains("kubectl-oidc"));
    }

    #[test]
    fn a_file_that_kubectl_is_writing_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "kind: Config\n").unwrap();
        let lock = folder.path().join("config.lock");
        fs::write(&lock, "").unwrap();
        let error = apply(&files(&[&path]), &change()).unwrap_err();
        assert!(matches!(error, KubeconfigError::Locked(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "kind: Config\n");
        assert!(lock.exists());
    }
}
