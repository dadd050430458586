//! A CA and certificates under it.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use gateway_client::{Pair, certificates};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::Names;

/// How long a CA lives, and what is under it.
const LIFE: Duration = Duration::days(3650);

/// A client whose clock is behind must not find a certificate of the future.
const BEHIND: Duration = Duration::hours(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be made, or what is there is none.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Key and certificate of the CA do not fit, or are no PEM.
    #[error("{0}")]
    Pair(String),
}

/// A CA with its key.
pub(super) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    key: String,
}

/// A serving certificate with its key, PEM.
pub(super) struct Serving {
    pub chain: String,
    pub key: String,
}

impl Authority {
    /// A new one of this name.
    pub fn new(name: &str) -> Result<Self, AuthorityError> {
        let mut params = params(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let (certificate, pem) = (params.self_signed(&key)?.pem(), key.serialize_pem());
        Ok(Self { certificate, issuer: Issuer::new(params, key), key: pem })
    }

    /// One that was made before, or is the user's own.
    pub fn read(certificate: String, key: &str) -> Result<Self, AuthorityError> {
        let pair = Pair { chain: certificate.clone().into_bytes(), key: key.as_bytes().to_vec() };
        pair.check().map_err(|error| AuthorityError::Pair(error.to_string()))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(key)?)?;
        Ok(Self { certificate, issuer, key: key.to_owned() })
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key, PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A certificate for a server of these names.
    pub fn issue(&self, names: &Names) -> Result<Serving, AuthorityError> {
        let mut params = params(names.dns.clone())?;
        params.subject_alt_names.extend(names.addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name.push(DnType::CommonName, "kube-oidc-gateway");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let own = params.signed_by(&key, &self.issuer)?.pem();
        // With the CA, which clients can then know by its fingerprint.
        let chain = format!("{own}{}", self.certificate);
        Ok(Serving { chain, key: key.serialize_pem() })
    }
}

fn params(names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BEHIND;
    params.not_after = now + LIFE;
    Ok(params)
}

/// Whether a pair is one for these names and no others, with half of its life before it.
pub(super) fn serves(chain: Vec<u8>, key: Vec<u8>, names: &Names) -> bool {
    let Some(certificate) = first(&chain) else { return false };
    let validity = certificate.tbs_certificate.validity;
    let (begin, end) =
        (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let lasts = now + (end.saturating_sub(begin)) / 2 < end;
    let wanted: BTreeSet<_> = names.dns.iter().cloned().collect();
    let addresses: BTreeSet<_> = names.addresses.iter().copied().collect();
    lasts && names_of(&certificate) == (wanted, addresses) && Pair { chain, key }.check().is_ok()
}

fn first(chain: &[u8]) -> Option<Certificate> {
    Certificate::from_der(certificates(chain).ok()?.first()?).ok()
}

fn names_of(certificate: &Certificate) -> (BTreeSet<String>, BTreeSet<IpAddr>) {
    let (mut dns, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let names = certificate.tbs_certificate.get::<SubjectAltName>().ok().flatten();
    for name in names.into_iter().flat_map(|(_, names)| names.0) {
        match name {
            GeneralName::DnsName(name) => {
                dns.insert(name.to_string());
            }
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                addresses.extend(four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)));
            }
            _ => {}
        }
    }
    (dns, addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dns: &[&str], addresses: &[&str]) -> Names {
        Names {
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_ca_that_was_read_again_signs_for_the_same_names_and_no_others() {
        let made = Authority::new("gateway").unwrap();
        let read = Authority::read(made.certificate().to_owned(), made.key()).unwrap();
        let wanted = names(&["a.example", "*.b.example"], &["192.0.2.7", "2001:db8::1"]);
        for authority in [&made, &read] {
            let Serving { chain, key } = authority.issue(&wanted).unwrap();
            // Who knows the CA by its fingerprint finds it there.
            assert!(chain.ends_with(authority.certificate()) && chain != authority.certificate());
            let is = |names| serves(chain.clone().into_bytes(), key.clone().into_bytes(), &names);
            assert!(is(wanted.clone()));
            for other in [
                names(&["a.example"], &["192.0.2.7", "2001:db8::1"]),
                names(&["a.example", "*.b.example", "c"], &["192.0.2.7", "2001:db8::1"]),
                names(&["a.example", "*.b.example"], &["192.0.2.7"]),
            ] {
                assert!(!is(other));
            }
        }
    }

    #[test]
    fn half_a_life_is_enough_and_the_key_must_fit() {
        let authority = Authority::new("gateway").unwrap();
        let wanted = names(&["a"], &[]);
        let aged = |days: i64| {
            let mut params = params(vec!["a".to_owned()]).unwrap();
            params.not_before = OffsetDateTime::now_utc() - Duration::days(days);
            params.not_after = params.not_before + Duration::days(100);
            let key = KeyPair::generate().unwrap();
            let chain = params.signed_by(&key, &authority.issuer).unwrap().pem();
            serves(chain.into_bytes(), key.serialize_pem().into_bytes(), &wanted)
        };
        assert_eq!([1, 49, 51, 101].map(aged), [true, true, false, false]);
        let one = authority.issue(&wanted).unwrap();
        let other = authority.issue(&wanted).unwrap();
        assert!(!serves(one.chain.into_bytes(), other.key.into_bytes(), &wanted));
        assert!(!serves(b"x".to_vec(), b"y".to_vec(), &wanted));
    }

    #[test]
    fn what_is_no_ca_s_pair_is_named() {
        let (one, other) = (Authority::new("a").unwrap(), Authority::new("b").unwrap());
        for (certificate, key, want) in [
            (one.certificate(), other.key(), "do not belong together"),
            ("", one.key(), "no certificate"),
            (one.certificate(), "", "no private key"),
        ] {
            let error = Authority::read(certificate.to_owned(), key).err().unwrap().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
