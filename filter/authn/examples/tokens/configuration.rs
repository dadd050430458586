//! Configurations: two that map every claim, and random ones.

use fastrand::Rng;
use kube_authn::{
    config::{self, LoadOptions},
    crypto::Algorithm,
};
use serde_json::{Map, Value, json};

use crate::{
    NOW,
    claims::{GROUPS, Members, quote},
    header::{Signing, spell},
    keys::Keys,
    token,
};

/// A valid file and what tokens for it have to know.
pub struct Configuration {
    pub file: Value,
    pub issuers: Vec<Issuer>,
}

/// An entry of `jwt`.
pub struct Issuer {
    pub url: String,
    pub audiences: Vec<String>,
    pub groups_claim: Option<String>,
    /// Which of [`Keys::set`] it publishes.
    pub key_set: &'static str,
    entry: String,
}

impl Issuer {
    fn new(entry: &Value, key_set: &'static str) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let audiences = entry["issuer"]["audiences"].as_array();
        Self {
            url: text(&entry["issuer"]["url"]),
            audiences: audiences.into_iter().flatten().map(text).collect(),
            groups_claim: entry["claimMappings"]["groups"]["claim"].as_str().map(str::to_owned),
            key_set,
            entry: entry.to_string(),
        }
    }

    /// Whether the entry names a claim, in quotes or behind a dot.
    pub fn mentions(&self, claim: &str) -> bool {
        let name = claim.replace('.', "__dot__");
        [claim, name.as_str()].into_iter().any(|name| {
            self.entry.match_indices(name).any(|(at, _)| {
                let (before, after) = (&self.entry[..at], &self.entry[at + name.len()..]);
                before.ends_with(['.', '?', '"', '\''])
                    && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '(')
            })
        })
    }
}

/// One configuration that maps claims, one that maps by expressions.
pub fn systematic() -> Vec<(Configuration, String)> {
    let claims = json!({
        "issuer": {"url": "https://claims.example", "audiences": ["kubernetes"]},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "oidc:"},
            "groups": {"claim": "groups", "prefix": "g:"},
            "uid": {"claim": "uid"},
            "extra": [{"key": "example.org/roles", "valueExpression": "claims.roles"}],
        },
        "claimValidationRules": [{"claim": "hd", "requiredValue": "example.org"}],
        "userValidationRules": [{"expression": "user.uid != 'bad'"}],
    });
    let email = json!({
        "issuer": {"url": "https://email.example", "audiences": ["kubernetes"]},
        "claimMappings": {"username": {"claim": "email", "prefix": ""}},
    });
    let expressions = json!({
        "issuer": {
            "url": "https://cel.example/realm/",
            "audiences": ["a", "kubernetes", "b"],
            "audienceMatchPolicy": "MatchAny",
        },
        "claimMappings": {
            "username": {"expression": "claims.sub"},
            "groups": {"expression": "claims.groups"},
            "uid": {"expression": "claims.uid"},
            "extra": [
                {"key": "example.org/nested", "valueExpression": "claims.nested.list"},
                {"key": "example.org/n", "valueExpression": "string(claims.n)"},
                {"key": "example.org/roles", "valueExpression": "claims.?roles.orValue('none')"},
            ],
        },
        "claimValidationRules": [
            {"expression": "claims.email_verified == true", "message": "unverified"},
            {"expression": "claims.exp - claims.iat <= 86400.0"},
        ],
        "userValidationRules": [
            {"expression": "!user.username.startsWith('system:')", "message": "reserved name"},
            {"expression": "user.groups.all(g, g != 'system:masters')"},
        ],
    });
    let configuration = |entries: Vec<Value>| {
        let issuers = entries.iter().map(|entry| Issuer::new(entry, "plain")).collect();
        Configuration { file: file("v1", &entries), issuers }
    };
    vec![
        (configuration(vec![claims.clone(), email.clone()]), "claims".to_owned()),
        (configuration(vec![email, claims]), "email".to_owned()),
        (configuration(vec![expressions]), "expressions".to_owned()),
    ]
}

fn file(version: &str, jwt: &[Value]) -> Value {
    json!({
        "apiVersion": format!("apiserver.config.k8s.io/{version}"),
        "kind": "AuthenticationConfiguration",
        "jwt": jwt,
    })
}

