//! `clientImpersonation: authorize`: kubectl's `--as` and its kin, each value by the signed-in user's own rights.

use serde_json::json;

use super::{ASKED, Settings};
use crate::{
    minor, target,
    wire::{Ask, Version},
};

const AUTHENTICATION: &str = "authentication.k8s.io";

/// TremoloSecurity/kube-oidc-proxy#94 and its kin; rancher#41988: `--as` takes effect for what the user's own rights
/// allow, and for nothing else.
#[test]
fn each_value_is_judged_by_the_user_s_own_rights() {
    let mode = Settings {
        mappings: json!({"extra": [{"key": "example.org/team", "valueExpression": "claims.team"}]}),
        ..Settings::new("authorize", json!({"clientImpersonation": "authorize"}))
    }
    .start();
    let extra = format!("userextras/{ASKED}");
    mode.let_impersonate(&[
        ("", "users", &["bob"]),
        ("", "groups", &["auditors"]),
        ("", "serviceaccounts", &["builder"]),
        (AUTHENTICATION, "uids", &["u-1"]),
        (AUTHENTICATION, &extra, &["yes"]),
    ]);
    let token = mode.token().claim("team", "red").mint();
    let subject = mode.token().claims()["sub"].clone();
    mode.whoami_at_last(&token, &[]);
    mode.whoami_at_last(&token, &["--as", "bob"]);

    let asked = format!("{ASKED}=yes");
    // kubectl asks for extras since 1.35.
    let has_extras = minor::kubectl() != "1.34";
    let options = mode.kubectl(&token).must(["options"], "").unwrap();
    assert_eq!(options.contains("--as-user-extra"), has_extras, "{options}");
    let whole = ["--as=bob", "--as-group=auditors", "--as-uid=u-1", "--as-user-extra", &asked];
    let whole = if has_extras { &whole[..] } else { &whole[..3] };
    let got = mode.whoami(&token, whole).unwrap();
    assert_eq!(got["username"], "bob");
    assert_eq!(got["uid"], "u-1");
    assert_eq!(got["groups"], json!(["auditors", "system:authenticated"]));
    let extra = &got["extra"];
    let want = if has_extras { json!(["yes"]) } else { json!(null) };
    assert_eq!(extra[ASKED], want);
    // Who it is really, for the API server's audit log and for admission.
    assert_eq!(extra["originaluser.jetstack.io-user"], json!([mode.user()]));
    assert_eq!(extra["originaluser.jetstack.io-groups"], json!(["system:viewers"]));
    assert_eq!(extra["originaluser.jetstack.io-uid"], json!([subject]));
    let original = extra["originaluser.jetstack.io-extra"][0].as_str().unwrap();
    let original: serde_json::Value = serde_json::from_str(original).unwrap();
    assert_eq!(original["example.org/team"], json!(["red"]));
    assert_eq!(original["authentication.kubernetes.io/credential-id"], json!(["JTI=the-token"]));
    // The user's own extras are not the other's.
    assert_eq!(extra.get("example.org/team"), None);

    let got = mode.whoami(&token, &["--as", "system:serviceaccount:ci:builder"]).unwrap();
    assert_eq!(got["username"], "system:serviceaccount:ci:builder");
    assert_eq!(got["groups"][0], "system:serviceaccounts", "{got}");

    let no = format!("{ASKED}=no");
    for (flags, what) in [
        (&["--as=eve"][..], "user \"eve\""),
        (
            &["--as=bob", "--as-group=auditors", "--as-group=system:masters"],
            "group \"system:masters\"",
        ),
        (&["--as=bob", "--as-uid=u-2"], "uid \"u-2\""),
        (&["--as=bob", "--as-user-extra", &no], "extra \"example.org/asked\" with value \"no\""),
        (&["--as=bob", "--as-user-extra=example.org/other=yes"], "extra \"example.org/other\""),
        (&["--as=system:serviceaccount:ci:other"], "serviceaccount \"other\" in namespace \"ci\""),
        // No ServiceAccounts, though they begin like one.
        (
            &["--as=system:serviceaccount:ci:builder:x"],
            "user \"system:serviceaccount:ci:builder:x\"",
        ),
        (&["--as=system:serviceaccount:ci:"], "user \"system:serviceaccount:ci:\""),
    ] {
        if !has_extras && flags.iter().any(|flag| flag.starts_with("--as-user-extra")) {
            continue;
        }
        let message = mode.refusal(&token, flags);
        let want = format!("user {:?} cannot impersonate {what}", mode.user());
        assert!(message.contains("(Forbidden)") && message.contains(&want), "{flags:?}: {message}");
        assert!(!message.contains("Warning"), "nothing ran: {message}");
    }
}

/// What cannot be meant is refused before anybody is asked.
#[test]
fn what_is_no_impersonation_is_refused() {
    let mode =
        Settings::new("authorize-shape", json!({"clientImpersonation": "authorize"})).start();
    let token = mode.token().mint();
    mode.whoami_at_last(&token, &[]);
    let many =
        |ask: Ask| (0..65).fold(ask, |ask, n| ask.header("Impersonate-Group", format!("g{n}")));
    for version in Version::ALL {
        let ask = || Ask::version().bearer(&token);
        let group = ask().header("Impersonate-Group", "g").send(&mode.gateway, version).unwrap();
        target::assert_status("no user", &group, (400, "BadRequest"));
        assert!(group.body.contains("impersonate-group needs an Impersonate-User"), "{group:?}");
        let many =
            many(ask().header("Impersonate-User", "bob")).send(&mode.gateway, version).unwrap();
        target::assert_status("many", &many, (431, "RequestHeaderFieldsTooLarge"));
    }
}
