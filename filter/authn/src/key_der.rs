//! Public keys as DER `SubjectPublicKeyInfo` (RFC 3279, RFC 5480, RFC 9881), the form in which BoringSSL takes them.
//!
//! What is written is a handful of values, so [`value`] and [`unsigned`] are all there is to it.

use der::{Tag, asn1::ObjectIdentifier};

use crate::key_kind::KeyKind;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// An RSA key from its big-endian numbers.
pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = value(Tag::Sequence, &[&unsigned(modulus), &unsigned(exponent)]);
    key_info(&RSA_ENCRYPTION, &value(Tag::Null, &[]), &key)
}

/// A key on a NIST curve from its uncompressed point. `None` if the kind is another one.
pub(crate) fn nist(kind: KeyKind, point: &[u8]) -> Option<Vec<u8>> {
    let curve = match kind {
        KeyKind::P256 => P256,
        KeyKind::P384 => P384,
        KeyKind::P521 => P521,
        _ => return None,
    };
    Some(key_info(&EC_PUBLIC_KEY, &identifier(&curve), point))
}

/// An ML-DSA key as FIPS 204 encodes it. `None` if the kind is another one.
pub(crate) fn ml_dsa(kind: KeyKind, encoded: &[u8]) -> Option<Vec<u8>> {
    let algorithm = match kind {
        KeyKind::MlDsa44 => ML_DSA_44,
        KeyKind::MlDsa65 => ML_DSA_65,
        KeyKind::MlDsa87 => ML_DSA_87,
        _ => return None,
    };
    Some(key_info(&algorithm, &[], encoded))
}

fn key_info(algorithm: &ObjectIdentifier, parameters: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = value(Tag::Sequence, &[&identifier(algorithm), parameters]);
    // All bits of its last byte count.
    value(Tag::Sequence, &[&algorithm, &value(Tag::BitString, &[&[0], key])])
}

fn identifier(identifier: &ObjectIdentifier) -> Vec<u8> {
    value(Tag::ObjectIdentifier, &[identifier.as_bytes()])
}

/// A big-endian number, in its shortest form. It is positive: where its first bit is set, a zero byte goes before it.
pub(crate) fn unsigned(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if matches!(number, [] | [0x80..=0xff, ..]) { &[0] } else { &[] };
    value(Tag::Integer, &[sign, number])
}

/// A value of these parts, with its tag and length.
pub(crate) fn value(tag: Tag, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = length.get(zeros..).unwrap_or_default();
    let mut value = vec![tag.octet()];
    // From 128 on, the length has its own length before it.
    match *length {
        [] => value.push(0),
        [short @ ..=0x7f] => value.push(short),
        _ => {
            value.push(u8::try_from(length.len()).unwrap_or_default() | 0x80);
            value.extend_from_slice(length);
        }
    }
    value.extend_from_slice(&content);
    value
}

#[cfg(test)]
mod tests {
    use der::{
        Encode,
        asn1::{AnyRef, BitStringRef, UintRef},
    };
    use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn by_library(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> Vec<u8> {
        let algorithm = AlgorithmIdentifierRef { oid, parameters };
        let subject_public_key = BitStringRef::from_bytes(key).unwrap();
        SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().unwrap()
    }

    #[test]
    fn keys_are_written_as_by_a_library() {
        for modulus in [&[0x7f; 256][..], &[0x80; 256], &[1; 512], &[0, 0, 0x80], &[0], &[1; 120]] {
            for exponent in [&[1, 0, 1][..], &[3], &[0xff, 0xff], &[0, 1]] {
                let key = pkcs1::RsaPublicKey {
                    modulus: UintRef::new(modulus).unwrap(),
                    public_exponent: UintRef::new(exponent).unwrap(),
                };
                let key = key.to_der().unwrap();
                let want = by_library(RSA_ENCRYPTION, Some(AnyRef::NULL), &key);
                assert_eq!(rsa(modulus, exponent), want);
            }
        }
        for (kind, curve, length) in
            [(KeyKind::P256, P256, 65), (KeyKind::P384, P384, 97), (KeyKind::P521, P521, 133)]
        {
            let point = vec![4; length];
            let want = by_library(EC_PUBLIC_KEY, Some(AnyRef::from(&curve)), &point);
            assert_eq!(nist(kind, &point), Some(want));
            assert_eq!(ml_dsa(kind, &point), None);
        }
        for (kind, oid, length) in [
            (KeyKind::MlDsa44, ML_DSA_44, 1312),
            (KeyKind::MlDsa65, ML_DSA_65, 1952),
            (KeyKind::MlDsa87, ML_DSA_87, 2592),
        ] {
            let key = vec![7; length];
            assert_eq!(ml_dsa(kind, &key), Some(by_library(oid, None, &key)));
            assert_eq!(nist(kind, &key), None);
        }
        // Lengths that take one more byte.
        for length in [126, 127, 128, 129, 253, 254, 255, 256, 65_534, 65_535, 65_536, 70_000] {
            let key = vec![1; length];
            assert_eq!(ml_dsa(KeyKind::MlDsa44, &key), Some(by_library(ML_DSA_44, None, &key)));
        }
    }
}
