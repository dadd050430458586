//! What each provider's tokens are like, as docs/issuers.md has it, and what its client needs, as docs/login.md has it.

use clap::ValueEnum;
use serde::Deserialize;

/// Who issues the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Keycloak
    Keycloak,
    /// Kanidm
    Kanidm,
    /// Microsoft Entra ID
    Entra,
    /// Google Workspace
    Google,
    /// Okta
    Okta,
    /// Auth0
    Auth0,
    /// GitLab
    Gitlab,
    /// Dex
    Dex,
    /// Another OpenID provider
    Other,
}

/// What is different from provider to provider.
pub struct Preset {
    /// What its issuer's URL looks like.
    pub issuer: &'static str,
    /// What its client's ID looks like.
    pub client: &'static str,
    /// The claim with the user's name: one that nobody can take over.
    pub username_claim: &'static str,
    /// The claim with the groups; empty if there is none.
    pub groups_claim: &'static str,
    /// What is put before names, if nothing else is said; empty for nothing.
    pub prefix: &'static str,
    /// The claim that is the same for ever.
    pub uid_claim: &'static str,
    /// Scopes beside openid.
    pub scopes: &'static [&'static str],
    /// How groups get into the token.
    pub groups_come: &'static str,
}

impl Provider {
    /// What its tokens are like.
    pub fn preset(self) -> Preset {
        let preset = Preset {
            issuer: "https://issuer.example.com",
            client: "kubernetes",
            username_claim: "sub",
            groups_claim: "groups",
            prefix: "oidc:",
            uid_claim: "sub",
            scopes: &["profile", "email"],
            groups_come: "a scope (--oidc-extra-scope=groups) or a mapper of the provider's puts them there",
        };
        match self {
            Self::Keycloak => Preset {
                issuer: "https://keycloak.example.com/realms/REALM",
                username_claim: "preferred_username",
                prefix: "keycloak:",
                scopes: &[],
                groups_come: "a mapper Group Membership in the client's dedicated scope, with the token claim name groups",
                ..preset
            },
            Self::Kanidm => Preset {
                issuer: "https://idm.example.com/oauth2/openid/CLIENT",
                username_claim: "preferred_username",
                prefix: "kanidm:",
                scopes: &["profile", "email", "groups"],
                groups_come: "kanidm system oauth2 update-scope-map CLIENT GROUP openid profile email groups",
                ..preset
            },
            Self::Entra => Preset {
                issuer: "https://login.microsoftonline.com/TENANT_ID/v2.0",
                client: "the application's ID",
                username_claim: "oid",
                prefix: "entra:",
                uid_claim: "oid",
                scopes: &["profile", "email", "offline_access"],
                groups_come: "Token configuration of the app registration: add the groups claim to the ID token; groups are object IDs",
                ..preset
            },
            Self::Google => Preset {
                issuer: "https://accounts.google.com",
                client: "NUMBER-NAME.apps.googleusercontent.com",
                username_claim: "email",
                groups_claim: "",
                prefix: "",
                groups_come: "Google has no groups in its tokens: bind users",
                ..preset
            },
            Self::Okta => Preset {
                issuer: "https://ORGANIZATION.okta.com",
                username_claim: "preferred_username",
                prefix: "okta:",
                scopes: &["profile", "email", "groups", "offline_access"],
                groups_come: "the application's Groups claim filter, with the name groups",
                ..preset
            },
            Self::Auth0 => Preset {
                issuer: "https://TENANT.auth0.com/",
                prefix: "auth0:",
                scopes: &["profile", "email", "offline_access"],
                groups_come: "an Action that sets a claim of your own: its name is a URL, --oidc-groups-claim=https://example.com/groups",
                ..preset
            },
            Self::Gitlab => Preset {
                issuer: "https://gitlab.example.com",
                client: "the application's ID",
                groups_claim: "groups_direct",
                prefix: "gitlab:",
                groups_come: "GitLab puts the groups whose member the user is into groups_direct",
                ..preset
            },
            Self::Dex => Preset {
                issuer: "https://dex.example.com",
                username_claim: "email",
                prefix: "dex:",
                scopes: &["profile", "email", "groups", "offline_access"],
                groups_come: "the scope groups, if the connector has groups",
                ..preset
            },
            Self::Other => preset,
        }
    }
}
