//! How much of what a client chooses is kept in a log.
//!
//! Envoy cuts first, where it writes a line: the templates' numbers are these bounds and one byte more, which tells that
//! something was cut. What is kept is marked here as kube-apiserver marks a long user agent: k8s.io/apiserver,
//! `pkg/audit/request.go` (`maxUserAgentLength`, `userAgentTruncateSuffix`).

use std::borrow::Cow;

/// `x-request-id`; Envoy's own have 36 bytes.
pub const AUDIT_ID: usize = 64;
/// The method, and the value of `Upgrade`.
pub const WORD: usize = 64;
/// The request target with its query, for the audit trail.
pub const URI: usize = 32 << 10;
/// The path without its query, for the access log.
pub const PATH: usize = 4 << 10;
/// The user agent, as kube-apiserver has it.
pub const USER_AGENT: usize = 1024;
/// A user name.
pub const USER: usize = 1024;
/// What the filter says of users, which has bounds of its own below this (`gateway_core::record`).
pub const IDENTITY: usize = 128 << 10;
/// Why a request was refused: 512 characters, by the filter's own bound, and the sign that something was cut.
pub const REASON: usize = 512 * 4 + 4;
/// What the portal says of a token: its own bound is below.
pub const PORTAL: usize = 16 << 10;
/// Each field of an event's `objectRef`. Kubernetes' names have at most 253 bytes, paths as names some more.
pub const OBJECT: usize = 1024;
/// No line of a log and no event is longer, whatever a client sends.
pub const LINE: usize = 256 << 10;

/// Behind a text that was cut.
pub const CUT: &str = "...TRUNCATED";

/// As much of a text as is kept, and whether that is less than there was. The sign [`CUT`] is not yet behind it.
#[must_use]
pub fn keep(text: &str, most: usize) -> (Cow<'_, str>, bool) {
    if text.len() <= most {
        return (Cow::Borrowed(text), false);
    }
    match torn(text, most) {
        Some(whole) => (Cow::Owned(whole), true),
        None => {
            (Cow::Borrowed(text.get(..text.floor_char_boundary(most)).unwrap_or_default()), true)
        }
    }
}

/// Cuts a text; true if there was something to cut.
#[must_use]
pub fn cut(text: &mut String, most: usize) -> bool {
    let (kept, is_cut) = keep(text, most);
    if is_cut {
        *text = kept.into_owned();
    }
    is_cut
}

/// A text with the sign behind it, if it was cut.
#[must_use]
pub fn marked(text: &str, is_cut: bool) -> String {
    if is_cut { format!("{text}{CUT}") } else { text.to_owned() }
}

/// A text that Envoy cut in the middle of a character. Envoy then writes each byte that is not ASCII as a character of its own
/// (`\u00c3\u00a9`), as it does where a client sent no UTF-8.
fn torn(text: &str, most: usize) -> Option<String> {
    if text.is_ascii() || text.chars().count() <= most {
        return None;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    let mut bytes = bytes?;
    bytes.truncate(most);
    let whole = match std::str::from_utf8(&bytes) {
        Err(error) if error.error_len().is_some() => return None,
        Err(error) => error.valid_up_to(),
        Ok(_) => bytes.len(),
    };
    bytes.truncate(whole);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters() {
        for (text, most, want, is_cut) in [
            ("", 3, "", false),
            ("abc", 3, "abc", false),
            ("abcd", 3, "abc", true),
            ("aé", 3, "aé", false),
            ("aéé", 4, "aé", true),
            // What Envoy makes of `éé`, cut after three bytes and kept by two: whole characters only.
            ("\u{c3}\u{a9}\u{c3}", 2, "é", true),
            ("a\u{c3}\u{a9}", 2, "a", true),
            // No UTF-8 from the client: its bytes, each as a character.
            ("\u{ff}\u{ff}\u{ff}", 4, "\u{ff}\u{ff}", true),
        ] {
            let (kept, cut) = keep(text, most);
            assert_eq!((&*kept, cut), (want, is_cut), "{text:?} {most}");
            assert!(kept.len() <= most);
        }
    }

    /// Envoy cuts a byte behind each bound: less would cut unseen, more would let lines grow.
    #[test]
    fn the_templates_have_the_bounds() {
        let gateway = include_str!("../../config/templates/envoy.yaml");
        let portal = include_str!("../../config/templates/portal/chain.yaml");
        for (template, field, operator, most) in [
            (gateway, "auditID", "REQ(x-request-id)", AUDIT_ID),
            (gateway, "method", "REQ(:method)", WORD),
            (gateway, "uri", "REQ(:path)", URI),
            (gateway, "path", "PATH(NQ)", PATH),
            (gateway, "upgrade", "REQ(upgrade)", WORD),
            (gateway, "userAgent", "REQ(user-agent)", USER_AGENT),
            (gateway, "mode", "FILTER_STATE(wasm.mode:PLAIN)", WORD),
            (gateway, "user", "FILTER_STATE(wasm.user:PLAIN)", USER),
            (gateway, "identity", "FILTER_STATE(wasm.identity:PLAIN)", IDENTITY),
            (gateway, "deny", "FILTER_STATE(wasm.deny:PLAIN)", WORD),
            (gateway, "reason", "FILTER_STATE(wasm.reason:PLAIN)", REASON),
            (portal, "requestID", "REQ(x-request-id)", AUDIT_ID),
            (portal, "method", "REQ(:method)", WORD),
            (portal, "path", "PATH(NQ)", PATH),
            (portal, "userAgent", "REQ(user-agent)", USER_AGENT),
            (portal, "audit", "FILTER_STATE(wasm.portal:PLAIN)", PORTAL),
        ] {
            let line = format!(" {field}: \"%{operator}:{}%\"\n", most + 1);
            assert!(template.contains(&line), "{line}");
        }
        // Of these nothing may stand in a log without a bound.
        for (name, template) in [("gateway", gateway), ("portal", portal)] {
            let (_, log) = template.split_once("access_log:\n").unwrap();
            let (log, _) = log.split_once("local_reply_config").unwrap();
            for line in log.lines().filter(|line| line.contains("\"%")) {
                let chosen = ["REQ(", "PATH(", "FILTER_STATE("].iter().any(|it| line.contains(it));
                let number = line.trim_end_matches("%\"").rsplit(':').next().unwrap();
                assert!(!chosen || number.parse::<usize>().is_ok(), "{name}: {line}");
            }
        }
    }

    /// Envoy writes a byte that is no UTF-8 with six. Its longest line must fit into what the program reads as one.
    #[test]
    fn the_longest_line_is_read_whole() {
        const OTHERS: usize = 8 << 10;
        let chosen = AUDIT_ID + 4 * WORD + URI + PATH + USER_AGENT + USER + REASON;
        assert!(6 * (chosen + OTHERS) + 2 * IDENTITY < crate::rawlog::LONGEST);
    }
}
