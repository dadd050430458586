//! Signatures: by AWS-LC, and by software for a key that it does not take (docs/decisions, 30).

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use gateway_core::metrics::{Metric, Metrics};
use kube_authn::{
    crypto::{Algorithm, CryptoError, SignatureVerifier, SoftwareVerifier},
    jwks::PublicKey,
};

/// How many parsed keys are kept, for each worker: more than most issuers have in use.
const MOST_KEYS: usize = 64;

/// How many signatures have been checked, and by whom.
#[derive(Clone, Default)]
pub struct Counts(Rc<RefCell<Metrics>>);

impl Counts {
    /// Moves what has been counted into `sink`.
    pub fn move_into(&self, sink: &mut Metrics) {
        self.0.borrow_mut().move_into(sink);
    }
}

/// Parsed keys by algorithm and DER.
type Keys = HashMap<(Algorithm, Vec<u8>), Rc<ParsedPublicKey>>;

/// The verifier of the native module.
#[derive(Default)]
pub struct NativeVerifier {
    /// To parse one takes a tenth of a check.
    keys: RefCell<Keys>,
    software: SoftwareVerifier,
    counts: Counts,
}

impl NativeVerifier {
    /// A verifier that counts in `counts`.
    #[must_use]
    pub fn new(counts: Counts) -> Self {
        Self { counts, ..Self::default() }
    }

    /// The key, if AWS-LC takes it for this algorithm.
    fn key(&self, algorithm: Algorithm, key: &PublicKey) -> Option<Rc<ParsedPublicKey>> {
        let mut keys = self.keys.borrow_mut();
        let place = (algorithm, key.spki_der().to_vec());
        if let Some(parsed) = keys.get(&place) {
            return Some(Rc::clone(parsed));
        }
        let parsed = Rc::new(ParsedPublicKey::new(scheme(algorithm), key.spki_der()).ok()?);
        if keys.len() >= MOST_KEYS {
            keys.clear();
        }
        keys.insert(place, Rc::clone(&parsed));
        Some(parsed)
    }
}

impl SignatureVerifier for NativeVerifier {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        let parsed = self.key(algorithm, key);
        let by = if parsed.is_some() { "host" } else { "software" };
        self.counts.0.borrow_mut().count(Metric::SignatureChecks, [by, algorithm.as_str()]);
        match parsed {
            Some(parsed) => Ok(parsed.verify_sig(signing_input, signature).is_ok()),
            None => self.software.verify(algorithm, key, signing_input, signature),
        }
    }

    fn is_costly(&self, algorithm: Algorithm) -> bool {
        // P-521 takes some twenty times what RS256 takes.
        algorithm == Algorithm::Es512
    }
}

