//! What becomes of a request.

use std::{rc::Rc, time::Duration};

use crate::{plan::HeaderPlan, refusal::Refusal};

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// It goes upstream as the identity of the plan.
    Forward(Forward),
    /// It ends here.
    Refuse(Refusal),
    /// It waits until its issuer's keys are here, or newer ones, or until they are known not to come.
    Wait(Wait),
}

/// A request that goes upstream.
#[derive(Debug)]
pub struct Forward {
    /// The identity's headers.
    pub plan: Rc<HeaderPlan>,
    /// The subprotocols to offer upstream, if a token was among them.
    pub protocols: Option<Vec<u8>>,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The issuer's index.
    pub issuer: usize,
    /// Keys of this version are known not to verify the token; `None` if there are no keys at all.
    pub newer_than: Option<u64>,
}

/// How often a request has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It has just arrived.
    First,
    /// It has waited; it will not wait again.
    Waited,
}

/// A request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    /// Envoy's id of the stream.
    pub stream: u32,
    /// What it waits for.
    pub wait: Wait,
    /// When it stops waiting.
    pub deadline: Duration,
}
