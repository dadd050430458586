//! What commands print.
//!
//! `println!` ends a program with a panic when nobody reads on (`istio … | head`). Here a pipe that closes is no error: who has read
//! enough has what they wanted, and the command keeps its own exit code.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::error::Error;

/// The form of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// One JSON document, for programs
    Json,
}

/// `--output`, of every command that has an answer.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputFlag {
    /// The form of the answer
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t)]
    output: OutputFormat,
}

impl OutputFlag {
    /// Whether a program reads the answer.
    pub fn is_json(self) -> bool {
        self.output == OutputFormat::Json
    }
}

/// Prints a line on standard output.
pub fn print(line: impl Display) -> Result<(), Error> {
    print_text(format_args!("{line}\n"))
}

/// Prints a text on standard output as it is.
pub fn print_text(text: impl Display) -> Result<(), Error> {
    to(io::stdout().lock(), text).map_err(Error::Output)
}

/// Prints a document on standard output, indented.
pub fn print_json(document: &Value) -> Result<(), Error> {
    print(format_args!("{document:#}"))
}

/// Says a line on standard error. One that cannot be written is lost: nobody is left to tell.
pub fn say(line: impl Display) {
    let _ = to(io::stderr().lock(), format_args!("{line}\n"));
}

fn to(mut place: impl Write, text: impl Display) -> io::Result<()> {
    match write!(place, "{text}").and_then(|()| place.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
        assert!(to(Broken(ErrorKind::BrokenPipe), "text").is_ok());
        assert!(to(Broken(ErrorKind::StorageFull), "text").is_err());
    }
}
