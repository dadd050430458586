//! `kubectl --as`: what a client asks to impersonate, what it needs the right for, and what then travels upstream.
//!
//! Sources: k8s.io/apiserver, `pkg/endpoints/filters/impersonation` (which right each value needs), and
//! kube-oidc-proxy (the original user's extras).

use std::borrow::Cow;

use kube_authn::Identity;
use percent_encoding::percent_decode;
use serde_json::{Value, json};

use crate::{config::OriginalUser, names, refusal::Refusal};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// Bytes of a DNS label and of a whole DNS name, as Kubernetes counts them.
const MOST_LABEL: usize = 63;
const MOST_SUBDOMAIN: usize = 253;
const AUTHENTICATED: &str = "system:authenticated";

/// Whom a client asks to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    identity: Identity,
}

impl Requested {
    /// Reads the client's `Impersonate-*` headers; `None` if there are none.
    ///
    /// Refused are more than `most` values, a group, uid or extra without a user, and what kube-apiserver would read as
    /// something else than it seems: a second user or uid, a header that it does not know, text that is none, a blank
    /// at an edge (Go trims it on HTTP/1: another name than the one that was allowed), an extra's key in upper case
    /// (written as a header's name it would be another key).
    pub fn read<N: AsRef<str>, V: AsRef<[u8]>>(
        headers: &[(N, V)],
        most: u32,
    ) -> Result<Option<Self>, Refusal> {
        let mut identity = Identity::default();
        let mut user = None;
        let mut uid = None;
        let mut first = None;
        let mut count = 0_u32;
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            if !name.starts_with("impersonate-") {
                continue;
            }
            first.get_or_insert(name);
            count = count.saturating_add(1);
            let bad = |why| Refusal::BadImpersonation { header: name.to_owned(), why };
            let value = std::str::from_utf8(value).map_err(|_| bad("is not UTF-8"))?;
            if !names::is_safe(value) {
                return Err(bad("has a control character, or a blank at its start or end"));
            }
            match name {
                USER => set_once(&mut user, value).map_err(bad)?,
                UID => set_once(&mut uid, value).map_err(bad)?,
                GROUP => identity.groups.push(value.to_owned()),
                _ => {
                    let key = name.strip_prefix(EXTRA).ok_or_else(|| bad("is not known"))?;
                    let key = decode_key(key);
                    if key.to_lowercase() != key {
                        return Err(bad("names a key that is not in lower case"));
                    }
                    let values: &mut Vec<_> = identity.extra.entry(key).or_default();
                    values.push(value.to_owned());
                }
            }
        }
        let Some(first) = first else { return Ok(None) };
        if count > most {
            return Err(Refusal::TooManyImpersonated { count, limit: most });
        }
        // An empty Impersonate-User counts as none upstream.
        let Some(user) = user.filter(|user| !user.is_empty()) else {
            return Err(Refusal::BadImpersonation {
                header: first.to_owned(),
                why: "needs an Impersonate-User",
            });
        };
        identity.username = user;
        identity.uid = uid.unwrap_or_default();
        Ok(Some(Self { identity }))
    }

    /// Whom, without what the gateway adds.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// One SubjectAccessReview for each value: may `who` impersonate it?
    #[must_use]
    pub fn reviews(&self, who: &Identity) -> Vec<Value> {
        let core = |resource: &str, name: &str| json!({"verb": "impersonate", "version": "v1", "resource": resource, "name": name});
        let authentication = |resource: &str, subresource: &str, name: &str| {
            json!({"verb": "impersonate", "group": "authentication.k8s.io", "version": "v1",
                   "resource": resource, "subresource": subresource, "name": name})
        };
        let wanted = &self.identity;
        let mut attributes = vec![match service_account(&wanted.username) {
            Some((namespace, name)) => json!({"verb": "impersonate", "version": "v1",
                "resource": "serviceaccounts", "namespace": namespace, "name": name}),
            None => core("users", &wanted.username),
        }];
        attributes.extend(wanted.groups.iter().map(|group| core("groups", group)));
        if !wanted.uid.is_empty() {
            attributes.push(authentication("uids", "", &wanted.uid));
        }
        for (key, values) in &wanted.extra {
            attributes.extend(values.iter().map(|value| authentication("userextras", key, value)));
        }
        attributes.into_iter().map(|attributes| review(who, &attributes)).collect()
    }

    /// The identity to send upstream: the wanted one, and the original one as extras, for the audit trail.
    #[must_use]
    pub fn impersonated_by(self, original: &Identity, policy: &OriginalUser) -> Identity {
        let mut identity = self.identity;
        if !policy.enabled {
            return identity;
        }
        // A value of the client's own would be taken for the original user's.
        let mut add = |name: &str, values: Vec<String>| {
            let key = format!("{}{name}", policy.prefix);
            if values.is_empty() {
                identity.extra.remove(&key);
            } else {
                identity.extra.insert(key, values);
            }
        };
        add("user", vec![original.username.clone()]);
        add("groups", original.groups.clone());
        add(
            "uid",
            Some(&original.uid).filter(|uid| !uid.is_empty()).cloned().into_iter().collect(),
        );
        let extra = (!original.extra.is_empty()).then(|| json!(original.extra).to_string());
        add("extra", extra.into_iter().collect());
        identity
    }
}

