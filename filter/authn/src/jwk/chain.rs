//! A key's certificates (`x5c`) and their thumbprints (`x5t`, `x5t#S256`): they must be well formed and belong to the key.
//! Nothing is trusted for them. Source: RFC 7517, sections 4.7 to 4.9, as go-jose v2.6.3 checks them.

use super::parse::Fields;
use super::{KeyProblem, RawPublicKey};
use crate::base64url;
use crate::x509::Certificate;

pub(super) struct Chain {
    leaf: Option<Certificate>,
    sha1: Vec<u8>,
    sha256: Vec<u8>,
}

impl Chain {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self, KeyProblem> {
        let certificates: Vec<Certificate> = fields
            .strings("x5c")?
            .into_iter()
            .map(Certificate::from_x5c)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            leaf: certificates.into_iter().next(),
            sha1: thumbprint(fields, "x5t", 20)?,
            sha256: thumbprint(fields, "x5t#S256", 32)?,
        })
    }

    /// Checks that the leaf certificate is for `key` and is the one that the thumbprints name.
    pub(super) fn check(&self, key: &RawPublicKey) -> Result<(), KeyProblem> {
        let Some(leaf) = &self.leaf else { return Ok(()) };
        if leaf.spki_der() != key.spki_der()? {
            return Err(KeyProblem::Mismatch("x5c"));
        }
        if !self.sha1.is_empty() && self.sha1 != leaf.sha1() {
            return Err(KeyProblem::Mismatch("x5t"));
        }
        if !self.sha256.is_empty() && self.sha256 != leaf.sha256() {
            return Err(KeyProblem::Mismatch("x5t#S256"));
        }
        Ok(())
    }
}

/// A thumbprint of `length` bytes. Some issuers encode its hexadecimal form; an empty one counts as none.
fn thumbprint(
    fields: &Fields<'_>,
    name: &'static str,
    length: usize,
) -> Result<Vec<u8>, KeyProblem> {
    let malformed = || KeyProblem::Malformed(name);
    let bytes = base64url::decode(fields.string(name)?.as_bytes()).map_err(|_| malformed())?;
    let bytes =
        if bytes.len() == 2 * length { unhex(&bytes).ok_or_else(malformed)? } else { bytes };
    if bytes.is_empty() || bytes.len() == length { Ok(bytes) } else { Err(malformed()) }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}
