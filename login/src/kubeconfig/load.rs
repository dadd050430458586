//! Reading: several files as one, the first to name something decides about it.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use directories::BaseDirs;
use serde_json::Value;

use super::{Cluster, KubeconfigError};
use crate::path::path_of;
use crate::settings::Trust;
use crate::stanza::Stanza;

/// The kubeconfig files, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Files that are read.
    pub paths: Vec<PathBuf>,
    /// It was named on the command line: it must exist to be read.
    pub explicit: bool,
}

impl Files {
    /// The file of the flag, else those of `$KUBECONFIG`, else `~/.kube/config`.
    pub fn locate(flag: Option<&str>) -> Result<Self, KubeconfigError> {
        Self::choose(flag, env::var("KUBECONFIG").ok().as_deref())
    }

    fn choose(flag: Option<&str>, variable: Option<&str>) -> Result<Self, KubeconfigError> {
        if let Some(path) = flag.and_then(path_of) {
            return Ok(Self { paths: vec![path], explicit: true });
        }
        let mut paths: Vec<PathBuf> = Vec::new();
        for path in variable.map(env::split_paths).into_iter().flatten() {
            if !path.as_os_str().is_empty() && !paths.contains(&path) {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            let dirs = BaseDirs::new().ok_or(KubeconfigError::NoHome)?;
            paths.push(dirs.home_dir().join(".kube").join("config"));
        }
        Ok(Self { paths, explicit: false })
    }

    /// Where something new goes: the first file that exists, else the last one.
    #[must_use]
    pub fn default_path(&self) -> Option<&Path> {
        let existing = self.paths.iter().find(|path| path.exists());
        existing.or_else(|| self.paths.last()).map(PathBuf::as_path)
    }
}

/// All files together.
#[derive(Debug)]
pub struct Kubeconfig {
    files: Vec<(PathBuf, Value)>,
}

/// A context with what it refers to.
#[derive(Debug)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// The cluster.
    pub cluster: Cluster,
    /// The user's name.
    pub user_name: String,
    /// How the user logs in.
    pub stanza: Stanza,
}

impl Kubeconfig {
    /// Reads the files; one that does not exist is empty, unless it was named.
    pub fn load(files: &Files) -> Result<Self, KubeconfigError> {
        let mut loaded = Vec::new();
        for path in &files.paths {
            match read(path)? {
                Some(document) => loaded.push((path.clone(), document)),
                None if files.explicit => {
                    let error = io::Error::from(io::ErrorKind::NotFound);
                    return Err(KubeconfigError::Read { path: path.clone(), error });
                }
                None => {}
            }
        }
        Ok(Self { files: loaded })
    }

    /// The context of this name, or the current one.
    pub fn context(&self, name: Option<&str>) -> Result<Context, KubeconfigError> {
        let name = match name.or_else(|| self.current_context()) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => return Err(KubeconfigError::NoContext),
        };
        let (_, context) = self.find("contexts", "context", &name)?;
        let text = |key: &str| text(context, key).unwrap_or_default().to_owned();
        let (cluster_name, user_name) = (text("cluster"), text("user"));
        let (path, cluster) = self.find("clusters", "cluster", &cluster_name)?;
        let cluster = cluster_of(path, cluster);
        let stanza = self.user(&user_name)?;
        Ok(Context { name, cluster, user_name, stanza })
    }

    /// How the user of this name logs in.
    pub fn user(&self, name: &str) -> Result<Stanza, KubeconfigError> {
        self.find("users", "user", name).map(|(_, user)| Stanza::read(user))
    }

    /// All users that count, with the file of each: the first to name one decides about it.
    #[must_use]
    pub fn users(&self) -> Vec<(&Path, &str, &Value)> {
        let mut users: Vec<(&Path, &str, &Value)> = Vec::new();
        for (path, document) in &self.files {
            let items = document.get("users").and_then(Value::as_array);
            for item in items.into_iter().flatten() {
                let (Some(name), Some(user)) = (text(item, "name"), item.get("user")) else {
                    continue;
                };
                if !users.iter().any(|(_, known, _)| *known == name) {
                    users.push((path, name, user));
                }
            }
        }
        users
    }

    /// The first current context that is set.
    #[must_use]
    pub fn current_context(&self) -> Option<&str> {
        self.files
            .iter()
            .filter_map(|(_, document)| text(document, "current-context"))
            .find(|name| !name.is_empty())
    }

    /// The first file that has an item of this name, and what it says of it.
    #[must_use]
    pub fn item(&self, list: &str, kind: &str, name: &str) -> Option<(&Path, &Value)> {
        self.files.iter().find_map(|(path, document)| {
            let items = document.get(list)?.as_array()?;
            let item = items.iter().find(|item| text(item, "name") == Some(name))?;
            Some((path.as_path(), item.get(kind).unwrap_or(&Value::Null)))
        })
    }

    fn find(
        &self,
        list: &str,
        kind: &'static str,
        name: &str,
    ) -> Result<(&Path, &Value), KubeconfigError> {
        self.item(list, kind, name)
            .ok_or_else(|| KubeconfigError::Absent { kind, name: name.to_owned() })
    }
}

