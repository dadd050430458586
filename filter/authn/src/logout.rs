//! Logout tokens: an issuer says that a session, or a user, has logged out.
//!
//! Source: OpenID Connect Back-Channel Logout 1.0, sections 2.4 (what is in one) and 2.6 (how it is validated). Signature, issuer, audience
//! and times are checked as of an ID token. What no ID token has (`events`) and what every logout token lacks (`nonce`) tell the two apart.

use std::time::Duration;

use go_compat::json::{Object, Value, field_matches};

use crate::{
    JwtAuthenticator, UnverifiedToken, VerifyError,
    crypto::{Algorithm, SignatureVerifier},
    jwks::KeySet,
};

/// The member of `events` that makes a token a logout token.
pub const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The header's `typ`, where an issuer says one for these tokens alone.
const TYPE: &str = "logout+jwt";

/// How far an issuer's clock may be ahead, and how old a token may be that has just been sent.
const LEEWAY: Duration = Duration::from_secs(60);
const MOST_AGE: Duration = Duration::from_secs(600);

/// What has ended at the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// `sub`: whose sessions.
    pub subject: Option<String>,
    /// `sid`: which session.
    pub session: Option<String>,
    /// `jti`, which no other logout token of the issuer has.
    pub id: String,
    /// `iat`
    pub issued_at: Duration,
    /// `exp`
    pub expires_at: Duration,
}

impl Logout {
    /// Until when the token could be taken: it may expire in years, and is too old much sooner.
    #[must_use]
    pub fn good_until(&self) -> Duration {
        self.expires_at.min(self.issued_at.saturating_add(MOST_AGE))
    }
}

/// Why a token is no good logout token. No text has a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogoutError {
    /// What would be wrong with an ID token, too.
    #[error(transparent)]
    Token(#[from] VerifyError),
    /// The header says that it is of another type.
    #[error("typ: must be {TYPE:?} or left out, got {0:?}")]
    Type(String),
    /// It is an ID token, or is made to look like one.
    #[error("nonce: must not be in a logout token")]
    Nonce,
    /// It is of another event, or of none.
    #[error("events: must have {EVENT:?} with an object")]
    Event,
    /// It names nobody.
    #[error("sub or sid: one of them is needed")]
    Nobody,
    /// A claim is missing or of another kind.
    #[error("{0}: must be {1}")]
    Claim(&'static str, &'static str),
    /// It was issued long ago, or in the future.
    #[error("iat: the token was issued {0}")]
    Time(&'static str),
}

impl JwtAuthenticator {
    /// Checks that `token` is a logout token of this issuer for one of its audiences, and valid at `now` (since 1970). Whether its `jti` has
    /// come before, the caller has to know.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify_logout(
        &self,
        token: &UnverifiedToken,
        keys: &KeySet,
        verifier: &dyn SignatureVerifier,
        now: Duration,
        allowed: &[Algorithm],
    ) -> Result<Logout, LogoutError> {
        if let Some(kind) = token.kind().filter(|kind| !is_type(kind)) {
            return Err(LogoutError::Type(kind.to_owned()));
        }
        let verified = self.verify(token, keys, verifier, now, allowed)?;
        let claims = verified.claims();
        // However it is spelled: other readers may take it for one.
        if claims.members().any(|(name, _)| field_matches(name, "nonce")) {
            return Err(LogoutError::Nonce);
        }
        let event = match claims.get("events") {
            Some(Value::Object(events)) => events.get(EVENT),
            _ => None,
        };
        if !matches!(event, Some(Value::Object(_))) {
            return Err(LogoutError::Event);
        }
        let (subject, session) = (text(claims, "sub")?, text(claims, "sid")?);
        if subject.is_none() && session.is_none() {
            return Err(LogoutError::Nobody);
        }
        let id = text(claims, "jti")?.ok_or(LogoutError::Claim("jti", "a text"))?;
        let issued_at = match claims.get("iat") {
            Some(Value::Number(number)) => number.as_unix_seconds(),
            _ => None,
        };
        let issued_at = issued_at.and_then(|seconds| u64::try_from(seconds).ok());
        let issued_at = issued_at.ok_or(LogoutError::Claim("iat", "a time"))?;
        let issued_at = Duration::from_secs(issued_at);
        if issued_at > now.saturating_add(LEEWAY) {
            return Err(LogoutError::Time("in the future"));
        }
        if now.saturating_sub(issued_at) > MOST_AGE {
            return Err(LogoutError::Time("too long ago"));
        }
        Ok(Logout { subject, session, id, issued_at, expires_at: verified.expires_at() })
    }
}

/// A `typ` that a logout token may have (RFC 7515, section 4.1.9): providers that do not type their tokens write `JWT`.
fn is_type(kind: &str) -> bool {
    let kind = kind.strip_prefix("application/").unwrap_or(kind);
    kind.eq_ignore_ascii_case(TYPE) || kind.eq_ignore_ascii_case("JWT")
}

