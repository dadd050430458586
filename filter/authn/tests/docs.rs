//! docs/issuers.md and the pages of docs/use/providers show the very files that are tested.

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

/// The page of a provider, and the configuration on it.
macro_rules! provider {
    ($page:literal, $name:literal) => {
        (
            $page,
            include_str!(concat!("../../../docs/use/providers/", $page, ".md")),
            include_str!(concat!("issuers/", $name, ".yaml")),
        )
    };
}

const PROVIDERS: [(&str, &str, &str); 12] = [
    provider!("auth0", "auth0"),
    provider!("authentik", "authentik"),
    provider!("cognito", "cognito"),
    provider!("dex", "dex"),
    provider!("entra", "entra-id"),
    provider!("github-actions", "github-actions"),
    provider!("gitlab", "gitlab"),
    provider!("google", "google"),
    provider!("kanidm", "kanidm"),
    provider!("keycloak", "keycloak"),
    provider!("okta", "okta"),
    provider!("zitadel", "zitadel"),
];

#[test]
fn the_pages_of_providers_show_what_is_tested() {
    for (page, text, configuration) in PROVIDERS {
        let block = format!("```yaml\n{configuration}```\n");
        assert!(text.contains(&block), "docs/use/providers/{page}.md has another configuration");
    }
}
