//! Groups that are not in the token: a server that the configuration names is asked for them.
//!
//! What is asked is made of the token's claims, and where is not: scheme and host stand in the configuration, and Envoy shows the credential
//! to nobody else. What is answered takes the place of the groups' claim before the claims are mapped, so that every rule and bound for a
//! token's groups holds for these.

mod template;

pub use template::ValueError;
pub(crate) use template::encoded;

use apiserver_cel::{Environment, Program, Usage, compile};
use go_compat::json;
use kube_authn::{AuthenticationConfiguration, JwtAuthenticator, Rules, discovery::Endpoint};
use sha2::{Digest, Sha256};

use self::template::{Place, Template};
use crate::config::groups::{GroupSource, When};

const CLAIM_NAMES: &str = "_claim_names";
/// What Entra ID says instead in tokens that travel by URL.
const HAS_GROUPS: &str = "hasgroups";

/// The sources of a configuration, in its order.
#[derive(Debug, Default)]
pub struct GroupSources(Vec<Source>);

/// A source that can be asked.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The issuer's index.
    pub issuer: usize,
    /// The claim whose place the groups take.
    pub claim: String,
    /// `:authority`
    pub authority: String,
    /// What it says of pages, times and numbers.
    pub policy: GroupSource,
    /// Of all that decides what its answers mean. What else changes in a configuration leaves them.
    pub(crate) digest: [u8; 32],
    /// What stands before every path.
    pub(crate) base: String,
    target: Template,
    body: Option<Template>,
    /// The groups of an answer.
    pub(crate) groups: Program,
    /// Whether an answer is about whom was asked.
    pub(crate) check: Option<Program>,
    /// What the last two read of the claims.
    claims: Usage,
}

/// A group source that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("groupSources[{index}].{field}: Invalid value: {got:?}: {why}")]
pub struct SourceFault {
    index: usize,
    field: &'static str,
    got: String,
    why: String,
}

impl GroupSources {
    /// The sources of a configuration whose other fields are good.
    ///
    /// # Errors
    /// If an expression does not compile, or an issuer is none.
    pub fn new(
        sources: &[GroupSource],
        rules: Rules,
        authentication: &AuthenticationConfiguration,
    ) -> Result<Self, SourceFault> {
        let sources = sources.iter().enumerate().map(|(index, source)| {
            Source::new(&source.filled(), authentication, rules)
                .map_err(|(field, got, why)| SourceFault { index, field, got, why })
        });
        Ok(Self(sources.collect::<Result<_, _>>()?))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|source| source.name.as_str())
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Source> {
        self.0.get(index)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of an issuer.
    pub fn of_issuer(&self, issuer: usize) -> impl Iterator<Item = &Source> {
        self.0.iter().filter(move |source| source.issuer == issuer)
    }

    /// The one that is asked for a token of an issuer, if any.
    #[must_use]
    pub fn of(&self, issuer: usize, claims: &json::Object) -> Option<usize> {
        self.0.iter().position(|source| source.issuer == issuer && source.is_for(claims))
    }
}

/// What is asked about one user. It may hold the user's token, and so is never printed.
#[derive(Clone, Default)]
pub struct Question {
    /// `:path`
    pub path: String,
    /// The JSON of a POST.
    pub body: Option<String>,
    /// Of the claims what the answer is read by.
    pub claims: json::Object,
    /// `sub`
    pub subject: String,
    /// `authorization`, where it is not Envoy's to add.
    pub authorization: Option<String>,
}

impl Question {
    /// What may be kept of it.
    pub(crate) fn without_token(&self) -> Self {
        Self { authorization: None, ..self.clone() }
    }

