//! The documents that say whose access has ended.

use gateway_core::{
    access::Revocations,
    callout::MOST_DOCUMENTS,
    elevation::{Grants, MOST_BYTES},
};

/// The cluster by which the filter asks for them. No route names it.
pub const ACCESS_CLUSTER: &str = "access";
/// Bytes of revocations in JSON, as they travel to the filter: with grants beside them they stay below
/// [`MOST_DOCUMENTS`], beyond which it takes none.
pub const MOST_REVOCATIONS_BYTES: usize = 6 << 20;
const _: () = assert!(MOST_REVOCATIONS_BYTES + MOST_BYTES + 1024 < MOST_DOCUMENTS);

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
    let document: serde_json::Value =
        serde_saphyr::from_str(text).map_err(|error| first(error.to_string()))?;
    for field in ["apiVersion", "kind"] {
        if document.get(field).is_none() {
            return Err(format!("{field}: Required value"));
        }
    }
    let document: Revocations = serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        if path == "." { error.to_string() } else { format!("{path}: {}", error.inner()) }
    })?;
    check_revocations(&document)?;
    Ok(document)
}

/// Checks a `Revocations` document: its fields, and whether it fits on the way to the filter. Gives its bytes there.
///
/// # Errors
/// In one line, with the field's path.
pub fn check_revocations(document: &Revocations) -> Result<usize, String> {
    document.check().map_err(|error| error.to_string())?;
    let bytes = serde_json::to_vec(document).map_err(|error| error.to_string())?.len();
    if bytes > MOST_REVOCATIONS_BYTES {
        return Err(format!(
            "revocations: Invalid value: {bytes}: must have at most {MOST_REVOCATIONS_BYTES} bytes as JSON: prune those that are over, or end many at once by group or issuedBefore"
        ));
    }
    Ok(bytes)
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

    /// The filter would not take it, and nobody would be let in some minutes later.
    #[test]
    fn what_does_not_fit_on_the_way_to_the_filter_is_refused_at_once() {
        let entry = |n: usize| gateway_core::access::Revocation {
            sid: format!("0b5a4c1e-7d2f-4a5b-9c3d-{n:012}"),
            issuer: "https://login.example.com/realms/cluster".to_owned(),
            until: "2030-01-01T00:00:00Z".to_owned(),
            reason: "logged out at the provider".to_owned(),
            ..Default::default()
        };
        let with = |count| Revocations {
            revocations: (0..count).map(entry).collect(),
            ..Revocations::default()
        };
        assert!(check_revocations(&with(30_000)).is_ok());
        let document = with(50_000);
        assert_eq!(document.check(), Ok(()));
        assert!(check_revocations(&document).unwrap_err().contains("at most 6291456 bytes"));
    }

    #[test]
    fn grants_are_yaml_or_json_and_strict() {
        let text = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: Grants\n";
        assert_eq!(parse_grants(text.as_bytes()), Ok(Grants::none()));
        assert!(parse_grants(format!("{text}kind: Grants\n").as_bytes()).is_err());
        assert!(parse_grants(text.replace("Grants", "Grant").as_bytes()).is_err());
        assert!(parse_grants(&vec![b' '; MOST_BYTES + 1]).unwrap_err().contains("prune"));
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
