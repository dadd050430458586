//! What servers and libraries say, made fit for people and for code.

use gateway_core::callout::Cause;

/// What a server wrote, for a terminal: without what it takes for a command, and without what turns the order of letters (Unicode
/// Standard Annex 9, section 2).
#[must_use]
pub fn printable(text: &str) -> String {
    let directs = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || directs(c) { '\u{fffd}' } else { c }).collect()
}

/// Of what the program's own client says.
pub(crate) fn of_client(text: &str) -> Cause {
    let text = text.to_ascii_lowercase();
    [
        ("unknownissuer", Cause::UnknownAuthority),
        ("not valid for name", Cause::CertificateName),
        ("notvalidforname", Cause::CertificateName),
        ("expired", Cause::CertificateExpired),
        ("notvalidyet", Cause::CertificateExpired),
        ("invalid peer certificate", Cause::Certificate),
        ("connection refused", Cause::Refused),
        ("unreachable", Cause::Unreachable),
        ("no route to host", Cause::Unreachable),
        ("failed to lookup address", Cause::NoAddress),
        ("host not found", Cause::NoAddress),
        ("timeout", Cause::Timeout),
        ("timed out", Cause::Timeout),
        ("reset", Cause::Reset),
    ]
    .into_iter()
    .find_map(|(word, cause)| text.contains(word).then_some(cause))
    .unwrap_or(Cause::Connection)
}
