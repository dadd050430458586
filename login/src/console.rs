//! What a person at the terminal reads. Everything goes to standard error: kubectl reads standard output, where only the
//! credential may stand.
//!
//! Claims, error texts, file names and addresses come from outside. Whatever prints them goes through [`printable`], text by
//! text, or through [`json`].

use std::{
    fmt::{Display, Write as _},
    io::Write as _,
};

use serde_json::Value;

/// The way to standard error, with the verbosity the person asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console {
    verbosity: u8,
    quiet: bool,
}

impl Console {
    /// `verbosity` 0 says only what matters now; 1 and more also what was sent where. With `quiet`, or on a terminal that a
    /// program has for its screen, [`Console::note`] says nothing.
    #[must_use]
    pub fn new(verbosity: u8, quiet: bool) -> Self {
        Self { verbosity, quiet: quiet || is_a_screen() }
    }

    /// One line that is good to know, and that nobody must read.
    pub fn note(self, line: impl Display) {
        if !self.quiet {
            self.say(line);
        }
    }

    /// One line that a person should see. It stays one line, whatever is in it.
    pub fn say(self, line: impl Display) {
        // A closed standard error must not end a login.
        let _ = writeln!(std::io::stderr().lock(), "{}", printable(&line.to_string()));
    }

    /// Nothing is to be said that nobody must read.
    #[must_use]
    pub fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Several lines.
    pub fn say_all(self, lines: impl IntoIterator<Item = impl Display>) {
        lines.into_iter().for_each(|line| self.say(line));
    }

    /// One line for whoever asked with `-v`. Never put a secret into it: see [`mask`].
    pub fn trace(self, line: impl FnOnce() -> String) {
        if self.verbosity > 0 {
            let line = printable(&line());
            let _ = writeln!(std::io::stderr().lock(), "debug: {line}");
        }
    }
}

/// Standard error is a terminal that a program draws on (k9s and its like): lines are not edited there, and a line of ours would
/// stand in the middle of its picture.
#[cfg(unix)]
fn is_a_screen() -> bool {
    use rustix::termios::{LocalModes, tcgetattr};
    // What is no terminal has no attributes.
    tcgetattr(rustix::stdio::stderr())
        .is_ok_and(|found| !found.local_modes.contains(LocalModes::ICANON))
}

#[cfg(not(unix))]
fn is_a_screen() -> bool {
    false
}

/// `text` as one line, without what a terminal would take for a command or what would show it in another order.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect()
}

/// `value` as JSON for a terminal and for programs: what [`printable`] replaces is escaped, so nothing is lost.
#[must_use]
pub fn json(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        // The line ends between the members; those within a text are escaped already. All others are of the basic plane,
        // and stand within texts.
        if is_unprintable(c) && c != '\n' {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Controls (C0, DEL, C1), what changes the direction of text (Unicode Standard Annex 9, section 2), and what ends a line or
/// a paragraph.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// What the operating system says, in words alone: Rust adds the number of the error, of which nobody makes anything.
#[must_use]
pub fn plain(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "this user may not (permission denied)".to_owned(),
        ErrorKind::AddrInUse => "it is in use".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => {
            let text = error.to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            text[..end].to_owned()
        }
    }
}

/// Names of request and response fields whose values are shown only as `***`.
const SECRET_FIELDS: [&str; 13] = [
    "access_token",
    "actor_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "id_token",
    "password",
    "refresh_token",
    "subject_token",
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
    fn break_in_12_a_terminal_is_told_nothing_but_text_in_one_line() {
        assert_eq!(
            printable("a\x1b]0;title\x07b\r\u{9b}2J\nc"),
            "a\u{fffd}]0;title\u{fffd}b\u{fffd}\u{fffd}2J\u{fffd}c"
        );
        let controls = (0..0x20).chain(0x7f..0xa0);
        let others =
            [0x61c, 0x200e, 0x200f].into_iter().chain(0x2028..=0x202e).chain(0x2066..=0x2069);
        for code in controls.chain(others) {
            let c = char::from_u32(code).unwrap();
            let text = format!("a{c}b");
            assert_eq!(printable(&text), "a\u{fffd}b", "{code:x}");
            let document = serde_json::json!({ "name": text });
            let shown = json(&document);
            assert!(shown.chars().all(|c| !is_unprintable(c) || c == '\n'), "{shown:?}");
            assert_eq!(shown.matches('\n').count(), 2, "{shown:?}");
            assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), document, "nothing is lost");
        }
        let text = "Zoë 王 שלום 👩‍💻";
        assert_eq!(printable(text), text);
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
