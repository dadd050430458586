//! RSA keys from `test-keys/`: making one takes a debug build seconds, so they are shipped. They are for tests only.

use std::{
    collections::BTreeSet,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ring::signature::RsaKeyPair;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

const KEYS: &[u8] = include_bytes!("../../test-keys/rsa-2048.pem");
const STRANGER: &[u8] = include_bytes!("../../test-keys/rsa-2048-stranger.pem");
const SHORT: &[u8] = include_bytes!("../../test-keys/rsa-1024.pem");

/// Hands out the keys of the file, each once to a provider; after the last one it begins again. Providers of one process
/// begin at different keys.
#[derive(Default)]
pub(crate) struct RsaKeys {
    used: Mutex<BTreeSet<usize>>,
}

impl RsaKeys {
    pub(crate) fn next(&self) -> RsaKeyPair {
        static PARSED: LazyLock<Vec<PrivatePkcs8KeyDer<'static>>> = LazyLock::new(|| {
            PrivatePkcs8KeyDer::pem_slice_iter(KEYS).collect::<Result<_, _>>().expect("our own PEM")
        });
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() == PARSED.len() {
            used.clear();
        }
        loop {
            let index = NEXT.fetch_add(1, Ordering::Relaxed) % PARSED.len();
            if used.insert(index) {
                return key_pair(&PARSED[index]);
            }
        }
    }
}

/// The key that no issuer has.
pub(crate) fn stranger() -> RsaKeyPair {
    key_pair(&PrivatePkcs8KeyDer::from_pem_slice(STRANGER).expect("our own PEM"))
}

/// The same in PEM.
pub(crate) fn stranger_pem() -> &'static str {
    std::str::from_utf8(STRANGER).expect("our own PEM")
}

/// PKCS#8 of a key of 1024 bits.
pub(crate) fn short() -> PrivatePkcs8KeyDer<'static> {
    PrivatePkcs8KeyDer::from_pem_slice(SHORT).expect("our own PEM")
}

fn key_pair(key: &PrivatePkcs8KeyDer<'_>) -> RsaKeyPair {
    RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("our own test key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_twice_until_all_are_used() {
        let public = |key: &RsaKeyPair| key.public().as_ref().to_vec();
        let keys = RsaKeys::default();
        let first: BTreeSet<_> = (0..32).map(|_| public(&keys.next())).collect();
        assert_eq!(first.len(), 32);
        assert!(first.contains(&public(&keys.next())), "it begins again");
        assert!(!first.contains(&public(&stranger())));
    }
}
