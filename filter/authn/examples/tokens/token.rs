//! Tokens for a configuration: every oddity one by one, or a random few of them together.

use fastrand::Rng;
use kube_authn::crypto::Algorithm;

use crate::{
    claims::{self, Members},
    configuration::Configuration,
    encode,
    header::{self, Signing},
    keys::Keys,
    odd,
};

/// A token in the making.
struct Draft {
    signing: Signing,
    claims: Members,
    /// Takes the place of the claims' JSON.
    payload: Option<&'static str>,
    signature: &'static str,
    spelling: &'static str,
    /// The payload is signed as it is (RFC 7797).
    unencoded: bool,
}

impl Draft {
    fn new(claims: Members) -> Self {
        let signing = Signing::new("ec-256", Algorithm::Es256);
        let (signature, spelling) = ("as it is", "as it is");
        Self { signing, claims, payload: None, signature, spelling, unencoded: false }
    }

    fn finish(mut self, keys: &Keys, rng: &mut Rng) -> String {
        self.signing = header::who(self.signature, self.signing);
        let header = odd::payload(&self.signing.header_text(), "{}");
        let claims = self.claims.text();
        let payload = self
            .payload
            .map_or(claims.clone().into_bytes(), |template| odd::payload(template, &claims));
        let mut input = signing_input(&header, &payload);
        if self.unencoded {
            input = [encode(&header).into_bytes(), b".".to_vec(), payload.clone()].concat();
        }
        if self.signature == "of the header alone" {
            input.truncate(encode(&header).len());
        }
        let signature = match self.signature {
            "short salt" => keys.sign_with_short_salt(&input, rng),
            how => {
                let signature = keys.sign(self.signing.kid, self.signing.by, &input, rng);
                header::spoiled(how, signature.unwrap_or_default())
            }
        };
        header::spell(self.spelling, &header, &payload, &signature)
    }
}

/// What is signed.
pub fn signing_input(header: &[u8], payload: &[u8]) -> Vec<u8> {
    format!("{}.{}", encode(header), encode(payload)).into_bytes()
}

/// Every oddity once, for the first issuer.
pub fn every(configuration: &Configuration, keys: &Keys, rng: &mut Rng) -> Vec<(String, String)> {
    let issuer = &configuration.issuers[0];
    let plain = || Draft::new(claims::plain(issuer));
    let mut tokens = Vec::new();
    let mut add = |name: String, draft: Draft| tokens.push((name, draft.finish(keys, rng)));
    let with = |change: &dyn Fn(&mut Draft)| {
        let mut draft = plain();
        change(&mut draft);
        draft
    };
    add("plain".to_owned(), plain());
    for name in claims::EVERY.into_iter().filter(|name| issuer.mentions(name) || is_read(name)) {
        add(format!("no {name}"), with(&|draft| draft.claims.remove(name)));
        for value in odd::VALUES {
            add(format!("{name} {value}"), with(&|draft| draft.claims.set(name, value)));
        }
        for in_front in [true, false] {
            let place = if in_front { "first" } else { "last" };
            for value in ["null", "1", "\"x\""] {
                add(
                    format!("{name} twice, {value} {place}"),
                    with(&|draft| draft.claims.add(name, value, in_front)),
                );
            }
        }
    }
    for name in ["exp", "nbf", "iat"] {
        for value in odd::TIMES {
            add(format!("{name} {value}"), with(&|draft| draft.claims.set(name, value)));
        }
    }
    for value in odd::AUDIENCES {
        let value = value.replace("AUD", &issuer.audiences[0]);
        add(format!("aud {value}"), with(&|draft| draft.claims.set("aud", &value)));
    }
    // What follows is the same whatever the mapping.
    if configuration.issuers[0].groups_claim.is_none() {
        return tokens;
    }
    for payload in odd::PAYLOADS.iter().chain(odd::HUGE_PAYLOADS) {
        add(format!("payload {payload}"), with(&|draft| draft.payload = Some(payload)));
    }
    for (name, value) in header::MEMBERS {
        let text = header::member_value(value, keys);
        add(format!("header {name} {value}"), with(&|draft| draft.signing.header.set(name, &text)));
        add(
            format!("header {name} {value}, RSA"),
            with(&|draft| {
                draft.signing = Signing::new("rsa", Algorithm::Rs256);
                draft.signing.header.set(name, &text);
            }),
        );
        if *name == "b64" {
            add(
                format!("header {name} {value}, unencoded"),
                with(&|draft| {
                    draft.signing.header.set(name, &text);
                    draft.unencoded = true;
                }),
            );
        }
    }
    for raw in header::RAW {
        add(
            format!("header {raw}"),
            with(&|draft| {
                let header = draft.signing.header.text();
                let members = header.trim_start_matches('{').trim_end_matches('}');
                let raw = raw.replace("{HEADER}", &header).replace("MEMBERS", members);
                draft.signing.raw_header = Some(raw);
            }),
        );
    }
    for signature in header::SIGNATURES {
        add(format!("signature: {signature}"), with(&|draft| draft.signature = signature));
    }
    for (kid, by) in header::pairs() {
        add(format!("{by} by {kid}"), with(&|draft| draft.signing = Signing::new(kid, by)));
    }
    for spelling in header::SPELLINGS {
        add(spelling.to_string(), with(&|draft| draft.spelling = spelling));
    }
    for kind in claims::DISTRIBUTED {
        for (names, sources) in distributed_pairs() {
            let (names, sources) = claims::distributed("groups", kind, names, sources);
            add(
                format!("groups at {kind}, names {names}, sources {sources}"),
                with(&|draft| {
                    draft.claims.remove("groups");
                    draft.claims.set("_claim_names", &names);
                    draft.claims.set("_claim_sources", &sources);
                }),
            );
            if kind != claims::DISTRIBUTED[0] {
                break;
            }
        }
    }
    tokens
}

