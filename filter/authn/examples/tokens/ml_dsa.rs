//! Tokens by ML-DSA (RFC 9964): with keys of the issuer's key set, and with the same keys given to the authenticator.

use fastrand::Rng;
use kube_authn::crypto::Algorithm;
use ml_dsa::{B32, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, SigningKey, signature::Signer};
use serde_json::{Value, json};

use crate::{NOW, NOW_TEXT, encode, keys::Keys, token::signing_input};

const ISSUER: &str = "https://ml-dsa.example";
const ALGORITHMS: [Algorithm; 3] = [Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87];

/// Each way of having the keys, and each kind of key set.
pub fn questions(keys: &Keys, rng: &mut Rng) -> Vec<Value> {
    let good: Vec<Value> =
        ALGORITHMS.into_iter().map(jwk).chain([keys.jwk("ec-256"), keys.jwk("rsa")]).collect();
    let odd: Vec<Value> = odd_keys(keys).into_iter().chain([keys.jwk("ec-256")]).collect();
    let tokens = tokens(keys, rng);
    let odd_tokens: Vec<Value> = odd
        .iter()
        .filter_map(|key| key["kid"].as_str())
        .map(|kid| {
            let by = if kid == "ec-256" { Algorithm::Es256 } else { Algorithm::MlDsa44 };
            let header = json!({"alg": by.as_str(), "kid": kid});
            json!({"name": format!("by {kid}"), "token": token(&header, by, keys, rng)})
        })
        .collect();
    let mut questions = Vec::new();
    for (given, place) in [(false, "of the issuer"), (true, "given")] {
        for (kind, set, tokens) in [("keys", &good, &tokens), ("odd keys", &odd, &odd_tokens)] {
            let mut question = json!({
                "name": format!("ML-DSA, {kind} {place}"),
                "config": {
                    "apiVersion": "apiserver.config.k8s.io/v1",
                    "kind": "AuthenticationConfiguration",
                    "jwt": [{
                        "issuer": {"url": ISSUER, "audiences": ["kubernetes"]},
                        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
                    }],
                },
                "jwks": {ISSUER: json!({"keys": set}).to_string()},
                "time": NOW_TEXT,
                "tokens": tokens,
            });
            if given {
                question["given"] = true.into();
            }
            questions.push(question);
        }
    }
    questions
}

fn tokens(keys: &Keys, rng: &mut Rng) -> Vec<Value> {
    let mut tokens = Vec::new();
    for by in ALGORITHMS {
        let kid = by.as_str();
        let mut add = |name: String, token: String| {
            tokens.push(json!({"name": name, "token": token}));
        };
        let header = json!({"alg": by.as_str(), "kid": kid});
        let good = token(&header, by, keys, rng);
        add(by.to_string(), good.clone());
        for (name, header) in [
            ("no kid", json!({"alg": by.as_str()})),
            ("unknown kid", json!({"alg": by.as_str(), "kid": "x"})),
            ("kid of an EC key", json!({"alg": by.as_str(), "kid": "ec-256"})),
            ("in small letters", json!({"alg": by.as_str().to_lowercase(), "kid": kid})),
            ("called ML-DSA", json!({"alg": "ML-DSA", "kid": kid})),
            ("called ES256", json!({"alg": "ES256", "kid": kid})),
            ("called RS256, without kid", json!({"alg": "RS256"})),
            ("its own key in the header", json!({"alg": by.as_str(), "jwk": jwk(by)})),
        ] {
            add(format!("{by}, {name}"), token(&header, by, keys, rng));
        }
        for other in ALGORITHMS.into_iter().filter(|other| *other != by) {
            let header = json!({"alg": by.as_str(), "kid": kid});
            add(format!("{by}, signed by {other}"), token(&header, other, keys, rng));
            let header = json!({"alg": by.as_str(), "kid": other.as_str()});
            add(format!("{by}, kid of {other}"), token(&header, by, keys, rng));
        }
        let (input, signature) = good.rsplit_once('.').expect("three parts");
        let signature = crate::decode(signature);
        let spoiled = |at: usize| {
            let mut signature = signature.clone();
            signature[at] ^= 1;
            signature
        };
        for (name, signature) in [
            ("first bit", spoiled(0)),
            ("a bit in the middle", spoiled(signature.len() / 2)),
            // The hints are at the end: which are set, and how many of each polynomial.
            ("last bit", spoiled(signature.len() - 1)),
            ("a byte less", signature[1..].to_vec()),
            ("a byte more", [&signature[..], &[0]].concat()),
            ("no signature", Vec::new()),
            ("zeros", vec![0; signature.len()]),
            ("ones", vec![0xff; signature.len()]),
        ] {
            add(format!("{by}, {name}"), format!("{input}.{}", encode(&signature)));
        }
        let (header, claims) = input.split_once('.').expect("two parts");
        let more = encode(&[&crate::decode(claims)[..], b" "].concat());
        add(format!("{by}, other claims"), format!("{header}.{more}.{}", encode(&signature)));
    }
    for by in [Algorithm::Es256, Algorithm::Rs256] {
        let kid = if by == Algorithm::Es256 { "ec-256" } else { "rsa" };
        for named in [kid, "ML-DSA-44"] {
            let header = json!({"alg": by.as_str(), "kid": named});
            let token = token(&header, by, keys, rng);
            tokens.push(json!({"name": format!("{by}, kid {named}"), "token": token}));
        }
    }
    tokens
}

