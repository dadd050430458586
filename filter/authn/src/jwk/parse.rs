//! The members of a JWK: which must be there and what they must look like. Source: go-jose v2.6.3, `jwk.go`
//! (`rawJSONWebKey`, `UnmarshalJSON`); for AKP go-jose v4.1.9, `mldsa.go` (`mldsaParseJWK`).

use std::sync::Arc;

use go_compat::{
    base64,
    json::{Object, Value},
};

use kube_rules::{Difference, Rules};

use super::{Jwk, JwkKey, KeyKind, KeyProblem, Purpose, RawPublicKey, chain::Chain};
use crate::{
    crypto::{Algorithm, SoftwareKey},
    key_der,
};

/// First byte of an uncompressed point (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;

impl Jwk {
    /// Reads a key as the go-jose of a version of Kubernetes does.
    pub(crate) fn parse(members: &Object, rules: Rules) -> Result<Self, KeyProblem> {
        if members.has_duplicates() {
            return Err(KeyProblem::DuplicateMember);
        }
        let fields = Fields { members };
        let kty = fields.string("kty")?;
        let key_id = fields.string("kid")?.to_owned();
        fields.check_unused(rules)?;
        let chain = Chain::parse(&fields)?;
        let private = fields.bytes("d")?.is_some();
        let key = match kty {
            "RSA" | "EC" if private => JwkKey::Other(KeyProblem::Private),
            "RSA" => JwkKey::Public(RawPublicKey::Rsa {
                key_id,
                modulus: strip_zeros(fields.required_bytes("n")?),
                exponent: strip_zeros(fields.required_bytes("e")?),
            }),
            "EC" => JwkKey::Public(fields.nist_key(key_id)?),
            "OKP" if fields.string("crv")? == "Ed25519" => {
                fields.required_bytes("x")?;
                JwkKey::Other(if private { KeyProblem::Private } else { KeyProblem::Ed25519 })
            }
            "OKP" => return Err(KeyProblem::UnknownCurve(fields.string("crv")?.to_owned())),
            "oct" => {
                fields.required_bytes("k")?;
                JwkKey::Other(KeyProblem::Symmetric)
            }
            "AKP" if rules.has(Difference::MlDsa) => fields.ml_dsa_key(key_id)?,
            other => return Err(KeyProblem::UnknownType(other.to_owned())),
        };
        if let JwkKey::Public(key) = &key {
            chain.check(key)?;
        }
        let purpose = Purpose {
            algorithm: fields.string("alg")?.to_owned(),
            usage: fields.string("use")?.to_owned(),
        };
        Ok(Self { key, purpose })
    }
}

/// The members, each read as the type of its Go field.
pub(super) struct Fields<'a> {
    members: &'a Object,
}

impl<'a> Fields<'a> {
    /// A string member; absent and `null` are the empty string.
    pub(super) fn string(&self, name: &'static str) -> Result<&'a str, KeyProblem> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(KeyProblem::Malformed(name)),
        }
    }

    /// A list of strings; absent and `null` are the empty list.
    pub(super) fn strings(&self, name: &'static str) -> Result<Vec<&'a str>, KeyProblem> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| match item {
                    Value::String(text) => Ok(&**text),
                    Value::Null => Ok(""),
                    _ => Err(KeyProblem::Malformed(name)),
                })
                .collect(),
            Some(_) => Err(KeyProblem::Malformed(name)),
        }
    }

    /// Members that spoil the key if they are malformed, though nothing is made of them.
    fn check_unused(&self, rules: Rules) -> Result<(), KeyProblem> {
        self.string("crv")?;
        for name in ["k", "x", "y", "n", "e", "p", "q", "dp", "dq", "qi"] {
            self.bytes(name)?;
        }
        if rules.has(Difference::MlDsa) {
            self.bytes("pub")?;
            self.bytes("priv")?;
        }
        match self.members.get("x5u") {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(KeyProblem::CertificateUrl),
        }
    }

    fn bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, KeyProblem> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                let decoded = base64::decode(text.as_bytes());
                decoded.map(Some).map_err(|_| KeyProblem::Malformed(name))
            }
            Some(_) => Err(KeyProblem::Malformed(name)),
        }
    }

    fn required_bytes(&self, name: &'static str) -> Result<Vec<u8>, KeyProblem> {
        self.bytes(name)?.ok_or(KeyProblem::Missing(name))
    }

    fn nist_key(&self, key_id: String) -> Result<RawPublicKey, KeyProblem> {
        let (kind, length) = match self.string("crv")? {
            "P-256" => (KeyKind::P256, 32),
            "P-384" => (KeyKind::P384, 48),
            "P-521" => (KeyKind::P521, 66),
            other => return Err(KeyProblem::UnknownCurve(other.to_owned())),
        };
        let (x, y) = (self.required_bytes("x")?, self.required_bytes("y")?);
        for (name, coordinate) in [("x", &x), ("y", &y)] {
            if coordinate.len() != length {
                return Err(KeyProblem::Length(name));
            }
        }
        let point = [&[UNCOMPRESSED][..], &x, &y].concat();
        let software = SoftwareKey::nist(kind, &point).ok_or(KeyProblem::InvalidPoint(kind))?;
        let spki_der = key_der::nist(kind, &point).map_err(|_| KeyProblem::InvalidPoint(kind))?;
        Ok(RawPublicKey::Nist { key_id, kind, spki_der, software: Arc::new(software) })
    }

    /// A key of RFC 9964, section 3: `alg` says which, and is required.
    fn ml_dsa_key(&self, key_id: String) -> Result<JwkKey, KeyProblem> {
        let kind = match self.string("alg")? {
            "" => return Err(KeyProblem::Missing("alg")),
            name => match name.parse() {
                Ok(Algorithm::MlDsa44) => KeyKind::MlDsa44,
                Ok(Algorithm::MlDsa65) => KeyKind::MlDsa65,
                Ok(Algorithm::MlDsa87) => KeyKind::MlDsa87,
                _ => return Err(KeyProblem::UnknownAlgorithm(name.to_owned())),
            },
        };
        let encoded = self.required_bytes("pub")?;
        let software = SoftwareKey::ml_dsa(kind, &encoded).ok_or(KeyProblem::Length("pub"))?;
        if self.bytes("priv")?.is_some() {
            return Ok(JwkKey::Other(KeyProblem::Private));
        }
        let spki_der = key_der::ml_dsa(kind, &encoded).map_err(|_| KeyProblem::Malformed("pub"))?;
        let software = Arc::new(software);
        Ok(JwkKey::Public(RawPublicKey::MlDsa { key_id, kind, spki_der, software }))
    }
}

fn strip_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.drain(..zeros);
    number
}
