//! The program's own lines: on standard error, beside Envoy's, which stay as Envoy writes them.

use std::io;

use clap::ValueEnum;
use tracing_subscriber::fmt;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Time, level, text, and fields behind it
    Text,
    /// An object of JSON
    Json,
}

impl LogFormat {
    /// From now on lines have this form. Those that cannot be written are lost: nobody is left to tell.
    pub fn start(self) {
        let lines = fmt().with_writer(io::stderr).with_ansi(false).with_target(false);
        let lines = lines.log_internal_errors(false);
        // The first format counts: a process has one.
        let _ = match self {
            Self::Text => lines.try_init(),
            Self::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
        };
    }
}