/// AWS-LC's name of an algorithm.
fn scheme(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::MlDsa44 => &signature::ML_DSA_44,
        Algorithm::MlDsa65 => &signature::ML_DSA_65,
        Algorithm::MlDsa87 => &signature::ML_DSA_87,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::HashSet, time::Duration};

    use kube_authn::{
        Rules, UnverifiedToken,
        config::{self, LoadOptions},
        crypto::{known_answers, probe},
        discovery,
        jwks::{KeySet, KeySetLimits},
        token::TokenLimits,
    };
    use serde_json::Value;

    use super::*;

    /// When the tokens of the corpus are judged.
    const NOW: Duration = Duration::from_secs(4_000_000_000);

    /// Those of ML-DSA are in the corpus below.
    #[test]
    fn known_answers_are_given() {
        let native = NativeVerifier::default();
        let mut known = probe(&native);
        known.sort_unstable();
        let want: Vec<_> =
            Algorithm::ALL.into_iter().filter(|algorithm| algorithm.hash().is_some()).collect();
        assert_eq!(known, want);
        for answer in known_answers() {
            assert!(native.key(answer.algorithm, &answer.key).is_some(), "{}", answer.algorithm);
        }
    }

    #[test]
    fn keys_are_parsed_once_and_bounded() {
        let native = NativeVerifier::default();
        for answer in known_answers().into_iter().chain(known_answers()) {
            let _ = native.key(answer.algorithm, &answer.key);
        }
        assert_eq!(native.keys.borrow().len(), known_answers().len());
    }

    type Question = (Algorithm, Vec<u8>, Vec<u8>);

    /// Asks both forms, and fails where one says yes and the other no.
    #[derive(Default)]
    struct Both {
        native: NativeVerifier,
        asked: RefCell<HashSet<Question>>,
        /// Of which algorithm a signature was good.
        taken: RefCell<HashSet<Algorithm>>,
        good: Cell<usize>,
        bad: Cell<usize>,
    }

    impl Both {
        fn compare(&self, algorithm: Algorithm, key: &PublicKey, input: &[u8], signature: &[u8]) {
            let software = SoftwareVerifier.verify(algorithm, key, input, signature);
            let native = self.native.verify(algorithm, key, input, signature);
            match (software, native) {
                (Ok(software), Ok(native)) => {
                    assert_eq!(native, software, "{algorithm} {signature:02x?}");
                    assert!(self.native.key(algorithm, key).is_some(), "{algorithm}");
                    if native {
                        self.taken.borrow_mut().insert(algorithm);
                    }
                    let counter = if native { &self.good } else { &self.bad };
                    counter.set(counter.get() + 1);
                }
                // Keys longer than 4096 bits are too much for software, and none for a host.
                (Err(CryptoError::Unsupported { .. }), Ok(_)) => {}
                (software, native) => panic!("{algorithm}: {software:?}, {native:?}"),
            }
        }
    }

    impl SignatureVerifier for Both {
        fn verify(
            &self,
            algorithm: Algorithm,
            key: &PublicKey,
            input: &[u8],
            signature: &[u8],
        ) -> Result<bool, CryptoError> {
            let asked = (algorithm, key.spki_der().to_vec(), signature.to_vec());
            if self.asked.borrow_mut().insert(asked) {
                self.compare(algorithm, key, input, signature);
            }
            self.native.verify(algorithm, key, input, signature)
        }
    }

    /// The corpus whose tokens kube-apiserver has judged (tests/conformance): what the Wasm filter's software takes and refuses, this
    /// takes and refuses.
    #[test]
    fn both_forms_take_and_refuse_the_same_tokens() {
        const CORPUS: &str = include_str!("../../../tests/conformance/tokens/tokens.jsonl");
        let (both, rules) = (Both::default(), Rules::V1_38);
        let key_set = |document: &str| {
            KeySet::parse(document.as_bytes(), KeySetLimits::default(), rules).unwrap_or_default()
        };
        let (mut taken, mut refused) = (0, 0);
        for line in CORPUS.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let options = LoadOptions { rules, ..LoadOptions::default() };
            let configuration =
                config::load(case["config"].to_string().as_bytes(), &options).unwrap();
            for bearer in case["tokens"].as_array().unwrap() {
                let token = bearer["token"].as_str().unwrap();
                let Ok(token) = UnverifiedToken::parse(token.as_bytes(), &TokenLimits::default())
                else {
                    continue;
                };
                let Some((_, jwt)) = configuration.authenticator_for(&token) else { continue };
                let keys = key_set(case["jwks"][jwt.issuer_url()].as_str().unwrap());
                let verified = jwt.verify(&token, &keys, &both, NOW, &Algorithm::ALL);
                // Groups that another issuer has signed.
                if let Ok(verified) = &verified
                    && let Ok(Some(source)) = jwt.groups_source(verified)
                    && let Some(body) = case["http"][&source.endpoint].as_str()
                    && let Ok(groups) =
                        UnverifiedToken::parse(body.as_bytes(), &TokenLimits::default())
                    && let Some(document) =
                        case["http"][discovery::well_known_url(groups.issuer())].as_str()
                    && let Ok(document) = discovery::parse(document.as_bytes(), groups.issuer())
                    && let Some(keys) = case["http"][&document.jwks_uri].as_str()
                {
                    let keys = key_set(keys);
                    let _ = jwt.verify_groups_token(&groups, &keys, &both, NOW, &Algorithm::ALL);
                }
                *(if verified.is_ok() { &mut taken } else { &mut refused }) += 1;
            }
        }
        assert!(taken > 1000 && refused > 1000, "{taken}, {refused}");
        assert_eq!(both.taken.borrow().len(), Algorithm::ALL.len());
        assert!(both.good.get() > 500 && both.bad.get() > 30, "{:?}, {:?}", both.good, both.bad);
    }

    /// Signatures that no honest signer makes, and such as differ in one bit.
    #[test]
    fn both_forms_say_the_same_of_odd_signatures() {
        let both = Both::default();
        for answer in known_answers() {
            let (algorithm, key, input) = (answer.algorithm, &answer.key, answer.signing_input);
            let good = answer.signature;
            both.compare(algorithm, key, input, &good);
            both.compare(algorithm, key, b"", &good);
            let half = good.len() / 2;
            let mut odd = vec![vec![0; good.len()], vec![0xff; good.len()]];
            // One of the two numbers of ECDSA is zero, or the greatest.
            for byte in [0, 0xff] {
                let mut first = good.clone();
                first[..half].fill(byte);
                let mut second = good.clone();
                second[half..].fill(byte);
                odd.extend([first, second]);
            }
            for bit in (0..good.len() * 8).step_by(97) {
                let mut flipped = good.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                odd.push(flipped);
            }
            for signature in &odd {
                both.compare(algorithm, key, input, signature);
            }
        }
        assert_eq!(both.good.get(), known_answers().len());
        assert!(both.bad.get() > 200);
    }
}
