//! What the gateway must be allowed to do at kube-apiserver, as single rights that can be asked for. Which these are is the
//! business of [`rbac`](crate::rbac).

use std::fmt;

use gateway_core::config::{ClientImpersonation, GatewayConfiguration};
use serde_json::{Value, json};

use crate::{
    documents::Documents,
    rbac::{Form, PolicyRule, Role},
};

/// What every client asks for first, and with what.
const DISCOVERY: (&str, &str) = ("/api", ":get");

/// The rights that a configuration needs: one form of them is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// With the verb `impersonate`.
    pub plain: Vec<Right>,
    /// As KEP-5284 has them.
    pub constrained: Vec<Right>,
}

/// A right in RBAC's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// The API group.
    pub group: String,
    /// The resource, with its subresource behind a slash; a path if it begins with one.
    pub resource: String,
    /// The verb.
    pub verb: String,
    /// The object's name, if it is known.
    pub name: Option<String>,
    /// What does not work without it.
    pub needed: Needed,
}

/// What does not work without a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Every request, or every one of some users.
    Always,
    /// `kubectl --as` alone.
    ToImpersonate,
}

/// The rights that a gateway of these documents needs.
///
/// Extras that a client asks for by `--as-user-extra` are not among them: nobody knows which these will be.
#[must_use]
pub fn rights(documents: &Documents) -> Rights {
    Rights { plain: of(documents, Form::Plain), constrained: of(documents, Form::Constrained) }
}

fn of(documents: &Documents, form: Form) -> Vec<Right> {
    let of = |gateway: &GatewayConfiguration| {
        let role = Role::least(documents.authentication(), gateway, &[], form);
        role.rules.iter().flat_map(single).collect::<Vec<_>>()
    };
    let without = GatewayConfiguration {
        client_impersonation: ClientImpersonation::Strip,
        ..documents.gateway().clone()
    };
    let always = of(&without);
    let mut rights = of(documents.gateway());
    for right in &mut rights {
        if !always.contains(right) {
            right.needed = Needed::ToImpersonate;
        }
    }
    rights
}

/// The rights that a rule holds.
fn single(rule: &PolicyRule) -> Vec<Right> {
    if let Some(verb) = rule.verbs.iter().find(|verb| verb.ends_with(DISCOVERY.1))
        && !rule.non_resource_urls.is_empty()
    {
        let (group, resource) = (String::new(), DISCOVERY.0.to_owned());
        let needed = Needed::Always;
        return vec![Right { group, resource, verb: verb.clone(), name: None, needed }];
    }
    // What users may do as themselves is a choice of who wrote the role.
    if rule.api_groups == ["*"] {
        return Vec::new();
    }
    let names: Vec<_> = match rule.resource_names.as_slice() {
        [] => vec![None],
        names => names.iter().cloned().map(Some).collect(),
    };
    let mut rights = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                rights.extend(names.iter().map(|name| Right {
                    group: group.clone(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                    name: name.clone(),
                    needed: Needed::Always,
                }));
            }
        }
    }
    rights
}

impl Right {
    /// `spec` of a SelfSubjectAccessReview.
    #[must_use]
    pub fn spec(&self) -> Value {
        if self.resource.starts_with('/') {
            return json!({"nonResourceAttributes": {"path": self.resource, "verb": self.verb}});
        }
        json!({"resourceAttributes": self.attributes()})
    }

    fn attributes(&self) -> Value {
        let (resource, subresource) =
            self.resource.split_once('/').unwrap_or((self.resource.as_str(), ""));
        json!({
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "verb": self.verb,
            "name": self.name.as_deref().unwrap_or_default(),
        })
    }
}

