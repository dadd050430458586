//! Signatures: Envoy's BoringSSL where it can, software in Wasm where it cannot.
//!
//! Envoy's foreign function `verify_signature` takes some 20 µs for RS256 where Wasm takes 900. It has no RSA-PSS, older
//! Envoys and other hosts may lack it or part of it: so it is asked questions with known answers first, one for each
//! algorithm, and used for those that it answers rightly.

use std::{cell::RefCell, rc::Rc};

use gateway_core::metrics::{Change, Metric, Metrics};
use gateway_hostcalls as hostcalls;
use kube_authn::{
    crypto::{
        Algorithm, CryptoError, Family, SignatureVerifier, SoftwareVerifier, ecdsa_signature_der,
        probe,
    },
    jwks::PublicKey,
};

const FUNCTION: &str = "verify_signature";
/// The result message `{1: true}`: the only answer that means yes.
const YES: &[u8] = &[0x08, 0x01];

thread_local! {
    /// The algorithms that the host does, which are the same for all who ask it.
    static BY_HOST: RefCell<Option<Rc<[Algorithm]>>> = const { RefCell::new(None) };
}

/// How many signatures have been checked, and by whom.
#[derive(Clone, Default)]
pub struct Counts(Rc<RefCell<Metrics>>);

impl Counts {
    /// Takes out what has been counted since the last time. See [`Metrics::take`].
    #[must_use]
    pub fn take(&self, gateway: &str) -> Vec<Change> {
        self.0.borrow_mut().take(&[], gateway)
    }
}

/// Asks the host where it is known to answer rightly, and software otherwise.
pub struct HostVerifier {
    host: Rc<[Algorithm]>,
    software: SoftwareVerifier,
    counts: Counts,
}

impl HostVerifier {
    /// Finds out what the host can do. What is verified is counted in `counts`.
    #[must_use]
    pub fn probe(counts: Counts) -> Self {
        let host = BY_HOST
            .with_borrow_mut(|known| Rc::clone(known.get_or_insert_with(|| probe(&Host).into())));
        Self { host, software: SoftwareVerifier, counts }
    }

    /// The algorithms that the host does.
    #[must_use]
    pub fn by_host(&self) -> &[Algorithm] {
        &self.host
    }
}

impl SignatureVerifier for HostVerifier {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        let by_host = self.host.contains(&algorithm);
        let by = if by_host { "host" } else { "software" };
        self.counts.0.borrow_mut().count(Metric::SignatureChecks, [by, algorithm.as_str()]);
        if by_host {
            Host.verify(algorithm, key, signing_input, signature)
        } else {
            self.software.verify(algorithm, key, signing_input, signature)
        }
    }

    fn is_costly(&self, algorithm: Algorithm) -> bool {
        // BoringSSL has fast code for P-256 alone of the curves: a host, too, takes a millisecond for P-521.
        !self.host.contains(&algorithm) || matches!(algorithm, Algorithm::Es384 | Algorithm::Es512)
    }
}

/// The host alone.
struct Host;

impl SignatureVerifier for Host {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        let der;
        let signature = match algorithm.family() {
            Family::Ecdsa => match ecdsa_signature_der(signature) {
                Some(encoded) => {
                    der = encoded;
                    &der
                }
                None => return Ok(false),
            },
            Family::RsaPkcs1 => signature,
            // The message has no field for the padding: a host would check another scheme than the token's. ML-DSA has no name in it.
            Family::RsaPss | Family::MlDsa => {
                return Err(CryptoError::Unsupported { algorithm, key: key.kind() });
            }
        };
        let Some(hash) = algorithm.hash() else {
            return Err(CryptoError::Unsupported { algorithm, key: key.kind() });
        };
        let parts = signing_input.len().saturating_add(signature.len());
        let mut message = Vec::with_capacity(parts.saturating_add(1024));
        // Envoy, source/extensions/common/wasm/ext/verify_signature.proto
        for (field, bytes) in
            [(1, hash.name().as_bytes()), (2, key.spki_der()), (3, signature), (4, signing_input)]
        {
            push_field(&mut message, field, bytes);
        }
        match hostcalls::call_foreign_function(FUNCTION, &message) {
            Ok(answer) => Ok(answer == YES),
            Err(refused) => Err(CryptoError::Failed(format!("{FUNCTION}: {refused}"))),
        }
    }
}

/// Appends a length-delimited protobuf field.
fn push_field(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push((field << 3) | 2);
    let mut length = bytes.len();
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        if length == 0 {
            message.push(low & 0x7f);
            break;
        }
        message.push(low | 0x80);
    }
    message.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_length_delimited() {
        let mut message = Vec::new();
        push_field(&mut message, 1, b"sha256");
        push_field(&mut message, 4, &[7; 300]);
        assert_eq!(message[..11], *b"\x0a\x06sha256\x22\xac\x02");
        assert_eq!(message.len(), 8 + 3 + 300);
    }
}
