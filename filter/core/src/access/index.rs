//! What a document of [`Revocations`] says of a login.

use std::{collections::HashMap, time::Duration};

use super::{
    Login,
    revocations::{FIELDS, Revocations, RevocationsError, seconds},
};
use crate::portal_token::SHARED_SECRET;

/// Why a login has no access any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// By which field of the entry it was found: `user`, `group`, `subject`, `jti` or `sid`; `grant` if what was lent has been
    /// ended.
    pub by: &'static str,
    /// The reason that the entry gives.
    pub reason: String,
    /// Whether a new login helps.
    pub login_helps: bool,
}

/// The entries of a document, by what they name.
#[derive(Debug, Default)]
pub struct Index {
    entries: Vec<Entry>,
    /// In the order of [`FIELDS`].
    places: [HashMap<Box<str>, Vec<u32>>; FIELDS.len()],
}

#[derive(Debug)]
struct Entry {
    issuer: Box<str>,
    issued_before: Option<u64>,
    until: u64,
    reason: Box<str>,
}

impl Index {
    /// Checks a document and sorts its entries.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn new(document: &Revocations) -> Result<Self, RevocationsError> {
        document.check()?;
        let mut index = Self::default();
        for entry in &document.revocations {
            let Ok(place) = u32::try_from(index.entries.len()) else { break };
            for (names, name) in index.places.iter_mut().zip(entry.names()) {
                if !name.is_empty() {
                    names.entry(name.into()).or_default().push(place);
                }
            }
            index.entries.push(Entry {
                issuer: entry.issuer.as_str().into(),
                issued_before: seconds(&entry.issued_before),
                until: entry.end().unwrap_or(u64::MAX),
                reason: entry.reason.as_str().into(),
            });
        }
        Ok(index)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Finds what ends a login's access, or that of the login with which it was made: first what no new login helps against.
    pub fn find<'a>(
        &self,
        user: &'a str,
        groups: impl Iterator<Item = &'a str>,
        login: &'a Login,
        now: Duration,
    ) -> Option<Revoked> {
        if self.is_empty() {
            return None;
        }
        let now = now.as_secs();
        let mut found: Option<Revoked> = None;
        let own = login.issuer.as_str();
        let named = [(0, user), (2, &login.subject), (3, &login.id), (4, &login.session)];
        let named = named.into_iter().chain(groups.map(|group| (1, group)));
        let made_with = login.origin.iter().flat_map(|it| {
            let named = [(2, &it.subject), (3, &it.id), (4, &it.session)];
            // The portal's key may have been another one when it made them.
            let between = it.between.iter();
            let between =
                between.flat_map(|id| [own, SHARED_SECRET].map(|key| (3, id.as_str(), key)));
            named
                .into_iter()
                .map(|(field, name)| (field, name.as_str(), it.issuer.as_str()))
                .chain(between)
        });
        for (field, name, issuer) in named.map(|(field, name)| (field, name, own)).chain(made_with)
        {
            let Some(places) = self.places.get(field).and_then(|names| names.get(name)) else {
                continue;
            };
            for entry in places.iter().filter_map(|&place| self.entries.get(place as usize)) {
                if !entry.matches(issuer, login.issued_at, now) {
                    continue;
                }
                let by = FIELDS.get(field).copied().unwrap_or_default();
                let login_helps = entry.issued_before.is_some() || field > 2;
                if found.as_ref().is_none_or(|found| found.login_helps && !login_helps) {
                    found = Some(Revoked { by, reason: entry.reason.to_string(), login_helps });
                }
            }
        }
        found
    }
}

impl Entry {
    fn matches(&self, issuer: &str, issued_at: Option<u64>, now: u64) -> bool {
        let issued_before = |end| issued_at.is_none_or(|issued_at| issued_at < end);
        now < self.until
            && (self.issuer.is_empty() || *self.issuer == *issuer)
            && self.issued_before.is_none_or(issued_before)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::Origin, *};

    const END: &str = "2001-09-09T01:46:40Z"; // 1_000_000_000
    const NOW: Duration = Duration::from_secs(999_999_999);

    fn index(entries: &Value) -> Index {
        let document: Revocations =
            serde_json::from_value(json!({"revocations": entries})).unwrap();
        Index::new(&document).unwrap()
    }

    fn login() -> Login {
        Login {
            issuer: "https://i".to_owned(),
            subject: "1234".to_owned(),
            id: "j1".to_owned(),
            session: "s1".to_owned(),
            issued_at: Some(500),
            ..Login::default()
        }
    }

