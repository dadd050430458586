//! Reading: several files as one, the first to name something decides about it.

use std::{
    env,
    path::{Path, PathBuf},
};

use directories::BaseDirs;
use serde_json::Value;

use super::{Cluster, KubeconfigError};
use crate::{path::path_of, settings::Trust, stanza::Stanza};

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

    /// The same, for who does not make a new file.
    ///
    /// # Errors
    /// `$KUBECONFIG` names files, and none of them exists.
    pub fn existing(flag: Option<&str>) -> Result<Self, KubeconfigError> {
        let files = Self::locate(flag)?;
        let variable = env::var("KUBECONFIG").unwrap_or_default();
        let is_named = env::split_paths(&variable).any(|path| !path.as_os_str().is_empty());
        let is_absent = |path: &PathBuf| matches!(path.try_exists(), Ok(false));
        if !files.explicit && is_named && files.paths.iter().all(is_absent) {
            return Err(KubeconfigError::Nowhere(files.paths));
        }
        Ok(files)
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
pub struct Kubeconfig(gateway_kubeconfig::Kubeconfig<Value>);

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
        Ok(Self(gateway_kubeconfig::Kubeconfig::read(&files.paths, files.explicit)?))
    }

    /// The context of this name, or the current one.
    pub fn context(&self, name: Option<&str>) -> Result<Context, KubeconfigError> {
        let name = match name.or_else(|| self.current_context()) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => return Err(KubeconfigError::NoContext),
        };
        let (_, context) = self.0.context(&name).ok_or_else(absent("context", &name))?;
        let cluster = self.0.cluster(&context.cluster);
        let (_, cluster) = cluster.ok_or_else(absent("cluster", &context.cluster))?;
        let stanza = self.user(&context.user)?;
        let user_name = context.user.clone();
        Ok(Context { name, cluster: Cluster::of(cluster), user_name, stanza })
    }

    /// How the user of this name logs in.
    pub fn user(&self, name: &str) -> Result<Stanza, KubeconfigError> {
        let (_, user) = self.0.user(name).ok_or_else(absent("user", name))?;
        Ok(Stanza::read(user))
    }

    /// All users that count, with the file of each: the first to name one decides about it.
    #[must_use]
    pub fn users(&self) -> Vec<(&Path, &str, &Value)> {
        self.0.users()
    }

    /// The first current context that is set.
    #[must_use]
    pub fn current_context(&self) -> Option<&str> {
        self.0.current_context()
    }

    /// The server of the cluster of this name.
    #[must_use]
    pub fn server(&self, cluster: &str) -> Option<&str> {
        self.0.cluster(cluster).map(|(_, cluster)| cluster.server.as_str())
    }

    /// Which of a context and a user of these names is there already and belongs to something else than the cluster of this name,
    /// which is `known` or new: its kind, and its name.
    #[must_use]
    pub fn taken<'a>(
        &self,
        cluster: &str,
        known: bool,
        context: &'a str,
        user: &'a str,
    ) -> Option<(&'static str, &'a str)> {
        let found = self.0.context(context).map(|(_, context)| context);
        if found.is_some_and(|found| !known || found.cluster != cluster) {
            return Some(("context", context));
        }
        (!known && self.0.user(user).is_some()).then_some(("user", user))
    }

    /// The files that have the cluster, the user and the context of these names.
    pub(super) fn files_of(&self, cluster: &str, user: &str, context: &str) -> [Option<&Path>; 3] {
        [
            self.0.cluster(cluster).map(|(path, _)| path),
            self.0.user(user).map(|(path, _)| path),
            self.0.context(context).map(|(path, _)| path),
        ]
    }
}

fn absent(kind: &'static str, name: &str) -> impl FnOnce() -> KubeconfigError {
    move || KubeconfigError::Absent { kind, name: name.to_owned() }
}

/// The document of a file, or `None` if there is no such file. An empty file is an empty document.
pub fn read(path: &Path) -> Result<Option<Value>, KubeconfigError> {
    match gateway_kubeconfig::read(path) {
        Err(error) if error.is_absent() => Ok(None),
        read => Ok(Some(read?)),
    }
}

impl Cluster {
    fn of(found: &gateway_kubeconfig::Cluster) -> Self {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let data = given(&found.certificate_authority_data);
        let file = given(&found.certificate_authority).map(PathBuf::from);
        Self {
            server: found.server.clone(),
            trust: Trust {
                // Data counts before the file, as in kubectl.
                files: file.filter(|_| data.is_none()).into_iter().collect(),
                data: data.into_iter().collect(),
                insecure: found.insecure_skip_tls_verify,
            },
            tls_server_name: given(&found.tls_server_name),
            proxy_url: given(&found.proxy_url),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
