//! `audit.k8s.io/v1` Policy: which events are written.
//!
//! Sources: k8s.io/apiserver, `pkg/apis/audit/v1/types.go`, `pkg/apis/audit/validation`, `pkg/audit/policy/checker.go`.

use serde::Deserialize;
use serde_json::Value;

use kube_request::RequestInfo;

use crate::{
    event::{Level, Stage},
    identity::User,
};

/// A checked policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
    warnings: Vec<String>,
}

/// Why a policy is refused. Every text names the field.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// No YAML, or not of the document's shape.
    #[error("{0}")]
    Shape(String),
    /// It has no rules.
    #[error("loaded illegal policy with 0 rules")]
    NoRules,
    /// A value that is not allowed.
    #[error("{field}: {reason}")]
    Value {
        /// The field.
        field: String,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "accepted: Kubernetes' objects have one")]
    metadata: Option<Value>,
    #[serde(default)]
    rules: Option<Vec<Rule>>,
    #[serde(default)]
    omit_stages: Option<Vec<String>>,
    #[serde(default)]
    #[expect(dead_code, reason = "accepted: without bodies there is nothing to omit")]
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Rule {
    level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
    /// `omit_stages` of the rule and of the policy.
    #[serde(skip)]
    omitted: Vec<Stage>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// What a policy says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// How much is written; nothing with [`Level::None`].
    pub level: Level,
    omitted: &'a [Stage],
}

impl Verdict<'_> {
    /// Whether an event of this stage is written.
    #[must_use]
    pub fn wants(&self, stage: Stage) -> bool {
        self.level == Level::Metadata && !self.omitted.contains(&stage)
    }
}

impl Policy {
    /// Reads a policy, YAML or JSON.
    ///
    /// # Errors
    /// If kube-apiserver would refuse it.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let shape = |error: String| {
            PolicyError::Shape(error.lines().next().unwrap_or("not YAML").to_owned())
        };
        let document: Document =
            serde_saphyr::from_str(text).map_err(|error| shape(error.to_string()))?;
        if document.api_version != "audit.k8s.io/v1" {
            return Err(value("apiVersion", &document.api_version, "audit.k8s.io/v1"));
        }
        if document.kind != "Policy" {
            return Err(value("kind", &document.kind, "Policy"));
        }
        let omit_stages = stages(&document.omit_stages.unwrap_or_default(), "omitStages")?;
        let mut rules = document.rules.unwrap_or_default();
        if rules.is_empty() {
            return Err(PolicyError::NoRules);
        }
        let mut warnings = Vec::new();
        for (index, rule) in rules.iter_mut().enumerate() {
            let path = format!("rules[{index}]");
            rule.check(&path)?;
            rule.omitted = stages(&rule.omit_stages, &format!("{path}.omitStages"))?;
            rule.omitted.extend(&omit_stages);
            if matches!(rule.level.as_str(), "Request" | "RequestResponse") {
                let level = &rule.level;
                warnings.push(format!(
                    "{path}.level: {level} gives Metadata here: bodies never enter the gateway's log"
                ));
            }
        }
        Ok(Self { rules, omit_stages, warnings })
    }

    /// What is allowed and does less than it says.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The verdict of the first rule that matches; without one nothing is written.
    #[must_use]
    pub fn evaluate(&self, user: &User, info: &RequestInfo) -> Verdict<'_> {
        let rule = self.rules.iter().find(|rule| rule.matches(user, info));
        match rule {
            Some(rule) if rule.level != "None" => {
                Verdict { level: Level::Metadata, omitted: &rule.omitted }
            }
            _ => Verdict { level: Level::None, omitted: &self.omit_stages },
        }
    }
}

impl Policy {
    /// The verdict where the user or the request is not known whole, because something was cut: an event that a rule could ask for
    /// is written, whatever would have been left out.
    #[must_use]
    pub fn evaluate_in_doubt(&self, user: &User, info: &RequestInfo) -> Verdict<'_> {
        let mut writing = self.rules.iter().filter(|rule| rule.level != "None");
        let rule = writing.clone().find(|rule| rule.matches(user, info)).or_else(|| writing.next());
        match rule {
            Some(rule) => Verdict { level: Level::Metadata, omitted: &rule.omitted },
            None => Verdict { level: Level::None, omitted: &self.omit_stages },
        }
    }
}

