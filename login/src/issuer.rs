//! What an issuer gave becomes a record: the right token is chosen and verified.

use chrono::Utc;
use kube_authn::{
    Rules,
    jwks::{KeySet, KeySetError, KeySetLimits},
};

use crate::{
    claims::{Claims, ClaimsError},
    console::Console,
    http::{Http, HttpError, TrustError},
    oauth::{Authorization, Issued, OAuth, OAuthError},
    settings::{Account, Client, Grant, Settings},
    store::{Key, Record},
    verify::{Clocks, Expected, VerifyError, verify},
};

/// Why what an issuer gave is not taken.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The request failed.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// The certificate authorities of the settings.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// There is no ID token.
    #[error(
        "the issuer gave no ID token; scope openid must be allowed for the client, or --oidc-use-access-token presents the access token"
    )]
    NoIdToken,
    /// There is no access token.
    #[error(
        "the issuer gave no access token, which --oidc-use-access-token presents; it may want a scope of the API that the token is for"
    )]
    NoAccessToken,
    /// The key set cannot be read.
    #[error(
        "the issuer's key set cannot be used: {0}; the issuer's administrator must correct that"
    )]
    Keys(String),
    /// Somebody else logged in.
    #[error(
        "{found} logged in, but this login is {expected}'s; log in as that person, forget the login (kubectl oidc logout), or keep both apart with --account=NAME in the kubeconfig"
    )]
    OtherPerson {
        /// Whose login it is.
        expected: Person,
        /// Who logged in.
        found: Person,
    },
    /// The token is not good.
    #[error("the issuer's token is refused: {0}{out}", out = way_out(.0))]
    Verify(#[from] VerifyError),
}

impl From<HttpError> for IssuerError {
    fn from(error: HttpError) -> Self {
        Self::OAuth(OAuthError::Http(error))
    }
}

/// What to do about a token that is refused, where that does not stand there already.
fn way_out(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::Malformed(ClaimsError::Opaque) => {
            "; a cluster takes none but JSON Web Tokens: leave out --oidc-use-access-token, or have the issuer make them"
        }
        VerifyError::Malformed(_) | VerifyError::Header | VerifyError::Algorithm(_) => {
            "; the issuer's administrator must correct that"
        }
        VerifyError::Signature { .. } => {
            "; try again, and if it stays so, the issuer's administrator must correct its key set"
        }
        VerifyError::Issuer { .. } => {
            "; --oidc-issuer-url must be what the tokens say, here and in the cluster"
        }
        VerifyError::Nonce | VerifyError::Subject => "; log in again with: kubectl oidc login",
        VerifyError::Expired(_) | VerifyError::NotYetValid(_) => {
            "; is this machine's clock right, and the issuer's?"
        }
        VerifyError::Audience { .. } | VerifyError::Skew { .. } | VerifyError::Login(_) => "",
    }
}

/// An issuer, connected.
pub struct Issuer {
    /// Requests to it.
    pub oauth: OAuth,
    client: Client,
    key: Key,
    /// There is no person whom an ID token could name.
    machine: bool,
    person: Option<Person>,
    hint: Option<String>,
}

/// Whose login is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// `sub`
    pub subject: String,
    /// What to call the person.
    pub name: String,
}

impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { subject, name } = self;
        if name == subject { f.write_str(name) } else { write!(f, "{name} (subject {subject})") }
    }
}

impl Person {
    fn of(claims: &Claims) -> Option<Self> {
        let subject = claims.text("sub")?.to_owned();
        let name = claims.account_name().unwrap_or_else(|| claims.display_name()).to_owned();
        Some(Self { subject, name })
    }

    /// Of a login that is kept: its ID token's, else the token's.
    fn before(record: &Record) -> Option<Self> {
        let subject = record.subject.clone()?;
        let name =
            record.person_claims().and_then(|claims| Self::of(&claims)).map(|person| person.name);
        Some(Self { name: name.unwrap_or_else(|| subject.clone()), subject })
    }
}

/// What a fresh token must match of the past.
#[derive(Debug, Clone, Copy, Default)]
pub struct Past<'a> {
    /// Nonce of the authorization request.
    pub nonce: Option<&'a str>,
    /// The record before a refresh.
    pub before: Option<&'a Record>,
}

impl Issuer {
    /// Reads the issuer's metadata.
    pub fn connect(settings: &Settings, key: &Key, console: Console) -> Result<Self, IssuerError> {
        let http = Http::new(&settings.trust, console)?.sending(&settings.client.headers);
        Ok(Self {
            oauth: OAuth::connect(&settings.client, http)?,
            client: settings.client.clone(),
            key: key.clone(),
            machine: matches!(
                settings.login.grant,
                Grant::ClientCredentials | Grant::TokenExchange(_)
            ),
            person: None,
            hint: None,
        })
    }

