//! Certificates and their keys, PEM.

use rustls::{crypto::ring, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// A certificate chain and its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, followed by its intermediates.
    pub chain: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair(...)")
    }
}

/// What is wrong with a certificate or a key.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// Not PEM, or without a certificate.
    #[error("it holds no certificate: {0}")]
    Certificate(String),
    /// Not PEM, or without a private key.
    #[error("it holds no private key: {0}")]
    Key(String),
    /// The key is another certificate's.
    #[error("key and certificate do not belong together: {0}")]
    Mismatch(rustls::Error),
}

impl Pair {
    /// Makes sure that the key is the certificate's.
    pub fn check(&self) -> Result<(), PairError> {
        let chain = certificates(&self.chain)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| PairError::Key(error.to_string()))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map(drop)
            .map_err(PairError::Mismatch)
    }
}

/// The certificates of a bundle; at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PairError::Certificate(error.to_string()))?;
    if certificates.is_empty() {
        return Err(PairError::Certificate("no PEM block CERTIFICATE".to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_belong_to_their_certificates() {
        let pair = || {
            let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
            let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
            Pair { chain: chain.into_bytes(), key: key.into_bytes() }
        };
        let (one, other) = (pair(), pair());
        one.check().unwrap();
        for (pair, want) in [
            (Pair { key: other.key.clone(), ..one.clone() }, "do not belong together"),
            (Pair { key: b"x".to_vec(), ..one.clone() }, "no private key"),
            (Pair { chain: b"x".to_vec(), ..one.clone() }, "no certificate"),
            (Pair { chain: one.key.clone(), ..one.clone() }, "no certificate"),
        ] {
            let error = pair.check().unwrap_err().to_string();
            assert!(error.contains(want), "{error} / {want}");
        }
    }
}
