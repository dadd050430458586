//! Small encodings and randomness that several modules share.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::rand::{SecureRandom, SystemRandom};

/// Unpadded base64url (RFC 7515, section 2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of unpadded base64url, or `None` if it is not that.
pub(crate) fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The bytes of ordinary base64, as in HTTP Basic (RFC 7617), or `None` if it is not that.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// 128 random bits as text: key ids, `jti`, session and client identifiers.
pub(crate) fn random_id() -> String {
    base64url(&random_bytes::<16>())
}

/// 256 random bits as text: codes, access and refresh tokens.
pub(crate) fn random_secret() -> String {
    base64url(&random_bytes::<32>())
}
