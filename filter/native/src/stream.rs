//! One request: headers in, the decision carried out.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use gateway_core::{
    connections, cors,
    decision::{Attempt, Decision, Forward, ImpersonationWarning, Mode, Outcome, ResponsePolicy},
    headers::{self, RequestHead},
    longrunning,
    plan::HeaderPlan,
    refusal::Refusal,
    worker::{Peer, Worker},
};

use crate::{
    config::Config,
    gateway::{self, Gateway},
    guard::guard,
    host::{self, Filter, Headers},
};

/// What a client is told whose `kubectl --as` had no effect (RFC 7234, section 5.5). kubectl prints it.
const WARNING: &str = "299 - \"impersonation (--as) is not available here: the gateway removed the \
                       Impersonate headers, the request ran as the signed-in user\"";

/// The id of the request in every log, kube-apiserver's included.
const AUDIT_ID: &str = "audit-id";
const AUTHORIZATION: &str = "authorization";
/// Ends the stream; Envoy's routes heed it (`max_stream_duration`).
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Filter state, where gates, routes and logs read it. The names are those under which Envoy shows the Wasm filter's properties, so that
/// all of these are the same for both.
mod state {
    /// Whose request it is. Without it no gate lets it through.
    pub const USER: &str = "wasm.user";
    pub const GROUPS: &str = "wasm.groups";
    pub const UID: &str = "wasm.uid";
    /// By which route it goes.
    pub const MODE: &str = "wasm.mode";
    /// What the logs are to say of who made it.
    pub const IDENTITY: &str = "wasm.identity";
    /// Why it was refused: a word, and a sentence.
    pub const DENY: &str = "wasm.deny";
    pub const REASON: &str = "wasm.reason";
}

/// What Envoy does after the headers: `envoy_dynamic_module_type_on_http_filter_request_headers_status`, and that of the response, whose
/// numbers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum HeadersStatus {
    /// They go on.
    Continue = 0,
    /// They have been answered.
    Stop = 1,
    /// Nothing of the request goes on, and no more of it is read than fits.
    StopAll = 4,
}

/// What Envoy does after a part of the body: `envoy_dynamic_module_type_on_http_filter_request_body_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum BodyStatus {
    /// It goes on.
    Continue = 0,
    /// It is kept, and no more is read than fits.
    Watermark = 2,
}

/// What Envoy does after trailers: `envoy_dynamic_module_type_on_http_filter_request_trailers_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum TrailersStatus {
    /// They go on.
    Continue = 0,
    /// They are kept.
    Stop = 1,
}

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

/// One request.
///
/// An answer, or to go on, may be its end in the middle of a call: so nothing of it is borrowed while Envoy is called.
pub struct Stream {
    config: Arc<Config>,
    /// Absent where there can be none.
    gateway: Option<Rc<Gateway>>,
    filter: Filter,
    /// As what it waits.
    waits: Cell<Option<u32>>,
    /// As what it is known to last.
    lasts: Cell<Option<u32>>,
    is_answered: Cell<bool>,
    body: Cell<Body>,
    /// The mode in which it was let through.
    mode: Cell<Option<&'static str>>,
    state: RefCell<State>,
}

/// What is remembered of a request once its headers have been read.
#[derive(Debug, Default)]
struct State {
    /// The id for the audit trail.
    audit_id: Vec<u8>,
    response: ResponsePolicy,
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
    /// A request of this configuration.
    #[must_use]
    pub fn new(config: &Arc<Config>, filter: Filter) -> Rc<Self> {
        Rc::new(Self {
            config: Arc::clone(config),
            gateway: gateway::local(config),
            filter,
            waits: Cell::default(),
            lasts: Cell::default(),
            is_answered: Cell::default(),
            body: Cell::default(),
            mode: Cell::default(),
            state: RefCell::default(),
        })
    }

    /// Envoy's side of it.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Notes that it waits, or no longer does.
    pub fn waits_as(&self, id: Option<u32>) {
        self.waits.set(id);
    }

