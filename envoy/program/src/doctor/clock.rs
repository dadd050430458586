//! Whether clocks agree: tokens and certificates are good by one clock, and ended by another.

use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

use super::finding::Findings;

/// Clocks that differ by less are good enough; by more than the second, tokens are refused. As the plugin has it.
const NOTICEABLE: SignedDuration = SignedDuration::from_secs(5);
const TOO_MUCH: SignedDuration = SignedDuration::from_secs(60);

/// Compares this machine's clock with the `Date` of an answer that came just now.
pub(super) fn look(findings: &mut Findings, whose: &str, date: Option<&str>, now: SystemTime) {
    let Some(ahead) = date.and_then(|date| ahead(date, now)) else { return };
    let cure =
        format!("set this machine's clock (timedatectl set-ntp true), or have that of {whose} set");
    let text = || {
        let way = if ahead.is_positive() { "behind" } else { "ahead of" };
        format!("this machine's clock is {}s {way} that of {whose}", ahead.abs().as_secs())
    };
    match ahead.abs() {
        by if by > TOO_MUCH => findings.fail("clock", text(), cure),
        by if by > NOTICEABLE => findings.warn("clock", text(), cure),
        _ => findings.ok("clock", format!("agrees with that of {whose}")),
    }
}

/// By how much the other clock is ahead. `date` is as RFC 9110, section 5.6.7, has it.
fn ahead(date: &str, now: SystemTime) -> Option<SignedDuration> {
    let theirs = rfc2822::parse(date).ok()?.timestamp();
    Some(theirs.duration_since(Timestamp::try_from(now).ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_wrong_by_a_minute_fails() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (date, want) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", "ok       agrees"),
            ("Sun, 06 Nov 1994 08:49:47 GMT", "warning  this machine's clock is 10s behind"),
            ("Sun, 06 Nov 1994 08:39:37 GMT", "failed   this machine's clock is 600s ahead of"),
        ] {
            let mut findings = Findings::default();
            look(&mut findings, "x", Some(date), now);
            assert!(findings.text().contains(want), "{}", findings.text());
        }
        let mut findings = Findings::default();
        look(&mut findings, "x", Some("today"), now);
        look(&mut findings, "x", None, now);
        assert!(findings.all().is_empty());
    }
}
