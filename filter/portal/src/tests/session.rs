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
    let asked = question(send(&portal, "/logout", &own));
    // A token does not tell how long others of its login live.
    assert_eq!((&asked["sid"], &asked["seconds"]), (&sid(&made), &json!(604_860)));
}

/// A login of these names, as the filter tells of it.
fn told(names: &str) -> Identified {
    let mut record = "v=2&issuer=https://i&user=jane&login=".to_owned();
    record.push_str(&names.replace('%', "%25").replace('&', "%26"));
    Identified::read(200, Some(record.as_bytes()))
}

/// The provider ends a session by its own names, and the token has those, too.
#[test]
fn a_token_carries_the_names_of_its_login() {
    let names = "iss=https://i&sub=a%26b&sid=s1&jti=j1&iat=5";
    // Also of a portal that itself knows nothing of what is revoked: a gateway may.
    for portal in [with_sessions(), with_login()] {
        let [kind, cookie] = by(&login("a"));
        let headers = [(kind.0, kind.1.as_str()), (cookie.0, cookie.1.as_str())];
        let request = request("POST", "/generate", &headers);
        let step = ask(&portal, &request, br#"{"lifetime": "1h"}"#, Some(&told(names)));
        let Step::Respond(answer) = step else { panic!("{step:?}") };
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let made = claims(body["token"].as_str().unwrap());
        assert_eq!(made["gateway.kube-oidc.dev/origin"], names, "{made}");
        let audit: Value = serde_json::from_str(&answer.audit.unwrap()).unwrap();
        assert_eq!((&audit["login"], &audit["jti"]), (&json!(names), &made["jti"]), "{audit}");
    }
    // Whom a proxy names has no login, and a filter that knows no more says no more.
    let made = claims(&token(&with_login(), &by(&login("a"))));
    assert_eq!(made.get("gateway.kube-oidc.dev/origin"), None);
    let by_header = made_by_header();
    assert_eq!(by_header.get("gateway.kube-oidc.dev/origin"), None);
}

fn made_by_header() -> Value {
    claims(&made(&with_login(), &[USER], "1h"))
}

/// Each token that is made with another one adds its name to the next one, and nobody needs a long chain.
#[test]
fn tokens_are_not_made_with_each_other_without_end() {
    let portal = with_sessions();
    let [kind, cookie] = by(&login("a"));
    let headers = [(kind.0, kind.1.as_str()), (cookie.0, cookie.1.as_str())];
    let request = request("POST", "/generate", &headers);
    for (between, want) in [(0, 200), (8, 200), (9, 403)] {
        let names = format!("iss=https://i&sub=a{}", "&via=p".repeat(between));
        let step = ask(&portal, &request, br#"{"lifetime": "1h"}"#, Some(&told(&names)));
        let Step::Respond(answer) = step else { panic!("{step:?}") };
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!((answer.status, body.contains("log in")), (want, want == 403), "{body}");
    }
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

/// A token that lives for days, in the hand of somebody who has left. Nobody but the portal looks at it, where kube-apiserver asks the portal.
#[test]
fn of_a_token_of_its_own_the_program_says_whether_it_still_counts() {
    let portal = with_sessions();
    let own = token(&portal, &by(&login("a")));
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": own}});
    let review = review.to_string();
    let request = super::request("POST", "/authenticate", &[JSON]);
    for (status, body, want) in [
        (200, &br#"{"access": "open"}"#[..], 200),
        (200, br#"{"access": "revoked"}"#, 403),
        (200, b"{}", 503),
        (200, b"", 503),
        (503, br#"{"access": "open"}"#, 503),
        (0, b"", 503),
    ] {
        let step = ask(&portal, &request, review.as_bytes(), None);
        let Step::Judge(question, judged) = step else { panic!("{step:?}") };
        assert_eq!(question.path, "/sessions/judge");
        let asked: Value = serde_json::from_str(&question.body).unwrap();
        assert_eq!(
            (&asked["user"], &asked["token"]["sid"]),
            (&json!("jane"), &claims(&own)["sid"])
        );
        let answer = judged.response(status, body);
        assert_eq!(answer.status, want);
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said["status"]["authenticated"] == json!(true), want == 200, "{said}");
    }
    // Where nobody knows, it counts until it expires.
    let step = ask(&with_login(), &request, review.as_bytes(), None);
    assert!(matches!(step, Step::Respond(answer) if answer.status == 200));
}

/// An entry against the login is one against what was made with it, at the webhook as at the gateway.
#[test]
fn a_review_asks_with_the_names_of_the_login_too() {
    let portal = with_sessions();
    let origin = "iss=https://i&sub=1234&sid=s1";
    let end = NOW.as_secs() + 60;
    let claims =
        json!({"aud": AUDIENCE, "sub": "jane", "exp": end, "gateway.kube-oidc.dev/origin": origin});
    let (_, own) = portal.keys.sign(&claims).unwrap();
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": own}});
    let request = super::request("POST", "/authenticate", &[JSON]);
    let step = ask(&portal, &request, review.to_string().as_bytes(), None);
    let Step::Judge(question, judged) = step else { panic!("{step:?}") };
    let asked: Value = serde_json::from_str(&question.body).unwrap();
    assert_eq!(asked["token"]["origin"], origin, "{asked}");
    // As the gateway calls it.
    let token = &asked["token"];
    assert_eq!((&token["issuer"], &token["subject"]), (&json!("sharedSecret"), &json!("")));
    // kube-apiserver is not told of it.
    let said = String::from_utf8(judged.response(200, br#"{"access": "open"}"#).body).unwrap();
    assert!(!said.contains("s1") && said.contains("jane"), "{said}");
}

/// A proxy names the user, so that the gateway's filter has not looked at it.
#[test]
fn who_is_revoked_gets_no_token_by_a_header_either() {
    for (method, path) in [("POST", "/generate"), ("GET", "/kubecfg?lifetime=1h")] {
        let request = super::request(method, path, &[JSON, USER]);
        for (body, want) in [(r#"{"access": "open"}"#, 200), (r#"{"access": "revoked"}"#, 403)] {
            let step = ask(&with_sessions(), &request, br#"{"lifetime": "1h"}"#, None);
            let Step::Judge(question, judged) = step else { panic!("{path}: {step:?}") };
            assert!(question.body.contains(USER.1), "{}", question.body);
            let answer = judged.response(200, body.as_bytes());
            assert_eq!(answer.status, want, "{path}");
            assert_eq!(String::from_utf8(answer.body).unwrap().contains("eyJ"), want == 200);
        }
    }
}
