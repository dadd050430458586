//! One request: headers in, the decision carried out.

use std::{mem, rc::Rc};

use gateway_core::{
    connections, cors,
    decision::{Attempt, Decision, Forward, ImpersonationWarning, Mode, Outcome, ResponsePolicy},
    headers::{self, RequestHead},
    longrunning,
    plan::HeaderPlan,
    refusal::Refusal,
    worker::Peer,
};
use gateway_hostcalls as hostcalls;
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::{Action, MapType},
};

use crate::{abi, gateway::Gateway, host, wake};

/// What a client is told whose `kubectl --as` had no effect (RFC 7234, section 5.5). kubectl prints it.
const WARNING: &str = "299 - \"impersonation (--as) is not available here: the gateway removed the \
                       Impersonate headers, the request ran as the signed-in user\"";

/// The id of the request in every log, kube-apiserver's included.
const AUDIT_ID: &str = "audit-id";
/// Ends the stream; Envoy's routes heed it (`max_stream_duration`).
const GRPC_TIMEOUT: &str = "grpc-timeout";
/// The property in which routes find the mode: filter state `wasm.mode`.
const MODE: &str = "mode";
/// What has become of a request that was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It may go on: what it carries is written.
    Forward,
    /// It has been answered.
    Answered,
    /// It waits.
    Waiting,
}

/// One request's context.
pub struct Stream {
    id: u32,
    /// Absent where the root context has no valid configuration.
    gateway: Option<Rc<Gateway>>,
    state: State,
}

/// What is remembered of a request once its headers have been read.
#[derive(Debug, Default)]
pub struct State {
    /// The id for the audit trail.
    audit_id: Vec<u8>,
    response: ResponsePolicy,
    body: Body,
    /// A value of `Warning` for the answer.
    warning: Option<Rc<str>>,
    /// The origin of the page that may use the answer.
    origin: Option<Vec<u8>>,
}

/// What becomes of the bytes that follow the headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Body {
    /// They go on.
    #[default]
    Forwarded,
    /// They wait until the server has agreed to the upgrade: before that it reads them as further requests, and they would have the
    /// credential of the connection (CVE-2026-73548).
    Awaited,
    /// Some wait.
    Buffered,
}

impl Stream {
    /// The context of this id.
    #[must_use]
    pub fn new(id: u32, gateway: Option<Rc<Gateway>>) -> Self {
        Self { id, gateway, state: State::default() }
    }
}

/// Decides on the stream that is the effective context, and carries the decision out. Whether it has a body counts at the first try.
pub fn decide(
    gateway: &Gateway,
    stream: u32,
    attempt: Attempt,
    has_body: bool,
) -> (Progress, State) {
    let Ok(headers) = hostcalls::get_map(MapType::HttpRequestHeaders) else {
        // No headers are not the same as headers that could not be read.
        refuse(&Refusal::Host, &[], None);
        return (Progress::Answered, State::default());
    };
    let head = RequestHead::read(&headers);
    let Outcome { decision, record, response, warning, origin, .. } = gateway.with(|worker| {
        let peer = Peer { address: &host::client_address, protocol: &host::protocol, has_body };
        let now = host::now();
        gateway.use_at(now);
        let outcome = worker.decide(&head, peer, attempt, now);
        if outcome.authenticated && !matches!(outcome.decision, Decision::Wait(_)) {
            let since = attempt.since.unwrap_or(now);
            worker.observe_authentication(host::now().saturating_sub(since));
        }
        outcome
    });
    // The logs learn of who waits once it is decided on.
    let waits = matches!(decision, Decision::Wait(_));
    let is_recorded = waits || record.is_none_or(|record| host::set_property("identity", &record));
    let refusal = match decision {
        Decision::Forward(forward) if is_recorded && apply(gateway, &forward, &head) => {
            if let Some(open) = forward.open {
                gateway.with(|worker| worker.opened(stream, open));
            }
            None
        }
        Decision::Open(mode) if is_recorded && open(gateway, mode, &head) => None,
        Decision::Forward(_) | Decision::Open(_) => Some(Refusal::Host),
        Decision::Refuse(refusal) => Some(refusal),
        Decision::Preflight => {
            let headers = [("cache-control", "no-cache, private")];
            let _ = hostcalls::send_http_response(204, &headers, &[]);
            let state = State { audit_id: head.audit_id.to_vec(), origin, ..State::default() };
            return (Progress::Answered, state);
        }
        Decision::Wait(wait) => {
            gateway.with(|worker| worker.wait(stream, wait, attempt, host::now())).err()
        }
    };
    let progress = match &refusal {
        Some(refusal) => {
            refuse(refusal, head.audit_id, gateway.with(|worker| worker.challenge()).as_deref());
            Progress::Answered
        }
        None if waits => Progress::Waiting,
        None => Progress::Forward,
    };
    let body = if head.upgrade { Body::Awaited } else { Body::Forwarded };
    (progress, State { audit_id: head.audit_id.to_vec(), response, body, warning, origin })
}

