//! JWTs that say who asks for a token (RFC 7523, section 3), signed with the key of a file.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway_core::config::{AssertionGrant, SignedAssertion};
use p256::ecdsa::Signature;
use rustls::{
    SignatureScheme,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::SigningKey,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// For how long an assertion is good. Issuers take up to an hour, or less; it is used at once.
const LIFETIME: Duration = Duration::from_secs(300);
/// The algorithms that issuers take, the usual one first.
const ALGORITHMS: [(SignatureScheme, &str); 2] = [
    (SignatureScheme::RSA_PKCS1_SHA256, "RS256"),
    (SignatureScheme::ECDSA_NISTP256_SHA256, "ES256"),
];

/// A private key that signs assertions.
pub struct Key {
    signing: Arc<dyn SigningKey>,
    scheme: SignatureScheme,
    algorithm: &'static str,
    /// Its id, where the file has one.
    id: String,
}

/// Why nothing is signed. Nothing of the key is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no key in it.
    #[error(
        "it holds no private key: {0}; it must be PEM (PKCS #8, PKCS #1 or SEC 1), or the JSON of a Google service account"
    )]
    None(String),
    /// The key is of another kind.
    #[error("its key is of no kind that signs here: RSA from 2048 bits, or P-256")]
    Kind,
    /// It does not sign.
    #[error("its key does not sign: {0}")]
    Sign(String),
}

/// What Google's console gives for a service account.
#[derive(Deserialize)]
struct ServiceAccount {
    private_key: String,
    #[serde(default)]
    private_key_id: String,
}

impl Key {
    /// The key of a file's text.
    ///
    /// # Errors
    /// If there is none that signs.
    pub fn read(text: &[u8]) -> Result<Self, KeyError> {
        let none = |why: &dyn std::fmt::Display| KeyError::None(why.to_string());
        let (pem, id) = if text.trim_ascii_start().starts_with(b"{") {
            // What serde says might have a piece of the key in it.
            let account: ServiceAccount = serde_json::from_slice(text).map_err(|_| {
                none(&"it is JSON without the texts private_key and private_key_id")
            })?;
            (account.private_key.into_bytes(), account.private_key_id)
        } else {
            (text.to_vec(), String::new())
        };
        let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| none(&error))?;
        let key = ring::sign::any_supported_type(&der).map_err(|_| KeyError::Kind)?;
        let found = ALGORITHMS.iter().find(|(scheme, _)| key.choose_scheme(&[*scheme]).is_some());
        let (scheme, algorithm) = *found.ok_or(KeyError::Kind)?;
        Ok(Self { signing: key, scheme, algorithm, id })
    }

    /// An assertion.
    ///
    /// # Errors
    /// If the key does not sign.
    pub fn assertion(&self, about: &SignedAssertion, now: Duration) -> Result<String, KeyError> {
        let sign = |why: &dyn std::fmt::Display| KeyError::Sign(why.to_string());
        let mut random = [0; 16];
        let provider = ring::default_provider();
        provider.secure_random.fill(&mut random).map_err(|_| sign(&"no randomness"))?;
        let message = [self.header(about), claims(about, now, &random)]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".");
        let signer = self.signing.choose_scheme(&[self.scheme]).ok_or(KeyError::Kind)?;
        let mut signature = signer.sign(message.as_bytes()).map_err(|error| sign(&error))?;
        if self.scheme == SignatureScheme::ECDSA_NISTP256_SHA256 {
            // JWS has the two numbers side by side (RFC 7518, section 3.4), TLS has them in DER.
            let read = Signature::from_der(&signature).map_err(|error| sign(&error))?;
            signature = read.to_bytes().to_vec();
        }
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn header(&self, about: &SignedAssertion) -> Value {
        let mut header = json!({"alg": self.algorithm, "typ": "JWT"});
        let id = if about.key_id.is_empty() { &self.id } else { &about.key_id };
        if !id.is_empty() {
            header["kid"] = json!(id);
        }
        header
    }
}

