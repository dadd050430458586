//! A map from secrets to what they stand for, whose entries end by themselves.

use std::collections::HashMap;

use ring::digest::{SHA256, digest};

/// Entries by the hash of a secret, so that long tokens cost 32 bytes each. Expired entries are dropped whenever the
/// map has doubled, so that a long load test does not grow it for ever.
pub(crate) struct Expiring<T> {
    entries: HashMap<[u8; 32], Entry<T>>,
    prune_at: usize,
}

struct Entry<T> {
    expires: i64,
    value: T,
}

const FIRST_PRUNE: usize = 1024;

impl<T> Default for Expiring<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), prune_at: FIRST_PRUNE }
    }
}

impl<T> Expiring<T> {
    /// Remembers `value` until `expires`, both in seconds since the epoch.
    pub(crate) fn insert(&mut self, secret: &str, value: T, expires: i64, now: i64) {
        if self.entries.len() >= self.prune_at {
            self.entries.retain(|_, entry| entry.expires > now);
            self.prune_at = FIRST_PRUNE.max(self.entries.len() * 2);
        }
        self.entries.insert(hash(secret), Entry { expires, value });
    }

    pub(crate) fn get(&mut self, secret: &str, now: i64) -> Option<&mut T> {
        self.entries
            .get_mut(&hash(secret))
            .filter(|entry| entry.expires > now)
            .map(|entry| &mut entry.value)
    }

    /// When an entry ends.
    pub(crate) fn expires(&self, secret: &str) -> Option<i64> {
        self.entries.get(&hash(secret)).map(|entry| entry.expires)
    }

    /// Takes an entry out, unless it has expired.
    pub(crate) fn take(&mut self, secret: &str, now: i64) -> Option<T> {
        self.entries
            .remove(&hash(secret))
            .filter(|entry| entry.expires > now)
            .map(|entry| entry.value)
    }

    /// Keeps only what `keep` says yes to.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.entries.retain(|_, entry| keep(&entry.value));
    }

    /// The first entry that `found` says yes to, unless it has expired.
    pub(crate) fn find(&mut self, now: i64, found: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.entries
            .values_mut()
            .find(|entry| entry.expires > now && found(&entry.value))
            .map(|entry| &mut entry.value)
    }
}

fn hash(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end() {
        let mut map = Expiring::default();
        map.insert("a", 1, 10, 0);
        assert_eq!(map.get("a", 9), Some(&mut 1));
        assert_eq!(map.get("a", 10), None);
        assert_eq!(map.take("a", 9), Some(1));
        assert_eq!(map.take("a", 9), None);
    }

    #[test]
    fn expired_entries_do_not_pile_up() {
        let mut map = Expiring::default();
        for now in 0..10_000 {
            map.insert(&now.to_string(), now, now + 10, now);
        }
        assert!(map.entries.len() <= FIRST_PRUNE, "{}", map.entries.len());
    }
}
