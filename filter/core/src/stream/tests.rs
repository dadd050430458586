use std::cell::RefCell;

use kube_authn::Identity;

use super::*;
use crate::config::Limits;

/// Notes what is called, and refuses one call.
#[derive(Default)]
struct Host {
    calls: RefCell<Vec<String>>,
    refused: Option<usize>,
}

impl Host {
    fn note(&self, call: String) -> bool {
        let mut calls = self.calls.borrow_mut();
        calls.push(call);
        Some(calls.len() - 1) != self.refused
    }
}

impl Request for Host {
    fn add(&self, name: &str, value: &str) -> bool {
        self.note(format!("add {name}: {value}"))
    }

    fn set(&self, name: &str, value: &[u8]) -> bool {
        self.note(format!("set {name}: {}", String::from_utf8_lossy(value)))
    }

    fn remove(&self, name: &str) -> bool {
        self.note(format!("remove {name}"))
    }

    fn mark(&self, mark: Mark, value: &str) -> bool {
        self.note(format!("mark {}: {value}", mark.filter_state()))
    }
}

impl Answer for Host {
    fn add(&self, name: &str, value: &str) {
        self.note(format!("add {name}: {value}"));
    }

    fn set(&self, name: &str, value: &[u8]) {
        self.note(format!("set {name}: {}", String::from_utf8_lossy(value)));
    }

    fn remove(&self, name: &str) {
        self.note(format!("remove {name}"));
    }
}

fn impersonate(is_compared: bool) -> Forward {
    let identity = Identity {
        username: "jane".into(),
        uid: "7".into(),
        groups: vec!["dev".into(), "ops".into()],
        extra: std::collections::BTreeMap::new(),
    };
    let plan = Rc::new(HeaderPlan::new(&identity, &Limits::default(), "").unwrap());
    Forward {
        mode: Mode::Impersonate { plan, protocols: Some(b"v4".to_vec()) },
        more: vec![("impersonate-extra-a".into(), "b".into())],
        cut_after: None,
        is_compared,
        open: None,
    }
}

fn head(headers: &[(String, Vec<u8>)]) -> RequestHead<'_> {
    RequestHead::read(headers)
}

fn headers() -> Vec<(String, Vec<u8>)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    vec![pair("x-request-id", "id"), pair("impersonate-user", "admin"), pair("x-remote-user", "a")]
}

#[test]
fn the_marks_come_last() {
    let host = Host::default();
    assert!(write(&impersonate(true), &head(&headers()), &host));
    assert_eq!(
        host.calls.into_inner(),
        [
            "remove impersonate-user",
            "remove x-remote-user",
            "add impersonate-user: jane",
            "add impersonate-group: dev",
            "add impersonate-group: ops",
            "add impersonate-uid: 7",
            "add impersonate-extra-a: b",
            "set sec-websocket-protocol: v4",
            "mark wasm.groups: dev,ops",
            "mark wasm.uid: 7",
            "mark wasm.user: jane",
            "mark wasm.mode: impersonate",
        ]
    );
}

/// What is written, how, and by how many calls.
type Way<'a> = (&'a str, &'a dyn Fn(&Host) -> bool, usize);

/// Whatever is refused, the mark of the mode is not set, without which no route takes the request.
#[test]
fn a_call_that_is_refused_refuses_all() {
    let own = || Forward {
        mode: Mode::OwnToken { user: "jane".into() },
        more: Vec::new(),
        cut_after: Some(std::time::Duration::from_secs(9)),
        is_compared: false,
        open: None,
    };
    let headers = headers();
    let head = head(&headers);
    let ways: [Way<'_>; 3] = [
        ("impersonate", &|host| write(&impersonate(true), &head, host), 12),
        ("own token", &|host| write(&own(), &head, host), 6),
        ("open", &|host| open(crate::protected_resource::MODE, &head, host), 5),
    ];
    for (name, way, calls) in ways {
        for refused in 0..calls {
            let host = Host { refused: Some(refused), ..Host::default() };
            assert!(!way(&host), "{name}, call {refused}");
            let marked =
                host.calls.into_inner().iter().any(|call| call.starts_with("mark wasm.mode"));
            assert_eq!(marked, refused == calls - 1, "{name}, call {refused}");
        }
        let host = Host::default();
        assert!(way(&host), "{name}");
        assert_eq!(host.calls.into_inner().len(), calls, "{name}");
    }
}

#[test]
fn without_a_gate_that_compares_there_are_two_marks() {
    let host = Host::default();
    assert!(write(&impersonate(false), &head(&headers()), &host));
    let calls = host.calls.into_inner();
    let marks = calls.iter().filter(|call| call.starts_with("mark"));
    assert_eq!(marks.collect::<Vec<_>>(), ["mark wasm.user: jane", "mark wasm.mode: impersonate"]);
}

