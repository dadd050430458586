//! Mapping and rules by CEL expression.

use std::{collections::BTreeMap, sync::Arc};

use apiserver_cel::{EvalError, NotStrings, Program, UserInfo, Value};
use go_compat::json::Object;

use super::{AuthnError, Identity};
use crate::config::{JwtAuthenticator, Rule};

/// Why an expression does not give what a mapping needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It cannot be evaluated for this token.
    #[error("expression '{expression}' resulted in error: {error}")]
    Evaluation {
        /// The source, as configured.
        expression: String,
        /// What failed.
        error: EvalError,
    },
    /// It gives something other than a string.
    #[error("{0} claim expression must return a string")]
    NotString(&'static str),
    /// It gives something other than strings.
    #[error(transparent)]
    NotStrings(#[from] NotStrings),
}

/// Why a rule does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It cannot be evaluated for this token.
    #[error(transparent)]
    Evaluation(#[from] ExpressionError),
    /// It gives something other than a boolean.
    #[error("validation expression must return a boolean")]
    NotBoolean,
    /// It is false.
    #[error("validation expression '{expression}' failed: {message}")]
    False {
        /// The source, as configured.
        expression: String,
        /// The configured message.
        message: String,
    },
}

pub(super) fn username(claims: &Object, program: &Program) -> Result<String, AuthnError> {
    let username = string(claims, program, "username").map_err(AuthnError::UsernameExpression)?;
    if username.is_empty() { Err(AuthnError::EmptyUsername) } else { Ok(username) }
}

pub(super) fn groups(claims: &Object, program: &Program) -> Result<Vec<String>, AuthnError> {
    let groups = evaluate(claims, program).and_then(|value| Ok(value.to_string_list()?));
    groups.map_err(AuthnError::GroupsExpression)
}

pub(super) fn uid(claims: &Object, program: &Program) -> Result<String, AuthnError> {
    string(claims, program, "uid").map_err(AuthnError::UidExpression)
}

/// The extra attributes; those without values are left out. All expressions are evaluated before any value is looked at.
pub(super) fn extra(
    claims: &Object,
    mappings: &[(String, Arc<Program>)],
) -> Result<BTreeMap<String, Vec<String>>, AuthnError> {
    let values: Vec<Value<'_>> = mappings
        .iter()
        .map(|(_, program)| evaluate(claims, program))
        .collect::<Result<_, _>>()
        .map_err(AuthnError::ExtraExpression)?;
    let mut extra = BTreeMap::new();
    for ((key, program), value) in mappings.iter().zip(values) {
        let values = value.to_string_list().map_err(|reason| AuthnError::ExtraValue {
            expression: program.expression().to_owned(),
            reason,
        })?;
        if !values.is_empty() {
            extra.insert(key.clone(), values);
        }
    }
    Ok(extra)
}

impl JwtAuthenticator {
    /// All but those that may read the claim that is `missing`.
    pub(super) fn check_claim_rules(
        &self,
        claims: &Object,
        missing: Option<&str>,
    ) -> Result<(), AuthnError> {
        let reads = |rule: &&Rule| missing.is_some_and(|it| rule.program.claims().includes(it));
        let rules: Vec<_> = self.claim_rules().iter().filter(|rule| !reads(rule)).collect();
        check_rules(&rules, |program| program.evaluate(claims)).map_err(AuthnError::ClaimRule)
    }

    pub(super) fn check_user_rules(&self, identity: &Identity) -> Result<(), AuthnError> {
        let user = UserInfo {
            username: &identity.username,
            uid: &identity.uid,
            groups: &identity.groups,
            extra: &identity.extra,
        };
        let rules: Vec<_> = self.user_rules().iter().collect();
        check_rules(&rules, |program| program.evaluate_user(&user)).map_err(AuthnError::UserRule)
    }
}

/// Checks that all rules are true. All are evaluated first, so that an error in a later one beats a `false` in an earlier.
fn check_rules<'a>(
    rules: &[&'a Rule],
    evaluate: impl Fn(&'a Program) -> Result<Value<'a>, EvalError>,
) -> Result<(), RuleError> {
    let values: Vec<Value<'_>> = rules
        .iter()
        .map(|rule| evaluate(&rule.program).map_err(|error| evaluation_error(&rule.program, error)))
        .collect::<Result<_, _>>()?;
    for (rule, value) in rules.iter().zip(values) {
        match value {
            Value::Bool(true) => {}
            Value::Bool(false) => {
                return Err(RuleError::False {
                    expression: rule.program.expression().to_owned(),
                    message: rule.message.clone(),
                });
            }
            _ => return Err(RuleError::NotBoolean),
        }
    }
    Ok(())
}

fn string(
    claims: &Object,
    program: &Program,
    attribute: &'static str,
) -> Result<String, ExpressionError> {
    match evaluate(claims, program)? {
        Value::String(text) => Ok(text.to_string()),
        _ => Err(ExpressionError::NotString(attribute)),
    }
}

fn evaluate<'a>(claims: &'a Object, program: &'a Program) -> Result<Value<'a>, ExpressionError> {
    program.evaluate(claims).map_err(|error| evaluation_error(program, error))
}

fn evaluation_error(program: &Program, error: EvalError) -> ExpressionError {
    ExpressionError::Evaluation { expression: program.expression().to_owned(), error }
}
