//! Standard input and output.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use super::error::CommandError;

/// Writes a line to standard output.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    print_all(format!("{text}\n").as_bytes())
}

/// Writes to standard output as it is. Whoever closed it has read enough.
pub(super) fn print_all(bytes: &[u8]) -> Result<(), CommandError> {
    match written(bytes) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Writes a line that somebody must have read, or else the command failed.
pub(super) fn hand_over(text: &str) -> Result<(), CommandError> {
    Ok(written(format!("{text}\n").as_bytes())?)
}

fn written(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Standard input is a person's.
pub(super) fn has_terminal() -> bool {
    io::stdin().is_terminal()
}
