//! Tokens and what becomes of them: the questions of tests/conformance, kube-authn's answers, and why two answers differ.

use std::{collections::BTreeMap, time::Duration};

use kube_authn::{
    Identity, UnverifiedToken, VerifiedToken,
    config::{self, AuthenticationConfiguration, JwtAuthenticator, LoadOptions},
    crypto::{self, Algorithm, Family, SoftwareVerifier},
    discovery,
    jwks::{KeyProblem, KeySet, KeySetLimits},
    token::{TokenError, TokenLimits},
};
use serde::Deserialize;

pub const CORPUS: &str = include_str!("../../../../tests/conformance/tokens/tokens.jsonl");

/// A configuration with its tokens.
#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub config: serde_json::Value,
    pub jwks: BTreeMap<String, String>,
    #[serde(default)]
    pub http: BTreeMap<String, String>,
    pub tokens: Vec<Bearer>,
}

/// A token and what kube-apiserver says of it.
#[derive(Deserialize)]
pub struct Bearer {
    #[serde(default)]
    pub name: String,
    pub token: String,
    pub user: Option<User>,
    #[serde(default)]
    pub error: String,
}

impl Bearer {
    /// The recorded answer.
    pub fn recorded(&self) -> Outcome {
        match &self.user {
            Some(user) => Outcome::User(user.clone()),
            None if self.error.is_empty() => Outcome::Nobody,
            None => Outcome::Refused(self.error.clone()),
        }
    }
}

/// The whole user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    pub username: String,
    pub uid: String,
    #[serde(deserialize_with = "list_or_null")]
    pub groups: Vec<String>,
    #[serde(default)]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Go writes a list that was never made as `null`.
fn list_or_null<'de, D: serde::Deserializer<'de>>(list: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(list)?.unwrap_or_default())
}

/// What becomes of a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    User(User),
    /// By the authenticator of its issuer, with its words.
    Refused(String),
    /// No authenticator takes it for its own.
    Nobody,
    /// Beyond the bounds on tokens, which upstream does not have.
    BeyondLimits,
}

/// Where the two answers differ, and why: rows of docs/conformance.md.
pub const SHORT_KEY: &str = "taken upstream, refused here: signed by an RSA key below 2048 bits";
pub const CURVE: &str = "taken upstream, refused here: the key's curve is not the algorithm's";
pub const SALT: &str = "taken upstream, refused here: a PSS salt that does not have the hash's length (RFC 7518, section 3.5)";
pub const LIMITS: &str = "taken upstream, refused here: beyond the bounds on size and nesting";
pub const KEY_SET: &str = "refused upstream, taken here: the key set has a key of an unknown type or curve, which spoils it upstream and is skipped here";
pub const DIFFERENCES: [&str; 5] = [SHORT_KEY, CURVE, SALT, LIMITS, KEY_SET];
pub const TAKEN: &str = "taken by both, with the same user";
pub const SAME_WORDS: &str = "refused by both, in the same words";
pub const OTHER_WORDS: &str = "refused by both, in other words";
pub const NOBODY: &str = "nobody's token for both";

/// Which row of the page this is, or `None` for a difference that must not be.
pub fn classify(
    want: &Outcome,
    got: &Outcome,
    token: &str,
    server: &Server,
) -> Option<&'static str> {
    use Outcome::{BeyondLimits, Nobody, Refused, User};
    match (want, got) {
        (User(want), User(got)) => (want == got).then_some(TAKEN),
        (Refused(want), Refused(got)) if want == got => Some(SAME_WORDS),
        (Refused(_), Refused(_)) | (Refused(_) | Nobody, BeyondLimits) => Some(OTHER_WORDS),
        (Nobody, Nobody) => Some(NOBODY),
        (User(_), BeyondLimits) => Some(LIMITS),
        (User(_), Refused(_)) => server.why_refused(token),
        (Refused(want), User(_)) => {
            let spoiled = want.contains("fetching keys oidc: failed to decode keys");
            (spoiled && server.has_unknown_keys(token)).then_some(KEY_SET)
        }
        _ => None,
    }
}

/// A configuration with the key sets of its issuers.
pub struct Server {
    configuration: AuthenticationConfiguration,
    keys: BTreeMap<String, KeySet>,
    http: BTreeMap<String, String>,
    now: Duration,
}

