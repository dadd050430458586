//! The table of `test-conditions`, as it is written.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use gateway_core::config::API_VERSION;
use go_compat::json as go_json;
use jiff::Timestamp;
use kube_authn::Identity;
use kube_request::RequestInfo;
use serde::Deserialize;
use serde_json::{Value, json};

/// The `kind` of the document.
const KIND: &str = "ConditionTests";
/// As generous as a file may be.
const LIMITS: go_json::Limits = go_json::Limits { depth: 1_000, values: 1_000_000 };

/// The document: a `ConditionTests`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Table {
    api_version: String,
    kind: String,
    /// The `GatewayConfiguration`, beside this file.
    pub gateway_config: Option<PathBuf>,
    /// The tests, in their order.
    pub tests: Vec<Test>,
}

/// A request, and what should become of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Test {
    /// What it shows.
    pub name: String,
    /// What is asked for.
    pub request: Request,
    /// Who signed in.
    #[serde(default)]
    user: User,
    /// Whom the user acts as (`kubectl --as`).
    impersonated: Option<User>,
    /// The claims of the token.
    #[serde(default)]
    claims: serde_json::Map<String, Value>,
    /// The time; that of the run if absent.
    now: Option<Time>,
    /// What should become of it.
    pub expect: Expected,
}

/// A time of RFC 3339.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Time(Timestamp);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error| format!("now: Invalid value: {text:?}: {error}"))
    }
}

/// A request: a method and a path, or what kube-apiserver makes of these.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Request {
    method: String,
    path: String,
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    /// Where it comes from.
    pub address: String,
    /// What the client says of itself.
    pub user_agent: String,
}

/// A user, as in a `TokenReview`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct User {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl From<User> for Identity {
    fn from(User { username, uid, groups, extra }: User) -> Self {
        Self { username, uid, groups, extra }
    }
}

/// What becomes of a request: `allowed`, or which condition refuses it, by which code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenExpected")]
pub struct Expected {
    /// No condition refuses it.
    pub allowed: bool,
    /// The condition that refuses it.
    pub condition: Option<String>,
    /// The status code of the answer.
    pub code: Option<u16>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenExpected {
    Word(String),
    Refused(Refused),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    condition: Option<String>,
    code: Option<u16>,
}

impl TryFrom<WrittenExpected> for Expected {
    type Error = &'static str;

    fn try_from(written: WrittenExpected) -> Result<Self, Self::Error> {
        match written {
            WrittenExpected::Word(word) if word == "allowed" => {
                Ok(Self { allowed: true, condition: None, code: None })
            }
            WrittenExpected::Refused(Refused { condition: None, code: None })
            | WrittenExpected::Word(_) => {
                Err("expect must be `allowed`, or have a condition or a code")
            }
            WrittenExpected::Refused(Refused { condition, code }) => {
                Ok(Self { allowed: false, condition, code })
            }
        }
    }
}

impl Expected {
    /// Whether what came is it. What is not written may be anything.
    pub fn holds(&self, got: &Self) -> bool {
        self.allowed == got.allowed
            && (self.condition.is_none() || self.condition == got.condition)
            && (self.code.is_none() || self.code == got.code)
    }

    /// As it is written.
    pub fn to_json(&self) -> Value {
        if self.allowed {
            return json!("allowed");
        }
        let mut refused = json!({});
        if let Some(condition) = &self.condition {
            refused["condition"] = json!(condition);
        }
        if let Some(code) = self.code {
            refused["code"] = json!(code);
        }
        refused
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { allowed: true, .. } => f.write_str("allowed"),
            Self { condition: Some(name), code: Some(code), .. } => {
                write!(f, "refused by condition {name} ({code})")
            }
            Self { condition: Some(name), .. } => write!(f, "refused by condition {name}"),
            Self { code: Some(code), .. } => write!(f, "refused with {code}"),
            Self { .. } => f.write_str("refused"),
        }
    }
}

impl Table {
    /// Reads tests, YAML or JSON.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let tests: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        for (field, got, want) in
            [("apiVersion", &tests.api_version, API_VERSION), ("kind", &tests.kind, KIND)]
        {
            if got != want {
                return Err(format!("{field}: Invalid value: {got:?}: must be {want:?}"));
            }
        }
        Ok(tests)
    }
}

impl Test {
    /// When the request comes.
    pub fn now(&self) -> Timestamp {
        self.now.map_or_else(Timestamp::now, |Time(now)| now)
    }

    /// Who signed in.
    pub fn user(&self) -> Identity {
        self.user.clone().into()
    }

    /// Whom the user acts as.
    pub fn impersonated(&self) -> Option<Identity> {
        self.impersonated.clone().map(Into::into)
    }

    /// The claims as the filter reads them from a token.
    pub fn claims(&self) -> Result<go_json::Object, String> {
        let text = Value::Object(self.claims.clone()).to_string();
        match go_json::parse(text.as_bytes(), LIMITS) {
            Ok(go_json::Value::Object(claims)) => Ok(claims),
            Ok(_) => Err("claims: must be an object".to_owned()),
            Err(error) => Err(format!("claims: {error}")),
        }
    }
}

impl Request {
    /// What the request is about, or why kube-apiserver would not read it.
    ///
    /// # Errors
    /// What is wrong with what is written, with the field.
    pub fn info(&self) -> Result<Result<RequestInfo, String>, String> {
        let attributes = [
            ("verb", &self.verb),
            ("group", &self.group),
            ("version", &self.version),
            ("resource", &self.resource),
            ("subresource", &self.subresource),
            ("namespace", &self.namespace),
            ("name", &self.name),
        ];
        let first = attributes.iter().find(|(_, value)| !value.is_empty());
        match (self.path.is_empty(), first) {
            (false, None) => {
                let method = if self.method.is_empty() { "GET" } else { &self.method };
                Ok(RequestInfo::read(method, &self.path).map_err(|error| error.to_string()))
            }
            (false, Some((name, _))) => {
                Err(format!(".{name}: path says it already; give one of both"))
            }
            (true, _) if self.verb.is_empty() || self.resource.is_empty() => {
                Err(": Required value: method and path, or verb and resource".to_owned())
            }
            (true, _) if !self.method.is_empty() => {
                Err(".method: verb says it already; give one of both".to_owned())
            }
            (true, _) => Ok(Ok(self.described())),
        }
    }

    fn described(&self) -> RequestInfo {
        let version = if self.version.is_empty() { "v1" } else { &self.version };
        let mut path = match self.group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        if !self.namespace.is_empty() && self.resource != "namespaces" {
            path = format!("{path}/namespaces/{}", self.namespace);
        }
        for part in [&self.resource, &self.name, &self.subresource] {
            if !part.is_empty() {
                path = format!("{path}/{part}");
            }
        }
        RequestInfo {
            is_resource: true,
            path,
            verb: self.verb.clone(),
            api_group: self.group.clone(),
            api_version: version.to_owned(),
            namespace: self.namespace.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            name: self.name.clone(),
        }
    }
}