const KEY_SETS: [&str; 8] = [
    "without kid",
    "one kid",
    "other use and alg",
    "unknown curve",
    "unknown type",
    "secrets",
    "empty",
    "no JSON",
];

impl Configuration {
    /// A valid configuration: with what kube-apiserver would refuse there is nothing to ask tokens.
    pub fn random(index: u64, rng: &mut Rng) -> Self {
        loop {
            let count = [1, 1, 1, 2, 3][rng.usize(..5)];
            let entries: Vec<Value> = (0..count).map(|number| entry(index, number, rng)).collect();
            let issuers = entries
                .iter()
                .map(|entry| {
                    let odd = rng.u8(..5) == 0;
                    Issuer::new(
                        entry,
                        if odd { KEY_SETS[rng.usize(..KEY_SETS.len())] } else { "plain" },
                    )
                })
                .collect();
            let version = ["v1", "v1beta1", "v1alpha1"][rng.usize(..3)];
            let mut file = file(version, &entries);
            match rng.u8(..4) {
                0 => {
                    file["anonymous"] =
                        json!({"enabled": true, "conditions": [{"path": "/livez"}]});
                }
                1 => file["anonymous"] = json!({"enabled": false}),
                _ => {}
            }
            if config::load(file.to_string().as_bytes(), &LoadOptions::default()).is_ok() {
                return Self { file, issuers };
            }
        }
    }

    /// What the endpoints of distributed groups answer for the first issuer, and discovery and keys of who issues the
    /// groups.
    pub fn http(&self, keys: &Keys) -> Map<String, Value> {
        let mut answers = Map::new();
        let issuer = &self.issuers[0];
        let Some(claim) = &issuer.groups_claim else { return answers };
        let discovery = json!({"issuer": GROUPS, "jwks_uri": format!("{GROUPS}/keys")}).to_string();
        answers.insert(format!("{GROUPS}/.well-known/openid-configuration"), discovery.into());
        let set = json!({"keys": [keys.jwk("ec-256")]}).to_string();
        answers.insert(format!("{GROUPS}/keys"), set.into());
        let claims = |aud: &str, exp: i64, groups: Option<&str>| {
            let mut claims = Members::of([
                ("iss", quote(GROUPS)),
                ("aud", quote(aud)),
                ("exp", exp.to_string()),
            ]);
            if let Some(groups) = groups {
                claims.set(claim, groups);
            }
            claims.text()
        };
        let (aud, exp) = (issuer.audiences[0].as_str(), NOW + 60);
        let good = r#"["far","away"]"#;
        for (kind, claims) in [
            ("good", claims(aud, exp, Some(good))),
            ("one", claims(aud, exp, Some("\"alone\""))),
            ("null", claims(aud, exp, Some("null"))),
            ("no-claim", claims(aud, exp, None)),
            ("wrong-audience", claims("other", exp, Some(good))),
            ("expired", claims(aud, NOW - 1, Some(good))),
        ] {
            let token = groups_token(&claims, keys);
            answers.insert(format!("{GROUPS}/{kind}"), token.into());
        }
        let forged = groups_token(&claims(aud, exp, Some(good)), keys).replace("ey", "eY");
        answers.insert(format!("{GROUPS}/forged"), forged.into());
        answers.insert(format!("{GROUPS}/garbage"), "<html>".into());
        answers
    }
}

fn groups_token(claims: &str, keys: &Keys) -> String {
    let signing = Signing::new("ec-256", Algorithm::Es256);
    let header = signing.header_text();
    let input = token::signing_input(header.as_bytes(), claims.as_bytes());
    let signature = keys.sign("ec-256", Algorithm::Es256, &input, &mut Rng::with_seed(0));
    spell("as it is", header.as_bytes(), claims.as_bytes(), &signature.expect("a signature"))
}

