//! Tokens that only their issuer can read (RFC 7662): it is asked, and its answer counts as a token's claims do.
//!
//! Asking is the caller's. What the answer says goes through the same rules as a JWT of that issuer: its audiences, times, mappings and
//! rules. Only what RFC 7662 leaves out may be absent here, too (section 2.2): `iss`, and `exp`, in whose place `active` stands.

use std::{sync::Arc, time::Duration};

use go_compat::json::{self, JsonError, Limits, Object, Value};

use crate::{
    config::JwtAuthenticator,
    crypto::{Algorithm, SignatureVerifier},
    jwks::KeySet,
    token::{IdToken, TokenLimits, UnverifiedToken, is_issuer},
    verify::{
        VerifiedToken, VerifyError, VerifyProblem, check_not_before, check_signature, check_times,
    },
};

/// Members that say what kind of token it is: of RFC 7662, and of the servers that answer for refresh tokens as well.
const KINDS: [&str; 3] = ["token_type", "token_use", "typ"];
/// How the kind of a refresh token begins.
const REFRESH: &[u8] = b"refresh";

/// What an issuer says of a token that is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introspection {
    claims: Arc<Object>,
}

/// Why an answer is none: nothing is known of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not JSON, or more of it than is read.
    #[error("the answer is not JSON: {0}")]
    NotJson(JsonError),
    /// JSON, but no object.
    #[error("the answer is a JSON {0}, not an object")]
    NotObject(&'static str),
    /// `active` is required, and a boolean.
    #[error("`active` of the answer must be a boolean, and is {0}")]
    Active(&'static str),
}

/// Reads an answer; `None` says that the token is not active.
///
/// # Errors
/// If it says nothing of the token.
pub fn parse(answer: &[u8]) -> Result<Option<Introspection>, AnswerError> {
    let TokenLimits { depth, values, .. } = TokenLimits::default();
    let claims = match json::parse(answer, Limits { depth, values }) {
        Ok(Value::Object(claims)) => claims,
        Ok(other) => return Err(AnswerError::NotObject(other.kind())),
        Err(error) => return Err(AnswerError::NotJson(error)),
    };
    match claims.get("active") {
        Some(Value::Bool(true)) => Ok(Some(Introspection { claims: Arc::new(claims) })),
        Some(Value::Bool(false)) => Ok(None),
        Some(other) => Err(AnswerError::Active(other.kind())),
        None => Err(AnswerError::Active("absent")),
    }
}

impl Introspection {
    /// Every member of the answer.
    #[must_use]
    pub fn claims(&self) -> &Object {
        &self.claims
    }

    fn is_of_refresh_token(&self) -> bool {
        KINDS.iter().any(|name| match self.claims.get(name) {
            Some(Value::String(kind)) => kind
                .as_bytes()
                .get(..REFRESH.len())
                .is_some_and(|kind| kind.eq_ignore_ascii_case(REFRESH)),
            _ => false,
        })
    }
}

impl JwtAuthenticator {
    /// Takes what this issuer says of an active token for the claims of a token, if they are for one of its audiences and valid at `now`
    /// (since 1970). Without `exp` it expires at [`Duration::MAX`]: the caller must ask again.
    ///
    /// # Errors
    /// The first check that fails, in the order of [`Self::verify`].
    pub fn introspected(
        &self,
        answer: &Introspection,
        now: Duration,
    ) -> Result<VerifiedToken, VerifyError> {
        self.check_introspected(answer, now).map_err(VerifyError::from)
    }

    fn check_introspected(
        &self,
        answer: &Introspection,
        now: Duration,
    ) -> Result<VerifiedToken, VerifyProblem> {
        if answer.is_of_refresh_token() {
            return Err(VerifyProblem::RefreshToken);
        }
        let id_token = IdToken::parse(&answer.claims)?;
        let is_said = !matches!(answer.claims.get("iss"), None | Some(Value::Null));
        if is_said || !id_token.issuer.is_empty() {
            self.check_issuer(&id_token)?;
        }
        self.check_only_audience(&id_token)?;
        let expires_at = if id_token.expiry.is_some() {
            check_times(&id_token, now, self.rules())?
        } else {
            check_not_before(&id_token, now, self.rules())?;
            Duration::MAX
        };
        self.check_audiences(&id_token)?;
        Ok(VerifiedToken::new(Arc::clone(&answer.claims), expires_at))
    }

    /// Checks that this issuer has signed `token` and that it is valid at `now`: whether it is worth to ask. Its audience is not looked
    /// at: a token about which the issuer is asked need not name any.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_origin(
        &self,
        token: &UnverifiedToken,
        keys: &KeySet,
        verifier: &dyn SignatureVerifier,
        now: Duration,
        allowed: &[Algorithm],
    ) -> Result<VerifiedToken, VerifyError> {
        check_signature(token, keys, verifier, allowed, self.rules())?;
        let id_token = IdToken::parse(token.claims()).map_err(VerifyProblem::from)?;
        self.check_issuer(&id_token)?;
        let expires_at = check_times(&id_token, now, self.rules())?;
        Ok(VerifiedToken::new(Arc::clone(token.claims()), expires_at))
    }

    fn check_issuer(&self, token: &IdToken) -> Result<(), VerifyProblem> {
        if is_issuer(&token.issuer, self.issuer_url()) {
            return Ok(());
        }
        let (expected, got) = (self.issuer_url().to_owned(), token.issuer.clone());
        Err(VerifyProblem::Issuer { expected, got })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::SoftwareVerifier,
        identity::CREDENTIAL_ID_KEY,
        testing::{HEADER, NOW, authenticator, key_set, sign, token},
    };
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const MAPPINGS: &str = r#""claimMappings":{"username":{"claim":"sub","prefix":"x:"},
        "groups":{"claim":"groups","prefix":"g:"}}"#;

    #[test]
    fn an_answer_that_says_nothing_is_no_answer() {
        for (answer, want) in [
            (r#"{"active":false}"#, Ok(false)),
            (r#"{"active":false,"sub":"jane"}"#, Ok(false)),
            (r#"{"active":true}"#, Ok(true)),
            ("<html>Sign in</html>", Err("the answer is not JSON")),
            ("", Err("the answer is not JSON")),
            ("[true]", Err("the answer is a JSON array, not an object")),
            ("true", Err("the answer is a JSON bool, not an object")),
            (
                r#"{"active":"true"}"#,
                Err("`active` of the answer must be a boolean, and is string"),
            ),
            (r#"{"active":1}"#, Err("and is number")),
            (r#"{"active":null}"#, Err("and is null")),
            (r#"{"Active":true}"#, Err("and is absent")),
            (r#"{"error":"invalid_client"}"#, Err("and is absent")),
        ] {
            match (parse(answer.as_bytes()), want) {
                (Ok(got), Ok(want)) => assert_eq!(got.is_some(), want, "{answer}"),
                (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{answer}: {got}"),
                (got, want) => panic!("{answer}: {got:?} / {want:?}"),
            }
        }
        let deep = format!(r#"{{"active":true,"a":{}{}}}"#, "[".repeat(40), "]".repeat(40));
        assert!(parse(deep.as_bytes()).is_err());
        let many = format!(r#"{{"active":true,"a":[{}1]}}"#, "1,".repeat(5000));
        assert!(parse(many.as_bytes()).is_err());
    }

    fn user(rest: &str, answer: &str) -> Result<(String, Duration), String> {
        let jwt = authenticator(rest);
        let answer = parse(format!(r#"{{"active":true,{answer}}}"#).as_bytes()).unwrap().unwrap();
        let verified = jwt.introspected(&answer, NOW).map_err(|error| error.to_string())?;
        let identity = jwt.identity(&verified).map_err(|error| error.to_string())?;
        assert!(!identity.extra.contains_key(CREDENTIAL_ID_KEY));
        let user = [vec![identity.username], identity.groups].concat().join(" ");
        Ok((user, verified.expires_at()))
    }

    #[test]
    fn an_answer_is_held_to_the_rules_of_the_issuers_tokens() {
        let exp = Duration::from_secs(1_800_000_060);
        let good = r#""sub":"jane","aud":"kubernetes","exp":1800000060,"groups":["dev"]"#;
        let expected = "oidc: id token issued by a different provider";
        for (answer, want) in [
            (good.to_owned(), Ok(("x:jane g:dev", exp))),
            (format!(r#""iss":"https://issuer.example",{good}"#), Ok(("x:jane g:dev", exp))),
            (good.replace(r#""kubernetes""#, r#"["a","kubernetes"]"#), Ok(("x:jane g:dev", exp))),
            (r#""sub":"jane","aud":"kubernetes""#.to_owned(), Ok(("x:jane", Duration::MAX))),
            (
                format!(r#""token_type":"Bearer","token_use":"access_token",{good}"#),
                Ok(("x:jane g:dev", exp)),
            ),
            (format!(r#""iss":"https://other.example",{good}"#), Err(expected)),
            (format!(r#""iss":"",{good}"#), Err(expected)),
            // Go's struct fields fold.
            (format!(r#""ISS":"https://other.example",{good}"#), Err(expected)),
            (format!(r#""iss":7,{good}"#), Err("cannot unmarshal number into field iss")),
            (
                good.replace("kubernetes", "other"),
                Err(r#"expected audience "kubernetes" got ["other"]"#),
            ),
            (
                r#""sub":"jane","exp":1800000060"#.to_owned(),
                Err(r#"expected audience "kubernetes" got []"#),
            ),
            (good.replace("1800000060", "1799999999"), Err("oidc: token is expired")),
            (good.replace("1800000060", r#""soon""#), Err("invalid number in field exp")),
            (format!(r#""nbf":1800009999,{good}"#), Err("before the nbf")),
            (
                r#""nbf":1800009999,"sub":"jane","aud":"kubernetes""#.to_owned(),
                Err("before the nbf"),
            ),
            (
                good.replace(r#""sub":"jane","#, ""),
                Err(r#"parse username claims "sub": claim not present"#),
            ),
            (good.replace(r#""jane""#, "7"), Err("cannot unmarshal number into field sub")),
            (format!(r#""token_use":"refresh_token",{good}"#), Err("refresh token")),
            (format!(r#""typ":"Refresh",{good}"#), Err("refresh token")),
            (format!(r#""token_type":"REFRESH_TOKEN",{good}"#), Err("refresh token")),
        ] {
            match (user(MAPPINGS, &answer), want) {
                (Ok((user, end)), Ok(want)) => assert_eq!((user.as_str(), end), want, "{answer}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{answer}: {got}"),
                (got, want) => panic!("{answer}: {got:?} / {want:?}"),
            }
        }
    }

    #[test]
    fn mappings_and_rules_in_cel_read_the_answer() {
        let rest = r#""claimMappings":{"username":{"expression":"'cel:' + claims.username"},
                "groups":{"expression":"claims.scope.split(' ').map(s, s)"}},
            "claimValidationRules":[{"expression":"claims.client_id == 'kubectl'","message":"no"}],
            "userValidationRules":[{"expression":"user.groups.exists(g, g == 'k8s')","message":"not in k8s"}]"#;
        let answer =
            r#""aud":"kubernetes","username":"jane","scope":"k8s dev","client_id":"kubectl""#;
        assert_eq!(user(rest, answer).unwrap().0, "cel:jane k8s dev");
        for (from, to, want) in [
            ("\"kubectl\"", "\"other\"", "failed: no"),
            ("k8s dev", "dev", "failed: not in k8s"),
            ("\"username\"", "\"name\"", "error evaluating username claim expression"),
        ] {
            let error = user(rest, &answer.replace(from, to)).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }

    /// An issuer is not asked about what it has not signed, or what is over.
    #[test]
    fn the_origin_of_a_token_without_an_audience_is_known() {
        let jwt = authenticator(MAPPINGS);
        let verify = |token: &UnverifiedToken| {
            jwt.verify_origin(token, &key_set(), &SoftwareVerifier, NOW, &Algorithm::ALL)
                .map(|verified| verified.expires_at())
                .map_err(|error| error.to_string())
        };
        let good = r#"{"iss":"https://issuer.example","exp":1800000060}"#;
        assert_eq!(verify(&token(HEADER, good)), Ok(Duration::from_secs(1_800_000_060)));
        let over = verify(&token(HEADER, r#"{"iss":"https://issuer.example","exp":1}"#));
        assert!(over.unwrap_err().contains("token is expired"));
        let other = verify(&token(HEADER, r#"{"iss":"https://other.example","exp":1800000060}"#));
        assert!(other.unwrap_err().contains("different provider"));
        let signed = sign(HEADER, good);
        let claims = sign(HEADER, r#"{"iss":"https://issuer.example","exp":1800000061}"#);
        let (signed, _) = signed.rsplit_once('.').unwrap();
        let (_, signature) = claims.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{signature}");
        let forged = UnverifiedToken::parse(forged.as_bytes(), &TokenLimits::default()).unwrap();
        assert!(verify(&forged).unwrap_err().contains("failed to verify signature"));
    }
}
