//! The memory that the workers of one proxy share.

/// Another worker wrote first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shared value changed meanwhile")]
pub struct CasConflict;

/// Values by key, changed by compare-and-swap. In Envoy: proxy-wasm's shared data.
pub trait SharedStore {
    /// The value and the number to compare with on a write.
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// Replaces the value if it is still the one that was read with `cas`; unconditionally if `cas` is `None`.
    fn write(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasConflict>;
}
