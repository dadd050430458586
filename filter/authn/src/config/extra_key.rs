//! Keys of extra attributes: `example.org/path`. Source: apimachinery `IsDomainPrefixedPath` and the validation of
//! `claimMappings.extra`.

use super::error::FieldError;

const NOT_PREFIXED: &str = r#"must be a domain-prefixed path (such as "acme.io/foo")"#;
const SUBDOMAIN_LENGTH: usize = 253;
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const PATH: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
const RESERVED: &str = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";

/// What is wrong with `key`, which stands at `path`.
pub(super) fn check(path: &str, key: &str) -> Vec<FieldError> {
    let mut errors = check_form(path, key);
    if key != key.to_lowercase() {
        errors.push(FieldError::invalid(path, key, "must be lowercase"));
    }
    if is_reserved(key) {
        errors.push(FieldError::invalid(path, key, RESERVED));
    }
    errors
}

fn check_form(path: &str, key: &str) -> Vec<FieldError> {
    if key.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let (domain, rest) = match key.split_once('/') {
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => (domain, rest),
        _ => return vec![FieldError::invalid(path, key, NOT_PREFIXED)],
    };
    let mut errors = Vec::new();
    if domain.len() > SUBDOMAIN_LENGTH {
        let detail = format!("must be no more than {SUBDOMAIN_LENGTH} characters");
        errors.push(FieldError::invalid(path, domain, detail));
    }
    if !domain.split('.').all(is_label) {
        errors.push(FieldError::invalid(path, domain, SUBDOMAIN));
    }
    if !rest.bytes().all(is_path_byte) {
        errors.push(FieldError::invalid(path, rest, PATH));
    }
    errors
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte)
}

fn is_reserved(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    ["kubernetes.io", "k8s.io"].iter().any(|reserved| {
        domain.strip_suffix(reserved).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn keys() {
        let lowercase = "must be lowercase";
        let long = "a".repeat(254);
        let long_key = format!("{long}/b");
        for (key, want) in [
            ("example.org/foo", vec![]),
            ("a/b", vec![]),
            ("example.org/a/b-._~%!$&'()*+,;=:", vec![]),
            ("", vec!["Required value".to_owned()]),
            ("foo", vec![invalid("foo", NOT_PREFIXED)]),
            ("/foo", vec![invalid("/foo", NOT_PREFIXED)]),
            ("foo/", vec![invalid("foo/", NOT_PREFIXED)]),
            ("example.org/Foo", vec![invalid("example.org/Foo", lowercase)]),
            (
                "Example.org/foo",
                vec![invalid("Example.org", SUBDOMAIN), invalid("Example.org/foo", lowercase)],
            ),
            ("-a/b", vec![invalid("-a", SUBDOMAIN)]),
            ("a..b/c", vec![invalid("a..b", SUBDOMAIN)]),
            ("a_b/c", vec![invalid("a_b", SUBDOMAIN)]),
            ("a/b c", vec![invalid("b c", PATH)]),
            ("a/é", vec![invalid("é", PATH)]),
            (&long_key, vec![invalid(&long, "must be no more than 253 characters")]),
            ("k8s.io/a", vec![invalid("k8s.io/a", RESERVED)]),
            ("a.kubernetes.io/b", vec![invalid("a.kubernetes.io/b", RESERVED)]),
            ("xk8s.io/a", vec![]),
        ] {
            let got: Vec<String> = check("key", key).iter().map(ToString::to_string).collect();
            let want: Vec<String> = want.into_iter().map(|error| format!("key: {error}")).collect();
            assert_eq!(got, want, "{key}");
        }
    }

    fn invalid(value: &str, detail: &str) -> String {
        format!("Invalid value: {}: {detail}", go_compat::strconv::quote(value))
    }
}
