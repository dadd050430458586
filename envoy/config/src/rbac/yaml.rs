//! A role as the manifest that `kubectl apply -f -` takes.

use std::fmt::Write as _;

use super::{PolicyRule, Role};

impl Role {
    /// A `ClusterRole` of this name, with the reason of each rule; and the binding to a ServiceAccount (namespace and name).
    #[must_use]
    pub fn to_yaml(&self, name: &str, account: Option<(&str, &str)>) -> String {
        let name = quoted(name);
        let notes: String = self.notes.iter().map(|note| ["# ", note, "\n"].concat()).collect();
        let rules = match self.rules.as_slice() {
            [] => "rules: []\n".to_owned(),
            rules => rules.iter().fold("rules:\n".to_owned(), written),
        };
        let role = format!(
            "{notes}apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}}}\n{rules}"
        );
        let Some((namespace, account)) = account else { return role };
        format!(
            "{role}---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}\n\
             subjects:\n- {{kind: ServiceAccount, namespace: {}, name: {}}}\n",
            quoted(namespace),
            quoted(account),
        )
    }
}

fn written(mut text: String, rule: &PolicyRule) -> String {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# {}", rule.why);
    let fields = [
        ("apiGroups", &rule.api_groups),
        ("resources", &rule.resources),
        ("resourceNames", &rule.resource_names),
        ("nonResourceURLs", &rule.non_resource_urls),
        ("verbs", &rule.verbs),
    ];
    let fields = fields.iter().filter(|(_, values)| !values.is_empty());
    for (index, (field, values)) in fields.enumerate() {
        let lead = if index == 0 { "-" } else { " " };
        let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
        let _ = writeln!(text, "{lead} {field}: [{}]", values.join(", "));
    }
    text
}

/// YAML's double-quoted scalars are JSON's strings; what is plain anyway stays so.
fn quoted(value: &str) -> String {
    let plain = value.starts_with(|c: char| c.is_ascii_lowercase())
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"./-".contains(&b))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&value);
    if plain { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}
