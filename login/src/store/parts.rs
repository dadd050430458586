//! One record in several small entries: Windows Credential Manager takes at most 2,560 bytes for one.
//!
//! The first entry says how many there are and carries the digest of the whole, so that a record of which another process
//! replaced some entries is seen and counts as absent, never as a mixture.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Bytes in one entry. Secret Service and Keychain take any size, and one entry is one request.
pub const PART_SIZE: usize = if cfg!(windows) { 2_400 } else { 1024 * 1024 };
/// More entries than any token needs would be a corrupt count.
const MOST_PARTS: usize = 100;

/// Named entries, as a keyring has them.
pub trait Entries {
    /// Why an entry cannot be read or written.
    type Error;
    /// Reads an entry.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Self::Error>;
    /// Writes an entry.
    fn set(&self, name: &str, value: &[u8]) -> Result<(), Self::Error>;
    /// Removes an entry; `false` if there was none.
    fn remove(&self, name: &str) -> Result<bool, Self::Error>;
}

/// Reads a record. What is not whole comes back as it stands, for the reader to call it corrupt.
pub fn load<E: Entries>(entries: &E, name: &str) -> Result<Option<Vec<u8>>, E::Error> {
    let Some(first) = entries.get(name)? else { return Ok(None) };
    let Some((count, digest, mut whole)) = open(&first) else { return Ok(Some(first)) };
    for index in 1..count {
        match entries.get(&part(name, index))? {
            Some(more) => whole.extend(more),
            None => return Ok(Some(first)),
        }
    }
    // What is stored is text already; a keyring that mangles it fails here.
    Ok(Some(if digest_of(&whole) == digest { whole } else { first }))
}

/// Writes a record in entries of at most `size` bytes, and removes those that a longer one left.
pub fn save<E: Entries>(
    entries: &E,
    name: &str,
    whole: &[u8],
    size: usize,
) -> Result<(), E::Error> {
    let before = entries.get(name)?.and_then(|first| open(&first)).map_or(1, |(count, ..)| count);
    let digest = digest_of(whole);
    // "N:" and the digest: at most 2 + 1 + 22 + 1 bytes.
    let head = size.saturating_sub(26).max(1).min(whole.len());
    let (start, rest) = whole.split_at(head);
    let parts: Vec<&[u8]> = rest.chunks(size).collect();
    // The first entry goes last: until then the former record's digest tells readers that this is none of theirs.
    for (index, bytes) in parts.iter().enumerate() {
        entries.set(&part(name, index + 1), bytes)?;
    }
    let mut first = format!("{}:{digest}:", parts.len() + 1).into_bytes();
    first.extend(start);
    entries.set(name, &first)?;
    for index in parts.len() + 1..before {
        entries.remove(&part(name, index))?;
    }
    Ok(())
}

/// Removes a record with all its entries; `false` if there was none.
pub fn delete<E: Entries>(entries: &E, name: &str) -> Result<bool, E::Error> {
    let count = entries.get(name)?.and_then(|first| open(&first)).map_or(1, |(count, ..)| count);
    for index in 1..count {
        entries.remove(&part(name, index))?;
    }
    entries.remove(name)
}

fn part(name: &str, index: usize) -> String {
    format!("{name} #{index}")
}

/// Count of entries, digest of the whole, and the record's beginning.
fn open(first: &[u8]) -> Option<(usize, String, Vec<u8>)> {
    let mut fields = first.splitn(3, |&byte| byte == b':');
    let count = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let digest = String::from_utf8(fields.next()?.to_vec()).ok()?;
    let start = fields.next()?.to_vec();
    (1..=MOST_PARTS).contains(&count).then_some((count, digest, start))
}

fn digest_of(whole: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(whole)[..16])
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, convert::Infallible};

    use super::*;

    #[derive(Default)]
    struct Memory(RefCell<BTreeMap<String, Vec<u8>>>);

    impl Entries for Memory {
        type Error = Infallible;
        fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Infallible> {
            Ok(self.0.borrow().get(name).cloned())
        }
        fn set(&self, name: &str, value: &[u8]) -> Result<(), Infallible> {
            self.0.borrow_mut().insert(name.to_owned(), value.to_vec());
            Ok(())
        }
        fn remove(&self, name: &str) -> Result<bool, Infallible> {
            Ok(self.0.borrow_mut().remove(name).is_some())
        }
    }

    #[test]
    fn records_of_any_length_survive_in_small_entries() {
        let memory = Memory::default();
        for length in [0, 1, 100, 2_374, 2_375, 2_400, 2_401, 10_000, 30, 5_000] {
            let whole: Vec<u8> =
                (0..length).map(|i| b'a' + u8::try_from(i % 26).unwrap()).collect();
            save(&memory, "n", &whole, 2_400).unwrap();
            assert_eq!(load(&memory, "n").unwrap(), Some(whole), "{length}");
            let entries = memory.0.borrow();
            assert!(entries.values().all(|entry| entry.len() <= 2_400), "{length}");
            assert_eq!(entries.len(), 1 + (length + 25) / 2_400, "nothing is left over: {length}");
        }
        assert!(delete(&memory, "n").unwrap());
        assert!(memory.0.borrow().is_empty());
        assert!(!delete(&memory, "n").unwrap());
        assert_eq!(load(&memory, "n").unwrap(), None);
    }

    /// Two processes that save at once: the entries of one with the head of the other are no record.
    #[test]
    fn a_mixture_is_never_a_record() {
        let memory = Memory::default();
        let (ours, theirs) = (vec![b'a'; 5_000], vec![b'b'; 5_000]);
        save(&memory, "n", &ours, 2_400).unwrap();
        memory.set("n #1", &theirs[..2_400]).unwrap();
        let found = load(&memory, "n").unwrap().unwrap();
        assert_ne!(found, ours);
        assert!(found.starts_with(b"3:"), "the reader must see that it is no record");
        memory.remove("n #2").unwrap();
        assert!(load(&memory, "n").unwrap().unwrap().starts_with(b"3:"));
        // And it does not stand in the way of the next one.
        save(&memory, "n", &ours, 2_400).unwrap();
        assert_eq!(load(&memory, "n").unwrap(), Some(ours));
    }
}