    /// Notes that it lasts, or has been ended.
    pub fn lasts_as(&self, id: Option<u32>) {
        self.lasts.set(id);
    }

    /// The request's headers have come.
    pub fn request_headers(self: &Rc<Self>, end: bool) -> HeadersStatus {
        let Some(gateway) = &self.gateway else {
            let id = self.filter.header(Headers::Request, headers::REQUEST_ID).unwrap_or_default();
            self.refuse(&Refusal::NotConfigured, &id, None, None);
            return HeadersStatus::Stop;
        };
        gateway.catch_up();
        let progress = self.decide(gateway, Attempt::default(), !end);
        gateway.hand_metrics();
        match progress {
            Progress::Forward => HeadersStatus::Continue,
            Progress::Answered => HeadersStatus::Stop,
            Progress::Waiting => HeadersStatus::StopAll,
        }
    }

    /// A part of the request's body has come.
    pub fn request_body(&self) -> BodyStatus {
        if self.body.get() == Body::Forwarded {
            return BodyStatus::Continue;
        }
        self.body.set(Body::Buffered);
        BodyStatus::Watermark
    }

    /// The request's trailers have come.
    pub fn request_trailers(&self) -> TrailersStatus {
        let Some(trailers) = self.filter.headers(Headers::RequestTrailers) else {
            return TrailersStatus::Stop;
        };
        for (name, _) in trailers {
            if headers::is_ours(&name)
                && !self.filter.remove_header(Headers::RequestTrailers, &name)
            {
                return TrailersStatus::Stop;
            }
        }
        if self.body.get() == Body::Forwarded {
            return TrailersStatus::Continue;
        }
        // To go on here would send what is held before them.
        self.body.set(Body::Buffered);
        TrailersStatus::Stop
    }

    /// The response's headers have come: the server's, or Envoy's own.
    pub fn response_headers(&self) -> HeadersStatus {
        if self.is_answered.get() {
            return HeadersStatus::Continue;
        }
        let State { audit_id, response, warning, origin } = self.state.take();
        let mode = self.mode.get().unwrap_or_default();
        if let Some(warning) = warning {
            let _ = self.filter.add_header(Headers::Response, "warning", warning.as_bytes());
        }
        if let Some(origin) = &origin {
            let _ = self.filter.set_header(Headers::Response, cors::ALLOWED, origin);
            for (name, value) in cors::HEADERS {
                let _ = self.filter.set_header(Headers::Response, name, value.as_bytes());
            }
            let _ = self.filter.remove_header(Headers::Response, cors::CREDENTIALS);
        }
        if response.warning != ImpersonationWarning::Never
            && response.warning.holds(mode.as_bytes())
        {
            let _ = self.filter.add_header(Headers::Response, "warning", WARNING.as_bytes());
        }
        let status = self.filter.header(Headers::Response, ":status").unwrap_or_default();
        if status == b"101" {
            if self.body.replace(Body::Forwarded) == Body::Buffered {
                self.filter.continue_decoding();
            }
        } else if status == b"401" && !response.is_proxied && mode == Mode::IMPERSONATE {
            // kubectl takes a 401 for the user's token and would throw a good login away. This one is about ours.
            self.refuse(&Refusal::GatewayCredential, &audit_id, None, origin.as_deref());
            return HeadersStatus::Stop;
        }
        HeadersStatus::Continue
    }

    /// What it waits for may be there.
    pub fn scheduled(&self) {
        if let Some(gateway) = &self.gateway {
            gateway.advance();
        }
    }

    /// Envoy has destroyed it.
    pub fn destroyed(&self) {
        self.filter.close();
        if let (Some(id), Some(gateway)) = (self.waits.take(), &self.gateway) {
            gateway.give_up(id);
        }
        if let (Some(id), Some(gateway)) = (self.lasts.take(), &self.gateway) {
            gateway.closed(id);
        }
    }

