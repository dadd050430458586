//! The header of a token, its signature, and how all three parts are spelled.

use fastrand::Rng;
use kube_authn::crypto::Algorithm;

use crate::{
    claims::Members,
    encode,
    keys::{KEYS, Keys},
};

/// Who signs and what the header says of it.
#[derive(Clone)]
pub struct Signing {
    pub kid: &'static str,
    pub by: Algorithm,
    pub header: Members,
    /// Takes the place of the header's JSON.
    pub raw_header: Option<String>,
}

impl Signing {
    pub fn new(kid: &'static str, by: Algorithm) -> Self {
        let header = Members::of([("alg", format!("\"{by}\"")), ("kid", format!("\"{kid}\""))]);
        Self { kid, by, header, raw_header: None }
    }

    /// A key of the set and an algorithm of it: mostly ES256, whose signatures are short.
    pub fn good(rng: &mut Rng) -> Self {
        match rng.u8(..24) {
            0 => Self::new("rsa", Algorithm::Rs256),
            1 => Self::new("rsa", RSA[rng.usize(..RSA.len())]),
            2 => Self::new("ec-384", Algorithm::Es384),
            3 => Self::new("ec-521", Algorithm::Es512),
            _ => Self::new("ec-256", Algorithm::Es256),
        }
    }

    pub fn header_text(&self) -> String {
        self.raw_header.clone().unwrap_or_else(|| self.header.text())
    }
}

const RSA: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

/// Members set in the header: name and value, both as they come.
pub const MEMBERS: &[(&str, &str)] = &[
    ("alg", "\"none\""),
    ("alg", "\"None\""),
    ("alg", "\"HS256\""),
    ("alg", "\"EdDSA\""),
    ("alg", "\"ES256K\""),
    ("alg", "\"RS256\""),
    ("alg", "\"ES384\""),
    ("alg", "\"es256\""),
    ("alg", "\"ES256 \""),
    ("alg", "\"\""),
    ("alg", "null"),
    ("alg", "1"),
    ("alg", "[\"ES256\"]"),
    ("kid", "\"\""),
    ("kid", "\"unknown\""),
    ("kid", "\"rsa\""),
    ("kid", "\"EC-256\""),
    ("kid", "\"k\""),
    ("kid", "null"),
    ("kid", "1"),
    ("kid", "{}"),
    ("typ", "\"JWT\""),
    ("typ", "\"at+jwt\""),
    ("typ", "1"),
    ("typ", "null"),
    ("cty", "\"JWT\""),
    ("zip", "\"DEF\""),
    ("enc", "\"A128GCM\""),
    ("crit", "[]"),
    ("crit", "null"),
    ("crit", "[\"b64\"]"),
    ("crit", "[\"exp\"]"),
    ("crit", "[\"b64\",\"exp\"]"),
    ("crit", "\"b64\""),
    ("crit", "[1]"),
    ("crit", "{}"),
    ("b64", "true"),
    ("b64", "false"),
    ("b64", "null"),
    ("b64", "\"false\""),
    ("b64", "0"),
    ("nonce", "\"n\""),
    ("nonce", "1"),
    ("jku", "\"https://attacker.example/keys\""),
    ("jku", "1"),
    ("x5u", "\"https://attacker.example/key\""),
    ("x5c", "[]"),
    ("x5c", "null"),
    ("x5c", "[\"AAAA\"]"),
    ("x5c", "\"AAAA\""),
    ("x5c", "[1]"),
    ("x5c", "[null]"),
    ("x5t", "\"AAAA\""),
    ("jwk", "null"),
    ("jwk", "{}"),
    ("jwk", "1"),
    ("jwk", "PUBLIC"),
    ("jwk", "PRIVATE"),
    ("jwk", "{\"kty\":\"oct\",\"k\":\"AAAA\"}"),
    ("jwk", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}"),
    ("jwk", "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}"),
    ("ALG", "\"none\""),
    ("Kid", "\"unknown\""),
    ("x", "1e400"),
    ("x", "{\"a\":1,\"a\":2}"),
    ("x", "[{\"a\":[1,{\"b\":null}]}]"),
    ("x", "123456789012345678901234567890"),
    ("x", "\"\\ud800\""),
];

