//! An answer of the portal, with the headers that none of them may lack.

use serde_json::{Value, json};

/// Nothing may be loaded, framed or sent elsewhere; the page's own style and script are named by their hashes.
const STRICT: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body, whole; empty if there is none.
    pub body: Vec<u8>,
    /// What the audit trail is to say, JSON; never a token.
    pub audit: Option<String>,
}

impl Response {
    /// An answer of this type.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = [
            ("content-type", content_type),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", STRICT),
            ("cross-origin-resource-policy", "same-origin"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        Self { status, headers, body: body.into(), audit: None }
    }

    /// JSON, ended by a line feed as Go's encoder does.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", format!("{value}\n"))
    }

    /// kubehook's `{"error": "…"}`.
    #[must_use]
    pub fn error(status: u16, error: &str) -> Self {
        Self::json(status, &json!({ "error": error }))
    }

    /// A line of text, as Go's `http.Error` writes it.
    #[must_use]
    pub fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    /// Nothing but a status.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self::new(status, "text/plain; charset=utf-8", "")
    }

    /// With a header set to another value, or added.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    /// With a line for the audit trail.
    #[must_use]
    pub fn audited(mut self, audit: String) -> Self {
        self.audit = Some(audit);
        self
    }
}

/// What is answered, once the program has said whether somebody still has access.
#[derive(Debug)]
pub struct Judged {
    pub(super) open: Response,
    pub(super) revoked: Response,
    pub(super) unknown: Response,
}

impl Judged {
    /// The response to what the program answered: its status, and its body.
    #[must_use]
    pub fn response(self, status: u16, body: &[u8]) -> Response {
        let answer: Option<Value> = serde_json::from_slice(body).ok();
        let answer = answer.as_ref().and_then(|answer| answer.get("access")?.as_str());
        match (status, answer) {
            (200, Some("open")) => self.open,
            (200, Some("revoked")) => self.revoked,
            _ => self.unknown,
        }
    }
}
