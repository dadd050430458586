//! What is kept of a login, and under which name.

use std::fmt::{self, Write as _};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::claims::Claims;

/// Version of the record's form. A record of another version counts as corrupt: it costs one login.
const VERSION: u32 = 1;

/// The name of a login in all stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    issuer: String,
    client_id: String,
    digest: String,
}

impl Key {
    /// The key of `client_id` at `issuer`, with `details` that tell its logins apart.
    #[must_use]
    pub fn new(issuer: &str, client_id: &str, details: &[String]) -> Self {
        let mut hash = Sha256::new();
        for part in [issuer, client_id].into_iter().chain(details.iter().map(String::as_str)) {
            // Lengths keep "a","bc" and "ab","c" apart.
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize().iter().take(10).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { issuer: issuer.to_owned(), client_id: client_id.to_owned(), digest }
    }

    /// Rebuilds a key from the list of logins.
    #[must_use]
    pub fn from_parts(issuer: &str, client_id: &str, digest: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            digest: digest.to_owned(),
        }
    }

    /// A name for a file: hexadecimal digits only.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// A name that a person recognizes in a keyring's window.
    #[must_use]
    pub fn user(&self) -> String {
        format!("{}@{} {}", self.client_id, self.issuer, self.digest)
    }

    /// Reads what [`Key::user`] made.
    #[must_use]
    pub fn from_user(user: &str) -> Option<Self> {
        let (name, digest) = user.rsplit_once(' ')?;
        let at = name.find("@http")?;
        let (client_id, issuer) = name.split_at(at);
        let hexadecimal = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        (digest.len() == 20 && hexadecimal)
            .then(|| Self::from_parts(issuer.trim_start_matches('@'), client_id, digest))
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The client ID.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }
}

/// One login. Everything in it was verified before it was stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    issuer: String,
    client_id: String,
    /// The token to present.
    pub token: String,
    /// The ID token, where the access token is presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// The refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The nonce of the login: a refreshed ID token may carry it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The subject: a refreshed token must be of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How far the issuer's clock was ahead of ours when it gave the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead_seconds: Option<i64>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .field("token", &"***")
            .field("refresh_token", &self.refresh_token.as_ref().map(|_| "***"))
            .finish_non_exhaustive()
    }
}

impl Record {
    /// A record of `token` for `key`.
    #[must_use]
    pub fn new(key: &Key, token: String) -> Self {
        Self {
            version: VERSION,
            issuer: key.issuer.clone(),
            client_id: key.client_id.clone(),
            token,
            id_token: None,
            refresh_token: None,
            nonce: None,
            subject: None,
            ahead_seconds: None,
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it, if it is none or another key's.
    pub fn parse(bytes: &[u8], key: &Key) -> Result<Self, String> {
        // serde's message may quote what it read, which may be part of a token: only the place is told.
        let record: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("not a record (column {})", error.column()))?;
        if record.version != VERSION {
            return Err(format!("of version {}", record.version));
        }
        if record.issuer != key.issuer || record.client_id != key.client_id {
            return Err("of another client or issuer".to_owned());
        }
        Claims::of(&record.token).map_err(|error| error.to_string())?;
        Ok(record)
    }

    /// The record as it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and numbers only: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// When the token runs out, by this machine's clock. One that is ahead of the issuer's is not believed: it may have been set
    /// right since, and a token would seem to live longer.
    #[must_use]
    pub fn expiry(&self) -> Option<DateTime<Utc>> {
        let ahead = self.ahead_seconds.and_then(TimeDelta::try_seconds).unwrap_or_default();
        let expiry = self.claims()?.expiry();
        expiry.checked_sub_signed(ahead.max(TimeDelta::zero()))
    }

    /// The claims that name the person: the ID token's, else the token's.
    #[must_use]
    pub fn person_claims(&self) -> Option<Claims> {
        let id = self.id_token.as_deref().and_then(|token| Claims::of(token).ok());
        id.or_else(|| self.claims())
    }

    /// What to call the person.
    #[must_use]
    pub fn person(&self) -> Option<String> {
        let claims = self.person_claims()?;
        Some(claims.account_name().unwrap_or_else(|| claims.display_name()).to_owned())
    }

    /// The claims of the token. [`Record::parse`] has seen that they can be read.
    #[must_use]
    pub fn claims(&self) -> Option<Claims> {
        Claims::of(&self.token).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::tests::unsigned;

    #[test]
    fn a_record_survives_and_anything_else_is_corrupt() {
        let key = Key::new("https://i", "c", &[]);
        let token = unsigned(&json!({"exp": 1_900_000_000}));
        let mut record = Record::new(&key, token);
        record.refresh_token = Some("r".to_owned());
        let bytes = record.to_bytes();
        assert_eq!(Record::parse(&bytes, &key).as_ref(), Ok(&record));
        assert!(!format!("{record:?}").contains(&record.token));

        let text = String::from_utf8(bytes.clone()).unwrap();
        for (bad, why) in [
            (Vec::new(), "not a record"),
            (b"\xff\xfe".to_vec(), "not a record"),
            (bytes[..bytes.len() / 2].to_vec(), "not a record"), // cut off by a full disk
            (b"{}".to_vec(), "not a record"),
            (text.replace("\"version\":1", "\"version\":9").into_bytes(), "version 9"),
            (text.replace("https://i", "https://j").into_bytes(), "another"),
            (text.replace(&record.token, "opaque").into_bytes(), "not a JSON Web Token"),
        ] {
            let found = Record::parse(&bad, &key).unwrap_err();
            assert!(found.contains(why), "{found} / {why}");
        }
    }

    #[test]
    fn a_token_ends_earlier_where_the_clock_is_slow() {
        let key = Key::new("https://i", "c", &[]);
        let mut record = Record::new(&key, unsigned(&json!({"exp": 1_900_000_000})));
        for (ahead, want) in [
            (None, 1_900_000_000),
            (Some(60), 1_899_999_940),
            (Some(-60), 1_900_000_000),
            (Some(i64::MAX), 1_900_000_000), // no number of ours
        ] {
            record.ahead_seconds = ahead;
            assert_eq!(record.expiry().unwrap().timestamp(), want, "{ahead:?}");
        }
    }

    #[test]
    fn parts_of_a_key_cannot_be_shifted() {
        let key = |issuer, id, details: &[&str]| {
            Key::new(issuer, id, &details.iter().map(|d| (*d).to_owned()).collect::<Vec<_>>())
                .digest()
                .to_owned()
        };
        assert_ne!(key("a", "bc", &[]), key("ab", "c", &[]));
        assert_ne!(key("a", "b", &["c", "d"]), key("a", "b", &["cd"]));
        assert_eq!(key("a", "b", &[]).len(), 20);
    }

    #[test]
    fn a_keyrings_name_leads_back_to_its_key() {
        let key = Key::new("https://i.example/a b", "a client@c", &[]);
        assert_eq!(Key::from_user(&key.user()), Some(key.clone()));
        for other in [format!("{} #1", key.user()), "c@https://i".to_owned(), String::new()] {
            assert_eq!(Key::from_user(&other), None, "{other}");
        }
    }
}
