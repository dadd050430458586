//! Pages of other origins that may use the API from a browser (CORS), as kube-apiserver lets them.
//!
//! Source: kube-apiserver, `--cors-allowed-origins`: `pkg/server/filters/cors.go` and the check of the flag in
//! `pkg/server/options/server_run_options.go` of k8s.io/apiserver. One header is left out: no answer says
//! `Access-Control-Allow-Credentials`, so that a browser brings along nothing that it holds for this host, such as cookies and client
//! certificates. A token in `Authorization` needs no such word.

use apiserver_cel::Pattern;

use crate::headers::RequestHead;

/// What an answer for an allowed origin has beside it: name and value.
pub const HEADERS: [(&str, &str); 3] = [
    ("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE, PATCH"),
    (
        "access-control-allow-headers",
        "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, If-Modified-Since",
    ),
    ("access-control-expose-headers", "Date"),
];
/// The header that names the origin.
pub const ALLOWED: &str = "access-control-allow-origin";
/// What no answer for an allowed origin may have, whoever wrote it.
pub const CREDENTIALS: &str = "access-control-allow-credentials";

/// Bytes of an origin beyond which it is nobody's: a host name has 253.
const MOST_BYTES: usize = 1024;

/// The origins that are allowed.
#[derive(Debug)]
pub struct Cors {
    patterns: Vec<Pattern>,
}

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It says nothing.
    #[error("must not be empty")]
    Empty,
    /// Go's text.
    #[error("{0}")]
    Syntax(String),
    /// It would match more hosts than it names (CVE-2022-1996).
    #[error(
        "regular expression does not pin to start/end of host in the origin header: begin it with '^' or let it have '//', and end it with '$' or let it have ':'"
    )]
    Unpinned,
}

impl Cors {
    /// Takes expressions; `None` if there are none.
    ///
    /// # Errors
    /// The place of an expression that is refused, and why.
    pub fn new(expressions: &[String]) -> Result<Option<Self>, (usize, OriginError)> {
        if expressions.is_empty() {
            return Ok(None);
        }
        let pattern = |(index, expression): (usize, &String)| {
            pattern(expression).map_err(|error| (index, error))
        };
        let patterns = expressions.iter().enumerate().map(pattern).collect::<Result<_, _>>()?;
        Ok(Some(Self { patterns }))
    }

    /// The origin of a request, if it is allowed.
    #[must_use]
    pub fn allowed<'a>(&self, head: &RequestHead<'a>) -> Option<&'a [u8]> {
        let origin =
            head.origin.filter(|origin| !origin.is_empty() && origin.len() <= MOST_BYTES)?;
        let text = std::str::from_utf8(origin).ok()?;
        self.patterns.iter().any(|pattern| pattern.is_match(text)).then_some(origin)
    }
}

fn pattern(expression: &str) -> Result<Pattern, OriginError> {
    if expression.is_empty() {
        return Err(OriginError::Empty);
    }
    let pattern = Pattern::compile(expression).map_err(OriginError::Syntax)?;
    let has = |marks: [&str; 2]| marks.iter().any(|mark| expression.contains(mark));
    if has(["^", "//"]) && has(["$", ":"]) { Ok(pattern) } else { Err(OriginError::Unpinned) }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn allows(expression: &str, origin: &str) -> bool {
        let cors = Cors::new(&[expression.to_owned()]).unwrap().unwrap();
        let headers = [("origin".to_owned(), origin.as_bytes().to_vec())];
        cors.allowed(&RequestHead::read(&headers)).is_some()
    }

    /// Answers of kube-apiserver 1.37 with the same flag.
    #[test]
    fn origins_are_matched_as_by_kube_apiserver() {
        for (expression, origin, want) in [
            ("^https://a[.]example$", "https://a.example", true),
            ("^https://a[.]example$", "https://a.example:8443", false),
            ("^https://a[.]example$", "https://a.example.evil", false),
            ("//a[.]example(:|$)", "http://a.example:80", true),
            ("//a[.]example(:|$)", "https://a.example", true),
            ("//a[.]example(:|$)", "https://ba.example", false),
            // As there: what a careless expression matches, it matches.
            ("//a.example(:|$)", "https://axexample", true),
            ("(?i)^https://A[.]example$", "https://a.example", true),
            ("^https://a[.]example$", "https://A.example", false),
            ("^https://", "https://evil", true),
            ("^null$", "null", true),
            ("^https://a$", "", false),
        ] {
            assert_eq!(allows(expression, origin), want, "{expression} {origin}");
        }
        assert!(!allows("^https:", &format!("https://{}", "a".repeat(2000))));
        assert!(Cors::new(&[]).unwrap().is_none());
    }

    /// CVE-2022-1996: an expression that pins nothing lets `https://example.evil` in.
    #[test]
    fn cve_2022_1996_expressions_pin_the_host() {
        for (expression, want) in [
            ("", "must not be empty"),
            ("a[.]example", "does not pin"),
            ("^https", "does not pin"),
            ("example$", "does not pin"),
            ("^https://(", "error parsing regexp: missing closing ): `^https://(`"),
        ] {
            let expressions = ["^https://good$".to_owned(), expression.to_owned()];
            let (index, error) = Cors::new(&expressions).unwrap_err();
            assert_eq!(index, 1);
            assert!(error.to_string().contains(want), "{error} / {want}");
        }
    }
}
