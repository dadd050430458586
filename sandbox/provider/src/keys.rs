//! The keys of an issuer: which sign, which are published, which are retired.

mod algorithm;
mod public_key;
pub(crate) mod rsa_keys;
mod signing_key;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::algorithm::KeyKind;
pub(crate) use self::rsa_keys::RsaKeys;
pub use self::{algorithm::Algorithm, public_key::PublicKey, signing_key::SigningKey};

/// What becomes of the old keys when an issuer gets new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// New keys sign, the old ones stay published: tokens of both verify.
    Overlap,
    /// New keys sign, the old ones are gone from the key set at once.
    Replace,
}

/// One signing key for each algorithm, older published keys, and every key that ever was, so that tests can sign with it.
pub(crate) struct KeySet {
    signing: Vec<Arc<SigningKey>>,
    published_only: Vec<Arc<SigningKey>>,
    unpublished: Vec<Arc<SigningKey>>,
    rsa: Arc<RsaKeys>,
}

impl KeySet {
    /// A key for each of `algorithms`, which the configuration keeps from being empty; the first one signs unless
    /// another is asked for.
    pub(crate) fn new(algorithms: &[Algorithm], rsa: Arc<RsaKeys>) -> Self {
        let signing = algorithms.iter().map(|&a| Arc::new(SigningKey::generate(a, &rsa))).collect();
        Self { signing, published_only: Vec::new(), unpublished: Vec::new(), rsa }
    }

    /// A new key that is not in the set.
    pub(crate) fn new_key(&self, algorithm: Algorithm) -> SigningKey {
        SigningKey::generate(algorithm, &self.rsa)
    }

    /// The key that signs by default.
    pub(crate) fn default_key(&self) -> Arc<SigningKey> {
        Arc::clone(&self.signing[0])
    }

    /// The key that signs with `algorithm`.
    pub(crate) fn by_algorithm(&self, algorithm: Algorithm) -> Option<Arc<SigningKey>> {
        self.signing.iter().find(|key| key.algorithm() == algorithm).cloned()
    }

    /// The first RSA key that signs.
    pub(crate) fn first_rsa(&self) -> Option<Arc<SigningKey>> {
        let mut signing = self.signing.iter();
        signing.find(|key| key.algorithm().key_kind() == KeyKind::Rsa).cloned()
    }

    /// The key of this id, whether it still signs, is only published, or is retired.
    pub(crate) fn by_kid(&self, kid: &str) -> Option<Arc<SigningKey>> {
        self.published().chain(&self.unpublished).find(|key| key.kid() == kid).cloned()
    }

    /// The algorithms that the issuer signs with, the default one first.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        self.signing.iter().map(|key| key.algorithm()).collect()
    }

    /// The document at `jwks_uri` (RFC 7517, section 5).
    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": self.published().map(|key| key.jwk()).collect::<Vec<_>>()})
    }

    /// A key that the key set shows and that signs only when asked for by its id.
    pub(crate) fn publish(&mut self, key: SigningKey) {
        self.published_only.push(Arc::new(key));
    }

    /// New keys for all algorithms.
    pub(crate) fn rotate(&mut self, rotation: Rotation) {
        let new = Self::new(&self.algorithms(), Arc::clone(&self.rsa));
        let old = std::mem::replace(&mut self.signing, new.signing);
        match rotation {
            Rotation::Overlap => self.published_only.extend(old),
            Rotation::Replace => {
                self.unpublished.extend(old);
                self.retire_old();
            }
        }
    }

    /// Takes every key that no longer signs out of the key set: the end of an overlap.
    pub(crate) fn retire_old(&mut self) {
        self.unpublished.append(&mut self.published_only);
    }

    fn published(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.signing.iter().chain(&self.published_only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kids(set: &KeySet) -> Vec<String> {
        let jwks = set.jwks();
        let keys = jwks["keys"].as_array().unwrap();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn rotation_with_and_without_overlap() {
        let mut set = KeySet::new(&[Algorithm::Es256, Algorithm::Es384], Arc::default());
        let first = kids(&set);
        set.rotate(Rotation::Overlap);
        let second = kids(&set);
        assert_eq!(second.len(), 4);
        assert_eq!(second[2..], first, "the old keys stay, after the new ones");
        assert_ne!(set.default_key().kid(), first[0]);
        set.retire_old();
        assert_eq!(kids(&set), second[..2]);
        set.rotate(Rotation::Replace);
        let third = kids(&set);
        assert_eq!(third.len(), 2);
        assert!(third.iter().all(|kid| !second.contains(kid)));
        assert!(set.by_kid(&first[0]).is_some(), "tests still sign with a retired key");
        assert_eq!(set.algorithms(), [Algorithm::Es256, Algorithm::Es384]);
    }
}
