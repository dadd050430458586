//! Tokens and what becomes of them: the questions of tests/conformance, kube-authn's answers, and why two answers differ.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use kube_authn::{
    Identity, Rules, UnverifiedToken, VerifiedToken,
    config::{self, AuthenticationConfiguration, JwtAuthenticator, LoadOptions},
    crypto::{self, Algorithm, CryptoError, Family, SignatureVerifier, SoftwareVerifier},
    discovery,
    jwks::{KeyProblem, KeySet, KeySetLimits, PublicKey},
    token::{TokenError, TokenLimits},
};
use serde::Deserialize;

const CORPUS: &str = include_str!("../../../../tests/conformance/tokens/tokens.jsonl");
/// What other versions answer, as far as it is not what the version before answers.
const OVERLAYS: [(Rules, &str); 2] = [
    (Rules::V1_37, include_str!("../../../../tests/conformance/tokens/1.37.jsonl")),
    (Rules::V1_38, include_str!("../../../../tests/conformance/tokens/1.38.jsonl")),
];

/// The corpus with the answers of a version.
pub fn cases(rules: Rules) -> Vec<Case> {
    let mut cases = read(CORPUS);
    let changes = OVERLAYS.into_iter().filter(|(since, _)| *since <= rules);
    for line in changes.flat_map(|(_, lines)| lines.lines()) {
        let change: Change = serde_json::from_str(line).expect("an answer is JSON");
        let case = cases.iter_mut().find(|case| case.name == change.case).expect("a case");
        let bearer = &mut case.tokens[change.token];
        (bearer.user, bearer.error) = (change.user, change.error);
    }
    cases
}

/// Answers, one case a line.
pub fn read(answers: &str) -> Vec<Case> {
    answers.lines().map(|line| serde_json::from_str(line).expect("an answer is JSON")).collect()
}

/// Another version's answer about one token of a case.
#[derive(Deserialize)]
struct Change {
    case: String,
    token: usize,
    user: Option<User>,
    #[serde(default)]
    error: String,
}

/// A configuration with its tokens.
#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub config: serde_json::Value,
    pub jwks: BTreeMap<String, String>,
    #[serde(default)]
    pub http: BTreeMap<String, String>,
    /// Whether the authenticator was given its keys, and did not fetch them.
    #[serde(default)]
    pub given: bool,
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
pub const KEY_SET: &str = "refused upstream, taken here: the key set has a key of an unknown type or curve (until 1.37) or a broken one, which spoils it upstream and is skipped here";
pub const ML_DSA: &str =
    "refused upstream, taken here: by ML-DSA with a key of the issuer's set, which go-oidc drops";
pub const HEADER_KEY: &str =
    "taken upstream, refused here: a key for ML-DSA in the token's header, of no use to either";
pub const DIFFERENCES: [&str; 7] = [SHORT_KEY, CURVE, SALT, LIMITS, HEADER_KEY, KEY_SET, ML_DSA];
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
            if spoiled && server.has_unknown_keys(token) {
                return Some(KEY_SET);
            }
            let unverified = want.contains("failed to verify id token signature");
            (unverified && !server.given && is_ml_dsa(token)).then_some(ML_DSA)
        }
        _ => None,
    }
}

/// A configuration with the key sets of its issuers.
pub struct Server {
    configuration: AuthenticationConfiguration,
    keys: BTreeMap<String, KeySet>,
    http: BTreeMap<String, String>,
    given: bool,
    now: Duration,
}

impl Server {
    /// The server of a case at a time since 1970.
    pub fn new(case: &Case, now: Duration, rules: Rules) -> Self {
        let options = LoadOptions { rules, ..LoadOptions::default() };
        let configuration = config::load(case.config.to_string().as_bytes(), &options)
            .unwrap_or_else(|errors| panic!("{}: {errors}", case.name));
        let keys = case
            .jwks
            .iter()
            .map(|(issuer, document)| (issuer.clone(), key_set(document, rules)))
            .collect();
        Self { configuration, keys, http: case.http.clone(), given: case.given, now }
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
            .verify(token, keys, &Remembering, self.now, &Algorithm::ALL)
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
        let keys = key_set(self.http.get(&document.jwks_uri).ok_or("404")?, jwt.rules());
        let groups = jwt
            .verify_groups_token(&groups, &keys, &Remembering, self.now, &Algorithm::ALL)
            .map_err(|error| error.to_string())?;
        jwt.with_groups(&token, &source, &groups).map_err(|error| error.to_string())
    }

    /// The deliberate difference for which a token that upstream takes is refused.
    fn why_refused(&self, token: &str) -> Option<&'static str> {
        let token = parse(token).ok()?;
        let (_, jwt) = self.configuration.authenticator_for(&token)?;
        let keys = &self.keys[jwt.issuer_url()];
        let error = jwt.verify(&token, keys, &Remembering, self.now, &Algorithm::ALL).err()?;
        if !error.is_no_key_verified() {
            const IN_HEADER: &str = "failed to unmarshal JWK: unknown json web key type 'AKP'";
            return error.to_string().ends_with(IN_HEADER).then_some(HEADER_KEY);
        }
        let algorithm: Algorithm = token.algorithm()?.parse().ok()?;
        let key_id = token.key_id().unwrap_or_default();
        let is_meant = |known: &str| key_id.is_empty() || known == key_id;
        if matches!(algorithm.family(), Family::RsaPkcs1 | Family::RsaPss) {
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

fn is_ml_dsa(token: &str) -> bool {
    let token = parse(token).ok();
    let algorithm = token.as_ref().and_then(|token| token.algorithm()?.parse().ok());
    algorithm.is_some_and(|known: Algorithm| known.family() == Family::MlDsa)
}

fn parse(token: &str) -> Result<UnverifiedToken, TokenError> {
    UnverifiedToken::parse(token.as_bytes(), &TokenLimits::default())
}

/// A document that is none has no keys, which is what comes of it in both.
fn key_set(document: &str, rules: Rules) -> KeySet {
    KeySet::parse(document.as_bytes(), KeySetLimits::default(), rules).unwrap_or_default()
}

/// A verifier that checks each signature once, whatever the versions are by whose rules it is asked.
struct Remembering;

impl SignatureVerifier for Remembering {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoError> {
        thread_local! {
            static KNOWN: RefCell<HashMap<u64, Result<bool, CryptoError>>> = RefCell::default();
        }
        let mut hasher = DefaultHasher::new();
        (algorithm, key.spki_der(), signing_input, signature).hash(&mut hasher);
        let known = |known: &RefCell<HashMap<_, _>>| known.borrow().get(&hasher.finish()).cloned();
        KNOWN.with(known).unwrap_or_else(|| {
            let result = SoftwareVerifier.verify(algorithm, key, signing_input, signature);
            KNOWN.with(|known| known.borrow_mut().insert(hasher.finish(), result.clone()));
            result
        })
    }
}