#[test]
fn an_answer_gets_what_was_remembered() {
    let remembered = Remembered {
        warning: Some("299 - \"groups\"".into()),
        origin: Some(b"https://console.example".to_vec()),
        response: ResponsePolicy { warning: ImpersonationWarning::Always, is_proxied: false },
        ..Remembered::default()
    };
    for (mode, warnings) in [("impersonate", 2), ("", 1)] {
        let host = Host::default();
        remembered.write(&host, || mode.as_bytes().to_vec());
        let calls = host.calls.into_inner();
        let count = |word: &str| calls.iter().filter(|call| call.starts_with(word)).count();
        assert_eq!(count("add warning"), warnings, "{mode:?}: {calls:?}");
        assert_eq!((count("set "), count("remove ")), (4, 1), "{calls:?}");
    }
}

/// Envoy keeps what is not claimed from the Wasm filter, if its status is of the ordinary ones. An ordinary request asks Envoy for nothing.
#[test]
fn an_answer_is_claimed_where_more_than_its_status_counts() {
    let own = |response| Remembered { response, ..Remembered::default() };
    let warned = |warning| own(ResponsePolicy { warning, is_proxied: false });
    let proxied = own(ResponsePolicy { is_proxied: true, ..ResponsePolicy::default() });
    let grouped = Remembered { warning: Some("299 - a".into()), ..Remembered::default() };
    let paged = Remembered { origin: Some(b"https://a".to_vec()), ..Remembered::default() };
    for (case, remembered, body, claimed) in [
        ("ordinary", Remembered::default(), Body::Forwarded, false),
        ("its 401 is its own", proxied, Body::Forwarded, false),
        ("an upgrade", Remembered::default(), Body::Awaited, true),
        ("an upgrade with early bytes", Remembered::default(), Body::Buffered, true),
        ("--as", warned(ImpersonationWarning::Always), Body::Forwarded, true),
        ("--as", warned(ImpersonationWarning::WithOwnToken), Body::Forwarded, true),
        ("a warning", grouped, Body::Forwarded, true),
        ("a page of another origin", paged, Body::Forwarded, true),
    ] {
        let host = Host::default();
        assert!(remembered.claim(body, &host));
        let want: &[&str] = if claimed { &["mark wasm.answer: true"] } else { &[] };
        assert_eq!(host.calls.into_inner(), want, "{case}");
        let refuses = Host { refused: Some(0), ..Host::default() };
        assert_eq!(remembered.claim(body, &refuses), !claimed, "{case}");
    }
}

/// Envoy is not asked for the mode where it does not matter: that is a call on each request.
#[test]
fn the_mode_is_read_only_where_it_matters() {
    let remembered = Remembered::default();
    let host = Host::default();
    remembered.write(&host, || panic!("read"));
    assert!(!remembered.is_of_the_gateway(b"200", || panic!("read")));
    assert_eq!(host.calls.into_inner(), [""; 0]);
}

#[test]
fn a_401_is_the_gateways_own_only_where_it_impersonates() {
    for (status, mode, is_proxied, want) in [
        ("401", "impersonate", false, true),
        ("401", "own-token", false, false),
        ("401", "", false, false),
        ("401", "impersonate", true, false),
        ("403", "impersonate", false, false),
    ] {
        let response = ResponsePolicy { is_proxied, ..ResponsePolicy::default() };
        let remembered = Remembered { response, ..Remembered::default() };
        let got = remembered.is_of_the_gateway(status.as_bytes(), || mode.as_bytes().to_vec());
        assert_eq!(got, want, "{status} {mode} {is_proxied}");
    }
}

/// CVE-2026-73548
#[test]
fn early_bytes_wait_for_the_101_and_for_nothing_else() {
    let mut body = Body::Awaited;
    assert!(!body.releases(b"200"), "nothing has come");
    assert!(body.holds() && body.holds());
    for status in ["100", "200", "403", ""] {
        assert!(!body.releases(status.as_bytes()), "{status}");
        assert_eq!(body, Body::Buffered);
    }
    assert!(body.releases(b"101"));
    assert!(!body.holds(), "from then on bytes go on");
    let mut body = Body::Awaited;
    assert!(!body.releases(b"101"), "nothing waits");
    assert!(!body.holds());
}

#[test]
fn a_refusal_says_what_the_client_may_know() {
    let refused = Refused::new(&Refusal::NoCredential, b"id\xff", Some("Bearer a"));
    assert_eq!(refused.code, 401);
    let header = |name: &str| {
        refused.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(header("www-authenticate"), Some("Bearer a"));
    assert_eq!(header("audit-id"), Some("id\u{fffd}"));
    assert_eq!(header("retry-after"), None);
    let refused = Refused::new(&Refusal::TooManyWaiting, b"id", Some("Bearer a"));
    assert!(refused.headers.iter().all(|(name, _)| *name != "www-authenticate"));
    assert!(refused.headers.contains(&("retry-after", "1".to_owned())));
}

#[test]
fn a_property_is_shown_as_filter_state_of_its_name() {
    assert_eq!((Mark::Mode.property(), Mark::Mode.filter_state()), ("mode", "wasm.mode"));
}
