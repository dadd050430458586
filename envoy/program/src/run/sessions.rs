//! Where the portal says that one of its logins has ended: the tokens that were made with it end, too.
//!
//! The portal has made sure that it was the login's own wish, and nobody but this user opens the socket. What is written is one entry of the
//! Revocations, by the tokens' `sid`, which every replica reads.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use gateway_client::Connection;
use gateway_core::access::{Documents, Login, Origin, Revocation};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::{
    access::{Answer, Holder},
    logout::{add, time},
    view::View,
};
use crate::access::{Place, Store};

/// The path of the question.
const END: &str = "/sessions/end";
/// The path of the question whether somebody still has access.
const JUDGE: &str = "/sessions/judge";
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

/// Whom the portal asks about: somebody whom the filter has not looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    user: String,
    groups: Vec<String>,
    token: Token,
}

/// What the portal knows of the token: nothing, where a proxy names the user.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Token {
    issuer: String,
    subject: String,
    jti: String,
    sid: String,
    iat: Option<u64>,
    origin: String,
}

/// Writes down which sessions have ended, and says of others whether theirs have.
pub(super) struct Sessions {
    /// Where it is written down, and the way there.
    pub place: Place,
    pub connection: Connection,
    /// What has been written down.
    pub holder: Arc<Holder>,
    pub view: Arc<Mutex<View>>,
    /// What of it was last looked at.
    pub known: Mutex<Documents>,
}

impl Sessions {
    /// Answers a question of a path: a code of HTTP, and JSON.
    pub fn answer(&self, path: &str, body: &[u8]) -> (u16, Value) {
        match path {
            END => self.end(body),
            JUDGE => self.judge(body),
            _ => (404, Value::Null),
        }
    }

    /// As the filter does it: by the same documents, which count for as long.
    fn judge(&self, body: &[u8]) -> (u16, Value) {
        let Asked { user, groups, token } = match serde_json::from_slice(body) {
            Ok(asked) => asked,
            Err(error) => return (400, json!({"error": error.to_string()})),
        };
        let most_age = {
            let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            view.documents.gateway().access.maximum_staleness_seconds
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let unread = || (503, json!({"error": "the revocations cannot be read at the moment"}));
        let age = match self.holder.answer(&known.version) {
            Answer::Unread => return unread(),
            Answer::Unchanged { age } => age,
            Answer::Changed { version, age, body } => {
                let newer = serde_json::from_slice(&body).ok();
                let newer = newer.and_then(|it| Documents::new(&it, &version, 1).ok());
                let Some(newer) = newer else { return unread() };
                *known = newer;
                age
            }
        };
        if age > Duration::from_secs(most_age.into()) {
            return unread();
        }
        let Token { issuer, subject, jti, sid, iat, origin } = token;
        let mut login = Login::of(&issuer);
        (login.subject, login.id, login.session, login.issued_at) = (subject, jti, sid, iat);
        let login = login.made_with(Origin::read(&origin));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let groups = groups.iter().map(String::as_str);
        match known.revocations.find(&user, groups, &login, now) {
            None => (200, json!({"access": "open"})),
            Some(revoked) => {
                info!(user, by = revoked.by, "who asks the portal has no access any more");
                (200, json!({"access": "revoked"}))
            }
        }
    }

    /// Writes down that a session has ended.
    fn end(&self, body: &[u8]) -> (u16, Value) {
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
    use crate::run::access::Kind;

    fn sessions(path: &Path) -> Sessions {
        let connection = Connection {
            host: "127.0.0.1".parse().unwrap(),
            port: 1,
            server_name: None,
            ca: None,
            credential: CredentialSource::Token(Source::Inline(Vec::new())),
        };
        let holder = Holder::new(&[Kind::Revocations], Arc::default());
        let authentication = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [],
        });
        let documents = gateway_config::Documents::from_values(&authentication, None).unwrap();
        let view = Arc::new(Mutex::new(View::of(documents, &connection)));
        let (place, known) = (Place::File(path.to_owned()), Mutex::default());
        Sessions { place, connection, holder, view, known }
    }

    #[test]
    fn a_session_is_one_entry_however_often_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        let sessions = sessions(&path);
        for _ in 0..2 {
            let (status, answer) =
                sessions.answer(END, br#"{"sid": "s1", "seconds": 3600, "user": "jane"}"#);
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
            assert_eq!(sessions.answer(END, body.as_bytes()).0, 400, "{body}");
        }
    }

    /// Before there is a document, nobody can say; and no entry against one user ends another's access.
    #[test]
    fn who_is_revoked_is_found_by_name_group_and_token() {
        let folder = tempfile::tempdir().unwrap();
        let sessions = sessions(&folder.path().join("r"));
        let asked = json!({
            "user": "jane", "groups": ["dev"],
            "token": {"issuer": "https://portal", "subject": "jane", "jti": "j1", "sid": "s1", "iat": 500,
                "origin": "iss=https://i&sub=1234&sid=s0&iat=400"},
        });
        let judge = |asked: &Value| sessions.answer(JUDGE, asked.to_string().as_bytes());
        assert_eq!(judge(&asked).0, 503);
        let entries = |entries: Value| {
            let document = json!({
                "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Revocations", "revocations": entries,
            });
            let document = parse_revocations(document.to_string().as_bytes()).unwrap();
            sessions.holder.take(Kind::Revocations, |it| it.revocations = Some(document));
        };
        let until = "2100-01-01T00:00:00Z";
        for (entry, want) in [
            (json!({"user": "jane"}), "revoked"),
            (json!({"user": "bob"}), "open"),
            (json!({"group": "dev"}), "revoked"),
            (json!({"jti": "j1"}), "revoked"),
            (json!({"sid": "s1", "issuer": "https://portal"}), "revoked"),
            (json!({"sid": "s1", "issuer": "https://other"}), "open"),
            (json!({"subject": "jane", "issuer": "https://portal"}), "revoked"),
            (json!({"user": "jane", "issuedBefore": "1970-01-01T00:06:40Z"}), "open"),
            // It is as old as the login with which it was made, and ends with that.
            (json!({"user": "jane", "issuedBefore": "1970-01-01T00:08:20Z"}), "revoked"),
            (json!({"sid": "s0", "issuer": "https://i"}), "revoked"),
            (json!({"sid": "s0", "issuer": "https://portal"}), "open"),
            (json!({"subject": "1234", "issuer": "https://i"}), "revoked"),
        ] {
            let mut entry = entry;
            entry["until"] = json!(until);
            entries(json!([entry]));
            assert_eq!(judge(&asked), (200, json!({"access": want})), "{entry}");
        }
        entries(json!([{"user": "jane", "until": until}]));
        let by_a_proxy = |user: &str| json!({"user": user, "groups": [], "token": {}});
        assert_eq!(judge(&by_a_proxy("jane")).1, json!({"access": "revoked"}));
        assert_eq!(judge(&by_a_proxy("bob")).1, json!({"access": "open"}));
        assert_eq!(judge(&json!({"user": "bob"})).0, 400);
        assert_eq!(sessions.answer("/sessions/other", b"{}").0, 404);
    }

    /// A file that only others can write: who logs out is told, and the file is what it was.
    #[test]
    fn what_cannot_be_written_down_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.yaml");
        fs::write(&path, "kind: Revocations, of which somebody spoiled the rest").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        let (status, answer) =
            sessions(&path).answer(END, br#"{"sid": "s1", "seconds": 3600, "user": "jane"}"#);
        assert_eq!(status, 503, "{answer}");
        assert!(fs::read_to_string(&path).unwrap().contains("spoiled"));
    }
}
