//! `kube-oidc-gateway rbac`: its role is enough, and none of its rules too many.

use std::sync::atomic::{AtomicUsize, Ordering};

use gateway_config::rbac::{Form, Role};
use serde_json::json;

use super::{ASKED, Mode, Settings, service_account_token};
use crate::harness::until;

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Every feature once, with values of which the filter remembers no answer.
fn features(mode: &Mode) -> Result<(), String> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
    let token = mode.token().claim("team", "red").mint();
    mode.whoami(&token, &[])?;
    let user = format!("--as=user-{number}");
    let asked = format!("{ASKED}={number}");
    mode.whoami(&token, &[&user, "--as-group=g", "--as-uid=7", "--as-user-extra", &asked])?;
    let account = format!("--as=system:serviceaccount:default:a-{number}");
    mode.whoami(&token, &[&account])?;
    let (token, _) = service_account_token();
    mode.whoami(&token, &[]).map(drop)
}

fn everything() -> Settings {
    Settings {
        mappings: json!({"extra": [{"key": "example.org/team", "valueExpression": "claims.team"}]}),
        ..Settings::new(
            "least",
            json!({
                "clientImpersonation": "authorize",
                "tokenReview": {"enabled": true},
                "extras": {"clientIP": true, "headers": {"cluster": ["blue"]}},
            }),
        )
    }
}

#[test]
fn the_role_is_enough_and_every_rule_of_it_is_needed() {
    let mode = everything().start();
    let extra = format!("userextras/{ASKED}");
    mode.let_impersonate(&[
        ("", "users", &[]),
        ("", "groups", &[]),
        ("", "serviceaccounts", &[]),
        ("authentication.k8s.io", "uids", &[]),
        ("authentication.k8s.io", &extra, &[]),
    ]);
    until("every feature works", || features(&mode).ok());
    for index in 0..mode.role.rules.len() {
        let mut rules = mode.role.rules.clone();
        let without = rules.remove(index);
        mode.grant(&Role { rules, notes: Vec::new() });
        until(&format!("something fails without {without:?}"), || features(&mode).err());
    }
    mode.grant(&mode.role);
    until("every feature works again", || features(&mode).ok());
}

/// KEP-5284: rights to act as others, limited to verbs. What the form refuses, the role says in its comments.
#[test]
fn the_constrained_form_works_too_and_refuses_what_it_says() {
    let mode = Settings {
        form: Form::Constrained,
        ..Settings::new(
            "constrained",
            json!({
                "clientImpersonation": "authorize",
                "originalUser": {"prefix": "originaluser.jetstack.io/"},
            }),
        )
    }
    .start();
    mode.let_impersonate(&[("", "users", &["bob"]), ("", "groups", &["auditors"])]);
    let token = mode.token().mint();
    mode.whoami_at_last(&token, &[]);
    let got = mode.whoami_at_last(&token, &["--as=bob", "--as-group=auditors"]);
    assert_eq!(got["username"], "bob");
    assert_eq!(got["extra"]["originaluser.jetstack.io/user"], json!([mode.user()]));
    let kubectl = mode.kubectl(token.as_str());
    kubectl.must(["get", "pods", "-A"], "").unwrap();
    kubectl.must(["get", "--raw", "/version"], "").unwrap();
    let output = kubectl.run(["create", "namespace", "constrained"]).unwrap();
    assert!(output.stderr.contains("cannot create resource"), "{output:?}");

    let masters = mode.token().claim("groups", ["system:masters"].as_slice()).mint();
    let message = mode.refusal(&masters, &[]);
    assert!(message.contains("orbidden"), "{message}");
    assert!(mode.role.notes.iter().any(|note| note.contains("system:masters")));
}
