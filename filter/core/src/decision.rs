//! What becomes of a request.

use std::{rc::Rc, time::Duration};

use crate::{plan::HeaderPlan, refusal::Refusal, reviews::QuestionId};

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// It goes upstream.
    Forward(Forward),
    /// It ends here.
    Refuse(Refusal),
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
    Reviews(Vec<QuestionId>),
    /// The answer of a groups endpoint. Reviews may follow: only then is it known who asks.
    Groups(QuestionId),
}

/// What a request has waited for already. It does not wait for the same twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Keys, so often: the token's own, and those of the issuer that signed its groups.
    pub keys: u8,
    /// Reviews.
    pub reviews: bool,
    /// Distributed groups.
    pub groups: bool,
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
