//! How a decision becomes headers, marks and answers. The adapters bring the calls of their host, and what they may hold.

use std::rc::Rc;

use crate::{
    connections, cors,
    decision::{Forward, ImpersonationWarning, Mode, ResponsePolicy},
    headers::RequestHead,
    longrunning,
    plan::HeaderPlan,
    refusal::Refusal,
};

/// What a client is told whose `kubectl --as` had no effect (RFC 7234, section 5.5). kubectl prints it.
const WARNING: &str = "299 - \"impersonation (--as) is not available here: the gateway removed the \
                       Impersonate headers, the request ran as the signed-in user\"";
/// The id of the request in every log, kube-apiserver's included.
const AUDIT_ID: &str = "audit-id";
/// Ends the stream; Envoy's routes heed it (`max_stream_duration`).
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Filter state, where gates, routes and logs read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Whose request it is. Without it no gate lets it through.
    User,
    /// The groups that the gate compares.
    Groups,
    /// The uid that the gate compares.
    Uid,
    /// By which route it goes.
    Mode,
    /// What the logs are to say of who made it.
    Identity,
    /// Why it was refused, in a word.
    Deny,
    /// Why it was refused, in a sentence.
    Reason,
    /// The filter has to see the answer, whatever its status.
    Answer,
}

impl Mark {
    /// Its name in filter state: that under which Envoy shows the Wasm filter's properties, in both forms.
    #[must_use]
    pub fn filter_state(self) -> &'static str {
        match self {
            Self::User => "wasm.user",
            Self::Groups => "wasm.groups",
            Self::Uid => "wasm.uid",
            Self::Mode => "wasm.mode",
            Self::Identity => "wasm.identity",
            Self::Deny => "wasm.deny",
            Self::Reason => "wasm.reason",
            Self::Answer => "wasm.answer",
        }
    }

    /// Its name as a property of the Wasm filter's.
    #[must_use]
    pub fn property(self) -> &'static str {
        let name = self.filter_state();
        name.strip_prefix("wasm.").unwrap_or(name)
    }
}

/// The value of [`Mark::Answer`].
pub const ANSWER: &str = "true";

/// The calls by which an adapter changes a request. Each is false if the host refused: then the request must not go on.
pub trait Request {
    /// Adds a header beside those of its name.
    #[must_use]
    fn add(&self, name: &str, value: &str) -> bool;
    /// Puts a header in the place of those of its name.
    #[must_use]
    fn set(&self, name: &str, value: &[u8]) -> bool;
    /// Removes all headers of a name.
    #[must_use]
    fn remove(&self, name: &str) -> bool;
    /// Sets filter state.
    #[must_use]
    fn mark(&self, mark: Mark, value: &str) -> bool;
}

/// The calls by which an adapter changes an answer. What fails is left as it is.
pub trait Answer {
    /// Adds a header beside those of its name.
    fn add(&self, name: &str, value: &str);
    /// Puts a header in the place of those of its name.
    fn set(&self, name: &str, value: &[u8]);
    /// Removes all headers of a name.
    fn remove(&self, name: &str);
}

/// Writes the decision. False if the host refused any part of it: then the request must not go on.
///
/// Envoy writes `audit-id` of a request that impersonates, and its cluster's own filter overwrites the client's token with the credential,
/// or takes it away (`lint`: lenient-injector; docs/decisions, 32). So neither is written here.
///
/// Any write makes Envoy choose the route anew, or the adapter has it do so. The marks come last: without them neither the gate nor a
/// route lets the request through.
#[must_use]
pub fn write(forward: &Forward, head: &RequestHead<'_>, request: &impl Request) -> bool {
    let mut done = remove(head, request);
    if let Some(after) = forward.cut_after {
        done &= request.add(GRPC_TIMEOUT, &longrunning::grpc_timeout(after));
    }
    match &forward.mode {
        Mode::Impersonate { plan, protocols } => {
            for (name, value) in plan.headers() {
                done &= request.add(name, value);
            }
            for (name, value) in &forward.more {
                done &= request.add(name, value);
            }
            if let Some(protocols) = protocols {
                done &= request.set("sec-websocket-protocol", protocols);
            }
            done = done && (!forward.is_compared || mark_values(plan, request));
        }
        Mode::OwnToken { .. } => done &= request.set(AUDIT_ID, head.audit_id),
    }
    done && mark(forward.mode.user(), forward.mode.name(), request)
}

/// Marks the request for the routes of a mode that needs no login. No other route takes this mark.
#[must_use]
pub fn open(mode: &str, head: &RequestHead<'_>, request: &impl Request) -> bool {
    remove(head, request)
        && request.set(AUDIT_ID, head.audit_id)
        && mark(connections::ANONYMOUS, mode, request)
}

fn remove(head: &RequestHead<'_>, request: &impl Request) -> bool {
    head.remove.iter().all(|name| request.remove(name))
}

