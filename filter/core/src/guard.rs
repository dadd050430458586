//! Names that no token may bring into the cluster, whatever its issuer says.
//!
//! kube-apiserver trusts its issuers with any name; a gateway whose ServiceAccount may impersonate anyone must not.
//! Nothing is trimmed or dropped: Go trims header values of HTTP/1, so that a group `" system:masters"` that passed
//! a check as it stands would arrive as `system:masters`.

use kube_authn::Identity;

use crate::{
    config::Reserved,
    names::{RESERVED_PREFIX, is_safe},
};

/// The rule that an identity breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// An empty `Impersonate-User` counts as none: the request would run as the gateway itself.
    #[error("rule empty-user-name: the token gives an empty user name")]
    EmptyUserName,
    /// A user name that Kubernetes reserves for itself.
    #[error(
        "rule reserved-user: user name {0:?} begins with \"system:\", which is reserved for Kubernetes' own users"
    )]
    ReservedUser(String),
    /// A group name that Kubernetes reserves for itself.
    #[error(
        "rule reserved-group: group {0:?} begins with \"system:\", which is reserved for Kubernetes' own groups"
    )]
    ReservedGroup(String),
    /// A value that a header cannot carry unchanged.
    #[error(
        "rule unsafe-value: {what} {value:?} has a control character, or a blank at its start or end"
    )]
    UnsafeValue {
        /// `user name`, `group`, `uid` or `extra`.
        what: &'static str,
        /// As the token has it.
        value: String,
    },
}

impl GuardError {
    /// The rule's name, for logs and metrics.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::EmptyUserName => "empty-user-name",
            Self::ReservedUser(_) => "reserved-user",
            Self::ReservedGroup(_) => "reserved-group",
            Self::UnsafeValue { .. } => "unsafe-value",
        }
    }
}

/// Takes out of an identity the groups that a blank at an edge keeps from being sent on as they are, and gives them: `Domain Users ` of
/// a directory. HTTP trims it (RFC 9110, section 5.5), and another group's name would arrive. Without them their user has less than the
/// token says, never more. What hides a reserved name, or has anything else in it that no header carries, stays to be refused.
pub fn leave_out(identity: &mut Identity) -> Vec<String> {
    let is_left_out = |group: &String| {
        let bare = group.trim_matches(' ');
        bare != group && !bare.is_empty() && is_safe(bare) && !bare.starts_with(RESERVED_PREFIX)
    };
    if !identity.groups.iter().any(is_left_out) {
        return Vec::new();
    }
    identity.groups.extract_if(.., |group| is_left_out(group)).collect()
}

/// What a client is told whose groups were left out, as a value of `Warning` (RFC 7234, section 5.5). kubectl prints it.
#[must_use]
pub fn warning(left_out: &[String]) -> Option<String> {
    const MOST: usize = 300;
    if left_out.is_empty() {
        return None;
    }
    let names: Vec<_> =
        left_out.iter().map(|name| format!("'{}'", name.escape_default())).collect();
    let names: String = names.join(", ").chars().take(MOST).collect();
    let names = names.replace('\\', "\\\\").replace('"', "\\\"");
    Some(format!(
        "299 - \"groups of the token count for nothing here, for a blank at their start or end: {names}\""
    ))
}

/// Lets an identity pass, or names the first rule that it breaks.
pub fn check(identity: &Identity, allowed: &Reserved) -> Result<(), GuardError> {
    if identity.username.is_empty() {
        return Err(GuardError::EmptyUserName);
    }
    // Values first: a reserved name behind a blank breaks the rule that explains it.
    let values = std::iter::once(("user name", identity.username.as_str()))
        .chain(identity.groups.iter().map(|group| ("group", group.as_str())))
        .chain([("uid", identity.uid.as_str())])
        .chain(identity.extra.values().flatten().map(|value| ("extra", value.as_str())));
    for (what, value) in values {
        if !is_safe(value) {
            return Err(GuardError::UnsafeValue { what, value: value.to_owned() });
        }
    }
    if is_reserved(&identity.username, &allowed.users) {
        return Err(GuardError::ReservedUser(identity.username.clone()));
    }
    for group in &identity.groups {
        if is_reserved(group, &allowed.groups) {
            return Err(GuardError::ReservedGroup(group.clone()));
        }
    }
    Ok(())
}

