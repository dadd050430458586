//! A key's certificates (`x5c`) and their thumbprints (`x5t`, `x5t#S256`): they must be well formed and belong to the key.
//! Nothing is trusted for them. Source: RFC 7517, sections 4.7 to 4.9, as go-jose v2.6.3 checks them.

use go_compat::base64;

use super::{KeyProblem, RawPublicKey, parse::Fields};
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
    let bytes = base64::decode(fields.string(name)?.as_bytes()).map_err(|_| malformed())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::Jwk;
    use go_compat::json::{self, Limits, Value};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const KEY: &str = r#""kty":"EC","crv":"P-256","x":"pmxzw9vCl5J9nRnsYb-GB7uG4pnv-p0UoGo_25B5-Ao","y":"ZsTitAPBKTLt281vhEWsMf3Xg65ejtOyFFCFxXhl1Ao""#;
    /// A self-signed certificate for [`KEY`].
    const CERTIFICATE: &str = "MIIBhDCCASmgAwIBAgIUTpa7z3emOZwQu+jXx7NCEq6pKgswCgYIKoZIzj0EAwIwFjEUMBIGA1UEAwwLc2lnbmluZyBrZXkwIBcNMjYxMTIyMTUyNTA4WhgPMjEyNjEwMjkxNTI1MDhaMBYxFDASBgNVBAMMC3NpZ25pbmcga2V5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEpmxzw9vCl5J9nRnsYb+GB7uG4pnv+p0UoGo/25B5+ApmxOK0A8EpMu3bzW+ERawx/deDrl6O07IUUIXFeGXUCqNTMFEwHQYDVR0OBBYEFH2O0Yv2T9b2V7lIyzK7T1ZBe7SIMB8GA1UdIwQYMBaAFH2O0Yv2T9b2V7lIyzK7T1ZBe7SIMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAP9PedjI3VwzZJ3kU09Q/wQJ4LYZJaVm5+jEv7KB+IldAiEAnlH9pguL/IURmhjyMbxkamw+XQXA1UA2GRDXwePn3/Q=";
    const SHA1: &str = "GmzRvqAlPiTrgSU51RluOOs16ho";
    const SHA256: &str = "eLa7hK-ruFEYA1EWzb3ZC3Mvb5y5cJZtQ_8bVQxzXJo";
    /// The SHA-1 thumbprint as some issuers have it: its hexadecimal digits, encoded.
    const SHA1_HEX: &str = "MWE2Y2QxYmVhMDI1M2UyNGViODEyNTM5ZDUxOTZlMzhlYjM1ZWExYQ";

    fn parse(members: &str) -> Result<(), KeyProblem> {
        let limits = Limits { depth: 4, values: 50 };
        let Ok(Value::Object(members)) = json::parse(format!("{{{members}}}").as_bytes(), limits)
        else {
            panic!("not an object: {members}");
        };
        Jwk::parse(&members, kube_rules::Rules::default()).map(|_| ())
    }

    #[test]
    fn chains_belong_to_their_key() {
        let other = crate::testing::jwk("a");
        let other = other.trim_matches(['{', '}']);
        let malformed = |name| Err(KeyProblem::Malformed(name));
        for (members, want) in [
            (format!(r#"{KEY},"x5c":["{CERTIFICATE}"]"#), Ok(())),
            (
                format!(r#"{KEY},"x5c":["{CERTIFICATE}"],"x5t":"{SHA1}","x5t#S256":"{SHA256}""#),
                Ok(()),
            ),
            (format!(r#"{KEY},"x5c":["{CERTIFICATE}"],"x5t":"{SHA1_HEX}""#), Ok(())),
            (format!(r#"{KEY},"x5c":[],"x5t":"""#), Ok(())),
            (format!(r#"{KEY},"x5c":null"#), Ok(())),
            (format!(r#"{KEY},"x5t":"AAAAAAAAAAAAAAAAAAAAAAAAAAA""#), Ok(())), // nothing to compare with
            (format!(r#"{other},"x5c":["{CERTIFICATE}"]"#), Err(KeyProblem::Mismatch("x5c"))),
            (
                format!(r#"{KEY},"x5c":["{CERTIFICATE}"],"x5t":"AAAAAAAAAAAAAAAAAAAAAAAAAAA""#),
                Err(KeyProblem::Mismatch("x5t")),
            ),
            (
                format!(
                    r#"{KEY},"x5c":["{CERTIFICATE}"],"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#
                ),
                Err(KeyProblem::Mismatch("x5t#S256")),
            ),
            (format!(r#"{KEY},"x5t":"AAAA""#), malformed("x5t")),
            (format!(r#"{KEY},"x5t#S256":"!""#), malformed("x5t#S256")),
            (format!(r#"{KEY},"x5c":"{CERTIFICATE}""#), malformed("x5c")),
            (format!(r#"{KEY},"x5c":[1]"#), malformed("x5c")),
            (
                format!(r#"{KEY},"x5c":["{CERTIFICATE}","AAAA"]"#), // all of them are parsed
                Err(KeyProblem::Certificate(crate::x509::MalformedCertificate)),
            ),
        ] {
            assert_eq!(parse(&members), want, "{members}");
        }
    }
}
