//! kube-apiserver's `--oidc-*` flags as the same checked configuration. Source: kube-apiserver,
//! `pkg/kubeapiserver/options/authentication.go`.

use std::collections::BTreeMap;

use kube_rules::Rules;

use crate::{
    config::{self, AuthenticationConfiguration, ConfigErrors, LoadOptions, raw},
    crypto::{Algorithm, UnknownAlgorithm},
};

/// The values of the flags. [`Default`] has kube-apiserver's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcFlags {
    /// `--oidc-issuer-url`
    pub issuer_url: String,
    /// `--oidc-client-id`
    pub client_id: String,
    /// What the file of `--oidc-ca-file` holds; empty for the system's certificates.
    pub certificate_authority: String,
    /// `--oidc-username-claim`
    pub username_claim: String,
    /// `--oidc-username-prefix`: empty is the issuer and `#` unless the claim is `email`, `-` is none.
    pub username_prefix: String,
    /// `--oidc-groups-claim`; empty for no groups.
    pub groups_claim: String,
    /// `--oidc-groups-prefix`
    pub groups_prefix: String,
    /// `--oidc-signing-algs`
    pub signing_algs: Vec<String>,
    /// `--oidc-required-claim`, see [`parse_required_claim`].
    pub required_claims: BTreeMap<String, String>,
}

impl Default for OidcFlags {
    fn default() -> Self {
        Self {
            issuer_url: String::new(),
            client_id: String::new(),
            certificate_authority: String::new(),
            username_claim: "sub".to_owned(),
            username_prefix: String::new(),
            groups_claim: String::new(),
            groups_prefix: String::new(),
            signing_algs: vec![Algorithm::Rs256.as_str().to_owned()],
            required_claims: BTreeMap::new(),
        }
    }
}

/// Why the flags are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagsError {
    /// Issuer and client ID go together.
    #[error(
        "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"
    )]
    NotTogether,
    /// A signing algorithm that there is not.
    #[error(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
    /// The configuration that the flags stand for is invalid.
    #[error("invalid authentication configuration: {0}")]
    Configuration(#[from] ConfigErrors),
    /// A required claim that is no pair.
    #[error("malformed pair, expect string=string")]
    RequiredClaim,
}

/// A value of `--oidc-required-claim`: one `claim=value`, the value may hold further equals signs.
///
/// # Errors
/// If there is no equals sign.
pub fn parse_required_claim(pair: &str) -> Result<(String, String), FlagsError> {
    let (claim, value) = pair.split_once('=').ok_or(FlagsError::RequiredClaim)?;
    Ok((claim.trim().to_owned(), value.trim().to_owned()))
}

impl OidcFlags {
    /// The configuration the flags stand for, and the algorithms that count with it.
    ///
    /// # Errors
    /// Whatever kube-apiserver would refuse.
    pub fn load(
        &self,
        options: &LoadOptions,
    ) -> Result<(AuthenticationConfiguration, Vec<Algorithm>), FlagsError> {
        if self.issuer_url.is_empty() || self.client_id.is_empty() {
            return Err(FlagsError::NotTogether);
        }
        let configuration = config::check(self.configuration(), options)?;
        Ok((configuration, self.algorithms(options.rules)?))
    }

    fn algorithms(&self, rules: Rules) -> Result<Vec<Algorithm>, UnknownAlgorithm> {
        if self.signing_algs.is_empty() {
            return Ok(vec![Algorithm::Rs256]);
        }
        self.signing_algs.iter().map(|name| Algorithm::named(name, rules)).collect()
    }

    fn configuration(&self) -> raw::AuthenticationConfiguration {
        let required = self.required_claims.iter().map(|(claim, value)| raw::ClaimValidationRule {
            claim: claim.clone(),
            required_value: value.clone(),
            ..raw::ClaimValidationRule::default()
        });
        let groups = if self.groups_claim.is_empty() {
            raw::PrefixedClaimOrExpression::default()
        } else {
            prefixed(&self.groups_claim, self.groups_prefix.clone())
        };
        let jwt = raw::JwtAuthenticator {
            issuer: raw::Issuer {
                url: self.issuer_url.clone(),
                audiences: vec![self.client_id.clone()],
                certificate_authority: self.certificate_authority.clone(),
                ..raw::Issuer::default()
            },
            claim_validation_rules: required.collect(),
            claim_mappings: raw::ClaimMappings {
                username: prefixed(&self.username_claim, self.effective_username_prefix()),
                groups,
                ..raw::ClaimMappings::default()
            },
            user_validation_rules: Vec::new(),
        };
        raw::AuthenticationConfiguration {
            api_version: "apiserver.config.k8s.io/v1".to_owned(),
            kind: "AuthenticationConfiguration".to_owned(),
            jwt: vec![jwt],
            anonymous: None,
        }
    }

    fn effective_username_prefix(&self) -> String {
        match self.username_prefix.as_str() {
            "-" => String::new(),
            "" if self.username_claim != "email" => format!("{}#", self.issuer_url),
            prefix => prefix.to_owned(),
        }
    }
}