/// The usual pair first.
fn distributed_pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    let (names, sources) = (claims::NAMES, claims::SOURCES);
    let (usual_name, usual_source) = (names[names.len() - 1], sources[sources.len() - 1]);
    std::iter::once((usual_name, usual_source))
        .chain(names.into_iter().map(move |names| (names, usual_source)))
        .chain(sources.into_iter().map(move |sources| (usual_name, sources)))
}

/// Claims that are read whatever the configuration says.
fn is_read(name: &str) -> bool {
    ["iss", "sub", "nonce", "at_hash", "jti"].contains(&name)
}

/// A good token, or one with up to three things wrong.
pub fn random(configuration: &Configuration, keys: &Keys, rng: &mut Rng) -> (String, String) {
    let issuer = &configuration.issuers
        [rng.usize(..configuration.issuers.len() * 2) % configuration.issuers.len()];
    let mut draft = Draft::new(claims::good(issuer, rng));
    draft.signing = Signing::good(rng);
    let mut notes = Vec::new();
    let pick = |rng: &mut Rng, from: &'static [&'static str]| from[rng.usize(..from.len())];
    for _ in 0..[0, 0, 0, 1, 1, 1, 2, 3][rng.usize(..8)] {
        match rng.u8(..20) {
            0 => {
                draft.payload = Some(pick(rng, odd::PAYLOADS));
                notes.push(format!("payload {}", draft.payload.unwrap_or_default()));
            }
            1 => {
                let (name, value) = header::MEMBERS[rng.usize(..header::MEMBERS.len())];
                draft.signing.header.set(name, &header::member_value(value, keys));
                notes.push(format!("header {name} {value}"));
            }
            2 => {
                draft.signature = pick(rng, header::SIGNATURES);
                notes.push(format!("signature: {}", draft.signature));
            }
            3 => {
                draft.spelling = pick(rng, header::SPELLINGS);
                notes.push(draft.spelling.to_owned());
            }
            _ => notes.push(claims::spoil(&mut draft.claims, configuration, rng)),
        }
    }
    (notes.join("; "), draft.finish(keys, rng))
}
