//! Group sources: what a configuration may say of them, and what each product is asked.

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    sources::{ask, groups, of, source, sourced, with},
    *,
};

#[test]
fn sources_are_strict_and_every_error_names_its_field() {
    for (sources, want) in [
        (vec![source(&json!({}))], None),
        (vec![source(&json!({"name": "A"}))], Some("groupSources[0].name: ")),
        (vec![source(&json!({})), source(&json!({}))], Some("groupSources[1].name: ")),
        (vec![source(&json!({"issuer": "https://x.example"}))], Some("groupSources[0].issuer: ")),
        (vec![source(&json!({"url": "http://directory.example"}))], Some("groupSources[0].url: ")),
        (vec![source(&json!({"path": "x"}))], Some("groupSources[0].path: ")),
        (vec![source(&json!({"path": ""}))], Some("groupSources[0].path: ")),
        (vec![source(&json!({"body": "{"}))], Some("groupSources[0].body: ")),
        (vec![source(&json!({"groups": "claims."}))], Some("groupSources[0].groups: ")),
        (vec![source(&json!({"groups": "'a'"}))], Some("groupSources[0].groups: ")),
        (vec![source(&json!({"check": "'a'"}))], Some("groupSources[0].check: ")),
        (vec![source(&json!({"claim": "roles"}))], Some("groupSources[0].claim: ")),
        (vec![source(&json!({"maximumPages": 0}))], Some("groupSources[0].maximumPages: ")),
        (
            vec![source(&json!({"onFailure": {"lastAnswerSeconds": 86401}}))],
            Some("groupSources[0].onFailure.lastAnswerSeconds: "),
        ),
        (
            vec![source(&json!({"credential": {"bearerTokenFile": "t"}}))],
            Some("groupSources[0].credential.bearerTokenFile: "),
        ),
        (
            vec![source(&json!({"sendToken": true, "credential": {"bearerTokenFile": "/t"}}))],
            Some("groupSources[0].credential: "),
        ),
        (vec![source(&json!({"pages": {"parameter": "p"}}))], Some("groupSources[0].pages: ")),
        (vec![source(&json!({"uri": "x"}))], Some("unknown field `uri`")),
    ] {
        match (sourced(&[ISSUER], with(&sources, &json!({}))), want) {
            (Ok(_), None) => {}
            (Err(got), Some(want)) => assert!(got.contains(want), "{got} / {want}"),
            (got, want) => panic!("{sources:?}: {got:?} / {want:?}"),
        }
    }
}

/// The providers' own forms, as their documentation has them.
#[test]
fn each_provider_is_asked_in_its_own_form() {
    let graph = json!({"@odata.nextLink": null, "value": [
        {"@odata.type": "#microsoft.graph.group", "id": "1", "displayName": "Ops"},
        {"@odata.type": "#microsoft.graph.directoryRole", "id": "2", "displayName": "Admin"},
    ]});
    let keycloak = json!([{"id": "1", "name": "ops", "path": "/it/ops"}]);
    let okta = json!([{"id": "00g1", "profile": {"name": "Ops"}}]);
    let google = json!({"kind": "admin#directory#groups", "groups": [{"id": "1", "email": "ops@a.example"}]});
    for (provider, value, path, answer, want) in [
        (
            "entra",
            "names",
            "/v1.0/users/oid-1/transitiveMemberOf?$select=id,displayName&$top=999",
            &graph,
            vec!["Ops"],
        ),
        // Anybody may call a group as another is called.
        (
            "entra",
            "default",
            "/v1.0/users/oid-1/transitiveMemberOf?$select=id,displayName&$top=999",
            &graph,
            vec!["1"],
        ),
        (
            "entra",
            "ids",
            "/v1.0/users/oid-1/transitiveMemberOf?$select=id,displayName&$top=999",
            &graph,
            vec!["1"],
        ),
        ("keycloak", "names", "/admin/realms/k8s/users/jane/groups", &keycloak, vec!["/it/ops"]),
        ("okta", "names", "/api/v1/users/jane/groups?limit=200", &okta, vec!["Ops"]),
        ("okta", "ids", "/api/v1/users/jane/groups?limit=200", &okta, vec!["00g1"]),
        (
            "google",
            "names",
            "/admin/directory/v1/groups?userKey=jane&maxResults=200",
            &google,
            vec!["ops@a.example"],
        ),
        (
            "google",
            "default",
            "/admin/directory/v1/groups?userKey=jane&maxResults=200",
            &json!({"kind": "admin#directory#groups"}),
            vec![],
        ),
    ] {
        let issuer = "https://issuer.example/realms/k8s";
        let source = json!({"name": "it", "issuer": issuer, "provider": provider, "value": value,
            "url": "https://directory.example"});
        let mut document = with(&[source], &json!({}));
        document["limits"] = json!({});
        let configuration = sourced(&[issuer], document).unwrap();
        let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
        rig.poll();
        while let Some(callout) = rig.fetches.pop() {
            let body = if callout.path.ends_with("openid-configuration") {
                json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string()
            } else {
                key_set(&["a"])
            };
            rig.answer(&callout, Ok((200, body.as_bytes())));
        }
        let mut claims = of("jane");
        claims["iss"] = json!(issuer);
        claims["oid"] = json!("oid-1");
        let got = groups(ask(&mut rig, &claims, &[(path, 200, &answer.to_string())]));
        assert_eq!(got, want, "{provider} {value}");
    }
}
