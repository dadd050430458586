//! A kubeconfig template: a file with the clusters that the portal's kubeconfigs are to have, as kubehook takes it.

use gateway_portal::settings::Template;
use serde_json::Value;

/// Why a template is refused.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Not YAML.
    #[error("{0}")]
    Yaml(String),
    /// Not a kubeconfig.
    #[error("it is no kubeconfig (apiVersion v1, kind Config)")]
    Kind,
    /// Nothing to reach.
    #[error("it has no clusters")]
    NoClusters,
    /// One that cannot be reached.
    #[error("clusters[{0}]: needs a name and a cluster with a server")]
    Cluster(usize),
    /// Two of one name.
    #[error("clusters[{0}]: the name {1:?} is there twice")]
    Twice(usize, String),
    /// One that only this machine could use.
    #[error("clusters[{0}]: {1} names a file of this machine: use certificate-authority-data")]
    LocalFile(usize, &'static str),
    /// A secret that everybody would get.
    #[error("users: a template must hold no credential")]
    Users,
    /// A context that the kubeconfig will not have.
    #[error(
        "current-context: {0:?} is no cluster of the template; contexts have their clusters' names"
    )]
    CurrentContext(String),
}

/// Reads a template.
pub fn template(text: &str) -> Result<Template, TemplateError> {
    let document: Value = serde_saphyr::from_str(text).map_err(|error| {
        TemplateError::Yaml(error.to_string().lines().next().unwrap_or("not YAML").to_owned())
    })?;
    let said = |name: &str| document.get(name).and_then(Value::as_str);
    if said("apiVersion").is_some_and(|version| version != "v1")
        || said("kind").is_some_and(|kind| kind != "Config")
        || !document.is_object()
    {
        return Err(TemplateError::Kind);
    }
    if document.get("users").and_then(Value::as_array).is_some_and(|users| !users.is_empty()) {
        return Err(TemplateError::Users);
    }
    let entries = document.get("clusters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut clusters: Vec<(String, Value)> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let name = entry.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let cluster = entry.get("cluster").filter(|cluster| {
            cluster.get("server").and_then(Value::as_str).is_some_and(|server| !server.is_empty())
        });
        let (Some(name), Some(cluster)) = (name, cluster) else {
            return Err(TemplateError::Cluster(index));
        };
        if cluster.get("certificate-authority").is_some() {
            return Err(TemplateError::LocalFile(index, "certificate-authority"));
        }
        if clusters.iter().any(|(known, _)| known == name) {
            return Err(TemplateError::Twice(index, name.to_owned()));
        }
        clusters.push((name.to_owned(), cluster.clone()));
    }
    if clusters.is_empty() {
        return Err(TemplateError::NoClusters);
    }
    let current_context = said("current-context").unwrap_or_default().to_owned();
    if !current_context.is_empty() && !clusters.iter().any(|(name, _)| *name == current_context) {
        return Err(TemplateError::CurrentContext(current_context));
    }
    Ok(Template { clusters, current_context })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let cluster = "- name: a\n  cluster: {server: https://a}\n";
        for (text, want) in [
            (format!("apiVersion: v1\nkind: Config\nclusters:\n{cluster}"), Ok(1)),
            (format!("clusters:\n{cluster}current-context: a"), Ok(1)),
            (format!("clusters:\n{cluster}current-context: b"), Err("current-context")),
            (format!("clusters:\n{cluster}{cluster}"), Err("is there twice")),
            ("clusters: []".into(), Err("no clusters")),
            ("clusters: [{name: a}]".into(), Err("clusters[0]: needs")),
            ("clusters: [{name: a, cluster: {server: ''}}]".into(), Err("clusters[0]: needs")),
            (
                "clusters: [{name: a, cluster: {server: x, certificate-authority: /f}}]".into(),
                Err("names a file"),
            ),
            (
                format!("clusters:\n{cluster}users: [{{name: u, user: {{token: t}}}}]"),
                Err("no credential"),
            ),
            (format!("kind: Pod\nclusters:\n{cluster}"), Err("no kubeconfig")),
            ("- 1".into(), Err("no kubeconfig")),
            ("a: [".into(), Err("")),
        ] {
            match (template(&text), want) {
                (Ok(found), Ok(count)) => {
                    assert_eq!(found.clusters.len(), count);
                }
                (Err(error), Err(want)) => {
                    assert!(error.to_string().contains(want), "{error} / {want}");
                }
                (found, want) => panic!("{text}: {found:?} / {want:?}"),
            }
        }
    }
}
