//! What the gateway's own account must be allowed to do, by its configuration: no right that no feature needs.
//!
//! Sources: k8s.io/apiserver, `pkg/endpoints/filters/impersonation` (which right each impersonated value needs, and what the
//! constrained form of KEP-5284 refuses), `plugin/pkg/auth/authorizer/rbac` (how rules match).

mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::config::{ClientImpersonation, GatewayConfiguration, Impersonation};
use kube_authn::{config::raw::AuthenticationConfiguration, identity::CREDENTIAL_ID_KEY};
use serde::Serialize;

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
/// kube-oidc-proxy's name for the client's address.
const CLIENT_IP_KEY: &str = "remote-client-ip";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Every verb that a request for a resource can have (`RequestInfo` of kube-apiserver; the last two are of its old paths).
const RESOURCE_VERBS: [&str; 9] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "proxy"];
/// Methods in lower case: what a request for anything else has.
const URL_VERBS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// A rule of a `ClusterRole`, and the feature that needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRule {
    /// What would not work without it.
    #[serde(skip)]
    pub why: String,
    /// Empty where the rule is about URLs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// With subresources, `users` or `userextras/KEY`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The only names; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths that are no resources.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    /// What may be done.
    pub verbs: Vec<String>,
}

/// The least rights of a gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role {
    /// The rules of its `ClusterRole`.
    pub rules: Vec<PolicyRule>,
    /// What a reader of the role should know: features that it does not cover.
    pub notes: Vec<String>,
}

/// How impersonation is granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// The verb `impersonate`, which every version of Kubernetes knows.
    #[default]
    Plain,
    /// KEP-5284, Kubernetes 1.36: `impersonate:user-info`, and `impersonate-on:user-info:VERB` for what may be done then.
    Constrained,
}

impl Role {
    /// The least rights for this configuration. `as_extras` are the keys that users may ask for by
    /// `kubectl --as-user-extra`; they count only with `clientImpersonation: authorize`.
    #[must_use]
    pub fn least(
        authentication: &AuthenticationConfiguration,
        gateway: &GatewayConfiguration,
        as_extras: &[String],
        form: Form,
    ) -> Self {
        let mut role = Self::default();
        if gateway.impersonation == Impersonation::Enabled {
            let wanted = Wanted::new(authentication, gateway, as_extras);
            wanted.grant(form, &mut role);
            if form == Form::Constrained {
                role.grant_actions();
                wanted.note_what_is_refused(gateway, &mut role);
            }
        }
        if gateway.client_impersonation == ClientImpersonation::Authorize {
            role.rules.push(rule(
                "clientImpersonation: authorize asks who may be whom",
                AUTHORIZATION,
                "subjectaccessreviews",
                "create",
            ));
        }
        if gateway.token_review.enabled {
            role.rules.push(rule(
                "tokenReview asks whose token it is",
                AUTHENTICATION,
                "tokenreviews",
                "create",
            ));
        }
        role
    }

    /// With the constrained form a right to impersonate is nothing without one to do something as somebody else.
    fn grant_actions(&mut self) {
        let verbs = |verbs: &[&str]| {
            verbs.iter().map(|verb| format!("impersonate-on:user-info:{verb}")).collect()
        };
        self.rules.push(PolicyRule {
            why: "what users may do through the gateway, as far as their own rights go".to_owned(),
            api_groups: vec!["*".to_owned()],
            resources: vec!["*".to_owned()],
            verbs: verbs(&RESOURCE_VERBS),
            ..PolicyRule::default()
        });
        self.rules.push(PolicyRule {
            why: "paths that are no resources: discovery, /version, /healthz".to_owned(),
            non_resource_urls: vec!["*".to_owned()],
            verbs: verbs(&URL_VERBS),
            ..PolicyRule::default()
        });
    }
}

/// Which values of an identity the gateway sends, by their kinds.
struct Wanted {
    groups: Groups,
    uids: bool,
    accounts: Accounts,
    /// Extras by key, with the only values where they are known.
    extras: BTreeMap<String, Vec<String>>,
}

enum Groups {
    Any,
    /// Those of requests without a credential.
    Anonymous,
    None,
}

enum Accounts {
    Any,
    /// Those that tokens may be by `allowedReserved.users`.
    Named(BTreeSet<String>),
}

impl Wanted {
    fn new(
        authentication: &AuthenticationConfiguration,
        gateway: &GatewayConfiguration,
        as_extras: &[String],
    ) -> Self {
        let authorize = gateway.client_impersonation == ClientImpersonation::Authorize;
        let mappings = || authentication.jwt.iter().map(|jwt| &jwt.claim_mappings);
        // Such a token brings groups and a uid whatever the issuers' do.
        let shared = !gateway.shared_secret.audience.is_empty();
        let groups = shared
            || mappings().any(|it| !it.groups.claim.is_empty() || !it.groups.expression.is_empty());
        let uids = shared
            || mappings().any(|it| !it.uid.claim.is_empty() || !it.uid.expression.is_empty());
        let mut extras: BTreeMap<_, _> = mappings()
            .flat_map(|it| &it.extra)
            .map(|extra| (extra.key.clone(), Vec::new()))
            .collect();
        if gateway.extras.credential_id && !authentication.jwt.is_empty() {
            extras.insert(CREDENTIAL_ID_KEY.to_owned(), Vec::new());
        }
        let has_extras = !extras.is_empty();
        if gateway.extras.client_ip {
            extras.insert(CLIENT_IP_KEY.to_owned(), Vec::new());
        }
        // A configured value replaces whatever a token says, so that it is the only one.
        extras.extend(gateway.extras.headers.clone());
        if authorize {
            extras.extend(as_extras.iter().map(|key| (key.clone(), Vec::new())));
            let original = &gateway.original_user;
            let sent = [("user", true), ("groups", groups), ("uid", uids), ("extra", has_extras)];
            let sent = sent.iter().filter(|(_, sent)| *sent && original.enabled);
            extras.extend(sent.map(|(name, _)| (format!("{}{name}", original.prefix), Vec::new())));
        }
        let accounts = gateway.allowed_reserved.users.iter().filter_map(|user| {
            let (_, name) = user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
            Some(name.to_owned())
        });
        let anonymous = authentication.anonymous.as_ref().is_some_and(|it| it.enabled);
        Self {
            groups: match (groups || authorize, anonymous) {
                (true, _) => Groups::Any,
                (false, true) => Groups::Anonymous,
                (false, false) => Groups::None,
            },
            uids: uids || authorize,
            accounts: if authorize { Accounts::Any } else { Accounts::Named(accounts.collect()) },
            extras,
        }
    }