impl fmt::Display for Right {
    /// The rule of a cluster role that would grant it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, resource, verb, name, .. } = self;
        if resource.starts_with('/') {
            return write!(f, "{{nonResourceURLs: [\"{resource}\"], verbs: [\"{verb}\"]}}");
        }
        write!(f, "{{apiGroups: [\"{group}\"], resources: [\"{resource}\"], ")?;
        if let Some(name) = name {
            write!(f, "resourceNames: [{name:?}], ")?;
        }
        write!(f, "verbs: [\"{verb}\"]}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(gateway: &Value) -> Rights {
        let mut document = json!({
            "apiVersion": gateway_core::config::API_VERSION, "kind": gateway_core::config::KIND,
            "extras": {"credentialId": false},
        });
        document.as_object_mut().unwrap().extend(gateway.as_object().unwrap().clone());
        let authentication = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {"url": "https://a.example", "audiences": ["a"]},
                "claimMappings": {"username": {"claim": "sub", "prefix": ""}, "groups": {"claim": "g", "prefix": ""}},
            }],
        });
        rights(&Documents::from_values(&authentication, Some(document)).unwrap())
    }

    fn short(right: &Right) -> String {
        let Right { resource, verb, name, .. } = right;
        format!("{verb} {resource} {}", name.as_deref().unwrap_or_default()).trim().to_owned()
    }

    #[test]
    fn what_kubectl_as_alone_needs_is_told_apart() {
        let all = of(&json!({
            "clientImpersonation": "authorize",
            "extras": {"credentialId": false, "headers": {"a": ["x", "y"]}},
        }));
        let all = all.plain;
        let of = |needed| {
            all.iter().filter(|right| right.needed == needed).map(short).collect::<Vec<_>>()
        };
        let always = of(Needed::Always);
        for want in [
            "impersonate users",
            "impersonate groups",
            "impersonate userextras/a x",
            "impersonate userextras/a y",
        ] {
            assert!(always.contains(&want.to_owned()), "{want}: {always:?}");
        }
        let as_only = of(Needed::ToImpersonate);
        let want = "create subjectaccessreviews".to_owned();
        assert!(as_only.contains(&want) && !always.contains(&want), "{as_only:?} {always:?}");
    }

    /// KEP-5284: other verbs, on users of another group; and nothing works without a right to act, of which the least is known.
    #[test]
    fn the_constrained_form_has_its_own() {
        let all = of(&json!({"clientImpersonation": "authorize"})).constrained;
        let always = all.iter().filter(|right| right.needed == Needed::Always);
        let always: Vec<_> = always.map(ToString::to_string).collect();
        let identity = |resource: &str| {
            format!(
                "{{apiGroups: [\"authentication.k8s.io\"], resources: [\"{resource}\"], verbs: [\"impersonate:user-info\"]}}"
            )
        };
        let action = "{nonResourceURLs: [\"/api\"], verbs: [\"impersonate-on:user-info:get\"]}";
        assert_eq!(always, [identity("users"), identity("groups"), action.to_owned()]);
        let discovery = all.iter().find(|right| right.resource == "/api").unwrap();
        let want = json!({"nonResourceAttributes": {"path": "/api", "verb": "impersonate-on:user-info:get"}});
        assert_eq!(discovery.spec(), want);
        assert!(all.iter().any(|right| short(right) == "create subjectaccessreviews"));
    }

    #[test]
    fn a_right_is_asked_for_and_told_as_a_rule() {
        let right = Right {
            group: "authentication.k8s.io".to_owned(),
            resource: "userextras/scopes".to_owned(),
            verb: "impersonate".to_owned(),
            name: Some("x".to_owned()),
            needed: Needed::Always,
        };
        let want = "{apiGroups: [\"authentication.k8s.io\"], resources: [\"userextras/scopes\"], \
                    resourceNames: [\"x\"], verbs: [\"impersonate\"]}";
        assert_eq!(right.to_string(), want);
        let attributes = right.attributes();
        assert_eq!(attributes["resource"], "userextras");
        assert_eq!(attributes["subresource"], "scopes");
    }
}