/// Namespace and name of a ServiceAccount's user name. Any other name, however alike, is a user's: a right on a namespace's
/// ServiceAccounts does not give it. Source: k8s.io/apiserver, `serviceaccount.SplitUsername`.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    let is_namespace = namespace.len() <= MOST_LABEL && is_label(namespace);
    let is_name = name.len() <= MOST_SUBDOMAIN && name.split('.').all(is_label);
    (is_namespace && is_name).then_some((namespace, name))
}

/// Whether it has the letters of a DNS label (RFC 1123, section 2.1).
fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

/// A SubjectAccessReview for `who`, whom the API server would see as authenticated.
fn review(who: &Identity, attributes: &Value) -> Value {
    let mut groups = who.groups.clone();
    if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "resourceAttributes": attributes,
            "user": who.username,
            "groups": groups,
            "uid": who.uid,
            "extra": who.extra,
        },
    })
}

fn set_once(slot: &mut Option<String>, value: &str) -> Result<(), &'static str> {
    match slot.replace(value.to_owned()) {
        None => Ok(()),
        Some(_) => Err("is there twice"),
    }
}

/// The key as kube-apiserver reads it: lower-cased by HTTP, then percent-decoded, raw if that is no text.
fn decode_key(key: &str) -> String {
    percent_decode(key.as_bytes()).decode_utf8().map_or_else(|_| key.to_owned(), Cow::into_owned)
}

