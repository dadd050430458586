//! A request's target and body, with values of claims in them. Whatever a claim holds, it is one value: it cannot add a segment, a parameter
//! or a member, nor lead to another path.

use std::fmt::Write as _;

use apiserver_cel::{Environment, Program, Rules, Value, compile};
use go_compat::json;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Bytes of one value.
const MOST_VALUE: usize = 1024;
/// Of a body.
const JSON_LIMITS: json::Limits = json::Limits { depth: 16, values: 1024 };

/// A text with expressions in it.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
    place: Place,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Value(Program),
}

/// Where it stands, which says how values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `:path`: a path, and a query behind its first `?`.
    Target,
    /// A body of JSON.
    Json,
}

/// Why a claim's value does not go into a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{expression}: {why}")]
pub struct ValueError {
    pub(super) expression: String,
    pub(super) why: String,
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(text: &str, place: Place, rules: Rules) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (expression, behind) =
                after.split_once('}').ok_or("must have a '}' for each '${'")?;
            let program = compile(expression, Environment::Claims, rules)
                .map_err(|error| error.to_string())?;
            if !program.may_be_string() {
                let found = program.output_type();
                return Err(format!("${{{expression}}} must be a string and not a {found}"));
            }
            parts.extend([Part::Text(before.to_owned()), Part::Value(program)]);
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self { parts, place };
        match place {
            Place::Target => template.check_target()?,
            Place::Json => template.check_json()?,
        }
        Ok(template)
    }

    /// The programs in it.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value(program) => Some(program),
        })
    }

    fn check_target(&self) -> Result<(), String> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#\"<>^`{|}".contains(&byte);
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Value(_) => None,
        });
        let whole: String = texts.collect();
        if !whole.starts_with('/') || !whole.bytes().all(is_plain) {
            return Err("must begin with '/' and have no character that no URL has".to_owned());
        }
        let sample = self.write(|_, _| Ok("x".to_owned())).map_err(|error| error.to_string())?;
        if is_led_astray(&sample) {
            return Err("must have no empty segment, and none that is '.' or '..'".to_owned());
        }
        Ok(())
    }

    fn check_json(&self) -> Result<(), String> {
        let sample =
            self.write(|_, _| Ok("\"x\"".to_owned())).map_err(|error| error.to_string())?;
        json::parse(sample.as_bytes(), JSON_LIMITS).map(drop).map_err(|error| {
            format!("must be JSON with strings in the place of '${{...}}': {error}")
        })
    }

    /// The text for the user with these claims.
    ///
    /// # Errors
    /// If a value is none that can stand there.
    pub fn render(&self, claims: &json::Object) -> Result<String, ValueError> {
        let fail = |program: &Program, why: &str| ValueError {
            expression: program.expression().to_owned(),
            why: why.to_owned(),
        };
        let text = self.write(|program, in_path| {
            let value =
                program.evaluate(claims).map_err(|error| fail(program, &error.to_string()))?;
            let Value::String(text) = value else {
                return Err(fail(program, "must be a string"));
            };
            let text: &str = &text;
            if text.is_empty() || text.len() > MOST_VALUE {
                return Err(fail(program, "must have 1 to 1024 bytes"));
            }
            if text.chars().any(char::is_control) {
                return Err(fail(program, "has a control character"));
            }
            if self.place == Place::Json {
                return Ok(json::quote(text));
            }
            // Servers that decode a path before they split it would see more segments, or a query; `;` begins what some cut off.
            if in_path && text.contains(['/', '\\', '%', '?', ';']) {
                return Err(fail(program, "has '/', '\\', '%', '?' or ';', which a path must not"));
            }
            Ok(encoded(text))
        })?;
        if self.place == Place::Target && is_led_astray(&text) {
            let expression = self.programs().next().map_or("", Program::expression).to_owned();
            let why = "is '.' or '..', which leads to another path".to_owned();
            return Err(ValueError { expression, why });
        }
        Ok(text)
    }

    fn write(
        &self,
        value: impl Fn(&Program, bool) -> Result<String, ValueError>,
    ) -> Result<String, ValueError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value(program) => {
                    let value = value(program, !text.contains('?'))?;
                    // Writing to a String cannot fail.
                    let _ = text.write_str(&value);
                }
            }
        }
        Ok(text)
    }
}

