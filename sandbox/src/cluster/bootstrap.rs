//! What must be in the cluster before anyone uses it.

use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    http::Client,
    kubectl::Kubectl,
};

const NODE: &str = include_str!("../../manifests/node.yaml");
const GATEWAY: &str = include_str!("../../manifests/gateway.yaml");
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// Aggregated roles in an order in which each is complete before the next one takes it in.
const AGGREGATED: [&str; 3] = ["view", "edit", "admin"];

/// Fills the default roles and makes the node and the gateway's ServiceAccount.
pub(super) fn prepare(admin: &Client, kubectl: &Kubectl) -> Result<()> {
    for role in AGGREGATED {
        aggregate(admin, role)?;
    }
    kubectl.must(["create", "-f", "-"], &format!("{NODE}\n---\n{GATEWAY}")).map(drop)
}

/// Gives an aggregated role its rules, which a controller of kube-controller-manager does in a full cluster. Without them
/// `view` allows nothing.
fn aggregate(admin: &Client, name: &str) -> Result<()> {
    let list = admin.get_json(ROLES)?;
    let roles = list.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let complete = aggregated_rules(roles, name)
        .ok_or_else(|| Error::Invalid(format!("there is no aggregated ClusterRole {name}")))?;
    admin.merge_patch(&format!("{ROLES}/{name}"), &json!({"rules": complete})).map(drop)
}

fn aggregated_rules(roles: &[Value], name: &str) -> Option<Vec<Value>> {
    let role = roles.iter().find(|role| role.pointer("/metadata/name") == Some(&json!(name)))?;
    let selectors = role.pointer("/aggregationRule/clusterRoleSelectors")?.as_array()?;
    let selected = |labels: &Value| {
        selectors
            .iter()
            .filter_map(|selector| selector.get("matchLabels")?.as_object())
            .any(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
    };
    let union = roles
        .iter()
        .filter(|role| role.pointer("/metadata/labels").is_some_and(selected))
        .filter_map(|role| role.get("rules")?.as_array())
        .flatten()
        .cloned()
        .collect();
    Some(union)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_come_from_the_roles_that_a_selector_takes() {
        let roles = [
            json!({"metadata": {"name": "view"},
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]}}),
            json!({"metadata": {"name": "a", "labels": {"to-view": "true", "x": "y"}}, "rules": [1, 2]}),
            json!({"metadata": {"name": "b", "labels": {"to-view": "false"}}, "rules": [3]}),
            json!({"metadata": {"name": "c"}, "rules": [4]}),
            json!({"metadata": {"name": "d", "labels": {"to-view": "true"}}, "rules": [5]}),
        ];
        assert_eq!(aggregated_rules(&roles, "view"), Some(vec![json!(1), json!(2), json!(5)]));
        assert_eq!(aggregated_rules(&roles, "c"), None);
        assert_eq!(aggregated_rules(&roles, "missing"), None);
    }
}
