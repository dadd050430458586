//! A document in a `ConfigMap`, watched with the gateway's own credential.
//!
//! A watch is asked for in short pieces: each that ends as it should says that nothing has changed that was not told. A network that
//! swallows everything is noticed so, too.

use std::{
    io::{BufRead, BufReader},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    super::{apiserver::ApiServer, view::View},
    Holder, Kind, take, take_none,
};
use crate::access::{GRANTS_KEY, KEY, read};

/// How long one piece of the watch lasts at most, and how much longer the server may take.
const PIECE: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(5);
/// How many pieces the documents outlast of which nobody has heard: one that fails makes none of them too old.
const PIECES: u32 = 3;
/// Before the next try after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// A piece that was shorter than this, though nothing failed, is followed by as long a pause.
const SHORTEST: Duration = Duration::from_millis(200);
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

/// From where a watch goes on, and whether the document that was there last can be meant.
struct Known {
    version: String,
    is_good: bool,
    /// Whether the watch has told of it.
    is_there: bool,
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
            }
            // A server that ends each watch at once is not asked a thousand times a second, either.
            thread::sleep(PAUSE);
        }
    });
}

impl Watched {
    /// Reads it, and then watches it until that fails.
    fn run(&self) -> Result<(), String> {
        let Self { namespace, name, .. } = self;
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        self.holder.forget_written(self.kind);
        let object = self.client().get(&path).map_err(|error| format!("{name}: {error}"))?;
        let (_, is_good) = self.take(&object)?;
        // Not from the object's own version: that is when it was changed last, and a server that has begun anew since calls it too old. From
        // none the watch begins with the object as it is.
        let mut known = Known { version: String::new(), is_good, is_there: false };
        loop {
            let piece = self.piece();
            let path = format!(
                "/api/v1/namespaces/{namespace}/configmaps?watch=true&fieldSelector=metadata.name%3D{name}&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
                known.version,
                piece.as_secs()
            );
            let begun = Instant::now();
            let watch = self.client().watch(&path, piece + SLACK);
            let events = watch.map_err(|error| format!("{name}: watch: {error}"))?;
            if !self.heed(Events::new(events), &mut known)? {
                return Ok(());
            }
            if !known.is_there {
                return Err(format!("{name}: it is not there"));
            }
            if known.is_good {
                self.holder.confirm(self.kind);
            }
            if begun.elapsed() < SHORTEST {
                thread::sleep(SHORTEST);
            }
        }
    }

