//! One request: headers in, the decision carried out.

use std::{mem, rc::Rc};

use gateway_core::{
    connections,
    decision::{Attempt, Decision, Forward, Mode, Wait},
    headers::{self, RequestHead},
    longrunning,
    plan::HeaderPlan,
    refusal::Refusal,
    worker::Peer,
};
use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext},
    types::{Action, MapType},
};

use crate::{abi, gateway::Gateway, host, wake};

/// What a client is told whose `kubectl --as` had no effect (RFC 7234, section 5.5). kubectl prints it.
const WARNING: &str = "299 - \"impersonation (--as) is not available here: the gateway removed the \
                       Impersonate headers, the request ran as the signed-in user\"";

/// The id of the request in every log, kube-apiserver's included.
const AUDIT_ID: &str = "audit-id";
const AUTHORIZATION: &str = "authorization";
/// Ends the stream; Envoy's routes heed it (`max_stream_duration`).
const GRPC_TIMEOUT: &str = "grpc-timeout";
/// `wasm.mode` of requests that go on under the gateway's credential.
const IMPERSONATE: &str = "impersonate";
/// `wasm.mode` of requests that go on with their own token.
const OWN_TOKEN: &str = "own-token";

/// What remains to be known of a request once its headers are read.
pub struct Head {
    /// The id for the audit trail.
    pub audit_id: Vec<u8>,
    remove: Vec<String>,
    asked: bool,
    proxied: bool,
    body: Body,
    /// The logs know who made the request.
    recorded: bool,
}

/// One request's context.
pub struct Stream {
    id: u32,
    /// Absent where the root context has no valid configuration.
    gateway: Option<Rc<Gateway>>,
    audit_id: Vec<u8>,
    asked: bool,
    proxied: bool,
    body: Body,
}

/// What becomes of the bytes that follow the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// They go on.
    Free,
    /// They wait until the server has agreed to the upgrade: before that it reads them as further requests, and they would have the
    /// credential of the connection (CVE-2026-73548).
    Awaited,
    /// Some wait.
    Held,
}

impl Stream {
    /// The context of this id.
    #[must_use]
    pub fn new(id: u32, gateway: Option<Rc<Gateway>>) -> Self {
        let audit_id = Vec::new();
        Self { id, gateway, audit_id, asked: false, proxied: false, body: Body::Free }
    }
}

/// Decides on the stream that is the effective context.
pub fn decide(gateway: &Gateway, attempt: Attempt) -> (Decision, Head) {
    let headers = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default();
    let head = RequestHead::read(&headers);
    let (decision, record) = gateway.with(|worker| {
        let (peer, now) = (Peer { address: &host::client_address }, host::now());
        gateway.use_at(now);
        let decision = worker.decide(&head, peer, attempt, now);
        if worker.had_to_authenticate() && !matches!(decision, Decision::Wait(_)) {
            worker.took(host::now().saturating_sub(attempt.since.unwrap_or(now)));
        }
        (decision, worker.signed_in())
    });
    let recorded = match (&decision, record) {
        (Decision::Forward(_) | Decision::Refuse(_), Some(record)) => {
            host::set_property("identity", &record)
        }
        _ => true,
    };
    let head = Head {
        remove: head.remove.iter().map(|&name| name.to_owned()).collect(),
        audit_id: head.audit_id.to_vec(),
        asked: head.asked,
        proxied: headers::is_proxied(head.path),
        body: if head.upgrade { Body::Awaited } else { Body::Free },
        recorded,
    };
    (decision, head)
}

/// Lets the stream that is the effective context wait. `Err` with the refusal if it cannot.
pub fn wait(gateway: &Gateway, stream: u32, wait: Wait, attempt: Attempt) -> Result<(), Refusal> {
    gateway.with(|worker| worker.wait(stream, wait, attempt, host::now()))
}

/// Writes the decision onto the stream that is the effective context. False if the host refused any part of it: then
/// the request must not go on.
pub fn apply(gateway: &Gateway, forward: &Forward, head: &Head) -> bool {
    const REQUEST: MapType = MapType::HttpRequestHeaders;
    let add = |name: &str, value: &str| {
        hostcalls::add_map_value_bytes(REQUEST, name, value.as_bytes()).is_ok()
    };
    let mut done = head.recorded;
    for name in &head.remove {
        done &= hostcalls::remove_map_value(REQUEST, name).is_ok();
    }
    // Any write makes Envoy choose the route anew, by the marks below; this one is always there.
    done &= hostcalls::set_map_value_bytes(REQUEST, AUDIT_ID, Some(&head.audit_id)).is_ok();
    if let Some(after) = forward.cut_after {
        done &= add(GRPC_TIMEOUT, &longrunning::grpc_timeout(after));
    }
    // The marks come last: without them neither the gate nor a route lets the request through.
    match &forward.mode {
        Mode::Impersonate { plan, protocols } => {
            done &= hostcalls::remove_map_value(REQUEST, AUTHORIZATION).is_ok();
            for (name, value) in plan.headers() {
                done &= add(name, value);
            }
            for (name, value) in &forward.more {
                done &= add(name, value);
            }
            if let Some(protocols) = protocols {
                let name = "sec-websocket-protocol";
                done &= hostcalls::set_map_value_bytes(REQUEST, name, Some(protocols)).is_ok();
            }
            done && mark_values(gateway, plan) && mark(gateway, plan.user(), IMPERSONATE)
        }
        Mode::OwnToken { user } => done && mark(gateway, user, OWN_TOKEN),
    }
}

