//! Requests that go on, at once or after they waited.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_user_goes_on_by_impersonation() {
    let (issuer, envoy) = ready(json!({"clientImpersonation": "strip"}));
    let hidden =
        [("impersonate-user", "admin"), ("x-remote-group", "system:masters"), ("audit-id", "mine")];
    let request = envoy.request(get(&issuer.token("jane"), &hidden));
    assert_eq!(request.headers(true), CONTINUE);
    assert_eq!(request.values("impersonate-user"), ["jane"]);
    assert_eq!(request.values("impersonate-group"), ["dev", "ops"]);
    // Envoy writes its own `audit-id`, and the credential over the token.
    for gone in ["audit-id", "x-remote-group"] {
        assert!(request.values(gone).is_empty(), "{gone}");
    }
    assert_eq!(request.state("wasm.user").as_deref(), Some("jane"));
    assert_eq!(request.state("wasm.mode").as_deref(), Some("impersonate"));
    assert!(request.state("wasm.identity").unwrap().contains("&user=jane&"));
    assert_eq!(request.state("wasm.deny"), None);
    assert!(request.route_chosen_anew());
    assert_eq!(request.response(headers(&[(":status", "200")])), CONTINUE);
    assert!(request.answer().is_none());
}

#[test]
fn a_request_waits_for_keys_and_one_fetch_serves_all() {
    let issuer = Issuer::new();
    let envoy = Envoy::load("gateway", &issuer.document(json!({}))).unwrap();
    let requests: Vec<_> =
        (0..40).map(|n| envoy.request(get(&issuer.token(&format!("user-{n}")), &[]))).collect();
    for request in &requests {
        assert_eq!(request.headers(true), STOP_ALL);
    }
    assert_eq!(issuer.serve(&envoy), 2, "discovery and keys, once");
    // More than are decided on in one call.
    while requests.iter().any(Request::run) {}
    for (n, request) in requests.iter().enumerate() {
        assert_eq!(request.continued(), 1);
        assert_eq!(request.values("impersonate-user"), [format!("user-{n}")]);
    }
}

#[test]
fn a_request_whose_client_is_gone_waits_for_nothing() {
    let issuer = Issuer::new();
    let envoy = Envoy::load("gateway", &issuer.document(json!({}))).unwrap();
    let (gone, left) = (
        envoy.request(get(&issuer.token("gone"), &[])),
        envoy.request(get(&issuer.token("left"), &[])),
    );
    assert_eq!((gone.headers(true), left.headers(true)), (STOP_ALL, STOP_ALL));
    drop(gone);
    issuer.serve(&envoy);
    settle(&left);
    assert_eq!(left.continued(), 1);
}

#[test]
fn a_review_is_asked_for_and_obeyed() {
    let (issuer, envoy) = ready(json!({"clientImpersonation": "authorize"}));
    for (allowed, code) in [(true, None), (false, Some(403))] {
        let target = format!("bob-{allowed}");
        let request = envoy.request(get(&issuer.token("jane"), &[("impersonate-user", &target)]));
        assert_eq!(request.headers(true), STOP_ALL);
        envoy.run();
        let callouts = envoy.callouts();
        assert_eq!(callouts.len(), 1);
        let review = &callouts[0];
        assert_eq!(
            (review.cluster.as_str(), review.path()),
            ("review", "/apis/authorization.k8s.io/v1/subjectaccessreviews".to_owned())
        );
        let body: Value = serde_json::from_slice(&review.body).unwrap();
        assert_eq!(body["spec"]["resourceAttributes"]["name"], json!(target));
        let answer = json!({"status": {"allowed": allowed}}).to_string();
        let upstream = [("x-envoy-upstream-service-time", "1")];
        envoy.answer(review.id, "201", &upstream, answer.as_bytes());
        settle(&request);
        assert_eq!(request.answer().map(|answer| answer.code), code);
        assert_eq!(request.continued(), u32::from(allowed));
        if allowed {
            assert_eq!(request.values("impersonate-user"), [target.as_str()]);
            assert_eq!(request.state("wasm.user"), Some(target));
        }
    }
}

#[test]
fn stripped_impersonation_is_told_of() {
    let (issuer, envoy) = ready(json!({"clientImpersonation": "strip"}));
    let request = envoy.request(get(&issuer.token("jane"), &[("x-gateway-asked", "admin")]));
    assert_eq!(request.headers(true), CONTINUE);
    assert!(request.values("x-gateway-asked").is_empty());
    assert_eq!(request.response(headers(&[(":status", "200")])), CONTINUE);
    assert!(request.response_values("warning")[0].starts_with("299 "));
}

