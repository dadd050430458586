//! The root context: configuration, the tick, callouts to issuers, and the requests that waited for them.

use std::{collections::HashMap, rc::Rc, time::Duration};

use gateway_core::{
    callout::{self, Callout, CalloutResult, Fault, Purpose},
    config::Configuration,
    connections::SIGNED_IN,
    headers::TRACEPARENT,
    keys::Action,
    portal_keys::SHARED_VARIABLE,
    worker::Worker,
    workers::SHOWN_EVERY,
};
use gateway_hostcalls as hostcalls;
use log::{error, info, warn};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{BufferType, ContextType, MapType, Status},
};

use crate::{
    abi,
    gateway::{Gateway, Name},
    host::{self, SharedData},
    metrics,
    stream::{self, Progress},
    verifier::{Counts, HostVerifier},
    wake,
};

const USER_AGENT: &str = concat!("kube-oidc-gateway/", env!("CARGO_PKG_VERSION"));
/// The first tick after a configuration: callouts cannot be made before the event loop runs.
const FIRST_TICK: Duration = Duration::from_millis(1);
/// The tick while requests wait: bounds what a lost wake-up costs.
const BUSY_TICK: Duration = Duration::from_millis(50);
/// The tick otherwise: bounds how late a refresh starts.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// After so long without a request a configuration that has been replaced rests.
const REST_AFTER: Duration = Duration::from_mins(1);
/// How many waiting requests one call answers. Envoy answers each inside the call, and the stack of the VM holds some 300
/// refusals; the next call follows at once.
const MOST_SETTLED: usize = 32;

/// The root context of one configuration of one gateway.
pub struct Root {
    id: u32,
    /// Absent until the configuration has been found valid.
    gateway: Option<Rc<Gateway>>,
    /// What each callout under way, by Envoy's token, is for, and when its time is over.
    callouts: HashMap<u32, (Purpose, Duration)>,
    tick: Duration,
    /// When this worker last showed that it lives.
    shown: Duration,
}

impl Root {
    /// A root context of this id.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self {
            id,
            gateway: None,
            callouts: HashMap::new(),
            tick: Duration::ZERO,
            shown: Duration::ZERO,
        }
    }

    fn configure(&mut self) -> Result<(), String> {
        // Two filters of the same name and configuration have one root context, which Envoy then configures twice.
        if self.gateway.is_some() {
            return Ok(());
        }
        let document = self.get_plugin_configuration().unwrap_or_default();
        let mut configuration =
            Configuration::parse(&document).map_err(|error| error.to_string())?;
        if !configuration.gateway.shared_secret.audience.is_empty() {
            let keys = crate::portal::environment_keys(SHARED_VARIABLE)
                .map_err(|why| format!("sharedSecret: {why}"))?;
            configuration.shared_keys = Some(keys);
        }
        for warning in configuration.authentication.warnings() {
            warn!("authenticationConfiguration: {warning}");
        }
        // Where the filter reads the client's headers itself, a gate behind it compares what goes out with these.
        let declared = ["user", "groups", "uid"].map(host::declare_text);
        if configuration.reads_impersonation() && declared.contains(&false) {
            return Err(
                "the host cannot declare properties, which clientImpersonation needs".to_owned()
            );
        }
        let marks_connections = configuration.counts_connections;
        if marks_connections && !host::declare_of_connection(SIGNED_IN) {
            return Err(
                "the host cannot declare properties, which countsConnections needs".to_owned()
            );
        }
        let counts = Counts::default();
        let verifier = HostVerifier::probe(counts.clone());
        info!("signatures by the host: {:?}; the others in software", verifier.by_host());
        let name = Name::read()?;
        let queue = wake::register(name.instance.id).ok_or("the host has no shared queues")?;
        abi::listen(self.id);
        let shared = Rc::new(SharedData);
        let worker = Worker::new(name.instance.clone(), Box::new(verifier), configuration, shared);
        self.gateway = Some(Gateway::new(name, queue, marks_connections, counts, worker));
        Ok(())
    }

    /// Brings everything forward that can go forward: fetches, and the requests that waited for them.
    fn advance(&mut self) {
        let Some(gateway) = self.gateway.clone() else { return };
        // A configuration that has been replaced does so too: streams of its own may have to end.
        if let Some(callout) = gateway.with(|worker| worker.poll_documents(host::now())) {
            self.perform(&gateway, Action::Call(callout));
        }
        if self.end_revoked(&gateway) {
            wake::wake_self(gateway.queue);
        }
        let waiting = gateway.with(|worker| worker.has_waiting());
        if !waiting && gateway.is_superseded(host::now(), REST_AFTER) {
            gateway.with(Worker::rest);
            self.set_tick(IDLE_TICK);
            return;
        }
        let actions = gateway.with(|worker| {
            let now = host::now();
            worker.sync(now);
            worker.poll(now, host::jitter())
        });
        for action in actions {
            self.perform(&gateway, action);
        }
        if self.settle(&gateway) {
            wake::wake_self(gateway.queue);
        }
        let waiting = gateway.with(|worker| worker.has_waiting());
        self.set_tick(if waiting { BUSY_TICK } else { IDLE_TICK });
    }

    fn perform(&mut self, gateway: &Gateway, action: Action) {
        let mut next = Some(action);
        while let Some(action) = next.take() {
            match action {
                Action::Call(callout) => {
                    if let Err(fault) = self.call(&callout) {
                        next = answered(gateway, callout.purpose, Err(fault));
                    }
                }
                Action::Broadcast { issuer, error, skipped, alternates, .. } => {
                    match error {
                        None => info!("issuer {issuer}: keys fetched"),
                        Some((cause, error)) => {
                            warn!(
                                "issuer {issuer}: no keys fetched ({}): {error}",
                                cause.keyword()
                            );
                        }
                    }
                    if alternates {
                        warn!(
                            "issuer {issuer}: it publishes now one key set, now another: its replicas must share their keys"
                        );
                    }
                    if !skipped.is_empty() {
                        warn!("issuer {issuer}: keys not used: {}", skipped.join(", "));
                    }
                    wake::wake_others(gateway.id);
                }
            }
        }
    }

    fn call(&mut self, callout: &Callout) -> Result<(), Fault> {
        let Callout { cluster, authority, path, authorization, body, .. } = callout;
        let mut headers = vec![
            (":method", if body.is_some() { "POST" } else { "GET" }),
            (":scheme", "https"),
            (":authority", authority.as_str()),
            (":path", path.as_str()),
            // What comes compressed all the same is read, if it is gzip.
            ("accept-encoding", "identity"),
            ("user-agent", USER_AGENT),
        ];
        // kube-apiserver's client asks issuers for no type: some have keys as application/jwk-set+json alone, and answer 406 to who
        // wants application/json.
        if body.is_some() {
            headers.push(("accept", "application/json"));
            headers.push(("content-type", callout.purpose.content_type()));
        }
        if let Some(traceparent) = &callout.traceparent {
            headers.push((TRACEPARENT, traceparent));
        }
        if let Some(authorization) = authorization {
            headers.push(("authorization", authorization));
        }
        let token = self
            .dispatch_http_call(cluster, headers, body.as_deref(), vec![], callout.timeout)
            .map_err(|status| match status {
                Status::BadArgument => Fault::no_cluster(cluster),
                Status::InternalFailure => Fault::refused_at_once(),
                other => Fault::not_taken(&other),
            })?;
        let end = host::now().saturating_add(callout.timeout);
        self.callouts.insert(token, (callout.purpose, end));
        Ok(())
    }

    /// Decides on requests that need wait no longer.
    ///
    /// True if there is more to do: more of them, or one that waits for something else now.
    fn settle(&self, gateway: &Gateway) -> bool {
        let (settled, mut again) = gateway.with(|worker| worker.settled(host::now(), MOST_SETTLED));
        for waiter in settled {
            // The stream may be gone: its client went away, or Envoy's own timers ended it.
            if hostcalls::set_effective_context(waiter.stream).is_err() {
                continue;
            }
            let decided = stream::decide(gateway, waiter.stream, waiter.attempt, false);
            if decided.progress == Progress::Waiting {
                // First the keys, then the reviews.
                again = true;
                continue;
            }
            gateway.remember(waiter.stream, decided.remembered);
            if decided.progress == Progress::Forward {
                let _ = hostcalls::resume_http_request();
            }
        }
        let _ = hostcalls::set_effective_context(self.id);
        again
    }

    /// Ends streams whose users have no access any more. True if there are more of them.
    fn end_revoked(&self, gateway: &Gateway) -> bool {
        let (revoked, more) = gateway.with(|worker| worker.revoked(host::now(), MOST_SETTLED));
        for (stream, refusal) in &revoked {
            if hostcalls::set_effective_context(*stream).is_ok() {
                stream::end(refusal);
            }
        }
        if !revoked.is_empty() {
            let _ = hostcalls::set_effective_context(self.id);
        }
        more
    }

    fn set_tick(&mut self, tick: Duration) {
        if self.tick != tick {
            self.tick = tick;
            self.set_tick_period(tick);
        }
    }
}

