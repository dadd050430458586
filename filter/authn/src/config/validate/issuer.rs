//! `jwt[*].issuer`

use go_compat::url::Url;

use crate::config::{
    certificates,
    error::{Errors, FieldError},
    options::LoadOptions,
    raw,
};

pub(super) fn check(errors: &mut Errors, path: &str, issuer: &raw::Issuer, options: &LoadOptions) {
    let url_path = format!("{path}.url");
    if issuer.url.is_empty() {
        errors.push(FieldError::required(url_path, ""));
    } else {
        check_url(errors, &url_path, &issuer.url, &options.disallowed_issuers);
    }
    check_discovery_url(errors, &format!("{path}.discoveryURL"), issuer);
    check_audiences(errors, path, issuer);
    if !issuer.certificate_authority.is_empty()
        && let Err(detail) = certificates::check(&issuer.certificate_authority)
    {
        let path = format!("{path}.certificateAuthority");
        errors.push(FieldError::invalid(path, "<omitted>", detail));
    }
    let egress = issuer.egress_selector_type.as_str();
    if !matches!(egress, "" | "controlplane" | "cluster") {
        let detail = "egress selector must be either controlplane or cluster";
        let path = format!("{path}.egressSelectorType");
        errors.push(FieldError::invalid(path, egress, detail));
    }
}

/// Checks that no earlier authenticator has the same URLs.
pub(super) fn check_unique<'a>(
    errors: &mut Errors,
    path: &str,
    issuer: &raw::Issuer,
    earlier: impl Iterator<Item = &'a raw::Issuer> + Clone,
) {
    if earlier.clone().any(|other| other.url == issuer.url) {
        errors.push(FieldError::duplicate(format!("{path}.url"), &issuer.url));
    }
    let discovery_url = issuer.discovery_url.as_deref().unwrap_or_default();
    let mut earlier = earlier.filter_map(|other| other.discovery_url.as_deref());
    if !discovery_url.is_empty() && earlier.any(|other| other == discovery_url) {
        errors.push(FieldError::duplicate(format!("{path}.discoveryURL"), discovery_url));
    }
}

fn check_discovery_url(errors: &mut Errors, path: &str, issuer: &raw::Issuer) {
    let Some(url) = issuer.discovery_url.as_deref().filter(|url| !url.is_empty()) else {
        return;
    };
    let same = issuer.url.trim_end_matches('/') == url.trim_end_matches('/');
    if !issuer.url.is_empty() && same {
        errors.push(FieldError::invalid(path, url, "discoveryURL must be different from URL"));
    }
    check_url(errors, path, url, &[]);
}

fn check_url(errors: &mut Errors, path: &str, url: &str, disallowed: &[String]) {
    let mut invalid = |detail: &str| errors.push(FieldError::invalid(path, url, detail));
    if disallowed.iter().any(|issuer| issuer == url) {
        let mut issuers: Vec<&str> = disallowed.iter().map(String::as_str).collect();
        issuers.sort_unstable();
        issuers.dedup();
        let issuers = issuers.join(" ");
        invalid(&format!("URL must not overlap with disallowed issuers: [{issuers}]"));
    }
    let parsed = match Url::parse(url) {
        Ok(parsed) => parsed,
        Err(detail) => return invalid(&detail),
    };
    if parsed.scheme() != "https" {
        invalid("URL scheme must be https");
    }
    if parsed.has_user() {
        invalid("URL must not contain a username or password");
    }
    if !parsed.query().is_empty() {
        invalid("URL must not contain a query");
    }
    if !parsed.fragment().is_empty() {
        invalid("URL must not contain a fragment");
    }
}

fn check_audiences(errors: &mut Errors, path: &str, issuer: &raw::Issuer) {
    let list = format!("{path}.audiences");
    if issuer.audiences.is_empty() {
        let detail = format!("at least one {list} is required");
        return errors.push(FieldError::required(list, detail));
    }
    for (index, audience) in issuer.audiences.iter().enumerate() {
        let path = format!("{list}[{index}]");
        if audience.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        if issuer.audiences.iter().take(index).any(|earlier| earlier == audience) {
            errors.push(FieldError::duplicate(&path, audience));
        }
    }
    let policy = issuer.audience_match_policy.as_str();
    let detail = match (issuer.audiences.len(), policy) {
        (_, "MatchAny") | (1, "") => return,
        (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
        _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
    };
    let path = format!("{path}.audienceMatchPolicy");
    errors.push(FieldError::invalid(path, policy, detail));
}
