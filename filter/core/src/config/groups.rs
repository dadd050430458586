//! `groupSources`: where a user's groups are, if not in the token.

use serde::Serialize;
use serde_json::Value;

use super::{
    callouts::{self, CalloutCredential, CalloutFault, CheckedCredential},
    section::{FromValue, plain_section, word},
};

/// How many there may be.
const MOST: usize = 32;
/// Bytes of a name.
const MOST_NAME: usize = 40;
/// That a userinfo answer is about whom the token is.
const SAME_USER: &str = "answer.sub == claims.sub";

plain_section! {
    /// A server that knows the groups of an issuer's users. They take the place of a claim, and are mapped, checked and bounded as that
    /// would be. A user whose groups cannot be had is refused with 503, and never let in without them.
    GroupSource
        /// Its name, of lower-case letters, digits and `-`: in logs, metrics and the names of clusters.
        name: String = String::new();
        /// The issuer whose users it knows: `issuer.url` of the `AuthenticationConfiguration`.
        issuer: String = String::new();
        /// For which of its tokens it is asked. Of several sources of an issuer the first whose `when` fits is.
        when: When = When::ClaimAbsent;
        /// What kind of server it is: what the fields below are by default.
        provider: Provider = Provider::Http;
        /// The server, `https://HOST`, `https://HOST:PORT`, or with a path before all of its own. Nothing else is ever asked, whatever a token
        /// or an answer says. `entra` and `google` have one by default.
        url: String = String::new();
        /// The PEM certificates of the CAs that may sign the server's certificate; empty means the issuer's where both are one host, else the
        /// system's.
        certificate_authority: String = String::new();
        /// How the gateway proves who it is. Envoy adds it; the filter never has it.
        credential: CalloutCredential = CalloutCredential::default();
        /// Sends the user's own token instead, as the userinfo endpoint wants it. It has to be an access token then.
        send_token: bool = false;
        /// The claim whose place the groups take; empty means the one that `claimMappings.groups` names. Where that is an expression, it reads
        /// this claim.
        claim: String = String::new();
        /// What to ask for: a path, perhaps with a query. `${EXPRESSION}` is a CEL expression over `claims`, of type string; its value is
        /// percent-encoded, and no value can lead to another path.
        path: String = String::new();
        /// A body, which makes the request a POST: JSON in which `${EXPRESSION}` stands for a string, quotes included.
        body: String = String::new();
        /// A CEL expression over `answer`, the JSON of a page, and `claims`: the groups, a list of strings.
        groups: String = String::new();
        /// A CEL expression over `answer` and `claims` that must be true: that the answer is about this user.
        check: String = String::new();
        /// How further pages are found.
        pages: Pages = Pages::default();
        /// By what the providers' groups are called in the cluster, where `groups` is not given. With `default` by their names, and those of
        /// `entra` by their ids: there, users may make groups of any name, also of one that there is already.
        value: GroupValue = GroupValue::Default;
        /// The groups that count, by the names that `groups` gives; `*` at the end of one stands for anything. Empty means all.
        only: Vec<String> = Vec::new();
        /// Pages of one answer; a user with more is refused.
        maximum_pages: u32 = 20, 1..=100;
        /// Questions in a second, of all workers together, and up to a second's worth at once. Others wait for their turn.
        requests_per_second: u32 = 50, 1..=10_000;
        /// Seconds that the answer may take, all pages and the wait for the turn together, but no longer than `groupCache.lifetimeSeconds`. At
        /// most three quarters of it are a wait for the turn. Requests wait no longer than `limits.waitSeconds` for it.
        timeout_seconds: u32 = 20, 1..=120;
        /// What a user's groups are while the server cannot be asked.
        on_failure: OnFailure = OnFailure::default();
}

plain_section! {
    /// How further pages of an answer are found. At most one of the ways is given. They are asked of the same server alone.
    Pages
        /// The member of the answer with the next page's URL, or with its token if `parameter` is given.
        member: String = String::new();
        /// The parameter of the query in which the next page's token goes.
        parameter: String = String::new();
        /// The header `Link` with `rel="next"` (RFC 8288) has the next page's URL.
        link_header: bool = false;
}