/// CVE-2026-73548: what comes before the 101 would be read as further requests, with the connection's credential.
#[test]
fn break_in_2_early_bytes_of_an_upgrade_wait_for_the_101() {
    let (issuer, envoy) = ready(json!({}));
    for (status, resumed) in [("101", 1), ("200", 0), ("403", 0)] {
        let upgrade = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        let request = envoy.request(get(&issuer.token("jane"), &upgrade));
        assert_eq!(request.headers(false), CONTINUE);
        assert_eq!((request.body(), request.body()), (WATERMARK, WATERMARK));
        assert_eq!(request.response(headers(&[(":status", status)])), CONTINUE);
        assert_eq!(request.continued(), resumed, "{status}");
        assert_eq!(request.body(), if resumed == 1 { CONTINUE } else { WATERMARK });
    }
    let plain = envoy.request(get(&issuer.token("jane"), &[]));
    assert_eq!((plain.headers(false), plain.body()), (CONTINUE, CONTINUE));
}

/// They could be held, but would never go on.
#[test]
fn early_bytes_of_an_upgrade_that_waited_are_refused() {
    let upgrade = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
    for (of_upgrade, early, is_refused) in
        [(true, true, true), (true, false, false), (false, true, false)]
    {
        let issuer = Issuer::new();
        let envoy = Envoy::load("gateway", &issuer.document(json!({}))).unwrap();
        let more: &[_] = if of_upgrade { &upgrade } else { &[] };
        let request = envoy.request(get(&issuer.token("jane"), more));
        assert_eq!(request.headers(false), STOP_ALL);
        if early {
            request.body_while_it_waits();
        }
        issuer.serve(&envoy);
        settle(&request);
        assert_eq!(request.continued(), u32::from(!is_refused), "{of_upgrade} {early}");
        assert_eq!(request.state("wasm.mode").is_none(), is_refused, "{of_upgrade} {early}");
        let answer = request.answer();
        assert_eq!(answer.as_ref().map(|answer| answer.code), is_refused.then_some(503));
        if let Some(answer) = answer {
            assert!(answer.headers.contains(&("retry-after".to_owned(), b"1".to_vec())));
        }
    }
}

#[test]
fn trailers_bring_no_identity() {
    let (issuer, envoy) = ready(json!({}));
    let request = envoy.request(get(&issuer.token("jane"), &[]));
    assert_eq!(request.headers(false), CONTINUE);
    let trailers = headers(&[("impersonate_user", "admin"), ("x-checksum", "1")]);
    assert_eq!(request.trailers(trailers), CONTINUE);
    assert!(request.trailer_values("impersonate_user").is_empty());
    assert_eq!(request.trailer_values("x-checksum"), ["1"]);
}

/// What no token can be verified without is counted by its name and labels.
#[test]
fn what_happens_is_counted() {
    let (issuer, envoy) = ready(json!({}));
    let token = issuer.token("jane");
    for _ in 0..3 {
        assert_eq!(envoy.request(get(&token, &[])).headers(true), CONTINUE);
    }
    assert_eq!(envoy.request(get("none", &[])).headers(true), STOP);
    for (series, value) in [
        ("gateway_requests_total{decision=forwarded}{reason=impersonate}", 3),
        ("gateway_token_cache_lookups_total{result=hit}", 2),
        ("gateway_signature_checks_total{by=host}{algorithm=ES256}", 1),
        ("gateway_token_cache_entries", 1),
    ] {
        await_metric(&envoy, series, value);
    }
    assert_eq!(envoy.request(get(&token, &[])).headers(true), CONTINUE);
    let left = envoy.unload();
    assert_eq!(left["gateway_requests_total{decision=forwarded}{reason=impersonate}"], 4);
    assert_eq!(left["gateway_token_cache_entries"], 0, "an end takes its part of a sum back");
    assert_eq!(left["gateway_token_cache_bytes"], 0);
}

#[test]
fn a_gateway_of_another_name_has_a_label() {
    let issuer = Issuer::new();
    let envoy = Envoy::load("dev", &issuer.document(json!({}))).unwrap();
    await_metric(&envoy, "gateway_configurations_total{gateway=dev}", 1);
}

#[test]
fn pages_of_allowed_origins_may_use_every_answer() {
    let (issuer, envoy) = ready(json!({"corsAllowedOrigins": ["^https://console\\.example$"]}));
    let origin = [("origin", "https://console.example")];
    let request = envoy.request(get(&issuer.token("jane"), &origin));
    assert_eq!(request.headers(true), CONTINUE);
    assert_eq!(request.response(headers(&[(":status", "200")])), CONTINUE);
    assert_eq!(request.response_values("access-control-allow-origin"), ["https://console.example"]);
    let refused = envoy.request(get("none", &origin));
    assert_eq!(refused.headers(true), STOP);
    let answer = refused.answer().unwrap();
    assert!(answer.headers.iter().any(|(name, _)| name == "access-control-allow-origin"));
}