/// Texts in place of the header's object `{HEADER}`.
pub const RAW: &[&str] = &[
    "",
    "null",
    "[]",
    "1",
    "\"\"",
    "{}",
    "{HEADER}{}",
    "{HEADER} ",
    "\n{HEADER}",
    "{HEADER},",
    "\u{feff}{HEADER}",
    "{MEMBERS,}",
    "{MEMBERS,\"alg\":\"ES256\"}",
    "{MEMBERS,\"x\":1,\"x\":1}",
    "{MEMBERS,\"a\":'b'}",
    "{MEMBERS,\"a\":\"\u{1}\"}",
    "{MEMBERS,\"a\":01}",
    "{MEMBERS,\"a\":DEEP40}",
    "{MEMBERS,\"a\":INVALID}",
    "{MEMBERS,\"a\":\"INVALID\"}",
];

/// What may be wrong with the signature.
pub const SIGNATURES: &[&str] = &[
    "flipped",
    "shorter",
    "longer",
    "empty",
    "zeros",
    "DER",
    "one bit",
    "minus s",
    "other key",
    "other EC key",
    "short key",
    "of the header alone",
    "wider algorithm",
    "widest algorithm",
    "P-384 wider",
    "PSS for PKCS1",
    "PKCS1 for PSS",
    "short salt",
    "HMAC alg with a good signature",
    "no kid",
    "kid of another type",
];

/// The signature over `input`, spoiled. Some change who signs, and are of no use any more when the header is made: see
/// [`who`].
pub fn spoiled(how: &str, mut signature: Vec<u8>) -> Vec<u8> {
    match how {
        "flipped" => signature.iter_mut().for_each(|byte| *byte ^= 0xff),
        "one bit" => signature.iter_mut().take(1).for_each(|byte| *byte ^= 1),
        "shorter" => drop(signature.pop()),
        "longer" => signature.push(0),
        "empty" => signature.clear(),
        "zeros" => signature.fill(0),
        "DER" => {
            signature = kube_authn::crypto::ecdsa_signature_der(&signature).unwrap_or_default();
        }
        "minus s" => signature = negated(&signature),
        _ => {}
    }
    signature
}

/// Who signs, by which algorithm, and what the header says.
pub fn who(how: &str, usual: Signing) -> Signing {
    let called = |mut signing: Signing, name: &str, value: &str| {
        signing.header.set(name, value);
        signing
    };
    match how {
        "other key" => called(Signing::new("other", Algorithm::Rs256), "kid", "\"rsa\""),
        "other EC key" => called(Signing::new("ec-other", Algorithm::Es256), "kid", "\"ec-256\""),
        "short key" => Signing::new("short", Algorithm::Rs256),
        "wider algorithm" => Signing::new("ec-256", Algorithm::Es384),
        "widest algorithm" => Signing::new("ec-256", Algorithm::Es512),
        "P-384 wider" => Signing::new("ec-384", Algorithm::Es512),
        "PSS for PKCS1" => called(Signing::new("rsa", Algorithm::Ps256), "alg", "\"RS256\""),
        "PKCS1 for PSS" => called(Signing::new("rsa", Algorithm::Rs256), "alg", "\"PS256\""),
        "short salt" => Signing::new("rsa", Algorithm::Ps256),
        "HMAC alg with a good signature" => called(usual, "alg", "\"HS256\""),
        "no kid" => {
            let mut signing = usual;
            signing.header.remove("kid");
            signing
        }
        "kid of another type" => called(usual, "kid", "\"rsa\""),
        _ => usual,
    }
}

/// The signature with `n - s` in place of `s`, which is as good for ECDSA.
fn negated(signature: &[u8]) -> Vec<u8> {
    let Ok(parsed) = p256::ecdsa::Signature::from_slice(signature) else {
        return signature.to_vec();
    };
    let (r, s) = parsed.split_scalars();
    let negated = p256::ecdsa::Signature::from_scalars(r, -s);
    negated.map_or(signature.to_vec(), |signature| signature.to_bytes().to_vec())
}