fn claims(about: &SignedAssertion, now: Duration, random: &[u8]) -> Value {
    let audience = if about.audience.is_empty() { &about.token_endpoint } else { &about.audience };
    let mut claims = json!({
        "iss": about.client_id,
        "aud": audience,
        "iat": now.as_secs(),
        "exp": (now + LIFETIME).as_secs(),
        "jti": URL_SAFE_NO_PAD.encode(random),
    });
    match about.grant {
        AssertionGrant::ClientCredentials => claims["sub"] = json!(about.client_id),
        AssertionGrant::JwtBearer => {
            if !about.subject.is_empty() {
                claims["sub"] = json!(about.subject);
            }
            // Google wants the scopes here and not in the form.
            claims["scope"] = json!(about.scopes.join(" "));
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use p256::{
        ecdsa::{SigningKey, VerifyingKey, signature::Verifier},
        pkcs8::{EncodePrivateKey, LineEnding},
    };

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_slice(&[7; 32]).unwrap()
    }

    fn pem() -> String {
        key().to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
    }

    fn about(grant: AssertionGrant) -> SignedAssertion {
        SignedAssertion {
            token_endpoint: "https://login.example/token".to_owned(),
            client_id: "gateway".to_owned(),
            scopes: vec!["a".to_owned(), "b".to_owned()],
            grant,
            ..SignedAssertion::default()
        }
    }

    fn parts(assertion: &str) -> (Value, Value) {
        let parts: Vec<_> = assertion.split('.').collect();
        let read =
            |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        let (message, signature) = assertion.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        VerifyingKey::from(&key()).verify(message.as_bytes(), &signature).unwrap();
        (read(parts[0]), read(parts[1]))
    }

    #[test]
    fn an_assertion_says_who_asks_and_is_signed() {
        let now = Duration::from_secs(1_000_000);
        let signer = Key::read(pem().as_bytes()).unwrap();
        let mut client = about(AssertionGrant::ClientCredentials);
        client.key_id = "k1".to_owned();
        let (header, claims) = parts(&signer.assertion(&client, now).unwrap());
        assert_eq!(header, json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}));
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("gateway"), &json!("gateway")));
        assert_eq!(claims["aud"], "https://login.example/token");
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_000_000), &json!(1_000_300)));
        assert!(claims.get("scope").is_none());

        let mut bearer = about(AssertionGrant::JwtBearer);
        bearer.audience = "https://other.example".to_owned();
        let (_, alone) = parts(&signer.assertion(&bearer, now).unwrap());
        assert!(alone.get("sub").is_none() && alone["scope"] == "a b", "{alone}");
        assert_eq!(alone["aud"], "https://other.example");
        bearer.subject = "admin@a.example".to_owned();
        let (_, delegated) = parts(&signer.assertion(&bearer, now).unwrap());
        assert_eq!(delegated["sub"], "admin@a.example");
        assert_ne!(alone["jti"], delegated["jti"], "each is used once");
    }

    #[test]
    fn a_google_key_file_has_its_id() {
        let file = json!({"type": "service_account", "private_key": pem(), "private_key_id": "g"});
        let signer = Key::read(file.to_string().as_bytes()).unwrap();
        let about = about(AssertionGrant::JwtBearer);
        let (header, _) = parts(&signer.assertion(&about, Duration::ZERO).unwrap());
        assert_eq!(header["kid"], "g");
    }

    #[test]
    fn what_is_no_key_says_so_and_nothing_of_itself() {
        let pem = pem();
        let half = pem.replace("-----END", "-----ND");
        let secret = pem.lines().nth(1).unwrap();
        let number = json!({"private_key": 7, "x": secret}).to_string();
        for text in ["", "{}", &half, &number, "hello"] {
            let error = Key::read(text.as_bytes()).err().expect("no key").to_string();
            assert!(error.contains("must be PEM"), "{error}");
            assert!(!error.contains(secret), "{error}");
        }
    }
}
