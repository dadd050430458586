//! A checked `jwt[*]` entry: what verification and mapping need, nothing that could be invalid.

use crate::discovery;

/// One issuer and what its tokens mean.
#[derive(Debug, Clone)]
pub struct JwtAuthenticator {
    pub(super) issuer_url: String,
    pub(super) discovery_url: Option<String>,
    pub(super) certificate_authority: Option<String>,
    pub(super) audiences: Vec<String>,
    pub(super) username: PrefixedClaim,
    pub(super) groups: Option<PrefixedClaim>,
    pub(super) uid: Option<String>,
    pub(super) required_claims: Vec<(String, String)>,
}

/// A claim and what is put before its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrefixedClaim {
    pub(crate) claim: String,
    pub(crate) prefix: String,
}

impl JwtAuthenticator {
    /// The issuer: what `iss` and the discovery document must say, byte for byte.
    #[must_use]
    pub fn issuer_url(&self) -> &str {
        &self.issuer_url
    }

    /// Where the discovery document is fetched: `issuer.discoveryURL`, else the issuer's well-known place.
    #[must_use]
    pub fn discovery_url(&self) -> String {
        self.discovery_url.clone().unwrap_or_else(|| discovery::well_known_url(&self.issuer_url))
    }

    /// The certificates (PEM) that discovery and key set are trusted by; `None` is the system's.
    #[must_use]
    pub fn certificate_authority(&self) -> Option<&str> {
        self.certificate_authority.as_deref()
    }

    /// The audiences of which a token must name one. Never empty.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    pub(crate) fn username_claim(&self) -> &PrefixedClaim {
        &self.username
    }

    pub(crate) fn groups_claim(&self) -> Option<&PrefixedClaim> {
        self.groups.as_ref()
    }

    pub(crate) fn uid_claim(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    pub(crate) fn required_claims(&self) -> &[(String, String)] {
        &self.required_claims
    }
}
