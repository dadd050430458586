//! Strict decoding of the file, as k8s.io/apimachinery's JSON serializer does it: unknown and duplicate fields are errors,
//! names are case-sensitive, and a wrong type is reported before either. Source: apimachinery
//! `pkg/runtime/serializer/json`, sigs.k8s.io/json.

use std::fmt::Write;

use go_compat::{
    json::{self, Limits, Object, Value, field_matches},
    strconv,
};

use super::{
    error::{ConfigError, ConfigErrors},
    raw,
};

const GROUP: &str = "apiserver.config.k8s.io";
const KIND: &str = "AuthenticationConfiguration";

/// Nothing in the file is nested more than ten levels deep. The bound keeps the stack small, also in Wasm.
const LIMITS: Limits = Limits { depth: 100, values: 1_000_000 };

/// Strict errors that are listed at most.
const MAX_STRICT_ERRORS: usize = 100;

/// Decodes a JSON file.
pub(super) fn decode_json(file: &[u8]) -> Result<raw::AuthenticationConfiguration, ConfigErrors> {
    if file.is_empty() {
        return Err(decode_error("empty config data"));
    }
    let document =
        json::parse(file, LIMITS).map_err(|error| decode_error(format!("{PARSE_ERROR}{error}")))?;
    decode_document(&document, file, &[])
}

const PARSE_ERROR: &str = "couldn't get version/kind; json parse error: ";

/// Decodes a parsed file. `file` is what error texts quote, `strict_errors` what was found before.
pub(super) fn decode_document(
    document: &Value,
    file: &[u8],
    strict_errors: &[String],
) -> Result<raw::AuthenticationConfiguration, ConfigErrors> {
    let version = version(document, file)?;
    let mut decoder = Decoder {
        version,
        strict_path: String::new(),
        fields: Vec::new(),
        strict_errors: strict_errors.to_vec(),
        type_error: None,
    };
    let mut config = raw::AuthenticationConfiguration::default();
    config.decode(document, "", &mut decoder);
    if let Some(error) = decoder.type_error {
        return Err(decode_error(error));
    }
    if !decoder.strict_errors.is_empty() {
        let errors = decoder.strict_errors.join(", ");
        return Err(decode_error(format!("strict decoding error: {errors}")));
    }
    Ok(config)
}

fn decode_error(text: impl Into<String>) -> ConfigErrors {
    ConfigError::Decode(text.into()).into()
}

/// The version of the file's types, once its group, version and kind are known to be ours.
fn version(document: &Value, file: &[u8]) -> Result<&'static str, ConfigErrors> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    match document {
        Value::Object(members) => {
            api_version = meta_field(members, "apiVersion")?;
            kind = meta_field(members, "kind")?;
        }
        Value::Null => {}
        other => {
            return Err(decode_error(format!(
                "{PARSE_ERROR}json: cannot unmarshal {}, the file must be an object with apiVersion and kind",
                other.kind()
            )));
        }
    }
    let (group, version) = match api_version.split_once('/') {
        None => ("", api_version.as_str()),
        Some((_, rest)) if rest.contains('/') => {
            return Err(decode_error(format!("unexpected GroupVersion string: {api_version}")));
        }
        Some(parts) => parts,
    };
    let quoted = String::from_utf8_lossy(file);
    if kind.is_empty() {
        return Err(decode_error(format!("Object 'Kind' is missing in '{quoted}'")));
    }
    if version.is_empty() {
        return Err(decode_error(format!("Object 'apiVersion' is missing in '{quoted}'")));
    }
    let known = ["v1", "v1beta1", "v1alpha1"].into_iter().find(|known| *known == version);
    match known {
        Some(version) if group == GROUP && kind == KIND => Ok(version),
        _ => {
            let group_version =
                if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            Err(decode_error(format!(
                "no kind {} is registered for version {}, only {KIND} of {GROUP}/v1, v1beta1 and v1alpha1",
                strconv::quote(&kind),
                strconv::quote(&group_version)
            )))
        }
    }
}

