//! Kubeconfig files as client-go reads them: several as one, the first to name something decides about it, paths are relative to
//! their file. Source: client-go, `tools/clientcmd` (`loader.go`) and `tools/clientcmd/api/v1` (`types.go`).
//!
//! What stands under a user is the reader's own matter: a program that logs in wants to know how, a gateway wants a credential.

mod document;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use self::document::Document;

pub use document::{Cluster, Context, ReadError, beside, parse, read};

/// Files, read as one, with users of the kind `U`.
#[derive(Debug)]
pub struct Kubeconfig<U> {
    files: Vec<(PathBuf, Document<U>)>,
}

impl<U: DeserializeOwned + Default> Kubeconfig<U> {
    /// Reads files. One that is not there is as good as an empty one, unless they must exist.
    pub fn read(paths: &[PathBuf], must_exist: bool) -> Result<Self, ReadError> {
        let mut files = Vec::new();
        for path in paths {
            match Document::read(path) {
                Ok(document) => files.push((path.clone(), document)),
                Err(error) if error.is_absent() && !must_exist => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { files })
    }
}

impl<U> Kubeconfig<U> {
    /// The first current context that is set.
    #[must_use]
    pub fn current_context(&self) -> Option<&str> {
        let mut names = self.files.iter().map(|(_, document)| document.current_context.as_str());
        names.find(|name| !name.is_empty())
    }

    /// The context of this name, and its file.
    #[must_use]
    pub fn context(&self, name: &str) -> Option<(&Path, &Context)> {
        self.find(name, Document::contexts)
    }

    /// The cluster of this name, and its file.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<(&Path, &Cluster)> {
        self.find(name, Document::clusters)
    }

    /// The user of this name, and its file.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<(&Path, &U)> {
        self.find(name, Document::users)
    }

    /// The name of the first cluster.
    #[must_use]
    pub fn first_cluster(&self) -> Option<&str> {
        self.files.iter().find_map(|(_, document)| Some(document.clusters().next()?.0))
    }

    /// All users that count, with the file of each.
    #[must_use]
    pub fn users(&self) -> Vec<(&Path, &str, &U)> {
        let mut users: Vec<(&Path, &str, &U)> = Vec::new();
        for (path, document) in &self.files {
            for (name, user) in document.users() {
                if !users.iter().any(|(_, known, _)| *known == name) {
                    users.push((path, name, user));
                }
            }
        }
        users
    }

    fn find<'a, T: 'a, I: Iterator<Item = (&'a str, &'a T)>>(
        &'a self,
        name: &str,
        items: impl Fn(&'a Document<U>) -> I,
    ) -> Option<(&'a Path, &'a T)> {
        self.files.iter().find_map(|(path, document)| {
            let (_, item) = items(document).find(|(known, _)| *known == name)?;
            Some((path.as_path(), item))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    fn read_texts(texts: &[&str]) -> Result<Kubeconfig<Value>, ReadError> {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = vec![folder.path().join("gone")];
        for (index, text) in texts.iter().enumerate() {
            let path = folder.path().join(index.to_string());
            fs::write(&path, text).unwrap();
            paths.push(path);
        }
        Kubeconfig::read(&paths, false)
    }

    #[test]
    fn the_first_file_to_name_something_decides_about_it() {
        let one = "contexts: [{name: x, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: first}}]";
        let two = "current-context: x\nclusters: [{name: c, cluster: {server: 'https://s', certificate-authority: ca.pem}}]\nusers: [{name: u, user: {token: t}}, {name: v, user: {}}]";
        let config = read_texts(&[one, two]).unwrap();
        assert_eq!(config.current_context(), Some("x"));
        let (_, context) = config.context("x").unwrap();
        assert_eq!((context.cluster.as_str(), context.user.as_str()), ("c", "u"));
        let (file, cluster) = config.cluster("c").unwrap();
        assert_eq!(cluster.server, "https://s");
        assert_eq!(
            Path::new(&cluster.certificate_authority),
            file.parent().unwrap().join("ca.pem")
        );
        assert_eq!(config.user("u").unwrap().1["token"], "first");
        assert_eq!(config.users().iter().map(|(_, name, _)| *name).collect::<Vec<_>>(), ["u", "v"]);
        assert_eq!(config.first_cluster(), Some("c"));
        assert!(config.cluster("d").is_none());
    }

    /// `kubectl config` writes `users: null` where there is none.
    #[test]
    fn null_is_as_good_as_nothing() {
        for text in [
            "",
            "# nothing\n",
            "{}",
            "clusters: null\ncontexts: null\ncurrent-context: \"\"\nusers: null\n",
            "current-context:\nclusters: [{name: c, cluster: null}]\ncontexts: [{name: x, context: {cluster: , user: }}]\nusers: [{name: u, user: null}]",
        ] {
            let config = read_texts(&[text]).unwrap();
            assert_eq!(config.current_context(), None, "{text}");
        }
    }

    #[test]
    fn errors_name_the_place_and_not_what_stands_there() {
        for (text, want) in [
            ("users: [\ns3cret: }", "line 1, column "),
            ("- s3cret", "it is not a mapping"),
            ("s3cret", "it is not a mapping"),
            ("users:\n- name: u\n  user: {token: s3cret}\nclusters: s3cret\n", "line 4, column "),
            (
                "clusters:\n- name: c\n  cluster:\n    insecure-skip-tls-verify: s3cret\n",
                "line 4, column ",
            ),
        ] {
            let error = read_texts(&[text]).unwrap_err().to_string();
            assert!(error.contains(want) && !error.contains("s3cret"), "{text}: {error}");
        }
        let error = Kubeconfig::<Value>::read(&[PathBuf::from("/none")], true).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
