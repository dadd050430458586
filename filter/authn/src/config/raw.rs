//! The file as it is written: k8s.io/apiserver `pkg/apis/apiserver/v1/types.go`. The three versions have the same fields.

use serde::Serialize;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationConfiguration {
    /// `apiserver.config.k8s.io/` and one of v1, v1beta1, v1alpha1.
    pub api_version: String,
    /// `AuthenticationConfiguration`.
    pub kind: String,
    /// One entry for each issuer.
    pub jwt: Vec<JwtAuthenticator>,
    /// Requests without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<AnonymousAuthConfig>,
}

/// `anonymous`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AnonymousAuthConfig {
    /// Whether requests without credentials are let through.
    pub enabled: bool,
    /// If not empty, only those that meet one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<AnonymousAuthCondition>,
}

/// `anonymous.conditions[*]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AnonymousAuthCondition {
    /// The path, exactly.
    pub path: String,
}

/// `jwt[*]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JwtAuthenticator {
    /// Who issues the tokens, and for whom.
    pub issuer: Issuer,
    /// What must hold of the claims.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    /// How claims become a user.
    pub claim_mappings: ClaimMappings,
    /// What must hold of the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user_validation_rules: Vec<UserValidationRule>,
}

/// `jwt[*].issuer`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// Value of `iss`.
    pub url: String,
    /// Where the discovery document is, if not below the issuer.
    #[serde(rename = "discoveryURL", skip_serializing_if = "Option::is_none")]
    pub discovery_url: Option<String>,
    /// Certificates (PEM) for talking to the issuer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificate_authority: String,
    /// Accepted values of `aud`.
    pub audiences: Vec<String>,
    /// Empty or `MatchAny`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub audience_match_policy: String,
    /// Empty, `controlplane` or `cluster`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub egress_selector_type: String,
}

/// `jwt[*].claimValidationRules[*]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimValidationRule {
    /// Name of a claim that must be there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub claim: String,
    /// The value it must have.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub required_value: String,
    /// Or a CEL expression over `claims` that must be true.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expression: String,
    /// What is logged if it is not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// `jwt[*].claimMappings`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClaimMappings {
    /// The user's name.
    pub username: PrefixedClaimOrExpression,
    /// The user's groups.
    pub groups: PrefixedClaimOrExpression,
    /// The user's uid.
    pub uid: ClaimOrExpression,
    /// Further attributes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<ExtraMapping>,
}

/// `jwt[*].claimMappings.username` and `.groups`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PrefixedClaimOrExpression {
    /// Name of the claim.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub claim: String,
    /// What is put before its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Or a CEL expression over `claims`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expression: String,
}

/// `jwt[*].claimMappings.uid`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClaimOrExpression {
    /// Name of the claim.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub claim: String,
    /// Or a CEL expression over `claims`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expression: String,
}

/// `jwt[*].claimMappings.extra[*]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraMapping {
    /// The attribute's key, `example.org/name`.
    pub key: String,
    /// A CEL expression over `claims`.
    pub value_expression: String,
}

/// `jwt[*].userValidationRules[*]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UserValidationRule {
    /// A CEL expression over `user` that must be true.
    pub expression: String,
    /// What is logged if it is not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}
