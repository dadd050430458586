//! Where the portal says that one of its logins has ended: the tokens that were made with it end, too.
//!
//! The portal has made sure that it was the login's own wish, and nobody but this user opens the socket. What is written is one entry of the
//! Revocations, by the tokens' `sid`, which every replica reads.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway_client::Connection;
use gateway_core::access::Revocation;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::logout::{add, time};
use crate::access::{Place, Store};

/// The path of the question.
pub(super) const END: &str = "/sessions/end";
/// Bytes of a session's name.
const MOST_NAME: usize = 64;
/// The longest that a token of a portal's lives: a hundred years.
const MOST_SECONDS: u64 = 3_155_760_000 + 60;

/// What the portal says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    sid: String,
    seconds: u64,
    user: String,
}

/// Writes down which sessions have ended.
pub(super) struct Sessions {
    /// Where it is written down, and the way there.
    pub place: Place,
    pub connection: Connection,
}

impl Sessions {
    /// Answers a question: a code of HTTP, and JSON.
    pub fn answer(&self, body: &[u8]) -> (u16, Value) {
        let ended: Ended = match serde_json::from_slice(body) {
            Ok(ended) => ended,
            Err(error) => return (400, json!({"error": error.to_string()})),
        };
        if ended.sid.is_empty() || ended.sid.len() > MOST_NAME || ended.seconds > MOST_SECONDS {
            return (400, json!({"error": "there is no such session"}));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self.write(&ended, now) {
            Ok(()) => {
                let Ended { sid, user, .. } = ended;
                info!(user, sid, "a login at the portal has ended, and its tokens with it");
                let audit = json!({"event": "logout", "user": user, "sid": sid});
                (200, json!({"tokens": "ended", "audit": audit}))
            }
            Err(why) => {
                let Ended { sid, user, .. } = ended;
                warn!(
                    user,
                    sid,
                    "a login at the portal has ended, and its tokens go on until they expire: {why}"
                );
                (503, json!({"error": "it cannot be written down at the moment"}))
            }
        }
    }

    fn write(&self, ended: &Ended, now: Duration) -> Result<(), String> {
        let entry = Revocation {
            sid: ended.sid.clone(),
            until: time(now.saturating_add(Duration::from_secs(ended.seconds))),
            reason: "logged out at the portal".to_owned(),
            ..Revocation::default()
        };
        let store = Store::new(self.place.clone(), || Ok(self.connection.clone()));
        let changed = store.and_then(|store| {
            store.keeping_room().change(now.as_secs(), |entries| add(entries, &entry))
        });
        changed.map(drop).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use gateway_client::{CredentialSource, Source};
    use gateway_config::parse_revocations;

    use super::*;

    fn sessions(path: &Path) -> Sessions {
        let connection = Connection {
            host: "127.0.0.1".parse().unwrap(),
            port: 1,
            server_name: None,
            ca: None,
            credential: CredentialSource::Token(Source::Inline(Vec::new())),
        };
        Sessions { place: Place::File(path.to_owned()), connection }
    }

    #[test]
    fn a_session_is_one_entry_however_often_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        let sessions = sessions(&path);
        for _ in 0..2 {
            let (status, answer) =
                sessions.answer(br#"{"sid": "s1", "seconds": 3600, "user": "jane"}"#);
            assert_eq!((status, &answer["tokens"]), (200, &json!("ended")), "{answer}");
            assert_eq!(answer["audit"]["user"], "jane");
        }
        let written = parse_revocations(&fs::read(&path).unwrap()).unwrap().revocations;
        let [entry] = written.as_slice() else { panic!("{written:?}") };
        assert_eq!((entry.sid.as_str(), entry.issuer.as_str()), ("s1", ""));
        let left =
            entry.end().unwrap() - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((3590..=3600).contains(&left), "{left}");
        for body in [
            "{}",
            r#"{"sid": "", "seconds": 1, "user": "a"}"#,
            r#"{"sid": "a", "seconds": 99999999999, "user": "a"}"#,
            r#"{"sid": "a", "seconds": 1, "user": "a", "group": "b"}"#,
        ] {
            assert_eq!(sessions.answer(body.as_bytes()).0, 400, "{body}");
        }
    }

    /// A file that only others can write: who logs out is told, and the file is what it was.
    #[test]
    fn what_cannot_be_written_down_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        fs::write(&path, "kind: Revocations, of which somebody spoiled the rest").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        let (status, answer) =
            sessions(&path).answer(br#"{"sid": "s1", "seconds": 3600, "user": "jane"}"#);
        assert_eq!(status, 503, "{answer}");
        assert!(fs::read_to_string(&path).unwrap().contains("spoiled"));
    }
}