fn entry(index: u64, number: u64, rng: &mut Rng) -> Value {
    let mut pick = |from: &[&str]| from[rng.usize(..from.len())].to_owned();
    let shape = pick(&[
        "https://iN-M.example",
        "https://iN-M.example",
        "https://iN-M.example/",
        "https://iN-M.example:8443/realms/x",
        "https://IN-M.Example/A%20b",
    ]);
    let mut url = shape.replace('N', &index.to_string()).replace('M', &number.to_string());
    if index == 5 && number == 0 {
        "https://accounts.google.com".clone_into(&mut url);
    }
    let audiences = [
        vec!["kubernetes"],
        vec!["kubernetes"],
        vec!["https://api.example/"],
        vec!["\u{e9} aud"],
        vec!["one", "two"],
        vec!["b", "a", "c"],
    ];
    let audiences = audiences[rng.usize(..audiences.len())].clone();
    let mut issuer = json!({"url": url, "audiences": audiences});
    if audiences.len() > 1 || rng.u8(..6) == 0 {
        issuer["audienceMatchPolicy"] = "MatchAny".into();
    }
    if rng.u8(..5) == 0 {
        issuer["discoveryURL"] = format!("https://discovery-{index}-{number}.example/x").into();
    }
    if rng.u8(..8) == 0 {
        issuer["egressSelectorType"] = "cluster".into();
    }
    let mut mappings = json!({"username": username(rng)});
    if rng.u8(..5) > 0 {
        mappings["groups"] = groups(rng);
    }
    if rng.bool() {
        mappings["uid"] = uid(rng);
    }
    let mut extra = some(EXTRA, rng);
    if let Some(first) = extra.first_mut() {
        *first = expression(EXTRA, rng);
    }
    if !extra.is_empty() {
        let keys = ["example.org/a", "example.org/b%20c/d", "acme.io/x"].into_iter();
        mappings["extra"] = keys
            .zip(extra)
            .map(|(key, value)| json!({"key": key, "valueExpression": value}))
            .collect();
    }
    let mut entry = json!({"issuer": issuer, "claimMappings": mappings});
    let mut rules: Vec<Value> = some(CLAIM_RULES, rng)
        .into_iter()
        .map(|rule| json!({"expression": rule, "message": format!("rule {rule}")}))
        .collect();
    if rng.u8(..4) == 0 {
        let [claim, value] = REQUIRED[rng.usize(..REQUIRED.len())];
        rules.push(json!({"claim": claim, "requiredValue": value}));
    }
    if !rules.is_empty() {
        entry["claimValidationRules"] = rules.into();
    }
    let rules = some(USER_RULES, rng);
    if !rules.is_empty() {
        entry["userValidationRules"] =
            rules.into_iter().map(|rule| json!({"expression": rule})).collect();
    }
    entry
}

