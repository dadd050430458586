//! One request: headers in, the decision carried out.

use std::rc::Rc;

use gateway_core::{
    decision::{Attempt, Decision, Forward},
    headers::{self, RequestHead},
    refusal::Refusal,
};
use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext},
    types::{Action, MapType},
};

use crate::{host, vm, wake};

/// What a client is told whose `kubectl --as` had no effect (RFC 7234, section 5.5). kubectl prints it.
const WARNING: &str = "299 - \"impersonation (--as) is not available here: the gateway removed the \
                       Impersonate headers, the request ran as the signed-in user\"";

/// What remains to be known of a request once its headers are read.
pub struct Head {
    /// The id for the audit trail.
    pub audit_id: Vec<u8>,
    remove: Vec<String>,
    asked: bool,
    proxied: bool,
}

/// One request's context.
pub struct Stream {
    id: u32,
    queue: Option<u32>,
    audit_id: Vec<u8>,
    asked: bool,
    proxied: bool,
}

impl Stream {
    /// The context of this id; `queue` wakes the root context.
    #[must_use]
    pub fn new(id: u32, queue: Option<u32>) -> Self {
        Self { id, queue, audit_id: Vec::new(), asked: false, proxied: false }
    }
}

/// Decides on the stream that is the effective context.
pub fn decide(attempt: Attempt) -> (Decision, Head) {
    let headers = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default();
    let head = RequestHead::read(&headers);
    let decision = vm::with(|vm| match &mut vm.worker {
        Some(worker) => worker.decide(&head, attempt, host::now()),
        None => Decision::Refuse(Refusal::NotConfigured),
    });
    let head = Head {
        remove: head.remove.iter().map(|&name| name.to_owned()).collect(),
        audit_id: head.audit_id.to_vec(),
        asked: head.asked,
        proxied: headers::is_proxied(head.path),
    };
    (decision, head)
}

/// Writes the identity onto the stream that is the effective context. False if the host refused any part of it: then
/// the request must not go on.
pub fn apply(forward: &Forward, head: &Head) -> bool {
    const REQUEST: MapType = MapType::HttpRequestHeaders;
    let plan = Rc::clone(&forward.plan);
    let removed = head.remove.iter().map(String::as_str).chain(["authorization"]);
    let mut done = true;
    for name in removed {
        done &= hostcalls::remove_map_value(REQUEST, name).is_ok();
    }
    for (name, value) in plan.headers() {
        done &= hostcalls::add_map_value_bytes(REQUEST, name, value.as_bytes()).is_ok();
    }
    done &= hostcalls::set_map_value_bytes(REQUEST, "audit-id", Some(&head.audit_id)).is_ok();
    if let Some(protocols) = &forward.protocols {
        done &= hostcalls::set_map_value_bytes(REQUEST, "sec-websocket-protocol", Some(protocols))
            .is_ok();
    }
    // The marks come last: without them neither the gate nor a route lets the request through.
    done && host::set_property("user", plan.user()) && host::set_property("mode", "impersonate")
}

/// Answers the stream that is the effective context.
pub fn refuse(refusal: &Refusal, audit_id: &[u8]) {
    host::set_property("deny", refusal.keyword());
    host::set_property("reason", &refusal.to_string());
    let answer = refusal.answer();
    let audit_id = String::from_utf8_lossy(audit_id);
    let retry_after = answer.retry_after.map(|seconds| seconds.to_string());
    let mut headers = vec![
        ("content-type", "application/json"),
        ("cache-control", "no-cache, private"),
        ("audit-id", &audit_id),
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
        let (decision, head) = decide(Attempt::First);
        self.asked = head.asked;
        self.proxied = head.proxied;
        self.audit_id.clone_from(&head.audit_id);
        let refusal = match decision {
            Decision::Forward(forward) if apply(&forward, &head) => return Action::Continue,
            Decision::Forward(_) => Refusal::Host,
            Decision::Refuse(refusal) => refusal,
            Decision::Wait(wait) => {
                let waits = vm::with(|vm| match &mut vm.worker {
                    Some(worker) => worker.wait(self.id, wait, host::now()),
                    None => Err(Refusal::NotConfigured),
                });
                match (waits, self.queue) {
                    (Ok(()), Some(queue)) => {
                        wake::wake_self(queue);
                        return Action::Pause;
                    }
                    (Ok(()), None) => Refusal::Host,
                    (Err(refusal), _) => refusal,
                }
            }
        };
        refuse(&refusal, &head.audit_id);
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        const TRAILERS: MapType = MapType::HttpRequestTrailers;
        for (name, _) in hostcalls::get_map_bytes(TRAILERS).unwrap_or_default() {
            if headers::is_identity(&name) {
                let _ = hostcalls::remove_map_value(TRAILERS, &name);
            }
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        const RESPONSE: MapType = MapType::HttpResponseHeaders;
        if self.asked {
            let _ = hostcalls::add_map_value(RESPONSE, "warning", WARNING);
        }
        let status = hostcalls::get_map_value_bytes(RESPONSE, ":status").ok().flatten();
        if status.is_some_and(|status| status == b"401") && !self.proxied && forwarded() {
            // kubectl takes a 401 for the user's token and would throw a good login away. This one is about ours.
            refuse(&Refusal::GatewayCredential, &self.audit_id);
            return Action::Pause;
        }
        Action::Continue
    }
}

/// Whether this filter let the present request through with the gateway's credential.
fn forwarded() -> bool {
    matches!(hostcalls::get_property(vec!["mode"]), Ok(Some(mode)) if mode == b"impersonate")
}
