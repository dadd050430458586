//! The documents that say whose access has ended.

use gateway_core::{
    access::{MOST_ENTRIES, Revocations},
    elevation::{Grants, MOST_BYTES},
};

/// The cluster by which the filter asks for them. No route names it.
pub const ACCESS_CLUSTER: &str = "access";

/// Reads a `Revocations` document, YAML or JSON.
///
/// # Errors
/// In one line, with the field's path.
pub fn parse_revocations(text: &[u8]) -> Result<Revocations, String> {
    let first = |text: String| text.lines().next().unwrap_or("not YAML").to_owned();
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    if text.trim().is_empty() {
        return Err("it is empty: it needs apiVersion and kind".to_owned());
    }
    // By way of a value: a field that stands twice is refused there.
    let document: serde_json::Value = serde_saphyr::from_str_with_options(text, room())
        .map_err(|error| first(error.to_string()))?;
    for field in ["apiVersion", "kind"] {
        if document.get(field).is_none() {
            return Err(format!("{field}: Required value"));
        }
    }
    let document: Revocations = serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        if path == "." { error.to_string() } else { format!("{path}: {}", error.inner()) }
    })?;
    document.check().map_err(|error| error.to_string())?;
    Ok(document)
}

/// Room for as many entries as a document may have: each is a mapping of at most nine fields. The parser's own bound is a fifth of that.
fn room() -> serde_saphyr::Options {
    let most = MOST_ENTRIES * 24;
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: most, max_events: most },
    }
}

/// Reads a `Grants` document, YAML or JSON.
///
/// # Errors
/// In one line.
pub fn parse_grants(text: &[u8]) -> Result<Grants, String> {
    let first = |text: String| text.lines().next().unwrap_or("not YAML").to_owned();
    if text.len() > MOST_BYTES {
        return Grants::parse(text).map_err(|error| error.to_string());
    }
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    // By way of a value: a field that stands twice is refused there.
    let document: serde_json::Value =
        serde_saphyr::from_str(text).map_err(|error| first(error.to_string()))?;
    Grants::parse(document.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_yaml_or_json_and_strict() {
        let text = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: Grants\n";
        assert_eq!(parse_grants(text.as_bytes()), Ok(Grants::none()));
        assert!(parse_grants(format!("{text}kind: Grants\n").as_bytes()).is_err());
        assert!(parse_grants(text.replace("Grants", "Grant").as_bytes()).is_err());
        assert!(parse_grants(&vec![b' '; MOST_BYTES + 1]).unwrap_err().contains("prune"));
    }

    /// A document that could be written could not be read: then nobody was let in after five minutes.
    #[test]
    fn as_many_entries_are_read_as_a_document_may_have() {
        let entry = "- {user: a, issuedBefore: 2030-01-01T00:00:00Z, until: 2030-01-01T00:00:00Z, reason: r}\n";
        let head = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: Revocations\nrevocations:\n";
        let text = |count: usize| format!("{head}{}", entry.repeat(count));
        let read = parse_revocations(text(MOST_ENTRIES).as_bytes()).unwrap();
        assert_eq!(read.revocations.len(), MOST_ENTRIES);
        let error = parse_revocations(text(MOST_ENTRIES + 1).as_bytes()).unwrap_err();
        assert!(error.contains("must have at most 50000 items"), "{error}");
    }

    #[test]
    fn a_document_is_strict_and_its_faults_have_a_place() {
        const HEAD: &str = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: Revocations\n";
        for (text, want) in [
            (HEAD.to_owned(), Ok(0)),
            (format!("{HEAD}revocations: [{{user: a, until: 2030-01-01T00:00:00Z}}]"), Ok(1)),
            (
                format!("{HEAD}revocations: [{{user: a, until: soon}}]"),
                Err("revocations[0].until: Invalid value: \"soon\""),
            ),
            (format!("{HEAD}revocations: [{{users: a}}]"), Err("revocations[0].users: unknown")),
            (
                format!("{HEAD}revocations: [{{user: [a]}}]"),
                Err("revocations[0].user: invalid type"),
            ),
            (format!("{HEAD}kind: Revocations"), Err("")),
            (String::new(), Err("it is empty")),
            ("kind: Revocations".to_owned(), Err("apiVersion: Required value")),
        ] {
            match (parse_revocations(text.as_bytes()), want) {
                (Ok(got), Ok(want)) => assert_eq!(got.revocations.len(), want),
                (Err(got), Err(want)) => assert!(got.starts_with(want), "{got} / {want}"),
                (got, want) => panic!("{text}: {got:?} / {want:?}"),
            }
        }
    }
}