/// None, or up to three different ones.
fn some(from: &[&'static str], rng: &mut Rng) -> Vec<&'static str> {
    let count = [0, 0, 1, 1, 2, 3][rng.usize(..6)];
    let mut chosen = from.to_vec();
    rng.shuffle(&mut chosen);
    chosen.truncate(count);
    chosen
}

fn username(rng: &mut Rng) -> Value {
    if rng.bool() {
        let claim = [
            "sub",
            "sub",
            "email",
            "preferred_username",
            "name",
            "https://example.org/login",
            "nul",
        ];
        let prefix = ["", "oidc:", "https://iss#", " ", "\u{e9}"];
        return json!({"claim": claim[rng.usize(..claim.len())], "prefix": prefix[rng.usize(..prefix.len())]});
    }
    json!({"expression": USERNAMES[rng.usize(..USERNAMES.len())]})
}

fn groups(rng: &mut Rng) -> Value {
    if rng.u8(..3) > 0 {
        let claim = ["groups", "groups", "roles", "sub"];
        let prefix = ["", "", "g:", "https://iss/"];
        return json!({"claim": claim[rng.usize(..claim.len())], "prefix": prefix[rng.usize(..prefix.len())]});
    }
    json!({"expression": expression(&GROUP_LISTS, rng)})
}

fn uid(rng: &mut Rng) -> Value {
    if rng.bool() {
        return json!({ "claim": UID_CLAIMS[rng.usize(..UID_CLAIMS.len())] });
    }
    json!({"expression": expression(&UIDS, rng)})
}

/// One of these, now and then one that gives no text at all.
fn expression(from: &[&'static str], rng: &mut Rng) -> &'static str {
    let from = if rng.u8(..12) == 0 { &MISFITS } else { from };
    from[rng.usize(..from.len())]
}

const MISFITS: [&str; 5] = [
    "claims.n",
    "claims.?missing",
    "claims.nested.deep.x",
    "claims.?groups",
    "[[string(claims.sub)]]",
];

const USERNAMES: [&str; 14] = [
    "claims.sub",
    "'u:' + claims.sub",
    "claims.?preferred_username.orValue(claims.sub)",
    "claims.name.lowerAscii()",
    "claims.email_verified ? claims.email : claims.sub",
    "claims.email_verified == true ? claims.email.split('@')[0] : 'unverified'",
    "string(int(claims.n))",
    "string(claims.n)",
    "claims.nested.tenant + '/' + claims.sub",
    "claims['https://example.org/login']",
    "claims.kubernetes__dot__io.namespace + ':' + claims.kubernetes__dot__io.serviceaccount.name",
    "'%s/%d'.format([string(claims.sub), int(claims.iat)])",
    "claims.?nul.orValue('x')",
    "[string(claims.sub), string(claims.hd)].join('@')",
];

const GROUP_LISTS: [&str; 9] = [
    "claims.groups",
    "claims.?groups.orValue('')",
    "claims.roles.split(',')",
    "claims.realm_access.roles.map(r, 'role:' + r)",
    "dyn(claims.groups).filter(g, g.startsWith('a'))",
    "[string(claims.sub), string(claims.hd)]",
    "claims.nul",
    "has(claims.groups) ? claims.groups : claims.nul",
    "dyn(claims.groups).exists(g, g == 'admins') ? ['admin'] : []",
];

const UID_CLAIMS: [&str; 3] = ["uid", "sub", "jti"];

const UIDS: [&str; 5] = [
    "claims.sub",
    "claims.?uid.orValue('')",
    "string(claims.exp)",
    "claims.nested.tenant",
    "string(timestamp(int(claims.iat)))",
];

const EXTRA: &[&str] = &[
    "claims.hd",
    "[string(claims.hd), string(claims.sub)]",
    "claims.?hd.orValue('')",
    "claims.aud",
    "claims.nested.list",
    "claims.email_verified == true ? 'yes' : 'no'",
    "string(claims.iat)",
    "claims.nul",
    "claims.groups",
    "claims.?realm_access.?roles.orValue('')",
    "dyn(claims.groups).map(g, g.upperAscii())",
    "''",
];

const CLAIM_RULES: &[&str] = &[
    "claims.exp - claims.iat <= 86400.0",
    "claims.hd == 'example.org'",
    "claims.sub != ''",
    "has(claims.sub) && claims.sub.size() < 64",
    "claims.?email_verified.orValue(true) == true",
    "claims.sub.matches('^[a-z0-9:@.-]+$')",
    "!(claims.sub in ['root', 'admin'])",
    "claims.nested.list.exists(x, x == 'b')",
    "claims.n > 5.0 || has(claims.uid)",
    "int(claims.n) % 2 == 0",
    "timestamp(int(claims.exp)) > timestamp(int(claims.iat))",
    "sets.intersects(dyn(claims.groups), ['admins', 'alone'])",
    "claims.email.endsWith('@example.org')",
    "claims.sub.find('[0-9]+') == '' || claims.sub.startsWith('0')",
    "type(claims.groups) == list",
    "claims.hd.lowerAscii() == claims.hd",
];

const USER_RULES: &[&str] = &[
    "!user.username.startsWith('system:')",
    "user.groups.all(g, !g.startsWith('system:'))",
    "user.username.size() < 40",
    "user.groups.size() <= 5",
    "user.uid != 'bad'",
    "!('example.org/a' in user.extra) || user.extra['example.org/a'].size() == 1",
    "user.extra[?'acme.io/x'].orValue([]).size() < 3",
    "user.username == user.username.trim()",
    "'admins' in user.groups || user.username != ''",
];

const REQUIRED: [[&str; 2]; 5] = [
    ["hd", "example.org"],
    ["sub", "jane"],
    ["uid", "u-1"],
    ["email_verified", "true"],
    ["nul", ""],
];
