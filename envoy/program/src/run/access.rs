//! Whose access has ended: the documents as they are now, held for the filter.
//!
//! Each document has a source: a file, or a `ConfigMap`. What the sources last said is one [`Envelope`] with a version, which the filter asks
//! for once a second at a Unix socket that only this user opens. The answer says how old it is. So a source that is away is noticed by who
//! has to know it: the filter lets nobody in by documents that are too old.

mod configmap;
mod file;
mod serve;

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gateway_core::{access::Envelope, elevation::Grants};
use sha2::{Digest, Sha256};

pub(super) use self::serve::{GRANTS, Office, SESSIONS, serve};
use super::{
    metrics::{Metric, Metrics},
    view::View,
};
use crate::access::{GRANTS_KEY, KEY, MOST_REVOCATIONS, Place, fits};

/// A document that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Whose access has ended.
    Revocations,
    /// What is lent to whom.
    Grants,
}

impl Kind {
    /// How many there are.
    const COUNT: usize = 2;

    /// Its name in metrics and words.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Revocations => "revocations",
            Self::Grants => "grants",
        }
    }

    /// The key of a `ConfigMap` under which it stands.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Revocations => KEY,
            Self::Grants => GRANTS_KEY,
        }
    }
}

/// After so long nobody knows whether a grant has been ended: then nothing is lent, and requests go on without.
const GRANTS_HOLD: Duration = Duration::from_secs(300);

/// The documents, for who asks.
pub(crate) struct Holder {
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

struct State {
    envelope: Envelope,
    version: String,
    body: Vec<u8>,
    /// Of each kind.
    heard: [Heard; Kind::COUNT],
    refused: [Option<String>; Kind::COUNT],
    /// How often each source has said something new.
    told: [u64; Kind::COUNT],
    /// What is held of each is the program's own word, written as this version of an object.
    written: [Option<u64>; Kind::COUNT],
    /// Whether the grants are too old to count.
    lapsed: bool,
}

/// When a source last said what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// There is no source.
    NoSource,
    /// It has said nothing that could be meant.
    Never,
    /// Then.
    At(Instant),
}

impl Heard {
    /// How long ago.
    fn age(self) -> Option<Duration> {
        match self {
            Self::At(at) => Some(at.elapsed()),
            Self::NoSource | Self::Never => None,
        }
    }
}

/// What the filter is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A document has not been read yet.
    Unread,
    /// It has this version already.
    Unchanged { age: Duration },
    /// It has not.
    Changed { version: String, age: Duration, body: Vec<u8> },
}

impl Holder {
    /// Holds documents of these kinds, none of which has been read.
    pub(crate) fn new(kinds: &[Kind], metrics: Arc<Metrics>) -> Arc<Self> {
        let mut heard = [Heard::NoSource; Kind::COUNT];
        for kind in kinds {
            heard[*kind as usize] = Heard::Never;
            metrics.set(Metric::ReloadPending, [kind.label(), ""], 0);
        }
        let mut state = State {
            envelope: Envelope::default(),
            version: String::new(),
            body: Vec::new(),
            heard,
            refused: [const { None }; Kind::COUNT],
            told: [0; Kind::COUNT],
            written: [None; Kind::COUNT],
            lapsed: false,
        };
        state.encode();
        Arc::new(Self { state: Mutex::new(state), metrics })
    }

    /// Takes what a source says now. `put` writes it into the envelope.
    pub(crate) fn take(&self, kind: Kind, put: impl FnOnce(&mut Envelope)) {
        let mut state = self.state();
        state.told[kind as usize] += 1;
        state.written[kind as usize] = None;
        self.put(state, kind, put);
    }

    /// How often a source has said something new: for [`Self::take_written`].
    pub(crate) fn told(&self, kind: Kind) -> u64 {
        self.state().told[kind as usize]
    }

