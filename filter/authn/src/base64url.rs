//! base64 as Go's `base64.RawURLEncoding` and `base64.StdEncoding` read it: line ends are skipped and the unused bits of
//! the last character may be anything. Both are laxer than RFC 7515, so a token has more than one spelling upstream.

use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

/// Why text is not base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data")]
pub struct Base64Error;

const URL_SAFE_LAX: GeneralPurpose = engine(&URL_SAFE, DecodePaddingMode::RequireNone);
const STANDARD_LAX: GeneralPurpose = engine(&STANDARD, DecodePaddingMode::RequireCanonical);

const fn engine(alphabet: &Alphabet, padding: DecodePaddingMode) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(padding);
    GeneralPurpose::new(alphabet, config)
}

/// The bytes of unpadded base64url.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    decode_with(&URL_SAFE_LAX, text)
}

/// The bytes of padded standard base64, as in a JWK's `x5c`.
pub fn decode_standard(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    decode_with(&STANDARD_LAX, text)
}

/// Unpadded base64url in its one canonical form.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_LAX.encode(bytes)
}

fn decode_with(engine: &GeneralPurpose, text: &[u8]) -> Result<Vec<u8>, Base64Error> {
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
            assert_eq!(decode(text).as_deref(), want.as_ref().map(|w| *w), "{text:?}");
        }
        assert_eq!(decode_standard(b"+/8=").as_deref(), Ok(&b"\xfb\xff"[..]));
        assert_eq!(decode_standard(b"+/8"), Err(Base64Error));
        assert_eq!(encode(b"\xfb\xff"), "-_8");
    }
}
