//! Group sources: what one client, or one worker, takes from the others.

use super::*;

/// What is known of a user before its groups are may be enough.
#[test]
fn nobody_is_asked_about_who_has_no_access() {
    let mut gateway = with(&[source(&json!({}))], &json!({}));
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let until = "2030-01-01T00:00:00Z";
    let document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER]), "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers", "reviewCluster": "review",
        "calloutClusters": {"groupSources/directory": "callout_directory"},
        "revocations": {"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Revocations",
            "revocations": [
                {"user": "eve", "until": until}, {"subject": "sue", "issuer": ISSUER, "until": until},
                {"jti": "j2", "until": until}, {"sid": "s2", "until": until}, {"group": "a", "until": until},
            ]},
    });
    let configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    rig.serve(ISSUER, &key_set(&["a"]));
    for (more, want) in [
        (json!({"sub": "eve"}), (403, "revoked")),
        (json!({"sub": "sue"}), (403, "revoked")),
        (json!({"jti": "j2"}), (401, "revoked")),
        (json!({"sid": "s2"}), (401, "revoked")),
        (json!({"sub": "system:admin"}), (403, "guard")),
        (json!({"sub": " jane"}), (403, "guard")),
    ] {
        let mut claims = of("jane");
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let asked = authorization(&claims);
        let outcome = rig.outcome(&bearer(&asked, &[]), Attempt::default());
        assert_eq!(refused(outcome.decision), want, "{more}");
        assert!(rig.lookups().is_empty(), "{more}");
        if want.1 == "revoked" {
            let user = claims["sub"].as_str().unwrap();
            let record = outcome.record.unwrap();
            assert!(record.contains(&format!("user={user}")), "{record}");
        }
    }
    // A group's entry is known to be about the user once its groups are.
    let decision = ask(&mut rig, &of("jane"), &[(JANE, 200, r#"{"value": ["a"]}"#)]);
    assert_eq!(refused(decision).1, "revoked");
    let decision =
        ask(&mut rig, &of("bob"), &[("/api/users/bob/groups?top=2", 200, r#"{"value": ["b"]}"#)]);
    assert_eq!(groups(decision), ["b"]);
}
