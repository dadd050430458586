//! `Revocations`: whose access has ended, until when, and why.
//!
//! An entry only ever takes something away. What stands in it is compared byte for byte, after the claim mappings: the name of a user is the
//! one that Kubernetes sees, with its prefix.

use std::{collections::HashMap, time::Duration};

use apiserver_cel::unix_seconds;
use serde::{Deserialize, Serialize};

use super::Login;
use crate::documents::API_VERSION;

/// The `kind` of [`Revocations`].
pub const REVOCATIONS: &str = "Revocations";
/// How many entries a document may have.
pub const MOST_ENTRIES: usize = 50_000;
/// Bytes of a name, and of a reason.
pub(super) const MOST_NAME: usize = 1024;
const MOST_REASON: usize = 256;

/// Whose access has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Revocations {
    /// `gateway.kube-oidc.dev/v1alpha1`
    pub api_version: String,
    /// `Revocations`
    pub kind: String,
    /// The entries, in any order.
    pub revocations: Vec<Revocation>,
}

impl Default for Revocations {
    fn default() -> Self {
        let (api_version, kind) = (API_VERSION.to_owned(), REVOCATIONS.to_owned());
        Self { api_version, kind, revocations: Vec::new() }
    }
}

/// An entry. It names one of `user`, `group`, `subject`, `jti` and `sid`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Revocation {
    /// A user, by the name that Kubernetes sees.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Everybody in a group, by the name that Kubernetes sees.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The claim `sub`, also of the login with which a portal made a token. It needs `issuer`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// One token, by its claim `jti`, and what a portal made with it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// All tokens of one session at the provider, by their claim `sid`, and what a portal made with them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sid: String,
    /// The issuer's URL, as the claim `iss` has it. With `subject`, `jti` and `sid`, other issuers' tokens are left alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// If given, only tokens with an earlier `iat`, or none, are meant (RFC 3339): a new login helps.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issued_before: String,
    /// When the entry is over (RFC 3339). From then on it can be pruned.
    pub until: String,
    /// Why, which the client is told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What is wrong with a document. The text names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: Invalid value: {got:?}: {why}")]
pub struct RevocationsError {
    /// The field's path.
    pub field: String,
    /// What the document says.
    pub got: String,
    /// What is wrong.
    pub why: &'static str,
}

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

/// What entries are found by.
const FIELDS: [&str; 5] = ["user", "group", "subject", "jti", "sid"];

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

impl Revocation {
    /// The entry's JSON schema, with the descriptions of its fields.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Revocation).to_value()
    }

    fn names(&self) -> [&str; FIELDS.len()] {
        [&self.user, &self.group, &self.subject, &self.jti, &self.sid]
    }

    /// When it is over, in seconds since 1970; `None` if it does not say so.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        seconds(&self.until)
    }

    /// Whether everything that another entry ends is ended by this one, and for as long: then the other need not be kept beside it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let before = |entry: &Self| seconds(&entry.issued_before).unwrap_or(u64::MAX);
        self.names() == other.names()
            && (self.issuer.is_empty() || self.issuer == other.issuer)
            && self.end() >= other.end()
            && before(self) >= before(other)
    }

    /// What is wrong with it: a field, what it says, and why that cannot be meant.
    fn fault(&self) -> Option<(&'static str, &str, &'static str)> {
        let names = self.names();
        let mut given = FIELDS.iter().zip(names).filter(|(_, name)| !name.is_empty());
        let Some((field, name)) = given.next() else {
            return Some(("user", "", "must be given, or group, subject, jti or sid"));
        };
        if let Some((other, name)) = given.next() {
            return Some((other, name, "must not be given beside another one: write two entries"));
        }
        let is_plain = |text: &str| !text.chars().any(char::is_control);
        if name.len() > MOST_NAME || !is_plain(name) {
            let why = "must have at most 1024 bytes and no control character";
            return Some((field, name, why));
        }
        let takes_issuer = matches!(*field, "subject" | "jti" | "sid");
        if *field == "subject" && self.issuer.is_empty() {
            return Some(("issuer", "", "must be given: a subject is an issuer's"));
        }
        if !takes_issuer && !self.issuer.is_empty() {
            return Some(("issuer", &self.issuer, "must not be given: names are the cluster's"));
        }
        if self.end().is_none() {
            return Some(("until", &self.until, "must be a time, like 2026-01-31T12:00:00Z"));
        }
        if !self.issued_before.is_empty() && seconds(&self.issued_before).is_none() {
            let why = "must be a time, like 2026-01-31T12:00:00Z";
            return Some(("issuedBefore", &self.issued_before, why));
        }
        if self.reason.len() > MOST_REASON || !is_plain(&self.reason) {
            let why = "must have at most 256 bytes and no control character";
            return Some(("reason", &self.reason, why));
        }
        None
    }
}

