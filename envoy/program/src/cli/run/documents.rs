//! From flags to the two documents: those that `run` serves, and that `rbac` prints a role for.

use std::collections::BTreeMap;

use gateway_config::Documents;
use gateway_core::config::{
    ClientImpersonation, Extras, GatewayConfiguration, Impersonation, ProtectedResource, Reserved,
    ReviewPolicy, TokenReview,
};
use kube_authn::flags::OidcFlags;
use kube_oidc_gateway::run::settings::{Authentication, Gateway, read_documents};

use super::{Run, flags};
use crate::cli::{error::Error, files::absolute};

impl Run {
    /// The documents as they are now, for who asks what such a gateway would do.
    pub fn documents(&self) -> Result<Documents, Error> {
        read_documents(&self.authentication()?, &self.gateway()?).map_err(Error::Usage)
    }

    /// The keys of `--as-user-extra`, as kubectl would spell them.
    pub fn extra_keys(&self) -> Vec<String> {
        let keys = self.ignored.as_user_extra.iter();
        keys.map(|pair| pair.split('=').next().unwrap_or(pair).to_owned()).collect()
    }

    /// Issuers and rules.
    pub(super) fn authentication(&self) -> Result<Authentication, Error> {
        let Self { proxy, oidc, .. } = self;
        let Some(file) = &proxy.authentication_config else {
            let together = || {
                Error::Usage(
                    "--oidc-issuer-url and --oidc-client-id are needed, or --authentication-config"
                        .to_owned(),
                )
            };
            let flags = OidcFlags {
                issuer_url: oidc.oidc_issuer_url.clone().ok_or_else(together)?,
                client_id: oidc.oidc_client_id.clone().ok_or_else(together)?,
                certificate_authority: String::new(),
                username_claim: oidc.oidc_username_claim.clone(),
                username_prefix: oidc.oidc_username_prefix.clone(),
                groups_claim: oidc.oidc_groups_claim.clone(),
                groups_prefix: oidc.oidc_groups_prefix.clone(),
                signing_algs: oidc.oidc_signing_algs.clone(),
                required_claims: oidc.oidc_required_claim.iter().cloned().collect(),
            };
            let authority = oidc.oidc_ca_file.as_deref().map(absolute).transpose()?;
            return Ok(Authentication::Flags(Box::new(flags), authority));
        };
        if let Some(flag) = oidc.given() {
            return Err(Error::Usage(format!(
                "--authentication-config and {flag} exclude each other"
            )));
        }
        Ok(Authentication::File(absolute(file)?))
    }

    /// The gateway's own settings.
    pub(super) fn gateway(&self) -> Result<Gateway, Error> {
        let proxy = &self.proxy;
        let Some(file) = &self.own.gateway_config else {
            let mut configuration = proxy.configuration()?;
            configuration.kubernetes_rules = self.own.kubernetes_rules.unwrap_or_default();
            return Ok(Gateway::Flags(Box::new(configuration)));
        };
        let rules = self.own.kubernetes_rules.map(|_| "--kubernetes-rules");
        if let Some(flag) = proxy.given().or(rules) {
            return Err(Error::Usage(format!("--gateway-config and {flag} exclude each other")));
        }
        Ok(Gateway::File(absolute(file)?))
    }
}

impl flags::Proxy {
    /// The `GatewayConfiguration` that the flags stand for.
    fn configuration(&self) -> Result<GatewayConfiguration, Error> {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in &self.extra_user_headers {
            // As a header name it would arrive so.
            headers.entry(key.to_ascii_lowercase()).or_default().push(value.clone());
        }
        let seconds = u32::try_from(self.subject_access_review_timeout.as_secs().max(1))
            .ok()
            .filter(|seconds| (1..=14).contains(seconds))
            .ok_or_else(|| {
                Error::Usage(
                    "--subject-access-review-timeout must be between 1s and 14s".to_owned(),
                )
            })?;
        let impersonation = if self.disable_impersonation {
            Impersonation::Disabled
        } else {
            Impersonation::Enabled
        };
        let configuration = GatewayConfiguration {
            impersonation,
            client_impersonation: ClientImpersonation::unless_said(impersonation),
            extras: Extras {
                // The role of kube-oidc-proxy's older charts does not have it.
                credential_id: self.authentication_config.is_some(),
                client_ip: self.extra_user_header_client_ip,
                headers,
            },
            allowed_reserved: Reserved {
                groups: self.allow_reserved_groups.clone(),
                ..Reserved::default()
            },
            token_review: TokenReview {
                enabled: self.token_passthrough,
                audiences: self.token_passthrough_audiences.clone(),
            },
            reviews: ReviewPolicy { timeout_seconds: seconds, ..ReviewPolicy::default() },
            cors_allowed_origins: self.cors_allowed_origins.clone(),
            protected_resource: ProtectedResource {
                url: self.protected_resource_url.clone(),
                cluster_name: self.protected_resource_cluster_name.clone(),
                ..ProtectedResource::default()
            },
            ..GatewayConfiguration::default()
        };
        configuration.check().map_err(|error| Error::Usage(error.to_string()))?;
        Ok(configuration)
    }

    /// The first flag that says what a `GatewayConfiguration` says, if one is given.
    fn given(&self) -> Option<&'static str> {
        [
            ("--disable-impersonation", self.disable_impersonation),
            ("--extra-user-header-client-ip", self.extra_user_header_client_ip),
            ("--extra-user-headers", !self.extra_user_headers.is_empty()),
            ("--token-passthrough", self.token_passthrough),
            ("--token-passthrough-audiences", !self.token_passthrough_audiences.is_empty()),
            ("--allow-reserved-groups", !self.allow_reserved_groups.is_empty()),
            ("--cors-allowed-origins", !self.cors_allowed_origins.is_empty()),
            ("--protected-resource-url", !self.protected_resource_url.is_empty()),
            ("--protected-resource-cluster-name", !self.protected_resource_cluster_name.is_empty()),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }
}

impl flags::Oidc {
    /// The first flag that describes an issuer, if one is given.
    fn given(&self) -> Option<&'static str> {
        [
            ("--oidc-issuer-url", self.oidc_issuer_url.is_some()),
            ("--oidc-client-id", self.oidc_client_id.is_some()),
            ("--oidc-ca-file", self.oidc_ca_file.is_some()),
            ("--oidc-username-claim", self.oidc_username_claim != "sub"),
            ("--oidc-username-prefix", !self.oidc_username_prefix.is_empty()),
            ("--oidc-groups-claim", !self.oidc_groups_claim.is_empty()),
            ("--oidc-groups-prefix", !self.oidc_groups_prefix.is_empty()),
            ("--oidc-required-claim", !self.oidc_required_claim.is_empty()),
            ("--oidc-signing-algs", self.oidc_signing_algs != ["RS256"]),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }
}
