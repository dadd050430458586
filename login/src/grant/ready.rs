//! A token that somebody else got: a projected ServiceAccount token, a CI runner's.

use std::{env, fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Utc;
use gateway_files::Readers;
use sha2::{Digest as _, Sha256};

use crate::{
    claims::Claims,
    cli::StoreKind,
    console::plain,
    settings::{Client, StoreSettings, TokenSource},
    store::{Key, check_folder},
    verify::{VerifyError, span},
};

/// Why such a token is not presented.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// It is not there.
    #[error("{0}")]
    Absent(String),
    /// It cannot be used.
    #[error(
        "the token from {source_name} is refused: {error}; the program that writes it must write another one, or --oidc-issuer-url and --oidc-client-id must be others"
    )]
    Refused {
        /// Where it stands.
        source_name: String,
        /// What is wrong with it.
        error: VerifyError,
    },
    /// It ran out.
    #[error(
        "the token from {source_name} expired {} ago; the program that writes it must renew it",
        span(*.ago)
    )]
    Expired {
        /// Where it stands.
        source_name: String,
        /// How long ago.
        ago: chrono::TimeDelta,
    },
}

impl TokenSource {
    /// What to call it in a message.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Variable(name) => format!("${name}"),
        }
    }
}

impl TokenSource {
    /// The token as it stands there.
    pub fn text(&self) -> Result<String, ReadyError> {
        let token = match self {
            Self::File(path) => fs::read_to_string(path).map_err(|error| {
                ReadyError::Absent(format!(
                    "the token file {} cannot be read: {}; --token-file, --subject-token-file, --actor-token-file or --client-assertion-file names it",
                    path.display(),
                    plain(&error)
                ))
            })?,
            Self::Variable(name) => env::var(name).map_err(|_| {
                ReadyError::Absent(format!(
                    "the environment has no variable {name}, which --token-env, --subject-token-env, --actor-token-env or --client-assertion-env names"
                ))
            })?,
        };
        Ok(token.trim().to_owned())
    }
}

/// Reads the token and checks what can be checked without the issuer's keys.
pub fn read(source: &TokenSource, client: &Client) -> Result<(String, Claims), ReadyError> {
    let token = source.text()?;
    let refused = |error| ReadyError::Refused { source_name: source.describe(), error };
    let claims = Claims::of(&token).map_err(|error| refused(error.into()))?;
    let ago = Utc::now() - claims.expiry();
    if ago >= chrono::TimeDelta::zero() {
        return Err(ReadyError::Expired { source_name: source.describe(), ago });
    }
    let issuer = claims.text("iss").unwrap_or_default();
    if !client.issuer.is_empty() && issuer != client.issuer {
        let (expected, found) = (client.issuer.clone(), issuer.to_owned());
        return Err(refused(VerifyError::Issuer { expected, found }));
    }
    let audiences = claims.audiences();
    if !client.id.is_empty() && !audiences.contains(&client.id.as_str()) {
        let found = audiences.into_iter().map(str::to_owned).collect();
        return Err(refused(VerifyError::Audience { expected: client.id.clone(), found }));
    }
    Ok((token, claims))
}

/// The digest of the last token from elsewhere that was verified, so that its issuer is asked once for it and not at every
/// command. It is no secret.
pub struct Seen {
    path: Option<PathBuf>,
    digest: String,
}

impl Seen {
    /// The memory for `token`; there is none if the settings keep nothing.
    #[must_use]
    pub fn new(settings: &StoreSettings, key: &Key, token: &str) -> Self {
        // Whoever else can write there could have it that their token was verified.
        let path = (settings.kind != StoreKind::None && check_folder(&settings.dir).is_ok())
            .then(|| settings.dir.join("verified").join(key.digest()));
        Self { path, digest: URL_SAFE_NO_PAD.encode(Sha256::digest(token)) }
    }

    /// This very token was verified.
    #[must_use]
    pub fn is_known(&self) -> bool {
        let known = self.path.as_ref().and_then(|path| fs::read_to_string(path).ok());
        known.is_some_and(|digest| digest == self.digest)
    }

    /// Remembers that it was. A memory that cannot be written costs a request the next time.
    pub fn remember(&self) {
        if let Some(path) = &self.path {
            let _ = gateway_files::write(path, self.digest.as_bytes(), Readers::Owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{claims::tests::unsigned, settings::tests::settings};

    #[test]
    fn what_can_be_seen_without_keys_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = TokenSource::File(path.clone());
        let flags = ["--token-file=x", "--oidc-issuer-url=https://i", "--oidc-client-id=kube"];
        let strict = settings(&flags).unwrap().client;
        let lax = settings(&flags[..1]).unwrap().client;
        let good = json!({"exp": 4_000_000_000_i64, "iss": "https://i", "aud": ["kube"]});
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[name] = value;
            unsigned(&claims)
        };
        for (token, strictly, laxly) in [
            (format!(" {}\n", unsigned(&good)), true, true), // editors and heredocs add a line feed
            (with("iss", json!("https://j")), false, true),
            (with("aud", json!("other")), false, true),
            (with("exp", json!(1)), false, false),
            ("opaque".to_owned(), false, false),
            (String::new(), false, false),
        ] {
            fs::write(&path, &token).unwrap();
            assert_eq!(read(&source, &strict).is_ok(), strictly, "{token}");
            assert_eq!(read(&source, &lax).is_ok(), laxly, "{token}");
        }
        fs::remove_file(&path).unwrap();
        let error = read(&source, &lax).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }

    #[test]
    fn a_token_is_known_by_its_digest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = format!("--token-store-dir={}", folder.path().display());
        let store = settings(&["--token-file=x", &dir]).unwrap().store;
        let key = Key::new("i", "c", &[]);
        let seen = Seen::new(&store, &key, "token");
        assert!(!seen.is_known());
        seen.remember();
        assert!(seen.is_known());
        assert!(!Seen::new(&store, &key, "other").is_known());
    }
}
