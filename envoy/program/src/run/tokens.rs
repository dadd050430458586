//! Tokens for servers that Envoy asks, by assertions that Envoy cannot make (RFC 7523): the program signs, asks the issuer, and hands the
//! token over in a file that Envoy watches.
//!
//! A token is renewed when three quarters of its time are over. If that fails, the last one stays in use until its end, and the issuer is
//! asked again, after longer and longer pauses. A key that has changed is used at once.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use gateway_client::Source;
use gateway_config::{Callout, Documents};
use gateway_core::config::SignedAssertion;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::{
    metrics::{Metric, Metrics},
    readiness::Readiness,
    view::View,
    volume::Volume,
};
use crate::directory::{self, Token, TokenError, secret_files};

/// How often it is looked what is due.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long the pause is after one failure, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// However long an issuer wants to be left alone.
const LONGEST_WISH: Duration = Duration::from_secs(300);
/// A token is not asked for more often, however short its life.
const LEAST_LIFE: Duration = Duration::from_secs(4);

/// The folder of all the tokens.
pub(super) fn folder(run_directory: &Path) -> PathBuf {
    run_directory.join("tokens")
}

/// Makes sure that Envoy finds the files of documents' credentials: a file that it does not find keeps it from more than the one server.
/// Where a token is still to come stands an empty file, with which Envoy asks nobody.
///
/// # Errors
/// In words that name the field and the file.
pub(super) fn prepare(documents: &Documents) -> Result<(), String> {
    for callout in documents.callouts() {
        for (field, path) in secret_files(callout) {
            let read = Source::File(path.into()).read();
            read.map_err(|reason| {
                format!(
                    "{}.credential.{field}: {reason}; mount the file, or name the one that is there",
                    callout.field
                )
            })?;
        }
        if let Some(folder) = callout.token_file.as_deref().and_then(Path::parent)
            && !folder.join("token").exists()
        {
            empty(folder).map_err(|error| format!("cannot write {}: {error}", folder.display()))?;
        }
    }
    Ok(())
}

fn empty(folder: &Path) -> io::Result<()> {
    Volume::new(folder)?.replace(&[("token", b"")])
}

/// Removes the tokens of an earlier run that these documents have no use for.
fn leave_no_others(documents: &Documents) {
    let folders = documents.callouts().iter().filter_map(|it| it.token_file.as_deref()?.parent());
    let folders: Vec<_> = folders.collect();
    let Some(entries) = folders.first().and_then(|folder| fs::read_dir(folder.parent()?).ok())
    else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if !folders.contains(&path.as_path()) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Has tokens for whatever the documents say.
pub(super) struct Keeper {
    pub view: Arc<Mutex<View>>,
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
}

/// A server's token.
struct Held {
    callout: Callout,
    volume: Volume,
    /// The name of its series. The metrics take names that last.
    name: &'static str,
    /// Of the key's file, when a token was last asked for.
    digest: Option<[u8; 32]>,
    due: Instant,
    failures: u32,
    /// When the token ends that Envoy has.
    end: Option<Instant>,
    /// Why there is no new one, and whether the last one was good when that was said.
    fault: Option<(bool, String)>,
}

/// One that is to be asked for.
struct Due<'a> {
    callout: &'a Callout,
    about: &'a SignedAssertion,
    key: Result<Vec<u8>, String>,
}

