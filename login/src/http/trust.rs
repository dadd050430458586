//! Certificate authorities: the ones given, else the system's, else (a container without any) Mozilla's.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::settings::Trust;

/// Why a client cannot be made: certificate authorities or a proxy that were given cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file that cannot be read.
    #[error("the certificate authority file {} cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A text without certificates.
    #[error("{0} holds no certificate in PEM form")]
    NoCertificate(String),
    /// A proxy's address.
    #[error("the proxy {0:?} is not a URL of a proxy")]
    Proxy(String),
    /// Not base64.
    #[error("the certificate authority data is not base64")]
    Encoding,
}

/// The TLS settings of a client.
pub(super) fn tls_config(trust: &Trust) -> Result<TlsConfig, TrustError> {
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(roots(trust)?)
        .disable_verification(trust.insecure)
        .build())
}

fn roots(trust: &Trust) -> Result<RootCerts, TrustError> {
    let mut certificates = Vec::new();
    for path in &trust.files {
        let pem = fs::read(path).map_err(|error| TrustError::Read { path: path.clone(), error })?;
        certificates.extend(certificates_of(&pem, || path.display().to_string())?);
    }
    for data in &trust.data {
        let pem = STANDARD.decode(data).map_err(|_| TrustError::Encoding)?;
        certificates.extend(certificates_of(&pem, || "the certificate authority data".to_owned())?);
    }
    if certificates.is_empty() && !trust.insecure {
        let native = rustls_native_certs::load_native_certs().certs;
        certificates.extend(native.iter().map(|der| Certificate::from_der(der).to_owned()));
    }
    Ok(if certificates.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::new_with_certs(&certificates)
    })
}

fn certificates_of(
    pem: &[u8],
    name: impl Fn() -> String,
) -> Result<Vec<Certificate<'static>>, TrustError> {
    let certificates: Vec<_> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() { Err(TrustError::NoCertificate(name())) } else { Ok(certificates) }
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
            let error = roots(&trust).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
