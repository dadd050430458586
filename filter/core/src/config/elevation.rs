//! `elevation`: groups that are lent for a time, to whom, and who has to agree.

use std::ops::RangeInclusive;

use apiserver_cel::{Environment, Pattern};
use kube_rules::Rules;

use super::section::{plain_section, section};
use crate::{
    documents::Fault,
    elevation::{Policy, Rule},
    expression, names,
};

/// How many rules there may be, and names in one list of a rule.
const MOST: usize = 64;
/// Seconds of `maximumSeconds`, up to a week.
const LENGTHS: RangeInclusive<u32> = 60..=604_800;

section! {
    /// Groups that are lent for a time. Without a rule none is, whatever a `Grants` document says.
    Elevation
        /// What may be lent. A grant needs one rule that allows all of it.
        rules: Vec<ElevationRule> = Vec::new();
}

plain_section! {
    /// What may be lent, to whom, for how long, and who has to agree.
    ElevationRule
        /// Its name, of lower-case letters, digits and `-`.
        name: String = String::new();
        /// The groups that may be lent. None of them may begin with `system:`.
        groups: Vec<String> = Vec::new();
        /// The issuer of those who may ask, as the `AuthenticationConfiguration` has its URL; empty means any.
        to_issuer: String = String::new();
        /// Groups, one of which who asks must have by its own token.
        to_groups: Vec<String> = Vec::new();
        /// Users who may ask beside those, by name.
        to_users: Vec<String> = Vec::new();
        /// A CEL expression over `user` and `claims` that must be true of who asks, beside the fields before it. It may stand for `toGroups` and
        /// `toUsers`. One that cannot be evaluated lends nothing.
        to_expression: String = String::new();
        /// The most seconds for which the groups are lent: 60 to 604800, a week.
        maximum_seconds: u32 = 3600;
        /// Whether somebody else has to agree. Nobody ever agrees to what it asked for itself.
        requires_approval: bool = true;
        /// Groups, one of which who agrees must have by its own token.
        approvers: Vec<String> = Vec::new();
        /// The issuers of those who may agree; empty means the issuer of who asked.
        approver_issuers: Vec<String> = Vec::new();
        /// A regular expression (Go's) that the whole of the reason must match; empty means that none has to be given.
        reason_pattern: String = String::new();
}

impl Elevation {
    /// The rules, compiled.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be meant.
    pub fn policy(&self, kubernetes: Rules) -> Result<Policy, Fault> {
        compile(&self.rules, kubernetes)
    }
}

fn compile(rules: &[ElevationRule], kubernetes: Rules) -> Result<Policy, Fault> {
    if rules.len() > MOST {
        return Err(fault(
            "elevation.rules",
            &rules.len().to_string(),
            "must have at most 64 items",
        ));
    }
    let mut compiled = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("elevation.rules[{index}]");
        if rules.iter().take(index).any(|other| other.name == rule.name) {
            let field = format!("{path}.name");
            return Err(fault(&field, &rule.name, "must be no other rule's name"));
        }
        compiled.push(rule.compile(&path, kubernetes)?);
    }
    Ok(Policy::new(compiled))
}

fn fault(field: &str, got: &str, why: &str) -> Fault {
    Fault { field: field.to_owned(), got: got.to_owned(), why: why.to_owned() }
}

