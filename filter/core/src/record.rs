//! What the logs are told of who made a request: pairs of a name and a value, which the adapter hands to Envoy.
//!
//! `v=2&issuer=...&user=jane&uid=1&group=dev&group=ops&extra.KEY=...` and, where the client acts as somebody else, the same with the
//! names of kubectl's flags: `as=bob&as-uid=...&as-group=...&as-extra.KEY=...`. Where groups may be lent, the token's `subject` is there, too, each rule
//! whose expression is true of the user (`may=RULE`), and of each grant in force `grant=ID&grant-by=kim&lent=admins`. It is a form (`application/x-www-form-urlencoded`, URL
//! Standard, section 5.1), of which only `%`, `&`, quotes, backslashes, blanks and what is no printable ASCII are escaped. So Envoy writes it into
//! its JSON as it is: JSON within JSON costs a request 16,000 instructions there. Nothing of the token itself is in it.
//! Where a portal asks, there are the names by which the login can be revoked (`login=`), or those of the login with which the token was made (`origin=`),
//! in a form of their own.
//!
//! A record has a bounded size, whatever a token or `Impersonate-*` headers bring: what has no room is left out, and the user
//! has `truncated=true` (`as-truncated`) then. kube-apiserver's own audit log has the rest.

use std::{borrow::Cow, time::Duration};

use kube_authn::Identity;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The first pair of a record of this form.
const VERSION: &str = "v=2";
/// What would end a value, or have Envoy or a header escape it.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'&').add(b'+').add(b'\\');
/// The same of a name, which `=` ends.
const NAME: &AsciiSet = &VALUE.add(b'=');

/// Bytes of a record that one user may have: more than a thousand groups whose names are UUIDs.
const USER_BYTES: usize = 48 << 10;
/// Bytes of one name or value.
const VALUE_BYTES: usize = 1024;
/// As long as most records are.
const USUAL_BYTES: usize = 512;

/// The record of a user, and of whom it acts as.
#[must_use]
pub fn record(issuer: &str, user: &Identity, impersonated: Option<&Identity>) -> String {
    let mut record = String::with_capacity(USUAL_BYTES);
    record.push_str(VERSION);
    if !issuer.is_empty() {
        write(&mut record, "issuer", "", issuer);
    }
    USER.push(&mut record, user);
    if let Some(impersonated) = impersonated {
        IMPERSONATED.push(&mut record, impersonated);
    }
    record
}

/// Adds where the user's groups came from, and when, in seconds since 1970.
pub fn add_source(record: &mut String, source: &str, at: Duration) {
    write(record, "groups-source", "", source);
    write(record, "groups-at", "", &at.as_secs().to_string());
}

/// Adds whom a user acts as to the user's record.
#[must_use]
pub fn with_impersonated(record: &str, impersonated: &Identity) -> String {
    let mut record = record.to_owned();
    IMPERSONATED.push(&mut record, impersonated);
    record
}

/// Adds the `sub` of the user's token to a record.
pub fn push_subject(record: &mut String, subject: &str) {
    write(record, "subject", "", &shortened(subject));
}

/// The pair of the origin of what a portal would make with the user's token: this one if it is no portal's itself, the next if it is.
const LOGIN: &str = "login";
const ORIGIN: &str = "origin";

/// Adds what a token that a portal makes with a login is to carry: the portal cannot know it, where the issuer was asked about the token.
pub fn push_origin(record: &mut String, origin: &str, is_portals: bool) {
    write(record, if is_portals { ORIGIN } else { LOGIN }, "", origin);
}

/// What was added so.
#[must_use]
pub fn read_origin(record: &str) -> Option<String> {
    read_value(record, ORIGIN).or_else(|| read_value(record, LOGIN))
}

/// Adds the rules of elevation whose expressions are true of the user: who lends groups has no claims.
pub fn push_met(record: &mut String, rules: &[String]) {
    for rule in rules {
        write(record, "may", "", rule);
    }
}

/// Adds a grant to a record: its id, who agreed to it, and the groups that it lends. They do not stand among the user's own, so that whoever
/// reads the record for those ([`read_user`]) does not take a loan for them.
pub fn push_grant(record: &mut String, id: &str, by: Option<&str>, groups: &[String]) {
    write(record, "grant", "", id);
    if let Some(by) = by {
        write(record, "grant-by", "", &shortened(by));
    }
    for group in groups {
        write(record, "lent", "", &shortened(group));
    }
}