impl Server {
    /// The server of a case at a time since 1970.
    pub fn new(case: &Case, now: Duration) -> Self {
        let configuration =
            config::load(case.config.to_string().as_bytes(), &LoadOptions::default())
                .unwrap_or_else(|errors| panic!("{}: {errors}", case.name));
        let keys = case
            .jwks
            .iter()
            .map(|(issuer, document)| (issuer.clone(), key_set(document)))
            .collect();
        Self { configuration, keys, http: case.http.clone(), now }
    }

    /// What kube-authn makes of a token.
    pub fn judge(&self, token: &str) -> Outcome {
        let token = match parse(token) {
            Ok(token) => token,
            Err(TokenError::NotJwt(_)) => return Outcome::Nobody,
            Err(_) => return Outcome::BeyondLimits,
        };
        let Some((_, jwt)) = self.configuration.authenticator_for(&token) else {
            return Outcome::Nobody;
        };
        match self.authenticate(jwt, &token) {
            Ok(Identity { username, uid, groups, extra }) => {
                Outcome::User(User { username, uid, groups, extra })
            }
            Err(error) => Outcome::Refused(error),
        }
    }

    fn authenticate(
        &self,
        jwt: &JwtAuthenticator,
        token: &UnverifiedToken,
    ) -> Result<Identity, String> {
        let keys = &self.keys[jwt.issuer_url()];
        let verified = jwt
            .verify(token, keys, &SoftwareVerifier, self.now, &Algorithm::ALL)
            .map_err(|error| error.to_string())?;
        let verified = self.with_distributed_groups(jwt, verified)?;
        jwt.identity(&verified).map_err(|error| error.to_string())
    }

    /// Fetches what the token says is elsewhere, as core does through Envoy.
    fn with_distributed_groups(
        &self,
        jwt: &JwtAuthenticator,
        token: VerifiedToken,
    ) -> Result<VerifiedToken, String> {
        let source = jwt.groups_source(&token).map_err(|error| error.to_string())?;
        let Some(source) = source else { return Ok(token) };
        let body = self.http.get(&source.endpoint).ok_or("404")?;
        let groups = parse(body).map_err(|error| error.to_string())?;
        let issuer = groups.issuer();
        let document = self.http.get(&discovery::well_known_url(issuer)).ok_or("404")?;
        let document =
            discovery::parse(document.as_bytes(), issuer).map_err(|error| error.to_string())?;
        let keys = key_set(self.http.get(&document.jwks_uri).ok_or("404")?);
        let groups = jwt
            .verify_groups_token(&groups, &keys, &SoftwareVerifier, self.now, &Algorithm::ALL)
            .map_err(|error| error.to_string())?;
        jwt.with_groups(&token, &source, &groups).map_err(|error| error.to_string())
    }

    /// The deliberate difference for which a token that upstream takes is refused.
    fn why_refused(&self, token: &str) -> Option<&'static str> {
        let token = parse(token).ok()?;
        let (_, jwt) = self.configuration.authenticator_for(&token)?;
        let keys = &self.keys[jwt.issuer_url()];
        let error = jwt.verify(&token, keys, &SoftwareVerifier, self.now, &Algorithm::ALL).err()?;
        if !error.is_no_key_verified() {
            return None;
        }
        let algorithm: Algorithm = token.algorithm()?.parse().ok()?;
        let key_id = token.key_id().unwrap_or_default();
        let is_meant = |known: &str| key_id.is_empty() || known == key_id;
        if algorithm.family() != Family::Ecdsa {
            let short = keys.skipped().iter().any(|key| {
                is_meant(&key.key_id) && matches!(key.problem, KeyProblem::ModulusLength(..2048))
            });
            let salt = algorithm.family() == Family::RsaPss;
            return if short { Some(SHORT_KEY) } else { salt.then_some(SALT) };
        }
        let other_curve =
            keys.candidates(key_id).any(|key| !crypto::key_fits(key.kind(), algorithm));
        other_curve.then_some(CURVE)
    }

    fn has_unknown_keys(&self, token: &str) -> bool {
        let Ok(token) = parse(token) else { return false };
        let unknown = |problem: &KeyProblem| {
            matches!(problem, KeyProblem::UnknownType(_) | KeyProblem::UnknownCurve(_))
        };
        self.keys[token.issuer()].skipped().iter().any(|key| unknown(&key.problem))
    }
}

fn parse(token: &str) -> Result<UnverifiedToken, TokenError> {
    UnverifiedToken::parse(token.as_bytes(), &TokenLimits::default())
}

/// A document that is none has no keys, which is what comes of it in both.
fn key_set(document: &str) -> KeySet {
    KeySet::parse(document.as_bytes(), KeySetLimits::default()).unwrap_or_default()
}
