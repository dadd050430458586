//! The gateway's audit trail beside kube-apiserver's own: the same requests, under the same ids, read in the same way.

use std::collections::BTreeMap;

use gateway_audit::{Expander, Kind, Policy, Record};
use sandbox::audit::Stage;
use serde_json::{Value, json};

use super::{Mode, Settings};
use crate::{
    harness::{LIMIT, cluster, pod, until},
    wire::{Ask, Version},
};

const POLICY: &str = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";

fn start(account: &'static str, gateway: Value) -> Mode {
    let mode = Settings::new(account, gateway);
    mode.start_with(|gateway| gateway.inputs(|inputs| inputs.options.audit_lines = true))
}

/// The events of all lines so far, by request and stage.
fn events(mode: &Mode) -> BTreeMap<(String, String), Value> {
    let mut expander = Expander::new(Policy::parse(POLICY).unwrap());
    let mut events = BTreeMap::new();
    for line in mode.gateway.access_lines() {
        for event in expander.expand(&Record::parse(line.as_bytes()).unwrap()) {
            let event = serde_json::to_value(event).unwrap();
            let text = |field: &str| event[field].as_str().unwrap().to_owned();
            events.insert((text("auditID"), text("stage")), event);
        }
    }
    events
}

#[test]
fn both_logs_tell_the_same() {
    let mode = start("trail", json!({}));
    pod("trail");
    let token = mode.token().claim("groups", ["system:masters"].as_slice()).mint();
    mode.whoami_at_last(&token, &[]);
    let mark = cluster().audit().mark().unwrap();
    let kubectl = mode.kubectl(token.as_str());
    for words in [
        &["get", "pods", "-A"][..],
        &["get", "namespace", "default"],
        &["create", "cm", "trail", "--from-literal=a=b"],
        &["patch", "cm", "trail", "-p", r#"{"data":{"a":"c"}}"#],
        &["get", "cm", "--field-selector=metadata.name=trail"],
        &["delete", "cm", "trail"],
        &["delete", "cm", "-l", "nobody=has"],
        &["logs", "trail"],
        &["exec", "trail", "--", "true"],
        &["get", "--raw", "/version?x=1"],
        &["get", "--raw", "/apis/apps/v1/namespaces/default/deployments?limit=1"],
        &["auth", "can-i", "--list"],
    ] {
        let _ = kubectl.run(words).unwrap();
    }
    let mut watch = kubectl.start(["get", "cm", "-n", "kube-system", "-w", "-o", "name"]).unwrap();
    watch.line(LIMIT, |line| line.starts_with("configmap/")).unwrap();
    until("the line of the running watch", || {
        let going = |line: &String| {
            let record = Record::parse(line.as_bytes()).unwrap();
            record.kind == Kind::Going && record.uri.contains("watch=")
        };
        mode.gateway.access_lines().iter().any(going).then_some(())
    });

    let theirs = cluster().audit().since(mark).unwrap();
    let theirs: Vec<_> = theirs
        .iter()
        .filter(|event| {
            event.impersonated_user.as_ref().is_some_and(|it| it.username == mode.user())
        })
        .filter(|event| event.stage == Stage::ResponseComplete)
        .collect();
    assert!(theirs.len() > 15, "{}", theirs.len());
    for event in theirs {
        let key = (event.audit_id.clone(), "ResponseComplete".to_owned());
        let ours = until(&event.request_uri, || events(&mode).remove(&key));
        let what = format!("{} {}", event.verb, event.request_uri);
        assert_eq!(ours["requestURI"], event.request_uri, "{what}");
        assert_eq!(ours["verb"], event.verb, "{what}");
        assert_eq!(ours["user"]["username"], mode.user(), "{what}");
        assert_eq!(
            ours["user"]["groups"],
            json!(["system:masters", "system:authenticated"]),
            "{what}"
        );
        assert_eq!(ours["userAgent"], event.user_agent, "{what}");
        assert_eq!(ours["sourceIPs"], json!(["127.0.0.1"]), "{what}");
        let status = event.response_status.clone().unwrap_or_default();
        assert_eq!(ours["responseStatus"]["code"], status.code, "{what}");
        let text = |field: &str| ours["objectRef"][field].as_str().unwrap_or_default().to_owned();
        // kube-apiserver adds the name and the uid of a created object, which its answer tells.
        let object = event.object_ref.clone().unwrap_or_default();
        assert_eq!(text("resource"), object.resource, "{what}");
        assert_eq!(text("namespace"), object.namespace, "{what}");
        assert_eq!(text("apiGroup"), object.api_group, "{what}");
        assert_eq!(text("subresource"), object.subresource, "{what}");
        assert!(event.verb == "create" || text("name") == object.name, "{what}: {ours}");
        let received = (event.audit_id.clone(), "RequestReceived".to_owned());
        assert!(events(&mode).contains_key(&received), "{what}");
    }
    // The watch goes on: two of its stages are there, the last is not.
    let all = events(&mode);
    let watches: Vec<_> = all
        .values()
        .filter(|event| event["verb"] == "watch" && event["stage"] == "ResponseStarted")
        .collect();
    assert!(!watches.is_empty());
    let tokens = mode.gateway.access_lines().concat();
    assert!(!tokens.contains(&token) && !tokens.contains(token.rsplit('.').next().unwrap()));
}

/// A refusal is in the log with its reason, and whom it met as far as that is known.
#[test]
fn refusals_say_why_and_whom() {
    let mode = start("trail-refused", json!({"clientImpersonation": "reject"}));
    let token = mode.token().mint();
    mode.whoami_at_last(&token, &[]);
    let seen = |word: &str| {
        until(word, || {
            let found = mode
                .gateway
                .access_lines()
                .into_iter()
                .find(|line| line.contains(&format!("\"deny\":\"{word}\"")));
            let record = Record::parse(found?.as_bytes()).unwrap();
            Some(Expander::new(Policy::parse(POLICY).unwrap()).expand(&record))
        })
    };
    let expired = mode.token().expires_in(-60).mint();
    Ask::version().bearer(&expired).send(&mode.gateway, Version::H2).unwrap();
    let events = seen("verify");
    let event = serde_json::to_value(&events[0]).unwrap();
    assert_eq!((events.len(), &event["stage"]), (1, &json!("ResponseStarted")));
    assert_eq!(event["responseStatus"]["code"], 401);
    assert!(
        event["annotations"]["gateway.kube-oidc.dev/reason"].as_str().unwrap().contains("expired"),
        "{event}"
    );

    let ask = Ask::version().bearer(&token).header("Impersonate-User", "bob");
    ask.send(&mode.gateway, Version::H1).unwrap();
    let events = seen("impersonation_rejected");
    let event = serde_json::to_value(&events[1]).unwrap();
    assert_eq!(event["stage"], "ResponseComplete");
    assert_eq!(event["responseStatus"]["code"], 403);
    assert_eq!(event["user"]["username"], mode.user(), "{event}");
}
