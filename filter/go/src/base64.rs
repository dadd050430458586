//! base64 as Go's `base64.RawURLEncoding` and `base64.StdEncoding` read it: line ends are skipped and the unused bits of
//! the last character may be anything. Both are laxer than RFC 7515, so a token has more than one spelling upstream.

use ::base64::{
    alphabet::{Alphabet, STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig},
};

/// Why text is not base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data")]
pub struct Base64Error;

const URL_SAFE_STRICT: GeneralPurpose = engine(&URL_SAFE, DecodePaddingMode::RequireNone, false);
const URL_SAFE_LAX: GeneralPurpose = engine(&URL_SAFE, DecodePaddingMode::RequireNone, true);
const STANDARD_LAX: GeneralPurpose = engine(&STANDARD, DecodePaddingMode::RequireCanonical, true);

const fn engine(
    alphabet: &Alphabet,
    padding: DecodePaddingMode,
    unused_bits: bool,
) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(unused_bits)
        .with_decode_padding_mode(padding);
    GeneralPurpose::new(alphabet, config)
}

/// What text stands for, and whether it is the only text that should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// What the text encodes.
    pub bytes: Vec<u8>,
    /// Whether the text is what [`encode`] makes of the bytes.
    pub canonical: bool,
}

/// The bytes of unpadded base64url (`RawURLEncoding`).
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    decode_spelling(text).map(|decoded| decoded.bytes)
}

/// The same, and whether this was the bytes' one spelling.
pub fn decode_spelling(text: &[u8]) -> Result<Decoded, Base64Error> {
    if let Ok(bytes) = URL_SAFE_STRICT.decode(text) {
        return Ok(Decoded { bytes, canonical: true });
    }
    let bytes = decode_lax(&URL_SAFE_LAX, text)?;
    Ok(Decoded { bytes, canonical: false })
}

/// The bytes of padded standard base64, as in a JWK's `x5c` (`StdEncoding`).
pub fn decode_standard(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    decode_lax(&STANDARD_LAX, text)
}

/// Unpadded base64url in its one canonical form.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_STRICT.encode(bytes)
}

fn decode_lax(engine: &GeneralPurpose, text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    let is_line_end = |b: &u8| matches!(b, b'\r' | b'\n');
    if text.iter().any(is_line_end) {
        let joined: Vec<u8> = text.iter().filter(|b| !is_line_end(b)).copied().collect();
        return engine.decode(joined).map_err(|_| Base64Error);
    }
    engine.decode(text).map_err(|_| Base64Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn reads_what_go_reads() {
        for (text, want) in [
            (&b"YWJj"[..], Ok(&b"abc"[..])),
            (b"YWI", Ok(b"ab")),
            (b"YWJ", Ok(b"ab")), // unused bits set
            (b"Y\r\nWJj\n", Ok(b"abc")),
            (b"", Ok(b"")),
            (b"-_-_", Ok(b"\xfb\xff\xbf")),
            (b"+/+/", Err(Base64Error)),
            (b"YWI=", Err(Base64Error)),
            (b"YW Jj", Err(Base64Error)),
            (b"Y", Err(Base64Error)),
        ] {
            let decoded = decode_spelling(text);
            let got = decoded.as_ref().map(|decoded| decoded.bytes.as_slice());
            assert_eq!(got, want.as_ref().map(|w| *w), "{text:?}");
            let canonical = decoded.is_ok_and(|decoded| decoded.canonical);
            assert_eq!(
                canonical,
                want.is_ok_and(|want| encode(want).as_bytes() == text),
                "{text:?}"
            );
        }
        assert_eq!(decode_standard(b"+/8=").as_deref(), Ok(&b"\xfb\xff"[..]));
        assert_eq!(decode_standard(b"+/8"), Err(Base64Error));
        assert_eq!(encode(b"\xfb\xff"), "-_8");
    }
}
