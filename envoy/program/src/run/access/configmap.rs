//! A document in a `ConfigMap`, watched with the gateway's own credential.
//!
//! A watch is asked for in short pieces: each that ends as it should says that nothing has changed that was not told. A network that
//! swallows everything is noticed so, too.

use std::{
    io::{BufRead, BufReader},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    super::{apiserver::ApiServer, view::View},
    Holder, Kind, take, take_none,
};
use crate::access::read;

/// How long one piece of the watch lasts at most, and how much longer the server may take.
const PIECE: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(5);
/// How many pieces the documents outlast of which nobody has heard: one that fails makes none of them too old.
const PIECES: u32 = 3;
/// Before the next try after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of one event: a `ConfigMap` has at most 1 MiB, in which each byte may be escaped.
const MOST_EVENT: u64 = 16 << 20;

/// A `ConfigMap`.
struct Watched {
    kind: Kind,
    namespace: String,
    name: String,
    holder: Arc<Holder>,
    view: Arc<Mutex<View>>,
}

/// Follows it until the program ends.
pub(super) fn follow(
    kind: Kind,
    namespace: String,
    name: String,
    holder: Arc<Holder>,
    view: Arc<Mutex<View>>,
) {
    let watched = Watched { kind, namespace, name, holder, view };
    thread::spawn(move || {
        loop {
            if let Err(reason) = watched.run() {
                watched.holder.refuse(watched.kind, &reason);
                thread::sleep(PAUSE);
            }
        }
    });
}

impl Watched {
    /// Reads it, and then watches it until that fails.
    fn run(&self) -> Result<(), String> {
        let Self { namespace, name, .. } = self;
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        let object = self.client().get(&path).map_err(|error| format!("{name}: {error}"))?;
        let (mut version, mut is_good) = self.take(&object)?;
        loop {
            let piece = self.piece();
            let path = format!(
                "/api/v1/namespaces/{namespace}/configmaps?watch=true&fieldSelector=metadata.name%3D{name}&resourceVersion={version}&timeoutSeconds={}",
                piece.as_secs()
            );
            let watch = self.client().watch(&path, piece + SLACK);
            let events = watch.map_err(|error| format!("{name}: watch: {error}"))?;
            for event in Events::new(events) {
                let event = event.map_err(|error| format!("{name}: watch: {error}"))?;
                match event["type"].as_str() {
                    Some("ADDED" | "MODIFIED") => {
                        (version, is_good) = self.take(&event["object"])?;
                    }
                    Some("BOOKMARK") => {}
                    Some("DELETED") => return Err(format!("{name}: it has been deleted")),
                    // Most often 410: the version is too old. All is read anew.
                    _ => return Ok(()),
                }
            }
            if is_good {
                self.holder.confirm(self.kind);
            }
        }
    }

    /// Takes the object. Gives its version, and whether the document in it can be meant.
    fn take(&self, object: &Value) -> Result<(String, bool), String> {
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let version = version.ok_or("the API server's answer has no resourceVersion")?;
        let is_good = match read(object, self.kind.key()) {
            Ok(Some(text)) => take(self.kind, &self.holder, &text),
            // As it is made: nothing is in it.
            Ok(None) => {
                take_none(self.kind, &self.holder);
                true
            }
            Err(reason) => {
                self.holder.refuse(self.kind, &reason);
                false
            }
        };
        Ok((version.to_owned(), is_good))
    }

    /// How long one piece is: what holds for a short time has to be confirmed more often.
    fn piece(&self) -> Duration {
        let documents = {
            let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&view.documents)
        };
        let most = documents.gateway().access.maximum_staleness_seconds / PIECES;
        Duration::from_secs(most.max(1).into()).min(PIECE)
    }

    /// With the credential of the moment.
    fn client(&self) -> ApiServer {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).apiserver.clone()
    }
}

/// The events of a watch: a JSON object a line.
struct Events<R>(BufReader<R>);

impl<R: std::io::Read> Events<R> {
    fn new(from: R) -> Self {
        Self(BufReader::new(from))
    }
}

impl<R: std::io::Read> Iterator for Events<R> {
    type Item = Result<Value, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let read = std::io::Read::take(&mut self.0, MOST_EVENT).read_until(b'\n', &mut line);
        match read {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(|error| error.to_string())),
            Err(error) => Some(Err(error.to_string())),
        }
    }
}
