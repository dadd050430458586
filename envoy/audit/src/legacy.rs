//! `--audit-log-format=legacy`: one line of text for an event. Source: k8s.io/apiserver, `pkg/audit/format.go`.

use go_compat::strconv::quote;

use crate::event::{Event, Stage};

/// The line of an event, without its end. What of it was cut stands behind it, which kube-apiserver's never have.
#[must_use]
pub fn line(event: &Event) -> String {
    match event.truncated() {
        "" => plain(event),
        fields => format!("{} truncated={}", plain(event), quote(fields)),
    }
}

fn plain(event: &Event) -> String {
    let list = |groups: &[String]| groups.iter().map(|it| quote(it)).collect::<Vec<_>>().join(",");
    let or =
        |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let groups = match event.user.username.as_str() {
        "" => String::new(),
        _ => list(&event.user.groups),
    };
    let (as_user, as_groups) = match &event.impersonated_user {
        None => ("<self>".to_owned(), "<lookup>".to_owned()),
        Some(user) if user.groups.is_empty() => (user.username.clone(), "<lookup>".to_owned()),
        Some(user) => (user.username.clone(), list(&user.groups)),
    };
    let namespace = event.object_ref.as_ref().map_or("", |it| it.namespace.as_str());
    let response = match &event.response_status {
        None => "<deferred>".to_owned(),
        Some(status) => status.code.to_string(),
    };
    let stage = match event.stage {
        Stage::RequestReceived => "RequestReceived",
        Stage::ResponseStarted => "ResponseStarted",
        Stage::ResponseComplete => "ResponseComplete",
    };
    format!(
        "{} AUDIT: id={} stage={} ip={} method={} user={} groups={} as={} asgroups={} user-agent={} namespace={} uri={} response=\"{response}\"",
        event.request_received_timestamp,
        quote(&event.audit_id),
        quote(stage),
        quote(&or(event.source_ips.first().map_or("", String::as_str), "<unknown>")),
        quote(&event.verb),
        quote(&or(&event.user.username, "<none>")),
        quote(&or(&groups, "<none>")),
        quote(&as_user),
        quote(&as_groups),
        quote(&event.user_agent),
        quote(&or(namespace, "<none>")),
        quote(&event.request_uri),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expander, Field, Policy, Record};

    #[test]
    fn lines_are_those_of_kube_apiserver() {
        let policy = Policy::parse(
            "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}",
        );
        let mut expander = Expander::new(policy.unwrap());
        let record = Record::parse(
            br#"{"time":"2026-01-01T00:00:00.250Z","auditID":"a-1","client":"fd00::9","peer":"[fd00::9]:99","method":"GET",
                 "userAgent":"k\"\n","uri":"/api/v1/namespaces/n/pods","code":200,"milliseconds":4,
                 "identity":"{\"user\":{\"username\":\"jane\",\"groups\":[\"dev\"]},\"impersonated\":{\"username\":\"bob\"}}"}"#,
        );
        let events = expander.expand(&record.unwrap());
        assert_eq!(
            line(&events[1]),
            concat!(
                r#"2026-01-01T00:00:00.25Z AUDIT: id="a-1" stage="ResponseComplete" ip="fd00::9" method="list" user="jane" "#,
                r#"groups="\"dev\",\"system:authenticated\"" as="bob" asgroups="\"system:authenticated\"" user-agent="k\"\n" "#,
                r#"namespace="n" uri="/api/v1/namespaces/n/pods" response="200""#
            )
        );
        assert!(line(&events[0]).ends_with(r#"response="<deferred>""#));
        let mut event = events[0].clone();
        event.truncate([Field::UserAgent, Field::RequestUri]);
        let end = r#"response="<deferred>" truncated="requestURI,userAgent""#;
        assert!(line(&event).ends_with(end));
    }

    #[test]
    fn quoting_is_that_of_go() {
        assert_eq!(quote("a\"\\\t\u{1}\u{7f}\u{85}é"), "\"a\\\"\\\\\\t\\x01\\x7f\\u0085é\"");
    }
}
