//! What people do with kubectl all day.

use sandbox::{Cluster, Credential, audit::Stage};
use serde_json::{Value, json};

use crate::harness::{LIMIT, Probe, Rig, cluster};

#[test]
fn whoami_tells_the_user_of_the_token() {
    let rig = Rig::shared();
    let token = rig.token().claim("jti", "the-token");
    let answer = rig.kubectl(token.mint()).must(["auth", "whoami", "-o", "json"], "").unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let subject = rig.token().claims()["sub"].clone();
    let want = json!({
        "username": rig.user(),
        "uid": subject,
        "groups": ["system:viewers", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=the-token"]},
    });
    assert_eq!(answer["status"]["userInfo"], want);
}

#[test]
fn a_viewer_reads_and_is_forbidden_to_write() {
    let rig = Rig::shared();
    let kubectl = rig.kubectl(rig.token().mint());
    let table = kubectl.must(["get", "namespaces"], "").unwrap();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(lines.next().unwrap(), ["NAME", "STATUS", "AGE"]);
    assert!(lines.any(|line| line[..2] == ["kube-system", "Active"]), "{table}");

    let output = kubectl.run(["create", "namespace", "test123"]).unwrap();
    let message = format!(
        "Error from server (Forbidden): namespaces is forbidden: User \"{}\" cannot create \
         resource \"namespaces\" in API group \"\" at the cluster scope\n",
        rig.user()
    );
    assert_eq!((output.code, output.stderr), (Some(1), message));
}

/// kubectl without any credential asks for a user name: 401 and nothing else makes it do so.
#[test]
fn without_a_token_kubectl_asks_for_a_login() {
    let rig = Rig::shared();
    let kubectl = rig.gateway.kubectl(Credential::None).unwrap();
    let probe = Probe::new();
    let output = kubectl.run(["get", "--raw", &probe.path()]).unwrap();
    assert_eq!((output.code, &*output.stdout), (Some(1), "Please enter Username: "));
    probe.assert_untouched();
}

#[test]
fn who_may_not_impersonate_is_told_so_and_who_may_does() {
    let rig = Rig::shared();
    let probe = Probe::new();
    let arguments = ["get", "--raw", &probe.path(), "--as", "admin"];
    let output = rig.kubectl(rig.token().mint()).run(arguments).unwrap();
    let message = format!(
        "Error from server (Forbidden): user {:?} cannot impersonate user \"admin\"",
        rig.user()
    );
    assert!(output.stderr.contains(&message), "{output:?}");
    probe.assert_untouched();
    let output = rig.kubectl(rig.admin_token()).run(arguments).unwrap();
    assert!(output.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(probe.completed().impersonated_user.unwrap().username, "admin");
}

/// A document that says nothing of impersonation changes nothing about it: with one, `can-i --as` answered for oneself.
#[test]
fn can_i_as_somebody_else_never_answers_for_oneself() {
    let rig = Rig::shared();
    let asked = ["auth", "can-i", "list", "namespaces", "--as=bob"];
    let may = rig.kubectl(rig.token().mint()).run(asked).unwrap();
    assert!(may.stderr.contains("cannot impersonate") && may.stdout.is_empty(), "{may:?}");
    let admin = rig.kubectl(rig.admin_token()).run(asked).unwrap();
    assert_eq!((admin.code, &*admin.stdout), (Some(1), "no\n"), "{admin:?}");
}

#[test]
fn objects_are_applied_changed_and_deleted() {
    let rig = Rig::shared();
    let admin = rig.admin();
    let manifest = |value: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: applied}}, data: {{a: {value}}}}}"
        )
    };
    for (value, want) in [("one", "created"), ("two", "configured"), ("two", "unchanged")] {
        let output = admin.must(["apply", "-f", "-"], &manifest(value)).unwrap();
        assert_eq!(output, format!("configmap/applied {want}\n"));
    }
    let stored = cluster().admin().must(["get", "cm", "applied", "-o", "jsonpath={.data.a}"], "");
    assert_eq!(stored.unwrap(), "two");
    admin
        .must(["apply", "--server-side", "--force-conflicts", "-f", "-"], &manifest("three"))
        .unwrap();
    let patched = ["patch", "cm", "applied", "-p", r#"{"data":{"b":"four"}}"#];
    assert_eq!(admin.must(patched, "").unwrap(), "configmap/applied patched\n");
    let read = admin.must(["get", "cm", "applied", "-o", "jsonpath={.data}"], "").unwrap();
    assert_eq!(read, r#"{"a":"three","b":"four"}"#);
    admin.must(["delete", "cm", "applied"], "").unwrap();
    let gone = admin.run(["get", "cm", "applied"]).unwrap();
    assert!(gone.stderr.contains("(NotFound)"), "{gone:?}");
}

#[test]
fn a_watch_shows_what_happens() {
    let rig = Rig::shared();
    let words = ["get", "cm", "-n", "kube-public", "-w", "--no-headers"];
    let kubectl = rig.admin();
    let mut watch = kubectl.start(words).unwrap();
    // Each name comes only if events come: the first may have been there when the watch began.
    for name in ["watched-1", "watched-2"] {
        cluster().admin().must(["create", "cm", "-n", "kube-public", name], "").unwrap();
        watch.line(LIMIT, |line| line.starts_with(name)).unwrap();
    }
}

/// By the API server's own log: the gateway's account acts, and only ever as the token's user.
#[test]
fn the_audit_log_shows_the_account_and_the_user() {
    let rig = Rig::new();
    let mark = cluster().audit().mark().unwrap();
    let kubectl = rig.kubectl(rig.token().mint());
    kubectl.must(["get", "pods", "-A"], "").unwrap();
    kubectl.must(["auth", "whoami"], "").unwrap();
    let events = cluster().audit().since(mark).unwrap();
    let ours: Vec<_> = events
        .iter()
        .filter(|event| event.stage == Stage::ResponseComplete)
        .filter_map(|event| Some((event, event.impersonated_user.as_ref()?)))
        .filter(|(_, user)| user.username == rig.user())
        .collect();
    for wanted in ["/api/v1/pods", "/apis/authentication.k8s.io/v1/selfsubjectreviews"] {
        assert!(ours.iter().any(|(event, _)| event.request_uri.starts_with(wanted)), "{wanted}");
    }
    for (event, user) in ours {
        assert_eq!(event.user.username, Cluster::GATEWAY_USER);
        assert_eq!(user.groups, ["system:viewers", "system:authenticated"]);
    }
}
