//! The device grant (RFC 8628).

use oidc_provider::{Endpoint, Issuer};
use serde_json::Value;

use crate::client::{Answer, Http, claims, issuer, start_with};

fn begin(http: &Http, issuer: &Issuer) -> Value {
    let form = [("client_id", "cli"), ("scope", "openid groups")];
    let answer = http.post(&issuer.endpoint(Endpoint::DeviceAuthorization), &form);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn poll(http: &Http, issuer: &Issuer, device: &Value) -> Answer {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "cli"),
        ("device_code", device["device_code"].as_str().unwrap()),
    ];
    http.post(&issuer.endpoint(Endpoint::Token), &form)
}

fn decide(http: &Http, device: &Value, code: &str, password: &str, button: &str) -> Answer {
    let page = device["verification_uri"].as_str().unwrap();
    let form = [("user_code", code), ("username", "alice"), ("password", password), (button, "1")];
    http.post(page, &form)
}

fn refused(error: &str) -> (u16, String) {
    (400, error.to_owned())
}

#[test]
fn a_device_waits_until_its_user_lets_it_in() {
    let mut config = issuer();
    config.device_interval_seconds = 0;
    let (_provider, issuer, http) = start_with(config);
    let device = begin(&http, &issuer);
    assert_eq!(device["interval"], 0);
    assert_eq!(poll(&http, &issuer, &device).refusal(), refused("authorization_pending"));

    let page = http.get(device["verification_uri_complete"].as_str().unwrap()).text();
    let code = device["user_code"].as_str().unwrap();
    assert!(page.contains(code), "{page}");
    assert_eq!(decide(&http, &device, code, "wrong", "allow").status, 403);
    assert_eq!(decide(&http, &device, "BBBB-BBBB", "wonderland", "allow").status, 400);
    assert_eq!(poll(&http, &issuer, &device).refusal(), refused("authorization_pending"));

    // As people type it.
    let typed = code.to_lowercase().replace('-', " ");
    assert_eq!(decide(&http, &device, &typed, "wonderland", "allow").status, 200);
    let tokens = poll(&http, &issuer, &device).json();
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(id["groups"], serde_json::json!(["developers", "testers"]));
    assert!(tokens["refresh_token"].is_string());
    assert_eq!(poll(&http, &issuer, &device).refusal(), refused("invalid_grant"), "once only");
}

#[test]
fn denied_expired_and_impatient_devices() {
    let (_provider, issuer, http) = start_with(issuer());
    let denied = begin(&http, &issuer);
    let code = denied["user_code"].as_str().unwrap();
    assert_eq!(decide(&http, &denied, code, "wonderland", "deny").status, 200);
    assert_eq!(poll(&http, &issuer, &denied).refusal(), refused("access_denied"));

    let impatient = begin(&http, &issuer);
    assert_eq!(impatient["interval"], 5);
    assert_eq!(poll(&http, &issuer, &impatient).refusal(), refused("authorization_pending"));
    assert_eq!(poll(&http, &issuer, &impatient).refusal(), refused("slow_down"));

    let expired = begin(&http, &issuer);
    issuer.set_clock_offset(600);
    assert_eq!(poll(&http, &issuer, &expired).refusal(), refused("expired_token"));
    let code = expired["user_code"].as_str().unwrap();
    assert_eq!(decide(&http, &expired, code, "wonderland", "allow").status, 400);
}

#[test]
fn tests_decide_without_the_page() {
    let (_provider, issuer, http) = start_with(issuer());
    let device = begin(&http, &issuer);
    let code = device["user_code"].as_str().unwrap();
    assert!(issuer.approve_device(code, "nobody").is_err());
    assert!(!issuer.approve_device("BBBB-BBBB", "alice").unwrap());
    assert!(issuer.approve_device(code, "alice").unwrap());
    assert_eq!(poll(&http, &issuer, &device).status, 200);
    let device = begin(&http, &issuer);
    assert!(issuer.deny_device(device["user_code"].as_str().unwrap()));
    assert_eq!(poll(&http, &issuer, &device).refusal(), refused("access_denied"));
}
