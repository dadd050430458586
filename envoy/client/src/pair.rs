//! Certificates and their keys, PEM.

use p256::{
    NistP256,
    elliptic_curve::{
        AffinePoint, CurveArithmetic, FieldBytesSize, PublicKey, SecretKey,
        pkcs8::{AssociatedOid, DecodePrivateKey},
        sec1::{FromSec1Point, ModulusSize, ToSec1Point, ValidatePublicKey},
    },
};
use p384::NistP384;
use p521::NistP521;
use pkcs8::ObjectIdentifier;
use rustls::{crypto::ring, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_cert::{der::Decode, spki::SubjectPublicKeyInfoOwned};

/// RFC 8017, appendix A.1.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Envoy takes no RSA certificate below.
const LEAST_RSA_BITS: usize = 2048;

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
    #[error("key and certificate do not belong together")]
    Mismatch,
    /// A key that Envoy does not take.
    #[error(
        "its key is of no kind that Envoy serves with: RSA from 2048 bits, ECDSA on P-256, P-384 or P-521, Ed25519"
    )]
    Kind,
}

impl Pair {
    /// Makes sure that the key is the certificate's, and of a kind that Envoy takes.
    pub fn check(&self) -> Result<(), PairError> {
        let chain = certificates(&self.chain)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| PairError::Key(error.to_string()))?;
        let public = chain.first().map(public_key).transpose()?;
        let public = public.ok_or(PairError::Kind)?;
        let fits = rsa(&key, &public)
            .or_else(|| elliptic::<NistP256>(&key, &public))
            .or_else(|| elliptic::<NistP384>(&key, &public))
            .or_else(|| elliptic::<NistP521>(&key, &public));
        match fits {
            Some(true) => Ok(()),
            Some(false) => Err(PairError::Mismatch),
            None => ed25519(chain, key),
        }
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

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoOwned, PairError> {
    x509_cert::Certificate::from_der(certificate)
        .map(|certificate| certificate.tbs_certificate.subject_public_key_info)
        .map_err(|error| PairError::Certificate(error.to_string()))
}

/// Whether an RSA key is the public key's; `None` if it is of another kind, or smaller than Envoy takes.
fn rsa(key: &PrivateKeyDer<'_>, public: &SubjectPublicKeyInfoOwned) -> Option<bool> {
    let der = match key {
        PrivateKeyDer::Pkcs1(key) => key.secret_pkcs1_der(),
        PrivateKeyDer::Pkcs8(key) => {
            let key = pkcs8::PrivateKeyInfo::from_der(key.secret_pkcs8_der()).ok()?;
            (key.algorithm.oid == RSA_ENCRYPTION).then_some(key.private_key)?
        }
        _ => return None,
    };
    let key = pkcs1::RsaPrivateKey::from_der(der).ok()?.public_key();
    let bits = key.modulus.as_bytes().len() * 8;
    (bits >= LEAST_RSA_BITS).then_some(())?;
    let bytes = public.subject_public_key.as_bytes().unwrap_or_default();
    Some(pkcs1::RsaPublicKey::from_der(bytes).is_ok_and(|public| public == key))
}

/// Whether a key on a curve is the public key's; `None` if it is of another kind.
fn elliptic<C>(key: &PrivateKeyDer<'_>, public: &SubjectPublicKeyInfoOwned) -> Option<bool>
where
    C: AssociatedOid + CurveArithmetic + ValidatePublicKey,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let key = match key {
        PrivateKeyDer::Sec1(key) => SecretKey::<C>::from_sec1_der(key.secret_sec1_der()).ok()?,
        PrivateKeyDer::Pkcs8(key) => SecretKey::<C>::from_pkcs8_der(key.secret_pkcs8_der()).ok()?,
        _ => return None,
    };
    let bytes = public.subject_public_key.as_bytes().unwrap_or_default();
    Some(PublicKey::<C>::from_sec1_bytes(bytes).is_ok_and(|public| public == key.public_key()))
}

fn ed25519(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), PairError> {
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(PairError::Mismatch),
        Err(_) => Err(PairError::Kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate and its key, made by OpenSSL.
    fn made(name: &str) -> Pair {
        let path = format!("{}/tests/pairs/{name}.pem", env!("CARGO_MANIFEST_DIR"));
        let pem = std::fs::read(path).unwrap();
        Pair { chain: pem.clone(), key: pem }
    }

    /// What Envoy 1.40 was seen to serve with, in the forms that programs write.
    const TAKEN: [&str; 11] = [
        "rsa-2048-pkcs1",
        "rsa-2048-pkcs8",
        "rsa-3072-pkcs1",
        "rsa-8192-pkcs8",
        "p256-sec1",
        "p256-pkcs8",
        "p384-sec1",
        "p384-pkcs8",
        "p521-sec1",
        "p521-pkcs8",
        "ed25519-pkcs8",
    ];

    #[test]
    fn whatever_envoy_serves_with_is_taken() {
        for name in TAKEN {
            made(name).check().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for name in ["rsa-1024-pkcs8", "rsa-pss-pkcs8", "p224-sec1", "ed448-pkcs8"] {
            let error = made(name).check().unwrap_err();
            assert!(matches!(error, PairError::Kind), "{name}: {error}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_found() {
        for one in TAKEN {
            for other in TAKEN.iter().filter(|other| **other != one) {
                let pair = Pair { key: made(other).key, chain: made(one).chain };
                let error = pair.check().unwrap_err();
                assert!(matches!(error, PairError::Mismatch), "{one} {other}: {error}");
            }
        }
    }

    #[test]
    fn what_is_no_pair_is_found() {
        let one = made("p256-pkcs8");
        let key = b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n".to_vec();
        for (pair, want) in [
            (Pair { key: b"x".to_vec(), ..one.clone() }, "no private key"),
            (Pair { chain: b"x".to_vec(), ..one.clone() }, "no certificate"),
            (Pair { chain: key.clone(), ..one.clone() }, "no certificate"),
            (Pair { key, ..one.clone() }, "of no kind"),
        ] {
            let error = pair.check().unwrap_err().to_string();
            assert!(error.contains(want), "{error} / {want}");
        }
    }
}