fn prefixed(claim: &str, prefix: String) -> raw::PrefixedClaimOrExpression {
    raw::PrefixedClaimOrExpression {
        claim: claim.to_owned(),
        prefix: Some(prefix),
        expression: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn flags() -> OidcFlags {
        OidcFlags {
            issuer_url: "https://issuer.example".to_owned(),
            client_id: "kubernetes".to_owned(),
            ..OidcFlags::default()
        }
    }

    fn loaded(flags: &OidcFlags) -> raw::JwtAuthenticator {
        let (configuration, _) = flags.load(&LoadOptions::default()).expect("valid flags");
        configuration.raw().jwt.first().expect("one authenticator").clone()
    }

    /// jetstack/kube-oidc-proxy#74: without a prefix flag the user name was left bare.
    #[test]
    fn kube_oidc_proxy_74_without_a_prefix_flag_the_prefix_is_the_issuer() {
        for (claim, prefix, want) in [
            ("sub", "", "https://issuer.example#"),
            ("name", "", "https://issuer.example#"),
            ("email", "", ""),
            ("sub", "-", ""),
            ("email", "-", ""),
            ("sub", "oidc:", "oidc:"),
            ("email", "oidc:", "oidc:"),
            ("sub", "--", "--"),
        ] {
            let flags = OidcFlags {
                username_claim: claim.to_owned(),
                username_prefix: prefix.to_owned(),
                ..flags()
            };
            let username = loaded(&flags).claim_mappings.username;
            assert_eq!(username.prefix.as_deref(), Some(want), "{claim} {prefix:?}");
            assert_eq!(username.claim, claim);
        }
    }

    #[test]
    fn groups_are_mapped_only_with_a_claim() {
        let prefix_alone = OidcFlags { groups_prefix: "oidc:".to_owned(), ..flags() };
        assert_eq!(loaded(&prefix_alone).claim_mappings.groups, prefixed_none());
        let flags = OidcFlags { groups_claim: "groups".to_owned(), ..prefix_alone };
        let want = prefixed("groups", "oidc:".to_owned());
        assert_eq!(loaded(&flags).claim_mappings.groups, want);
        let flags = OidcFlags { groups_prefix: String::new(), ..flags };
        let want = prefixed("groups", String::new());
        assert_eq!(loaded(&flags).claim_mappings.groups, want, "no default prefix for groups");
    }

    fn prefixed_none() -> raw::PrefixedClaimOrExpression {
        raw::PrefixedClaimOrExpression::default()
    }

    /// TremoloSecurity/kube-oidc-proxy took required claims and never checked them.
    #[test]
    fn tremolo_kube_oidc_proxy_required_claims_become_rules() {
        for (pair, want) in [
            ("hd=example.org", Ok(("hd", "example.org"))),
            (" hd = example.org ", Ok(("hd", "example.org"))),
            ("a=b=c", Ok(("a", "b=c"))),
            ("a=b,c=d", Ok(("a", "b,c=d"))), // one pair for each flag
            ("a=", Ok(("a", ""))),
            ("a", Err(FlagsError::RequiredClaim)),
        ] {
            let want = want.map(|(claim, value)| (claim.to_owned(), value.to_owned()));
            assert_eq!(parse_required_claim(pair), want, "{pair}");
        }
        let required_claims = BTreeMap::from([("hd".to_owned(), "x".to_owned())]);
        let rules = loaded(&OidcFlags { required_claims, ..flags() }).claim_validation_rules;
        let [rule] = rules.as_slice() else { panic!("one rule") };
        assert_eq!((rule.claim.as_str(), rule.required_value.as_str()), ("hd", "x"));
    }

    #[test]
    fn algorithms() {
        for (names, want) in [
            (vec!["RS256"], Ok(vec![Algorithm::Rs256])),
            (vec![], Ok(vec![Algorithm::Rs256])),
            (vec!["ES256", "PS512"], Ok(vec![Algorithm::Es256, Algorithm::Ps512])),
            (vec!["HS256"], Err(r#"oidc: unsupported signing alg: "HS256""#.to_owned())),
            (vec!["rs256"], Err(r#"oidc: unsupported signing alg: "rs256""#.to_owned())),
            (vec!["ML-DSA-44"], Err(r#"oidc: unsupported signing alg: "ML-DSA-44""#.to_owned())),
        ] {
            let signing_algs = names.iter().map(|&name| name.to_owned()).collect();
            let got = OidcFlags { signing_algs, ..flags() }.load(&LoadOptions::default());
            let got = got.map(|(_, algorithms)| algorithms).map_err(|error| error.to_string());
            assert_eq!(got, want, "{names:?}");
        }
        let signing_algs = vec!["ML-DSA-44".to_owned()];
        let options = LoadOptions { rules: Rules::V1_38, ..LoadOptions::default() };
        let (_, algorithms) = OidcFlags { signing_algs, ..flags() }.load(&options).expect("known");
        assert_eq!(algorithms, [Algorithm::MlDsa44]);
    }

    #[test]
    fn errors() {
        let together = FlagsError::NotTogether.to_string();
        let invalid = |detail: &str| format!("invalid authentication configuration: {detail}");
        for (flags, want) in [
            (OidcFlags { client_id: String::new(), ..flags() }, together.clone()),
            (OidcFlags { issuer_url: String::new(), ..flags() }, together),
            (
                OidcFlags { issuer_url: "http://a".to_owned(), ..flags() },
                invalid(
                    r#"jwt[0].issuer.url: Invalid value: "http://a": URL scheme must be https"#,
                ),
            ),
            (
                OidcFlags { username_claim: String::new(), ..flags() },
                invalid(
                    "jwt[0].claimMappings.username: Required value: claim or expression is required",
                ),
            ),
            (
                OidcFlags { certificate_authority: "x".to_owned(), ..flags() },
                invalid(
                    r#"jwt[0].issuer.certificateAuthority: Invalid value: "<omitted>": data does not contain any valid RSA or ECDSA certificates"#,
                ),
            ),
        ] {
            let error = flags.load(&LoadOptions::default()).expect_err("invalid flags");
            assert_eq!(error.to_string(), want);
        }
    }
}
