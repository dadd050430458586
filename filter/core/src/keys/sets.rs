//! The sets that a worker verifies with: the last good one, and those that it replaced before their time was over
//! (docs/decisions, 17).

use std::{rc::Rc, time::Duration};

use kube_authn::{
    Rules,
    jwks::{KeySet, KeySetError, KeySetLimits},
};

use super::{Record, Replaced};

/// The keys of a [`Record`], parsed.
#[derive(Debug, Default)]
pub(super) struct KeySets {
    last: Option<Rc<KeySet>>,
    /// The last ones and those of sets that they replaced, until the first of these ends.
    with_replaced: Option<(Rc<KeySet>, Duration)>,
    version: u64,
    epoch: u64,
}

impl KeySets {
    /// What there is to verify with.
    pub(super) fn good_at(&self, now: Duration) -> Option<&Rc<KeySet>> {
        let all = self.with_replaced.as_ref().filter(|(_, end)| now < *end);
        all.map(|(keys, _)| keys).or(self.last.as_ref())
    }

    /// All keys, those of replaced sets too.
    pub(super) fn all(&self) -> Option<&Rc<KeySet>> {
        self.with_replaced.as_ref().map(|(keys, _)| keys).or(self.last.as_ref())
    }

    /// Those of the last good fetch.
    pub(super) fn last(&self) -> Option<&Rc<KeySet>> {
        self.last.as_ref()
    }

    /// The version of the record that they are of. Grows with every fetch.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Changes whenever a key is gone.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Has the next [`Self::read`] take the record's keys, whatever its version.
    pub(super) fn read_anew(&mut self) {
        self.version = 0;
    }

    /// Takes the record's keys if they are of another version.
    pub(super) fn read(&mut self, record: &Record, rules: Rules, now: Duration) {
        if record.version() == self.version {
            return;
        }
        match record.keys().map(|text| parse_keys(text, rules)) {
            Some(Ok(keys)) => self.take(Some(Rc::new(keys)), record, rules, now),
            // What another worker stored has been parsed by it with the same limits, so that this cannot fail.
            Some(Err(_)) => {}
            None => self.take(None, record, rules, now),
        }
    }

    /// Leaves out the replaced sets whose time is over.
    pub(super) fn end_replaced(&mut self, record: &Record, rules: Rules, now: Duration) {
        if self.with_replaced.as_ref().is_some_and(|(_, end)| *end <= now) {
            self.take(self.last.clone(), record, rules, now);
        }
    }

    fn take(&mut self, last: Option<Rc<KeySet>>, record: &Record, rules: Rules, now: Duration) {
        let before = self.all().cloned();
        self.with_replaced = last.as_ref().and_then(|keys| {
            let end = record.replaced(now).map(Replaced::until).min()?;
            let mut all = KeySet::clone(keys);
            for set in record.replaced(now) {
                if let Ok(keys) = parse_keys(set.keys(), rules) {
                    all.add_keys_of(&keys);
                }
            }
            Some((Rc::new(all), end))
        });
        self.last = last;
        self.version = record.version();
        let now = self.all();
        if !before.iter().all(|old| now.is_some_and(|keys| old.is_within(keys))) {
            self.epoch = self.epoch.wrapping_add(1);
        }
    }
}

/// Reads a set.
pub(super) fn parse_keys(text: &str, rules: Rules) -> Result<KeySet, KeySetError> {
    // The size has been checked against the configuration, which may allow more than the default.
    let limits = KeySetLimits { bytes: text.len(), ..KeySetLimits::default() };
    KeySet::parse(text.as_bytes(), limits, rules)
}

/// That a set has none, with what spoils those that are in it.
pub(super) fn no_usable_key(keys: &KeySet) -> String {
    let skipped = first_skipped(keys.skipped().iter().map(ToString::to_string));
    if skipped.is_empty() {
        "no usable key".to_owned()
    } else {
        format!("no usable key; not used: {}", skipped.join(", "))
    }
}

/// The keys that are not used, but for those of which the last set's fetch has told already.
pub(super) fn newly_skipped(before: Option<&KeySet>, now: Option<&KeySet>) -> Vec<String> {
    let lines = |keys: Option<&KeySet>| -> Vec<String> {
        keys.map(|keys| keys.skipped().iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    };
    let (before, now) = (lines(before), lines(now));
    first_skipped(now.into_iter().filter(|line| !before.contains(line)))
}

/// As many of them as one line of a log has room for.
fn first_skipped(mut lines: impl Iterator<Item = String>) -> Vec<String> {
    const MOST: usize = 8;
    let mut first: Vec<_> = lines.by_ref().take(MOST).collect();
    let more = lines.count();
    if more > 0 {
        first.push(format!("and {more} more"));
    }
    first
}
