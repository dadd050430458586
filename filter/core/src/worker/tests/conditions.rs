//! Conditions: what they see of a request, what a refused client is told, and that nothing leads around them.

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn rig(conditions: &Value) -> Rig {
    with(json!({"conditions": conditions}))
}

fn with(gateway: Value) -> Rig {
    let mut rig = Rig::new(gateway);
    rig.serve(ISSUER, &key_set(&["a"]));
    rig
}

/// A user's token with more claims.
fn token_with(more: &Value) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    format!("Bearer {}", token("a", &claims))
}

fn ask<'a>(token: &'a str, method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    let user_agent = ("user-agent", "kubectl/v1.37.0");
    vec![("authorization", token), (":method", method), (":path", path), user_agent]
}

/// Why a request is refused: the status code, the message and the reason; nothing if it is not.
fn refusal(rig: &mut Rig, headers: &[(&str, &str)]) -> Option<(u16, String, String)> {
    match rig.decide(headers, Attempt::default()) {
        Decision::Forward(_) => None,
        Decision::Refuse(refusal) => {
            let reply = refusal.reply();
            let body: Value = serde_json::from_str(&reply.body).unwrap();
            Some((reply.code, body["message"].as_str().unwrap().to_owned(), refusal.reason()))
        }
        other => panic!("{other:?}"),
    }
}

fn code(rig: &mut Rig, headers: &[(&str, &str)]) -> u16 {
    refusal(rig, headers).map_or(200, |(code, ..)| code)
}

#[test]
fn a_condition_refuses_by_its_name_and_is_counted() {
    let mut rig = rig(&json!([
        {"name": "no-secrets", "match": "request.resource == 'secrets'", "expression": "!('dev' in user.groups)",
         "message": "developers read no secrets"},
        {"name": "clients", "expression": "request.userAgent.startsWith('kubectl/')"},
    ]));
    let token = token_with(&json!({}));
    let secrets = ask(&token, "GET", "/api/v1/secrets");
    // Cold and warm.
    for _ in 0..2 {
        let (code, message, reason) = refusal(&mut rig, &secrets).unwrap();
        assert_eq!(
            (code, message.as_str()),
            (403, "condition no-secrets: developers read no secrets")
        );
        assert_eq!(reason, "condition no-secrets: its expression is false");
    }
    assert_eq!(refusal(&mut rig, &ask(&token, "GET", "/api/v1/pods")), None);
    let mut other = ask(&token, "GET", "/api/v1/pods");
    other[3].1 = "curl/8";
    let (code, message, _) = refusal(&mut rig, &other).unwrap();
    assert_eq!((code, message.as_str()), (403, "condition clients is not fulfilled"));
    // What has no User-Agent, or no text for one.
    assert_eq!(self::code(&mut rig, &other[..3]), 403);
    let changes = rig.worker.take_metrics();
    let counted = |stat: &str| changes.iter().find(|change| change.stat == stat).map(|it| it.value);
    assert_eq!(
        counted("gateway_condition_refusals_total.result.false.condition.no-secrets"),
        Some(2)
    );
    assert_eq!(counted("gateway_condition_refusals_total.result.false.condition.clients"), Some(2));
    assert_eq!(counted("gateway_requests_total.decision.refused.reason.condition"), Some(4));
}

/// Nothing that cannot be evaluated passes, be it in `match`.
#[test]
fn an_expression_that_errs_refuses() {
    for (condition, want) in [
        (
            json!({"name": "a", "expression": "claims.department == 'x'"}),
            "condition a: expression: no such key: department",
        ),
        (
            json!({"name": "a", "match": "claims.department == 'x'", "expression": "true"}),
            "condition a: match: no such key: department",
        ),
        (
            json!({"name": "a", "expression": "claims.groups[7] == 'x'"}),
            "condition a: expression: index out of bounds: 7",
        ),
        (json!({"name": "a", "expression": "claims.sub"}), ""),
        (
            json!({"name": "a", "expression": "claims.sub == 'jane' && claims.jti > 5"}),
            "condition a: expression: no such overload",
        ),
        (
            json!({"name": "a", "expression": "[1,2,3,4,5].all(a, [1,2,3,4,5].all(b, [1,2,3,4,5].all(c, [1,2,3,4,5].all(d, user.groups.all(g, ['x'].map(x, x + x).map(x, x + x).size() == 1)))))"}),
            "could cost",
        ),
    ] {
        let gateway = json!({"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration", "conditions": [condition]});
        if let Err(error) = crate::config::GatewayConfiguration::from_value(gateway) {
            assert!(error.to_string().contains(want), "{error} / {want}");
            continue;
        }
        let mut rig = rig(&json!([condition]));
        let (code, message, reason) =
            refusal(&mut rig, &ask(&token_with(&json!({})), "GET", "/")).unwrap();
        assert_eq!((code, message.as_str()), (403, "condition a is not fulfilled"));
        assert!(reason.starts_with(want), "{reason} / {want}");
    }
}