/// How a token's parts may be spelled.
pub const SPELLINGS: &[&str] = &[
    "padded header",
    "padded payload",
    "padded signature",
    "standard alphabet",
    "space in header",
    "space in payload",
    "space in signature",
    "newline in header",
    "newline in payload",
    "newline in signature",
    "no-break space in header",
    "unused bits in header",
    "unused bits in payload",
    "unused bits in signature",
    "one part",
    "two parts",
    "four parts",
    "five parts",
    "empty header",
    "empty payload",
    "empty signature",
    "trailing dot",
    "leading dot",
    "leading space",
    "trailing space",
    "trailing newline",
    "leading brace",
    "JSON serialization",
    "doubled payload",
    "comma",
    "nothing",
    "reversed",
];

/// The compact form of the three parts, spoiled.
pub fn spell(how: &str, header: &[u8], payload: &[u8], signature: &[u8]) -> String {
    let (mut h, mut p, mut s) = (encode(header), encode(payload), encode(signature));
    match how {
        "padded header" => h += padding(&h),
        "padded payload" => p += padding(&p),
        "padded signature" => s += padding(&s),
        "standard alphabet" => {
            for part in [&mut h, &mut p, &mut s] {
                *part = part.replace('-', "+").replace('_', "/");
            }
        }
        "space in header" => h.insert(4, ' '),
        "space in payload" => p.insert(4, ' '),
        "space in signature" => s.insert(4, ' '),
        "newline in header" => h.insert_str(4, "\r\n"),
        "newline in payload" => p.insert_str(4, "\r\n"),
        "newline in signature" => s.insert_str(4, "\r\n"),
        "no-break space in header" => h.insert(4, '\u{a0}'),
        "unused bits in header" => unused_bits(&mut h),
        "unused bits in payload" => unused_bits(&mut p),
        "unused bits in signature" => unused_bits(&mut s),
        "empty header" => h.clear(),
        "empty payload" => p.clear(),
        "empty signature" => s.clear(),
        "doubled payload" => p = format!("{p}{p}"),
        _ => {}
    }
    match how {
        "one part" => p,
        "two parts" => format!("{h}.{p}"),
        "four parts" => format!("{h}.{p}.{s}.{s}"),
        "five parts" => format!("{h}.{p}.{s}.{s}.{s}"),
        "trailing dot" => format!("{h}.{p}.{s}."),
        "leading dot" => format!(".{h}.{p}.{s}"),
        "leading space" => format!(" {h}.{p}.{s}"),
        "trailing space" => format!("{h}.{p}.{s} "),
        "trailing newline" => format!("{h}.{p}.{s}\n"),
        "leading brace" => format!("{{{h}.{p}.{s}"),
        "JSON serialization" => {
            format!(r#"{{"protected":"{h}","payload":"{p}","signature":"{s}"}}"#)
        }
        "comma" => format!("{h}.{p}.{s},{h}.{p}.{s}"),
        "nothing" => String::new(),
        "reversed" => format!("{s}.{p}.{h}"),
        _ => format!("{h}.{p}.{s}"),
    }
}

fn padding(part: &str) -> &'static str {
    ["", "=", "==", "="][part.len() % 4]
}

/// Sets bits of the last character that stand for nothing.
fn unused_bits(part: &mut String) {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if part.len().is_multiple_of(4) {
        return;
    }
    let last = part.pop().expect("a character");
    let at = ALPHABET.iter().position(|&known| char::from(known) == last).expect("base64url");
    part.push(char::from(ALPHABET[at | 1]));
}

/// The header member's value with its words replaced.
pub fn member_value(value: &str, keys: &Keys) -> String {
    match value {
        "PUBLIC" => keys.jwk("ec-other").to_string(),
        "PRIVATE" => keys.private_jwk().to_string(),
        value => value.to_owned(),
    }
}

/// Every pair of a key and an algorithm; ML-DSA has questions of its own.
pub fn pairs() -> impl Iterator<Item = (&'static str, Algorithm)> {
    let algorithms = || Algorithm::ALL.into_iter().filter(|by| by.hash().is_some());
    KEYS.into_iter().flat_map(move |(kid, _)| algorithms().map(move |by| (kid, by)))
}