/// `apiVersion` or `kind`, which are looked up with Go's own decoder: names fold.
fn meta_field(members: &Object, field: &str) -> Result<String, ConfigErrors> {
    let mut found = String::new();
    let lower = field.to_ascii_lowercase();
    for (_, value) in members.members().filter(|(name, _)| field_matches(name, &lower)) {
        match value {
            Value::String(text) => found = text.to_string(),
            Value::Null => {}
            other => {
                return Err(decode_error(format!(
                    "{PARSE_ERROR}json: cannot unmarshal {} into Go struct field .{field} of type string",
                    other.kind()
                )));
            }
        }
    }
    Ok(found)
}

/// Where decoding is, and what it found wrong so far.
struct Decoder {
    version: &'static str,
    /// Path with indices, as strict errors have it.
    strict_path: String,
    /// Path of field names, as type errors have it.
    fields: Vec<&'static str>,
    strict_errors: Vec<String>,
    /// The first type error: it hides all strict ones.
    type_error: Option<String>,
}

impl Decoder {
    fn wrong_type(&mut self, value: &Value, structure: &str, go_type: &str) {
        let got = value.kind();
        let field = self.fields.join(".");
        self.type_error.get_or_insert_with(|| {
            format!(
                "json: cannot unmarshal {got} into Go struct field {structure}.{field} of type {go_type}"
            )
        });
    }

    /// Go's type of the string field that is being decoded: two have types of their own.
    fn string_type(&self) -> String {
        match self.fields.last() {
            Some(&"audienceMatchPolicy") => format!("{}.AudienceMatchPolicyType", self.version),
            Some(&"egressSelectorType") => format!("{}.EgressSelectorType", self.version),
            _ => "string".to_owned(),
        }
    }

    fn enter_index(&mut self, index: usize) {
        // Writing to a String cannot fail.
        let _ = write!(self.strict_path, "[{index}]");
    }

    fn strict(&mut self, what: &str, name: &str) {
        let dot = if self.strict_path.is_empty() { "" } else { "." };
        let error =
            format!("{what} {}", strconv::quote(&format!("{}{dot}{name}", self.strict_path)));
        if self.strict_errors.len() < MAX_STRICT_ERRORS && !self.strict_errors.contains(&error) {
            self.strict_errors.push(error);
        }
    }
}

/// A Go type that JSON is decoded into. `structure` is the Go struct that holds the field.
trait Decode {
    fn decode(&mut self, value: &Value, structure: &str, decoder: &mut Decoder);
    fn go_type(version: &str) -> String;
}

impl Decode for String {
    fn decode(&mut self, value: &Value, structure: &str, decoder: &mut Decoder) {
        match value {
            Value::String(text) => *self = text.to_string(),
            Value::Null => {}
            other => {
                let go_type = decoder.string_type();
                decoder.wrong_type(other, structure, &go_type);
            }
        }
    }

    fn go_type(_: &str) -> String {
        "string".to_owned()
    }
}

impl Decode for bool {
    fn decode(&mut self, value: &Value, structure: &str, decoder: &mut Decoder) {
        match value {
            Value::Bool(value) => *self = *value,
            Value::Null => {}
            other => decoder.wrong_type(other, structure, "bool"),
        }
    }

    fn go_type(_: &str) -> String {
        "bool".to_owned()
    }
}

impl<T: Decode + Default> Decode for Option<T> {
    fn decode(&mut self, value: &Value, structure: &str, decoder: &mut Decoder) {
        if *value == Value::Null {
            *self = None;
        } else {
            self.get_or_insert_default().decode(value, structure, decoder);
        }
    }

    fn go_type(version: &str) -> String {
        T::go_type(version)
    }
}