    /// It has met a panic, and must not go on. Panics itself no more.
    pub fn panicked(&self) {
        self.config.panicked();
        let _ = guard(|| {
            if let (Some(id), Some(gateway)) = (self.waits.take(), &self.gateway) {
                gateway.give_up(id);
            }
            if !self.is_answered.get() {
                let id = self.filter.header(Headers::Request, headers::REQUEST_ID);
                self.refuse(&Refusal::Host, &id.unwrap_or_default(), None, None);
            }
        });
    }

    /// Decides, and carries the decision out. Whether it has a body counts at the first try.
    pub fn decide(
        self: &Rc<Self>,
        gateway: &Gateway,
        attempt: Attempt,
        has_body: bool,
    ) -> Progress {
        let Some(headers) = self.filter.headers(Headers::Request) else {
            // No headers are not the same as headers that could not be read.
            self.refuse(&Refusal::Host, &[], None, None);
            return Progress::Answered;
        };
        #[cfg(any(test, feature = "mock"))]
        crate::guard::on_demand::decision();
        let head = RequestHead::read(&headers);
        let address = || client_address(&self.filter.source_address());
        let protocol = || self.filter.protocol();
        let Outcome { decision, record, response, warning, origin, .. } = gateway.with(|worker| {
            let peer = Peer { address: &address, protocol: &protocol, has_body };
            let now = host::now();
            gateway.use_at(now);
            let outcome = worker.decide(&head, peer, attempt, now);
            if outcome.authenticated && !matches!(outcome.decision, Decision::Wait(_)) {
                let since = attempt.since.unwrap_or(now);
                worker.observe_authentication(host::now().saturating_sub(since));
            }
            outcome
        });
        if head.upgrade && self.body.get() == Body::Forwarded {
            self.body.set(Body::Awaited);
        }
        // The logs learn of who waits once it is decided on.
        let waits = matches!(decision, Decision::Wait(_));
        let is_recorded =
            waits || record.is_none_or(|record| self.filter.set_state(state::IDENTITY, &record));
        let refusal = match decision {
            Decision::Forward(forward) if is_recorded && self.apply(&forward, &head) => {
                match forward.open {
                    Some(open) => gateway.opened(self, open).err(),
                    None => None,
                }
            }
            Decision::Open(mode) if is_recorded && self.open(mode, &head) => None,
            Decision::Forward(_) | Decision::Open(_) => Some(Refusal::Host),
            Decision::Refuse(refusal) => Some(refusal),
            Decision::Preflight => {
                let answer: [(&str, &[u8]); 1] = [("cache-control", b"no-cache, private")];
                self.respond(204, &answer, &[], origin.as_deref());
                return Progress::Answered;
            }
            Decision::Wait(wait) => gateway.wait(self, wait, attempt, host::now()).err(),
        };
        if let Some(refusal) = refusal {
            let challenge = gateway.with(|worker| Worker::challenge(worker));
            self.refuse(&refusal, head.audit_id, challenge.as_deref(), origin.as_deref());
            return Progress::Answered;
        }
        let audit_id = head.audit_id.to_vec();
        self.state.replace(State { audit_id, response, warning, origin });
        if waits { Progress::Waiting } else { Progress::Forward }
    }

    /// Writes the decision. False if Envoy refused any part of it: then the request must not go on.
    fn apply(&self, forward: &Forward, head: &RequestHead<'_>) -> bool {
        let add = |name: &str, value: &str| {
            self.filter.add_header(Headers::Request, name, value.as_bytes())
        };
        let mut done = self.remove(head);
        done &= self.filter.set_header(Headers::Request, AUDIT_ID, head.audit_id);
        if let Some(after) = forward.cut_after {
            done &= add(GRPC_TIMEOUT, &longrunning::grpc_timeout(after));
        }
        // The marks come last: without them neither the gate nor a route lets the request through.
        match &forward.mode {
            Mode::Impersonate { plan, protocols } => {
                done &= self.filter.remove_header(Headers::Request, AUTHORIZATION);
                for (name, value) in plan.headers() {
                    done &= add(name, value);
                }
                for (name, value) in &forward.more {
                    done &= add(name, value);
                }
                if let Some(protocols) = protocols {
                    let name = "sec-websocket-protocol";
                    done &= self.filter.set_header(Headers::Request, name, protocols);
                }
                done && (!forward.is_compared || self.mark_values(plan))
                    && self.mark(plan.user(), forward.mode.name())
            }
            Mode::OwnToken { user } => done && self.mark(user, forward.mode.name()),
        }
    }

