//! Whom to believe over TLS: the authorities given, else the system's, else (a container without any) Mozilla's.
//!
//! What Go's programs take is taken: issuers are mostly set up with those. A self-signed certificate that is given as its own
//! authority is believed even if it says that it is one of an authority, and P-521 is verified.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use sha2::{Digest as _, Sha256};

use super::p521;
use crate::{console::plain, settings::Trust};

/// Why a client cannot be made: certificate authorities or a proxy that were given cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file that cannot be read.
    #[error(
        "the certificate authority file {} cannot be read: {}; give another with --certificate-authority",
        path.display(), plain(error)
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A text without certificates.
    #[error(
        "{0} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); --certificate-authority wants the issuer's authority in that form"
    )]
    NoCertificate(String),
    /// A proxy's address.
    #[error(
        "the proxy {0} is not a URL of a proxy; write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, in the kubeconfig's proxy-url or in $HTTPS_PROXY"
    )]
    Proxy(String),
    /// Not base64.
    #[error(
        "the certificate authority data is not base64; --certificate-authority-data wants what base64 makes of the PEM file, --certificate-authority the file"
    )]
    Encoding,
}

/// The TLS of a client.
pub(super) fn tls_config(trust: &Trust) -> Result<Arc<ClientConfig>, TrustError> {
    let provider = Arc::new(p521::provider());
    let given = given(trust)?;
    let verifier: Arc<dyn ServerCertVerifier> = if trust.insecure {
        Arc::new(Anybody(Arc::clone(&provider)))
    } else {
        Arc::new(verifier(given, &provider)?)
    };
    client(&provider, verifier)
}

fn client(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, TrustError> {
    let versions = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        // ring has ciphers for both versions.
        .map_err(|_| TrustError::NoCertificate("the TLS library".to_owned()))?;
    let config = versions.dangerous().with_custom_certificate_verifier(verifier);
    Ok(Arc::new(config.with_no_client_auth()))
}

/// The authorities that the settings name.
fn given(trust: &Trust) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let mut certificates = Vec::new();
    for path in &trust.files {
        let pem = fs::read(path).map_err(|error| TrustError::Read { path: path.clone(), error })?;
        certificates.extend(certificates_of(&pem, || path.display().to_string())?);
    }
    for data in &trust.data {
        // Wrapped lines, as base64 prints them.
        let data: String = data.split_whitespace().collect();
        let pem = STANDARD.decode(data).map_err(|_| TrustError::Encoding)?;
        certificates.extend(certificates_of(&pem, || "the certificate authority data".to_owned())?);
    }
    Ok(certificates)
}

fn certificates_of(
    pem: &[u8],
    name: impl Fn() -> String,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    if found.is_empty() { Err(TrustError::NoCertificate(name())) } else { Ok(found) }
}

fn verifier(
    given: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, TrustError> {
    let mut roots = RootCertStore::empty();
    if given.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    } else {
        roots.add_parsable_certificates(given.iter().cloned());
    }
    let unusable = |_| TrustError::NoCertificate("the certificate authority".to_owned());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    Ok(Verifier { chains: chains.build().map_err(unusable)?, given })
}

/// A certificate authority that is known by its fingerprint (SHA-256 of its certificate), and that a server is to show.
#[derive(Debug, Clone)]
pub struct Pin {
    fingerprint: [u8; 32],
    found: Arc<OnceLock<Vec<u8>>>,
}

impl Pin {
    pub(super) fn new(fingerprint: [u8; 32]) -> Self {
        Self { fingerprint, found: Arc::default() }
    }

    /// The authority's certificate (DER), once a server has shown it and something that it signed.
    #[must_use]
    pub fn found(&self) -> Option<&[u8]> {
        self.found.get().map(Vec::as_slice)
    }
}

/// The TLS of a client that believes an authority by its fingerprint.
pub(super) fn pinned_config(pin: &Pin) -> Result<Arc<ClientConfig>, TrustError> {
    let provider = Arc::new(p521::provider());
    client(&provider, Arc::new(Pinned { pin: pin.clone(), provider: Arc::clone(&provider) }))
}

/// Whether a certificate is not believed because none of those beside it is the pinned one.
pub(super) fn is_other_authority(error: &OtherError) -> bool {
    error.0.downcast_ref::<OtherAuthority>().is_some()
}

/// A server shows no certificate of the fingerprint.
#[derive(Debug, thiserror::Error)]
#[error("no certificate of this fingerprint")]
struct OtherAuthority;

/// One of the certificates that the server shows, by its fingerprint, and chains to that one.
#[derive(Debug)]
struct Pinned {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_pinned = |certificate: &&CertificateDer<'_>| {
            Sha256::digest(certificate)[..] == self.pin.fingerprint
        };
        let shown = std::iter::once(end_entity).chain(intermediates).find(is_pinned);
        let other = || CertificateError::Other(OtherError(Arc::new(OtherAuthority)));
        let authority = shown.ok_or_else(other)?.clone().into_owned();
        let verifier = verifier(vec![authority.clone()], &self.provider);
        let verified = verifier.map_err(|_| CertificateError::BadEncoding)?.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        let _ = self.pin.found.set(authority.to_vec());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Chains to an authority, and a server's own certificate among those given.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // Times are looked at before this, names after it.
            Err(error)
                if is_own_authority(&error) && self.given.iter().any(|c| c == end_entity) =>
            {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&certificate, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// The server shows the certificate of an authority as its own.
fn is_own_authority(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.0.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
        }
        _ => false,
    }
}

/// Whoever is there, if the person says so (`--insecure-skip-tls-verify`).
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Given authorities that turn out empty must not mean "the system's": that would trust others than meant.
    #[test]
    fn authorities_that_hold_no_certificate_are_refused() {
        for (trust, want) in [
            (
                Trust { data: vec![STANDARD.encode("no pem")], ..Trust::default() },
                "holds no certificate",
            ),
            (Trust { data: vec!["***".to_owned()], ..Trust::default() }, "not base64"),
            (Trust { files: vec!["/nonexistent".into()], ..Trust::default() }, "/nonexistent"),
        ] {
            let error = tls_config(&trust).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }

    /// As `base64` prints it, with a line end after 76 characters.
    #[test]
    fn authority_data_may_be_wrapped() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let data = STANDARD.encode(made.cert.pem());
        let wrapped: Vec<_> = data.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
        for data in [data.clone(), wrapped.join("\n"), format!(" {}\r\n", wrapped.join("\r\n"))] {
            let trust = Trust { data: vec![data.clone()], ..Trust::default() };
            assert!(tls_config(&trust).is_ok(), "{data}");
        }
    }
}