/// CEL that never ends: the conditions of a request share what they may cost, and who brings a thousand groups is refused and does not
/// hold the worker up.
#[test]
fn the_cost_of_all_conditions_of_a_request_is_bounded() {
    let condition = |name: usize| json!({"name": format!("c{name}"), "expression": "user.groups.all(g, user.groups.exists(h, h == g))"});
    let conditions: Vec<_> = (0..20).map(condition).collect();
    let mut rig = with(json!({"conditions": conditions, "limits": {"groups": 1000}}));
    let groups = |count: usize| (0..count).map(|n| format!("g{n}")).collect::<Vec<_>>();
    let few = token_with(&json!({"groups": groups(5)}));
    assert_eq!(refusal(&mut rig, &ask(&few, "GET", "/api/v1/pods")), None);
    for count in [40, 1000] {
        let many = token_with(&json!({"groups": groups(count)}));
        let (code, _, reason) = refusal(&mut rig, &ask(&many, "GET", "/api/v1/pods")).unwrap();
        assert_eq!(code, 403);
        assert!(reason.ends_with("actual cost limit exceeded"), "{reason}");
    }
}

#[test]
fn a_login_that_is_asked_for_is_told_and_then_passes() {
    let condition = json!([{
        "name": "mfa", "match": "request.verb == 'delete' && request.namespace == 'kube-system'",
        "login": {"acr": ["phrh", "phr"], "maxAgeSeconds": 900}, "message": "needs a second factor",
    }]);
    let told = json!({"url": "https://gateway.example"});
    let mut rig = with(json!({"conditions": condition, "protectedResource": told}));
    let path = "/api/v1/namespaces/kube-system/pods/dns";
    let now = NOW.as_secs();
    for (claims, good) in [
        (json!({}), false),
        (json!({"acr": "phr"}), false),
        (json!({"auth_time": now}), false),
        (json!({"acr": "0", "auth_time": now}), false),
        (json!({"acr": "phr phrh", "auth_time": now}), false),
        (json!({"acr": ["phr"], "auth_time": now}), false),
        (json!({"acr": "phr", "auth_time": now - 901}), false),
        (json!({"acr": "phr", "auth_time": now.to_string()}), false),
        (json!({"acr": "phr", "auth_time": -5}), false),
        (json!({"acr": "phr", "auth_time": now - 900}), true),
        (json!({"acr": "phrh", "auth_time": now}), true),
        // An issuer's clock may be ahead.
        (json!({"acr": "phr", "auth_time": now + 3}), true),
    ] {
        let token = token_with(&claims);
        let asked = ask(&token, "DELETE", path);
        match rig.decide(&asked, Attempt::default()) {
            Decision::Forward(_) => assert!(good, "{claims}"),
            Decision::Refuse(refusal) => {
                assert!(!good, "{claims}");
                let reply = refusal.reply();
                assert_eq!(reply.code, 401);
                let want = "condition mfa: needs a second factor; log in again: kubectl oidc login --acr=phrh,phr --max-age=900";
                assert!(
                    reply.body.contains(want) && reply.body.contains(r#""reason":"Unauthorized""#),
                    "{}",
                    reply.body
                );
                let challenge = rig.worker.challenge();
                assert_eq!(
                    refusal.challenge(challenge.as_deref()).unwrap(),
                    "Bearer error=\"insufficient_user_authentication\", error_description=\"another login is needed\", acr_values=\"phrh phr\", max_age=\"900\", resource_metadata=\"https://gateway.example/.well-known/oauth-protected-resource\"",
                );
                assert!(!refusal.challenge(None).unwrap().contains("resource_metadata"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(refusal(&mut rig, &ask(&token, "GET", path)), None);
    }
    // A login grows old while its token is in the cache.
    let token = token_with(&json!({"acr": "phr", "auth_time": now - 880, "exp": now + 600}));
    assert_eq!(code(&mut rig, &ask(&token, "DELETE", path)), 200);
    rig.now += Duration::from_secs(20);
    assert_eq!(code(&mut rig, &ask(&token, "DELETE", path)), 200);
    rig.now += Duration::from_secs(1);
    assert_eq!(code(&mut rig, &ask(&token, "DELETE", path)), 401);
}

/// A fresh login does not help who is at the wrong place.
#[test]
fn an_expression_beside_a_login_is_a_matter_of_its_own() {
    let mut rig = rig(&json!([{
        "name": "a", "login": {"acr": ["mfa"]}, "expression": "cidr('198.51.100.0/24').containsIP(request.address)",
    }]));
    assert_eq!(code(&mut rig, &ask(&token_with(&json!({})), "GET", "/")), 401);
    assert_eq!(code(&mut rig, &ask(&token_with(&json!({"acr": "mfa"})), "GET", "/")), 403);
}

/// Whoever acts as somebody else is judged as who signed in, and nobody's rights are asked for in vain.
#[test]
fn user_is_who_signed_in_whatever_as_asks_for() {
    let mut rig = rig(&json!([
        {"name": "user", "match": "request.resource == 'secrets'", "expression": "user.username != 'jane' && !('dev' in user.groups)"},
        {"name": "impersonated", "match": "impersonated.username != ''", "expression": "impersonated.username != 'root' && !('ops' in impersonated.groups)"},
    ]));
    let token = token_with(&json!({}));
    for (path, more, want) in [
        ("/api/v1/secrets", &[("impersonate-user", "bob")][..], Err("condition user")),
        (
            "/api/v1/secrets",
            &[("impersonate-user", "bob"), ("impersonate-group", "admins")],
            Err("condition user"),
        ),
        ("/api/v1/pods", &[("impersonate-user", "root")], Err("condition impersonated")),
        (
            "/api/v1/pods",
            &[("impersonate-user", "bob"), ("impersonate-group", "ops")],
            Err("condition impersonated"),
        ),
        ("/api/v1/pods", &[("impersonate-user", "bob")], Ok(1)),
    ] {
        let headers = [ask(&token, "GET", path).as_slice(), more].concat();
        match (rig.decide(&headers, Attempt::default()), want) {
            (Decision::Refuse(refusal), Err(want)) => {
                assert!(refusal.reason().starts_with(want), "{refusal}");
                assert_eq!(rig.lookups().len(), 0, "{path} {more:?}");
            }
            (Decision::Wait(Wait::Reviews(reviews)), Ok(count)) => assert_eq!(reviews.len(), count),
            (got, _) => panic!("{path} {more:?}: {got:?}"),
        }
    }
    // Where the headers count for nothing, there is nobody else.
    let mut rig = with(
        json!({"clientImpersonation": "strip", "conditions": [{"name": "a", "expression": "impersonated.username == ''"}]}),
    );
    let headers = [ask(&token, "GET", "/").as_slice(), &[("impersonate-user", "bob")]].concat();
    assert_eq!(refusal(&mut rig, &headers), None);
}

/// Strangers, users of the API server's own tokens, and tokens that travel on themselves.
#[test]
fn conditions_hold_for_everybody() {
    let conditions = json!([{"name": "a", "match": "request.path == '/version'", "expression": "!('readers' in user.groups) && !user.username.startsWith('system:')"}]);
    let mut rig = with(json!({"conditions": conditions, "tokenReview": {"enabled": true}}));
    let asked = ask("Bearer opaque", "GET", "/version");
    assert!(matches!(rig.decide(&asked, Attempt::default()), Decision::Wait(_)));
    let reader = |_: &Value| json!({"authenticated": true, "user": {"username": "jane", "uid": "1", "groups": ["readers"], "extra": {"k": ["v"]}}});
    assert_eq!(answer_reviews(&mut rig, reader), 1);
    assert_eq!(code(&mut rig, &asked), 403);
    assert_eq!(code(&mut rig, &ask("Bearer opaque", "GET", "/healthz")), 200);

    let mut rig = with(json!({"conditions": conditions, "impersonation": "disabled"}));
    let token = token_with(&json!({"groups": ["readers"]}));
    assert_eq!(code(&mut rig, &ask(&token, "GET", "/version")), 403);
    assert_eq!(code(&mut rig, &ask(&token, "GET", "/healthz")), 200);

    let mut document = configuration_json(&[ISSUER]);
    document["anonymous"] = json!({"enabled": true});
    let document = json!({
        "authenticationConfiguration": document,
        "gatewayConfiguration": {"apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration", "conditions": conditions},
        "defaultIssuerCluster": "issuers", "reviewCluster": "review",
    });
    let configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    let stranger = |path| [(":method", "GET"), (":path", path)];
    assert_eq!(code(&mut rig, &stranger("/version")), 403);
    assert_eq!(code(&mut rig, &stranger("/healthz")), 200);
}

/// A path that kube-apiserver reads otherwise than a condition would lead around it.
#[test]
fn paths_mean_what_they_mean_to_kube_apiserver() {
    let mut rig = rig(&json!([
        {"name": "secrets", "expression": "request.resource != 'secrets'"},
        {"name": "system", "match": "request.namespace == 'kube-system'", "expression": "!(request.verb in ['delete', 'deletecollection'])"},
        {"name": "exec", "expression": "!(request.subresource in ['exec', 'attach', 'portforward', 'proxy', 'ephemeralcontainers']) && request.verb != 'proxy'"},
    ]));
    let token = token_with(&json!({}));
    for (method, path, want) in [
        ("GET", "/api/v1/namespaces/a/secrets", 403),
        ("GET", "/api/v1/namespaces/a/secrets/", 403),
        ("GET", "//api/v1/namespaces/a/secrets", 403),
        ("GET", "/api/v1/namespaces/a/%73ecrets", 403),
        ("GET", "/api/v1/namespaces/a%2Fsecrets", 403),
        ("GET", "/%61pi/v1/secrets", 403),
        ("GET", "/api%2Fv1%2Fsecrets", 403),
        ("GET", "/api/v1/secrets?watch=1", 403),
        ("GET", "/api/v1/secrets?resourceVersion=0&fieldSelector=metadata.name%3Dx", 403),
        ("GET", "/api/v1/namespaces//secrets", 403),
        ("GET", "/api/v1/watch/secrets", 403),
        ("GET", "/api/v1/watch/namespaces/a/secrets/x", 403),
        ("HEAD", "/api/v1/namespaces/a/secrets/x", 403),
        ("OPTIONS", "/api/v1/namespaces/a/secrets/x", 403),
        // No secrets for kube-apiserver either: it answers 404.
        ("GET", "/api/v1/namespaces/a/pods/../secrets", 200),
        ("GET", "/api/v1/namespaces/a/./secrets", 200),
        ("GET", "/api/v1/namespaces/a/secrets%3Fx", 200),
        ("GET", "/API/v1/namespaces/a/secrets", 200),
        ("DELETE", "/api/v1/namespaces/kube-system/pods/p", 403),
        ("DELETE", "/api/v1/namespaces/kube-system/pods", 403),
        ("DELETE", "/api/v1/namespaces/kube-system/pods?labelSelector=a%3Db", 403),
        ("DELETE", "/api/v1/namespaces/kube-system", 403),
        ("DELETE", "/api/v1/namespaces/kube%2Dsystem/pods/p", 403),
        ("DELETE", "/api/v1/namespaces/default/pods/p", 200),
        ("POST", "/api/v1/namespaces/a/pods/p/exec?command=sh", 403),
        ("GET", "/api/v1/namespaces/a/pods/p/exec?command=sh", 403),
        ("GET", "/api/v1/namespaces/a/pods/p/exec/?command=sh", 403),
        ("GET", "/api/v1/namespaces/a/pods/p%2Fexec", 403),
        ("PATCH", "/api/v1/namespaces/a/pods/p/ephemeralcontainers", 403),
        ("GET", "/api/v1/nodes/n/proxy/exec/a/p/c?command=sh", 403),
        ("GET", "/api/v1/proxy/namespaces/a/services/s", 403),
        ("GET", "/api/v1/namespaces/a/services/s:80/proxy/x", 403),
        ("GET", "/api/v1/namespaces/a/pods/p/log", 200),
        // kube-apiserver reads none of these.
        ("GET", "/api/v1/%zz", 400),
        ("GET", "/api/v1/watch", 400),
        ("GET", "api/v1/secrets", 400),
    ] {
        assert_eq!(code(&mut rig, &ask(&token, method, path)), want, "{method} {path}");
    }
    // Without conditions nobody asks what a target means here: kube-apiserver answers.
    let mut rig = with(json!({}));
    assert_eq!(code(&mut rig, &ask(&token, "GET", "/api/v1/%zz")), 200);
}

/// What a condition does not read is not kept, and asked of nobody.
#[test]
fn a_token_s_claims_are_kept_as_far_as_conditions_read_them() {
    let more = json!({"department": "red", "email": "jane@example.com", "nested": {"a": ["b"]}});
    let headers = token_with(&more);
    for (condition, want) in [
        (json!([]), None),
        (json!([{"name": "a", "expression": "user.username == 'jane'"}]), None),
        (
            json!([{"name": "a", "expression": "claims.department == 'red' && !has(claims.absent)"}]),
            Some(&["department"][..]),
        ),
        (
            json!([{"name": "a", "expression": "claims.?acr.orValue('') == '' && claims.nested.a[0] == 'b'"}]),
            Some(&["nested"]),
        ),
        (
            json!([{"name": "a", "match": "request.verb == 'delete'", "login": {"maxAgeSeconds": 5}}]),
            Some(&[]),
        ),
        (
            json!([{"name": "a", "expression": "['email'].all(c, claims[c] != '')"}]),
            Some(&["iss", "aud", "sub", "groups", "jti", "exp", "department", "email", "nested"]),
        ),
    ] {
        let mut rig = rig(&condition);
        assert_eq!(refusal(&mut rig, &ask(&headers, "GET", "/")), None, "{condition}");
        let key = rig.worker.cache.key(headers.strip_prefix("Bearer ").unwrap().as_bytes());
        let epoch = rig.worker.issuers[0].epoch();
        let grant = rig.worker.cache.get(key, NOW, |_| epoch).unwrap();
        assert!(grant.identity.is_some());
        let mut kept = grant
            .claims
            .as_deref()
            .map(|claims| claims.members().map(|(name, _)| name.to_owned()).collect::<Vec<_>>());
        if let Some(kept) = &mut kept {
            kept.sort();
        }
        let mut want = want.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
        if let Some(want) = &mut want {
            want.sort();
        }
        assert_eq!(kept, want, "{condition}");
    }
}

/// It costs a host call.
#[test]
fn the_address_is_asked_for_only_by_conditions_that_read_it() {
    use std::cell::Cell;
    for (expression, want) in [
        ("request.verb == 'get'", 0),
        ("request.address == '192.0.2.9'", 1),
        ("dyn(request).address == '192.0.2.9'", 1),
    ] {
        let mut rig = rig(&json!([{"name": "a", "expression": expression}]));
        let headers: Vec<_> = ask(&token_with(&json!({})), "GET", "/")
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .collect();
        let asked = Cell::new(0);
        let address = || {
            asked.set(asked.get() + 1);
            "192.0.2.9".to_owned()
        };
        let peer = Peer { address: &address, protocol: &|| String::new(), has_body: false };
        let outcome =
            rig.worker.decide(&RequestHead::read(&headers), peer, Attempt::default(), NOW);
        assert!(matches!(outcome.decision, Decision::Forward(_)), "{expression}: {outcome:?}");
        assert_eq!(asked.get(), want, "{expression}");
    }
}
