//! Where a certificate, a key, a token or a document comes from.

use std::{fs, path::PathBuf};

/// The largest file that is read: far more than any bundle of certificates has.
const LARGEST: u64 = 8 << 20;

/// A file, which may change, or bytes, which do not.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The bytes themselves.
    Inline(Vec<u8>),
}

impl std::fmt::Debug for Source {
    /// Bytes may be a key or a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline(...)"),
        }
    }
}

impl Source {
    /// The bytes as they are now.
    ///
    /// # Errors
    /// In words that name the file.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Inline(bytes) => Ok(bytes.clone()),
            Self::File(path) => {
                let failed =
                    |error: std::io::Error| format!("cannot read {}: {error}", path.display());
                let length = fs::metadata(path).map_err(failed)?.len();
                if length > LARGEST {
                    return Err(format!(
                        "cannot read {}: {length} bytes are too many",
                        path.display()
                    ));
                }
                fs::read(path).map_err(failed)
            }
        }
    }
}

/// Where a certificate chain and its key come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairSource {
    /// The chain.
    pub chain: Source,
    /// The key.
    pub key: Source,
}
