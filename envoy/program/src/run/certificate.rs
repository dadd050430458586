//! Certificates: when they end, and one of our own making.

use std::{
    net::IpAddr,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use gateway_client::{Pair, certificates};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use x509_cert::der::Decode;

/// A self-signed certificate for a server, valid for a year, as Kubernetes' programs make one if they are given none.
pub(crate) fn self_signed(address: IpAddr, host: Option<&str>) -> Result<Pair, rcgen::Error> {
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
    Ok(Pair { chain, key: key.serialize_pem().into_bytes() })
}

/// When the first certificate of a bundle that ends does so, in seconds of Unix time.
pub(crate) fn expiry(pem: &[u8]) -> Option<i64> {
    let ends = |der: &[u8]| {
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let end = certificate.tbs_certificate.validity.not_after.to_unix_duration();
        i64::try_from(end.as_secs()).ok()
    };
    certificates(pem).ok()?.iter().filter_map(|der| ends(der)).min()
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
    fn the_first_end_of_a_bundle_counts() {
        let pair = self_signed(IpAddr::from([0, 0, 0, 0]), None).unwrap();
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
