//! Requests that do not go on: by decision, because Envoy refused something, and because of a panic.

use serde_json::json;

use super::*;
use crate::{guard::on_demand::panic_after, mock::refuse_after};

#[test]
fn a_refusal_is_a_status_and_says_why_to_the_log_alone() {
    let (_, envoy) = ready(json!({}));
    let request = envoy.request(get("no-token", &[]));
    assert_eq!(request.headers(true), STOP);
    let answer = request.answer().unwrap();
    assert_eq!(answer.code, 401);
    assert!(answer.body.contains(r#""message":"Unauthorized""#));
    assert!(answer.headers.contains(&("audit-id".to_owned(), b"the-id".to_vec())));
    assert!(request.state("wasm.deny").is_some() && request.state("wasm.reason").is_some());
    assert_eq!(request.state("wasm.user"), None, "no mark, and so no way");
}

#[test]
fn a_bad_configuration_is_refused() {
    let issuer = Issuer::new();
    for document in
        [String::new(), "{}".to_owned(), issuer.document(json!({"limits": {"groups": -1}}))]
    {
        assert!(Envoy::load("gateway", &document).is_none(), "{document}");
    }
}

/// Whatever Envoy refuses, a request goes on whole or not at all.
#[test]
fn what_envoy_refuses_stops_the_request() {
    let (issuer, envoy) =
        ready(json!({"clientImpersonation": "authorize", "extras": {"clientIP": true}}));
    let token = issuer.token("jane");
    let hidden = [("x-remote-user", "admin"), ("audit-id", "mine")];
    let mut refused = 0;
    for others in 0.. {
        refuse_after(Some(others));
        let request = envoy.request(get(&token, &hidden));
        let status = request.headers(true);
        let taken = request.state("wasm.user").is_some() && request.state("wasm.mode").is_some();
        refuse_after(None);
        if status == CONTINUE {
            assert!(taken);
            break;
        }
        assert!(!taken, "marked, though change {others} was refused");
        assert_eq!((status, request.answer().unwrap().code), (STOP, 500));
        refused += 1;
    }
    assert!(refused >= 10, "{refused}");
}

/// RFC 9470: who has logged in is told which login is asked for.
#[test]
fn a_login_that_a_condition_asks_for_is_named_in_the_challenge() {
    let condition = json!({"name": "mfa", "login": {"acr": ["mfa"], "maxAgeSeconds": 900}});
    let (issuer, envoy) = ready(json!({"conditions": [condition]}));
    let request = envoy.request(get(&issuer.token("jane"), &[]));
    assert_eq!(request.headers(true), STOP);
    let answer = request.answer().unwrap();
    let challenge = answer.headers.iter().find(|(name, _)| name == "www-authenticate");
    let challenge = String::from_utf8(challenge.unwrap().1.clone()).unwrap();
    assert!(challenge.contains("insufficient_user_authentication"), "{challenge}");
    assert!(challenge.contains("acr_values=\"mfa\", max_age=\"900\""), "{challenge}");
    assert_eq!(answer.code, 401);
}

/// kubectl would take a 401 for its user's token, and throw a good login away.
#[test]
fn the_api_servers_401_is_about_the_gateways_own_credential() {
    let (issuer, envoy) = ready(json!({}));
    let request = envoy.request(get(&issuer.token("jane"), &[]));
    assert_eq!(request.headers(true), CONTINUE);
    assert_eq!(request.response(headers(&[(":status", "401")])), STOP);
    let answer = request.answer().unwrap();
    assert_eq!(answer.code, 503);
    assert!(answer.headers.contains(&("audit-id".to_owned(), b"the-id".to_vec())));
    let proxied = envoy.request({
        let mut list = get(&issuer.token("jane"), &[]);
        list[1].1 = b"/api/v1/namespaces/x/services/y/proxy/".to_vec();
        list
    });
    assert_eq!(proxied.headers(true), CONTINUE);
    assert_eq!(proxied.response(headers(&[(":status", "401")])), CONTINUE);
}

#[test]
fn an_answer_can_be_the_end_of_its_stream() {
    let (issuer, envoy) = ready(json!({}));
    assert_eq!(envoy.request(get("no-token", &[])).headers_that_end(), STOP);
    let request = envoy.request(get(&issuer.token("jane"), &[]));
    assert_eq!(request.headers(true), CONTINUE);
}

#[test]
fn an_issuer_that_does_not_answer_is_not_waited_for_for_ever() {
    let issuer = Issuer::new();
    let envoy = Envoy::load("gateway", &issuer.document(json!({}))).unwrap();
    let request = envoy.request(get(&issuer.token("jane"), &[]));
    assert_eq!(request.headers(true), STOP_ALL);
    envoy.run();
    for callout in envoy.callouts() {
        envoy.fail(callout.id, 1);
    }
    settle(&request);
    assert_eq!(request.answer().unwrap().code, 503);
    assert_eq!(request.state("wasm.deny").as_deref(), Some("no_keys"));
}

#[test]
fn a_panic_ends_its_request_and_no_other() {
    let (issuer, envoy) = ready(json!({}));
    let token = issuer.token("jane");
    panic_after(Some(0));
    let request = envoy.request(get(&token, &[]));
    assert_eq!(request.headers(true), STOP);
    assert_eq!(request.answer().unwrap().code, 500);
    assert_eq!(request.state("wasm.user"), None);
    let next = envoy.request(get(&token, &[]));
    assert_eq!(next.headers(true), CONTINUE, "the keys are still there");
    await_metric(&envoy, "gateway_panics_total", 1);
}

#[test]
fn a_panic_in_the_midst_of_waiting_requests_ends_one_of_them() {
    let issuer = Issuer::new();
    let envoy = Envoy::load("gateway", &issuer.document(json!({}))).unwrap();
    let requests: Vec<_> = (0..5).map(|_| envoy.request(get(&issuer.token("jane"), &[]))).collect();
    for request in &requests {
        assert_eq!(request.headers(true), STOP_ALL);
    }
    issuer.serve(&envoy);
    panic_after(Some(2));
    while requests.iter().any(Request::run) {}
    let answered: Vec<_> = requests.iter().filter_map(Request::answer).collect();
    assert_eq!(answered.len(), 1);
    assert_eq!(answered[0].code, 500);
    assert_eq!(requests.iter().map(Request::continued).sum::<u32>(), 4);
}
