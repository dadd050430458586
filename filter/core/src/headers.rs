//! One pass over a request's headers: what the decision needs, and what must not travel on.
//!
//! Names come from Envoy in lower case, values are whatever bytes the client sent.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Set by Envoy's own strip, before the filter, to what the client asked to impersonate; never a client's own.
pub const ASKED: &str = "x-gateway-asked";
/// Set by Envoy's own strip to its span of the request, `TRACE-SPAN` in hexadecimal digits; never a client's own.
const TRACE: &str = "x-gateway-trace";
/// A trace as others tell of it (W3C Trace Context, section 3.2).
pub const TRACEPARENT: &str = "traceparent";
/// Envoy's id of the request, which becomes its `Audit-ID`.
pub const REQUEST_ID: &str = "x-request-id";

/// Headers as Envoy's host calls give them.
pub type HeaderList = [(String, Vec<u8>)];

/// What one pass over the headers found.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug, Default)]
pub struct RequestHead<'a> {
    /// The `Impersonate-*` headers that the client sent, where Envoy has left them to the filter.
    pub impersonation: Vec<(&'a str, &'a [u8])>,
    /// The first `User-Agent` value.
    pub user_agent: Option<&'a [u8]>,
    /// The first `Authorization` value.
    pub authorization: Option<&'a [u8]>,
    /// Whether this is a WebSocket handshake.
    pub websocket: bool,
    /// The subprotocols of a WebSocket handshake, all values joined.
    pub protocols: Option<Vec<u8>>,
    /// Whether `Upgrade` asks for another protocol.
    pub upgrade: bool,
    /// On an upgrade, the first `Connection` option that is neither `upgrade` nor `keep-alive`.
    pub nominated: Option<&'a [u8]>,
    /// Whether the client asked for impersonation, which does not happen.
    pub asked: bool,
    /// The id for the audit trail, empty if Envoy gave none.
    pub audit_id: &'a [u8],
    /// Envoy's span of the request, empty if there are no traces.
    trace: &'a [u8],
    /// The client's `traceparent`, which is there only where it is believed.
    traceparent: &'a [u8],
    /// Whether the length of the body is given.
    pub is_sized: bool,
    /// The path with its query.
    pub path: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The first `Origin` value: where the page comes from that a browser asks for.
    pub origin: Option<&'a [u8]>,
    /// Names of headers that must be gone before the request travels on.
    pub remove: Vec<&'a str>,
}

impl<'a> RequestHead<'a> {
    /// Reads the headers of a request.
    #[must_use]
    pub fn read<N: AsRef<str>, V: AsRef<[u8]>>(headers: &'a [(N, V)]) -> Self {
        let mut head = Self::default();
        let mut upgrade: &[u8] = b"";
        let mut connection = false;
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            match name {
                "authorization" => {
                    head.authorization.get_or_insert(value);
                }
                ":path" => head.path = value,
                "content-length" => head.is_sized = true,
                ":method" => head.method = value,
                "user-agent" => {
                    head.user_agent.get_or_insert(value);
                }
                "origin" => {
                    head.origin.get_or_insert(value);
                }
                "upgrade" => upgrade = value,
                "connection" => {
                    for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                        if option.eq_ignore_ascii_case(b"upgrade") {
                            connection = true;
                        } else if !option.eq_ignore_ascii_case(b"keep-alive") && !option.is_empty()
                        {
                            head.nominated.get_or_insert(option);
                        }
                    }
                }
                "sec-websocket-protocol" => match &mut head.protocols {
                    None => head.protocols = Some(value.to_vec()),
                    Some(joined) => {
                        joined.push(b',');
                        joined.extend_from_slice(value);
                    }
                },
                REQUEST_ID => head.audit_id = value,
                TRACE => head.trace = value,
                TRACEPARENT => head.traceparent = value,
                ASKED => {
                    head.asked = true;
                    head.remove.push(name);
                }
                _ if is_ours(name) => {
                    if name.starts_with("impersonate") {
                        head.asked = true;
                        head.impersonation.push((name, value));
                    }
                    if !head.remove.contains(&name) {
                        head.remove.push(name);
                    }
                }
                _ => {}
            }
        }
        head.upgrade = !upgrade.is_empty();
        head.websocket = connection && upgrade.eq_ignore_ascii_case(b"websocket");
        if !head.upgrade {
            head.nominated = None;
        }
        head
    }
}