/// The user of a record, as the token names it; none if the text is no record.
#[must_use]
pub fn read_user(record: &str) -> Option<Identity> {
    let mut pairs = record.split('&');
    if pairs.next() != Some(VERSION) {
        return None;
    }
    let mut user = Identity::default();
    for pair in pairs {
        let (name, value) = pair.split_once('=')?;
        let value = || decoded(value);
        match name {
            "user" => user.username = value()?,
            "uid" => user.uid = value()?,
            "group" => user.groups.push(value()?),
            _ => {
                if let Some(key) = name.strip_prefix("extra.") {
                    user.extra.entry(decoded(key)?).or_default().push(value()?);
                }
            }
        }
    }
    (!user.username.is_empty()).then_some(user)
}

/// A value of a record, by its name; none if the text is no record.
#[must_use]
pub fn read_value(record: &str, name: &str) -> Option<String> {
    read_values(record, name).next()
}

/// All values of a record under a name, without those that cannot be read.
pub fn read_values<'a>(record: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = record.strip_prefix(VERSION).unwrap_or_default().split('&');
    pairs.filter_map(move |pair| decoded(pair.strip_prefix(name)?.strip_prefix('=')?))
}

pub(crate) fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

/// What the pairs of a user are called.
struct Names {
    user: &'static str,
    uid: &'static str,
    group: &'static str,
    extra: &'static str,
    truncated: &'static str,
}

const USER: Names =
    Names { user: "user", uid: "uid", group: "group", extra: "extra.", truncated: "truncated" };
const IMPERSONATED: Names = Names {
    user: "as",
    uid: "as-uid",
    group: "as-group",
    extra: "as-extra.",
    truncated: "as-truncated",
};

impl Names {
    fn push(&self, record: &mut String, identity: &Identity) {
        let end = record.len().saturating_add(USER_BYTES);
        let mut pairs = Pairs { record, end, is_full: false, is_short: false };
        pairs.push(self.user, "", &identity.username);
        if !identity.uid.is_empty() {
            pairs.push(self.uid, "", &identity.uid);
        }
        for group in &identity.groups {
            pairs.push(self.group, "", group);
        }
        for (key, values) in &identity.extra {
            for value in values {
                pairs.push(self.extra, key, value);
            }
        }
        if pairs.is_short {
            write(record, self.truncated, "", "true");
        }
    }
}

/// The pairs of one user, as many as have room.
struct Pairs<'a> {
    record: &'a mut String,
    /// How long the record may become.
    end: usize,
    is_full: bool,
    is_short: bool,
}

impl Pairs<'_> {
    fn push(&mut self, name: &str, key: &str, value: &str) {
        if self.is_full {
            return;
        }
        let (key, value) = (shortened(key), shortened(value));
        let is_whole = matches!((&key, &value), (Cow::Borrowed(_), Cow::Borrowed(_)));
        let before = self.record.len();
        write(self.record, name, &key, &value);
        // What follows would have room where this has none, and the log would not tell which is missing.
        self.is_full = self.record.len() > self.end;
        self.is_short |= self.is_full || !is_whole;
        if self.is_full {
            self.record.truncate(before);
        }
    }
}

/// Adds a pair behind others.
pub(crate) fn write(record: &mut String, name: &str, key: &str, value: &str) {
    record.push('&');
    record.push_str(name);
    record.extend(utf8_percent_encode(key, NAME));
    record.push('=');
    record.extend(utf8_percent_encode(value, VALUE));
}

/// A value, or its beginning with a mark behind it.
fn shortened(value: &str) -> Cow<'_, str> {
    if value.len() <= VALUE_BYTES {
        return Cow::Borrowed(value);
    }
    let end = value.floor_char_boundary(VALUE_BYTES);
    Cow::Owned(format!("{}...TRUNCATED", value.get(..end).unwrap_or_default()))
}

/// Bytes that text may still take in JSON.
pub struct SizeBudget {
    left: usize,
    /// Whether something had no room.
    pub is_short: bool,
}

impl SizeBudget {
    /// So many bytes.
    #[must_use]
    pub fn new(left: usize) -> Self {
        Self { left, is_short: false }
    }

