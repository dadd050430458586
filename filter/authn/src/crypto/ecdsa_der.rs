//! ECDSA signatures: JWS has `r || s` (RFC 7518, section 3.4), BoringSSL wants the DER of RFC 3279, section 2.2.3.

use der::{
    Encode,
    asn1::{SequenceOf, UintRef},
};

/// `r || s` as the DER sequence of both, or `None` if its length is odd.
///
/// Zeros and values beyond the curve's order are encoded too; it is the verifier that refuses them.
#[must_use]
pub fn ecdsa_signature_der(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(signature.len() / 2)?;
    if r.len() != s.len() {
        return None;
    }
    let mut integers = SequenceOf::<UintRef<'_>, 2>::new();
    integers.add(UintRef::new(r).ok()?).ok()?;
    integers.add(UintRef::new(s).ok()?).ok()?;
    integers.to_der().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn integers_are_minimal_and_positive() {
        for (signature, want) in [
            (&[1, 2][..], Some(&[0x30, 6, 2, 1, 1, 2, 1, 2][..])),
            (&[0x80, 0x7f], Some(&[0x30, 7, 2, 2, 0, 0x80, 2, 1, 0x7f])),
            (&[0, 1, 0, 2], Some(&[0x30, 6, 2, 1, 1, 2, 1, 2])),
            (&[0, 0], Some(&[0x30, 6, 2, 1, 0, 2, 1, 0])),
            (&[1, 2, 3], None),
        ] {
            assert_eq!(ecdsa_signature_der(signature).as_deref(), want, "{signature:?}");
        }
    }

    /// P-521 needs a length of two bytes.
    #[test]
    fn long_form_length() {
        let der = ecdsa_signature_der(&[0x11; 132]).expect("an even length");
        assert_eq!(der.get(..3), Some(&[0x30, 0x81, 136][..]));
    }
}