impl RequestHead<'_> {
    /// What is said of the request's trace to whoever is asked because of it: its parent is Envoy's span.
    ///
    /// Whether the request is recorded says the client, if it is believed, else the digit that Envoy writes into its id of the
    /// request (`pack_trace_reason`: 4 if it is not).
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        let trace = std::str::from_utf8(self.trace).ok()?;
        let (id, span) = trace.split_once('-')?;
        let is_id = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !is_id(id, 32) || !is_id(span, 16) {
            return None;
        }
        let flags = self.traceparent.rsplit(|byte| *byte == b'-').next().unwrap_or_default();
        let recorded = match flags {
            [] => matches!(self.audit_id.get(14), Some(b'9' | b'a' | b'b')),
            flags => flags.last().is_some_and(|digit| b"13579bdf".contains(digit)),
        };
        Some(format!("00-{id}-{span}-{:02}", u8::from(recorded)))
    }
}

/// Whether a header, or trailer, of this name could be taken for an identity by what stands upstream.
///
/// By prefix and never by a list of names: `Impersonate-Uid` was forgotten in others' lists (CVE class of
/// Infisical/cli#186), and servers that fold `_` and `.` to `-` exist (CVE-2025-64484).
#[must_use]
pub fn is_identity(name: &str) -> bool {
    const PREFIXES: [&[u8]; 2] = [b"impersonate-", b"x-remote-"];
    let folded = |byte: &u8| match byte {
        b'_' | b'.' => b'-',
        other => other.to_ascii_lowercase(),
    };
    PREFIXES.iter().any(|prefix| {
        name.len() >= prefix.len()
            && name.as_bytes().iter().map(folded).zip(*prefix).all(|(a, b)| a == *b)
    })
}

/// Whether a header, or trailer, of this name is none of a client's: an identity, or what the gateway says itself.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    is_identity(name) || matches!(name, "audit-id" | "grpc-timeout")
}