impl ElevationRule {
    fn compile(&self, path: &str, kubernetes: Rules) -> Result<Rule, Fault> {
        let refuse =
            |field: &str, got: &str, why: &str| Err(fault(&format!("{path}.{field}"), got, why));
        if !names::is_label(&self.name) {
            let why =
                "must be a lower-case name of letters, digits and '-', of at most 63 characters";
            return refuse("name", &self.name, why);
        }
        for (field, list) in [
            ("groups", &self.groups),
            ("toGroups", &self.to_groups),
            ("toUsers", &self.to_users),
            ("approvers", &self.approvers),
            ("approverIssuers", &self.approver_issuers),
        ] {
            if list.len() > MOST {
                return refuse(field, &list.len().to_string(), "must have at most 64 items");
            }
            if let Some(index) =
                list.iter().position(|name| name.is_empty() || !names::is_safe(name))
            {
                let got = list.get(index).map_or("", String::as_str);
                let why = "must not be empty, and have no control character and no blank at its start or end";
                return refuse(&format!("{field}[{index}]"), got, why);
            }
        }
        if self.groups.is_empty() {
            return refuse("groups", "", "must name at least one group");
        }
        // `system:masters` cannot be taken away from anybody who has it, and the others are the cluster's own.
        if let Some(index) =
            self.groups.iter().position(|group| group.starts_with(names::RESERVED_PREFIX))
        {
            let got = self.groups.get(index).map_or("", String::as_str);
            let why = "must not begin with \"system:\": such groups are never lent";
            return refuse(&format!("groups[{index}]"), got, why);
        }
        let text = &self.to_expression;
        if self.to_groups.is_empty() && self.to_users.is_empty() && text.is_empty() {
            let why = "must be given, or toUsers or toExpression: else nobody may ask";
            return refuse("toGroups", "", why);
        }
        let to_expression = (!text.is_empty())
            .then(|| expression::program(text, Environment::Person, kubernetes))
            .transpose()
            .map_err(|why| fault(&format!("{path}.toExpression"), text, &why))?;
        if self.requires_approval && self.approvers.is_empty() {
            let why = "must be given, or requiresApproval be false: else nobody may agree";
            return refuse("approvers", "", why);
        }
        if !LENGTHS.contains(&self.maximum_seconds) {
            let got = self.maximum_seconds.to_string();
            return refuse("maximumSeconds", &got, "must be 60 to 604800");
        }
        let pattern = &self.reason_pattern;
        let reason = (!pattern.is_empty()).then(|| Pattern::compile(&format!("^(?:{pattern})$")));
        let reason = reason
            .transpose()
            .map_err(|why| fault(&format!("{path}.reasonPattern"), pattern, &why))?;
        let rule = self.clone();
        Ok(Rule {
            name: rule.name,
            groups: rule.groups,
            to_issuer: rule.to_issuer,
            to_groups: rule.to_groups,
            to_users: rule.to_users,
            to_expression,
            maximum_seconds: rule.maximum_seconds,
            requires_approval: rule.requires_approval,
            approvers: rule.approvers,
            approver_issuers: rule.approver_issuers,
            reason_pattern: rule.reason_pattern,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::config::{API_VERSION, GatewayConfiguration, KIND};

    fn read(rules: &Value) -> Result<(), String> {
        let document =
            json!({"apiVersion": API_VERSION, "kind": KIND, "elevation": {"rules": rules}});
        GatewayConfiguration::from_value(document).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_strict_and_every_error_names_its_field() {
        let with = |fields: Value| {
            let mut rule = json!({"name": "a", "groups": ["admins"], "toGroups": ["dev"], "approvers": ["leads"]});
            rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            json!([rule])
        };
        for (rules, want) in [
            (json!([]), None),
            (with(json!({})), None),
            (with(json!({"toGroups": [], "toUsers": ["jane"]})), None),
            (with(json!({"approvers": [], "requiresApproval": false})), None),
            (with(json!({"reasonPattern": "INC-[0-9]+"})), None),
            (
                with(json!({"toGroups": [], "toExpression": "claims.?team == optional.of('ops')"})),
                None,
            ),
            (
                with(json!({"toExpression": "request.verb == 'get'"})),
                Some(
                    "elevation.rules[0].toExpression: Invalid value: \"request.verb == 'get'\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'request'",
                ),
            ),
            (
                with(json!({"toExpression": "now > timestamp('2026-01-01T00:00:00Z')"})),
                Some("undeclared reference to 'now'"),
            ),
            (
                with(json!({"toExpression": "claims.admin"})),
                Some("must be a bool and not a google.protobuf.Any"),
            ),
            (
                with(
                    json!({"toExpression": "user.groups.all(a, user.groups.all(b, user.groups.exists(c, c == a + b)))"}),
                ),
                Some("elevation.rules[0].toExpression: Invalid value"),
            ),
            (with(json!({"name": "A"})), Some("elevation.rules[0].name: Invalid value: \"A\"")),
            (with(json!({"groups": []})), Some("elevation.rules[0].groups: ")),
            (
                with(json!({"groups": ["a", "system:masters"]})),
                Some(
                    "elevation.rules[0].groups[1]: Invalid value: \"system:masters\": must not begin with \"system:\"",
                ),
            ),
            (with(json!({"groups": [" system:masters"]})), Some("elevation.rules[0].groups[0]: ")),
            (with(json!({"groups": [""]})), Some("elevation.rules[0].groups[0]: ")),
            (with(json!({"toGroups": []})), Some("elevation.rules[0].toGroups: ")),
            (
                with(json!({"toGroups": vec!["a"; 65]})),
                Some("elevation.rules[0].toGroups: Invalid value: \"65\""),
            ),
            (with(json!({"approvers": []})), Some("elevation.rules[0].approvers: ")),
            (
                with(json!({"maximumSeconds": 59})),
                Some("elevation.rules[0].maximumSeconds: Invalid value: \"59\""),
            ),
            (with(json!({"maximumSeconds": 604_801})), Some("must be 60 to 604800")),
            (
                with(json!({"reasonPattern": "("})),
                Some("elevation.rules[0].reasonPattern: Invalid value: \"(\""),
            ),
            (with(json!({"group": "a"})), Some("unknown field `group`")),
            (
                json!([with(json!({}))[0], with(json!({}))[0]]),
                Some("elevation.rules[1].name: Invalid value: \"a\": must be no other"),
            ),
            (json!(vec![json!({}); 65]), Some("elevation.rules: Invalid value: \"65\"")),
        ] {
            match (read(&rules), want) {
                (Ok(()), None) => {}
                (Err(got), Some(want)) => assert!(got.contains(want), "{got} / {want}"),
                (got, want) => panic!("{rules}: {got:?} / {want:?}"),
            }
        }
    }

    /// There is no header that a lent group could travel in.
    #[test]
    fn without_impersonation_nothing_can_be_lent() {
        let rule =
            json!({"name": "a", "groups": ["admins"], "toGroups": ["dev"], "approvers": ["leads"]});
        let document = json!({"apiVersion": API_VERSION, "kind": KIND, "impersonation": "disabled",
            "elevation": {"rules": [rule]}});
        let error = GatewayConfiguration::from_value(document).unwrap_err().to_string();
        assert!(error.starts_with("elevation.rules: Invalid value"), "{error}");
    }
}
