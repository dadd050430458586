//! One request: headers in, the decision carried out.

use std::rc::Rc;

use gateway_core::{
    connections,
    decision::{Attempt, Decision, Outcome},
    headers::{self, RequestHead},
    refusal::Refusal,
    stream::{self, Answer, Body, Mark, Refused, Remembered, Request},
    worker::Peer,
};
use gateway_hostcalls as hostcalls;
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::{Action, MapType},
};

use crate::{abi, gateway::Gateway, host, wake};

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
    body: Body,
    remembered: Remembered,
    /// Whether it has waited: then its root context has decided on it, and what is remembered of it is there.
    waited: bool,
}

impl Stream {
    /// The context of this id.
    #[must_use]
    pub fn new(id: u32, gateway: Option<Rc<Gateway>>) -> Self {
        let (body, remembered) = (Body::default(), Remembered::default());
        Self { id, gateway, body, remembered, waited: false }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(gateway) = &self.gateway {
            if self.waited {
                let _ = gateway.remembered(self.id);
            }
            gateway.closed(self.id);
        }
    }
}

/// What a decision came to.
pub struct Decided {
    /// What has become of the request.
    pub progress: Progress,
    /// What becomes of its early bytes.
    body: Body,
    /// What is remembered of it.
    pub remembered: Remembered,
}

