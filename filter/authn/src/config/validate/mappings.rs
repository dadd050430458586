//! `jwt[*].claimMappings`

use std::sync::Arc;

use apiserver_cel::Program;
use kube_rules::Rules;

use super::{
    expression::{self, BOTH_SET, NEITHER_SET, WITH_EXPRESSION},
    rules::ClaimRules,
};
use crate::config::{
    authenticator::{Mapping, PrefixedClaim},
    error::{Errors, FieldError},
    extra_key, raw,
};

const PREFIX_REQUIRED: &str =
    "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
const EMAIL_NOT_VERIFIED: &str = "claims.email_verified must be used in \
    claimMappings.username.expression or claimMappings.extra[*].valueExpression or \
    claimValidationRules[*].expression when claims.email is used in \
    claimMappings.username.expression";

/// How claims become a user.
pub(super) struct Mappings {
    pub(super) username: Option<Mapping<PrefixedClaim>>,
    pub(super) groups: Option<Mapping<PrefixedClaim>>,
    pub(super) uid: Option<Mapping<String>>,
    pub(super) extra: Vec<(String, Arc<Program>)>,
}

pub(super) fn mappings(
    errors: &mut Errors,
    path: &str,
    mappings: &raw::ClaimMappings,
    claim_rules: &ClaimRules,
    rules: Rules,
) -> Mappings {
    let username = prefixed(errors, &format!("{path}.username"), &mappings.username, true, rules);
    let groups = prefixed(errors, &format!("{path}.groups"), &mappings.groups, false, rules);
    let uid = uid(errors, &format!("{path}.uid"), &mappings.uid, rules);
    let extra = extra(errors, &format!("{path}.extra"), &mappings.extra, rules);
    if let Some(Mapping::Expression(username)) = &username {
        let programs = extra.iter().map(|(_, program)| program);
        let programs = programs.chain(claim_rules.expressions.iter().map(|rule| &rule.program));
        let mut programs = programs.chain([username]);
        // Only a selection counts, not `claims["email"]`, and only in the user name.
        if username.selects("email") && !programs.any(|program| program.selects("email_verified")) {
            let path = format!("{path}.username.expression");
            let expression = username.expression();
            errors.push(FieldError::invalid(path, expression, EMAIL_NOT_VERIFIED));
        }
    }
    Mappings { username, groups, uid, extra }
}

/// The mapping, or `None` if there is none or anything is wrong with it.
fn prefixed(
    errors: &mut Errors,
    path: &str,
    mapping: &raw::PrefixedClaimOrExpression,
    required: bool,
    rules: Rules,
) -> Option<Mapping<PrefixedClaim>> {
    match (mapping.claim.is_empty(), mapping.expression.is_empty()) {
        (false, false) => errors.push(FieldError::invalid(path, "", BOTH_SET)),
        (true, true) if required => errors.push(FieldError::required(path, NEITHER_SET)),
        (true, true) => {}
        (true, false) => {
            if let Some(prefix) = &mapping.prefix {
                let path = format!("{path}.prefix");
                errors.push(FieldError::invalid(path, prefix, WITH_EXPRESSION));
            }
            let path = format!("{path}.expression");
            let program = expression::mapping(errors, &path, &mapping.expression, rules);
            return program.filter(|_| mapping.prefix.is_none()).map(Mapping::Expression);
        }
        (false, true) => match &mapping.prefix {
            Some(prefix) => {
                let (claim, prefix) = (mapping.claim.clone(), prefix.clone());
                return Some(Mapping::Claim(PrefixedClaim { claim, prefix }));
            }
            None => errors.push(FieldError::required(format!("{path}.prefix"), PREFIX_REQUIRED)),
        },
    }
    None
}

fn uid(
    errors: &mut Errors,
    path: &str,
    mapping: &raw::ClaimOrExpression,
    rules: Rules,
) -> Option<Mapping<String>> {
    match (mapping.claim.is_empty(), mapping.expression.is_empty()) {
        (false, false) => {
            errors.push(FieldError::invalid(path, "", BOTH_SET));
            None
        }
        (true, true) => None,
        (false, true) => Some(Mapping::Claim(mapping.claim.clone())),
        (true, false) => {
            let path = format!("{path}.expression");
            expression::mapping(errors, &path, &mapping.expression, rules).map(Mapping::Expression)
        }
    }
}

fn extra(
    errors: &mut Errors,
    path: &str,
    extra: &[raw::ExtraMapping],
    rules: Rules,
) -> Vec<(String, Arc<Program>)> {
    let mut checked = Vec::new();
    for (index, mapping) in extra.iter().enumerate() {
        let key_path = format!("{path}[{index}].key");
        for error in extra_key::check(&key_path, &mapping.key) {
            errors.push(error);
        }
        if extra.iter().take(index).any(|earlier| earlier.key == mapping.key) {
            errors.push(FieldError::duplicate(key_path, &mapping.key));
            continue;
        }
        let path = format!("{path}[{index}].valueExpression");
        if mapping.value_expression.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        let program = expression::mapping(errors, &path, &mapping.value_expression, rules);
        checked.extend(program.map(|program| (mapping.key.clone(), program)));
    }
    checked
}
