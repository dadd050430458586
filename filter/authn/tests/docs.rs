//! docs/issuers.md shows the very files that are tested.

const PAGE: &str = include_str!("../../../docs/issuers.md");

const FILES: [(&str, &str); 9] = [
    ("eks", include_str!("issuers/eks.yaml")),
    ("entra-id", include_str!("issuers/entra-id.yaml")),
    ("github-actions", include_str!("issuers/github-actions.yaml")),
    ("gke", include_str!("issuers/gke.yaml")),
    ("google", include_str!("issuers/google.yaml")),
    ("kanidm", include_str!("issuers/kanidm.yaml")),
    ("keycloak", include_str!("issuers/keycloak.yaml")),
    ("kubernetes", include_str!("issuers/kubernetes.yaml")),
    ("spiffe", include_str!("issuers/spiffe.yaml")),
];

#[test]
fn the_page_shows_what_is_tested() {
    for (name, text) in FILES {
        assert!(PAGE.contains(text), "docs/issuers.md does not have issuers/{name}.yaml as it is");
    }
}
