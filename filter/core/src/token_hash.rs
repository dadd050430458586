//! The keyed hash by which a worker knows a token again (docs/decisions, 33).

use siphasher::sip128::SipHasher24;

/// A hash of tokens under a secret key of the worker.
///
/// Who does not know the key must not be able to make a token, good or bad, that has another token's hash, whatever tokens they have. Nobody
/// is told a hash.
pub trait TokenHash {
    /// The hash of all bytes of a token. `None` if there is none: then the token is verified each time.
    fn hash(&self, token: &[u8]) -> Option<u128>;
}

/// `SipHash`-2-4 with 128 bits, a pseudorandom function: for any machine.
pub struct SipHash {
    secret: [u8; 16],
}

impl SipHash {
    /// The hash under this key. It must be random and known to nobody.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }
}

impl TokenHash for SipHash {
    fn hash(&self, token: &[u8]) -> Option<u128> {
        // Its state stays in the processor's registers, as that of a `Hasher` does not.
        Some(SipHasher24::new_with_key(&self.secret).hash(token).as_u128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the reference implementation of `SipHash`: the key is 00 to 0f, and the message as many bytes 00, 01, 02 and so on.
    #[test]
    fn known_answers_are_given() {
        let hash = SipHash::new(std::array::from_fn(|index| u8::try_from(index).unwrap()));
        for (length, want) in [
            (0, "a3817f04ba25a8e66df67214c7550293"),
            (1, "da87c1d86b99af44347659119b22fc45"),
            (63, "5150d1772f50834a503e069a973fbd7c"),
        ] {
            let message: Vec<u8> = (0..length).collect();
            let got = hash.hash(&message).unwrap().swap_bytes();
            assert_eq!(format!("{got:032x}"), want, "{length} bytes");
        }
    }
}