    /// Marks the request for the routes of a mode that needs no login. No other route takes this mark.
    fn open(&self, mode: &'static str, head: &RequestHead<'_>) -> bool {
        self.remove(head)
            && self.filter.set_header(Headers::Request, AUDIT_ID, head.audit_id)
            && self.mark(connections::ANONYMOUS, mode)
    }

    fn remove(&self, head: &RequestHead<'_>) -> bool {
        let remove = |name: &&str| self.filter.remove_header(Headers::Request, name);
        head.remove.iter().all(remove)
    }

    /// The marks of the gate that compares what goes out with them.
    fn mark_values(&self, plan: &HeaderPlan) -> bool {
        let groups: Vec<_> = plan.groups().collect();
        (groups.is_empty() || self.filter.set_state(state::GROUPS, &groups.join(",")))
            && plan.uid().is_none_or(|uid| self.filter.set_state(state::UID, uid))
    }

    /// The marks by which the gate and the routes know a request that may go on.
    fn mark(&self, user: &str, mode: &'static str) -> bool {
        let done =
            self.filter.set_state(state::USER, user) && self.filter.set_state(state::MODE, mode);
        if done {
            self.mode.set(Some(mode));
            self.filter.clear_route_cache();
        }
        done
    }

    /// Refuses. A 401 says where to log in, if strangers are told: `challenge`.
    fn refuse(
        &self,
        refusal: &Refusal,
        audit_id: &[u8],
        challenge: Option<&str>,
        origin: Option<&[u8]>,
    ) {
        let _ = self.filter.set_state(state::DENY, refusal.keyword());
        let _ = self.filter.set_state(state::REASON, &refusal.reason());
        let reply = refusal.reply();
        let retry_after = reply.retry_after.map(|seconds| seconds.to_string());
        let mut headers: Vec<(&str, &[u8])> = vec![
            ("content-type", b"application/json"),
            ("cache-control", b"no-cache, private"),
            (AUDIT_ID, audit_id),
        ];
        if let Some(seconds) = &retry_after {
            headers.push(("retry-after", seconds.as_bytes()));
        }
        let challenge = (reply.code == 401).then(|| refusal.challenge(challenge)).flatten();
        if let Some(challenge) = &challenge {
            headers.push(("www-authenticate", challenge.as_bytes()));
        }
        self.respond(reply.code, &headers, reply.body.as_bytes(), origin);
    }

    /// Ends it, which has gone upstream.
    pub fn end(&self, refusal: &Refusal) {
        /// What the access log says of how it ended.
        const DETAILS: &str = "access_revoked";
        let _ = self.filter.set_state(state::DENY, refusal.keyword());
        let _ = self.filter.set_state(state::REASON, &refusal.reason());
        let reply = refusal.reply();
        let headers: [(&str, &[u8]); 2] =
            [("content-type", b"application/json"), ("cache-control", b"no-cache, private")];
        self.is_answered.set(true);
        self.filter.end(reply.code, DETAILS, &headers, reply.body.as_bytes());
    }

    /// Answers, so that the page that asked may use it: Envoy does not give the module its own answer's headers.
    fn respond(&self, code: u16, headers: &[(&str, &[u8])], body: &[u8], origin: Option<&[u8]>) {
        let mut headers = headers.to_vec();
        if let Some(origin) = origin {
            headers.push((cors::ALLOWED, origin));
            headers.extend(cors::HEADERS.map(|(name, value)| (name, value.as_bytes())));
        }
        self.is_answered.set(true);
        self.filter.respond(code, &headers, body);
    }
}

/// The address of an address with its port.
fn client_address(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}
