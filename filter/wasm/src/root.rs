//! The root context: configuration, the tick, callouts to issuers, and the requests that waited for them.

use std::{collections::HashMap, time::Duration};

use gateway_core::{
    config::Configuration,
    decision::{Attempt, Decision},
    keys::{Action, Answer, Callout},
    refusal::Refusal,
    worker::Worker,
};
use log::{error, info, warn};
use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext, RootContext},
    types::{BufferType, ContextType, MapType},
};

use crate::{host, host::SharedData, stream, verifier::HostVerifier, vm, wake};

/// The first tick after a configuration: callouts cannot be made before the event loop runs.
const FIRST_TICK: Duration = Duration::from_millis(1);
/// The tick while requests wait: bounds what a lost wake-up costs.
const BUSY_TICK: Duration = Duration::from_millis(50);
/// The tick otherwise: bounds how late a refresh starts.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// The root context of one configuration.
#[derive(Default)]
pub struct Root {
    id: u32,
    queue: Option<u32>,
    /// Envoy's token of each callout under way, and ours.
    callouts: HashMap<u32, u64>,
    tick: Duration,
}

impl Root {
    /// A root context of this id.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { id, ..Self::default() }
    }

    fn configure(&mut self) -> Result<(), String> {
        let document = self.get_plugin_configuration().unwrap_or_default();
        let configuration = Configuration::parse(&document).map_err(|error| error.to_string())?;
        for warning in configuration.authentication.warnings() {
            warn!("authenticationConfiguration: {warning}");
        }
        let verifier = HostVerifier::probe();
        info!("signatures by the host: {:?}; the others in software", verifier.by_host());
        let id = vm::with(|vm| -> Result<u64, String> {
            if let Some(worker) = &mut vm.worker {
                worker.reconfigure(configuration, &SharedData);
            } else {
                let verifier = Box::new(verifier);
                let secret = host::secret()?;
                vm.worker = Some(Worker::new(vm.id, secret, verifier, configuration, &SharedData));
            }
            Ok(vm.id)
        })?;
        self.queue = wake::register(id);
        if self.queue.is_none() {
            return Err("the host has no shared queues".to_owned());
        }
        Ok(())
    }

    /// Brings everything forward that can go forward: fetches, and the requests that waited for them.
    fn advance(&mut self) {
        let actions = vm::with(|vm| {
            let worker = vm.worker.as_mut()?;
            worker.sync(&SharedData);
            Some(worker.poll(host::now(), host::jitter(), &SharedData))
        });
        for action in actions.unwrap_or_default() {
            self.perform(action);
        }
        self.settle();
        let waiting = vm::with(|vm| vm.worker.as_ref().is_some_and(Worker::has_waiting));
        self.set_tick(if waiting { BUSY_TICK } else { IDLE_TICK });
    }

    fn perform(&mut self, action: Action) {
        let mut next = Some(action);
        while let Some(action) = next.take() {
            match action {
                Action::Call(callout) => {
                    if let Err(why) = self.call(&callout) {
                        next = answered(callout.id, &Answer::Failed(&why));
                    }
                }
                Action::Broadcast { issuer, error } => {
                    match error {
                        None => info!("issuer {issuer}: keys fetched"),
                        Some(error) => warn!("issuer {issuer}: {error}"),
                    }
                    wake::wake_others(vm::with(|vm| vm.id));
                }
            }
        }
    }

    fn call(&mut self, callout: &Callout) -> Result<(), String> {
        let token = self
            .dispatch_http_call(
                &callout.cluster,
                vec![
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":authority", &callout.authority),
                    (":path", &callout.path),
                    ("accept", "application/json"),
                    ("user-agent", concat!("kube-oidc-gateway/", env!("CARGO_PKG_VERSION"))),
                ],
                None,
                vec![],
                callout.timeout,
            )
            .map_err(|status| {
                format!("cluster {}: callout refused: {status:?}", callout.cluster)
            })?;
        self.callouts.insert(token, callout.id);
        Ok(())
    }

    /// Decides on the requests that need wait no longer.
    fn settle(&self) {
        let now = host::now();
        let settled = vm::with(|vm| vm.worker.as_mut().map(|worker| worker.settled(now)));
        for waiter in settled.unwrap_or_default() {
            // The stream may be gone: its client went away, or Envoy's own timers ended it.
            if hostcalls::set_effective_context(waiter.stream).is_err() {
                continue;
            }
            match stream::decide(Attempt::Waited) {
                (Decision::Forward(forward), head) if stream::apply(&forward, &head) => {
                    let _ = hostcalls::resume_http_request();
                }
                (Decision::Refuse(refusal), head) => stream::refuse(&refusal, &head.audit_id),
                (Decision::Forward(_) | Decision::Wait(_), head) => {
                    stream::refuse(&Refusal::Host, &head.audit_id);
                }
            }
        }
        let _ = hostcalls::set_effective_context(self.id);
    }

    fn set_tick(&mut self, tick: Duration) {
        if self.tick != tick {
            self.tick = tick;
            self.set_tick_period(tick);
        }
    }
}

fn answered(callout: u64, answer: &Answer<'_>) -> Option<Action> {
    vm::with(|vm| {
        vm.worker.as_mut()?.answered(callout, answer, host::now(), host::jitter(), &SharedData)
    })
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        let Some(callout) = self.callouts.remove(&token) else { return };
        // Without headers there was no answer, and to ask for one of them would be a panic in the SDK.
        let next = if headers == 0 {
            answered(callout, &Answer::Failed("no answer: reset, or too large"))
        } else {
            let headers =
                hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).unwrap_or_default();
            let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body)
                .ok()
                .flatten()
                .unwrap_or_default();
            let status = headers
                .iter()
                .find(|(name, _)| name == ":status")
                .and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok())
                .unwrap_or(0);
            answered(callout, &Answer::Response { status, headers: &headers, body: &body })
        };
        if let Some(action) = next {
            self.perform(action);
        }
        self.advance();
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
    }

    fn on_queue_ready(&mut self, queue: u32) {
        wake::drain(queue);
        self.advance();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(stream::Stream::new(id, self.queue)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