/// Writes the decision onto the stream that is the effective context. False if the host refused any part of it: then
/// the request must not go on.
fn apply(gateway: &Gateway, forward: &Forward, head: &RequestHead<'_>) -> bool {
    const REQUEST: MapType = MapType::HttpRequestHeaders;
    let add =
        |name: &str, value: &str| hostcalls::add_map_value(REQUEST, name, value.as_bytes()).is_ok();
    let mut done = true;
    for name in &head.remove {
        done &= hostcalls::remove_map_value(REQUEST, name).is_ok();
    }
    if let Some(after) = forward.cut_after {
        done &= add(GRPC_TIMEOUT, &longrunning::grpc_timeout(after));
    }
    // Any write makes Envoy choose the route anew, by the marks. These come last: without them neither the gate nor a route lets the
    // request through.
    match &forward.mode {
        // The client's token stays in `authorization`: the cluster's own filter overwrites it with the credential, or takes it away
        // (`lint`: lenient-injector). The route writes `audit-id`. Each call is 3,000 instructions.
        Mode::Impersonate { plan, protocols } => {
            for (name, value) in plan.headers() {
                done &= add(name, value);
            }
            for (name, value) in &forward.more {
                done &= add(name, value);
            }
            if let Some(protocols) = protocols {
                let name = "sec-websocket-protocol";
                done &= hostcalls::set_map_value(REQUEST, name, protocols).is_ok();
            }
            done && (!forward.is_compared || mark_values(plan))
                && mark(gateway, plan.user(), forward.mode.name())
        }
        Mode::OwnToken { user } => {
            done &= hostcalls::set_map_value(REQUEST, AUDIT_ID, head.audit_id).is_ok();
            done && mark(gateway, user, forward.mode.name())
        }
    }
}

/// Marks the stream for the routes of a mode that needs no login. No other route takes this mark.
fn open(gateway: &Gateway, mode: &str, head: &RequestHead<'_>) -> bool {
    const REQUEST: MapType = MapType::HttpRequestHeaders;
    let gone = head.remove.iter().all(|name| hostcalls::remove_map_value(REQUEST, name).is_ok());
    // The route is chosen anew, as in `apply`.
    gone && hostcalls::set_map_value(REQUEST, AUDIT_ID, head.audit_id).is_ok()
        && mark(gateway, connections::ANONYMOUS, mode)
}

/// The marks of the gate that compares what goes out with them.
fn mark_values(plan: &HeaderPlan) -> bool {
    let groups: Vec<_> = plan.groups().collect();
    (groups.is_empty() || host::set_property("groups", &groups.join(",")))
        && plan.uid().is_none_or(|uid| host::set_property("uid", uid))
}

/// The marks by which the gate and the routes know a request that may go on.
fn mark(gateway: &Gateway, user: &str, mode: &str) -> bool {
    if gateway.marks_connections && connections::is_signed_in(user) {
        // No door: without it the connection is closed after a time.
        host::set_property(connections::SIGNED_IN, "true");
    }
    host::set_property("user", user) && host::set_property(MODE, mode)
}

fn request_id() -> Vec<u8> {
    let id = hostcalls::get_map_value(MapType::HttpRequestHeaders, headers::REQUEST_ID);
    id.ok().flatten().unwrap_or_default()
}

