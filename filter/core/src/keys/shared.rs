//! The memory that the workers of one proxy share.

/// Another worker wrote first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shared value changed meanwhile")]
pub struct CasConflict;

/// How often a change is tried. Workers that change a value at the same time are few, and each try of all of them succeeds for
/// one; a store that refuses this many must not hold the worker for ever.
pub const TRIES: usize = 64;

/// Values by key, changed by compare-and-swap. In Envoy: proxy-wasm's shared data.
pub trait SharedStore {
    /// The value and the number to compare with on a write.
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// Replaces the value if it is still the one that was read with `cas`; unconditionally if `cas` is `None`.
    fn write(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasConflict>;
}