    /// Heeds the events of one piece. False if all is to be read anew.
    fn heed(
        &self,
        events: impl Iterator<Item = Result<Value, String>>,
        known: &mut Known,
    ) -> Result<bool, String> {
        let name = &self.name;
        for event in events {
            let event = event.map_err(|error| format!("{name}: watch: {error}"))?;
            let object = &event["object"];
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => {
                    (known.version, known.is_good) = self.take(object)?;
                    known.is_there = true;
                }
                // So far nothing else has happened. Else the version would be too old some day, though nothing has changed.
                Some("BOOKMARK") => known.version = version(object)?,
                Some("DELETED") => return Err(format!("{name}: it has been deleted")),
                // Most often 410: the version is too old.
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Takes the object. Gives its version, and whether the document in it can be meant.
    fn take(&self, object: &Value) -> Result<(String, bool), String> {
        let version = version(object)?;
        if self.holder.is_older(self.kind, &version) {
            return Ok((version, true));
        }
        let key = self.kind.key();
        let is_good = match (read(object, key), foreign_key(object)) {
            (Ok(Some(text)), _) => take(self.kind, &self.holder, &text),
            (Ok(None), Some(other)) => {
                let Self { name, .. } = self;
                let why =
                    format!("{name}: it has {other:?} and no key {key}: is that a misspelling?");
                self.holder.refuse(self.kind, &why);
                false
            }
            // As it is made: nothing is in it.
            (Ok(None), None) => {
                take_none(self.kind, &self.holder);
                true
            }
            (Err(reason), _) => {
                self.holder.refuse(self.kind, &reason);
                false
            }
        };
        Ok((version, is_good))
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

/// The version of an object.
fn version(object: &Value) -> Result<String, String> {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    version
        .map(str::to_owned)
        .ok_or_else(|| "the API server's answer has no resourceVersion".to_owned())
}

/// A key under which no document stands. Where there is one and no document, somebody has written one under a wrong name: to take that for
/// nothing would let in whoever it names.
fn foreign_key(object: &Value) -> Option<&str> {
    let is_known = |key: &str| [KEY, GRANTS_KEY].contains(&key.trim_end_matches(".gz"));
    let fields =
        ["data", "binaryData"].into_iter().filter_map(|field| object.get(field)?.as_object());
    fields.flat_map(|data| data.keys()).map(String::as_str).find(|key| !is_known(key))
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

#[cfg(test)]
mod tests {
    use gateway_client::{Connection, CredentialSource, Source};
    use gateway_config::{Documents, Rights};
    use gateway_core::elevation::State;
    use serde_json::json;

    use super::*;
    use crate::run::{access::Answer, apiserver::Credential};

    fn watched() -> Watched {
        let connection = Connection {
            host: "127.0.0.1".parse().unwrap(),
            port: 1,
            server_name: None,
            ca: None,
            credential: CredentialSource::Token(Source::Inline(Vec::new())),
        };
        let authentication = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {"url": "https://i", "audiences": ["kubernetes"]},
                "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
            }],
        });
        let view = View {
            apiserver: ApiServer::new(&connection, None, &Credential::Token(String::new()))
                .unwrap(),
            documents: Arc::new(Documents::from_values(&authentication, None).unwrap()),
            issuers: Vec::new(),
            rights: Rights { plain: Vec::new(), constrained: Vec::new() },
            generation: 0,
        };
        Watched {
            kind: Kind::Revocations,
            namespace: "n".to_owned(),
            name: "access".to_owned(),
            holder: Holder::new(&[Kind::Revocations], Arc::default()),
            view: Arc::new(Mutex::new(view)),
        }
    }

    fn object(version: &str, data: &Value) -> Value {
        json!({"metadata": {"name": "access", "resourceVersion": version}, "data": data})
    }

    fn known(version: &str) -> Known {
        Known { version: version.to_owned(), is_good: true, is_there: false }
    }

    /// An object that nobody has changed for a day is older than what a server that began anew can tell: to watch from there fails each time, at
    /// once.
    #[test]
    fn a_watch_goes_on_from_where_it_was_and_not_from_the_last_change() {
        let watched = watched();
        let mut known = known("");
        let piece = |events: &[(&str, Value)]| {
            let event =
                |(kind, object): &(&str, Value)| Ok(json!({"type": kind, "object": object}));
            events.iter().map(event).collect::<Vec<_>>().into_iter()
        };
        let added = ("ADDED", object("7", &json!(null)));
        let bookmark =
            |version: &str| ("BOOKMARK", json!({"metadata": {"resourceVersion": version}}));
        let events = piece(&[added.clone(), bookmark("900")]);
        assert_eq!(watched.heed(events, &mut known), Ok(true));
        assert_eq!((known.version.as_str(), known.is_there), ("900", true));
        assert_eq!(watched.heed(piece(&[bookmark("950")]), &mut known), Ok(true));
        assert_eq!(known.version, "950");
        let old = ("ERROR", json!({"kind": "Status", "code": 410}));
        assert_eq!(watched.heed(piece(&[old]), &mut known), Ok(false));
        let gone = ("DELETED", object("960", &json!(null)));
        assert!(watched.heed(piece(&[gone]), &mut known).unwrap_err().contains("deleted"));
    }

    /// Another replica agreed to a grant, this one has ended it, and the watch tells of the first only then: it must not be lent for a moment.
    #[test]
    fn an_event_from_before_ones_own_write_brings_nothing_back() {
        let watched = Watched { kind: Kind::Grants, ..watched() };
        let watched = Watched { holder: Holder::new(&[Kind::Grants], Arc::default()), ..watched };
        let grants = |state: &str| {
            json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Grants", "grants": [{
                "id": "g", "state": state, "user": "jane", "issuer": "https://i", "subject": "1", "groups": ["a"],
                "requestedAt": "2026-01-01T00:00:00Z", "from": "2026-01-01T00:00:00Z", "until": "2026-01-01T01:00:00Z",
            }]})
        };
        let at = |version: &str, state: &str| {
            object(version, &json!({"grants.json": grants(state).to_string()}))
        };
        let state = || watched.holder.grants().unwrap().grants[0].state;
        let mut known = known("7");
        let mut heed = |version: &str, state: &str| {
            let event = json!({"type": "MODIFIED", "object": at(version, state)});
            watched.heed([Ok(event)].into_iter(), &mut known)
        };
        assert_eq!(heed("8", "Requested"), Ok(true));
        let told = watched.holder.told(Kind::Grants);
        let ended = gateway_config::parse_grants(grants("Ended").to_string().as_bytes()).unwrap();
        watched.holder.take_written(Kind::Grants, told, Some("10"), |it| it.grants = Some(ended));
        assert_eq!(heed("9", "Approved"), Ok(true));
        assert_eq!(state(), State::Ended);
        assert_eq!(heed("10", "Ended"), Ok(true));
        assert_eq!(heed("11", "Approved"), Ok(true));
        assert_eq!(state(), State::Approved);
        assert_eq!((known.version.as_str(), known.is_good), ("11", true));
    }

    /// `kubectl create configmap --from-file=revocations.yml`
    #[test]
    fn a_document_under_another_key_is_not_taken_for_none() {
        for (data, want) in [
            (json!({}), None),
            (json!({"grants.json": "x"}), None),
            (json!({"revocations.yaml.gz": "x"}), None),
            (json!({"revocations.yml": "x"}), Some("revocations.yml")),
            (json!(null), None),
        ] {
            assert_eq!(foreign_key(&object("1", &data)), want, "{data}");
            let packed = json!({"binaryData": data});
            assert_eq!(foreign_key(&packed), want, "{packed}");
        }
        let watched = watched();
        let text = "{apiVersion: gateway.kube-oidc.dev/v1alpha1, kind: Revocations, revocations: [{user: a, until: 2030-01-01T00:00:00Z}]}";
        for (data, good) in [
            (json!({"revocations.yaml": text, "note": "x"}), true),
            (json!({"revocations.yml": text}), false),
        ] {
            assert_eq!(watched.take(&object("1", &data)), Ok(("1".to_owned(), good)), "{data}");
            let Answer::Changed { body, .. } = watched.holder.answer("") else { panic!() };
            assert!(String::from_utf8(body).unwrap().contains("\"user\":\"a\""), "{data}");
        }
        let reason = watched.holder.state().refused[Kind::Revocations as usize].clone();
        assert!(reason.unwrap().contains("revocations.yml"));
    }
}