impl Rule {
    fn check(&self, path: &str) -> Result<(), PolicyError> {
        let fault = |field: &str, reason: &str| {
            Err(PolicyError::Value { field: format!("{path}.{field}"), reason: reason.to_owned() })
        };
        match self.level.as_str() {
            "None" | "Metadata" | "Request" | "RequestResponse" => {}
            "" => return fault("level", "Required value"),
            level => {
                let levels = "\"None\", \"Metadata\", \"Request\", \"RequestResponse\"";
                let reason = format!("Unsupported value: {level:?}: supported values: {levels}");
                return fault("level", &reason);
            }
        }
        for (index, url) in self.non_resource_urls.iter().enumerate().filter(|(_, it)| *it != "*") {
            let field = format!("nonResourceURLs[{index}]");
            if !url.starts_with('/') {
                return fault(&field, "non-resource URL rules must begin with a '/' character");
            }
            if url.trim_end_matches('*').contains('*') || url.ends_with("**") {
                return fault(
                    &field,
                    "non-resource URL wildcards '*' must be the final character of the rule",
                );
            }
        }
        for (index, group) in self.resources.iter().enumerate() {
            if !group.resource_names.is_empty() && group.resources.is_empty() {
                let field = format!("resources[{index}].resourceNames");
                return fault(&field, "using resourceNames requires at least one resource");
            }
            if !matches!(group.group.as_str(), "" | "*") && !is_subdomain(&group.group) {
                let field = format!("resources[{index}].group");
                return fault(&field, "must be a DNS subdomain, without a version");
            }
        }
        let of_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if !self.non_resource_urls.is_empty() && of_resources {
            return fault(
                "nonResourceURLs",
                "rules cannot apply to both regular resources and non-resource URLs",
            );
        }
        Ok(())
    }

    fn matches(&self, user: &User, info: &RequestInfo) -> bool {
        let any = |list: &[String], value: &str| list.iter().any(|it| it == value);
        if !self.users.is_empty() && !any(&self.users, &user.username) {
            return false;
        }
        if !self.user_groups.is_empty()
            && !user.groups.iter().any(|group| any(&self.user_groups, group))
        {
            return false;
        }
        if !self.verbs.is_empty() && !any(&self.verbs, &info.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.is_resource
                && (self.namespaces.is_empty() || any(&self.namespaces, &info.namespace))
                && (self.resources.is_empty() || self.resources.iter().any(|it| it.matches(info)));
        }
        self.non_resource_urls.is_empty()
            || !info.is_resource
                && self.non_resource_urls.iter().any(|it| path_matches(&info.path, it))
    }
}

impl GroupResources {
    fn matches(&self, info: &RequestInfo) -> bool {
        if self.group != "*" && self.group != info.api_group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.resource_names.is_empty() && !self.resource_names.contains(&info.name) {
            return false;
        }
        let combined = match info.subresource.as_str() {
            "" => info.resource.clone(),
            subresource => format!("{}/{subresource}", info.resource),
        };
        self.resources.iter().any(|wanted| {
            *wanted == combined
                || wanted == "*"
                || wanted
                    .strip_prefix("*/")
                    .is_some_and(|it| !info.subresource.is_empty() && it == info.subresource)
                || wanted.strip_suffix("/*").is_some_and(|it| it == info.resource)
        })
    }
}

