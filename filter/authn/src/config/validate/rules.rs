//! `jwt[*].claimValidationRules` and `jwt[*].userValidationRules`

use apiserver_cel::Environment;
use kube_rules::Rules;

use super::expression::{self, BOTH_SET, NEITHER_SET, WITH_EXPRESSION};
use crate::config::{
    authenticator::Rule,
    error::{Errors, FieldError},
    raw,
};

const WITH_CLAIM: &str = "may not be specified when claim is set";

/// What must hold of the claims.
#[derive(Default)]
pub(super) struct ClaimRules {
    /// Claims with the values they must have.
    pub(super) required: Vec<(String, String)>,
    pub(super) expressions: Vec<Rule>,
}

pub(super) fn claim_rules(
    errors: &mut Errors,
    path: &str,
    rules: &[raw::ClaimValidationRule],
    version: Rules,
) -> ClaimRules {
    let mut checked = ClaimRules::default();
    let mut seen: Vec<&str> = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match (rule.claim.is_empty(), rule.expression.is_empty()) {
            (false, false) => errors.push(FieldError::invalid(&path, &rule.claim, BOTH_SET)),
            (true, true) => errors.push(FieldError::required(&path, NEITHER_SET)),
            (false, true) => {
                if !rule.message.is_empty() {
                    let path = format!("{path}.message");
                    errors.push(FieldError::invalid(path, &rule.message, WITH_CLAIM));
                }
                if checked.required.iter().any(|(claim, _)| *claim == rule.claim) {
                    let path = format!("{path}.claim");
                    errors.push(FieldError::duplicate(path, &rule.claim));
                }
                checked.required.push((rule.claim.clone(), rule.required_value.clone()));
            }
            (true, false) => {
                if !rule.required_value.is_empty() {
                    let path = format!("{path}.requiredValue");
                    let value = &rule.required_value;
                    errors.push(FieldError::invalid(path, value, WITH_EXPRESSION));
                }
                let path = format!("{path}.expression");
                if seen.contains(&rule.expression.as_str()) {
                    errors.push(FieldError::duplicate(path, &rule.expression));
                    continue;
                }
                seen.push(&rule.expression);
                let program =
                    expression::rule(errors, &path, &rule.expression, Environment::Claims, version);
                let message = rule.message.clone();
                checked.expressions.extend(program.map(|program| Rule { program, message }));
            }
        }
    }
    checked
}

pub(super) fn user_rules(
    errors: &mut Errors,
    path: &str,
    rules: &[raw::UserValidationRule],
    version: Rules,
) -> Vec<Rule> {
    let mut checked = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{path}[{index}].expression");
        if rule.expression.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if seen.contains(&rule.expression.as_str()) {
            errors.push(FieldError::duplicate(path, &rule.expression));
        } else {
            seen.push(&rule.expression);
            let program =
                expression::rule(errors, &path, &rule.expression, Environment::User, version);
            let message = rule.message.clone();
            checked.extend(program.map(|program| Rule { program, message }));
        }
    }
    checked
}
