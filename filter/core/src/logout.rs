//! Where issuers say that a session has ended (OpenID Connect Back-Channel Logout 1.0, section 2.5).
//!
//! The filter lets such a request through under a mark of its own, without a login. The route for this mark leads to who takes logout tokens,
//! and to nobody else: what is in the request is not looked at here.

/// The mark of such a request: filter state `wasm.mode`.
pub const MODE: &str = "logout";

/// What each path must begin with: kube-apiserver has nothing there.
const BEGIN: &str = "/oidc/";

/// What is wrong with a path that is not empty.
pub(crate) fn fault(path: &str) -> Option<&'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let rest = path.strip_prefix(BEGIN);
    let is_good = rest.is_some_and(|rest| (1..=64).contains(&rest.len()) && rest.bytes().all(fits));
    let why = "must be \"/oidc/\" and at most 64 letters, digits, '-' and '_'";
    (!path.is_empty() && !is_good).then_some(why)
}

/// Whether a request's target is the path, in this spelling and without a query.
#[must_use]
pub fn is_asked(path: &str, target: &[u8]) -> bool {
    !path.is_empty() && target == path.as_bytes()
}

#[cfg(test)]
mod tests {
    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_path_is_none_of_kube_apiservers() {
        for (path, good) in [
            ("", true),
            ("/oidc/logout", true),
            ("/oidc/back-channel_1", true),
            ("/oidc/", false),
            ("/oidc", false),
            ("/api/v1", false),
            ("/oidc/a/b", false),
            ("/oidc/..", false),
            ("/oidc/%61", false),
            ("oidc/logout", false),
        ] {
            assert_eq!(fault(path).is_none(), good, "{path}");
        }
        for (target, asked) in [
            ("/oidc/logout", true),
            ("/oidc/logout?a", false),
            ("/oidc/logout/", false),
            ("//oidc/logout", false),
            ("/oidc/Logout", false),
        ] {
            assert_eq!(is_asked("/oidc/logout", target.as_bytes()), asked, "{target}");
        }
        assert!(!is_asked("", b""));
    }
}
