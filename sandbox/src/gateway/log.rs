//! Why a configuration was refused, out of Envoy's log.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// What the filter writes before its reason.
const FILTER: &str = "configuration refused: ";

/// Envoy's log from some moment on.
pub(super) struct LogFrom {
    path: PathBuf,
    start: usize,
}

impl LogFrom {
    /// From now on.
    pub fn now(path: &Path) -> Self {
        let start = fs::read(path).map_or(0, |text| text.len());
        Self { path: path.to_owned(), start }
    }

    /// The refusal that it tells of.
    pub fn refusal(&self) -> Error {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes.get(self.start..).unwrap_or_default());
        Error::Refused { name: "the gateway", reason: reason(&text), log: self.path.clone() }
    }
}

fn reason(log: &str) -> String {
    let filter = log.lines().find_map(|line| Some(line.split_once(FILTER)?.1));
    let rejected = || log.lines().find_map(|line| Some(line.split_once("rejected: ")?.1));
    filter.or_else(rejected).unwrap_or("it does not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_s_own_words_come_first() {
        for (log, want) in [
            (
                "[error][wasm] x\n[error][wasm] wasm log gateway: configuration refused: jwt[0]: no\n\
                 [warning][config] Filesystem config update rejected: Unable to create plugin\n",
                "jwt[0]: no",
            ),
            ("[warning][config] Filesystem config update rejected: no file\n", "no file"),
            ("[info] starting\n", "it does not say why"),
        ] {
            assert_eq!(reason(log), want);
        }
    }
}
