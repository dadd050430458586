//! Who asks: the user of a token that the gateway's filter knows, or of a header from a trusted peer.

use std::time::Duration;

use gateway_core::{access, credential, guard, portal_token, record};
use kube_authn::Identity;

use super::{DecisionContext, Portal, Request, Step, audit, response::Response};

/// How a caller is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// By the header of a trusted peer.
    Header,
    /// By a bearer token.
    Bearer,
    /// By the browser's login.
    Login,
}

impl Source {
    /// For the audit trail.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Bearer => "bearer",
            Self::Login => "login",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// As the token or the header names it.
    pub identity: Identity,
    /// How that is known.
    pub source: Source,
    /// When the login ends.
    pub until: Option<Duration>,
    /// Whether it is no login, but a token that the portal made with one, which may end before others of that login.
    pub is_made: bool,
    /// Whose token it is to its issuer, where the filter says so.
    pub origin: Option<Origin>,
    /// The name of the login's session, where sessions can be ended.
    pub session: Option<String>,
}

/// Whose token it is to its issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The issuer.
    pub issuer: String,
    /// The token's `sub`; empty where nothing is lent to users of this issuer.
    pub subject: String,
    /// The rules of elevation whose expressions are true of the user.
    pub meets: Vec<String>,
    /// What a token that is made with it is to carry, so that it ends with it.
    pub names: Option<Box<access::Origin>>,
}

/// What the gateway's filter says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identified {
    /// Whose it is.
    As(Identity, Origin),
    /// Refusal's, or of somebody who may not come in.
    No,
    /// The filter cannot say: it has no keys yet, or does not answer.
    Unknown,
}

impl Identified {
    /// Reads the answer to the callout: its status, and the filter's record of the user.
    #[must_use]
    pub fn read(status: u16, record: Option<&[u8]>) -> Self {
        match (status, record) {
            (200, Some(record)) => {
                let text = std::str::from_utf8(record).unwrap_or_default();
                let origin = Origin {
                    issuer: record::read_value(text, "issuer").unwrap_or_default(),
                    subject: record::read_value(text, "subject").unwrap_or_default(),
                    meets: record::read_values(text, "may").collect(),
                    names: record::read_origin(text)
                        .and_then(|text| access::Origin::read(&text))
                        .map(Box::new),
                };
                record::read_user(text).map_or(Self::Unknown, |user| Self::As(user, origin))
            }
            (401 | 403, _) => Self::No,
            _ => Self::Unknown,
        }
    }
}

/// Why a request is refused: the status, and the words for the client.
pub struct Refusal {
    pub status: u16,
    pub why: String,
}

/// Why it is not known who asks.
pub enum Unidentified {
    /// [`Step::Identify`] comes first.
    Token(String),
    /// Refusal who may ask.
    Refused(Refusal),
}

impl From<Refusal> for Unidentified {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Portal {
    /// Who asks.
    pub(super) fn caller(
        &self,
        request: &Request,
        identified: Option<&Identified>,
    ) -> Result<Caller, Unidentified> {
        let refused = |status, why: &str| Refusal { status, why: why.to_owned() };
        if let Some((token, source)) = self.login(request)? {
            return match identified {
                None => Err(Unidentified::Token(token)),
                Some(Identified::As(identity, origin)) => {
                    let until =
                        portal_token::expiry(&token).ok_or_else(|| refused(401, "Unauthorized"))?;
                    let outlives =
                        self.settings.identify.as_ref().is_some_and(|by| by.outlive_login);
                    // A token of the portal's own would make itself a new one, and so for ever.
                    let is_made = portal_token::is_own(&token, self.settings.issuer.as_deref());
                    let until = (!outlives || is_made).then_some(until);
                    let (identity, origin) = (identity.clone(), Some(origin.clone()));
                    let session = self.session_of(&token);
                    Ok(Caller { identity, source, until, is_made, origin, session })
                }
                Some(Identified::No) => Err(refused(401, "Unauthorized").into()),
                Some(Identified::Unknown) => {
                    Err(refused(503, "the login cannot be checked at the moment").into())
                }
            };
        }
        let identity = self.by_header(request)?;
        guard::check(&identity, &self.settings.reserved())
            .map_err(|error| Refusal { status: 403, why: error.to_string() })?;
        Ok(Caller {
            identity,
            source: Source::Header,
            until: None,
            is_made: false,
            origin: None,
            session: None,
        })
    }