/// Answers the stream that is the effective context.
///
/// A 401 says where to log in, if strangers are told: `challenge`.
fn refuse(refusal: &Refusal, audit_id: &[u8], challenge: Option<&str>) {
    host::set_property("deny", refusal.keyword());
    host::set_property("reason", &refusal.reason());
    let reply = refusal.reply();
    let audit_id = String::from_utf8_lossy(audit_id);
    let retry_after = reply.retry_after.map(|seconds| seconds.to_string());
    let mut headers = vec![
        ("content-type", "application/json"),
        ("cache-control", "no-cache, private"),
        (AUDIT_ID, &audit_id),
    ];
    if let Some(seconds) = &retry_after {
        headers.push(("retry-after", seconds));
    }
    let challenge = (reply.code == 401).then(|| refusal.challenge(challenge)).flatten();
    if let Some(challenge) = &challenge {
        headers.push(("www-authenticate", challenge));
    }
    let _ = hostcalls::send_http_response(reply.code, &headers, reply.body.as_bytes());
}

/// Ends the stream that is the effective context, which has gone upstream. To be called once for a stream: a second time crashes Envoy.
pub fn end(refusal: &Refusal) {
    /// What the access log says of how it ended.
    const DETAILS: &str = "access_revoked";
    host::set_property("deny", refusal.keyword());
    host::set_property("reason", &refusal.reason());
    let reply = refusal.reply();
    let headers = [("content-type", "application/json"), ("cache-control", "no-cache, private")];
    let _ = hostcalls::end_http_request(reply.code, DETAILS, &headers, reply.body.as_bytes());
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(gateway) = &self.gateway {
            gateway.closed(self.id);
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> Action {
        let Some(gateway) = self.gateway.clone() else {
            refuse(&Refusal::NotConfigured, &request_id(), None);
            return Action::Pause;
        };
        let (progress, state) = decide(&gateway, self.id, Attempt::default(), !end);
        self.state = state;
        match progress {
            Progress::Forward => return Action::Continue,
            Progress::Answered => {}
            Progress::Waiting => wake::wake_self(gateway.queue),
        }
        Action::Pause
    }

    fn on_http_request_body(&mut self, _size: usize, _end: bool) -> Action {
        if self.state.body == Body::Forwarded {
            return Action::Continue;
        }
        self.state.body = Body::Buffered;
        abi::hold_body();
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        const TRAILERS: MapType = MapType::HttpRequestTrailers;
        let Ok(trailers) = hostcalls::get_map(TRAILERS) else { return Action::Pause };
        for (name, _) in trailers {
            if headers::is_ours(&name) && hostcalls::remove_map_value(TRAILERS, &name).is_err() {
                return Action::Pause;
            }
        }
        if self.state.body == Body::Forwarded {
            return Action::Continue;
        }
        // To go on here would send what is held before them.
        self.state.body = Body::Buffered;
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        const RESPONSE: MapType = MapType::HttpResponseHeaders;
        let Self { state: State { response, warning, origin, .. }, .. } = self;
        if let Some(warning) = warning {
            let _ = hostcalls::add_map_value(RESPONSE, "warning", warning.as_bytes());
        }
        if let Some(origin) = origin {
            allow(origin);
        }
        if response.warning != ImpersonationWarning::Never && response.warning.holds(&mode()) {
            let _ = hostcalls::add_map_value(RESPONSE, "warning", WARNING.as_bytes());
        }
        let status = hostcalls::get_map_value(RESPONSE, ":status").ok().flatten();
        let status = status.as_deref().unwrap_or_default();
        if status == b"101" {
            let before = mem::replace(&mut self.state.body, Body::Forwarded);
            if before == Body::Buffered {
                let _ = hostcalls::resume_http_request();
            }
        } else if status == b"401" && !response.is_proxied && mode() == Mode::IMPERSONATE.as_bytes()
        {
            // kubectl takes a 401 for the user's token and would throw a good login away. This one is about ours.
            refuse(&Refusal::GatewayCredential, &self.state.audit_id, None);
            return Action::Pause;
        }
        Action::Continue
    }
}

/// Lets the page that asked use the answer, the gateway's own and Envoy's as well: every answer passes here.
fn allow(origin: &[u8]) {
    const RESPONSE: MapType = MapType::HttpResponseHeaders;
    let _ = hostcalls::set_map_value(RESPONSE, cors::ALLOWED, origin);
    for (name, value) in cors::HEADERS {
        let _ = hostcalls::set_map_value(RESPONSE, name, value.as_bytes());
    }
    let _ = hostcalls::remove_map_value(RESPONSE, cors::CREDENTIALS);
}

/// The mode in which this filter let the present stream through; empty if it did not.
fn mode() -> Vec<u8> {
    hostcalls::get_property(&[MODE]).ok().flatten().unwrap_or_default()
}