plain_section! {
    /// What a user's groups are while the server cannot be asked.
    OnFailure
        /// Seconds for which the last answer counts beyond its lifetime; 0 means that it does not. A user who is taken out of a group during an
        /// outage of the server has it for as long.
        last_answer_seconds: u32 = 3600, 0..=86_400;
}

plain_section! {
    /// How long the answers of group sources are remembered, for each worker.
    GroupCache
        /// Seconds after which a user's groups are asked for again: a user who is taken out of a group has it no longer than that. For a user
        /// with requests they are asked for before, while requests go on.
        lifetime_seconds: u32 = 300, 5..=86_400;
        /// Users; the least recently used leaves first.
        maximum_entries: u32 = 10_000, 1..=1_000_000;
        /// Bytes of memory.
        maximum_bytes: u32 = 16 << 20, 64 << 10..=256 << 20;
}

/// For which tokens a source is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum When {
    /// For all. What the claim holds does not count.
    Always,
    /// For those that do not have the claim.
    #[default]
    ClaimAbsent,
    /// For those that do not have the claim and say that there are groups: by `_claim_names` or `hasgroups`.
    Overflow,
}

/// A kind of server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// Microsoft Graph.
    Entra,
    /// Keycloak's admin API. `url` ends before `/admin`; the realm is that of the issuer.
    Keycloak,
    /// Okta's API.
    Okta,
    /// Google's Admin SDK.
    Google,
    /// The issuer's userinfo endpoint: `url` and `path` are its.
    Userinfo,
    /// Any.
    #[default]
    Http,
}

/// By what groups are called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum GroupValue {
    /// What nobody else's group has.
    #[default]
    Default,
    /// Their names.
    Names,
    /// Their ids.
    Ids,
}

impl FromValue for When {
    fn from_value(value: Value) -> Result<Self, String> {
        let words = [
            ("Always", Self::Always),
            ("ClaimAbsent", Self::ClaimAbsent),
            ("Overflow", Self::Overflow),
        ];
        word(value, &words)
    }
}

impl FromValue for Provider {
    fn from_value(value: Value) -> Result<Self, String> {
        let words = [
            ("entra", Self::Entra),
            ("keycloak", Self::Keycloak),
            ("okta", Self::Okta),
            ("google", Self::Google),
            ("userinfo", Self::Userinfo),
            ("http", Self::Http),
        ];
        word(value, &words)
    }
}

impl FromValue for GroupValue {
    fn from_value(value: Value) -> Result<Self, String> {
        word(value, &[("default", Self::Default), ("names", Self::Names), ("ids", Self::Ids)])
    }
}

impl GroupSource {
    /// With what its provider has by default in the place of what is not given.
    #[must_use]
    pub fn filled(&self) -> Self {
        let mut it = self.clone();
        let by_id = match self.value {
            GroupValue::Default => self.provider == Provider::Entra,
            value => value == GroupValue::Ids,
        };
        let choose = |id: &'static str, name: &'static str| if by_id { id } else { name };
        let default = |field: &mut String, value: &str| {
            if field.is_empty() {
                value.clone_into(field);
            }
        };
        match self.provider {
            Provider::Entra => {
                default(&mut it.url, "https://graph.microsoft.com");
                default(
                    &mut it.path,
                    "/v1.0/users/${claims.oid}/transitiveMemberOf?$select=id,displayName&$top=999",
                );
                default(
                    &mut it.groups,
                    choose(
                        "answer.value.map(o, o['@odata.type'] == '#microsoft.graph.group', o.id)",
                        "answer.value.map(o, o['@odata.type'] == '#microsoft.graph.group', o.displayName)",
                    ),
                );
                it.default_pages("@odata.nextLink", "", false);
            }
            Provider::Keycloak => {
                let realm = self.issuer.rsplit_once("/realms/").map_or("", |(_, realm)| realm);
                default(
                    &mut it.path,
                    &format!("/admin/realms/{realm}/users/${{claims.sub}}/groups"),
                );
                default(&mut it.groups, choose("answer.map(g, g.id)", "answer.map(g, g.path)"));
            }
            Provider::Okta => {
                default(&mut it.path, "/api/v1/users/${claims.sub}/groups?limit=200");
                default(
                    &mut it.groups,
                    choose("answer.map(g, g.id)", "answer.map(g, g.profile.name)"),
                );
                it.default_pages("", "", true);
            }
            Provider::Google => {
                default(&mut it.url, "https://admin.googleapis.com");
                default(
                    &mut it.path,
                    "/admin/directory/v1/groups?userKey=${claims.sub}&maxResults=200",
                );
                default(
                    &mut it.groups,
                    choose(
                        "has(answer.groups) ? answer.groups.map(g, g.id) : []",
                        "has(answer.groups) ? answer.groups.map(g, g.email) : []",
                    ),
                );
                // It leaves `groups` out where there are none. So does every other answer.
                default(&mut it.check, "answer.kind == 'admin#directory#groups'");
                it.default_pages("nextPageToken", "pageToken", false);
            }
            Provider::Userinfo => {
                default(&mut it.groups, "answer.groups");
                // OpenID Connect Core 1.0, section 5.3.2: whatever else is to be true.
                it.check = match it.check.as_str() {
                    "" => SAME_USER.to_owned(),
                    more => format!("{SAME_USER} && ({more})"),
                };
                it.send_token = true;
            }
            Provider::Http => {}
        }
        it
    }

