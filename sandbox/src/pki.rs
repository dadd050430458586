//! Certificate authorities and the certificates they sign: made anew for each sandbox, valid for a week, ECDSA P-256.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::{
    error::Result,
    files::{write, write_private},
};

/// A certificate and its key as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// Where the two halves of an [`Identity`] are written.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file, readable by its owner only.
    pub key: PathBuf,
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) -> Result<IdentityFiles> {
        let files = IdentityFiles {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        write_private(&files.key, self.key.as_bytes())?;
        write(&files.certificate, self.certificate.as_bytes())?;
        Ok(files)
    }
}

/// A certificate authority.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority of that common name.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority's certificate as PEM: the bundle whoever trusts it is given.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server on this machine: `localhost`, 127.0.0.1, and the names given.
    pub fn server(&self, names: &[&str]) -> Result<Identity> {
        let mut params = params("server", &[]);
        let mut all = vec!["localhost".to_owned()];
        all.extend(names.iter().map(|&name| name.to_owned()));
        let with_names = CertificateParams::new(all)?;
        params.subject_alt_names = with_names.subject_alt_names;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        params.subject_alt_names.push(rcgen::SanType::IpAddress(loopback));
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A server's certificate for these names alone, good until `days` from now, or before now if that is negative.
    pub fn server_until(&self, names: &[&str], days: i64) -> Result<Identity> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = params("server", &[]);
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.not_before = OffsetDateTime::now_utc() - Duration::days(days.abs() + 1);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate, which kube-apiserver takes as user `name` in `groups`.
    pub fn client(&self, name: &str, groups: &[&str]) -> Result<Identity> {
        self.sign(params(name, groups), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

/// A key pair that kube-apiserver signs ServiceAccount tokens with: the private and the public key, PEM.
pub(crate) fn signing_keys() -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn params(name: &str, groups: &[&str]) -> CertificateParams {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    for group in groups {
        subject.push(DnType::OrganizationName, *group);
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    // A clock that is set back a little must not make a new certificate one of the future.
    params.not_before = OffsetDateTime::now_utc() - Duration::minutes(5);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(7);
    params
}
