//! Who asks: by a token that the gateway's filter knows, or by a header of somebody who is believed.

use std::{collections::BTreeMap, time::Duration};

use kube_authn::Identity;
use serde::Deserialize;

use super::{Now, Portal, Request, Step, answer::Answer, audit, token};
use crate::{credential, guard};

/// By what a user is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The header of a believed peer.
    Header,
    /// A bearer token.
    Bearer,
    /// The browser's login.
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
pub struct Who {
    /// The user.
    pub identity: Identity,
    /// By what.
    pub source: Source,
    /// When the login ends.
    pub until: Option<Duration>,
}

/// What the gateway's filter says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identified {
    /// Whose it is.
    As(Identity),
    /// Nobody's, or of somebody who may not come in.
    No,
    /// The filter cannot say: it has no keys yet, or does not answer.
    Unknown,
}

/// The filter's record of a user ([`crate::record`]).
#[derive(Deserialize)]
struct Record {
    user: User,
}

#[derive(Deserialize)]
struct User {
    username: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

impl Identified {
    /// Reads the answer to the callout: its status, and the filter's record of the user.
    #[must_use]
    pub fn read(status: u16, record: Option<&[u8]>) -> Self {
        match (status, record) {
            (200, Some(record)) => match serde_json::from_slice::<Record>(record) {
                Ok(Record { user: User { username, uid, groups, extra } }) => {
                    let extra = extra.into_iter().collect();
                    Self::As(Identity { username, groups, uid, extra })
                }
                Err(_) => Self::Unknown,
            },
            (401 | 403, _) => Self::No,
            _ => Self::Unknown,
        }
    }
}

/// Why nobody is known to ask: the status and the words.
pub struct Nobody {
    /// The status code.
    pub status: u16,
    /// For the client.
    pub why: String,
}

/// Either somebody or what has to come first.
pub enum Asking {
    /// Somebody.
    Known(Who),
    /// [`Step::Identify`]
    Identify(String),
}

impl Portal {
    /// Who asks.
    pub(super) fn who(
        &self,
        request: &Request,
        identified: Option<&Identified>,
    ) -> Result<Asking, Nobody> {
        let refused = |status, why: &str| Nobody { status, why: why.to_owned() };
        if let Some((token, source)) = self.login(request)? {
            return match identified {
                None => Ok(Asking::Identify(token)),
                Some(Identified::As(identity)) => {
                    let until =
                        token::expiry(&token).ok_or_else(|| refused(401, "Unauthorized"))?;
                    let outlives =
                        self.settings.identify.as_ref().is_some_and(|by| by.outlive_login);
                    // A token of the portal's own would make itself a new one, and so for ever.
                    let until =
                        (!outlives || token::is_own(&token, &self.settings)).then_some(until);
                    Ok(Asking::Known(Who { identity: identity.clone(), source, until }))
                }
                Some(Identified::No) => Err(refused(401, "Unauthorized")),
                Some(Identified::Unknown) => {
                    Err(refused(503, "the login cannot be checked at the moment"))
                }
            };
        }
        let identity = self.by_header(request)?;
        guard::check(&identity, &self.settings.reserved())
            .map_err(|error| Nobody { status: 403, why: error.to_string() })?;
        Ok(Asking::Known(Who { identity, source: Source::Header, until: None }))
    }

    /// The token of a login, where logins count.
    fn login(&self, request: &Request) -> Result<Option<(String, Source)>, Nobody> {
        let Some(identify) = &self.settings.identify else { return Ok(None) };
        let bad = |why: &str| Nobody { status: 400, why: why.to_owned() };
        let mut authorizations = request.values("authorization");
        let bearer = authorizations.next().and_then(credential::bearer);
        if authorizations.next().is_some() {
            return Err(bad("header Authorization stands twice"));
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
            && self.believes(request)
        {
            return Err(bad("a bearer token and a user header: which of them counts is not clear"));
        }
        let token = String::from_utf8(token.to_vec()).map_err(|_| bad("the token is not text"))?;
        Ok(Some((token, source)))
    }

    fn believes(&self, request: &Request) -> bool {
        let trust = &self.settings.trust;
        let address = || request.peer.address.parse().ok();
        trust.anybody
            || (trust.client_certificate && request.peer.client_certificate)
            || address()
                .is_some_and(|address| trust.networks.iter().any(|net| net.contains(address)))
    }

    fn by_header(&self, request: &Request) -> Result<Identity, Nobody> {
        let refused = |status, why: String| Nobody { status, why };
        let settings = &self.settings;
        let once = |name: &str| {
            let mut values = request.values(name);
            let first = values.next();
            if values.next().is_some() {
                return Err(refused(400, format!("header {name} stands twice")));
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
        if !self.believes(request) {
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
        now: &Now<'_>,
    ) -> Step {
        if let Err(error) = request.check_site(&self.settings) {
            return Step::Answer(Answer::error(403, &error.to_string()));
        }
        match self.who(request, identified) {
            Ok(Asking::Identify(token)) => Step::Identify { token },
            Ok(Asking::Known(who)) => {
                let most = Duration::from_secs(self.settings.max_lifetime_seconds);
                let most = who.until.map_or(most, |until| most.min(until.saturating_sub(now.time)));
                Step::Answer(Answer::json(
                    200,
                    &serde_json::json!({
                        "user": who.identity.username, "groups": who.identity.groups,
                        "maxLifetimeSeconds": most.as_secs(),
                        "kubeconfig": self.settings.template.is_some(),
                        "plugin": self.settings.template.is_some() && self.settings.plugin.is_some(),
                        "login": who.source == Source::Login,
                        "logout": self.settings.identify.as_ref().and_then(|by| by.logout.as_ref()),
                    }),
                ))
            }
            Err(nobody) => Step::Answer(nobody.json()),
        }
    }
}

impl Nobody {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Answer {
        self.dress(Answer::error(self.status, &self.why))
    }

    /// As text.
    #[must_use]
    pub fn text(&self) -> Answer {
        self.dress(Answer::text(self.status, &self.why))
    }

    fn dress(&self, answer: Answer) -> Answer {
        let answer = answer.audited(audit::refused(&self.why));
        match self.status {
            401 => answer.with("www-authenticate", "Bearer"),
            503 => answer.with("retry-after", "5"),
            _ => answer,
        }
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