/// A claim that is a text and not empty, if it is there.
fn text(claims: &Object, name: &'static str) -> Result<Option<String>, LogoutError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.to_string())),
        Some(_) => Err(LogoutError::Claim(name, "a text that is not empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::SoftwareVerifier,
        testing::{HEADER, NOW, authenticator, key_set, token},
    };
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const MAPPINGS: &str = r#""claimMappings":{"username":{"claim":"sub","prefix":""}}"#;
    const EVENTS: &str = r#""events":{"http://schemas.openid.net/event/backchannel-logout":{}}"#;

    fn verify(header: &str, claims: &str) -> Result<Logout, String> {
        authenticator(MAPPINGS)
            .verify_logout(
                &token(header, claims),
                &key_set(),
                &SoftwareVerifier,
                NOW,
                &Algorithm::ALL,
            )
            .map_err(|error| error.to_string())
    }

    fn claims(more: &str) -> String {
        format!(
            r#"{{"iss":"https://issuer.example","aud":"kubernetes","exp":1800000060,"iat":1800000000{more}}}"#
        )
    }

    #[test]
    fn a_logout_token_names_a_session_or_a_subject() {
        for (more, subject, session) in [
            (r#""sub":"jane""#, Some("jane"), None),
            (r#""sid":"s1""#, None, Some("s1")),
            (r#""sub":"jane","sid":"s1""#, Some("jane"), Some("s1")),
        ] {
            let got = verify(HEADER, &claims(&format!(r#","jti":"j1",{EVENTS},{more}"#))).unwrap();
            assert_eq!((got.subject.as_deref(), got.session.as_deref()), (subject, session));
            assert_eq!((got.id.as_str(), got.expires_at.as_secs()), ("j1", 1_800_000_060));
        }
        for kind in ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "JWT"] {
            let header = format!(r#"{{"alg":"ES256","kid":"key-1","typ":"{kind}"}}"#);
            let got = verify(&header, &claims(&format!(r#","jti":"j1",{EVENTS},"sid":"s""#)));
            assert!(got.is_ok(), "{kind}: {got:?}");
        }
    }

    #[test]
    fn what_is_no_logout_token_ends_nothing() {
        let good = format!(r#","jti":"j1",{EVENTS},"sid":"s1""#);
        for (more, want) in [
            (format!(r#"{good},"nonce":"n""#), "nonce: must not be"),
            (format!(r#"{good},"nonce":null"#), "nonce: must not be"),
            (format!(r#"{good},"Nonce":"n""#), "nonce: must not be"),
            (r#","jti":"j1","sid":"s1""#.to_owned(), "events: must have"),
            (r#","jti":"j1","sid":"s1","events":{}"#.to_owned(), "events: must have"),
            (
                format!(r#","jti":"j1","sid":"s1",{}"#, EVENTS.replace("{}", "true")),
                "events: must have",
            ),
            (format!(r#","jti":"j1","sid":"s1","events":["{EVENT}"]"#), "events: must have"),
            (format!(r#","jti":"j1",{EVENTS}"#), "sub or sid: one"),
            (format!(r#","jti":"j1",{EVENTS},"sid":"""#), "sid: must be a text"),
            (format!(r#","jti":"j1",{EVENTS},"sid":5"#), "sid: must be a text"),
            (format!(r#",{EVENTS},"sid":"s1""#), "jti: must be a text"),
            (format!(r#","jti":"",{EVENTS},"sid":"s1""#), "jti: must be a text"),
        ] {
            let got = verify(HEADER, &claims(&more)).unwrap_err();
            assert!(got.starts_with(want), "{more}: {got}");
        }
        let at = |old: &str, new: &str| claims(&good).replace(old, new);
        for (claims, want) in [
            (at(r#""iat":1800000000"#, r#""iat":1800000061"#), "iat: the token was issued in the"),
            (at(r#""iat":1800000000"#, r#""iat":1799999399"#), "iat: the token was issued too"),
            (at(r#""iat":1800000000"#, r#""x":1"#), "iat: must be a time"),
            (at("1800000060", "1799999999"), "oidc: verify token: oidc: token is expired"),
            (at(r#""exp":1800000060,"#, ""), "oidc: verify token: oidc: token is expired"),
            (at("kubernetes", "other"), "oidc: verify token: oidc: expected audience"),
            (at("https://issuer.example", "https://other.example"), "oidc: verify token: oidc: id"),
        ] {
            let got = verify(HEADER, &claims).unwrap_err();
            assert!(got.starts_with(want), "{claims}: {got}");
        }
        for header in [
            r#"{"alg":"ES256","kid":"key-1","typ":"at+jwt"}"#,
            r#"{"alg":"ES256","kid":"key-1","typ":"secevent+jwt"}"#,
        ] {
            let got = verify(header, &claims(&good)).unwrap_err();
            assert!(got.starts_with("typ: must be"), "{got}");
        }
        // Nobody has signed it.
        let got = verify(r#"{"alg":"none"}"#, &claims(&good)).unwrap_err();
        assert!(got.contains("unsupported algorithm"), "{got}");
    }
}