    /// Whom it is about, as far as that can be told.
    pub(crate) fn who(&self) -> &str {
        if self.subject.is_empty() { &self.path } else { &self.subject }
    }
}

type Fault = (&'static str, String, String);

impl Source {
    fn new(
        source: &GroupSource,
        authentication: &AuthenticationConfiguration,
        rules: Rules,
    ) -> Result<Self, Fault> {
        let fault = |field, got: &str, why: &str| (field, got.to_owned(), why.to_owned());
        let is_its = |jwt: &JwtAuthenticator| jwt.issuer_url() == source.issuer;
        let issuer = authentication.jwt().iter().position(is_its).ok_or_else(|| {
            let why = "must be an issuer.url of the AuthenticationConfiguration";
            fault("issuer", &source.issuer, why)
        })?;
        let mapped = authentication.jwt().get(issuer).and_then(JwtAuthenticator::groups_come_from);
        let claim = match (source.claim.as_str(), mapped) {
            (_, None) => {
                let why = "maps no groups: give it claimMappings.groups";
                return Err(fault("issuer", &source.issuer, why));
            }
            ("", Some("")) => {
                let why = "must be given where claimMappings.groups is an expression, which is to read it";
                return Err(fault("claim", "", why));
            }
            ("", Some(claim)) | (claim, Some("")) => claim,
            (claim, Some(mapped)) if claim == mapped => claim,
            (claim, Some(_)) => {
                return Err(fault(
                    "claim",
                    claim,
                    "must be the one that claimMappings.groups names",
                ));
            }
        };
        let template = |field, text: &str, place| {
            Template::compile(text, place, rules).map_err(|why| (field, text.to_owned(), why))
        };
        let program = |field, text: &str| {
            compile(text, Environment::Answer, rules)
                .map_err(|error| (field, text.to_owned(), error.to_string()))
        };
        let groups = program("groups", &source.groups)?;
        if !groups.may_be_list() {
            let why = format!("must be a list of strings and not a {}", groups.output_type());
            return Err(("groups", source.groups.clone(), why));
        }
        let check = match source.check.as_str() {
            "" => None,
            text => Some(program("check", text)?),
        };
        if let Some(check) = check.as_ref().filter(|check| !check.is_exactly_bool()) {
            let why = format!("must be a bool and not a {}", check.output_type());
            return Err(("check", source.check.clone(), why));
        }
        let mut claims = Usage::default();
        for program in check.iter().chain([&groups]) {
            claims.extend(program.claims());
        }
        let endpoint = Endpoint::parse(&source.url)
            .map_err(|error| ("url", source.url.clone(), error.to_string()))?;
        let body = (!source.body.is_empty()).then(|| template("body", &source.body, Place::Json));
        // A document was read, so that it can be written.
        let text = serde_json::to_vec(source).unwrap_or_default();
        let digest = Sha256::new().chain_update(text).chain_update(rules.to_string()).finalize();
        Ok(Self {
            name: source.name.clone(),
            digest: digest.into(),
            issuer,
            claim: claim.to_owned(),
            authority: endpoint.authority().to_owned(),
            base: endpoint.target().trim_end_matches('/').to_owned(),
            target: template("path", &source.path, Place::Target)?,
            body: body.transpose()?,
            policy: source.clone(),
            groups,
            check,
            claims,
        })
    }

    /// Whether it is asked for a token with these claims.
    fn is_for(&self, claims: &json::Object) -> bool {
        // `null` names no group, and does not say that there are none.
        let is_absent = || matches!(claims.get(&self.claim), None | Some(json::Value::Null));
        let is_said = || match claims.get(CLAIM_NAMES) {
            Some(json::Value::Object(names)) if names.get(&self.claim).is_some() => true,
            _ => is_true(claims.get(HAS_GROUPS)),
        };
        match self.policy.when {
            When::Always => true,
            When::ClaimAbsent => is_absent(),
            When::Overflow => is_absent() && is_said(),
        }
    }

    /// What is asked about the user with these claims. `token` is the user's own.
    ///
    /// # Errors
    /// If a claim cannot stand in a request.
    pub fn question(&self, claims: &json::Object, token: &[u8]) -> Result<Question, ValueError> {
        let subject = match claims.get("sub") {
            Some(json::Value::String(subject)) => subject.to_string(),
            _ => String::new(),
        };
        // Line ends in a part of a token change nothing of what it says. Envoy does not look into a header that a filter sends.
        if self.policy.send_token && !token.iter().all(u8::is_ascii_graphic) {
            let why = "has bytes that no header carries".to_owned();
            return Err(ValueError { expression: "the token".to_owned(), why });
        }
        let authorization =
            self.policy.send_token.then(|| format!("Bearer {}", String::from_utf8_lossy(token)));
        Ok(Question {
            path: format!("{}{}", self.base, self.target.render(claims)?),
            body: self.body.as_ref().map(|body| body.render(claims)).transpose()?,
            claims: self.kept(claims),
            subject,
            authorization,
        })
    }

    fn kept(&self, claims: &json::Object) -> json::Object {
        let is_kept = |name: &str| match &self.claims {
            Usage::Everything => true,
            Usage::Fields(fields) => fields.contains(name),
        };
        let members = claims.members().filter(|(name, _)| is_kept(name));
        members.map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }
}

/// `true`, or the text of it, which Entra ID has been seen to write.
fn is_true(value: Option<&json::Value>) -> bool {
    match value {
        Some(json::Value::Bool(value)) => *value,
        Some(json::Value::String(text)) => text == "true",
        _ => false,
    }
}