impl<T: Decode + Default> Decode for Vec<T> {
    fn decode(&mut self, value: &Value, structure: &str, decoder: &mut Decoder) {
        self.clear();
        match value {
            Value::Array(items) => {
                let path = decoder.strict_path.len();
                for (index, item) in items.iter().enumerate() {
                    decoder.enter_index(index);
                    let mut element = T::default();
                    element.decode(item, structure, decoder);
                    self.push(element);
                    decoder.strict_path.truncate(path);
                }
            }
            Value::Null => {}
            other => {
                let go_type = Self::go_type(decoder.version);
                decoder.wrong_type(other, structure, &go_type);
            }
        }
    }

    fn go_type(version: &str) -> String {
        format!("[]{}", T::go_type(version))
    }
}

/// The fields of a Go struct: JSON name and Rust field.
macro_rules! decode_struct {
    ($type:ty, $go_name:literal, { $($name:literal => $field:ident),+ $(,)? }) => {
        impl Decode for $type {
            fn decode(&mut self, value: &Value, structure: &str, decoder: &mut Decoder) {
                let members = match value {
                    Value::Object(members) => members,
                    Value::Null => return,
                    other => {
                        let go_type = Self::go_type(decoder.version);
                        return decoder.wrong_type(other, structure, &go_type);
                    }
                };
                let mut seen: Vec<&str> = Vec::new();
                let path = decoder.strict_path.len();
                for (name, value) in members.members() {
                    if seen.contains(&name) {
                        decoder.strict("duplicate field", name);
                    }
                    match name {
                        $($name => {
                            seen.push($name);
                            if path > 0 {
                                decoder.strict_path.push('.');
                            }
                            decoder.strict_path.push_str($name);
                            decoder.fields.push($name);
                            self.$field.decode(value, $go_name, decoder);
                            decoder.fields.pop();
                            decoder.strict_path.truncate(path);
                        })+
                        unknown => decoder.strict("unknown field", unknown),
                    }
                }
            }

            fn go_type(version: &str) -> String {
                format!("{version}.{}", $go_name)
            }
        }
    };
}

decode_struct!(raw::AuthenticationConfiguration, "AuthenticationConfiguration", {
    "apiVersion" => api_version,
    "kind" => kind,
    "jwt" => jwt,
    "anonymous" => anonymous,
});
decode_struct!(raw::AnonymousAuthConfig, "AnonymousAuthConfig", {
    "enabled" => enabled,
    "conditions" => conditions,
});
decode_struct!(raw::AnonymousAuthCondition, "AnonymousAuthCondition", { "path" => path });
decode_struct!(raw::JwtAuthenticator, "JWTAuthenticator", {
    "issuer" => issuer,
    "claimValidationRules" => claim_validation_rules,
    "claimMappings" => claim_mappings,
    "userValidationRules" => user_validation_rules,
});
decode_struct!(raw::Issuer, "Issuer", {
    "url" => url,
    "discoveryURL" => discovery_url,
    "certificateAuthority" => certificate_authority,
    "audiences" => audiences,
    "audienceMatchPolicy" => audience_match_policy,
    "egressSelectorType" => egress_selector_type,
});
decode_struct!(raw::ClaimValidationRule, "ClaimValidationRule", {
    "claim" => claim,
    "requiredValue" => required_value,
    "expression" => expression,
    "message" => message,
});
decode_struct!(raw::ClaimMappings, "ClaimMappings", {
    "username" => username,
    "groups" => groups,
    "uid" => uid,
    "extra" => extra,
});
decode_struct!(raw::PrefixedClaimOrExpression, "PrefixedClaimOrExpression", {
    "claim" => claim,
    "prefix" => prefix,
    "expression" => expression,
});
decode_struct!(raw::ClaimOrExpression, "ClaimOrExpression", {
    "claim" => claim,
    "expression" => expression,
});
decode_struct!(raw::ExtraMapping, "ExtraMapping", {
    "key" => key,
    "valueExpression" => value_expression,
});
decode_struct!(raw::UserValidationRule, "UserValidationRule", {
    "expression" => expression,
    "message" => message,
});