    /// The token of a login, where logins count.
    fn login(&self, request: &Request) -> Result<Option<(String, Source)>, Refusal> {
        let Some(identify) = &self.settings.identify else { return Ok(None) };
        let bad = |why: &str| Refusal { status: 400, why: why.to_owned() };
        let mut authorizations = request.values("authorization");
        let bearer = authorizations.next().and_then(credential::bearer);
        if authorizations.next().is_some() {
            return Err(bad("header Authorization is there twice"));
        }
        let cookie = identify.cookie.as_deref().and_then(|name| request.cookie(name));
        // Before the browser's login Envoy takes the header away, or passes the request with a cookie that it did not open.
        let (token, source) = match (bearer, cookie) {
            (Some(token), _) => (token, Source::Bearer),
            (None, Some(token)) => (token, Source::Login),
            (None, None) => return Ok(None),
        };
        if source == Source::Bearer
            && request.value(&self.settings.user_header).is_some()
            && self.trusts(request)
        {
            return Err(bad("a bearer token and a user header: which of them counts is not clear"));
        }
        let token = String::from_utf8(token.to_vec()).map_err(|_| bad("the token is not text"))?;
        Ok(Some((token, source)))
    }

    fn trusts(&self, request: &Request) -> bool {
        let trust = &self.settings.trust;
        let address = || request.peer.address.parse().ok();
        trust.anybody
            || (trust.client_certificate && request.peer.client_certificate)
            || address()
                .is_some_and(|address| trust.networks.iter().any(|net| net.contains(address)))
    }

    fn by_header(&self, request: &Request) -> Result<Identity, Refusal> {
        let refused = |status, why: String| Refusal { status, why };
        let settings = &self.settings;
        let once = |name: &str| {
            let mut values = request.values(name);
            let first = values.next();
            if values.next().is_some() {
                return Err(refused(400, format!("header {name} is there twice")));
            }
            first
                .map(|value| String::from_utf8(value.to_vec()))
                .transpose()
                .map_err(|_| refused(400, format!("header {name} is not text")))
        };
        let username = once(&settings.user_header)?.unwrap_or_default();
        if username.is_empty() {
            let why =
                format!("cannot extract username from header {}", go_header(&settings.user_header));
            return Err(refused(400, why));
        }
        if !self.trusts(request) {
            let why = format!(
                "header {} is not believed from this peer",
                go_header(&settings.user_header)
            );
            return Err(refused(403, why));
        }
        let groups = once(&settings.group_header)?.unwrap_or_default();
        let groups = if settings.group_header_delimiter.is_empty() {
            vec![groups]
        } else {
            groups.split(&settings.group_header_delimiter).map(str::to_owned).collect()
        };
        let groups = groups.into_iter().filter(|group| !group.is_empty()).collect();
        Ok(Identity { username, groups, ..Identity::default() })
    }

    /// `GET /whoami`, for the page: JSON with the user, the groups and the longest lifetime.
    pub(super) fn whoami(
        &self,
        request: &Request,
        identified: Option<&Identified>,
        now: &DecisionContext<'_>,
    ) -> Step {
        if let Err(error) = request.check_site(&self.settings) {
            return Step::Respond(Response::error(403, &error.to_string()));
        }
        match self.caller(request, identified) {
            Ok(caller) => {
                let most = Duration::from_secs(self.settings.max_lifetime_seconds);
                let most =
                    caller.until.map_or(most, |until| most.min(until.saturating_sub(now.time)));
                Step::Respond(Response::json(
                    200,
                    &serde_json::json!({
                        "user": caller.identity.username, "groups": caller.identity.groups,
                        "maxLifetimeSeconds": most.as_secs(),
                        "kubeconfig": self.settings.template.is_some(),
                        "plugin": self.settings.template.is_some() && self.settings.plugin.is_some(),
                        "elevation": self.settings.elevation.is_some(),
                        "login": caller.source == Source::Login,
                        "ends": caller.session.is_some(),
                        "logout": self.settings.identify.as_ref().and_then(|by| by.logout.as_ref()),
                    }),
                ))
            }
            Err(unidentified) => unidentified.json(),
        }
    }
}

impl Unidentified {
    /// What is done next, with errors as JSON.
    #[must_use]
    pub fn json(self) -> Step {
        self.step(|Refusal { status, why }| Response::error(*status, why))
    }

    /// The same, with errors as text.
    #[must_use]
    pub fn text(self) -> Step {
        self.step(|Refusal { status, why }| Response::text(*status, why))
    }

    fn step(self, response: impl Fn(&Refusal) -> Response) -> Step {
        let refusal = match self {
            Self::Token(token) => return Step::Identify { token },
            Self::Refused(refusal) => refusal,
        };
        let response = response(&refusal).audited(audit::refused(&refusal.why));
        Step::Respond(match refusal.status {
            401 => response.with("www-authenticate", "Bearer"),
            503 => response.with("retry-after", "5"),
            _ => response,
        })
    }
}

/// The name as Go writes it, which is how kubehook names the header in its answers.
fn go_header(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_ascii_uppercase().to_string() + letters.as_str()
            })
        })
        .collect::<Vec<_>>()
        .join("-")
}
