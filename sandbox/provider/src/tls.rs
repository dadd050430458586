//! Certificates: a certificate authority and a server certificate made at start, or files.

use std::{path::PathBuf, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};
use time::{Duration, OffsetDateTime};

use crate::config::TlsFiles;

/// Why there is nothing to serve TLS with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A file could not be read, or is not PEM.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not fit each other.
    #[error("cannot serve with this certificate and key: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A server's TLS settings with the certificate authority that clients are to trust.
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// PEM.
    pub(crate) ca: String,
}

impl Tls {
    /// A new certificate authority, and a certificate for `host`, `localhost` and the loopback addresses.
    pub(crate) fn generate(host: &str) -> Result<Self, TlsError> {
        let ca_key = KeyPair::generate()?;
        let mut ca = parameters(Vec::new(), "oidc-provider test CA")?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_certificate = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);

        let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        if !names.iter().any(|name| name == host) {
            names.push(host.to_owned());
        }
        let key = KeyPair::generate()?;
        let mut server = parameters(names, "oidc-provider")?;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let certificate = server.signed_by(&key, &issuer)?;

        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = server_config(vec![certificate.der().clone()], key.into())?;
        Ok(Self { config, ca: ca_certificate.pem() })
    }

    pub(crate) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.private_key)
            .map_err(|source| TlsError::File { path: files.private_key.clone(), source })?;
        // Read as certificates first, so that a wrong file is noticed here and not by a client.
        certificates(&files.ca)?;
        let ca = std::fs::read_to_string(&files.ca).map_err(|error| TlsError::File {
            path: files.ca.clone(),
            source: rustls::pki_types::pem::Error::Io(error),
        })?;
        Ok(Self { config: server_config(chain, key)?, ca })
    }
}

fn parameters(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - Duration::days(1);
    parameters.not_after = now + Duration::days(365);
    Ok(parameters)
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file_error = |source| TlsError::File { path: path.clone(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(file_error)?;
    certificates.collect::<Result<_, _>>().map_err(file_error)
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
