//! Logins without a person or a secret, checked.

use std::path::PathBuf;

use super::{SettingsError, TokenSource, values::text_of};
use crate::{cli::MachineFlags, path::path_of};

/// A token exchange (RFC 8693).
#[derive(Debug, Clone)]
pub struct Exchange {
    /// What is exchanged; `None` for the login of this very client.
    pub subject: Option<TokenSource>,
    /// Its type, a URN.
    pub subject_type: String,
    /// Who acts for the subject, and the type of that token.
    pub actor: Option<(TokenSource, String)>,
    /// For whom.
    pub audiences: Vec<String>,
    /// Where.
    pub resources: Vec<String>,
    /// What type is asked for.
    pub requested_type: Option<String>,
}

/// What proves the client (RFC 7523, section 2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assertion {
    /// A token that somebody else makes, and renews.
    Ready(TokenSource),
    /// One that this key signs.
    Key {
        /// The private key, PEM.
        file: PathBuf,
        /// Its ID.
        id: Option<String>,
        /// For whom it is, if not the issuer.
        audience: Option<String>,
    },
}

const TYPES: &str = "urn:ietf:params:oauth:token-type:";

impl Exchange {
    /// Whether the login's access token is exchanged, and not its ID token.
    #[must_use]
    pub fn wants_access_token(&self) -> bool {
        self.subject_type == format!("{TYPES}access_token")
    }

    pub(super) fn new(flags: &MachineFlags) -> Result<Self, SettingsError> {
        let subject =
            source(flags.subject_token_file.as_deref(), flags.subject_token_env.as_deref());
        let actor = source(flags.actor_token_file.as_deref(), flags.actor_token_env.as_deref());
        let kind = |flag, given: &Option<String>, default| {
            given
                .as_deref()
                .and_then(text_of)
                .map_or(Ok(format!("{TYPES}{default}")), |text| urn(flag, &text))
        };
        let default = if subject.is_some() { "jwt" } else { "id_token" };
        let subject_type = kind("--subject-token-type", &flags.subject_token_type, default)?;
        let actor_type = kind("--actor-token-type", &flags.actor_token_type, "jwt")?;
        let requested = flags.requested_token_type.as_deref().and_then(text_of);
        let list = |given: &[String]| given.iter().filter_map(|text| text_of(text)).collect();
        Ok(Self {
            subject,
            subject_type,
            actor: actor.map(|source| (source, actor_type)),
            audiences: list(&flags.exchange_audience),
            resources: list(&flags.exchange_resource),
            requested_type: requested
                .map(|text| urn("--requested-token-type", &text))
                .transpose()?,
        })
    }
}

impl Assertion {
    pub(super) fn new(flags: &MachineFlags) -> Option<Self> {
        let ready =
            source(flags.client_assertion_file.as_deref(), flags.client_assertion_env.as_deref());
        let key = flags.client_assertion_key_file.as_deref().and_then(path_of);
        let text = |given: &Option<String>| given.as_deref().and_then(text_of);
        ready.map(Self::Ready).or_else(|| {
            Some(Self::Key {
                file: key?,
                id: text(&flags.client_assertion_key_id),
                audience: text(&flags.client_assertion_audience),
            })
        })
    }
}

fn source(file: Option<&str>, variable: Option<&str>) -> Option<TokenSource> {
    let file = file.and_then(path_of).map(TokenSource::File);
    file.or_else(|| variable.and_then(text_of).map(TokenSource::Variable))
}

/// A type of token by its name or its URN (RFC 8693, section 3).
fn urn(flag: &'static str, text: &str) -> Result<String, SettingsError> {
    let name = text.replace('-', "_");
    match name.as_str() {
        "jwt" | "id_token" | "access_token" | "refresh_token" | "saml1" | "saml2" => {
            Ok(format!("{TYPES}{name}"))
        }
        _ if text.starts_with("urn:") => Ok(text.to_owned()),
        _ => Err(SettingsError::Invalid {
            flag,
            value: text.to_owned(),
            reason: "it must be jwt, id-token, access-token, saml2 or a URN".to_owned(),
        }),
    }
}
