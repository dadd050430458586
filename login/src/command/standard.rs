//! Standard input and output.

use std::io::{self, IsTerminal as _, Write as _};

use super::error::CommandError;

/// Writes a line to standard output.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Standard input is a person's.
pub(super) fn has_terminal() -> bool {
    io::stdin().is_terminal()
}
