//! The serving certificate of those who give none: self-signed, kept in a folder so that a restart shows the same one.

use std::{
    env,
    net::IpAddr,
    path::{Path, PathBuf},
};

use gateway_client::{PairSource, Source, certificates};
use gateway_files::{self as files, Readers};
use tracing::{info, warn};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::certificate::{self, usable};

/// The names of the two files in the folder.
const CHAIN: &str = "kube-oidc-gateway.crt";
const KEY: &str = "kube-oidc-gateway.key";

/// The pair in `folder` if one is there that has not ended and whose key is its owner's alone, else a new one. If the folder
/// cannot be written to, the new one is for this run alone.
pub fn self_signed(folder: &Path, address: IpAddr) -> Result<PairSource, rcgen::Error> {
    let (chain, key) = (folder.join(CHAIN), folder.join(KEY));
    let files =
        || PairSource { chain: Source::File(chain.clone()), key: Source::File(key.clone()) };
    let good = usable(&chain, &key);
    let open = files::is_open_to_others(&key);
    if good && !open {
        return Ok(files());
    }
    let host = env::var("HOSTNAME").ok();
    let pair = certificate::self_signed(address, host.as_deref())?;
    let written = files::write(&key, &pair.key, Readers::Owner)
        .and_then(|()| files::write(&chain, &pair.chain, Readers::Owner));
    match written {
        Ok(()) => {
            let why = if good { ": the key of the one before was open to others" } else { "" };
            info!("a new self-signed certificate serves, {}{why}", chain.display());
            Ok(files())
        }
        // Somebody's own pair, in a folder that is theirs to guard.
        Err(error) if good && usable(&chain, &key) => {
            warn!("{} is open to others and cannot be replaced ({error})", key.display());
            Ok(files())
        }
        Err(error) => {
            warn!(
                "a self-signed certificate serves that the next start will not know: {} cannot be written to ({error})",
                folder.display()
            );
            Ok(PairSource { chain: Source::Inline(pair.chain), key: Source::Inline(pair.key) })
        }
    }
}

/// The pair that an earlier start left in `folder`, if one did.
#[must_use]
pub fn kept(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let (chain, key) = (folder.join(CHAIN), folder.join(KEY));
    (chain.is_file() && key.is_file()).then_some((chain, key))
}

/// The DNS names in the first certificate of a chain (PEM).
///
/// # Errors
/// If it is none.
pub fn names(chain: &[u8]) -> Result<Vec<String>, String> {
    subjects(chain).map(|(names, _)| names)
}

/// The DNS names and the addresses in the first certificate of a chain (PEM).
///
/// # Errors
/// If it is none.
pub fn subjects(chain: &[u8]) -> Result<(Vec<String>, Vec<IpAddr>), String> {
    let certificates = certificates(chain).map_err(|error| error.to_string())?;
    let first = certificates.first().ok_or("it is empty")?;
    let certificate = Certificate::from_der(first).map_err(|error| error.to_string())?;
    let names = certificate.tbs_certificate.get::<SubjectAltName>();
    let names = names.map_err(|error| error.to_string())?.map(|(_, names)| names.0);
    let (mut dns, mut addresses) = (Vec::new(), Vec::new());
    for name in names.into_iter().flatten() {
        match name {
            GeneralName::DnsName(name) => dns.push(name.to_string()),
            GeneralName::IpAddress(bytes) => match *bytes.as_bytes() {
                [a, b, c, d] => addresses.push(IpAddr::from([a, b, c, d])),
                ref bytes => addresses.extend(<[u8; 16]>::try_from(bytes).map(IpAddr::from)),
            },
            _ => {}
        }
    }
    Ok((dns, addresses))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    /// Break-in row 4: the key was 0644 in a folder that was there before. It may have been read: another one serves.
    #[test]
    fn break_in_4_the_key_is_private_and_an_open_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let serve = || {
            let pair = self_signed(folder.path(), IpAddr::from([0, 0, 0, 0])).unwrap();
            let mode = fs::metadata(folder.path().join(KEY)).unwrap().permissions().mode();
            (pair.key.read().unwrap(), mode & 0o777)
        };
        let (first, mode) = serve();
        assert_eq!(mode, 0o600);
        fs::set_permissions(folder.path().join(KEY), fs::Permissions::from_mode(0o644)).unwrap();
        let (second, mode) = serve();
        assert_eq!(mode, 0o600);
        assert_ne!(first, second);
        assert_eq!(serve(), (second, 0o600));
    }

    #[test]
    fn a_pair_is_kept_and_a_bad_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let address = IpAddr::from([0, 0, 0, 0]);
        let read = || self_signed(folder.path(), address).unwrap().chain.read().unwrap();
        let first = read();
        assert_eq!(read(), first);
        fs::write(folder.path().join(KEY), "x").unwrap();
        assert_ne!(read(), first);
    }

    #[test]
    fn names_are_those_of_the_certificate() {
        let names = ["a.example".to_owned(), "*.b.example".to_owned(), "10.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names.clone()).unwrap().cert.pem();
        assert_eq!(super::names(made.as_bytes()).unwrap(), names[..2]);
        assert!(super::names(b"x").is_err());
    }

    #[test]
    fn without_a_folder_it_serves_this_run() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let pair = self_signed(file.path(), IpAddr::from([10, 0, 0, 1])).unwrap();
        assert!(matches!(pair.chain, Source::Inline(_)));
    }
}
