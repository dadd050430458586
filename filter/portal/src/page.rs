//! The page: one document with its style and script, which are allowed by their hashes and nothing else is.

use std::sync::OnceLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::response::Response;

const PAGE: &str = include_str!("page.html");

/// `GET /`
pub(super) fn page() -> Response {
    static POLICY: OnceLock<String> = OnceLock::new();
    let policy = POLICY.get_or_init(|| {
        format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
            hash("<style>", "</style>"),
            hash("<script>", "</script>"),
        )
    });
    Response::new(200, "text/html; charset=utf-8", PAGE)
        .with("content-security-policy", policy)
        .with("cross-origin-opener-policy", "same-origin")
        .with("permissions-policy", "clipboard-write=(self)")
        .with("x-frame-options", "DENY")
}

/// The hash of what stands between two tags (Content Security Policy Level 3, section 6.7.2.4).
fn hash(start: &str, end: &str) -> String {
    let inside = PAGE.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    STANDARD.encode(Sha256::digest(inside.map_or("", |(inside, _)| inside)))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Whoever may not come in learns whom to ask, whoever has no plugin how to get it, and whoever has PowerShell what to write.
    #[test]
    fn the_page_says_what_to_do() {
        for text in [
            "Ask the cluster's administrator to let you in",
            "kubectl krew install oidc",
            "aria-label=\"Commands for PowerShell\"",
            "--token=\"$(Get-Clipboard)\"",
        ] {
            assert!(PAGE.contains(text), "{text}");
        }
    }

    #[test]
    fn the_page_loads_nothing_and_keeps_nothing() {
        for word in [
            "src=",
            "http:",
            "https:",
            "@import",
            "url(",
            "innerHTML",
            "localStorage",
            "sessionStorage",
            "history.",
            "document.cookie",
        ] {
            assert!(!PAGE.contains(word), "{word}");
        }
        for tag in ["<style", "<script"] {
            assert_eq!(PAGE.matches(tag).count(), 1, "{tag}");
        }
        assert!(
            !PAGE.contains(" style=") && !PAGE.contains(" onclick="),
            "attributes have no hash"
        );
        assert_ne!(hash("<style>", "</style>"), hash("<absent>", "</absent>"));
    }
}
