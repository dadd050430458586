//! X.509 certificates where upstream parses them: in a configuration's certificate authority, in a key's `x5c` and in a
//! token's header. They are parsed to be refused where Go refuses them; trust in them is the business of TLS.
//!
//! What is asked of one is its shape (RFC 5280, section 4.1) and its key. So it is walked through, and no tree is made of it.

use der::{
    AnyRef, Reader as _, SliceReader, Tag,
    asn1::{GeneralizedTime, ObjectIdentifier, UtcTime},
};
use go_compat::base64;
use sha1::{Digest, Sha1};
use sha2::{Digest as _, Sha256};

/// Bytes of a serial number: 20, and one for the sign, which some do not count.
const MOST_SERIAL: usize = 21;

/// Go's text for DER that is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("x509: malformed certificate")]
pub struct MalformedCertificate;

/// What is asked of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    der: Vec<u8>,
    spki_der: Vec<u8>,
}

impl Certificate {
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, MalformedCertificate> {
        let key = certificate(der)?;
        Ok(Self { der: der.to_vec(), spki_der: key.to_vec() })
    }

    /// A certificate as in `x5c` (RFC 7515, section 4.1.6): base64, not base64url.
    pub(crate) fn from_x5c(text: &str) -> Result<Self, MalformedCertificate> {
        let der = base64::decode_standard(text.as_bytes()).map_err(|_| MalformedCertificate)?;
        Self::from_der(&der)
    }

    /// Its public key as DER `SubjectPublicKeyInfo`.
    pub(crate) fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    pub(crate) fn sha1(&self) -> Vec<u8> {
        Sha1::digest(&self.der).to_vec()
    }

    pub(crate) fn sha256(&self) -> Vec<u8> {
        Sha256::digest(&self.der).to_vec()
    }
}

type Parsed<T> = Result<T, MalformedCertificate>;

/// Walks through a certificate. Gives its `SubjectPublicKeyInfo`.
fn certificate(der: &[u8]) -> Parsed<&[u8]> {
    let mut whole = Values::of(der)?;
    let mut certificate = whole.sequence()?;
    whole.end()?;
    let key = to_be_signed(certificate.sequence()?)?;
    certificate.algorithm()?;
    certificate.bit_string()?;
    certificate.end()?;
    Ok(key)
}

fn to_be_signed(mut fields: Values<'_>) -> Parsed<&[u8]> {
    if let Some(version) = fields.optional(0, true)? {
        let mut version = Values::of(version)?;
        holds(matches!(version.tagged(Tag::Integer)?, [0..=2]))?;
        version.end()?;
    }
    let serial = fields.tagged(Tag::Integer)?;
    // The shortest form: a first byte that repeats the sign of the second says nothing.
    let is_short = !matches!(serial, [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..]);
    holds(is_short && serial.len() <= MOST_SERIAL)?;
    fields.algorithm()?;
    fields.name()?;
    let mut validity = fields.sequence()?;
    validity.time()?;
    validity.time()?;
    validity.end()?;
    fields.name()?;
    let key = fields.0.tlv_bytes().map_err(|_| MalformedCertificate)?;
    let mut key_info = Values::of(key)?.sequence()?;
    key_info.algorithm()?;
    key_info.bit_string()?;
    key_info.end()?;
    for unique_id in [1, 2] {
        if let Some(id) = fields.optional(unique_id, false)? {
            bit_string(id)?;
        }
    }
    if let Some(extensions) = fields.optional(3, true)? {
        let mut extensions = Values::of(extensions)?;
        let mut each = extensions.sequence()?;
        extensions.end()?;
        while !each.is_empty() {
            each.extension()?;
        }
    }
    fields.end()?;
    Ok(key)
}

fn holds(condition: bool) -> Parsed<()> {
    if condition { Ok(()) } else { Err(MalformedCertificate) }
}

/// How many bits of the last byte do not count, and the bytes.
fn bit_string(value: &[u8]) -> Parsed<()> {
    holds(matches!(value, [0] | [0..=7, _, ..]))
}

/// DER values, one after the other.
struct Values<'d>(SliceReader<'d>);

impl<'d> Values<'d> {
    fn of(bytes: &'d [u8]) -> Parsed<Self> {
        SliceReader::new(bytes).map(Self).map_err(|_| MalformedCertificate)
    }

    fn is_empty(&self) -> bool {
        self.0.is_finished()
    }