/// A token whose claims are good.
fn token(header: &Value, by: Algorithm, keys: &Keys, rng: &mut Rng) -> String {
    let claims = json!({"iss": ISSUER, "aud": "kubernetes", "sub": "ada", "exp": NOW + 60});
    let input = signing_input(header.to_string().as_bytes(), claims.to_string().as_bytes());
    let signature = match by {
        Algorithm::MlDsa44 => sign::<MlDsa44>(&input),
        Algorithm::MlDsa65 => sign::<MlDsa65>(&input),
        Algorithm::MlDsa87 => sign::<MlDsa87>(&input),
        Algorithm::Es256 => keys.sign("ec-256", by, &input, rng).expect("an EC key signs"),
        _ => keys.sign("rsa", by, &input, rng).expect("an RSA key signs"),
    };
    format!("{}.{}", String::from_utf8(input).expect("base64"), encode(&signature))
}

fn key<P: MlDsaParams>() -> SigningKey<P> {
    SigningKey::from_seed(&B32::from([7; 32]))
}

fn sign<P: MlDsaParams>(input: &[u8]) -> Vec<u8> {
    key::<P>().sign(input).encode().to_vec()
}

fn jwk(by: Algorithm) -> Value {
    let encoded = match by {
        Algorithm::MlDsa65 => key::<MlDsa65>().expanded_key().verifying_key().encode().to_vec(),
        Algorithm::MlDsa87 => key::<MlDsa87>().expanded_key().verifying_key().encode().to_vec(),
        _ => key::<MlDsa44>().expanded_key().verifying_key().encode().to_vec(),
    };
    json!({"kty": "AKP", "alg": by.as_str(), "kid": by.as_str(), "pub": encode(&encoded)})
}

/// Keys for ML-DSA-44 with something odd about them, by which their `kid` calls them.
fn odd_keys(keys: &Keys) -> Vec<Value> {
    let key = |kid: &str, member: &str, value: Value| {
        let mut key = jwk(Algorithm::MlDsa44);
        key["kid"] = kid.into();
        key[member] = value;
        key.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        key
    };
    let public = jwk(Algorithm::MlDsa44)["pub"].as_str().unwrap_or_default().to_owned();
    let mut odd = vec![
        key("no alg", "alg", Value::Null),
        key("alg of another size", "alg", "ML-DSA-65".into()),
        key("unknown alg", "alg", "ML-DSA-128".into()),
        key("alg of another kind", "alg", "ES256".into()),
        key("no pub", "pub", Value::Null),
        key("short pub", "pub", public[..public.len() - 4].into()),
        key("long pub", "pub", format!("{public}AAAA").into()),
        key("empty pub", "pub", "".into()),
        key("padded pub", "pub", format!("{public}=").into()),
        key("pub of another type", "pub", 1.into()),
        key("private", "priv", encode(&[7; 32]).into()),
        key("another's priv", "priv", encode(&[8; 32]).into()),
        key("another curve", "crv", "P-256".into()),
        key("for encryption", "use", "enc".into()),
        key("other kty", "kty", "akp".into()),
    ];
    let mut other = keys.jwk("ec-256");
    other["kid"] = "EC key for ML-DSA-44".into();
    other["alg"] = "ML-DSA-44".into();
    odd.push(other);
    let mut other = keys.jwk("ec-256");
    other["kid"] = "EC key with an odd pub".into();
    other["pub"] = 1.into();
    odd.push(other);
    odd
}
