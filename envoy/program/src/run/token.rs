//! The gateway's own token, as far as it is looked at: it goes to kube-apiserver unread.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// The token of a file: one line of printable ASCII. A newline at its end does not count.
pub(crate) fn checked(file: &[u8]) -> Result<String, String> {
    let token = file.trim_ascii_end();
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err("it is no token: it has a blank or a control character".to_owned());
    }
    Ok(String::from_utf8_lossy(token).into_owned())
}

/// When a token that is a JWT ends, in seconds of Unix time.
pub(crate) fn expiry(file: &[u8]) -> Option<i64> {
    let claims = file.trim_ascii_end().split(|&byte| byte == b'.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice::<Value>(&claims).ok()?.get("exp")?.as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_one_word() {
        for (file, want) in [
            (&b"abc.def\n"[..], Ok("abc.def")),
            (b"abc", Ok("abc")),
            (b"", Err("empty")),
            (b"\n", Err("empty")),
            (b"a b", Err("blank")),
            (b"a\nb", Err("blank")),
            (b"\xff", Err("blank")),
        ] {
            match (checked(file), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, want) => panic!("{file:?}: {got:?} / {want:?}"),
            }
        }
    }

    #[test]
    fn the_end_of_a_jwt_is_known() {
        let jwt = format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(r#"{"exp":17}"#));
        assert_eq!(expiry(jwt.as_bytes()), Some(17));
        assert_eq!(expiry(b"opaque"), None);
    }
}
