//! `conditions`: what a request must fulfil beyond what its user may do.

use std::ops::RangeInclusive;

use kube_rules::Rules;

use super::section::section;
use crate::{
    conditions::{Conditions, Fault},
    names,
};

/// How many there may be.
const MOST: usize = 64;
/// Bytes of a message.
const MOST_MESSAGE: usize = 512;
/// Seconds of `login.maxAgeSeconds`, up to a month; 0 asks for nothing.
const AGES: RangeInclusive<u32> = 0..=2_592_000;

section! {
    /// A condition on requests. It can only refuse: what it lets pass needs the cluster's RBAC as before.
    Condition
        /// Its name, of lower-case letters, digits and `-`: in answers, logs and metrics.
        name: String = String::new();
        /// A CEL expression that says for which requests it holds; empty means all. One that cannot be evaluated refuses the request.
        r#match: String = String::new();
        /// A CEL expression that must be true. One that cannot be evaluated refuses the request. May be empty where `login` says what is asked
        /// for.
        expression: String = String::new();
        /// The login that is asked for. Who has another is told to log in again (401).
        login: RequiredLogin = RequiredLogin::default();
        /// What a refused client is told; empty means the name alone.
        message: String = String::new();
}

section! {
    /// What a token must say of the login that it came from (RFC 9470). What is left out is not asked for.
    RequiredLogin
        /// Values of the claim `acr`, one of which the token must have, the most wanted first.
        acr: Vec<String> = Vec::new();
        /// The most seconds that may have passed since the claim `auth_time`; 0 means any number.
        max_age_seconds: u32 = 0;
}

impl RequiredLogin {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acr.is_empty() && self.max_age_seconds == 0
    }
}

/// Compiles conditions.
///
/// # Errors
/// What is wrong with the first that cannot be meant.
pub(super) fn compile(conditions: &[Condition], rules: Rules) -> Result<Conditions, Fault> {
    if conditions.len() > MOST {
        let why = format!("must have at most {MOST} items");
        return Err(Fault {
            field: "conditions".to_owned(),
            got: conditions.len().to_string(),
            why,
        });
    }
    for (index, condition) in conditions.iter().enumerate() {
        let before = conditions.get(..index).unwrap_or_default();
        if let Some((field, got, why)) = condition.fault(before) {
            let field = format!("conditions[{index}].{field}");
            return Err(Fault { field, got, why: why.to_owned() });
        }
    }
    Conditions::compile(conditions, rules)
}

impl Condition {
    fn fault(&self, before: &[Self]) -> Option<(String, String, &'static str)> {
        let fault = |field: &str, got: &str, why| Some((field.to_owned(), got.to_owned(), why));
        let Self { name, expression, login, message, .. } = self;
        if !names::is_label(name) {
            let why =
                "must be a lower-case name of letters, digits and '-', of at most 63 characters";
            return fault("name", name, why);
        }
        if before.iter().any(|other| other.name == *name) {
            return fault("name", name, "must be no other condition's name");
        }
        if expression.is_empty() && login.is_empty() {
            return fault("expression", "", "must be given, or login");
        }
        let is_printed = !message.chars().any(char::is_control);
        if message.len() > MOST_MESSAGE || message.trim() != message || !is_printed {
            let why = "must have at most 512 bytes, no control character, and no blank at its start or end";
            return fault("message", message, why);
        }
        if !AGES.contains(&login.max_age_seconds) {
            let got = login.max_age_seconds.to_string();
            return fault("login.maxAgeSeconds", &got, "must be 0 to 2592000");
        }
        login.acr.iter().enumerate().find_map(|(index, acr)| {
            let why = "must be printable ASCII without blank, quotation mark and backslash";
            if is_word(acr) { None } else { fault(&format!("login.acr[{index}]"), acr, why) }
        })
    }
}

/// It stands in a list with blanks between, in quotation marks of a header, and on command lines.
fn is_word(acr: &str) -> bool {
    !acr.is_empty()
        && acr.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\`$".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::config::{API_VERSION, GatewayConfiguration, KIND};

    fn read(conditions: &Value) -> Result<(), String> {
        let document = json!({"apiVersion": API_VERSION, "kind": KIND, "conditions": conditions});
        GatewayConfiguration::from_value(document).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn conditions_are_strict_and_every_error_names_its_field() {
        let with = |more: Value| {
            let mut condition = json!({"name": "a", "expression": "true"});
            condition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([condition])
        };
        for (conditions, want) in [
            (json!([]), None),
            (with(json!({})), None),
            (with(json!({"match": "request.verb == 'get'", "message": "no \"x\" é"})), None),
            (json!([{"name": "a", "login": {"maxAgeSeconds": 900}}]), None),
            (json!([{"name": "a", "login": {"acr": ["urn:mace:incommon:iap:silver", "2"]}}]), None),
            (
                json!([{"name": "a"}]),
                Some("conditions[0].expression: Invalid value: \"\": must be given, or login"),
            ),
            (
                json!([{"expression": "true"}]),
                Some("conditions[0].name: Invalid value: \"\": must be a lower-case"),
            ),
            (with(json!({"name": "A"})), Some("conditions[0].name")),
            (with(json!({"name": "-a"})), Some("conditions[0].name")),
            (with(json!({"name": "a".repeat(64)})), Some("conditions[0].name")),
            (
                json!([{"name": "a", "expression": "true"}, {"name": "a", "expression": "true"}]),
                Some("conditions[1].name: Invalid value: \"a\": must be no other"),
            ),
            (with(json!({"message": "a\nb"})), Some("conditions[0].message")),
            (with(json!({"message": "a".repeat(513)})), Some("conditions[0].message")),
            (with(json!({"login": {"acr": ["a b"]}})), Some("conditions[0].login.acr[0]")),
            (with(json!({"login": {"acr": ["a", "$(b)"]}})), Some("conditions[0].login.acr[1]")),
            (
                with(json!({"login": {"maxAgeSeconds": 2_592_001}})),
                Some("conditions[0].login.maxAgeSeconds: Invalid value: \"2592001\""),
            ),
            (with(json!({"login": {"maxAge": 1}})), Some("unknown field `maxAge`")),
            (with(json!({"matches": "true"})), Some("unknown field `matches`")),
            (
                with(json!({"expression": "request.verbs == 'x'"})),
                Some(
                    "conditions[0].expression: Invalid value: \"request.verbs == 'x'\": compilation failed: ERROR: <input>:1:8: undefined field 'verbs'",
                ),
            ),
            (
                with(json!({"match": "request.verb == "})),
                Some("conditions[0].match: Invalid value"),
            ),
            (
                with(json!({"expression": "request.verb"})),
                Some(
                    "conditions[0].expression: Invalid value: \"request.verb\": must be a bool and not a string",
                ),
            ),
            (
                with(json!({"expression": "claims.admin"})),
                Some("must be a bool and not a google.protobuf.Any"),
            ),
            (
                with(
                    json!({"expression": "user.groups.all(a, user.groups.all(b, user.groups.exists(c, c == a + b)))"}),
                ),
                Some("conditions[0].expression: Invalid value"),
            ),
            (
                json!(vec![json!({}); 65]),
                Some("conditions: Invalid value: \"65\": must have at most 64 items"),
            ),
        ] {
            match (read(&conditions), want) {
                (Ok(()), None) => {}
                (Err(got), Some(want)) => assert!(got.contains(want), "{got} / {want}"),
                (got, want) => panic!("{conditions}: {got:?} / {want:?}"),
            }
        }
    }
}