fn is_reserved(name: &str, allowed: &[String]) -> bool {
    name.starts_with(RESERVED_PREFIX) && !allowed.iter().any(|one| one == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str, groups: &[&str]) -> Identity {
        Identity {
            username: user.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            ..Identity::default()
        }
    }

    fn allowed() -> Reserved {
        Reserved { users: vec!["system:admin".into()], groups: vec!["system:viewers".into()] }
    }

    #[test]
    fn rules() {
        for (user, groups, want) in [
            ("jane", &["dev", "a,b", "é"][..], None),
            ("https://issuer#jane", &["system:viewers"], None),
            ("system:admin", &[], None),
            ("", &[], Some("empty-user-name")),
            ("system:kube-controller-manager", &[], Some("reserved-user")),
            ("system:", &[], Some("reserved-user")),
            ("System:admin", &[], None), // Kubernetes compares bytes; this name has no power.
            ("jane", &["dev", "system:masters"], Some("reserved-group")),
            ("jane", &["system:viewers2"], Some("reserved-group")),
            ("jane", &[" system:masters"], Some("unsafe-value")),
            ("jane", &["\tsystem:masters"], Some("unsafe-value")),
            ("jane", &["system:viewers "], Some("unsafe-value")),
            ("jane", &["\u{a0}system:masters"], Some("unsafe-value")),
            ("jane", &["\u{3000}dev"], Some("unsafe-value")),
            ("jane", &[""], None), // travels as an empty header, which kube-apiserver takes for the group "".
            ("ja\r\nImpersonate-Group: system:masters", &[], Some("unsafe-value")),
            ("ja\0ne", &[], Some("unsafe-value")),
            ("ja\u{7f}ne", &[], Some("unsafe-value")),
            ("ja\u{85}ne", &[], Some("unsafe-value")),
            (" ", &[], Some("unsafe-value")),
            ("jane doe", &["a b"], None),
        ] {
            let got = check(&identity(user, groups), &allowed());
            assert_eq!(got.as_ref().err().map(GuardError::rule), want, "{user:?} {groups:?}");
        }
    }

    /// Directories have groups with a blank at the end, and whoever is in one shall get in all the same.
    #[test]
    fn groups_with_a_blank_at_an_edge_are_left_out() {
        for (groups, left, out) in [
            (&["dev", "Domain Users "][..], &["dev"][..], &["Domain Users "][..]),
            (&[" a", "b c", "é "], &["b c"], &[" a", "é "]),
            (&["dev"], &["dev"], &[]),
            // Not these: they are refused.
            (&[" system:masters"], &[" system:masters"], &[]),
            (&["a\t "], &["a\t "], &[]),
            (&[" ", "\u{a0}a"], &[" ", "\u{a0}a"], &[]),
        ] {
            let mut identity = identity("jane", groups);
            assert_eq!(leave_out(&mut identity), out);
            assert_eq!(identity.groups, left);
        }
        let text = warning(&["é \"x\" ".to_owned()]).unwrap();
        assert!(text.is_ascii() && text.ends_with(": '\\\\u{e9} \\\\\\\"x\\\\\\\" '\""), "{text}");
        assert!(warning(&vec!["x".repeat(200); 50]).unwrap().len() < 500);
        assert_eq!(warning(&[]), None);
    }

    #[test]
    fn uid_and_extras_are_values_too() {
        let mut with_uid = identity("jane", &[]);
        with_uid.uid = "a\nb".into();
        assert!(matches!(
            check(&with_uid, &allowed()),
            Err(GuardError::UnsafeValue { what: "uid", .. })
        ));
        let mut with_extra = identity("jane", &[]);
        with_extra.extra = [("example.org/x".to_owned(), vec!["ok".into(), " no".into()])].into();
        assert!(matches!(
            check(&with_extra, &allowed()),
            Err(GuardError::UnsafeValue { what: "extra", .. })
        ));
    }
}
