//! Sessions: which tokens a logout ends, and who can bring it about.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn with_sessions() -> Portal {
    let portal = with_login();
    let settings = Settings { sessions: Some("access".into()), ..portal.settings };
    Portal { settings, ..portal }
}

/// An ID token, as far as the portal itself reads it.
fn login(jti: &str) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let end = NOW.as_secs() + 600;
    format!("{}.{}.x", part(&json!({"alg": "RS256"})), part(&json!({"exp": end, "jti": jti})))
}

fn jane() -> Identified {
    let jane = Identity { username: "jane".into(), ..Identity::default() };
    Identified::As(jane, Origin::default())
}

fn by(token: &str) -> [(&'static str, String); 2] {
    [("content-type", "application/json".to_owned()), ("cookie", format!("IdToken={token}"))]
}

fn send(portal: &Portal, path: &str, headers: &[(&str, String)]) -> Step {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let request = request("POST", path, &headers);
    ask(portal, &request, br#"{"lifetime": "1h"}"#, Some(&jane()))
}

/// The token that is made with a login, or with another token.
fn token(portal: &Portal, headers: &[(&str, String)]) -> String {
    let Step::Respond(answer) = send(portal, "/generate", headers) else { panic!() };
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["token"].as_str().unwrap().to_owned()
}

fn question(step: Step) -> Value {
    let Step::Elevate(question) = step else { panic!("{step:?}") };
    assert_eq!((question.topic, question.path.as_str()), (Topic::Session, "/sessions/end"));
    serde_json::from_str(&question.body).unwrap()
}

#[test]
fn a_logout_ends_what_was_made_with_the_login_and_nothing_else() {
    let portal = with_sessions();
    let (first, second) = (login("a"), login("b"));
    let sid = |token: &str| claims(token)["sid"].clone();
    let made = token(&portal, &by(&first));
    assert_eq!(sid(&token(&portal, &by(&first))), sid(&made));
    assert_ne!(sid(&token(&portal, &by(&second))), sid(&made));
    let asked = question(send(&portal, "/logout", &by(&first)));
    // No longer than the login, and what clocks differ by.
    assert_eq!(asked, json!({"sid": sid(&made), "seconds": 660, "user": "jane"}));
    // A token that a token made does not outlive the session either.
    let own = [JSON, ("authorization", &*format!("Bearer {made}"))];
    let own = own.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(sid(&token(&portal, &own)), sid(&made));
    assert_eq!(question(send(&portal, "/logout", &own))["sid"], sid(&made));
}

#[test]
fn without_who_writes_it_down_no_token_has_a_session_and_there_is_no_logout() {
    let portal = with_login();
    let made = token(&portal, &by(&login("a")));
    assert!(claims(&made).get("sid").is_none());
    let Step::Respond(answer) = send(&portal, "/logout", &by(&login("a"))) else { panic!() };
    assert_eq!(answer.status, 404);
    // One that was made then is of no session later.
    let own = [JSON, ("authorization", &*format!("Bearer {made}"))];
    let own = own.map(|(name, value)| (name, value.to_owned()));
    let Step::Respond(answer) = send(&with_sessions(), "/logout", &own) else { panic!() };
    assert_eq!(answer.status, 403);
}

#[test]
fn another_site_and_who_has_no_login_log_nobody_out() {
    let portal = with_sessions();
    let with = |more: (&'static str, &str)| {
        let [kind, cookie] = by(&login("a"));
        vec![kind, cookie, (more.0, more.1.to_owned())]
    };
    let [_, cookie] = by(&login("a"));
    for headers in [
        vec![cookie],
        with(("origin", "https://evil.example")),
        with(("sec-fetch-site", "cross-site")),
        vec![("content-type", JSON.1.to_owned()), ("x-forwarded-user", "jane".to_owned())],
    ] {
        let Step::Respond(answer) = send(&portal, "/logout", &headers) else {
            panic!("{headers:?}")
        };
        assert_eq!(answer.status, 403, "{headers:?}");
    }
    let request = request("POST", "/logout", &[JSON, ("cookie", "IdToken=x")]);
    let Step::Respond(answer) = ask(&portal, &request, b"{}", Some(&Identified::No)) else {
        panic!()
    };
    assert_eq!(answer.status, 401);
    let get = super::request("GET", "/logout", &[]);
    assert!(matches!(ask(&portal, &get, b"", None), Step::Respond(answer) if answer.status == 405));
}

/// The page says so: it must not promise what did not happen.
#[test]
fn what_could_not_be_written_down_is_no_success() {
    let done = Portal::elevated(
        Topic::Session,
        200,
        br#"{"tokens": "ended", "audit": {"event": "logout"}}"#,
    );
    assert_eq!((done.status, done.audit.as_deref()), (200, Some(r#"{"event":"logout"}"#)));
    for (status, body) in [(0, &b""[..]), (503, br#"{"error": "x"}"#), (200, b"no")] {
        let answer = Portal::elevated(Topic::Session, status, body);
        assert_eq!(answer.status, 503, "{status}");
        assert!(String::from_utf8(answer.body).unwrap().contains("who writes down"));
    }
}