    /// A value, or its beginning.
    pub fn value<'a>(&mut self, value: &'a str) -> Cow<'a, str> {
        self.take(value).unwrap_or_default()
    }

    /// Those of the values that have room, in their order; the beginning of one that is long.
    pub fn values<'a>(&mut self, values: &'a [String]) -> Vec<Cow<'a, str>> {
        values.iter().map_while(|value| self.take(value)).collect()
    }

    fn take<'a>(&mut self, value: &'a str) -> Option<Cow<'a, str>> {
        let kept = shortened(value);
        let left = self.left.checked_sub(json_bytes(&kept));
        // As in a record.
        self.left = left.unwrap_or_default();
        self.is_short |= left.is_none() || matches!(kept, Cow::Owned(_));
        left.map(|_| kept)
    }
}

/// Bytes of a text in JSON, with its quotes and a comma.
fn json_bytes(text: &str) -> usize {
    text.bytes().fold(3, |sum: usize, byte| {
        sum.saturating_add(match byte {
            b'"' | b'\\' => 2,
            0..=0x1f => 6,
            _ => 1,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_left_out() {
        let jane = Identity {
            username: "jane".into(),
            uid: "1".into(),
            groups: vec!["dev".into(), "a b".into()],
            extra: [("example.org/k=".to_owned(), vec!["v=".to_owned(), String::new()])].into(),
        };
        let bob = Identity { username: "bob".into(), ..jane.clone() };
        let text = "v=2&issuer=https://i&user=jane&uid=1&group=dev&group=a%20b&extra.example.org/k%3D=v=&extra.example.org/k%3D=";
        assert_eq!(record("https://i", &jane, None), text);
        let more = "&as=bob&as-uid=1&as-group=dev&as-group=a%20b&as-extra.example.org/k%3D=v=&as-extra.example.org/k%3D=";
        assert_eq!(record("https://i", &jane, Some(&bob)), format!("{text}{more}"));
        assert_eq!(read_user(&format!("{text}{more}")), Some(jane));
        let bob = Identity { username: "bob".into(), ..Identity::default() };
        assert_eq!(record("", &bob, None), "v=2&user=bob");
        for none in ["", "{}", "v=2", "v=1&user=bob", "v=2&user", "v=2&user=%ff"] {
            assert_eq!(read_user(none), None, "{none}");
        }
    }

    /// Envoy writes such a text into its JSON as it is, and takes 16,000 instructions for any other.
    #[test]
    fn a_record_needs_no_escape_and_comes_back() {
        let every: String = (0..=0x1ff_u32).filter_map(char::from_u32).collect();
        for text in [&every, "a&user=b", "a&as=admin", "%41", "+", "a=b", "\"\\", "é", "\u{10ffff}"]
        {
            let user = Identity {
                username: text.to_owned(),
                uid: text.to_owned(),
                groups: vec![text.to_owned(), text.to_owned()],
                extra: [(text.to_owned(), vec![text.to_owned()])].into(),
            };
            let record = record(text, &user, Some(&Identity::default()));
            let plain = |byte: u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'\\');
            assert!(record.bytes().all(plain), "{record}");
            assert_eq!(read_user(&record), Some(user), "{record}");
        }
    }

    /// A log's line must not grow with what a client puts into a token or into `Impersonate-*` headers.
    #[test]
    fn break_in_3_a_record_is_bounded_and_says_so() {
        let few: Vec<_> =
            (0..1000).map(|n| format!("{n:08}-0000-0000-0000-000000000000")).collect();
        let many = vec!["\"\\".repeat(100); 10_000];
        let extra =
            |values: &[String]| (0..9).map(|n| (n.to_string(), values.to_owned())).collect();
        let long = "\u{1}".repeat(60_000);
        for (user, is_short) in [
            (
                Identity { username: "jane".into(), groups: few.clone(), ..Identity::default() },
                false,
            ),
            (
                Identity { username: "jane".into(), groups: many.clone(), ..Identity::default() },
                true,
            ),
            (
                Identity { username: "jane".into(), extra: extra(&many), ..Identity::default() },
                true,
            ),
            (Identity { username: long.clone(), ..Identity::default() }, true),
            (Identity { username: "jane".into(), uid: long.clone(), ..Identity::default() }, true),
            (
                Identity {
                    username: "jane".into(),
                    extra: [(long, few)].into(),
                    ..Identity::default()
                },
                true,
            ),
        ] {
            let text = record("https://i", &user, Some(&user));
            assert!(text.len() < 2 * USER_BYTES + 512, "{}", text.len());
            assert_eq!(text.contains("&truncated=true"), is_short);
            assert_eq!(text.contains("&as-truncated=true"), is_short);
            assert!(read_user(&text).unwrap().username.len() > 3);
        }
    }
}