impl Revocations {
    /// Checks it.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn check(&self) -> Result<(), RevocationsError> {
        for (field, got, want, why) in [
            (
                "apiVersion",
                &self.api_version,
                API_VERSION,
                "must be gateway.kube-oidc.dev/v1alpha1",
            ),
            ("kind", &self.kind, REVOCATIONS, "must be Revocations"),
        ] {
            if got != want {
                return Err(RevocationsError { field: field.to_owned(), got: got.clone(), why });
            }
        }
        if self.revocations.len() > MOST_ENTRIES {
            let got = self.revocations.len().to_string();
            let why = "must have at most 50000 items: prune those that are over";
            return Err(RevocationsError { field: "revocations".to_owned(), got, why });
        }
        for (index, entry) in self.revocations.iter().enumerate() {
            if let Some((field, got, why)) = entry.fault() {
                let field = format!("revocations[{index}].{field}");
                return Err(RevocationsError { field, got: got.to_owned(), why });
            }
        }
        Ok(())
    }
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
            let between = it.between.iter().map(|id| (3, id.as_str(), own));
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

/// A time in seconds since 1970.
fn seconds(text: &str) -> Option<u64> {
    u64::try_from(unix_seconds(text)?).ok()
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

    fn read(entries: &Value) -> Result<Index, String> {
        let document =
            json!({"apiVersion": API_VERSION, "kind": REVOCATIONS, "revocations": entries});
        let document: Revocations =
            serde_json::from_value(document).map_err(|error| error.to_string())?;
        Index::new(&document).map_err(|error| error.to_string())
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

    #[test]
    fn documents_are_strict_and_every_error_names_its_field() {
        let long = "a".repeat(1025);
        for (entries, want) in [
            (json!([]), None),
            (json!([{"user": "jane", "until": END}]), None),
            (json!([{"group": "dev", "until": END, "reason": "é"}]), None),
            (json!([{"subject": "1", "issuer": "https://i", "until": END}]), None),
            (json!([{"jti": "1", "until": END}]), None),
            (json!([{"sid": "1", "issuer": "https://i", "until": END}]), None),
            (json!([{"user": "a", "issuedBefore": END, "until": END}]), None),
            (
                json!([{"until": END}]),
                Some("revocations[0].user: Invalid value: \"\": must be given"),
            ),
            (json!([{"user": "a", "jti": "b", "until": END}]), Some("revocations[0].jti: ")),
            (
                json!([{"user": "a"}]),
                Some("revocations[0].until: Invalid value: \"\": must be a time"),
            ),
            (json!([{"user": "a", "until": "tomorrow"}]), Some("revocations[0].until: ")),
            (
                json!([{"user": "a", "until": "1969-01-01T00:00:00Z"}]),
                Some("revocations[0].until: "),
            ),
            (
                json!([{"user": "a", "until": END, "issuedBefore": "now"}]),
                Some("[0].issuedBefore: "),
            ),
            (json!([{"subject": "1", "until": END}]), Some("revocations[0].issuer: ")),
            (json!([{"user": "a", "issuer": "https://i", "until": END}]), Some("[0].issuer: ")),
            (json!([{"user": long, "until": END}]), Some("revocations[0].user: ")),
            (json!([{"user": "a\n", "until": END}]), Some("revocations[0].user: ")),
            (json!([{"user": "a", "until": END, "reason": "a".repeat(257)}]), Some("[0].reason: ")),
            (json!([{"name": "a", "until": END}]), Some("unknown field `name`")),
        ] {
            match (read(&entries), want) {
                (Ok(_), None) => {}
                (Err(got), Some(want)) => assert!(got.contains(want), "{got} / {want}"),
                (got, want) => panic!("{entries}: {got:?} / {want:?}"),
            }
        }
        for (document, want) in [
            (json!({"kind": "Revocation"}), "kind: Invalid value: \"Revocation\""),
            (json!({"apiVersion": "v1"}), "apiVersion: Invalid value: \"v1\""),
        ] {
            let document: Revocations = serde_json::from_value(document).unwrap();
            assert!(document.check().unwrap_err().to_string().starts_with(want));
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
            let index = read(&json!([entry])).unwrap();
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
            let index = read(&json!([{"user": entry, "until": END}])).unwrap();
            for user in names {
                let found = index.find(user, [].into_iter(), &login(), NOW);
                assert_eq!(found.is_some(), user == entry, "{entry} {user}");
            }
        }
    }

    /// Of a token without `iat` nobody knows when it was issued.
    #[test]
    fn a_token_that_does_not_say_when_it_was_issued_was_issued_before() {
        let index = read(&json!([{"user": "jane", "issuedBefore": END, "until": END}])).unwrap();
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
        for (entry, want) in [
            (json!({"subject": "1234", "issuer": "https://i"}), Some(("subject", false))),
            (json!({"subject": "jane", "issuer": "https://portal"}), Some(("subject", false))),
            (json!({"sid": "s1", "issuer": "https://i"}), Some(("sid", true))),
            (json!({"sid": "s1"}), Some(("sid", true))),
            (json!({"jti": "j1", "issuer": "https://i"}), Some(("jti", true))),
            (json!({"sid": "s2"}), Some(("sid", true))),
            (json!({"jti": "p2", "issuer": "https://portal"}), Some(("jti", true))),
            (json!({"jti": "p1", "issuer": "https://portal"}), Some(("jti", true))),
            // A name counts at its own issuer.
            (json!({"subject": "1234", "issuer": "https://portal"}), None),
            (json!({"subject": "jane", "issuer": "https://i"}), None),
            (json!({"sid": "s1", "issuer": "https://portal"}), None),
            (json!({"sid": "s2", "issuer": "https://i"}), None),
            (json!({"jti": "p1", "issuer": "https://i"}), None),
            // The login is of 500, whenever the token was made with it.
            (json!({"user": "jane", "issuedBefore": "1970-01-01T00:08:21Z"}), Some(("user", true))),
            (json!({"user": "jane", "issuedBefore": "1970-01-01T00:08:20Z"}), None),
        ] {
            let mut entry = entry;
            entry["until"] = json!(END);
            let index = read(&json!([entry])).unwrap();
            let find = |login| index.find("jane", [].into_iter(), login, NOW);
            assert_eq!(find(&made).map(|it| (it.by, it.login_helps)), want, "{entry}");
            let is_own = entry.to_string().contains("\"jane\"")
                && want.is_some()
                && entry.get("user").is_none();
            let is_own = is_own
                || matches!(entry["sid"].as_str().or(entry["jti"].as_str()), Some("s2" | "p2"));
            assert_eq!(find(&own).is_some(), is_own && want.is_some(), "{entry}");
        }
        // Of a login without `iat` nobody knows when it was.
        let unknown = Origin { issued_at: None, ..Origin::of(&login()) };
        assert_eq!(own.made_with(Some(unknown)).issued_at, None);
    }

    #[test]
    fn an_entry_covers_what_ends_with_it() {
        const SOON: &str = "1970-01-01T00:08:21Z";
        let entry = |fields: Value| serde_json::from_value::<Revocation>(fields).unwrap();
        let whole = json!({"subject": "1", "issuer": "https://i", "until": END});
        let with = |more: Value| {
            let mut fields = whole.clone();
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            entry(fields)
        };
        let same = with(json!({"reason": "another"}));
        let before = with(json!({"issuedBefore": SOON}));
        let shorter = with(json!({"until": SOON}));
        let others = with(json!({"issuer": "https://other"}));
        let [any, session] = [None, Some("https://i")].map(|issuer| {
            entry(json!({"sid": "s", "issuer": issuer.unwrap_or_default(), "until": END}))
        });
        let whole = entry(whole);
        for (one, other, want) in [
            (&whole, &same, true),
            (&same, &whole, true),
            (&whole, &before, true),
            (&before, &whole, false),
            (&whole, &shorter, true),
            (&shorter, &whole, false),
            (&before, &shorter, false),
            (&shorter, &before, false),
            (&whole, &others, false),
            (&whole, &session, false),
            (&any, &session, true),
            (&session, &any, false),
        ] {
            assert_eq!(one.covers(other), want, "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_no_login_helps_against_is_said_first() {
        let entries = json!([
            {"jti": "j1", "until": END, "reason": "one"},
            {"group": "dev", "until": END, "reason": "two"},
            {"sid": "s1", "until": END, "reason": "three"},
        ]);
        let found = read(&entries).unwrap().find("jane", ["dev"].into_iter(), &login(), NOW);
        let want = Revoked { by: "group", reason: "two".to_owned(), login_helps: false };
        assert_eq!(found, Some(want));
    }
}
