//! The rules of `ValidateAuthenticationConfiguration`, in its order, with its texts. Source: k8s.io/apiserver
//! `pkg/apis/apiserver/validation/validation.go`.

mod expression;
mod issuer;
mod mappings;
mod rules;

use go_compat::json;

use super::{
    authenticator::JwtAuthenticator,
    error::{ConfigErrors, ErrorKind, Errors, FieldError},
    options::LoadOptions,
    raw,
};

const MAX_AUTHENTICATORS: usize = 64;

/// Checks the whole file and builds its authenticators.
pub(super) fn validate(
    config: &raw::AuthenticationConfiguration,
    options: &LoadOptions,
) -> Result<Vec<JwtAuthenticator>, ConfigErrors> {
    if config.jwt.len() > MAX_AUTHENTICATORS {
        let value = Some(config.jwt.len().to_string());
        let detail = format!("must have at most {MAX_AUTHENTICATORS} items");
        let error = FieldError::new("jwt", ErrorKind::TooMany, value, detail);
        ConfigErrors::check(vec![error])?;
    }
    let mut errors = Errors::default();
    let mut authenticators = Vec::new();
    for (index, jwt) in config.jwt.iter().enumerate() {
        let path = format!("jwt[{index}]");
        authenticators.extend(authenticator(&mut errors, &path, jwt, options));
        let earlier = config.jwt.iter().take(index).map(|jwt| &jwt.issuer);
        issuer::check_unique(&mut errors, &format!("{path}.issuer"), &jwt.issuer, earlier);
    }
    if let Some(anonymous) = &config.anonymous
        && !anonymous.enabled
        && !anonymous.conditions.is_empty()
    {
        let value = Some(conditions_value(&anonymous.conditions));
        let detail = "enabled should be set to true when conditions are defined";
        errors.push(FieldError::new("anonymous.conditions", ErrorKind::Invalid, value, detail));
    }
    errors.check()?;
    Ok(authenticators)
}

/// The authenticator, or `None` if its user name is not mapped, which is among the errors then.
fn authenticator(
    errors: &mut Errors,
    path: &str,
    jwt: &raw::JwtAuthenticator,
    options: &LoadOptions,
) -> Option<JwtAuthenticator> {
    issuer::check(errors, &format!("{path}.issuer"), &jwt.issuer, options);
    let rules = format!("{path}.claimValidationRules");
    let claim_rules =
        rules::claim_rules(errors, &rules, &jwt.claim_validation_rules, options.rules);
    let mappings = format!("{path}.claimMappings");
    let mappings =
        mappings::mappings(errors, &mappings, &jwt.claim_mappings, &claim_rules, options.rules);
    let rules = format!("{path}.userValidationRules");
    let user_rules = rules::user_rules(errors, &rules, &jwt.user_validation_rules, options.rules);
    let issuer = &jwt.issuer;
    let non_empty = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Some(JwtAuthenticator {
        rules: options.rules,
        issuer_url: issuer.url.clone(),
        discovery_url: issuer.discovery_url.as_ref().and_then(non_empty),
        certificate_authority: non_empty(&issuer.certificate_authority),
        audiences: issuer.audiences.clone(),
        username: mappings.username?,
        groups: mappings.groups,
        uid: mappings.uid,
        extra: mappings.extra,
        required_claims: claim_rules.required,
        claim_rules: claim_rules.expressions,
        user_rules,
    })
}

/// The conditions as Go prints the internal type as JSON: its fields have no JSON names.
fn conditions_value(conditions: &[raw::AnonymousAuthCondition]) -> String {
    let items: Vec<String> = conditions
        .iter()
        .map(|condition| format!("{{\"Path\":{}}}", json::quote(&condition.path)))
        .collect();
    format!("[{}]", items.join(","))
}