    fn end(&self) -> Parsed<()> {
        holds(self.is_empty())
    }

    fn any(&mut self) -> Parsed<AnyRef<'d>> {
        self.0.decode().map_err(|_| MalformedCertificate)
    }

    fn tagged(&mut self, tag: Tag) -> Parsed<&'d [u8]> {
        let value = self.any()?;
        holds(der::Tagged::tag(&value) == tag)?;
        Ok(value.value())
    }

    fn sequence(&mut self) -> Parsed<Self> {
        Self::of(self.tagged(Tag::Sequence)?)
    }

    /// The field with this number, if it is there. Fields with lower numbers, which had their turn, are passed over.
    fn optional(&mut self, number: u8, is_constructed: bool) -> Parsed<Option<&'d [u8]>> {
        while let Some(octet) = self.0.peek_byte() {
            let (class, found) = (octet & 0xc0, octet & 0x1f);
            if class != 0x80 || found > number {
                break;
            }
            let value = self.any()?;
            if found == number {
                holds((octet & 0x20 != 0) == is_constructed)?;
                return Ok(Some(value.value()));
            }
        }
        Ok(None)
    }

    fn identifier(&mut self) -> Parsed<()> {
        let identifier = ObjectIdentifier::from_bytes(self.tagged(Tag::ObjectIdentifier)?);
        identifier.map(drop).map_err(|_| MalformedCertificate)
    }

    fn bit_string(&mut self) -> Parsed<()> {
        bit_string(self.tagged(Tag::BitString)?)
    }

    /// An identifier, and parameters or none.
    fn algorithm(&mut self) -> Parsed<()> {
        let mut algorithm = self.sequence()?;
        algorithm.identifier()?;
        if !algorithm.is_empty() {
            algorithm.any()?;
        }
        algorithm.end()
    }

    /// A sequence of sets of attributes.
    fn name(&mut self) -> Parsed<()> {
        let mut sets = self.sequence()?;
        while !sets.is_empty() {
            let mut attributes = Self::of(sets.tagged(Tag::Set)?)?;
            while !attributes.is_empty() {
                let mut attribute = attributes.sequence()?;
                attribute.identifier()?;
                attribute.any()?;
                attribute.end()?;
            }
        }
        Ok(())
    }

    fn time(&mut self) -> Parsed<()> {
        let time = self.any()?;
        holds(time.decode_as::<UtcTime>().is_ok() || time.decode_as::<GeneralizedTime>().is_ok())
    }

    fn extension(&mut self) -> Parsed<()> {
        let mut extension = self.sequence()?;
        extension.identifier()?;
        if extension.0.peek_byte() == Some(Tag::Boolean.octet()) {
            holds(matches!(extension.tagged(Tag::Boolean)?, [0 | 0xff]))?;
        }
        extension.tagged(Tag::OctetString)?;
        extension.end()
    }
}

#[cfg(test)]
mod tests {
    use der::{Decode, Encode};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The key that a library finds which makes a tree of the certificate.
    fn by_library(der: &[u8]) -> Option<Vec<u8>> {
        let parsed = x509_cert::Certificate::from_der(der).ok()?;
        parsed.tbs_certificate.subject_public_key_info.to_der().ok()
    }

    #[test]
    fn every_wrong_byte_is_refused_as_by_a_library() {
        let text = include_str!("../tests/keys/certificate.txt");
        let good = base64::decode_standard(text.trim().as_bytes()).unwrap();
        assert!(by_library(&good).is_some());
        let (mut refused, mut wrong) = (0, good.clone());
        for place in 0..good.len() {
            let bits = (0..8).map(|bit| good[place] ^ (1 << bit));
            for byte in bits.chain([0, 0x7f, 0x80, 0xff]) {
                wrong[place] = byte;
                let found = Certificate::from_der(&wrong).ok().map(|found| found.spki_der);
                refused += u32::from(found.is_none());
                assert_eq!(found, by_library(&wrong), "byte {place}: {byte:#x}");
            }
            wrong[place] = good[place];
        }
        assert!(refused > 500, "{refused}");
        for length in 0..good.len() {
            assert_eq!(Certificate::from_der(&good[..length]), Err(MalformedCertificate));
        }
        let longer = [&good[..], &[0]].concat();
        assert_eq!(Certificate::from_der(&longer), Err(MalformedCertificate));
    }
}
