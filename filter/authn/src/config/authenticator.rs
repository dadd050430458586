//! A checked `jwt[*]` entry: what verification and mapping need, nothing that could be invalid.

use std::sync::Arc;

use apiserver_cel::Program;
use kube_rules::Rules;

use crate::discovery;

/// One issuer and what its tokens mean.
#[derive(Debug, Clone)]
pub struct JwtAuthenticator {
    pub(super) rules: Rules,
    pub(super) issuer_url: String,
    pub(super) discovery_url: Option<String>,
    pub(super) certificate_authority: Option<String>,
    pub(super) audiences: Vec<String>,
    pub(super) username: Mapping<PrefixedClaim>,
    pub(super) groups: Option<Mapping<PrefixedClaim>>,
    pub(super) uid: Option<Mapping<String>>,
    pub(super) extra: Vec<(String, Arc<Program>)>,
    pub(super) required_claims: Vec<(String, String)>,
    pub(super) claim_rules: Vec<Rule>,
    pub(super) user_rules: Vec<Rule>,
}

/// Where an attribute of the user comes from.
#[derive(Debug, Clone)]
pub(crate) enum Mapping<Claim> {
    Claim(Claim),
    Expression(Arc<Program>),
}

/// A claim and what is put before its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrefixedClaim {
    pub(crate) claim: String,
    pub(crate) prefix: String,
}

/// An expression that must be true.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) program: Arc<Program>,
    /// What is logged if it is false.
    pub(crate) message: String,
}

impl JwtAuthenticator {
    /// Whose rules its tokens and keys are read by.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

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

    pub(crate) fn username_mapping(&self) -> &Mapping<PrefixedClaim> {
        &self.username
    }

    pub(crate) fn groups_mapping(&self) -> Option<&Mapping<PrefixedClaim>> {
        self.groups.as_ref()
    }

    /// The groups' claim, if they come from one.
    pub(crate) fn groups_claim(&self) -> Option<&PrefixedClaim> {
        match &self.groups {
            Some(Mapping::Claim(claim)) => Some(claim),
            _ => None,
        }
    }

    /// The name of the claim that groups come from. Empty if an expression says where they come from; `None` if there are none.
    #[must_use]
    pub fn groups_come_from(&self) -> Option<&str> {
        self.groups.as_ref().map(|mapping| match mapping {
            Mapping::Claim(claim) => claim.claim.as_str(),
            Mapping::Expression(_) => "",
        })
    }

    pub(crate) fn uid_mapping(&self) -> Option<&Mapping<String>> {
        self.uid.as_ref()
    }

    pub(crate) fn extra_mappings(&self) -> &[(String, Arc<Program>)] {
        &self.extra
    }

    pub(crate) fn required_claims(&self) -> &[(String, String)] {
        &self.required_claims
    }

    pub(crate) fn claim_rules(&self) -> &[Rule] {
        &self.claim_rules
    }

    pub(crate) fn user_rules(&self) -> &[Rule] {
        &self.user_rules
    }
}