/// What a SubjectAccessReview's answer says: allowed, or not and why.
#[must_use]
pub fn is_allowed(answer: &Value) -> Option<bool> {
    let status = answer.get("status")?;
    let denied = status.get("denied").and_then(Value::as_bool).unwrap_or(false);
    Some(status.get("allowed")?.as_bool()? && !denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect()
    }

    fn jane() -> Identity {
        Identity {
            username: "jane".into(),
            uid: "u1".into(),
            groups: vec!["dev".into()],
            extra: [("example.org/k".to_owned(), vec!["v".to_owned()])].into(),
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_the_headers_name() {
        for (list, want) in [
            (&[("impersonate-group", "g")][..], "impersonate-group needs an Impersonate-User"),
            (&[("impersonate-uid", "g")], "impersonate-uid needs"),
            (&[("impersonate-extra-k", "g")], "impersonate-extra-k needs"),
            (&[("impersonate-user", ""), ("impersonate-group", "g")], "impersonate-user needs"),
            (
                &[("impersonate-user", "a"), ("impersonate-user", "b")],
                "impersonate-user is there twice",
            ),
            (&[("impersonate-user", "a"), ("impersonate-x", "b")], "impersonate-x is not known"),
            (
                &[("impersonate-user", "a"), ("impersonate-group", " system:masters")],
                "impersonate-group has a control character, or a blank",
            ),
            (&[("impersonate-user", "a\u{a0}")], "impersonate-user has a control character, or a"),
            (
                &[("impersonate-user", "a"), ("impersonate-extra-%53cope", "x")],
                "impersonate-extra-%53cope names a key that is not in lower case",
            ),
        ] {
            let error = Requested::read(&headers(list), 64).unwrap_err();
            assert_eq!(error.reply().code, 400);
            assert!(
                error.reply().body.to_lowercase().contains(&want.to_lowercase()),
                "{error} / {want}"
            );
        }
        let many: Vec<_> = (0..65).map(|_| ("impersonate-group", "g")).collect();
        assert_eq!(Requested::read(&headers(&many), 64).unwrap_err().reply().code, 431);
        assert_eq!(Requested::read(&headers(&[("accept", "*/*")]), 64).unwrap(), None);
    }

    #[test]
    fn each_value_needs_its_own_right() {
        let requested = Requested::read(
            &headers(&[
                ("impersonate-user", "system:serviceaccount:ns:builder"),
                ("impersonate-group", "g1"),
                ("impersonate-uid", "7"),
                ("impersonate-extra-example.org%2fscope", "a"),
                ("impersonate-extra-example.org%2fscope", "b"),
            ]),
            64,
        )
        .unwrap()
        .unwrap();
        let reviews = requested.reviews(&jane());
        let attributes: Vec<_> = reviews
            .iter()
            .map(|review| {
                let it = &review["spec"]["resourceAttributes"];
                let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
                [
                    text("group"),
                    text("resource"),
                    text("subresource"),
                    text("namespace"),
                    text("name"),
                ]
                .join("|")
            })
            .collect();
        assert_eq!(
            attributes,
            [
                "|serviceaccounts||ns|builder",
                "|groups|||g1",
                "authentication.k8s.io|uids|||7",
                "authentication.k8s.io|userextras|example.org/scope||a",
                "authentication.k8s.io|userextras|example.org/scope||b",
            ]
        );
        let spec = &reviews[0]["spec"];
        assert_eq!(spec["user"], "jane");
        assert_eq!(spec["groups"], json!(["dev", "system:authenticated"]));
        assert_eq!(spec["extra"], json!({"example.org/k": ["v"]}));
    }

    /// A right on the ServiceAccounts of a namespace gave users whose names merely begin like theirs.
    #[test]
    fn break_in_10_what_is_no_service_account_needs_the_right_for_the_user() {
        let long = |length: usize| "a".repeat(length);
        for (user, want) in [
            ("ns:builder".to_owned(), Some(("ns", "builder"))),
            ("n-1:a.b-c.d".to_owned(), Some(("n-1", "a.b-c.d"))),
            (format!("{}:{}", long(63), long(253)), Some((&*long(63), &*long(253)))),
            (format!("{}:a", long(64)), None),
            (format!("ns:{}", long(254)), None),
            ("ns:a:b".to_owned(), None),
            ("ns:".to_owned(), None),
            (":a".to_owned(), None),
            ("ns".to_owned(), None),
            ("a.b:c".to_owned(), None), // a namespace has no dot
            ("NS:a".to_owned(), None),
            ("ns:A".to_owned(), None),
            ("-ns:a".to_owned(), None),
            ("ns:a-".to_owned(), None),
            ("ns:a..b".to_owned(), None),
            ("ns:.a".to_owned(), None),
            ("ns:a/b".to_owned(), None),
            ("ns:*".to_owned(), None),
            ("ns:ä".to_owned(), None),
        ] {
            let name = format!("system:serviceaccount:{user}");
            let requested = Requested::read(&headers(&[("impersonate-user", &name)]), 64);
            let reviews = requested.unwrap().unwrap().reviews(&jane());
            let asked = &reviews[0]["spec"]["resourceAttributes"];
            let right = match want {
                Some((namespace, name)) => json!({"verb": "impersonate", "version": "v1",
                    "resource": "serviceaccounts", "namespace": namespace, "name": name}),
                None => json!({"verb": "impersonate", "version": "v1", "resource": "users",
                    "name": name}),
            };
            assert_eq!(*asked, right, "{user}");
        }
    }

    /// TremoloSecurity/kube-oidc-proxy: the uid was authorised and then dropped.
    #[test]
    fn the_original_user_travels_as_extras_and_the_wanted_uid_arrives() {
        let list = [("impersonate-user", "bob"), ("impersonate-uid", "7")];
        let requested = Requested::read(&headers(&list), 64).unwrap().unwrap();
        let policy = OriginalUser::default();
        let identity = requested.clone().impersonated_by(&jane(), &policy);
        assert_eq!((identity.username.as_str(), identity.uid.as_str()), ("bob", "7"));
        let extra: Vec<_> = identity.extra.iter().map(|(k, v)| (k.as_str(), v.join(" "))).collect();
        assert_eq!(
            extra,
            [
                ("originaluser.jetstack.io-extra", r#"{"example.org/k":["v"]}"#.to_owned()),
                ("originaluser.jetstack.io-groups", "dev".to_owned()),
                ("originaluser.jetstack.io-uid", "u1".to_owned()),
                ("originaluser.jetstack.io-user", "jane".to_owned()),
            ]
        );
        let forged = [
            ("impersonate-user", "bob"),
            ("impersonate-extra-originaluser.jetstack.io-user", "root"),
            ("impersonate-extra-originaluser.jetstack.io-groups", "admins"),
            ("impersonate-extra-originaluser.jetstack.io-extra", "{}"),
        ];
        let forged = Requested::read(&headers(&forged), 64).unwrap().unwrap();
        let plain = Identity { username: "jane".into(), ..Identity::default() };
        let extra = forged.impersonated_by(&plain, &policy).extra;
        assert_eq!(extra, [("originaluser.jetstack.io-user".into(), vec!["jane".into()])].into());
        let off = OriginalUser { enabled: false, ..policy };
        assert!(requested.impersonated_by(&jane(), &off).extra.is_empty());
    }

    #[test]
    fn only_a_plain_yes_is_one() {
        for (answer, want) in [
            (json!({"status": {"allowed": true}}), Some(true)),
            (json!({"status": {"allowed": false}}), Some(false)),
            (json!({"status": {"allowed": true, "denied": true}}), Some(false)),
            (json!({"status": {"allowed": "true"}}), None),
            (json!({"status": {}}), None),
            (json!({"kind": "Status"}), None),
        ] {
            assert_eq!(is_allowed(&answer), want, "{answer}");
        }
    }
}