fn answered(gateway: &Gateway, purpose: Purpose, result: CalloutResult<'_>) -> Option<Action> {
    gateway.with(|worker| worker.answered(purpose, result, host::now(), host::jitter()))
}

impl Drop for Root {
    /// Envoy has deleted the root context: its configuration was replaced, and its last stream has ended.
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            metrics::report(gateway.take_metrics(Worker::retire));
            abi::stop_listening(self.id);
            wake::deregister(gateway.id);
            wake::wake_others(gateway.id);
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        let Some((purpose, end)) = self.callouts.remove(&token) else { return };
        let Some(gateway) = self.gateway.clone() else { return };
        // Without headers there was no answer, and there are none to ask for.
        let response = match (headers, host::now() >= end) {
            (0, true) => Err(Fault::timeout()),
            (0, false) => Err(Fault::broken_off()),
            _ if body > purpose.most_bytes() => Err(Fault::too_large(body)),
            _ => Ok(Response::read(body)),
        };
        let result = response.as_ref().map(Response::borrow).map_err(Clone::clone);
        if let Some(action) = answered(&gateway, purpose, result) {
            self.perform(&gateway, action);
        }
        self.advance();
    }
}

/// The response to a callout.
struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Response {
    fn read(body: usize) -> Self {
        let headers = hostcalls::get_map(MapType::HttpCallResponseHeaders).unwrap_or_default();
        let status = headers
            .iter()
            .find(|(name, _)| name == ":status")
            .and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok())
            .unwrap_or(0);
        let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, body);
        Self { status, headers, body: body.ok().flatten().unwrap_or_default() }
    }

    fn borrow(&self) -> callout::Response<'_> {
        let Self { status, headers, body } = self;
        callout::Response { status: *status, headers, body }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match self.configure() {
            Ok(()) => {
                self.set_tick(FIRST_TICK);
                true
            }
            Err(why) => {
                error!("configuration refused: {why}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.advance();
        let Some(gateway) = &self.gateway else { return };
        metrics::report(gateway.take_metrics(Worker::take_metrics));
        let now = host::now();
        if now.saturating_sub(self.shown) >= SHOWN_EVERY {
            self.shown = now;
            wake::show(gateway.id);
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        wake::drain(queue);
        self.advance();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(stream::Stream::new(id, self.gateway.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