/// The marks of the gate that compares what goes out with them.
fn mark_values(plan: &HeaderPlan, request: &impl Request) -> bool {
    let groups: Vec<_> = plan.groups().collect();
    (groups.is_empty() || request.mark(Mark::Groups, &groups.join(",")))
        && plan.uid().is_none_or(|uid| request.mark(Mark::Uid, uid))
}

/// The marks by which the gate and the routes know a request that may go on.
fn mark(user: &str, mode: &str, request: &impl Request) -> bool {
    request.mark(Mark::User, user) && request.mark(Mark::Mode, mode)
}

/// What is remembered of a request until its answer comes.
#[derive(Debug, Default)]
pub struct Remembered {
    /// The id for the audit trail.
    pub audit_id: Vec<u8>,
    /// What the answer is held to.
    pub response: ResponsePolicy,
    /// A value of `Warning` for the answer.
    pub warning: Option<Rc<str>>,
    /// The origin of the page that may use the answer.
    pub origin: Option<Vec<u8>>,
}

impl Remembered {
    /// Sees to it that the answer comes to the filter, if more than its status may count. Envoy keeps what an API server says every day
    /// from the Wasm filter (docs/decisions, 32). False if the host refused: then the request must not go on.
    #[must_use]
    pub fn claim(&self, body: Body, request: &impl Request) -> bool {
        let counts = self.warning.is_some()
            || self.origin.is_some()
            || self.response.warning != ImpersonationWarning::Never
            || body != Body::Forwarded;
        !counts || request.mark(Mark::Answer, ANSWER)
    }

    /// Writes into an answer what it has to say beside the server's words. `mode` is that in which the request went on; empty if it did
    /// not.
    pub fn write(&self, answer: &impl Answer, mode: impl FnOnce() -> Vec<u8>) {
        if let Some(warning) = &self.warning {
            answer.add("warning", warning);
        }
        if let Some(origin) = &self.origin {
            // The page that asked may use it, the gateway's own answers and Envoy's as well.
            answer.set(cors::ALLOWED, origin);
            for (name, value) in cors::HEADERS {
                answer.set(name, value.as_bytes());
            }
            answer.remove(cors::CREDENTIALS);
        }
        let warning = self.response.warning;
        if warning != ImpersonationWarning::Never && warning.holds(&mode()) {
            answer.add("warning", WARNING);
        }
    }

    /// Whether an answer of this status is about the gateway's own credential. kubectl takes a 401 for the user's token, and would throw a
    /// good login away.
    #[must_use]
    pub fn is_of_the_gateway(&self, status: &[u8], mode: impl FnOnce() -> Vec<u8>) -> bool {
        status == b"401" && !self.response.is_proxied && mode() == Mode::IMPERSONATE.as_bytes()
    }
}

/// What becomes of the bytes that follow the headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Body {
    /// They go on.
    #[default]
    Forwarded,
    /// They wait until the server has agreed to the upgrade: before that it reads them as further requests, and they would have the
    /// credential of the connection (CVE-2026-73548).
    Awaited,
    /// Some wait.
    Buffered,
}

impl Body {
    /// What becomes of those of a request.
    #[must_use]
    pub fn of(head: &RequestHead<'_>) -> Self {
        if head.upgrade { Self::Awaited } else { Self::Forwarded }
    }

    /// Some have come. True if they must wait.
    #[must_use]
    pub fn holds(&mut self) -> bool {
        if *self == Self::Forwarded {
            return false;
        }
        *self = Self::Buffered;
        true
    }

    /// The server has answered. True if it has agreed to the upgrade, and some wait that are to go on now.
    #[must_use]
    pub fn releases(&mut self, status: &[u8]) -> bool {
        status == b"101" && std::mem::take(self) == Self::Buffered
    }
}

/// The answer to a request that is refused.
#[derive(Debug)]
pub struct Refused {
    /// The status.
    pub code: u16,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// A Kubernetes `Status`.
    pub body: String,
}

impl Refused {
    /// The answer to a refusal. A 401 says where to log in, if strangers are told: `challenge`.
    #[must_use]
    pub fn new(refusal: &Refusal, audit_id: &[u8], challenge: Option<&str>) -> Self {
        let reply = refusal.reply();
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", NO_STORE.to_owned()),
            (AUDIT_ID, String::from_utf8_lossy(audit_id).into_owned()),
        ];
        headers.extend(reply.retry_after.map(|seconds| ("retry-after", seconds.to_string())));
        if reply.code == 401 {
            let challenge = refusal.challenge(challenge);
            headers.extend(challenge.map(|challenge| ("www-authenticate", challenge)));
        }
        Self { code: reply.code, headers, body: reply.body }
    }

    /// The answer to a browser that asks what a page may ask.
    #[must_use]
    pub fn preflight() -> Self {
        let headers = vec![("cache-control", NO_STORE.to_owned())];
        Self { code: 204, headers, body: String::new() }
    }
}

/// As kube-apiserver has it on every answer.
const NO_STORE: &str = "no-cache, private";

#[cfg(test)]
mod tests;
