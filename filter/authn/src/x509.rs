//! X.509 certificates where upstream parses them: in a configuration's certificate authority, in a key's `x5c` and in a
//! token's header. They are parsed to be refused where Go refuses them; trust in them is the business of TLS.

use der::{Decode, Encode};
use go_compat::base64;
use sha1::{Digest, Sha1};
use sha2::{Digest as _, Sha256};

/// Go's text for DER that is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("x509: malformed certificate")]
pub struct MalformedCertificate;

/// What is asked of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    der: Vec<u8>,
    spki_der: Vec<u8>,
}

impl Certificate {
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, MalformedCertificate> {
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| MalformedCertificate)?;
        let key = parsed.tbs_certificate.subject_public_key_info;
        let spki_der = key.to_der().map_err(|_| MalformedCertificate)?;
        Ok(Self { der: der.to_vec(), spki_der })
    }

    /// A certificate as in `x5c` (RFC 7515, section 4.1.6): base64, not base64url.
    pub(crate) fn from_x5c(text: &str) -> Result<Self, MalformedCertificate> {
        let der = base64::decode_standard(text.as_bytes()).map_err(|_| MalformedCertificate)?;
        Self::from_der(&der)
    }

    /// Its public key as DER `SubjectPublicKeyInfo`.
    pub(crate) fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    pub(crate) fn sha1(&self) -> Vec<u8> {
        Sha1::digest(&self.der).to_vec()
    }

    pub(crate) fn sha256(&self) -> Vec<u8> {
        Sha256::digest(&self.der).to_vec()
    }
}