impl Keeper {
    /// Renews them until the other end of `stop` is dropped.
    pub fn run(self, stop: &Receiver<()>) {
        let mut held = BTreeMap::<PathBuf, Held>::new();
        let mut names = BTreeMap::new();
        let mut generation = None;
        loop {
            let (documents, now) = {
                let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
                (Arc::clone(&view.documents), view.generation)
            };
            if generation.is_none() {
                // What an earlier run had for others.
                leave_no_others(&documents);
            }
            if generation != Some(now) {
                self.follow(&documents, &mut held, &mut names);
                generation = Some(now);
            }
            self.renew(&mut held);
            if stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    /// Takes what the documents say now.
    fn follow(
        &self,
        documents: &Documents,
        held: &mut BTreeMap<PathBuf, Held>,
        names: &mut BTreeMap<String, &'static str>,
    ) {
        let folder_of =
            |callout: &Callout| callout.token_file.as_deref()?.parent().map(Path::to_owned);
        let wanted: BTreeMap<_, _> = documents
            .callouts()
            .iter()
            .filter_map(|callout| Some((folder_of(callout)?, callout)))
            .collect();
        held.retain(|folder, one| {
            let stays = wanted.contains_key(folder);
            if !stays {
                self.metrics.forget(Metric::CalloutTokenExpiry, [one.name, ""]);
                // It is no longer anybody's.
                let _ = fs::remove_dir_all(folder);
            }
            stays
        });
        for (folder, callout) in wanted {
            if let Some(one) = held.get_mut(&folder) {
                if one.callout != *callout {
                    one.callout = callout.clone();
                    one.due = Instant::now();
                    one.failures = 0;
                }
                continue;
            }
            let volume = Volume::open(&folder);
            // There are as many as sources have ever had names.
            let name = *names
                .entry(callout.asker.clone())
                .or_insert_with(|| Box::leak(callout.asker.clone().into_boxed_str()));
            self.metrics.set(Metric::CalloutTokenExpiry, [name, ""], 0);
            let callout = callout.clone();
            let due = Instant::now();
            let one = Held {
                callout,
                volume,
                name,
                digest: None,
                due,
                failures: 0,
                end: None,
                fault: None,
            };
            held.insert(folder, one);
        }
    }

    /// Asks for those that are due, all at once: an issuer that is silent does not keep others waiting.
    fn renew(&self, held: &mut BTreeMap<PathBuf, Held>) {
        thread::scope(|scope| {
            for one in held.values_mut() {
                scope.spawn(move || self.renew_one(one));
            }
        });
        let faults: Vec<_> = held
            .values()
            .filter_map(|one| {
                let ended = one.end.is_none_or(|end| end <= Instant::now());
                let (_, fault) = one.fault.as_ref().filter(|_| ended)?;
                Some(format!("{} has no token: {fault}", one.name))
            })
            .collect();
        self.readiness.warn_of("tokens", faults);
    }

    fn renew_one(&self, one: &mut Held) {
        let Some(about) = one.callout.assertion() else { return };
        let key = Source::File((&about.key_file).into()).read();
        let digest = key.as_ref().ok().map(|key| Sha256::digest(key).into());
        if one.due > Instant::now() && (digest.is_none() || digest == one.digest) {
            return;
        }
        let due = Due { callout: &one.callout, about, key };
        match due.ask() {
            Ok(token) => self.hand_over(one, &token, digest),
            Err(error) => {
                one.digest = digest;
                self.failed(one, &error);
            }
        }
    }

    fn hand_over(&self, one: &mut Held, token: &Token, digest: Option<[u8; 32]>) {
        let name = one.name;
        if let Err(error) = one.volume.replace(&[("token", token.value.as_bytes())]) {
            warn!("{name}: its token cannot be written: {error}");
            one.due = Instant::now() + FIRST_PAUSE;
            return;
        }
        if one.fault.take().is_some() || one.end.is_none() {
            info!("{name}: a token for {} s, by an assertion", token.lifetime.as_secs());
        }
        let now = Instant::now();
        one.digest = digest;
        one.failures = 0;
        one.end = Some(now + token.lifetime);
        one.due = now + (token.lifetime / 4 * 3).max(LEAST_LIFE);
        let end = SystemTime::now() + token.lifetime;
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let end = i64::try_from(end).unwrap_or(i64::MAX);
        self.metrics.set(Metric::CalloutTokenExpiry, [name, ""], end);
        self.metrics.add(Metric::CalloutTokens, ["ok", ""], 1);
    }

    fn failed(&self, one: &mut Held, error: &TokenError) {
        let pause = FIRST_PAUSE.saturating_mul(1 << one.failures.min(6)).min(LONGEST_PAUSE);
        let wish = error.retry_after().map(|wish| wish.min(LONGEST_WISH));
        one.due = Instant::now() + wish.unwrap_or(pause).max(pause);
        one.failures = one.failures.saturating_add(1);
        self.metrics.add(Metric::CalloutTokens, ["failed", ""], 1);
        let error = error.to_string();
        let left = one.end.and_then(|end| end.checked_duration_since(Instant::now()));
        // Once, and again when it is another, or the last token has ended.
        let said = (left.is_some(), error);
        if one.fault.as_ref() != Some(&said) {
            let (name, error) = (one.name, &said.1);
            if let Some(left) = left {
                let left = left.as_secs();
                warn!("{name}: no new token, the last one is good for {left} s: {error}");
            } else {
                warn!("{name}: no token: {error}");
            }
        }
        one.fault = Some(said);
    }
}

impl Due<'_> {
    fn ask(self) -> Result<Token, TokenError> {
        let Self { callout, about, key } = self;
        let key = key.map_err(|reason| TokenError::File { field: "assertion.keyFile", reason })?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        directory::by_assertion(callout, about, &key, now)
    }
}
