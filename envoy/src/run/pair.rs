//! Certificates and their keys: whether they belong together, when they end, and one of our own making.

use std::{
    net::IpAddr,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{crypto::ring, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_cert::der::Decode;

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub chain: Vec<u8>,
    pub key: Vec<u8>,
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
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
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

    /// A self-signed certificate for a server, valid for a year, as Kubernetes' programs make one if they are given none.
    pub fn self_signed(address: IpAddr, host: Option<&str>) -> Result<Self, PairError> {
        let mut names = vec!["localhost".to_owned()];
        names.extend(host.map(str::to_owned));
        let mut params = CertificateParams::new(names)?;
        let addresses = [IpAddr::from([127, 0, 0, 1]), address];
        let addresses = addresses.into_iter().filter(|address| !address.is_unspecified());
        params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
        params.distinguished_name.push(DnType::CommonName, "kube-oidc-gateway");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = time::OffsetDateTime::now_utc();
        // A client whose clock is behind must not find a certificate of the future.
        params.not_before = now - time::Duration::hours(1);
        params.not_after = now + time::Duration::days(365);
        let key = KeyPair::generate()?;
        let chain = params.self_signed(&key)?.pem().into_bytes();
        Ok(Self { chain, key: key.serialize_pem().into_bytes() })
    }
}

/// The certificates of a bundle; at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PairError::Certificate(error.to_string()))?;
    if certificates.is_empty() {
        return Err(PairError::Certificate("no PEM block CERTIFICATE".to_owned()));
    }
    Ok(certificates)
}

/// When the first certificate of a bundle that ends does so, in seconds of Unix time.
pub(super) fn expiry(pem: &[u8]) -> Option<i64> {
    let ends = |der: &CertificateDer<'_>| {
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let end = certificate.tbs_certificate.validity.not_after.to_unix_duration();
        i64::try_from(end.as_secs()).ok()
    };
    certificates(pem).ok()?.iter().filter_map(ends).min()
}

/// Whether a file holds a pair whose certificate is still good for a while.
pub(super) fn usable(chain: &Path, key: &Path) -> bool {
    let read = |path: &Path| std::fs::read(path).ok();
    let Some((chain, key)) = read(chain).zip(read(key)) else { return false };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ends = expiry(&chain).and_then(|end| u64::try_from(end).ok());
    Pair { chain, key }.check().is_ok() && ends.is_some_and(|end| end > now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_belong_to_their_certificates() {
        let pair = || Pair::self_signed(IpAddr::from([10, 0, 0, 1]), Some("gateway")).unwrap();
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

    #[test]
    fn the_first_end_of_a_bundle_counts() {
        let pair = Pair::self_signed(IpAddr::from([0, 0, 0, 0]), None).unwrap();
        let end = expiry(&pair.chain).unwrap();
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        assert!((364 * 86_400..=365 * 86_400).contains(&(end - now)), "{end}");
        let far = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem();
        assert_eq!(
            expiry(format!("{far}{}", String::from_utf8_lossy(&pair.chain)).as_bytes()),
            Some(end)
        );
        assert_eq!(expiry(b"x"), None);
    }
}
