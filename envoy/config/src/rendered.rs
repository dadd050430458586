//! The files of a gateway.

use std::{ffi::OsString, path::Path};

/// The files of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    files: Vec<File>,
    concurrency: Option<u32>,
}

/// One file of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, without a folder.
    pub name: String,
    /// What it holds.
    pub text: String,
}

impl Rendered {
    pub(crate) fn of(files: Vec<File>, concurrency: Option<u32>) -> Self {
        Self { files, concurrency }
    }

    /// The files, in the order in which they must be written.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// What Envoy's environment needs, whatever else is in it.
    ///
    /// Envoy's allocator keeps freed memory for each processor if it has the kernel's restartable sequences (rseq(2)), and else for
    /// each thread, up to 32 MiB, which it never gives back: some 12 MiB of what V8 compiled the filter in. The C library takes them
    /// for itself unless it is told not to.
    #[must_use]
    pub fn environment() -> [(&'static str, &'static str); 1] {
        [("GLIBC_TUNABLES", "glibc.pthread.rseq=0")]
    }

    /// Envoy's command line for the files in `directory`.
    #[must_use]
    pub fn arguments(&self, directory: &Path) -> Vec<OsString> {
        let mut arguments = vec![
            "--config-path".into(),
            directory.join("envoy.yaml").into(),
            // One Envoy is replaced by a reload of files, never by a second Envoy.
            "--disable-hot-restart".into(),
            "--file-flush-interval-msec".into(),
            "500".into(),
        ];
        if let Some(workers) = self.concurrency {
            arguments.extend(["--concurrency".into(), workers.to_string().into()]);
        }
        arguments
    }
}
