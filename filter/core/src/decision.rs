//! What becomes of a request.

use std::{rc::Rc, time::Duration};

use crate::{access::OpenStream, lookups::LookupId, plan::HeaderPlan, refusal::Refusal};

/// A decision, and all else that is needed to carry it out.
#[derive(Debug)]
pub struct Outcome {
    /// What becomes of the request.
    pub decision: Decision,
    /// What the logs are to say of who made the request ([`crate::record`]), as far as it is known; of a refused one too.
    pub record: Option<Rc<str>>,
    /// Whether the token had to be verified: it was not in the cache.
    pub authenticated: bool,
    /// What the response will be held to.
    pub response: ResponsePolicy,
    /// A value of `Warning` for the answer.
    pub warning: Option<Rc<str>>,
    /// The origin of the page that asks, if it may use the answer ([`crate::cors`]).
    pub origin: Option<Vec<u8>>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// It goes upstream.
    Forward(Forward),
    /// It ends here.
    Refuse(Refusal),
    /// It ends here: a browser asks what a page may ask (204).
    Preflight,
    /// It needs no login, and no route of its mode leads to the API server: a stranger asks where to log in
    /// ([`crate::protected_resource`]), or an issuer says that a session has ended ([`crate::logout`]).
    Open(&'static str),
    /// It waits, and is then decided on again.
    Wait(Wait),
}

/// A request that goes upstream.
#[derive(Debug)]
pub struct Forward {
    /// With which credential, and as whom.
    pub mode: Mode,
    /// Headers of this request alone, beside the identity's: name and value.
    pub more: Vec<(String, String)>,
    /// When the stream is to end, from now.
    pub cut_after: Option<Duration>,
    /// Whether a gate behind the filter compares what goes out with the identity that the filter marks the request with. Where Envoy itself
    /// strips the client's headers there is no such gate.
    pub is_compared: bool,
    /// Of a request that lasts: what it is known by once it has gone upstream, where it may have to end before its client ends it.
    pub open: Option<OpenStream>,
}

/// The credential under which a request travels on.
#[derive(Debug)]
pub enum Mode {
    /// The gateway's own, as the identity of the plan.
    Impersonate {
        /// The identity's headers.
        plan: Rc<HeaderPlan>,
        /// The subprotocols to offer upstream, if a token was among them.
        protocols: Option<Vec<u8>>,
    },
    /// The one that the client sent.
    OwnToken {
        /// The user whose token it is.
        user: String,
    },
}

impl Mode {
    /// The name of [`Mode::Impersonate`].
    pub const IMPERSONATE: &str = "impersonate";
    /// The name of [`Mode::OwnToken`].
    pub const OWN_TOKEN: &str = "own-token";

    /// Its name: in metrics, and for routes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Impersonate { .. } => Self::IMPERSONATE,
            Self::OwnToken { .. } => Self::OWN_TOKEN,
        }
    }

    /// Whose request it is.
    #[must_use]
    pub fn user(&self) -> &str {
        match self {
            Self::Impersonate { plan, .. } => plan.user(),
            Self::OwnToken { user } => user,
        }
    }
}

/// What the response to a request is held to, once the request has gone upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponsePolicy {
    /// When the client is warned that its impersonation had no effect.
    pub warning: ImpersonationWarning,
    /// Whether what answers is behind the API server's proxy: its 401 is no word on the gateway's credential.
    pub is_proxied: bool,
}

/// When a client is warned that its impersonation had no effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImpersonationWarning {
    /// It asked for none.
    #[default]
    Never,
    /// If the request went on with its own token.
    WithOwnToken,
    /// In any mode.
    Always,
}

impl ImpersonationWarning {
    /// Whether the client is warned of a request that went on in the mode of this name. One that was refused has none.
    #[must_use]
    pub fn holds(self, mode: &[u8]) -> bool {
        let own_token = mode == Mode::OWN_TOKEN.as_bytes();
        match self {
            Self::Never => false,
            Self::WithOwnToken => own_token,
            Self::Always => own_token || mode == Mode::IMPERSONATE.as_bytes(),
        }
    }
}

/// What a request waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// An issuer's keys.
    Keys {
        /// The issuer's index.
        issuer: usize,
        /// Keys of this version are known not to verify the token; `None` if there are no keys at all.
        newer_than: Option<u64>,
    },
    /// Answers of the API server.
    Reviews(Vec<LookupId>),
    /// What an issuer says of the token.
    Introspection {
        /// The place of whom is asked in the configuration.
        endpoint: usize,
        /// The question.
        id: LookupId,
    },
    /// The answer of a groups endpoint. Reviews may follow: only then is it known who asks.
    Groups(LookupId),
    /// The answer of a group source.
    GroupSource(LookupId),
}

/// What a request has waited for already. It does not wait for the same twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Keys, so often: the token's own, and those of the issuer that signed its groups.
    pub keys: u8,
    /// Reviews.
    pub reviews: bool,
    /// Groups from elsewhere.
    pub groups: bool,
    /// What an issuer says of the token.
    pub introspection: bool,
    /// When it came, if it has waited.
    pub since: Option<Duration>,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Envoy's id of the stream.
    pub stream: u32,
    /// What it waits for.
    pub wait: Wait,
    /// What it has waited for, this included.
    pub attempt: Attempt,
    /// When it stops waiting.
    pub deadline: Duration,
}