/// The marks of the gate that compares what goes out with them. Where Envoy itself strips the client's headers there
/// is no such gate.
fn mark_values(gateway: &Gateway, plan: &HeaderPlan) -> bool {
    if !gateway.with(|worker| worker.reads_impersonation()) {
        return true;
    }
    let groups: Vec<_> = plan.groups().collect();
    (groups.is_empty() || host::set_property("groups", &groups.join(",")))
        && plan.uid().is_none_or(|uid| host::set_property("uid", uid))
}

fn mark(gateway: &Gateway, user: &str, mode: &str) -> bool {
    if gateway.marks_connections && connections::is_signed_in(user) {
        // No door: without it the connection is closed after a time.
        host::set_property(connections::SIGNED_IN, "true");
    }
    host::set_property("user", user) && host::set_property("mode", mode)
}

fn request_id() -> Vec<u8> {
    let id = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, headers::REQUEST_ID);
    id.ok().flatten().unwrap_or_default()
}

/// Answers the stream that is the effective context.
pub fn refuse(refusal: &Refusal, audit_id: &[u8]) {
    host::set_property("deny", refusal.keyword());
    host::set_property("reason", &refusal.reason());
    let answer = refusal.answer();
    let audit_id = String::from_utf8_lossy(audit_id);
    let retry_after = answer.retry_after.map(|seconds| seconds.to_string());
    let mut headers = vec![
        ("content-type", "application/json"),
        ("cache-control", "no-cache, private"),
        (AUDIT_ID, &audit_id),
    ];
    if let Some(seconds) = &retry_after {
        headers.push(("retry-after", seconds));
    }
    let _ =
        hostcalls::send_http_response(answer.code.into(), headers, Some(answer.body.as_bytes()));
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let Some(gateway) = self.gateway.clone() else {
            refuse(&Refusal::NotConfigured, &request_id());
            return Action::Pause;
        };
        let (decision, head) = decide(&gateway, Attempt::default());
        self.asked = head.asked;
        self.proxied = head.proxied;
        self.audit_id.clone_from(&head.audit_id);
        self.body = head.body;
        let refusal = match decision {
            Decision::Forward(forward) if apply(&gateway, &forward, &head) => {
                return Action::Continue;
            }
            Decision::Forward(_) => Refusal::Host,
            Decision::Refuse(refusal) => refusal,
            Decision::Wait(waited) => match wait(&gateway, self.id, waited, Attempt::default()) {
                Ok(()) => {
                    wake::wake_self(gateway.queue);
                    return Action::Pause;
                }
                Err(refusal) => refusal,
            },
        };
        refuse(&refusal, &head.audit_id);
        Action::Pause
    }

    fn on_http_request_body(&mut self, _size: usize, _end: bool) -> Action {
        if self.body == Body::Free {
            return Action::Continue;
        }
        self.body = Body::Held;
        abi::hold_body();
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        const TRAILERS: MapType = MapType::HttpRequestTrailers;
        for (name, _) in hostcalls::get_map_bytes(TRAILERS).unwrap_or_default() {
            if headers::is_identity(&name) {
                let _ = hostcalls::remove_map_value(TRAILERS, &name);
            }
        }
        if self.body == Body::Free {
            return Action::Continue;
        }
        // To go on here would send what is held before them.
        self.body = Body::Held;
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        const RESPONSE: MapType = MapType::HttpResponseHeaders;
        if self.asked && self.ran_as_itself() {
            let _ = hostcalls::add_map_value(RESPONSE, "warning", WARNING);
        }
        let status = hostcalls::get_map_value_bytes(RESPONSE, ":status").ok().flatten();
        let status = status.as_deref().unwrap_or_default();
        if status == b"101" {
            let before = mem::replace(&mut self.body, Body::Free);
            if before == Body::Held {
                let _ = hostcalls::resume_http_request();
            }
        } else if status == b"401" && !self.proxied && is_mode(IMPERSONATE) {
            // kubectl takes a 401 for the user's token and would throw a good login away. This one is about ours.
            refuse(&Refusal::GatewayCredential, &self.audit_id);
            return Action::Pause;
        }
        Action::Continue
    }
}

impl Stream {
    /// Whether the request went on, and without the client's impersonation. A refused one went nowhere.
    fn ran_as_itself(&self) -> bool {
        let honours = self
            .gateway
            .as_ref()
            .is_some_and(|gateway| gateway.with(|worker| worker.honours_impersonation()));
        is_mode(OWN_TOKEN) || !honours && is_mode(IMPERSONATE)
    }
}

/// Whether this filter let the present stream through in this mode.
fn is_mode(mode: &str) -> bool {
    matches!(hostcalls::get_property(vec!["mode"]), Ok(Some(found)) if found == mode.as_bytes())
}