    /// Takes what this program has written, unless the source has said something since `told`, before it was read: that may be newer, and
    /// what was written comes from there, too. Taken after it, it would stay until the next change.
    pub(crate) fn take_written(
        &self,
        kind: Kind,
        told: u64,
        version: Option<&str>,
        put: impl FnOnce(&mut Envelope),
    ) {
        let mut state = self.state();
        if state.told[kind as usize] == told {
            state.written[kind as usize] = version.and_then(|version| version.parse().ok());
            self.put(state, kind, put);
        }
    }

    /// Whether a version of the object is from before the one that this program has written and holds. A watch tells of all changes one after the
    /// other: what another replica wrote before may come after the answer to one's own write, and a grant that has ended would be lent again
    /// until the next event. Versions grow (KEP-5504); what is no number is older than nothing.
    pub(crate) fn is_older(&self, kind: Kind, version: &str) -> bool {
        let written = self.state().written[kind as usize];
        written
            .zip(version.parse().ok())
            .is_some_and(|(written, version): (u64, u64)| version < written)
    }

    /// The object is about to be read anew. Of a cluster that was restored the versions begin further back.
    pub(crate) fn forget_written(&self, kind: Kind) {
        self.state().written[kind as usize] = None;
    }

    fn put(&self, mut state: MutexGuard<'_, State>, kind: Kind, put: impl FnOnce(&mut Envelope)) {
        put(&mut state.envelope);
        let before = state.version.clone();
        state.encode();
        let is_new = state.version != before || state.heard[kind as usize] == Heard::Never;
        state.hear(kind);
        drop(state);
        if is_new {
            self.metrics.add(Metric::Reloads, [kind.label(), "ok"], 1);
            tracing::info!(input = kind.label(), "{} have changed and are live", kind.label());
        }
        self.metrics.set(Metric::ReloadPending, [kind.label(), ""], 0);
    }

    /// The source says what it said before.
    pub(crate) fn confirm(&self, kind: Kind) {
        self.state().hear(kind);
    }

    /// The source is away, or what it says cannot be meant: what it said before goes on to hold, and gets older.
    pub(crate) fn refuse(&self, kind: Kind, reason: &str) {
        let mut state = self.state();
        let known = state.refused[kind as usize].replace(reason.to_owned());
        drop(state);
        if known.as_deref() != Some(reason) {
            let label = kind.label();
            self.metrics.add(Metric::Reloads, [label, "refused"], 1);
            self.metrics.set(Metric::ReloadPending, [label, ""], 1);
            tracing::warn!(
                input = label,
                "{label} cannot be read; the last ones hold for a while: {reason}"
            );
        }
    }

