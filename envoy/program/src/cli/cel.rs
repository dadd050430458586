//! `cel`: what does this expression give?

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use apiserver_cel::{Environment, EvalError, UserInfo, Value, compile};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use clap::Args;
use go_compat::json as go_json;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{
    error::Error,
    files::{read, read_or_stdin},
    output::{OutputFlag, print, print_json, say},
    rules::RulesFlag,
};

const EXAMPLE: &str = "Example:
  kube-oidc-gateway cel --token-file=token 'dyn(claims.groups).map(g, \"oidc:\" + g)'";

/// Evaluate a CEL expression as a claim mapping or a rule would.
///
/// Prints the value as JSON; with --output=json an object with `value`, or with `error` and its `wayOut`. Exits with 1 and the error if
/// the expression does not compile or evaluate.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("variable").required(true), after_help = EXAMPLE)]
pub struct Cel {
    /// A file with a token's claims, JSON: the variable `claims`.
    #[arg(long, value_name = "FILE", group = "variable")]
    claims: Option<PathBuf>,
    /// A file with a token, whose claims are the variable `claims`; `-` is standard input. The token is not verified.
    #[arg(long, value_name = "FILE|-", group = "variable")]
    token_file: Option<PathBuf>,
    /// A file with a user (username, uid, groups, extra), JSON: the variable `user`.
    #[arg(long, value_name = "FILE", group = "variable")]
    user: Option<PathBuf>,
    #[command(flatten)]
    rules: RulesFlag,
    #[command(flatten)]
    output: OutputFlag,
    /// The expression.
    #[arg(allow_hyphen_values = true)]
    expression: String,
}

/// As generous as a file may be.
const LIMITS: go_json::Limits = go_json::Limits { depth: 1_000, values: 1_000_000 };

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct User {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Cel {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let environment = if self.user.is_none() { Environment::Claims } else { Environment::User };
        let program = match compile(&self.expression, environment, self.rules.rules()) {
            Ok(program) => program,
            Err(error) => return self.failed(&error),
        };
        let claims = match (&self.claims, &self.token_file) {
            (Some(path), _) => Some((path, read(path)?)),
            (None, Some(path)) => Some((path, payload(path)?)),
            (None, None) => None,
        };
        if let Some((path, text)) = claims {
            let claims = match go_json::parse(&text, LIMITS) {
                Ok(go_json::Value::Object(claims)) => claims,
                Ok(_) => return Err(document(path, "claims must be an object")),
                Err(error) => return Err(document(path, &error.to_string())),
            };
            return self.print(program.evaluate(&claims));
        }
        let Some(path) = &self.user else {
            return Err(Error::Usage("--claims, --token-file or --user".into()));
        };
        let user: User = serde_json::from_slice(&read(path)?)
            .map_err(|error| document(path, &error.to_string()))?;
        let user = UserInfo {
            username: &user.username,
            uid: &user.uid,
            groups: &user.groups,
            extra: &user.extra,
        };
        self.print(program.evaluate_user(&user))
    }

    fn print(&self, result: Result<Value<'_>, EvalError>) -> Result<ExitCode, Error> {
        match result.map(|value| to_json(&value)) {
            Ok(value) if self.output.is_json() => print_json(&json!({"value": value}))?,
            Ok(value) => print(value)?,
            Err(error) => return self.failed(&error),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn failed(&self, error: &dyn std::error::Error) -> Result<ExitCode, Error> {
        let text = error.to_string();
        let way = way_out(&text);
        if self.output.is_json() {
            print_json(&with_way_out(json!({"error": text}), way))?;
        } else {
            say(text);
            if let Some(way) = way {
                say(format_args!("way out: {way}"));
            }
        }
        Ok(ExitCode::FAILURE)
    }
}

/// A row of JSON with what helps, if anything does.
pub fn with_way_out(mut row: Json, way: Option<&str>) -> Json {
    if let Some(way) = way {
        row["wayOut"] = json!(way);
    }
    row
}

/// What helps against an error of an expression, where its own words do not say.
pub fn way_out(error: &str) -> Option<&'static str> {
    error.contains("cannot be range of a comprehension").then_some(
        "nobody knows a claim's type before the token comes; dyn(...) says that it may be a list: dyn(claims.groups).map(g, ...)",
    )
}

/// The claims of a token, as they stand there.
fn payload(path: &Path) -> Result<Vec<u8>, Error> {
    let token = read_or_stdin(path)?;
    let mut parts = token.trim_ascii().split(|byte| *byte == b'.');
    let payload = parts.nth(1).filter(|_| parts.count() == 1);
    let payload =
        payload.ok_or_else(|| document(path, "a token has three parts with dots between"))?;
    URL_SAFE_NO_PAD
        .decode(payload)
        .map_err(|error| document(path, &format!("the token's payload: {error}")))
}

/// The value in JSON's fewer types, as Kubernetes writes such values: times and durations are strings, bytes base64.
fn to_json(value: &Value<'_>) -> Json {
    match value {
        Value::Null | Value::Optional(None) => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Uint(value) => json!(value),
        Value::Double(value) if value.is_finite() => json!(value),
        Value::Double(value) => json!(value.to_string()),
        Value::String(text) => json!(&**text),
        Value::Bytes(bytes) => json!(STANDARD.encode(bytes)),
        Value::List(list) => list.by_position().map(|item| to_json(&item)).collect(),
        Value::Map(map) => {
            let members = map.entries().into_iter().map(|(key, value)| {
                let key = match to_json(&key) {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                (key, to_json(&value))
            });
            Json::Object(members.collect())
        }
        Value::Timestamp(time) => json!(time.format_utc()),
        Value::Duration(nanos) => {
            #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
            let seconds = *nanos as f64 / 1e9;
            json!(format!("{seconds}s"))
        }
        Value::Type(name) => json!(name),
        Value::Optional(Some(value)) => to_json(value),
        Value::Ip(ip) => json!(ip.to_string()),
        Value::Cidr(cidr) => json!(cidr.to_string()),
        Value::Url(url) => json!(url.to_string()),
        Value::Semver(version) => json!(version.to_string()),
        Value::Quantity(_) => json!("quantity"),
        Value::Format(format) => json!(format.name()),
    }
}

fn document(path: &Path, reason: &str) -> Error {
    Error::Document { path: path.display().to_string(), reason: reason.to_owned() }
}
