//! The payload of a JSON Web Token, read without looking at its signature.
//!
//! What is read here decides nothing about trust: it shows claims, and tells when a token that was verified before it was
//! stored runs out. Verification is in [`crate::verify`].

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// Why a string is not a JSON Web Token in the compact form (RFC 7519, section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Not three parts with two dots between them.
    #[error("it is not a JSON Web Token but opaque")]
    Opaque,
    /// The middle part is not unpadded base64url of a JSON object.
    #[error("its payload is not a JSON object")]
    Payload,
    /// No `exp`, or one that is no date.
    #[error("it has no expiry (claim \"exp\")")]
    NoExpiry,
}

/// The claims of a token.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    claims: Map<String, Value>,
    expiry: DateTime<Utc>,
}

impl Claims {
    /// Reads the payload of `token`.
    ///
    /// # Errors
    /// If `token` is no JWT or has no expiry: the cluster would refuse such a token, and nobody could tell how long to
    /// keep it.
    pub fn of(token: &str) -> Result<Self, ClaimsError> {
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ClaimsError::Opaque);
        };
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| ClaimsError::Payload)?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&payload).map_err(|_| ClaimsError::Payload)?;
        let expiry = claims.get("exp").and_then(date).ok_or(ClaimsError::NoExpiry)?;
        Ok(Self { claims, expiry })
    }

    /// When the token runs out, to the second.
    #[must_use]
    pub fn expiry(&self) -> DateTime<Utc> {
        self.expiry
    }

    /// When the token was issued, if it says so.
    #[must_use]
    pub fn issued_at(&self) -> Option<DateTime<Utc>> {
        self.claims.get("iat").and_then(date)
    }

    /// When the person logged in, if the token says so (OpenID Connect Core 1.0, section 2: `auth_time`).
    #[must_use]
    pub fn logged_in_at(&self) -> Option<DateTime<Utc>> {
        self.claims.get("auth_time").and_then(date)
    }

    /// The claim `name` if it is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// The audiences: `aud` is one string or a list of them.
    #[must_use]
    pub fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The issuer says that it has not checked the e-mail address, which kube-apiserver refuses if it takes the user name
    /// from it. (`email_verified` that is absent counts as checked there.)
    #[must_use]
    pub fn email_unverified(&self) -> bool {
        self.claims.contains_key("email")
            && matches!(self.claims.get("email_verified"), Some(v) if v != &Value::Bool(true))
    }

    /// What to call the person on a page or in a line: the best name the token offers.
    #[must_use]
    pub fn display_name(&self) -> &str {
        ["name", "preferred_username", "email", "sub"]
            .iter()
            .find_map(|claim| self.text(claim).filter(|value| !value.is_empty()))
            .unwrap_or_default()
    }

    /// The name by which the person logs in, as far as the token has it.
    #[must_use]
    pub fn account_name(&self) -> Option<&str> {
        ["preferred_username", "email"]
            .iter()
            .find_map(|claim| self.text(claim).filter(|value| !value.is_empty()))
    }

    /// All claims, for those who print them.
    #[must_use]
    pub fn all(&self) -> &Map<String, Value> {
        &self.claims
    }
}

/// A date in seconds (RFC 7519, section 2, `NumericDate`), fractions cut off so that a token never seems to live longer.
fn date(value: &Value) -> Option<DateTime<Utc>> {
    #[expect(clippy::cast_possible_truncation, reason = "a fraction is cut, an overflow saturates")]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|float| float.floor() as i64))?;
    DateTime::from_timestamp(seconds, 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A token with these claims and no signature worth the name.
    pub(crate) fn unsigned(claims: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn expiry_is_read_to_the_second() {
        for (exp, want) in [
            (r#"{"exp":1700000000}"#, Ok(1_700_000_000)),
            (r#"{"exp":1700000000.9}"#, Ok(1_700_000_000)), // never later than the token says
            (r#"{"exp":"1700000000"}"#, Err(ClaimsError::NoExpiry)),
            (r#"{"exp":1e300}"#, Err(ClaimsError::NoExpiry)),
            (r#"{"sub":"a"}"#, Err(ClaimsError::NoExpiry)),
            ("[]", Err(ClaimsError::Payload)),
        ] {
            let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(exp));
            assert_eq!(Claims::of(&token).map(|claims| claims.expiry().timestamp()), want, "{exp}");
        }
    }

    #[test]
    fn what_is_not_three_parts_is_opaque() {
        for token in ["", "abc", "a.b", "a.b.c.d", "a.b.c.d.e"] {
            assert_eq!(Claims::of(token), Err(ClaimsError::Opaque), "{token}");
        }
        assert_eq!(Claims::of("a.!.c"), Err(ClaimsError::Payload));
    }

    #[test]
    fn one_audience_or_many() {
        for (aud, want) in [
            (serde_json::json!("a"), vec!["a"]),
            (serde_json::json!(["a", "b"]), vec!["a", "b"]),
            (serde_json::json!(7), vec![]),
        ] {
            let claims = Claims::of(&unsigned(&serde_json::json!({"exp": 1, "aud": aud}))).unwrap();
            assert_eq!(claims.audiences(), want);
        }
    }

    #[test]
    fn an_email_counts_as_checked_unless_the_issuer_denies_it() {
        for (claims, want) in [
            (serde_json::json!({"exp": 1, "email": "a@b", "email_verified": false}), true),
            (serde_json::json!({"exp": 1, "email": "a@b", "email_verified": "true"}), true), // a string is no bool
            (serde_json::json!({"exp": 1, "email": "a@b", "email_verified": true}), false),
            (serde_json::json!({"exp": 1, "email": "a@b"}), false),
            (serde_json::json!({"exp": 1, "email_verified": false}), false),
        ] {
            assert_eq!(
                Claims::of(&unsigned(&claims)).unwrap().email_unverified(),
                want,
                "{claims}"
            );
        }
    }
}