    /// The same, for the person whose login was stored, if one was: another's is refused. Who it is is said to the issuer, so
    /// that a browser in which several people are logged in takes the right one (OpenID Connect Core 1.0, section 3.1.2.1).
    #[must_use]
    pub fn expecting(mut self, stored: Option<&Record>, account: &Account) -> Self {
        self.person = stored.and_then(Person::before);
        let known = stored.and_then(Record::person_claims);
        let known = known.and_then(|claims| claims.account_name().map(str::to_owned));
        self.hint = known.or_else(|| match account {
            Account::Named(name) if name.contains('@') => Some(name.clone()),
            _ => None,
        });
        self
    }

    /// A fresh authorization request.
    pub fn authorization(&self, redirect: &str) -> Result<Authorization, OAuthError> {
        self.oauth.authorization(redirect, self.hint.as_deref())
    }

    /// Chooses the token to present, verifies it, and makes a record of it.
    pub fn accept(&self, issued: Issued, past: Past<'_>) -> Result<Record, IssuerError> {
        let keys = self.keys()?;
        let Issued { id_token, access_token, refresh_token } = issued;
        let nonce = past.nonce.or(past.before.and_then(|record| record.nonce.as_deref()));
        // A machine does not log in.
        let login = Some(&self.client.required).filter(|_| !self.machine);
        let expected_id = Expected {
            issuer: &self.client.issuer,
            audience: Some(&self.client.id),
            nonce,
            nonce_may_be_absent: past.before.is_some(),
            subject: past.before.and_then(|record| record.subject.as_deref()),
            login,
        };
        let expected_access = Expected {
            issuer: &self.client.issuer,
            login: login.filter(|_| id_token.is_none()),
            ..Expected::default()
        };
        let check =
            |token: &str, expected: &Expected<'_>| verify(token, &keys, expected, self.clocks());
        let id_claims = id_token.as_deref().map(|token| check(token, &expected_id)).transpose()?;
        if past.before.is_none() {
            self.check_person(id_claims.as_ref())?;
        }
        // A client's own identity comes as an access token: there is no person whom an ID token could name.
        let use_access_token = self.client.use_access_token || (self.machine && id_token.is_none());
        let mut record = if use_access_token {
            if access_token.is_empty() {
                return Err(IssuerError::NoAccessToken);
            }
            check(&access_token, &expected_access)?;
            let mut record = Record::new(&self.key, access_token);
            record.id_token = id_token;
            record
        } else {
            Record::new(&self.key, id_token.ok_or(IssuerError::NoIdToken)?)
        };
        let subject = id_claims.as_ref().and_then(|claims| claims.text("sub")).map(str::to_owned);
        record.subject = subject.or_else(|| past.before.and_then(|before| before.subject.clone()));
        record.nonce = nonce.map(str::to_owned);
        let claims = record.claims();
        let ahead = claims.and_then(|claims| self.clocks().issuer_ahead(&claims));
        record.ahead_seconds = ahead.map(|ahead| ahead.num_seconds());
        // An issuer that rotates sends a new one; one that does not goes on with the old (RFC 6749, section 6).
        record.refresh_token =
            refresh_token.or_else(|| past.before.and_then(|before| before.refresh_token.clone()));
        Ok(record)
    }

    fn check_person(&self, claims: Option<&Claims>) -> Result<(), IssuerError> {
        let found = claims.and_then(Person::of);
        match (self.person.clone(), found) {
            (Some(expected), Some(found)) if expected.subject != found.subject => {
                Err(IssuerError::OtherPerson { expected, found })
            }
            _ => Ok(()),
        }
    }

    /// Verifies a token that somebody else got.
    pub fn accept_ready(&self, token: &str) -> Result<Record, IssuerError> {
        let expected = Expected {
            issuer: &self.client.issuer,
            audience: Some(self.client.id.as_str()).filter(|id| !id.is_empty()),
            ..Expected::default()
        };
        verify(token, &self.keys()?, &expected, self.clocks())?;
        Ok(Record::new(&self.key, token.to_owned()))
    }

    /// Whether the key set can be used.
    pub fn check_keys(&self) -> Result<(), IssuerError> {
        self.keys().map(|_| ())
    }

    fn keys(&self) -> Result<KeySet, IssuerError> {
        let uri = self.oauth.metadata().jwks_uri().map_err(OAuthError::from)?;
        let document = self.oauth.http().get(uri.as_str())?;
        key_set(&document).map_err(|error| IssuerError::Keys(error.to_string()))
    }

    fn clocks(&self) -> Clocks {
        Clocks { now: Utc::now(), skew: self.oauth.http().skew() }
    }
}

/// The keys that any version of Kubernetes reads: which one the cluster is of is not known here. 1.38 knows keys for ML-DSA, and leaves
/// keys out that older ones take.
fn key_set(document: &[u8]) -> Result<KeySet, KeySetError> {
    let mut keys = KeySet::parse(document, KeySetLimits::default(), Rules::default())?;
    keys.add_keys_of(&KeySet::parse(document, KeySetLimits::default(), Rules::V1_38)?);
    Ok(keys)
}
