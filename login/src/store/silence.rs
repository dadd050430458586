//! A keyring that does not answer is left alone for a while: not every kubectl should wait for it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use gateway_files::Readers;
use serde::{Deserialize, Serialize};

/// How long it is left alone, in minutes.
pub const MINUTES: i64 = 10;

/// The memory of a keyring that did not answer, of this user of the machine.
#[derive(Debug)]
pub struct Silence {
    path: PathBuf,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    at: DateTime<Utc>,
    /// Another session may have a keyring that answers.
    session: String,
}

impl Silence {
    /// The memory in the user's own folder.
    #[must_use]
    pub fn new(user_dir: &Path) -> Self {
        Self { path: user_dir.join("keyring-does-not-answer.json") }
    }

    /// It did not answer a while ago.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        let memory = fs::read(&self.path).ok();
        let memory: Option<Memory> = memory.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        memory.is_some_and(|memory| is_recent(&memory, &session(), Utc::now()))
    }

    /// It does not answer. A memory that cannot be written costs the next kubectl the same wait.
    pub fn remember(&self) {
        let memory = Memory { at: Utc::now(), session: session() };
        if let Ok(bytes) = serde_json::to_vec(&memory) {
            let _ = gateway_files::write(&self.path, &bytes, Readers::Owner);
        }
    }
}

/// A time in the future is a clock's that was set back.
fn is_recent(memory: &Memory, session: &str, now: DateTime<Utc>) -> bool {
    let age = now - memory.at;
    memory.session == session && age >= TimeDelta::zero() && age < TimeDelta::minutes(MINUTES)
}

fn session() -> String {
    env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_remembered_for_a_while_and_for_one_session() {
        let now = Utc::now();
        for (age, session, want) in [
            (TimeDelta::zero(), "a", true),
            (TimeDelta::minutes(9), "a", true),
            (TimeDelta::minutes(10), "a", false),
            (TimeDelta::minutes(-1), "a", false),
            (TimeDelta::zero(), "b", false),
        ] {
            let memory = Memory { at: now - age, session: "a".to_owned() };
            assert_eq!(is_recent(&memory, session, now), want, "{age} {session}");
        }
        let folder = tempfile::tempdir().unwrap();
        let silence = Silence::new(folder.path());
        assert!(!silence.is_remembered());
        silence.remember();
        assert!(silence.is_remembered());
        fs::write(&silence.path, "{").unwrap();
        assert!(!silence.is_remembered());
    }
}
