//! What a person at the terminal reads. Everything goes to standard error: kubectl reads standard output, where only the
//! credential may stand.

use std::fmt::Display;
use std::io::Write as _;

/// The way to standard error, with the verbosity the person asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console {
    verbosity: u8,
}

impl Console {
    /// `verbosity` 0 says only what matters now; 1 and more also what was sent where.
    #[must_use]
    pub fn new(verbosity: u8) -> Self {
        Self { verbosity }
    }

    /// One line that a person should see.
    pub fn say(self, line: impl Display) {
        // A closed standard error must not end a login.
        let _ = writeln!(std::io::stderr().lock(), "{}", printable(&line.to_string()));
    }

    /// One line for whoever asked with `-v`. Never put a secret into it: see [`mask`].
    pub fn trace(self, line: impl FnOnce() -> String) {
        if self.verbosity > 0 {
            let line = printable(&line());
            let _ = writeln!(std::io::stderr().lock(), "debug: {line}");
        }
    }
}

/// `text` without what a terminal would take for a command: claims and error texts come from elsewhere.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Names of request and response fields whose values are shown only as `***`.
const SECRET_FIELDS: [&str; 11] = [
    "access_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "id_token",
    "password",
    "refresh_token",
    "token",
];

/// `value`, or `***` if a field of this name carries a secret.
#[must_use]
pub fn mask<'a>(field: &str, value: &'a str) -> &'a str {
    if SECRET_FIELDS.contains(&field) { "***" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        assert_eq!(
            printable("a\x1b]0;title\x07b\r\u{9b}2J\nc"),
            "a\u{fffd}]0;title\u{fffd}b\u{fffd}\u{fffd}2J\nc"
        );
    }

    #[test]
    fn secrets_are_masked_by_the_name_of_their_field() {
        for (field, value, want) in [
            ("grant_type", "refresh_token", "refresh_token"),
            ("refresh_token", "s3cret", "***"),
            ("code", "s3cret", "***"),
            ("code_challenge", "abc", "abc"), // a digest, sent through the browser anyway
            ("client_secret", "s3cret", "***"),
        ] {
            assert_eq!(mask(field, value), want, "{field}");
        }
    }
}