    fn grant(&self, form: Form, role: &mut Role) {
        let (core, verb) = match form {
            Form::Plain => ("", "impersonate"),
            Form::Constrained => (AUTHENTICATION, "impersonate:user-info"),
        };
        let rules = &mut role.rules;
        rules.push(rule("everybody who signs in", core, "users", verb));
        match self.groups {
            Groups::Any => rules.push(rule("their groups", core, "groups", verb)),
            Groups::Anonymous => {
                let names = vec!["system:unauthenticated".to_owned()];
                let groups =
                    rule("requests without a credential (anonymous)", core, "groups", verb);
                rules.push(PolicyRule { resource_names: names, ..groups });
            }
            Groups::None => {}
        }
        if self.uids {
            let why = "their uids (claimMappings.uid, kubectl --as-uid)";
            rules.push(rule(why, AUTHENTICATION, "uids", verb));
        }
        // Another resource than users, whatever the name of the user in the headers (plain form only).
        match (&self.accounts, form) {
            (Accounts::Any, Form::Plain) => {
                rules.push(rule("kubectl --as a ServiceAccount", core, "serviceaccounts", verb));
            }
            (Accounts::Named(names), Form::Plain) if !names.is_empty() => {
                let accounts = rule("allowedReserved.users", core, "serviceaccounts", verb);
                let resource_names = names.iter().cloned().collect();
                rules.push(PolicyRule { resource_names, ..accounts });
            }
            _ => {}
        }
        self.grant_extras(verb, rules);
    }

    fn grant_extras(&self, verb: &str, rules: &mut Vec<PolicyRule>) {
        let (known, any): (Vec<_>, Vec<_>) =
            self.extras.iter().partition(|(_, values)| !values.is_empty());
        if !any.is_empty() {
            rules.push(PolicyRule {
                why: "extras that requests carry, by their keys".to_owned(),
                api_groups: vec![AUTHENTICATION.to_owned()],
                resources: any.iter().map(|(key, _)| format!("userextras/{key}")).collect(),
                verbs: vec![verb.to_owned()],
                ..PolicyRule::default()
            });
        }
        for (key, values) in known {
            let resource = format!("userextras/{key}");
            let extra = rule("extras.headers", AUTHENTICATION, &resource, verb);
            rules.push(PolicyRule { resource_names: values.clone(), ..extra });
        }
    }

    /// KEP-5284: what the constrained form never lets through, whatever a role says.
    fn note_what_is_refused(&self, gateway: &GatewayConfiguration, role: &mut Role) {
        let notes = &mut role.notes;
        notes.push(
            "It needs kube-apiserver 1.36, or 1.35 with the feature gate ConstrainedImpersonation."
                .to_owned(),
        );
        notes.push("It refuses the group system:masters and empty groups, also where allowedReserved.groups lets them pass.".to_owned());
        notes.push("It refuses extras with an empty value.".to_owned());
        for key in self.extras.keys().filter(|key| !is_domain_path(key)) {
            notes.push(format!("It refuses every request with the extra {key:?}: keys must have the form domain/path."));
        }
        let authorize = gateway.client_impersonation == ClientImpersonation::Authorize;
        let original = &gateway.original_user;
        if authorize && original.enabled && !original.prefix.contains('/') {
            notes.push("Set originalUser.prefix to one with a slash, such as originaluser.jetstack.io/, for kubectl --as.".to_owned());
        }
        if !matches!(&self.accounts, Accounts::Named(names) if names.is_empty()) {
            notes.push(
                "It refuses ServiceAccounts (kubectl --as system:serviceaccount:…): impersonate:serviceaccount knows neither groups nor extras."
                    .to_owned(),
            );
        }
    }
}

/// `IsDomainPrefixedPath` of apimachinery, as far as keys that are in lower case can break it.
fn is_domain_path(key: &str) -> bool {
    key.split_once('/').is_some_and(|(domain, path)| {
        domain.contains(|c: char| c.is_ascii_alphanumeric()) && !path.is_empty()
    })
}

fn rule(why: &str, group: &str, resource: &str, verb: &str) -> PolicyRule {
    PolicyRule {
        why: why.to_owned(),
        api_groups: vec![group.to_owned()],
        resources: vec![resource.to_owned()],
        verbs: vec![verb.to_owned()],
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests;