/// Decides on the stream that is the effective context, and carries the decision out. Whether it has a body counts at the first try.
pub fn decide(gateway: &Gateway, stream: u32, attempt: Attempt, has_body: bool) -> Decided {
    let Ok(pairs) = hostcalls::get_pairs(MapType::HttpRequestHeaders) else {
        // No headers are not the same as headers that could not be read.
        refuse(&Refusal::Host, &[], None);
        let (body, remembered) = (Body::default(), Remembered::default());
        return Decided { progress: Progress::Answered, body, remembered };
    };
    let headers = pairs.list();
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
    let body = Body::of(&head);
    let remembered = Remembered { audit_id: head.audit_id.to_vec(), response, warning, origin };
    // The logs learn of who waits once it is decided on.
    let waits = matches!(decision, Decision::Wait(_));
    let is_recorded = waits
        || record.is_none_or(|record| OfRequest.mark(Mark::Identity, &record))
            && remembered.claim(body, &OfRequest);
    let refusal = match decision {
        Decision::Forward(forward) if is_recorded && stream::write(&forward, &head, &OfRequest) => {
            mark_connection(gateway, forward.mode.user());
            if let Some(open) = forward.open {
                gateway.with(|worker| worker.opened(stream, open));
            }
            None
        }
        Decision::Open(mode) if is_recorded && stream::open(mode, &head, &OfRequest) => None,
        Decision::Forward(_) | Decision::Open(_) => Some(Refusal::Host),
        Decision::Refuse(refusal) => Some(refusal),
        Decision::Preflight => {
            respond(&Refused::preflight());
            let progress = Progress::Answered;
            let (audit_id, origin) = (remembered.audit_id, remembered.origin);
            let remembered = Remembered { audit_id, origin, ..Remembered::default() };
            return Decided { progress, body: Body::default(), remembered };
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
    Decided { progress, body, remembered }
}

/// Says of the connection that its user is known, if somebody counts those of which nobody is.
fn mark_connection(gateway: &Gateway, user: &str) {
    if gateway.marks_connections && connections::is_signed_in(user) {
        // No door: without it the connection is closed after a time.
        host::set_property(connections::SIGNED_IN, "true");
    }
}

fn request_id() -> Vec<u8> {
    let id = hostcalls::get_map_value(MapType::HttpRequestHeaders, headers::REQUEST_ID);
    id.ok().flatten().unwrap_or_default()
}

/// Answers the stream that is the effective context.
///
/// A 401 says where to log in, if strangers are told: `challenge`.
fn refuse(refusal: &Refusal, audit_id: &[u8], challenge: Option<&str>) {
    host::set_property(Mark::Deny.property(), refusal.keyword());
    host::set_property(Mark::Reason.property(), &refusal.reason());
    respond(&Refused::new(refusal, audit_id, challenge));
}

fn respond(refused: &Refused) {
    let headers: Vec<_> =
        refused.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _ = hostcalls::send_http_response(refused.code, &headers, refused.body.as_bytes());
}

/// The request of the effective context.
struct OfRequest;

impl Request for OfRequest {
    fn add(&self, name: &str, value: &str) -> bool {
        hostcalls::add_map_value(MapType::HttpRequestHeaders, name, value.as_bytes()).is_ok()
    }

    fn set(&self, name: &str, value: &[u8]) -> bool {
        hostcalls::set_map_value(MapType::HttpRequestHeaders, name, value).is_ok()
    }

    fn remove(&self, name: &str) -> bool {
        hostcalls::remove_map_value(MapType::HttpRequestHeaders, name).is_ok()
    }

    fn mark(&self, mark: Mark, value: &str) -> bool {
        host::set_property(mark.property(), value)
    }
}

/// The answer of the effective context.
struct OfResponse;

impl Answer for OfResponse {
    fn add(&self, name: &str, value: &str) {
        let _ = hostcalls::add_map_value(MapType::HttpResponseHeaders, name, value.as_bytes());
    }

    fn set(&self, name: &str, value: &[u8]) {
        let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, value);
    }

    fn remove(&self, name: &str) {
        let _ = hostcalls::remove_map_value(MapType::HttpResponseHeaders, name);
    }
}

/// Ends the stream that is the effective context, which has gone upstream. To be called once for a stream: a second time crashes Envoy.
pub fn end(refusal: &Refusal) {
    /// What the access log says of how it ended.
    const DETAILS: &str = "access_revoked";
    host::set_property(Mark::Deny.property(), refusal.keyword());
    host::set_property(Mark::Reason.property(), &refusal.reason());
    let reply = refusal.reply();
    let headers = [("content-type", "application/json"), ("cache-control", "no-cache, private")];
    let _ = hostcalls::end_http_request(reply.code, DETAILS, &headers, reply.body.as_bytes());
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> Action {
        let Some(gateway) = self.gateway.clone() else {
            refuse(&Refusal::NotConfigured, &request_id(), None);
            return Action::Pause;
        };
        let Decided { progress, body, remembered } =
            decide(&gateway, self.id, Attempt::default(), !end);
        (self.body, self.remembered) = (body, remembered);
        match progress {
            Progress::Forward => return Action::Continue,
            Progress::Answered => {}
            Progress::Waiting => {
                self.waited = true;
                wake::wake_self(gateway.queue);
            }
        }
        Action::Pause
    }

    fn on_http_request_body(&mut self, _size: usize, _end: bool) -> Action {
        if !self.body.holds() {
            return Action::Continue;
        }
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
        // To go on here would send what is held before them.
        if self.body.holds() { Action::Pause } else { Action::Continue }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        if let (true, Some(gateway)) = (self.waited, &self.gateway)
            && let Some(remembered) = gateway.remembered(self.id)
        {
            self.remembered = remembered;
        }
        self.remembered.write(&OfResponse, mode);
        let status = hostcalls::get_map_value(MapType::HttpResponseHeaders, ":status");
        let status = status.ok().flatten().unwrap_or_default();
        if self.body.releases(&status) {
            let _ = hostcalls::resume_http_request();
        } else if self.remembered.is_of_the_gateway(&status, mode) {
            refuse(&Refusal::GatewayCredential, &self.remembered.audit_id, None);
            return Action::Pause;
        }
        Action::Continue
    }
}

/// The mode in which this filter let the present stream through; empty if it did not.
fn mode() -> Vec<u8> {
    hostcalls::get_property(&[Mark::Mode.property()]).ok().flatten().unwrap_or_default()
}
