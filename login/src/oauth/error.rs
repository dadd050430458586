//! Why an issuer gave no token, in words a person can act on.

use oauth2::basic::BasicErrorResponseType;

use crate::{discovery::DiscoveryError, http::HttpError};

/// Why a request to the issuer gave no token.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The issuer refused, in the standard's terms.
    #[error("{}", refusal(.code, .description.as_deref(), .client))]
    Refused {
        /// The error code of RFC 6749 or of an extension.
        code: String,
        /// What the issuer says in addition.
        description: Option<String>,
        /// The client ID, for the message.
        client: String,
    },
    /// No usable answer.
    #[error("{0}{out}", out = .0.way_out("--certificate-authority"))]
    Http(#[from] HttpError),
    /// An answer that breaks the standard.
    #[error("the issuer's answer cannot be used: {0}; -v shows what was asked and answered")]
    Malformed(String),
    /// The issuer does not offer what is needed.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The device code ran out before anybody logged in.
    #[error("nobody logged in before the code expired; run the command again for a new one")]
    DeviceTimeout,
}

impl OAuthError {
    /// The error code if the issuer refused.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

fn refusal(code: &str, description: Option<&str>, client: &str) -> String {
    let said = description.map_or_else(|| code.to_owned(), |text| format!("{code}: {text}"));
    let advice = match code {
        "invalid_client" | "HTTP 401" => format!(
            "client {client:?} is not known there, or its secret is wrong or missing (--oidc-client-secret)"
        ),
        "unauthorized_client" => {
            format!(
                "client {client:?} is not allowed this grant; change it at the issuer, or --grant-type here"
            )
        }
        "unsupported_grant_type" => "choose another --grant-type".to_owned(),
        "invalid_scope" => "it does not allow one of the scopes (--oidc-extra-scope)".to_owned(),
        "access_denied" => {
            "the login was cancelled or is not permitted; run the command again to log in".to_owned()
        }
        "slow_down" => "it was asked too often; try again in some minutes".to_owned(),
        "temporarily_unavailable" | "server_error" => {
            "it has a fault of its own; try again in some minutes".to_owned()
        }
        "invalid_grant" => {
            "what it was shown (a password, a code, a token) is wrong or too old; log in again with: kubectl oidc login".to_owned()
        }
        _ => "-v shows what was asked and answered".to_owned(),
    };
    format!("the issuer refused ({said}): {advice}")
}

/// A refused code: somebody else's, used before, or too old. Another may still come.
#[must_use]
pub fn is_refused_code(error: &OAuthError) -> bool {
    error.code() == Some(BasicErrorResponseType::InvalidGrant.as_ref())
}
