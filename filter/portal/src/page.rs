//! The pages: each one document with its style and script, which are allowed by their hashes and nothing else is.

use std::sync::OnceLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::response::Response;

const PAGE: &str = include_str!("page.html");
/// Its style is that of [`PAGE`].
const ELEVATION: &str = include_str!("elevation.html");
const STYLE: [&str; 2] = ["<style>", "</style>"];
const SCRIPT: [&str; 2] = ["<script>", "</script>"];

/// `GET /`
pub(super) fn page() -> Response {
    static POLICY: OnceLock<String> = OnceLock::new();
    answer(PAGE, POLICY.get_or_init(|| policy(PAGE)))
}

/// `GET /elevation`
pub(super) fn elevation() -> Response {
    static DOCUMENT: OnceLock<(String, String)> = OnceLock::new();
    let (page, policy) = DOCUMENT.get_or_init(|| {
        let page = elevation_page();
        let policy = policy(&page);
        (page, policy)
    });
    answer(page, policy)
}

fn elevation_page() -> String {
    let [start, end] = STYLE;
    ELEVATION.replacen(&[start, end].concat(), &[start, inside(PAGE, STYLE), end].concat(), 1)
}

fn answer(page: &str, policy: &str) -> Response {
    Response::new(200, "text/html; charset=utf-8", page)
        .with("content-security-policy", policy)
        .with("cross-origin-opener-policy", "same-origin")
        .with("permissions-policy", "clipboard-write=(self)")
        .with("x-frame-options", "DENY")
}

fn policy(page: &str) -> String {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash(page, STYLE),
        hash(page, SCRIPT),
    )
}

/// The hash of what stands between two tags (Content Security Policy Level 3, section 6.7.2.4).
fn hash(page: &str, tags: [&str; 2]) -> String {
    STANDARD.encode(Sha256::digest(inside(page, tags)))
}

fn inside<'a>(page: &'a str, [start, end]: [&str; 2]) -> &'a str {
    let inside = page.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    inside.map_or("", |(inside, _)| inside)
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
            "administrators know where to get it",
            "aria-label=\"Commands for PowerShell\"",
            "--token=\"$(Get-Clipboard)\"",
        ] {
            assert!(PAGE.contains(text), "{text}");
        }
    }

    #[test]
    fn the_pages_load_nothing_and_keep_nothing() {
        let elevation = elevation_page();
        for page in [PAGE, &elevation] {
            loads_nothing(page);
        }
        assert_eq!(inside(&elevation, STYLE), inside(PAGE, STYLE));
        assert_ne!(hash(&elevation, SCRIPT), hash(PAGE, SCRIPT));
        let policy = |answer: Response| {
            answer.headers.into_iter().find(|(name, _)| *name == "content-security-policy")
        };
        assert_ne!(policy(page()), policy(super::elevation()));
    }

    fn loads_nothing(page: &str) {
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
            assert!(!page.contains(word), "{word}");
        }
        for tag in ["<style", "<script"] {
            assert_eq!(page.matches(tag).count(), 1, "{tag}");
        }
        assert!(
            !page.contains(" style=") && !page.contains(" onclick="),
            "attributes have no hash"
        );
        assert_ne!(hash(page, STYLE), hash(page, ["<absent>", "</absent>"]));
    }
}
