//! The claims of a token, as JSON text member by member: an object cannot have a member twice, a token can.

use fastrand::Rng;

use crate::{
    NOW,
    configuration::{Configuration, Issuer},
    odd,
};

/// An object's members: names and values, both JSON text.
#[derive(Clone)]
pub struct Members(Vec<(String, String)>);

impl Members {
    pub fn of<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        Self(members.into_iter().map(|(name, value)| (quote(name), value)).collect())
    }

    /// Sets a member in its place, or adds it.
    pub fn set(&mut self, name: &str, value: &str) {
        let name = quote(name);
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((name, value.to_owned())),
        }
    }

    /// Adds a member, at the front or the end, even if it is there.
    pub fn add(&mut self, name: &str, value: &str, in_front: bool) {
        let at = if in_front { 0 } else { self.0.len() };
        self.0.insert(at, (quote(name), value.to_owned()));
    }

    pub fn remove(&mut self, name: &str) {
        let name = quote(name);
        self.0.retain(|(known, _)| *known != name);
    }

    /// The object.
    pub fn text(&self) -> String {
        let members: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What a good token says, beyond what every token must say.
const USUAL: &[(&str, &[&str])] = &[
    (
        "sub",
        &[
            "\"jane\"",
            "\"jane\"",
            "\"0001-jane\"",
            "\"J\\u00fcrgen \\ud83d\\ude00\"",
            "\"\"",
            "\"system:admin\"",
            "\"system:serviceaccount:ns:n\"",
            "\" edge \"",
            "\"a\\tb\"",
            "\"%41\"",
            "\"a,b\"",
        ],
    ),
    ("email", &["\"jane@example.org\"", "\"Jane@EXAMPLE.org\"", "\"\""]),
    ("email_verified", &["true", "true", "true", "false", "\"true\"", "null", "1"]),
    ("preferred_username", &["\"jane.d\"", "\"JaneD\"", "\"system:x\""]),
    ("name", &["\"Jane Doe\"", "\"\u{e9}\u{4e16}\""]),
    (
        "groups",
        &[
            "[\"admins\",\"devs\"]",
            "[\"admins\",\"devs\"]",
            "\"alone\"",
            "[]",
            "[\"system:masters\",\"a\"]",
            "[\"b\",\"a\",\"b\",\"\"]",
            "[\"a,b\",\"c d\"]",
        ],
    ),
    ("roles", &["\"a,b\"", "[\"r1\",\"r2\"]", "\"\""]),
    ("hd", &["\"example.org\"", "\"example.org\"", "\"example.com\"", "[\"example.org\"]"]),
    ("jti", &["\"id-1\"", "\"\"", "7"]),
    ("n", &["42", "1234567", "0.1", "-3", "9007199254740993", "1e21"]),
    ("uid", &["\"u-1\"", "\"\"", "\"bad\""]),
    (
        "nested",
        &[
            "{\"tenant\":\"t1\",\"list\":[\"a\",\"b\"],\"deep\":{\"x\":[1,{\"y\":\"z\"}]}}",
            "{\"tenant\":7,\"list\":\"a\"}",
            "{}",
        ],
    ),
    ("realm_access", &["{\"roles\":[\"x\",\"y\"]}", "{\"roles\":[]}", "{\"roles\":null}"]),
    ("kubernetes.io", &["{\"namespace\":\"ns\",\"serviceaccount\":{\"name\":\"sa\"}}"]),
    ("https://example.org/login", &["\"jane-gh\""]),
    ("nul", &["null"]),
];

/// Claims that the configuration takes, or would if they had other values.
pub fn good(issuer: &Issuer, rng: &mut Rng) -> Members {
    let mut claims = Members::of([
        ("iss", quote(&issuer.url)),
        ("aud", audience(issuer, rng)),
        ("exp", (NOW + 600).to_string()),
        ("iat", (NOW - 60).to_string()),
    ]);
    for (name, values) in USUAL {
        let mentioned = issuer.mentions(name);
        if mentioned || rng.u8(..8) == 0 {
            let usual = rng.u8(..3) > 0;
            let value = if usual { values[0] } else { values[rng.usize(..values.len())] };
            claims.set(name, value);
        }
    }
    claims
}

/// [`good`] with the usual value of every claim.
pub fn plain(issuer: &Issuer) -> Members {
    let mut claims = Members::of([
        ("iss", quote(&issuer.url)),
        ("aud", quote(&issuer.audiences[0])),
        ("exp", (NOW + 600).to_string()),
        ("iat", (NOW - 60).to_string()),
    ]);
    for (name, values) in USUAL.iter().filter(|(name, _)| issuer.mentions(name)) {
        claims.set(name, values[0]);
    }
    claims
}

fn audience(issuer: &Issuer, rng: &mut Rng) -> String {
    let own = quote(&issuer.audiences[rng.usize(..issuer.audiences.len())]);
    match rng.u8(..4) {
        0 => format!("[{own}]"),
        1 => format!("[\"other\",{own}]"),
        _ => own,
    }
}

/// The claims in which the systematic run puts every odd value.
pub const EVERY: [&str; 14] = [
    "sub",
    "email",
    "email_verified",
    "groups",
    "uid",
    "hd",
    "jti",
    "n",
    "roles",
    "nested",
    "iss",
    "nonce",
    "at_hash",
    "preferred_username",
];

/// Changes something about the claims and says what.
pub fn spoil(claims: &mut Members, configuration: &Configuration, rng: &mut Rng) -> String {
    let issuer = &configuration.issuers[0];
    let pick = |rng: &mut Rng, from: &[&str]| from[rng.usize(..from.len())].to_owned();
    match rng.u8(..16) {
        0..=4 => {
            let name = pick(rng, &EVERY);
            let value = pick(rng, odd::VALUES);
            claims.set(&name, &value);
            format!("{name} {value}")
        }
        5 => {
            let name = USUAL[rng.usize(..USUAL.len())].0;
            claims.remove(name);
            format!("no {name}")
        }
        6 => {
            let name = pick(rng, &["iss", "aud", "exp", "iat"]);
            claims.remove(&name);
            format!("no {name}")
        }
        7..=8 => {
            let name = pick(rng, &["exp", "exp", "nbf", "iat"]);
            let value = pick(rng, odd::TIMES);
            claims.set(&name, &value);
            format!("{name} {value}")
        }
        9 => {
            let value = pick(rng, odd::AUDIENCES).replace("AUD", &issuer.audiences[0]);
            claims.set("aud", &value);
            format!("aud {value}")
        }
        10 => {
            let (name, value) = (pick(rng, &EVERY), pick(rng, odd::VALUES));
            let in_front = rng.bool();
            claims.add(&name, &value, in_front);
            format!("{name} twice, {value} {}", if in_front { "first" } else { "last" })
        }
        11 => {
            let name = pick(rng, &FOLDED);
            let value = pick(rng, &["\"x\"", "null", "1", "[]", "4000000600"]);
            let in_front = rng.bool();
            claims.add(&name, &value, in_front);
            format!("{name} {value} {}", if in_front { "first" } else { "last" })
        }
        12..=13 => {
            let value = pick(rng, &ISSUERS);
            let other = configuration.issuers.last().map_or("", |other| other.url.as_str());
            let value = value.replace("ISS", &issuer.url).replace("OTHER", other);
            claims.set("iss", &value);
            format!("iss {value}")
        }
        _ => distribute(claims, issuer, rng),
    }
}

/// Names that Go takes for the claim they fold to.
const FOLDED: [&str; 10] = [
    "ISS",
    "i\u{17f}s",
    "Aud",
    "EXP",
    "Iat",
    "Nbf",
    "SUB",
    "Nonce",
    "_CLAIM_NAMES",
    "Email_Verified",
];

const ISSUERS: [&str; 10] = [
    "\"ISS/\"",
    "\"ISS \"",
    "\"https://elsewhere.example\"",
    "\"OTHER\"",
    "\"accounts.google.com\"",
    "\"\"",
    "null",
    "1",
    "[\"ISS\"]",
    "\"\\u0068ttps:\\/\\/accounts.google.com\"",
];

/// Puts the groups elsewhere.
fn distribute(claims: &mut Members, issuer: &Issuer, rng: &mut Rng) -> String {
    let claim = issuer.groups_claim.clone().unwrap_or_else(|| "groups".to_owned());
    let kind = DISTRIBUTED[rng.usize(..DISTRIBUTED.len())];
    let names = NAMES[rng.usize(..NAMES.len() * 3).min(NAMES.len() - 1)];
    let sources = SOURCES[rng.usize(..SOURCES.len() * 3).min(SOURCES.len() - 1)];
    let (names, sources) = distributed(&claim, kind, names, sources);
    if rng.u8(..6) > 0 {
        claims.remove(&claim);
    }
    let mut note = format!("groups at {kind}");
    if rng.u8(..10) > 0 {
        note = format!("{note}, names {names}");
        claims.set("_claim_names", &names);
    }
    if rng.u8(..10) > 0 {
        note = format!("{note}, sources {sources}");
        claims.set("_claim_sources", &sources);
    }
    note
}

/// `_claim_names` and `_claim_sources` from their templates.
pub fn distributed(claim: &str, kind: &str, names: &str, sources: &str) -> (String, String) {
    let url = quote(&format!("{GROUPS}/{kind}"));
    (names.replace("CLAIM", &quote(claim)), sources.replace("URL", &url))
}

/// Who issues the groups' tokens.
pub const GROUPS: &str = "https://groups.example";

/// What the endpoints answer; see [`Configuration::http`].
pub const DISTRIBUTED: [&str; 10] = [
    "good",
    "good",
    "one",
    "null",
    "no-claim",
    "wrong-audience",
    "expired",
    "forged",
    "garbage",
    "missing",
];

/// The last is the usual one, in both lists.
pub const NAMES: [&str; 10] = [
    "null",
    "[]",
    "\"s\"",
    "{}",
    "{\"other\":\"s\"}",
    "{CLAIM:null}",
    "{CLAIM:\"\"}",
    "{CLAIM:\"t\"}",
    "{CLAIM:1}",
    "{CLAIM:\"s\"}",
];
pub const SOURCES: [&str; 12] = [
    "null",
    "[]",
    "{}",
    "{\"s\":null}",
    "{\"s\":{}}",
    "{\"s\":{\"JWT\":\"e30.e30.\"}}",
    "{\"s\":{\"endpoint\":null}}",
    "{\"s\":{\"endpoint\":1}}",
    "{\"s\":{\"Endpoint\":URL,\"access_token\":\"secret\"}}",
    "{\"s\":{\"endpoint\":URL,\"access_token\":1}}",
    "{\"s\":{\"endpoint\":URL},\"t\":{}}",
    "{\"s\":{\"endpoint\":URL}}",
];