    /// What is wrong with a document that has never been read, if one has not.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        let state = self.state();
        if !state.heard.contains(&Heard::Never) {
            return Ok(());
        }
        let reason = state.refused.iter().flatten().next();
        Err(reason.cloned().unwrap_or_else(|| "they have not been read yet".to_owned()))
    }

    /// Answers who has this version.
    pub(crate) fn answer(&self, version: &str) -> Answer {
        let mut state = self.state();
        if state.heard.contains(&Heard::Never) {
            return Answer::Unread;
        }
        state.let_lapse(GRANTS_HOLD);
        // Of grants the holder itself says when they no longer count.
        let age = state.heard[Kind::Revocations as usize].age().unwrap_or_default();
        if state.version == version {
            return Answer::Unchanged { age };
        }
        Answer::Changed { version: state.version.clone(), age, body: state.body.clone() }
    }

    /// The grants that are held, if they are still known to be the newest.
    pub(super) fn grants(&self) -> Option<Grants> {
        let mut state = self.state();
        state.let_lapse(GRANTS_HOLD);
        state.envelope.grants.clone().filter(|_| !state.lapsed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn encode(&mut self) {
        // Documents of text alone: they can be written.
        self.body = if self.lapsed {
            serde_json::to_vec(&Envelope { grants: None, ..self.envelope.clone() })
        } else {
            serde_json::to_vec(&self.envelope)
        }
        .unwrap_or_default();
        self.version =
            Sha256::digest(&self.body).iter().take(12).fold(String::new(), |mut version, byte| {
                let _ = write!(version, "{byte:02x}");
                version
            });
    }

    fn hear(&mut self, kind: Kind) {
        self.heard[kind as usize] = Heard::At(Instant::now());
        self.refused[kind as usize] = None;
        if kind == Kind::Grants && self.lapsed {
            self.lapsed = false;
            self.encode();
        }
    }

    /// Has grants lapse of which nobody has heard for so long.
    fn let_lapse(&mut self, hold: Duration) {
        let age = self.heard[Kind::Grants as usize].age();
        if !self.lapsed && age.is_some_and(|age| age > hold) {
            tracing::warn!("grants could not be read for {} s: nothing is lent", hold.as_secs());
            self.lapsed = true;
            self.encode();
        }
    }
}

/// Follows a place in a thread of its own, for as long as the program runs.
pub(super) fn follow(kind: Kind, place: Place, holder: Arc<Holder>, view: Arc<Mutex<View>>) {
    match place {
        Place::File(path) => file::follow(kind, path, holder),
        Place::ConfigMap { namespace, name } => {
            configmap::follow(kind, namespace, name, holder, view);
        }
    }
}

/// Reads a document into the envelope. False if it cannot be meant.
fn take(kind: Kind, holder: &Holder, text: &[u8]) -> bool {
    match kind {
        Kind::Revocations => take_revocations(holder, text),
        Kind::Grants => match gateway_config::parse_grants(text) {
            Ok(document) => {
                holder.take(kind, |envelope| envelope.grants = Some(document));
                true
            }
            Err(reason) => {
                holder.refuse(kind, &reason);
                false
            }
        },
    }
}

/// There is no document yet where one will be.
fn take_none(kind: Kind, holder: &Holder) {
    holder.take(kind, |envelope| match kind {
        Kind::Revocations => envelope.revocations = None,
        Kind::Grants => envelope.grants = None,
    });
}

/// Reads a `Revocations` document into the envelope. False if it cannot be meant.
fn take_revocations(holder: &Holder, text: &[u8]) -> bool {
    let document = gateway_config::parse_revocations(text).and_then(|document| {
        let long = |bytes| {
            format!(
                "it has {bytes} bytes, and the filter reads {MOST_REVOCATIONS}: prune it, or end many at once by group or issuedBefore"
            )
        };
        fits(&document).map(|_| document).map_err(long)
    });
    match document {
        Ok(document) => {
            holder.take(Kind::Revocations, |envelope| envelope.revocations = Some(document));
            true
        }
        Err(reason) => {
            holder.refuse(Kind::Revocations, &reason);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "{apiVersion: gateway.kube-oidc.dev/v1alpha1, kind: Revocations, revocations: [{user: a, until: 2030-01-01T00:00:00Z}]}";

    fn version(answer: Answer) -> String {
        match answer {
            Answer::Changed { version, .. } => version,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_answered_before_it_has_been_read() {
        let holder = Holder::new(&[Kind::Revocations], Arc::default());
        assert_eq!(holder.answer(""), Answer::Unread);
        assert!(holder.readiness().is_err());
        take_revocations(&holder, b"kind: [");
        assert_eq!(holder.answer(""), Answer::Unread);
        assert_ne!(holder.readiness(), Err("they have not been read yet".to_owned()));
        take_revocations(&holder, DOCUMENT.as_bytes());
        assert_eq!(holder.readiness(), Ok(()));
        let first = version(holder.answer(""));
        assert!(matches!(holder.answer(&first), Answer::Unchanged { .. }));
    }

    /// Who cannot read grants has less than before, and is let in all the same.
    #[test]
    fn grants_that_nobody_has_heard_of_lend_nothing_and_refuse_nobody() {
        let holder = Holder::new(&[Kind::Grants], Arc::default());
        assert_eq!(holder.answer(""), Answer::Unread);
        let text = "{apiVersion: gateway.kube-oidc.dev/v1alpha1, kind: Grants}";
        assert!(take(Kind::Grants, &holder, text.as_bytes()));
        let first = version(holder.answer(""));
        holder.state().let_lapse(Duration::from_secs(60));
        assert_eq!(holder.answer(&first), Answer::Unchanged { age: Duration::ZERO });
        holder.state().let_lapse(Duration::ZERO);
        let Answer::Changed { body, age, .. } = holder.answer(&first) else { panic!() };
        assert_eq!((body.as_slice(), age), (&b"{}"[..], Duration::ZERO));
        // Read again, they are what they were.
        holder.confirm(Kind::Grants);
        assert!(matches!(holder.answer(&first), Answer::Unchanged { .. }));
        assert!(!take(Kind::Grants, &holder, b"kind: Grant"));
        assert!(matches!(holder.answer(&first), Answer::Unchanged { .. }));
    }

    /// Two replicas: one agrees to a grant, the other ends it, and the first hears of that before the answer to its own write.
    #[test]
    fn what_was_written_does_not_replace_what_is_newer() {
        let holder = Holder::new(&[Kind::Grants], Arc::default());
        let document = |ids: &[&str]| {
            let entry = |id: &&str| {
                serde_json::json!({
                    "id": id, "state": "Ended", "user": "jane", "issuer": "https://i", "subject": "1", "groups": ["a"],
                    "requestedAt": "2026-01-01T00:00:00Z", "from": "2026-01-01T00:00:00Z", "until": "2026-01-01T01:00:00Z",
                })
            };
            let grants: Vec<_> = ids.iter().map(entry).collect();
            let text = serde_json::json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Grants", "grants": grants});
            gateway_config::parse_grants(text.to_string().as_bytes()).unwrap()
        };
        let says = || match holder.answer("") {
            Answer::Changed { body, .. } => String::from_utf8(body).unwrap(),
            other => panic!("{other:?}"),
        };
        holder.take(Kind::Grants, |envelope| envelope.grants = Some(document(&["old"])));
        let told = holder.told(Kind::Grants);
        holder.take_written(Kind::Grants, told, Some("10"), |envelope| {
            envelope.grants = Some(document(&["own"]));
        });
        assert!(says().contains("own"));
        // What comes late, and what is no number.
        let older = |version: &str| holder.is_older(Kind::Grants, version);
        assert_eq!(["9", "10", "11", "x", ""].map(older), [true, false, false, false, false]);
        assert!(!holder.is_older(Kind::Revocations, "9"));
        holder.forget_written(Kind::Grants);
        assert!(!older("9"));
        let told = holder.told(Kind::Grants);
        holder.take(Kind::Grants, |envelope| envelope.grants = Some(document(&["newer"])));
        holder.take_written(Kind::Grants, told, Some("20"), |envelope| {
            envelope.grants = Some(document(&["own"]));
        });
        assert!(says().contains("newer"), "{}", says());
        assert!(!older("9"));
    }

    /// What cannot be meant leaves what was there, which gets older.
    #[test]
    fn a_version_is_of_what_the_documents_say() {
        let holder = Holder::new(&[Kind::Revocations], Arc::default());
        take_revocations(&holder, DOCUMENT.as_bytes());
        let first = version(holder.answer(""));
        // In other words the same.
        take_revocations(&holder, DOCUMENT.replace("user: a", "user: \"a\"").as_bytes());
        assert!(matches!(holder.answer(&first), Answer::Unchanged { .. }));
        take_revocations(&holder, b"nonsense");
        assert!(matches!(holder.answer(&first), Answer::Unchanged { .. }));
        take_revocations(&holder, DOCUMENT.replace("user: a", "user: b").as_bytes());
        let second = version(holder.answer(&first));
        assert_ne!(first, second);
        take_revocations(&holder, DOCUMENT.as_bytes());
        assert_eq!(version(holder.answer(&second)), first);
    }
}