/// Whether the answer to this path comes from a service, pod or node behind the API server, and not from itself.
///
/// `/api/v1/namespaces/NS/{services,pods}/NAME/proxy/...` and `/api/v1/nodes/NAME/proxy/...`: what stands there may have
/// a login of its own, and its 401 is its own. The path is read as kube-apiserver reads it, with its percent-escapes resolved: else who
/// writes `pro%78y` has a stream that nobody knows of.
#[must_use]
pub fn is_proxied(path: &[u8]) -> bool {
    let path = path.split(|&byte| byte == b'?').next().unwrap_or_default();
    let path: Cow<'_, [u8]> = percent_decode(path).into();
    let mut parts = path.split(|&byte| byte == b'/').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    if (next(), next()) != (b"api", b"v1") {
        return false;
    }
    match next() {
        b"namespaces" => {
            next();
            matches!(next(), b"services" | b"pods") && !next().is_empty() && next() == b"proxy"
        }
        b"nodes" => !next().is_empty() && next() == b"proxy",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect()
    }

    #[test]
    fn identity_headers_are_known_by_prefix() {
        for (name, want) in [
            ("impersonate-user", true),
            ("Impersonate-Uid", true),
            ("impersonate-extra-anything.example%2fx", true),
            ("impersonate-not-yet-invented", true),
            ("impersonate_user", true),
            ("impersonate.group", true),
            ("x-remote-user", true),
            ("x_remote_extra_foo", true),
            ("audit-id", false),
            ("grpc-timeout", false),
            ("impersonate", false),
            ("x-remote", false),
            ("impersonated-by", false),
            ("authorization", false),
        ] {
            assert_eq!(is_identity(name), want, "{name}");
            let own = ["audit-id", "grpc-timeout"].contains(&name);
            assert_eq!(is_ours(name), want || own, "{name}");
        }
    }

    #[test]
    fn one_pass_finds_what_the_decision_needs() {
        let headers = list(&[
            (":path", "/api?x=1"),
            ("authorization", "Bearer first"),
            ("authorization", "Bearer second"),
            ("impersonate-user", "a"),
            ("impersonate-user", "b"),
            ("x-gateway-asked", "a"),
            ("x-request-id", "id"),
            ("user-agent", "kubectl"),
            ("user-agent", "curl"),
        ]);
        let head = RequestHead::read(&headers);
        assert_eq!(head.authorization, Some(&b"Bearer first"[..]));
        assert_eq!(head.path, b"/api?x=1");
        assert_eq!(head.audit_id, b"id");
        assert_eq!(head.user_agent, Some(&b"kubectl"[..]));
        let asked = [("impersonate-user", &b"a"[..]), ("impersonate-user", b"b")];
        assert_eq!(head.impersonation, asked);
        assert!(head.asked);
        assert_eq!(head.remove, ["impersonate-user", "x-gateway-asked"]);
        assert!(!head.upgrade && !head.websocket);
    }

    /// CVE-2021-31999 and its kin: an upgrade's `Connection` travels on whole, so it may nominate nothing.
    #[test]
    fn an_upgrade_may_nominate_nothing() {
        for (connection, want) in [
            ("Upgrade", None),
            ("keep-alive, Upgrade", None),
            ("upgrade,, ", None),
            ("Upgrade, Impersonate-User", Some("Impersonate-User")),
            (" Impersonate-Group ,Upgrade", Some("Impersonate-Group")),
            ("Upgrade, close", Some("close")),
        ] {
            let headers = list(&[("connection", connection), ("upgrade", "SPDY/3.1")]);
            let head = RequestHead::read(&headers);
            assert_eq!(head.nominated, want.map(str::as_bytes), "{connection}");
            assert!(head.upgrade && !head.websocket);
        }
        let headers = list(&[("connection", "te, close")]);
        assert_eq!(RequestHead::read(&headers).nominated, None, "Envoy consumes it itself");
    }

    #[test]
    fn proxied_answers_are_told_from_the_api_servers_own() {
        for (path, want) in [
            ("/api/v1/namespaces/x/services/y:z/proxy/a%2Fb//c?x=%20", true),
            ("/api/v1/namespaces/x/pods/y/proxy", true),
            ("/api/v1/nodes/n/proxy/metrics", true),
            ("/api/v1/nodes/n/pro%78y/containerLogs/a/b/c?follow=true", true),
            ("/%61pi/v1/name%73paces/x/services/y%2Fproxy/events", true),
            ("/api/v1/nodes/n%2Fproxy", true),
            ("/api/v1/nodes/n%252Fproxy", false),
            ("/api/v1/namespaces/x/pods/y", false),
            ("/api/v1/namespaces/x/pods/y/log?proxy", false),
            ("/api/v1/namespaces/x/configmaps/y/proxy", false),
            ("/apis/v1/namespaces/x/pods/y/proxy", false),
            ("/api/v1/nodes//proxy", false),
            ("", false),
        ] {
            assert_eq!(is_proxied(path.as_bytes()), want, "{path}");
        }
    }

    #[test]
    fn a_websocket_handshake_needs_both_headers() {
        for (upgrade, connection, want) in [
            ("websocket", "Upgrade", true),
            ("WebSocket", "keep-alive, upgrade", true),
            ("SPDY/3.1", "Upgrade", false),
            ("websocket", "keep-alive", false),
        ] {
            let headers = list(&[("upgrade", upgrade), ("connection", connection)]);
            assert_eq!(RequestHead::read(&headers).websocket, want, "{upgrade} {connection}");
        }
    }

    #[test]
    fn the_trace_goes_on_where_envoy_says_so() {
        const SPAN: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        const RECORDED: &str = "aa5542eb-ca0b-901b-aafe-e173a1437ab0";
        const NOT: &str = "aa5542eb-ca0b-401b-aafe-e173a1437ab0";
        let parent = |flags| Some(format!("00-{SPAN}-{flags}"));
        for (trace, id, client, want) in [
            (SPAN, RECORDED, "", parent("01")),
            (SPAN, NOT, "", parent("00")),
            // Who is believed decides.
            (SPAN, NOT, "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01", parent("01")),
            (
                SPAN,
                RECORDED,
                "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00",
                parent("00"),
            ),
            ("", RECORDED, "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01", None),
            // Envoy's word for nothing.
            ("---", RECORDED, "", None),
            ("0af7-b7ad6b7169203331", RECORDED, "", None),
        ] {
            let given = [("x-gateway-trace", trace), ("x-request-id", id), ("traceparent", client)];
            let given = given.into_iter().filter(|(_, value)| !value.is_empty());
            let headers: Vec<_> =
                given.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
            assert_eq!(RequestHead::read(&headers).traceparent(), want, "{trace} {id} {client}");
        }
    }
}