    /// Each entry alone, against one login of jane's.
    #[test]
    fn an_entry_ends_what_it_names_and_nothing_else() {
        const SOON: &str = "1970-01-01T00:08:21Z"; // 501
        for (entry, want) in [
            (json!({"user": "jane"}), Some(("user", false))),
            (json!({"user": "Jane"}), None),
            (json!({"user": "1234"}), None),
            (json!({"group": "dev"}), Some(("group", false))),
            (json!({"group": "jane"}), None),
            (json!({"subject": "1234", "issuer": "https://i"}), Some(("subject", false))),
            (json!({"subject": "1234", "issuer": "https://other"}), None),
            (json!({"jti": "j1"}), Some(("jti", true))),
            (json!({"jti": "j1", "issuer": "https://i"}), Some(("jti", true))),
            // Another issuer's session of the same name.
            (json!({"sid": "s1", "issuer": "https://other"}), None),
            (json!({"sid": "s1", "issuer": "https://i"}), Some(("sid", true))),
            (json!({"user": "jane", "issuedBefore": SOON}), Some(("user", true))),
            (json!({"group": "dev", "issuedBefore": SOON}), Some(("group", true))),
            // The token's own second is not before it.
            (json!({"user": "jane", "issuedBefore": "1970-01-01T00:08:20Z"}), None),
        ] {
            let mut entry = entry;
            entry["until"] = json!(END);
            entry["reason"] = json!("because");
            let index = index(&json!([entry]));
            let find = |now| index.find("jane", ["ops", "dev"].into_iter(), &login(), now);
            let found = find(NOW);
            assert_eq!(found.as_ref().map(|it| (it.by, it.login_helps)), want, "{entry}");
            assert!(found.is_none_or(|it| it.reason == "because"));
            assert_eq!(find(Duration::from_secs(1_000_000_000)), None, "it is over: {entry}");
        }
    }

    /// Of one issuer, perhaps: kube-apiserver takes them for two users, and so does an entry.
    #[test]
    fn users_whose_names_look_alike_are_others() {
        let names = ["jos\u{e9}", "jose\u{301}", "Jos\u{e9}", "JOS\u{c9}", "jos\u{e9} ", "jose"];
        for entry in names {
            let index = index(&json!([{"user": entry, "until": END}]));
            for user in names {
                let found = index.find(user, [].into_iter(), &login(), NOW);
                assert_eq!(found.is_some(), user == entry, "{entry} {user}");
            }
        }
    }

    /// Of a token without `iat` nobody knows when it was issued.
    #[test]
    fn a_token_that_does_not_say_when_it_was_issued_was_issued_before() {
        let index = index(&json!([{"user": "jane", "issuedBefore": END, "until": END}]));
        let login = Login { issued_at: None, ..login() };
        assert!(index.find("jane", [].into_iter(), &login, NOW).is_some());
    }

    /// Each entry alone, against a token that a portal made with that login of jane's.
    #[test]
    fn an_entry_against_a_login_ends_what_was_made_with_it() {
        let origin = Origin { between: vec!["p1".to_owned()], ..Origin::of(&login()) };
        let own = Login {
            subject: "jane".to_owned(),
            id: "p2".to_owned(),
            session: "s2".to_owned(),
            issued_at: Some(900),
            ..Login::of("https://portal")
        };
        let made = own.clone().made_with(Some(origin));
        // What is found against the made token, and whether it is without its origin, too.
        for (entry, want, is_own) in [
            (json!({"subject": "1234", "issuer": "https://i"}), Some(("subject", false)), false),
            (
                json!({"subject": "jane", "issuer": "https://portal"}),
                Some(("subject", false)),
                true,
            ),
            (json!({"sid": "s1", "issuer": "https://i"}), Some(("sid", true)), false),
            (json!({"sid": "s1"}), Some(("sid", true)), false),
            (json!({"jti": "j1", "issuer": "https://i"}), Some(("jti", true)), false),
            (json!({"sid": "s2"}), Some(("sid", true)), true),
            (json!({"jti": "p2", "issuer": "https://portal"}), Some(("jti", true)), true),
            (json!({"jti": "p1", "issuer": "https://portal"}), Some(("jti", true)), false),
            (json!({"jti": "p1", "issuer": "sharedSecret"}), Some(("jti", true)), false),
            // A name counts at its own issuer.
            (json!({"subject": "1234", "issuer": "https://portal"}), None, false),
            (json!({"subject": "jane", "issuer": "https://i"}), None, false),
            (json!({"sid": "s1", "issuer": "https://portal"}), None, false),
            (json!({"sid": "s2", "issuer": "https://i"}), None, false),
            (json!({"jti": "p1", "issuer": "https://i"}), None, false),
            (json!({"jti": "p2", "issuer": "sharedSecret"}), None, false),
            // The login is of 500, whenever the token was made with it.
            (
                json!({"user": "jane", "issuedBefore": "1970-01-01T00:08:21Z"}),
                Some(("user", true)),
                false,
            ),
            (json!({"user": "jane", "issuedBefore": "1970-01-01T00:08:20Z"}), None, false),
        ] {
            let mut entry = entry;
            entry["until"] = json!(END);
            let index = index(&json!([entry]));
            let find = |login| index.find("jane", [].into_iter(), login, NOW);
            assert_eq!(find(&made).map(|it| (it.by, it.login_helps)), want, "{entry}");
            assert_eq!(find(&own).is_some(), is_own, "{entry}");
        }
        // Of a login without `iat` nobody knows when it was.
        let unknown = Origin { issued_at: None, ..Origin::of(&login()) };
        assert_eq!(own.made_with(Some(unknown)).issued_at, None);
    }

    #[test]
    fn what_no_login_helps_against_is_said_first() {
        let entries = json!([
            {"jti": "j1", "until": END, "reason": "one"},
            {"group": "dev", "until": END, "reason": "two"},
            {"sid": "s1", "until": END, "reason": "three"},
        ]);
        let found = index(&entries).find("jane", ["dev"].into_iter(), &login(), NOW);
        let want = Revoked { by: "group", reason: "two".to_owned(), login_helps: false };
        assert_eq!(found, Some(want));
    }
}
