//! Notices changed inputs and makes them live.
//!
//! Files are read again once a second and compared by what they hold. So it does not matter how they are changed: in place, by
//! rename, or by the `..data` link that kubelet swaps.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use gateway_client::Source;
use tracing::{info, warn};

use super::{
    live::{Live, Moment},
    metrics::{Metric, Metrics},
    subject::{Contents, Subject, read},
};

/// How often files are read.
const INTERVAL: Duration = Duration::from_secs(1);

/// When a refused input is tried again though it has not changed: the API server may have changed its certificate meanwhile.
const RETRY: Duration = Duration::from_secs(5);

/// The inputs, with what serves of each.
pub(super) struct Watch {
    live: Live,
    inputs: Vec<Input>,
    metrics: Arc<Metrics>,
}

struct Input {
    subject: Subject,
    sources: Vec<Source>,
    serving: Vec<Vec<u8>>,
    refused: Option<Refused>,
}

struct Refused {
    content: Option<Vec<Vec<u8>>>,
    reason: String,
    at: Instant,
}

impl Watch {
    /// Watches the inputs that `live` was made of.
    pub fn new(
        live: Live,
        sources: Vec<(Subject, Vec<Source>)>,
        contents: Contents,
        metrics: Arc<Metrics>,
    ) -> Self {
        let inputs = sources.into_iter().zip(contents).map(|((subject, sources), (_, serving))| {
            metrics.set(Metric::ReloadPending, [subject.label(), ""], 0);
            Input { subject, sources, serving, refused: None }
        });
        Self { live, inputs: inputs.collect(), metrics }
    }

    /// Watches until the other end of `wake` is dropped. A message there means "look now".
    pub fn run(mut self, wake: &Receiver<()>) {
        loop {
            match wake.recv_timeout(INTERVAL) {
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(()) | Err(RecvTimeoutError::Timeout) => self.look(),
            }
        }
    }

    fn look(&mut self) {
        for input in &mut self.inputs {
            let label = input.subject.label();
            let outcome = match read(&input.sources) {
                Ok(content) if content == input.serving => {
                    if input.refused.take().is_some() {
                        self.metrics.set(Metric::ReloadPending, [label, ""], 0);
                    }
                    continue;
                }
                Ok(content) if !input.due(Some(&content)) => continue,
                Ok(content) => self
                    .live
                    .apply(input.subject, &content, Moment::Change)
                    .map(|()| content.clone())
                    .map_err(|reason| (Some(content), reason)),
                Err(_) if !input.due(None) => continue,
                Err(reason) => Err((None, reason)),
            };
            match outcome {
                Ok(content) => {
                    input.serving = content;
                    input.refused = None;
                    self.metrics.add(Metric::Reloads, [label, "ok"], 1);
                    self.metrics.set(Metric::ReloadPending, [label, ""], 0);
                    info!(input = label, "{} has changed and is live", input.subject);
                }
                Err((content, reason)) => {
                    let known = input.refused.as_ref();
                    let news = known.is_none_or(|r| r.content != content || r.reason != reason);
                    if news {
                        self.metrics.add(Metric::Reloads, [label, "refused"], 1);
                        self.metrics.set(Metric::ReloadPending, [label, ""], 1);
                        let subject = input.subject;
                        warn!(
                            input = label,
                            "{subject} has changed and is refused; the old one serves: {reason}"
                        );
                    }
                    input.refused = Some(Refused { content, reason, at: Instant::now() });
                }
            }
        }
    }
}

impl Input {
    /// Whether a content is to be tried: it is new, or was refused a while ago.
    fn due(&self, content: Option<&Vec<Vec<u8>>>) -> bool {
        self.refused
            .as_ref()
            .is_none_or(|known| known.content.as_ref() != content || known.at.elapsed() >= RETRY)
    }
}
