//! The rules of `ValidateAuthenticationConfiguration`, in its order, with its texts. Source: k8s.io/apiserver
//! `pkg/apis/apiserver/validation/validation.go`.

use super::authenticator::{JwtAuthenticator, PrefixedClaim};
use super::error::{ConfigErrors, ErrorKind, FieldError};
use super::{LoadOptions, certificates, extra_key, go_url, raw};
use crate::go;

const MAX_AUTHENTICATORS: usize = 64;
const BOTH_SET: &str = "claim and expression can't both be set";
const NEITHER_SET: &str = "claim or expression is required";
const WITH_CLAIM: &str = "may not be specified when claim is set";
const WITH_EXPRESSION: &str = "may not be specified when expression is set";
const PREFIX_REQUIRED: &str =
    "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
const NO_CEL: &str = "CEL expressions are not supported by this version of kube-oidc-gateway";

/// Checks the whole file and builds its authenticators.
pub(super) fn validate(
    config: &raw::AuthenticationConfiguration,
    options: &LoadOptions,
) -> Result<Vec<JwtAuthenticator>, ConfigErrors> {
    let mut errors = Errors::default();
    if config.jwt.len() > MAX_AUTHENTICATORS {
        let value = Some(config.jwt.len().to_string());
        let detail = format!("must have at most {MAX_AUTHENTICATORS} items");
        let error = FieldError::new("jwt", ErrorKind::TooMany, value, detail);
        ConfigErrors::check(vec![error])?;
    }
    let mut authenticators = Vec::new();
    for (index, jwt) in config.jwt.iter().enumerate() {
        let path = format!("jwt[{index}]");
        authenticators.push(errors.authenticator(&path, jwt, options));
        let earlier = config.jwt.iter().take(index).map(|jwt| &jwt.issuer);
        errors.unique_urls(&path, &jwt.issuer, earlier);
    }
    if let Some(anonymous) = &config.anonymous
        && !anonymous.enabled
        && !anonymous.conditions.is_empty()
    {
        let value = Some(conditions_value(&anonymous.conditions));
        let detail = "enabled should be set to true when conditions are defined";
        errors.push(FieldError::new("anonymous.conditions", ErrorKind::Invalid, value, detail));
    }
    ConfigErrors::check(errors.0)?;
    Ok(authenticators)
}

/// The conditions as Go prints the internal type as JSON: its fields have no JSON names.
fn conditions_value(conditions: &[raw::AnonymousAuthCondition]) -> String {
    let items: Vec<String> = conditions
        .iter()
        .map(|condition| format!("{{\"Path\":{}}}", go::json_string(&condition.path)))
        .collect();
    format!("[{}]", items.join(","))
}