/// The document of a file, or `None` if there is no such file. An empty file is an empty document.
pub fn read(path: &Path) -> Result<Option<Value>, KubeconfigError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KubeconfigError::Read { path: path.to_owned(), error }),
    };
    let malformed = |reason: String| KubeconfigError::Malformed { path: path.to_owned(), reason };
    let text = String::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
    let document = parse(&text).map_err(malformed)?;
    match document {
        Value::Null => Ok(Some(Value::Object(serde_json::Map::new()))),
        Value::Object(_) => Ok(Some(document)),
        _ => Err(malformed("it is not a mapping".to_owned())),
    }
}

/// Parses YAML. Errors name a place, not what stands there, which may be a credential.
pub fn parse(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(text).map_err(|error| match error.location() {
        Some(place) => format!("line {}, column {} is not YAML", place.line(), place.column()),
        None => "it is not YAML".to_owned(),
    })
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn cluster_of(file: &Path, cluster: &Value) -> Cluster {
    let owned = |key: &str| text(cluster, key).filter(|text| !text.is_empty()).map(str::to_owned);
    let data = owned("certificate-authority-data");
    let path = owned("certificate-authority").map(|path| beside(file, &path));
    Cluster {
        server: owned("server").unwrap_or_default(),
        trust: Trust {
            // Data counts before the file, as in kubectl.
            files: path.filter(|_| data.is_none()).into_iter().collect(),
            data: data.into_iter().collect(),
            insecure: cluster.get("insecure-skip-tls-verify") == Some(&Value::Bool(true)),
        },
        tls_server_name: owned("tls-server-name"),
        proxy_url: owned("proxy-url"),
    }
}

/// Paths in a kubeconfig are relative to its folder.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn files_are_kubectls() {
        let choose = |flag, variable| Files::choose(flag, variable).unwrap();
        assert_eq!(choose(Some("/a"), Some("/b")).paths, [PathBuf::from("/a")]);
        let list = env::join_paths(["/b", "", "/c", "/b"]).unwrap();
        assert_eq!(choose(None, list.to_str()).paths, [PathBuf::from("/b"), PathBuf::from("/c")]);
        let nothing = env::join_paths(["", ""]).unwrap();
        for variable in [None, Some(""), nothing.to_str()] {
            assert!(choose(None, variable).paths[0].ends_with(".kube/config"), "{variable:?}");
        }
    }

    #[test]
    fn the_first_file_to_name_something_decides_about_it() {
        let folder = tempfile::tempdir().unwrap();
        let one = write(
            folder.path(),
            "one",
            "contexts:\n- name: x\n  context: {cluster: c, user: u}\nusers:\n- name: u\n  user:\n    exec:\n      command: ./bin/kubectl-oidc\n      args: [get-token]\n      env: [{name: A, value: b}]\n",
        );
        let two = write(
            folder.path(),
            "two",
            "current-context: x\nclusters:\n- name: c\n  cluster: {server: 'https://s', certificate-authority: ca.pem}\nusers:\n- name: u\n  user: {token: t}\n",
        );
        let gone = folder.path().join("gone");
        let files = Files { paths: vec![gone.clone(), one, two], explicit: false };
        let context = Kubeconfig::load(&files).unwrap().context(None).unwrap();
        assert_eq!(context.cluster.server, "https://s");
        assert_eq!(context.cluster.trust.files, [folder.path().join("ca.pem")]);
        let crate::stanza::Stanza::Ours(call) = context.stanza else { panic!("{context:?}") };
        assert_eq!(
            (call.arguments, call.env),
            (vec!["get-token".to_owned()], vec![("A".to_owned(), "b".to_owned())])
        );
        assert_eq!(files.default_path(), Some(files.paths[1].as_path()));

        let error = Kubeconfig::load(&Files { paths: vec![gone], explicit: true }).unwrap_err();
        assert!(matches!(error, KubeconfigError::Read { .. }), "{error}");
    }

    #[test]
    fn errors_name_the_place_and_not_what_stands_there() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["users: [\ns3cret: }", "- s3cret", "s3cret"] {
            let path = write(folder.path(), "bad", text);
            let name = path.display().to_string();
            let files = Files { paths: vec![path], explicit: false };
            let error = Kubeconfig::load(&files).unwrap_err().to_string();
            assert!(error.contains(&name) && !error.contains("s3cret"), "{error}");
        }
        let path = write(folder.path(), "empty", "# nothing\n");
        let empty = Kubeconfig::load(&Files { paths: vec![path], explicit: true }).unwrap();
        assert!(matches!(empty.context(None), Err(KubeconfigError::NoContext)));
        assert!(matches!(empty.context(Some("x")), Err(KubeconfigError::Absent { .. })));
    }
}
