//! Where a recipe is carried out.

use std::path::PathBuf;

/// The folders and the log of one build.
pub(super) struct Workplace {
    /// A folder for what is needed on the way; removed afterwards.
    pub folder: PathBuf,
    /// Where the programs go.
    pub output: PathBuf,
    /// The tools' output; stays for whoever wants to know why a build failed.
    pub log: PathBuf,
}
