//! What the gateway is made of and can change while it runs, and where each of it is read.

use std::fmt;

use gateway_client::{CredentialSource, PairSource, Source};
use tracing::warn;

use super::settings::Settings;

/// One input that can change while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    SystemCa,
    ApiServerCa,
    Credential,
    IssuerCertificate,
    Serving,
    Named(usize),
    Portal,
    Configuration,
}

impl Subject {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::SystemCa => "system_ca",
            Self::ApiServerCa => "apiserver_ca",
            Self::Credential => "credential",
            Self::IssuerCertificate => "issuer_certificate",
            Self::Serving => "serving_certificate",
            Self::Named(_) => "named_certificate",
            Self::Portal => "portal_certificate",
            Self::Configuration => "configuration",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SystemCa => "the system's CA bundle",
            Self::ApiServerCa => "the API server's CA",
            Self::Credential => "the gateway's credential",
            Self::IssuerCertificate => "the client certificate for issuers",
            Self::Serving => "the serving certificate",
            Self::Named(_) => "a certificate for names",
            Self::Portal => "the portal's certificate",
            Self::Configuration => "the configuration",
        })
    }
}

/// What was read of each input.
pub(super) type Contents = Vec<(Subject, Vec<Vec<u8>>)>;

/// The inputs of some settings, with where each is read.
pub(super) fn subjects(settings: &Settings) -> Vec<(Subject, Vec<Source>)> {
    let pair = |pair: &PairSource| vec![pair.chain.clone(), pair.key.clone()];
    let mut subjects = vec![(Subject::SystemCa, vec![Source::File(settings.system_ca.clone())])];
    subjects
        .extend(settings.apiserver.ca.iter().map(|ca| (Subject::ApiServerCa, vec![ca.clone()])));
    let credential = match &settings.apiserver.credential {
        CredentialSource::Token(token) => vec![token.clone()],
        CredentialSource::Certificate(certificate) => pair(certificate),
    };
    subjects.push((Subject::Credential, credential));
    subjects
        .extend(settings.issuer_certificate.iter().map(|p| (Subject::IssuerCertificate, pair(p))));
    subjects.push((Subject::Serving, pair(&settings.serving)));
    let named = settings.named.iter().enumerate();
    subjects.extend(named.map(|(index, (source, _))| (Subject::Named(index), pair(source))));
    let portal = settings.portal.iter().filter_map(|portal| portal.serving.as_ref());
    subjects.extend(portal.map(|source| (Subject::Portal, pair(source))));
    subjects.push((Subject::Configuration, settings.document_sources()));
    subjects
}

/// Reads what a subject is made of.
pub(super) fn read(sources: &[Source]) -> Result<Vec<Vec<u8>>, String> {
    sources.iter().map(Source::read).collect()
}

/// A missing bundle for issuers without one of their own is no reason not to serve the others.
pub(super) fn without(subject: Subject, reason: String) -> Result<Vec<Vec<u8>>, String> {
    if subject != Subject::SystemCa {
        return Err(reason);
    }
    warn!(input = subject.label(), "issuers without a CA of their own cannot be reached: {reason}");
    Ok(vec![Vec::new()])
}
