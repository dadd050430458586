//! The values that all workers of the process share: what proxy-wasm's shared data is to the Wasm filter.

use std::{
    collections::HashMap,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use gateway_core::keys::{CasConflict, SharedStore};

/// Each with the number to change it by.
type Values = HashMap<String, (Vec<u8>, u32)>;

static VALUES: LazyLock<Mutex<Values>> = LazyLock::new(Mutex::default);

/// How often [`VALUES`] has been written to.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// How often the store has been written to: who knows the number knows what is in it.
pub fn written() -> u64 {
    WRITTEN.load(Ordering::Acquire)
}

/// The one store of the process: gateways of all configurations find the keys of the same issuer in it, and a new configuration those
/// that the one before has fetched.
pub struct Store;

impl SharedStore for Store {
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        lock(&VALUES).get(key).cloned()
    }

    fn write(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasConflict> {
        let mut values = lock(&VALUES);
        let number = values.get(key).map_or(0, |(_, number)| *number);
        if cas.is_some_and(|cas| cas != number) {
            return Err(CasConflict);
        }
        values.insert(key.to_owned(), (value.to_vec(), number.wrapping_add(1)));
        WRITTEN.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

/// Locks, whatever became of who had it before: what is behind the locks of this crate is whole after each statement.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_changes_only_if_it_is_the_one_that_was_read() {
        assert_eq!(Store.read("shared/tests"), None);
        assert_eq!(Store.write("shared/tests", b"a", Some(7)), Err(CasConflict));
        Store.write("shared/tests", b"a", None).unwrap();
        let (value, cas) = Store.read("shared/tests").unwrap();
        assert_eq!(value, b"a");
        Store.write("shared/tests", b"b", Some(cas)).unwrap();
        assert_eq!(Store.write("shared/tests", b"c", Some(cas)), Err(CasConflict));
    }
}