fn path_matches(path: &str, wanted: &str) -> bool {
    wanted == "*"
        || wanted == path
        || wanted.ends_with('*') && path.starts_with(wanted.trim_end_matches('*'))
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !label.is_empty()
                && label.bytes().all(fits)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn stages(names: &[String], field: &str) -> Result<Vec<Stage>, PolicyError> {
    let stage = |(index, name): (usize, &String)| match name.as_str() {
        "RequestReceived" => Ok(Some(Stage::RequestReceived)),
        "ResponseStarted" => Ok(Some(Stage::ResponseStarted)),
        "ResponseComplete" => Ok(Some(Stage::ResponseComplete)),
        // Never written here.
        "Panic" => Ok(None),
        _ => Err(PolicyError::Value {
            field: format!("{field}[{index}]"),
            reason: "allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic"
                .to_owned(),
        }),
    };
    let stages: Result<Vec<_>, _> = names.iter().enumerate().map(stage).collect();
    Ok(stages?.into_iter().flatten().collect())
}

fn value(field: &str, got: &str, want: &str) -> PolicyError {
    let reason = format!("Invalid value: {got:?}: must be {want}");
    PolicyError::Value { field: field.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Result<Policy, PolicyError> {
        Policy::parse(&format!("{{apiVersion: audit.k8s.io/v1, kind: Policy, {rules}}}"))
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let user = User {
            username: "jane".into(),
            groups: vec!["dev".into(), "system:authenticated".into()],
            ..User::default()
        };
        for (rule, method, uri, want) in [
            ("users: [jane]", "GET", "/version", true),
            ("users: [bob]", "GET", "/version", false),
            ("userGroups: [ops, dev]", "GET", "/version", true),
            ("userGroups: [ops]", "GET", "/version", false),
            ("verbs: [list]", "GET", "/api/v1/pods", true),
            ("verbs: [get]", "GET", "/api/v1/pods", false),
            ("resources: [{group: '', resources: [pods]}]", "GET", "/api/v1/pods", true),
            (
                "resources: [{group: '', resources: [pods]}]",
                "GET",
                "/api/v1/namespaces/n/pods/p/log",
                false,
            ),
            (
                "resources: [{group: '', resources: [pods/log]}]",
                "GET",
                "/api/v1/namespaces/n/pods/p/log",
                true,
            ),
            (
                "resources: [{group: '', resources: ['*/log']}]",
                "GET",
                "/api/v1/namespaces/n/pods/p/log",
                true,
            ),
            (
                "resources: [{group: '', resources: ['*/log']}]",
                "GET",
                "/api/v1/namespaces/n/pods/p",
                false,
            ),
            (
                "resources: [{group: '', resources: ['pods/*']}]",
                "GET",
                "/api/v1/namespaces/n/pods/p",
                true,
            ),
            (
                "resources: [{group: '*', resources: ['*']}]",
                "GET",
                "/apis/apps/v1/deployments",
                true,
            ),
            ("resources: [{group: apps}]", "GET", "/apis/apps/v1/deployments", true),
            ("resources: [{group: apps}]", "GET", "/api/v1/pods", false),
            (
                "resources: [{resources: [pods], resourceNames: [p]}]",
                "GET",
                "/api/v1/namespaces/n/pods/p",
                true,
            ),
            (
                "resources: [{resources: [pods], resourceNames: [q]}]",
                "GET",
                "/api/v1/namespaces/n/pods/p",
                false,
            ),
            ("namespaces: [n]", "GET", "/api/v1/namespaces/n/pods", true),
            ("namespaces: ['']", "GET", "/api/v1/nodes", true),
            ("namespaces: [n]", "GET", "/version", false),
            ("nonResourceURLs: ['/version*']", "GET", "/version/x", true),
            ("nonResourceURLs: ['*']", "GET", "/api/v1/pods", false),
            ("omitManagedFields: true", "GET", "/api/v1/pods", true),
        ] {
            let policy = policy(&format!("rules: [{{level: Metadata, {rule}}}]")).unwrap();
            let verdict = policy.evaluate(&user, &RequestInfo::new(method, uri));
            assert_eq!(verdict.level == Level::Metadata, want, "{rule} {uri}");
        }
        let both = policy("rules: [{level: None, users: [jane]}, {level: Metadata}]").unwrap();
        let info = RequestInfo::new("GET", "/version");
        assert_eq!(both.evaluate(&user, &info).level, Level::None);
        assert_eq!(both.evaluate(&User::default(), &info).level, Level::Metadata);
    }

    #[test]
    fn stages_are_omitted_by_the_rule_and_by_the_policy() {
        let policy = policy(
            "omitStages: [RequestReceived], rules: [{level: Request, omitStages: [ResponseStarted, Panic]}]",
        )
        .unwrap();
        let verdict_of = RequestInfo::new("GET", "/version");
        let verdict = policy.evaluate(&User::default(), &verdict_of);
        assert!(!verdict.wants(Stage::RequestReceived) && !verdict.wants(Stage::ResponseStarted));
        assert!(verdict.wants(Stage::ResponseComplete));
        assert_eq!(policy.warnings().len(), 1);
        assert!(policy.warnings()[0].starts_with("rules[0].level: Request gives Metadata"));
    }

    #[test]
    fn what_kube_apiserver_refuses_is_refused_by_its_field() {
        for (rules, want) in [
            ("rules: []", "0 rules"),
            ("rule: [{level: Metadata}]", "unknown field"),
            ("rules: [{}]", "rules[0].level: Required value"),
            ("rules: [{level: All}]", "rules[0].level: Unsupported value: \"All\""),
            (
                "rules: [{level: None}, {level: None, nonResourceURLs: [version]}]",
                "rules[1].nonResourceURLs[0]",
            ),
            ("rules: [{level: None, nonResourceURLs: ['/a*b']}]", "must be the final"),
            (
                "rules: [{level: None, nonResourceURLs: ['/a'], namespaces: [n]}]",
                "cannot apply to both",
            ),
            (
                "rules: [{level: None, resources: [{group: apps/v1}]}]",
                "rules[0].resources[0].group",
            ),
            ("rules: [{level: None, resources: [{resourceNames: [a]}]}]", "resourceNames requires"),
            (
                "rules: [{level: None, omitStages: [Never]}]",
                "rules[0].omitStages[0]: allowed stages",
            ),
        ] {
            let error = policy(rules).unwrap_err().to_string();
            assert!(error.contains(want), "{rules}: {error}");
        }
        let error = Policy::parse("{apiVersion: audit.k8s.io/v2, kind: Policy}").unwrap_err();
        assert!(error.to_string().contains("apiVersion: Invalid value"), "{error}");
    }

    /// Whoever makes a path or a list of groups too long to be kept must not leave a rule by that.
    #[test]
    fn break_in_3_what_is_cut_leaves_no_rule() {
        let user = User { username: "jane".to_owned(), ..User::default() };
        let info = RequestInfo::new("GET", "/api/v1/pods");
        for (rules, want) in [
            (
                "rules: [{level: None, users: [jane]}, {level: Metadata, userGroups: [ops]}]",
                Level::Metadata,
            ),
            (
                "rules: [{level: Metadata, resources: [{group: '', resources: [secrets]}]}]",
                Level::Metadata,
            ),
            ("rules: [{level: None}]", Level::None),
        ] {
            let policy = policy(rules).unwrap();
            assert_eq!(policy.evaluate(&user, &info).level, Level::None, "{rules}");
            assert_eq!(policy.evaluate_in_doubt(&user, &info).level, want, "{rules}");
        }
    }
}
