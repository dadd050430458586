//! The bearer token of a request, taken from where kube-apiserver takes it.
//!
//! Two places may hold one: the first `Authorization` value (RFC 6750, section 2.1), and for browsers, which cannot
//! set headers on a WebSocket, an item of `Sec-WebSocket-Protocol`. Sources: k8s.io/apiserver,
//! `pkg/authentication/request/bearertoken` and `pkg/authentication/request/websocket`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

const WEBSOCKET_PREFIX: &[u8] = b"base64url.bearer.authorization.k8s.io.";

/// A token that came as a WebSocket subprotocol.
#[derive(Debug, PartialEq, Eq)]
pub struct WebSocketToken {
    /// The token, decoded.
    pub token: Vec<u8>,
    /// The remaining subprotocols, as the upstream is to see them.
    pub protocols: Vec<u8>,
}

/// Why a credential is refused before it is looked at as a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// `Authorization` and `Sec-WebSocket-Protocol` both hold one: which of them counts must not be a guess.
    #[error("two credentials: Authorization and Sec-WebSocket-Protocol")]
    Two,
    /// More than one subprotocol holds one.
    #[error("multiple base64.bearer.authorization tokens specified")]
    SeveralWebSocketTokens,
    /// No other subprotocol is offered that the server could choose.
    #[error("missing additional subprotocol")]
    NoOtherSubprotocol,
    /// Not unpadded base64url of UTF-8.
    #[error("invalid base64.bearer.authorization token encoding")]
    BadEncoding,
}

/// The token of an `Authorization` value; `None` for another scheme or an empty token.
///
/// As upstream, words after the second are ignored, and two blanks after the scheme make the token empty.
#[must_use]
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    offered(authorization).map(first_word)
}

/// The token of an `Authorization` value, with the words after it if there are any: a token is long, and whoever knows it already
/// need not look for its end at every request. [`first_word`] is the token.
#[must_use]
pub fn offered(authorization: &[u8]) -> Option<&[u8]> {
    const SCHEME: usize = "bearer".len();
    let (scheme, rest) = authorization.trim_ascii().split_at_checked(SCHEME)?;
    let token = rest.strip_prefix(b" ")?;
    let is_empty = token.first().is_none_or(|first| *first == b' ');
    (scheme.eq_ignore_ascii_case(b"bearer") && !is_empty).then_some(token)
}

/// What stands before the first blank.
#[must_use]
pub fn first_word(words: &[u8]) -> &[u8] {
    let end = memchr::memchr(b' ', words).unwrap_or(words.len());
    words.get(..end).unwrap_or_default()
}

/// The token among the subprotocols of a WebSocket handshake; `None` if there is none.
pub fn websocket(protocols: &[u8]) -> Result<Option<WebSocketToken>, CredentialError> {
    let items = protocols.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let (tokens, others): (Vec<_>, Vec<_>) =
        items.partition(|item| item.starts_with(WEBSOCKET_PREFIX));
    let encoded = match tokens.as_slice() {
        [] => return Ok(None),
        [one] => one.strip_prefix(WEBSOCKET_PREFIX).unwrap_or_default(),
        _ => return Err(CredentialError::SeveralWebSocketTokens),
    };
    let token = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| CredentialError::BadEncoding)?;
    if std::str::from_utf8(&token).is_err() {
        return Err(CredentialError::BadEncoding);
    }
    if others.is_empty() {
        return Err(CredentialError::NoOtherSubprotocol);
    }
    Ok(Some(WebSocketToken { token, protocols: others.join(&b","[..]) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorization_is_read_as_upstream_reads_it() {
        for (value, want) in [
            (&b"Bearer t"[..], Some(&b"t"[..])),
            (b" bearer t ", Some(b"t")),
            (b"BEARER t u", Some(b"t")),
            (b"Bearer  t", None),
            (b"Bearer", None),
            (b"Bearer ", None),
            (b"Basic dDp0", None),
            (b"Bearer\tt", None),
            (b"", None),
            (b"Bearer \xff\xfe", Some(b"\xff\xfe")),
        ] {
            assert_eq!(bearer(value), want, "{:?}", String::from_utf8_lossy(value));
        }
    }

    /// kubevirt#1242: a token there was overlooked and the request went on as anonymous. openshift/origin#14716: of
    /// two tokens neither may count.
    #[test]
    fn a_subprotocol_token_counts_or_is_refused() {
        let prefix = String::from_utf8(WEBSOCKET_PREFIX.to_vec()).unwrap();
        let found = |rest: &str| {
            Ok(Some(WebSocketToken { token: b"abc".to_vec(), protocols: rest.as_bytes().to_vec() }))
        };
        for (value, want) in [
            (format!("{prefix}YWJj, v4.channel.k8s.io"), found("v4.channel.k8s.io")),
            (format!("a, {prefix}YWJj ,b"), found("a,b")),
            ("v4.channel.k8s.io".to_owned(), Ok(None)),
            (String::new(), Ok(None)),
            (format!("{prefix}YWJj"), Err(CredentialError::NoOtherSubprotocol)),
            (format!("{prefix}YWJj,{prefix}YWJj,a"), Err(CredentialError::SeveralWebSocketTokens)),
            (format!("{prefix}YWJj=,a"), Err(CredentialError::BadEncoding)),
            (format!("{prefix}Y+Jj,a"), Err(CredentialError::BadEncoding)),
            (format!("{prefix}_w,a"), Err(CredentialError::BadEncoding)),
        ] {
            assert_eq!(websocket(value.as_bytes()), want, "{value}");
        }
    }
}
