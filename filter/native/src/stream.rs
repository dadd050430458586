//! One request: headers in, the decision carried out.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use gateway_core::{
    connections as marks, cors,
    decision::{Attempt, Decision, Outcome},
    headers::{self, RequestHead},
    refusal::Refusal,
    stream::{self, Answer, Body, Mark, Refused, Remembered, Request},
    worker::{Peer, Worker},
};

use crate::{
    config::Config,
    connections,
    gateway::{self, Gateway},
    guard::guard,
    host::{self, Filter, Headers},
};

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
    /// Absent where there can be none, or where to make it was a panic.
    gateway: Option<Rc<Gateway>>,
    /// What is said where there is none.
    without: Refusal,
    filter: Filter,
    /// As what it waits.
    waits: Cell<Option<u32>>,
    /// As what it is known to last.
    lasts: Cell<Option<u32>>,
    is_answered: Cell<bool>,
    body: Cell<Body>,
    /// The mode in which it was let through.
    mode: Cell<Option<&'static str>>,
    remembered: RefCell<Remembered>,
}

impl Stream {
    /// A request of this configuration.
    #[must_use]
    pub fn new(config: &Arc<Config>, filter: Filter) -> Rc<Self> {
        // Envoy asks a stream that could not be made for its hooks all the same.
        let gateway = guard(|| gateway::local(config));
        let without = if gateway.is_some() { Refusal::NotConfigured } else { Refusal::Host };
        if gateway.is_none() {
            config.panicked();
        }
        Rc::new(Self {
            config: Arc::clone(config),
            gateway: gateway.flatten(),
            without,
            filter,
            waits: Cell::default(),
            lasts: Cell::default(),
            is_answered: Cell::default(),
            body: Cell::default(),
            mode: Cell::default(),
            remembered: RefCell::default(),
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
            self.refuse(&self.without, &id, None, None);
            return HeadersStatus::Stop;
        };
        if !gateway.catch_up() {
            self.fail();
            return HeadersStatus::Stop;
        }
        let progress = self.decide(gateway, Attempt::default(), !end);
        gateway.send_refreshes();
        gateway.hand_metrics();
        match progress {
            Progress::Forward => HeadersStatus::Continue,
            Progress::Answered => HeadersStatus::Stop,
            Progress::Waiting => HeadersStatus::StopAll,
        }
    }

    /// A part of the request's body has come.
    pub fn request_body(&self) -> BodyStatus {
        if self.holds() { BodyStatus::Watermark } else { BodyStatus::Continue }
    }

    fn holds(&self) -> bool {
        let mut body = self.body.get();
        let holds = body.holds();
        self.body.set(body);
        holds
    }

    /// The request's trailers have come.
    pub fn request_trailers(&self) -> TrailersStatus {
        let Some(trailers) = self.filter.headers(Headers::RequestTrailers) else {
            self.fail();
            return TrailersStatus::Stop;
        };
        for (name, _) in trailers.list() {
            if headers::is_ours(name) && !self.filter.remove_header(Headers::RequestTrailers, name)
            {
                self.fail();
                return TrailersStatus::Stop;
            }
        }
        // To go on here would send what is held before them.
        if self.holds() { TrailersStatus::Stop } else { TrailersStatus::Continue }
    }

    /// The response's headers have come: the server's, or Envoy's own.
    pub fn response_headers(&self) -> HeadersStatus {
        if self.is_answered.get() {
            return HeadersStatus::Continue;
        }
        // Envoy has answered in its place, for a time was over: nothing is to be decided on any more.
        self.wait_no_longer();
        let remembered = self.remembered.take();
        let mode = || self.mode.get().unwrap_or_default().as_bytes().to_vec();
        remembered.write(&OfResponse(&self.filter), mode);
        let status = self.filter.header(Headers::Response, ":status").unwrap_or_default();
        let mut body = self.body.get();
        let releases = body.releases(&status);
        self.body.set(body);
        if releases {
            self.filter.continue_decoding();
        } else if remembered.is_of_the_gateway(&status, mode) {
            let Remembered { audit_id, origin, .. } = &remembered;
            self.refuse(&Refusal::GatewayCredential, audit_id, None, origin.as_deref());
            return HeadersStatus::Stop;
        }
        HeadersStatus::Continue
    }

    /// What it waits for may be there.
    pub fn scheduled(&self) {
        if let Some(gateway) = &self.gateway {
            let _ = gateway.advance();
        }
    }

    /// Envoy has destroyed it.
    pub fn destroyed(&self) {
        self.filter.close();
        self.wait_no_longer();
        if let (Some(id), Some(gateway)) = (self.lasts.take(), &self.gateway) {
            gateway.closed(id);
        }
    }

    fn wait_no_longer(&self) {
        if let (Some(id), Some(gateway)) = (self.waits.take(), &self.gateway) {
            gateway.give_up(id);
        }
    }

    /// It has met a panic, and must not go on. Panics itself no more.
    pub fn panicked(&self) {
        self.config.panicked();
        self.fail();
    }

    /// It must not go on, whatever state it is in: it is answered 500, or ended if its answer has begun. Panics no more.
    pub fn fail(&self) {
        let _ = guard(|| self.wait_no_longer());
        let _ = guard(|| {
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
        let Some(pairs) = self.filter.headers(Headers::Request) else {
            // No headers are not the same as headers that could not be read.
            self.refuse(&Refusal::Host, &[], None, None);
            return Progress::Answered;
        };
        #[cfg(any(test, feature = "mock"))]
        crate::guard::on_demand::decision();
        let headers = pairs.list();
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
            self.body.set(Body::of(&head));
        }
        // The logs learn of who waits once it is decided on.
        let waits = matches!(decision, Decision::Wait(_));
        let is_recorded = waits || record.is_none_or(|record| self.mark(Mark::Identity, &record));
        let refusal = match decision {
            Decision::Forward(_) if self.would_be_stuck(&head, attempt) => {
                Some(Refusal::EarlyBytes)
            }
            Decision::Forward(forward)
                if is_recorded && stream::write(&forward, &head, &**self) =>
            {
                self.go_on(forward.mode.name());
                self.make_known(forward.mode.user());
                forward.open.and_then(|open| gateway.opened(self, open).err())
            }
            Decision::Open(mode) if is_recorded && stream::open(mode, &head, &**self) => {
                self.go_on(mode);
                None
            }
            Decision::Forward(_) | Decision::Open(_) => Some(Refusal::Host),
            Decision::Refuse(refusal) => Some(refusal),
            Decision::Preflight => {
                self.respond(&Refused::preflight(), origin.as_deref());
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
        self.remembered.replace(Remembered { audit_id, response, warning, origin });
        if waits { Progress::Waiting } else { Progress::Forward }
    }

    /// Whether bytes would be held that Envoy would never hear may go on.
    ///
    /// It heeds `continue_decoding` once for each hook that has stopped something, and notes that it has when the call returns. Of a request
    /// that waited, early bytes come to the module within the call; to stop them there is forgotten when it returns, and so is the word to
    /// let them go on at the 101 (`DynamicModuleHttpFilter::continueDecoding`, docs/upstream/dynamic-modules-continue.md).
    fn would_be_stuck(&self, head: &RequestHead<'_>, attempt: Attempt) -> bool {
        head.upgrade && attempt.since.is_some() && self.filter.has_buffered_body()
    }

    /// The request is marked, and may go on by the route for this mode.
    fn go_on(&self, mode: &'static str) {
        self.mode.set(Some(mode));
        self.filter.clear_route_cache();
    }

    /// Says of the connection that its user is known, if somebody counts those of which nobody is.
    fn make_known(&self, user: &str) {
        if self.config.configuration().counts_connections
            && marks::is_signed_in(user)
            && let Some(number) = self.filter.connection()
        {
            connections::signed_in(number);
        }
    }

    /// Refuses. A 401 says where to log in, if strangers are told: `challenge`.
    fn refuse(
        &self,
        refusal: &Refusal,
        audit_id: &[u8],
        challenge: Option<&str>,
        origin: Option<&[u8]>,
    ) {
        let _ = self.mark(Mark::Deny, refusal.keyword());
        let _ = self.mark(Mark::Reason, &refusal.reason());
        self.respond(&Refused::new(refusal, audit_id, challenge), origin);
    }

    /// Ends it, which has gone upstream.
    pub fn end(&self, refusal: &Refusal) {
        /// What the access log says of how it ended.
        const DETAILS: &str = "access_revoked";
        let _ = self.mark(Mark::Deny, refusal.keyword());
        let _ = self.mark(Mark::Reason, &refusal.reason());
        let reply = refusal.reply();
        let headers: [(&str, &[u8]); 2] =
            [("content-type", b"application/json"), ("cache-control", b"no-cache, private")];
        self.is_answered.set(true);
        self.filter.end(reply.code, DETAILS, &headers, reply.body.as_bytes());
    }

    /// Answers, so that the page that asked may use it: Envoy does not give the module its own answer's headers.
    fn respond(&self, refused: &Refused, origin: Option<&[u8]>) {
        let headers = refused.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let mut headers: Vec<(&str, &[u8])> = headers.collect();
        if let Some(origin) = origin {
            headers.push((cors::ALLOWED, origin));
            headers.extend(cors::HEADERS.map(|(name, value)| (name, value.as_bytes())));
        }
        self.is_answered.set(true);
        self.filter.respond(refused.code, &headers, refused.body.as_bytes());
    }
}

impl Request for Stream {
    fn add(&self, name: &str, value: &str) -> bool {
        self.filter.add_header(Headers::Request, name, value.as_bytes())
    }

    fn set(&self, name: &str, value: &[u8]) -> bool {
        self.filter.set_header(Headers::Request, name, value)
    }

    fn remove(&self, name: &str) -> bool {
        self.filter.remove_header(Headers::Request, name)
    }

    fn mark(&self, mark: Mark, value: &str) -> bool {
        self.filter.set_state(mark.filter_state(), value)
    }
}

/// The headers of the answer.
struct OfResponse<'a>(&'a Filter);

impl Answer for OfResponse<'_> {
    fn add(&self, name: &str, value: &str) {
        let _ = self.0.add_header(Headers::Response, name, value.as_bytes());
    }

    fn set(&self, name: &str, value: &[u8]) {
        let _ = self.0.set_header(Headers::Response, name, value);
    }

    fn remove(&self, name: &str) {
        let _ = self.0.remove_header(Headers::Response, name);
    }
}

/// The address of an address with its port.
fn client_address(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}