    fn default_pages(&mut self, member: &str, parameter: &str, link_header: bool) {
        if self.pages == Pages::default() {
            self.pages =
                Pages { member: member.to_owned(), parameter: parameter.to_owned(), link_header };
        }
    }

    /// What cannot be meant, apart from its expressions; `before` are the sources before it. It is [`Self::filled`].
    pub(super) fn fault(&self, before: &[Self]) -> Option<CalloutFault> {
        let fault = |field: &str, got: &str, why| Some((field.to_owned(), got.to_owned(), why));
        let Self { name, issuer, url, path, pages, .. } = self;
        if !is_name(name) {
            let why =
                "must be a lower-case name of letters, digits and '-', of at most 40 characters";
            return fault("name", name, why);
        }
        if before.iter().any(|other| other.name == *name) {
            return fault("name", name, "must be no other source's name");
        }
        if issuer.is_empty() {
            return fault("issuer", "", "must be the URL of an issuer");
        }
        if !callouts::is_server(url, true) {
            let why = "must be https://HOST or https://HOST:PORT, perhaps with a path, and no '/' at its end";
            return fault("url", url, why);
        }
        if path.is_empty() {
            return fault("path", "", "must be given for this provider");
        }
        if self.groups.is_empty() {
            return fault("groups", "", "must be given for this provider");
        }
        let credential = match self.credential.checked() {
            Ok(credential) => credential,
            Err((field, got, why)) => {
                let field = format!("credential.{field}");
                return fault(field.trim_end_matches('.'), &got, why);
            }
        };
        if self.send_token && credential != CheckedCredential::None {
            return fault("credential", "", "must not be given where the user's token is sent");
        }
        if pages.link_header && !pages.member.is_empty()
            || pages.member.is_empty() && !pages.parameter.is_empty()
        {
            return fault("pages", "", "must have member, member and parameter, or linkHeader");
        }
        let is_bad = |only: &&String| only.is_empty() || only.chars().any(char::is_control);
        self.only.iter().find(is_bad).and_then(|only| {
            fault("only", only, "must have no empty name and no control character")
        })
    }
}

/// The first source that cannot be meant: the path of a field, its value, and why.
pub(super) fn fault(sources: &[GroupSource]) -> Option<CalloutFault> {
    if sources.len() > MOST {
        let got = sources.len().to_string();
        return Some(("groupSources".to_owned(), got, "must have at most 32 items"));
    }
    sources.iter().enumerate().find_map(|(index, source)| {
        let before = sources.get(..index).unwrap_or_default();
        let (field, got, why) = source.filled().fault(before)?;
        Some((format!("groupSources[{index}].{field}"), got, why))
    })
}

/// A label of DNS (RFC 1123, section 2.1).
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MOST_NAME).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
