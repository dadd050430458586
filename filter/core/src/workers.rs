//! The list of workers that can be woken, as it stands in the shared data: a name and when it was last seen, a line each.
//!
//! A worker whose VM died leaves its name behind, with a queue that nobody empties any more. So a worker that lives shows it from
//! time to time, and who has not done so for long is taken from the list.

use std::time::Duration;

/// How often a worker shows that it lives.
pub const SHOWN_EVERY: Duration = Duration::from_secs(60);
/// After so long without a sign a worker is believed dead. If it lives, it puts itself back.
const BELIEVED_DEAD: Duration = Duration::from_secs(300);
/// However many there are, the list stays small; the least recently seen go first.
const MOST: usize = 512;

/// The workers of a proxy.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Workers(Vec<(String, u64)>);

impl Workers {
    /// Reads the list. What is none of its lines is left out.
    #[must_use]
    pub fn read(list: &[u8]) -> Self {
        let lines = list.split(|&byte| byte == b'\n');
        let workers = lines.filter_map(|line| {
            let (name, seen) = std::str::from_utf8(line).ok()?.split_once(' ')?;
            Some((name.to_owned(), seen.parse().ok()?))
        });
        Self(workers.collect())
    }

    /// The list as text.
    #[must_use]
    pub fn text(&self) -> String {
        let lines: Vec<_> = self.0.iter().map(|(name, seen)| format!("{name} {seen}")).collect();
        lines.join("\n")
    }

    /// Notes that a worker lives, and forgets those that are believed dead.
    pub fn seen(&mut self, name: &str, now: Duration) {
        let oldest = now.saturating_sub(BELIEVED_DEAD).as_secs();
        self.0.retain(|(known, seen)| known != name && *seen >= oldest);
        let surplus = self.0.len().saturating_add(1).saturating_sub(MOST);
        self.0.drain(..surplus.min(self.0.len()));
        self.0.push((name.to_owned(), now.as_secs()));
    }

    /// Takes a worker out.
    pub fn gone(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Their names, but for `own`.
    pub fn others(&self, own: &str) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str()).filter(move |name| *name != own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000 + seconds)
    }

    #[test]
    fn who_shows_no_sign_of_life_is_forgotten() {
        let mut workers = Workers::default();
        workers.seen("dead", at(0));
        for time in [0, 60, 120, 180, 240, 300] {
            workers.seen("alive", at(time));
        }
        assert_eq!(workers.others("alive").collect::<Vec<_>>(), ["dead"]);
        workers.seen("alive", at(301));
        assert_eq!(workers.others("alive").count(), 0);
        workers.seen("dead", at(302));
        assert_eq!(workers.others("alive").collect::<Vec<_>>(), ["dead"], "it was slow");
        workers.gone("dead");
        assert_eq!(workers, Workers::read(workers.text().as_bytes()));
        assert_eq!(workers.text(), "alive 1301");
    }

    #[test]
    fn the_list_is_bounded_and_odd_lines_do_no_harm() {
        let mut workers = Workers::read(b"old\n\xff 1\nname x\n\nkept 1000");
        for n in 0..1_000 {
            workers.seen(&n.to_string(), at(0));
        }
        assert_eq!(workers.others("").count(), MOST);
        assert!(workers.others("").any(|name| name == "999"));
    }
}
