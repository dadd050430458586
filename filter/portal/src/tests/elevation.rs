//! Elevation: who is asked for whom, and what another site, or a header, cannot bring about.

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const ISSUER: &str = "https://issuer.example";

fn with_grants() -> Portal {
    let portal = with_login();
    let settings = Settings { elevation: Some("elevation".into()), ..portal.settings };
    Portal { settings, ..portal }
}

/// An ID token of Jane's, as far as the portal itself reads it.
fn bearer() -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let end = NOW.as_secs() + 60;
    format!("Bearer {}.{}.x", part(&json!({"alg": "RS256"})), part(&json!({"exp": end})))
}

fn jane() -> Identified {
    let record = b"v=2&issuer=https://issuer.example&user=jane&group=dev&subject=s%26%31&may=team&may=b&grant=g0&lent=admins";
    Identified::read(200, Some(record))
}

fn ask_for(path: &str, headers: &[(&str, &str)], body: &str) -> Step {
    let method = if body.is_empty() { "GET" } else { "POST" };
    ask(&with_grants(), &request(method, path, headers), body.as_bytes(), Some(&jane()))
}

fn status(step: Step) -> u16 {
    match step {
        Step::Respond(answer) => answer.status,
        step => panic!("{step:?}"),
    }
}

#[test]
fn the_program_is_asked_in_the_name_of_who_asks() {
    let bearer = bearer();
    let headers = [JSON, ("authorization", bearer.as_str())];
    let wish = json!({"groups": ["admins"], "seconds": 600, "reason": "r"});
    for (path, body, want, wanted) in [
        ("/elevation/grants", String::new(), "/grants/list", Value::Null),
        ("/elevation/grants", wish.to_string(), "/grants/ask", wish),
        ("/elevation/grants/a-1/approve", "{}".to_owned(), "/grants/a-1/approve", Value::Null),
        ("/elevation/grants/a-1/deny", "{}".to_owned(), "/grants/a-1/deny", Value::Null),
        ("/elevation/grants/a-1/end", "{}".to_owned(), "/grants/a-1/end", Value::Null),
    ] {
        let Step::Elevate(question) = ask_for(path, &headers, &body) else { panic!("{path}") };
        assert_eq!(question.path, want);
        let body: Value = serde_json::from_str(&question.body).unwrap();
        // What is lent to her is none of her groups here: else a loan could lead to the next one.
        let caller = json!({"user": "jane", "issuer": ISSUER, "subject": "s&1", "groups": ["dev"], "meets": ["team", "b"]});
        assert_eq!((&body["caller"], &body["wish"]), (&caller, &wanted));
    }
    for path in [
        "/elevation/grants/a/b/approve",
        "/elevation/grants/a%2f/end",
        "/elevation/grants/a/ask",
        "/elevation/grants/",
        "/elevation/grants//end",
    ] {
        assert_eq!(status(ask_for(path, &headers, "{}")), 404, "{path}");
    }
    for path in ["/elevation/x", "/elevationx", "/elevation/grantsx"] {
        assert_eq!(status(ask_for(path, &headers, "{}")), 404, "{path}");
    }
    assert_eq!(status(ask_for("/elevation/grants", &headers, "[]")), 400);
    assert_eq!(status(ask_for("/elevation/grants", &headers, "{")), 400);
    assert_eq!(status(ask_for("/elevation/grants", &headers, &" ".repeat(MOST_BODY))), 413);
}

/// A step was asked before its body had come, and then once more: the second answer was taken for that of the program.
#[test]
fn nobody_is_asked_before_the_body_is_there() {
    let portal = with_grants();
    let memory = Memory::default();
    let now = DecisionContext {
        portal: "portal",
        time: NOW,
        random: [7; 16],
        secret: [3; 16],
        shared: &memory,
        verifier: &SoftwareVerifier,
    };
    let bearer = bearer();
    for path in ["/elevation/grants", "/elevation/grants/a/approve"] {
        let request = request("POST", path, &[JSON, ("authorization", &bearer)]);
        assert!(matches!(portal.decide(&request, None, None, &now), Step::Body), "{path}");
    }
}

/// As for `/generate`: neither a form nor a script of another site brings a step about.
#[test]
fn another_site_takes_no_step() {
    let bearer = bearer();
    let login = ("authorization", bearer.as_str());
    let form = ("content-type", "application/x-www-form-urlencoded");
    for headers in [
        vec![login],
        vec![login, form],
        vec![login, JSON, ("origin", "https://evil.example")],
        vec![login, JSON, ("sec-fetch-site", "cross-site")],
        vec![login, JSON, ("sec-fetch-site", "same-site")],
    ] {
        for path in ["/elevation/grants", "/elevation/grants/a/approve"] {
            assert_eq!(status(ask_for(path, &headers, "{}")), 403, "{headers:?}");
        }
    }
    let own =
        [login, JSON, ("sec-fetch-site", "same-origin"), ("origin", "https://portal.example")];
    assert!(matches!(ask_for("/elevation/grants/a/approve", &own, "{}"), Step::Elevate(_)));
}

/// Of a header's user nobody knows an issuer, and of some tokens no subject: a namesake could agree.
#[test]
fn who_is_a_name_alone_has_no_part_in_it() {
    let portal = with_grants();
    let by_header = request("POST", "/elevation/grants", &[JSON, USER]);
    assert_eq!(status(ask(&portal, &by_header, b"{}", None)), 403);
    let bearer = bearer();
    let login = request("POST", "/elevation/grants", &[JSON, ("authorization", &bearer)]);
    for (record, want) in [
        (&b"v=2&issuer=sharedSecret&user=jane"[..], 403),
        (b"v=2&issuer=https://issuer.example&user=jane&subject=", 403),
        (b"v=1&subject=1", 503),
    ] {
        let known = Identified::read(200, Some(record));
        assert_eq!(status(ask(&portal, &login, b"{}", Some(&known))), want);
    }
    for (identified, want) in [(Identified::No, 401), (Identified::Unknown, 503)] {
        assert_eq!(status(ask(&portal, &login, b"{}", Some(&identified))), want);
    }
    assert!(matches!(ask(&portal, &login, b"{}", None), Step::Identify { .. }));
}

#[test]
fn without_grants_there_is_no_such_page() {
    for path in ["/elevation", "/elevation/grants"] {
        let request = request("GET", path, &[]);
        assert_eq!(status(ask(&with_login(), &request, b"", None)), 404);
    }
    let page = request("GET", "/elevation", &[]);
    let Step::Respond(answer) = ask(&with_grants(), &page, b"", None) else { panic!() };
    assert!(String::from_utf8(answer.body).unwrap().contains("Ask for groups"));
}

#[test]
fn an_answer_of_the_program_is_told_and_its_event_is_logged() {
    let event = json!({"event": "elevation.asked"});
    let body = json!({"grant": {"id": "a"}, "audit": event}).to_string();
    let answer = Portal::elevated(Topic::Grants, 200, body.as_bytes());
    assert_eq!((answer.status, answer.audit), (200, Some(event.to_string())));
    assert_eq!(answer.body, b"{\"grant\":{\"id\":\"a\"}}\n");
    let answer = Portal::elevated(Topic::Grants, 409, br#"{"error": "it is approved already"}"#);
    assert_eq!(answer.status, 409);
    assert!(answer.audit.unwrap().contains("approved already"));
    for (status, body) in [(0, &b""[..]), (502, b"{}"), (200, b"[]"), (200, b""), (301, b"x")] {
        assert_eq!(Portal::elevated(Topic::Grants, status, body).status, 503);
    }
}
