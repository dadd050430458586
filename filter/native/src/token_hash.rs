//! The hash of tokens by the processor's own instructions.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use gateway_core::token_hash::TokenHash;

/// GMAC (NIST SP 800-38D) with one nonce: `GHASH`, a polynomial over the token at a secret point, behind a mask that is always the same.
///
/// Two tokens of at most `L` bytes have the same hash under one of `2^128 / (ceil(L/16) + 1)` keys ("The Security and Performance of the
/// Galois/Counter Mode", 2004, lemma 2). For a message code a nonce that is used again would be fatal, since two codes
/// of one nonce betray the point. No hash leaves the worker.
pub struct GaloisHash(LessSafeKey);

impl GaloisHash {
    /// The hash under this key. It must be random and known to nobody, and used for nothing else. `None` if AWS-LC refuses it.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Option<Self> {
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?)))
    }
}

impl TokenHash for GaloisHash {
    fn hash(&self, token: &[u8]) -> Option<u128> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []).ok()?;
        Some(u128::from_be_bytes(tag.as_ref().try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first test case of GCM's specification (2005), which has no message: its tag is the mask.
    #[test]
    fn known_answers_are_given() {
        let hash = GaloisHash::new([0; 16]).unwrap();
        assert_eq!(hash.hash(b""), Some(0x58e2_fcce_fa7e_3061_367f_1d57_a4e7_455a));
    }

    #[test]
    fn each_byte_and_the_length_count() {
        let hash = GaloisHash::new([7; 16]).unwrap();
        for length in [1, 15, 16, 17, 900] {
            let token = vec![b'a'; length];
            let known = hash.hash(&token).unwrap();
            assert_eq!(hash.hash(&token), Some(known));
            for index in 0..length {
                let mut other = token.clone();
                other[index] ^= 1;
                assert_ne!(hash.hash(&other), Some(known), "{length}, {index}");
            }
            // GHASH fills the last block with zeros, and so would take these for one without the length.
            let longer = [&token[..], &[0]].concat();
            assert_ne!(hash.hash(&longer), Some(known), "{length}");
        }
        assert_ne!(GaloisHash::new([8; 16]).unwrap().hash(b"a"), hash.hash(b"a"));
    }
}