#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    fn authenticator(
        &mut self,
        path: &str,
        jwt: &raw::JwtAuthenticator,
        options: &LoadOptions,
    ) -> JwtAuthenticator {
        self.issuer(&format!("{path}.issuer"), &jwt.issuer, options);
        let rules = format!("{path}.claimValidationRules");
        let required_claims = self.claim_rules(&rules, &jwt.claim_validation_rules);
        let mappings = format!("{path}.claimMappings");
        let (username, groups, uid) = self.mappings(&mappings, &jwt.claim_mappings);
        self.user_rules(&format!("{path}.userValidationRules"), &jwt.user_validation_rules);
        JwtAuthenticator {
            issuer_url: jwt.issuer.url.clone(),
            discovery_url: jwt.issuer.discovery_url.clone().filter(|url| !url.is_empty()),
            certificate_authority: Some(jwt.issuer.certificate_authority.clone())
                .filter(|pem| !pem.is_empty()),
            audiences: jwt.issuer.audiences.clone(),
            username,
            groups,
            uid,
            required_claims,
        }
    }

    fn unique_urls<'a>(
        &mut self,
        path: &str,
        issuer: &raw::Issuer,
        earlier: impl Iterator<Item = &'a raw::Issuer> + Clone,
    ) {
        if earlier.clone().any(|other| other.url == issuer.url) {
            self.push(FieldError::duplicate(format!("{path}.issuer.url"), &issuer.url));
        }
        let discovery_url = issuer.discovery_url.as_deref().unwrap_or_default();
        let mut earlier = earlier.filter_map(|other| other.discovery_url.as_deref());
        if !discovery_url.is_empty() && earlier.any(|other| other == discovery_url) {
            let path = format!("{path}.issuer.discoveryURL");
            self.push(FieldError::duplicate(path, discovery_url));
        }
    }

    fn issuer(&mut self, path: &str, issuer: &raw::Issuer, options: &LoadOptions) {
        let url_path = format!("{path}.url");
        if issuer.url.is_empty() {
            self.push(FieldError::required(url_path, ""));
        } else {
            self.url(&url_path, &issuer.url, &options.disallowed_issuers);
        }
        self.discovery_url(&format!("{path}.discoveryURL"), issuer);
        self.audiences(path, issuer);
        if !issuer.certificate_authority.is_empty()
            && let Err(detail) = certificates::check(&issuer.certificate_authority)
        {
            let path = format!("{path}.certificateAuthority");
            self.push(FieldError::invalid(path, "<omitted>", detail));
        }
        let egress = issuer.egress_selector_type.as_str();
        if !matches!(egress, "" | "controlplane" | "cluster") {
            let detail = "egress selector must be either controlplane or cluster";
            self.push(FieldError::invalid(format!("{path}.egressSelectorType"), egress, detail));
        }
    }

    fn discovery_url(&mut self, path: &str, issuer: &raw::Issuer) {
        let Some(url) = issuer.discovery_url.as_deref().filter(|url| !url.is_empty()) else {
            return;
        };
        let same = issuer.url.trim_end_matches('/') == url.trim_end_matches('/');
        if !issuer.url.is_empty() && same {
            self.push(FieldError::invalid(path, url, "discoveryURL must be different from URL"));
        }
        self.url(path, url, &[]);
    }

    fn url(&mut self, path: &str, url: &str, disallowed: &[String]) {
        let mut invalid = |detail: &str| self.push(FieldError::invalid(path, url, detail));
        if disallowed.iter().any(|issuer| issuer == url) {
            let mut issuers: Vec<&str> = disallowed.iter().map(String::as_str).collect();
            issuers.sort_unstable();
            issuers.dedup();
            let issuers = issuers.join(" ");
            invalid(&format!("URL must not overlap with disallowed issuers: [{issuers}]"));
        }
        let parsed = match go_url::parse(url) {
            Ok(parsed) => parsed,
            Err(detail) => return invalid(&detail),
        };
        if parsed.scheme != "https" {
            invalid("URL scheme must be https");
        }
        if parsed.has_userinfo {
            invalid("URL must not contain a username or password");
        }
        if parsed.has_query {
            invalid("URL must not contain a query");
        }
        if parsed.has_fragment {
            invalid("URL must not contain a fragment");
        }
    }

    fn audiences(&mut self, path: &str, issuer: &raw::Issuer) {
        let list = format!("{path}.audiences");
        if issuer.audiences.is_empty() {
            let detail = format!("at least one {list} is required");
            return self.push(FieldError::required(list, detail));
        }
        for (index, audience) in issuer.audiences.iter().enumerate() {
            let path = format!("{list}[{index}]");
            if audience.is_empty() {
                self.push(FieldError::required(&path, ""));
            }
            if issuer.audiences.iter().take(index).any(|earlier| earlier == audience) {
                self.push(FieldError::duplicate(&path, audience));
            }
        }
        let policy = issuer.audience_match_policy.as_str();
        let detail = match (issuer.audiences.len(), policy) {
            (_, "MatchAny") | (1, "") => return,
            (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
            _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
        };
        // Printed as a value of its own type, which is as JSON and so with the same quotes.
        let path = format!("{path}.audienceMatchPolicy");
        self.push(FieldError::invalid(path, policy, detail));
    }

    /// The claims with the values they must have.
    fn claim_rules(
        &mut self,
        path: &str,
        rules: &[raw::ClaimValidationRule],
    ) -> Vec<(String, String)> {
        let mut required: Vec<(String, String)> = Vec::new();
        let mut expressions: Vec<&str> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match (rule.claim.is_empty(), rule.expression.is_empty()) {
                (false, false) => self.push(FieldError::invalid(&path, &rule.claim, BOTH_SET)),
                (true, true) => self.push(FieldError::required(&path, NEITHER_SET)),
                (false, true) => {
                    if !rule.message.is_empty() {
                        let path = format!("{path}.message");
                        self.push(FieldError::invalid(path, &rule.message, WITH_CLAIM));
                    }
                    if required.iter().any(|(claim, _)| *claim == rule.claim) {
                        let path = format!("{path}.claim");
                        self.push(FieldError::duplicate(path, &rule.claim));
                    }
                    required.push((rule.claim.clone(), rule.required_value.clone()));
                }
                (true, false) => {
                    if !rule.required_value.is_empty() {
                        let path = format!("{path}.requiredValue");
                        let value = &rule.required_value;
                        self.push(FieldError::invalid(path, value, WITH_EXPRESSION));
                    }
                    let path = format!("{path}.expression");
                    if expressions.contains(&rule.expression.as_str()) {
                        self.push(FieldError::duplicate(path, &rule.expression));
                        continue;
                    }
                    expressions.push(&rule.expression);
                    self.expression(&path, &rule.expression);
                }
            }
        }
        required
    }

    fn mappings(
        &mut self,
        path: &str,
        mappings: &raw::ClaimMappings,
    ) -> (PrefixedClaim, Option<PrefixedClaim>, Option<String>) {
        let username = self.prefixed(&format!("{path}.username"), &mappings.username, true);
        let groups = self.prefixed(&format!("{path}.groups"), &mappings.groups, false);
        let uid_path = format!("{path}.uid");
        let uid = &mappings.uid;
        match (uid.claim.is_empty(), uid.expression.is_empty()) {
            (false, false) => self.push(FieldError::invalid(&uid_path, "", BOTH_SET)),
            (true, false) => self.expression(&format!("{uid_path}.expression"), &uid.expression),
            _ => {}
        }
        self.extra(&format!("{path}.extra"), &mappings.extra);
        let username = username
            .unwrap_or_else(|| PrefixedClaim { claim: String::new(), prefix: String::new() });
        (username, groups, Some(uid.claim.clone()).filter(|claim| !claim.is_empty()))
    }

    fn prefixed(
        &mut self,
        path: &str,
        mapping: &raw::PrefixedClaimOrExpression,
        required: bool,
    ) -> Option<PrefixedClaim> {
        match (mapping.claim.is_empty(), mapping.expression.is_empty()) {
            (false, false) => self.push(FieldError::invalid(path, "", BOTH_SET)),
            (true, true) if required => self.push(FieldError::required(path, NEITHER_SET)),
            (true, true) => {}
            (true, false) => {
                if let Some(prefix) = &mapping.prefix {
                    let path = format!("{path}.prefix");
                    self.push(FieldError::invalid(path, prefix, WITH_EXPRESSION));
                }
                self.expression(&format!("{path}.expression"), &mapping.expression);
            }
            (false, true) => match &mapping.prefix {
                Some(prefix) => {
                    let (claim, prefix) = (mapping.claim.clone(), prefix.clone());
                    return Some(PrefixedClaim { claim, prefix });
                }
                None => self.push(FieldError::required(format!("{path}.prefix"), PREFIX_REQUIRED)),
            },
        }
        None
    }

    fn extra(&mut self, path: &str, extra: &[raw::ExtraMapping]) {
        for (index, mapping) in extra.iter().enumerate() {
            let key_path = format!("{path}[{index}].key");
            self.0.extend(extra_key::check(&key_path, &mapping.key));
            if extra.iter().take(index).any(|earlier| earlier.key == mapping.key) {
                self.push(FieldError::duplicate(key_path, &mapping.key));
                continue;
            }
            let path = format!("{path}[{index}].valueExpression");
            if mapping.value_expression.is_empty() {
                self.push(FieldError::required(path, ""));
            } else {
                self.expression(&path, &mapping.value_expression);
            }
        }
    }

    fn user_rules(&mut self, path: &str, rules: &[raw::UserValidationRule]) {
        let mut seen: Vec<&str> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("{path}[{index}].expression");
            if rule.expression.is_empty() {
                self.push(FieldError::required(path, ""));
            } else if seen.contains(&rule.expression.as_str()) {
                self.push(FieldError::duplicate(path, &rule.expression));
            } else {
                seen.push(&rule.expression);
                self.expression(&path, &rule.expression);
            }
        }
    }

    fn expression(&mut self, path: &str, expression: &str) {
        self.push(FieldError::invalid(path, expression, NO_CEL));
    }
}
