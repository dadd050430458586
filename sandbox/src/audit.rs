//! kube-apiserver's audit log: what reached it, as whom, and what came of it.

mod event;

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

pub use self::event::{Event, Identity, ObjectReference, Stage, Status};
use crate::{
    error::{Context, Error, Result},
    http::Client,
};

const POLL: Duration = Duration::from_millis(5);
const FENCE_LIMIT: Duration = Duration::from_secs(30);
const FENCE: &str = "/version?sandbox-fence=";

/// The audit log of one cluster.
///
/// The API server writes a request's first event before it handles the request, and the last one after it has answered: so
/// an event may come a moment after the client has its answer.
#[derive(Debug)]
pub struct Audit {
    log: PathBuf,
    admin: Client,
    fences: AtomicU64,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

impl Audit {
    pub(crate) fn new(log: PathBuf, admin: Client) -> Self {
        Self { log, admin, fences: AtomicU64::new(0) }
    }

    /// The place where the log ends now. What is asked of the cluster from here on is behind it.
    pub fn mark(&self) -> Result<Mark> {
        let end = std::fs::metadata(&self.log).map_or(0, |data| data.len());
        Ok(Mark(end))
    }

    /// Every event behind the mark of requests that reached the API server before this call.
    ///
    /// It makes sure of that with a request of its own, which it leaves out: for tests that nothing arrived.
    pub fn since(&self, mark: Mark) -> Result<Vec<Event>> {
        let fence = format!("{FENCE}{}", self.fences.fetch_add(1, Ordering::Relaxed));
        self.admin.get(&fence)?;
        let is_fence = |e: &Event| e.request_uri == fence && e.stage == Stage::ResponseComplete;
        let start = Instant::now();
        loop {
            let events = self.read(mark)?;
            if events.iter().any(is_fence) {
                let own = |event: &Event| event.request_uri.starts_with(FENCE);
                return Ok(events.into_iter().filter(|event| !own(event)).collect());
            }
            if start.elapsed() > FENCE_LIMIT {
                return Err(Error::Timeout {
                    what: format!("the request {fence} in the audit log"),
                    after: FENCE_LIMIT,
                    reason: format!("{} events are in it", events.len()),
                });
            }
            thread::sleep(POLL);
        }
    }

    /// The first event behind the mark for which `wanted` holds, as soon as it is there.
    ///
    /// # Errors
    /// If there is none after `limit`.
    pub fn wait_for(
        &self,
        mark: Mark,
        limit: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        let start = Instant::now();
        loop {
            let events = self.read(mark)?;
            let count = events.len();
            if let Some(event) = events.into_iter().find(&wanted) {
                return Ok(event);
            }
            if start.elapsed() > limit {
                return Err(Error::Timeout {
                    what: "an event in the audit log".to_owned(),
                    after: limit,
                    reason: format!("none of {count} is the one"),
                });
            }
            thread::sleep(POLL);
        }
    }

    /// Every whole event behind the mark that is in the file now.
    fn read(&self, mark: Mark) -> Result<Vec<Event>> {
        let read = || {
            let mut text = Vec::new();
            let mut file = File::open(&self.log)?;
            file.seek(SeekFrom::Start(mark.0.saturating_sub(1)))?;
            file.read_to_end(&mut text)?;
            Ok(text)
        };
        let text = read().context(|| format!("read {}", self.log.display()))?;
        whole_lines(&text, mark.0 > 0)
            .map(|line| {
                let what = "the audit log".to_owned();
                serde_json::from_slice(line).map_err(|source| Error::Json { what, source })
            })
            .collect()
    }
}

/// The lines that have an end. Where the text begins with the byte before a place, also a beginning: the API server may have been
/// writing a line when the place was taken, which is then before it.
fn whole_lines(text: &[u8], from_before: bool) -> impl Iterator<Item = &[u8]> {
    let is_end = |byte: &u8| *byte == b'\n';
    let start = if from_before { text.iter().position(is_end).map(|end| end + 1) } else { Some(0) };
    let end = text.iter().rposition(is_end);
    let whole = start.zip(end).and_then(|(start, end)| text.get(start..end)).unwrap_or_default();
    whole.split(is_end).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_being_written_at_the_mark_is_before_it() {
        let lines = |text: &'static str, from_before| -> Vec<_> {
            whole_lines(text.as_bytes(), from_before)
                .map(|line| str::from_utf8(line).unwrap())
                .collect()
        };
        for (text, from_before, want) in [
            ("", false, &[][..]),
            ("one\ntwo\nthr", false, &["one", "two"][..]),
            ("\none\ntwo\nthr", true, &["one", "two"]),
            ("3}\none\n", true, &["one"]),
            ("3}\n", true, &[]),
            ("3", true, &[]),
            ("\n", true, &[]),
        ] {
            assert_eq!(lines(text, from_before), want, "{text:?}");
        }
    }
}
