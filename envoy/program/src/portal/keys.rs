//! The portal's key files, made into the one document that goes to Envoy in its environment.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gateway_core::portal_keys::{KeyDocument, KeyEntry, KeyError, KeyRing, LEAST_SECRET};
use p256::{SecretKey, ecdsa::SigningKey, pkcs8::DecodePrivateKey};
use sha2::{Digest, Sha256};

/// Why a key is refused. Nothing of a key is in the text.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A file could not be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a key.
    #[error("{0:?} is not a private key on P-256 in PEM (PKCS #8 or SEC 1)")]
    NotAKey(PathBuf),
    /// See [`KeyError`].
    #[error("keys: {0}")]
    Keys(#[from] KeyError),
}

/// Keys in the order in which they are used: the first signs.
#[derive(Default)]
pub struct Keys {
    entries: Vec<KeyEntry>,
    insecure_short: bool,
}

impl Keys {
    /// Keys among which secrets may be shorter than [`LEAST_SECRET`](gateway_core::portal_keys::LEAST_SECRET), if so told.
    #[must_use]
    pub fn new(insecure_short: bool) -> Self {
        Self { entries: Vec::new(), insecure_short }
    }

    /// Adds a key on P-256. Its id is its thumbprint (RFC 7638).
    pub fn add_private_key(&mut self, path: &Path) -> Result<(), KeyFileError> {
        let text = read(path)?;
        let text = String::from_utf8_lossy(&text);
        let key = SecretKey::from_pkcs8_pem(&text)
            .ok()
            .or_else(|| SecretKey::from_sec1_pem(&text).ok())
            .ok_or_else(|| KeyFileError::NotAKey(path.to_owned()))?;
        let point = SigningKey::from(&key).verifying_key().to_sec1_point(false);
        let coordinate = |bytes: Option<&[u8]>| BASE64.encode(bytes.unwrap_or_default());
        let canonical = format!(
            "{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{}\",\"y\":\"{}\"}}",
            coordinate(point.x().map(|x| &x[..])),
            coordinate(point.y().map(|y| &y[..])),
        );
        let id = BASE64.encode(Sha256::digest(canonical));
        self.entries.push(KeyEntry::ES256 { id, scalar: BASE64.encode(key.to_bytes()) });
        Ok(())
    }

    /// Adds a shared secret: the file's bytes without line ends after them. Its id is the file's name.
    pub fn add_secret_file(&mut self, path: &Path) -> Result<(), KeyFileError> {
        let bytes = read(path)?;
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.add_secret(&id, bytes.trim_ascii_end());
        Ok(())
    }

    /// Adds a shared secret.
    pub fn add_secret(&mut self, id: &str, secret: &[u8]) {
        // Said of those alone that need it.
        let insecure_short = self.insecure_short && secret.len() < LEAST_SECRET;
        let (id, secret) = (id.to_owned(), BASE64.encode(secret));
        self.entries.push(KeyEntry::HS256 { id, secret, insecure_short });
    }

    /// The document for Envoy's environment, and what the filter will make of it.
    pub fn document(self) -> Result<(String, KeyRing), KeyFileError> {
        let document = serde_json::to_string(&KeyDocument { keys: self.entries })
            .map_err(|_| KeyError::Shape)?;
        let ring = KeyRing::parse(document.as_bytes())?;
        Ok((document, ring))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    fs::read(path).map_err(|source| KeyFileError::Read { path: path.to_owned(), source })
}