/// A value as it stands in a path or a query.
pub fn encoded(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

/// Whether a target's path has a segment that is not a name.
fn is_led_astray(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let mut segments = path.split('/').skip(1);
    segments.any(|segment| ["", ".", ".."].contains(&segment))
}

#[cfg(test)]
mod tests {
    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn rendered(template: &str, place: Place, value: &str) -> Result<String, String> {
        let claims =
            [("oid".to_owned(), json::Value::from(value.to_owned()))].into_iter().collect();
        Template::compile(template, place, Rules::V1_37)
            .map_err(|why| format!("refused: {why}"))?
            .render(&claims)
            .map_err(|error| error.to_string())
    }

    /// A claim steers nothing but its own place.
    #[test]
    fn a_claim_that_would_steer_the_url_is_encoded_or_refused() {
        let path = "/users/${claims.oid}/groups?top=9";
        let query = "/groups?userKey=${claims.oid}&max=9";
        for (value, in_path, in_query) in [
            ("jane", Some("/users/jane/groups?top=9"), Some("/groups?userKey=jane&max=9")),
            (
                "a@b.example",
                Some("/users/a%40b.example/groups?top=9"),
                Some("/groups?userKey=a%40b.example&max=9"),
            ),
            (
                "a#EXT#@b",
                Some("/users/a%23EXT%23%40b/groups?top=9"),
                Some("/groups?userKey=a%23EXT%23%40b&max=9"),
            ),
            ("a?b#c", None, Some("/groups?userKey=a%3Fb%23c&max=9")),
            ("jane;x=1", None, Some("/groups?userKey=jane%3Bx%3D1&max=9")),
            ("..;a", None, Some("/groups?userKey=..%3Ba&max=9")),
            (
                "a&b=c",
                Some("/users/a%26b%3Dc/groups?top=9"),
                Some("/groups?userKey=a%26b%3Dc&max=9"),
            ),
            ("é", Some("/users/%C3%A9/groups?top=9"), Some("/groups?userKey=%C3%A9&max=9")),
            ("a b", Some("/users/a%20b/groups?top=9"), Some("/groups?userKey=a%20b&max=9")),
            (
                "@evil.example",
                Some("/users/%40evil.example/groups?top=9"),
                Some("/groups?userKey=%40evil.example&max=9"),
            ),
            ("../admin", None, Some("/groups?userKey=..%2Fadmin&max=9")),
            ("a/b", None, Some("/groups?userKey=a%2Fb&max=9")),
            ("a\\b", None, Some("/groups?userKey=a%5Cb&max=9")),
            ("%2e%2e", None, Some("/groups?userKey=%252e%252e&max=9")),
            ("..", None, Some("/groups?userKey=..&max=9")),
            (".", None, Some("/groups?userKey=.&max=9")),
            ("", None, None),
            ("a\r\nx: y", None, None),
            ("a\0", None, None),
            (&"a".repeat(1025), None, None),
        ] {
            let got = rendered(path, Place::Target, value);
            assert_eq!(got.as_deref().ok(), in_path, "{value:?}: {got:?}");
            let got = rendered(query, Place::Target, value);
            assert_eq!(got.as_deref().ok(), in_query, "{value:?}: {got:?}");
        }
        let got = rendered("/u/x${claims.oid}", Place::Target, "..");
        assert_eq!(got.as_deref(), Ok("/u/x.."), "that is a name");
    }

    #[test]
    fn a_claim_in_a_body_is_one_string() {
        let body = r#"{"user": ${claims.oid}, "all": true}"#;
        let got = rendered(body, Place::Json, "a\", \"all\": false, \"b\": \"").unwrap();
        let got: serde_json::Value = serde_json::from_str(&got).unwrap();
        assert_eq!(got["user"], "a\", \"all\": false, \"b\": \"");
        assert_eq!(got["all"], true);
    }

    #[test]
    fn what_is_no_template_is_refused_at_load() {
        for (template, place, want) in [
            ("users", Place::Target, "must begin with '/'"),
            ("//evil.example/", Place::Target, "no empty segment"),
            ("/a/../b", Place::Target, "no empty segment"),
            ("/a#b", Place::Target, "no character"),
            ("/a b", Place::Target, "no character"),
            ("/a/${claims.oid", Place::Target, "a '}' for each"),
            ("/a/${claims.oid +}", Place::Target, "Syntax error"),
            ("/a/${user.name}", Place::Target, "undeclared reference"),
            ("/a/${size(claims)}", Place::Target, "must be a string and not a int"),
            ("{\"a\": \"${claims.oid}\"}", Place::Json, "must be JSON"),
            ("{\"a\": }", Place::Json, "must be JSON"),
        ] {
            let got = Template::compile(template, place, Rules::V1_37).unwrap_err();
            assert!(got.contains(want), "{template}: {got}");
        }
    }
}
