//! What Envoy itself answers, as Kubernetes `Status` objects.
//!
//! kubectl prints the message of a `Status` and, of anything else, next to nothing. Reasons are those of
//! `k8s.io/apimachinery/pkg/apis/meta/v1` (`StatusReason`), where it has one for the code.

use serde::Serialize;

/// One kind of local reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct LocalReply {
    /// How `code` is compared: `EQ` or `GE`.
    comparison: &'static str,
    code: u16,
    /// Envoy's response flags, one of which the reply must have; any if empty.
    flags: &'static [&'static str],
    /// The status code that the client sees, if not the reply's own.
    becomes: Option<u16>,
    reason: &'static str,
    /// Envoy's format: `%` begins a command.
    message: &'static str,
}

/// No connection, no host, connection failed or ended, timeout of a connection attempt, reset from either side, overflow.
const UPSTREAM: &[&str] = &["UH", "UF", "UC", "UR", "LR", "UO", "URX"];

/// In the order in which they are tried.
pub(crate) const LOCAL_REPLIES: [LocalReply; 13] = [
    // The credential injector has no token. A 401 would make kubectl throw the user's login away.
    LocalReply {
        becomes: Some(503),
        ..exactly(
            401,
            "ServiceUnavailable",
            "the gateway has no usable credential for the API server",
        )
    },
    exactly(400, "BadRequest", "the request is malformed"),
    exactly(403, "Forbidden", "the gateway did not admit this request"),
    exactly(404, "NotFound", "the gateway has no such resource"),
    exactly(405, "MethodNotAllowed", "the gateway takes no such method for this resource"),
    exactly(408, "Timeout", "the request was not completed in time"),
    exactly(
        426,
        "BadRequest",
        "HTTP/1.0 is not taken here: a proxy before the gateway must speak HTTP/1.1 (nginx: proxy_http_version 1.1)",
    ),
    exactly(431, "RequestHeaderFieldsTooLarge", "the headers of the request are too large"),
    exactly(502, "ServiceUnavailable", "the gateway cannot read the API server's answer"),
    LocalReply {
        flags: UPSTREAM,
        ..exactly(503, "ServiceUnavailable", "the gateway cannot reach the API server")
    },
    exactly(503, "ServiceUnavailable", "the gateway cannot serve this request now"),
    exactly(504, "Timeout", "the request was not answered in time"),
    LocalReply {
        comparison: "GE",
        ..exactly(400, "InternalError", "the gateway cannot serve this request: %LOCAL_REPLY_BODY%")
    },
];

const fn exactly(code: u16, reason: &'static str, message: &'static str) -> LocalReply {
    LocalReply { comparison: "EQ", code, flags: &[], becomes: None, reason, message }
}
