//! The checker on lines that were recorded in a run, whole and with one thing changed in them.

use std::sync::Arc;

use super::*;
use crate::windows::Cause;

const GATEWAY: &str = "system:serviceaccount:kube-oidc-gateway:gateway";

/// Of kube-apiserver's audit log.
const APISERVER: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"59997507-2aa1-443f-90ab-82ee1f07b0d5","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/soak/configmaps?limit=5","verb":"list","user":{"username":"system:serviceaccount:kube-oidc-gateway:gateway","uid":"30a17329-23b3-4c1c-b786-4abe4b70bd24","groups":["system:serviceaccounts","system:serviceaccounts:kube-oidc-gateway","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=654e816c-8968-403f-9d98-819ed42eeb6d"]}},"impersonatedUser":{"username":"beta:gus","uid":"uid-beta-gus","groups":["beta:operators","beta:writers","beta:readers","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=soak-72"],"soak":["0"]}},"sourceIPs":["127.0.0.1"],"userAgent":"soak/0","objectRef":{"resource":"configmaps","namespace":"soak","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-28T18:25:27.871631Z","stageTimestamp":"2026-11-28T18:25:27.965705Z"}"#;

/// What stands in it of the user.
const IMPERSONATED: &str = r#""impersonatedUser":{"username":"beta:gus","uid":"uid-beta-gus","groups":["beta:operators","beta:writers","beta:readers","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=soak-72"],"soak":["0"]}},"#;

/// Of the gateway's audit events.
const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"59997507-2aa1-443f-90ab-82ee1f07b0d5","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/soak/configmaps?limit=5","verb":"list","user":{"username":"beta:gus","uid":"uid-beta-gus","groups":["beta:operators","beta:writers","beta:readers","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=soak-72"]}},"sourceIPs":["127.0.0.1"],"userAgent":"soak/0","objectRef":{"resource":"configmaps","namespace":"soak","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-28T18:25:27.818419Z","stageTimestamp":"2026-11-28T18:25:27.986419Z","annotations":{"gateway.kube-oidc.dev/issuer":"https://127.0.0.1:37575/realms/beta"}}"#;

/// Of the access log.
const LINE: &str = r#"{"auditID":"59997507-2aa1-443f-90ab-82ee1f07b0d5","userAgent":"soak/0","user":"beta:gus","mode":"impersonate","code":200}"#;

/// Of kube-apiserver's audit log, for a request of somebody who acts as another.
const ACTS_AS: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"7ac4df9b-51c6-44df-9458-0408bff161d0","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/soak/configmaps?limit=1","verb":"list","user":{"username":"system:serviceaccount:kube-oidc-gateway:gateway"},"impersonatedUser":{"username":"target:jane","groups":["system:authenticated"],"extra":{"originaluser.jetstack.io-groups":["gamma:deputies","gamma:readers"],"originaluser.jetstack.io-uid":["uid-gamma-eve"],"originaluser.jetstack.io-user":["gamma:eve"],"soak":["0"]}},"sourceIPs":["127.0.0.1"],"userAgent":"soak/0","responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-28T18:25:21.137418Z","stageTimestamp":"2026-11-28T18:25:21.179695Z"}"#;

fn identity(name: &str, groups: &[&str], uid: &str) -> Arc<Identity> {
    let groups = groups.iter().map(|&group| group.to_owned()).collect();
    Arc::new(Identity { name: name.to_owned(), groups, uid: uid.to_owned() })
}

fn gus() -> Arc<Identity> {
    let groups = ["beta:operators", "beta:writers", "beta:readers", "system:authenticated"];
    identity("beta:gus", &groups, "uid-beta-gus")
}

/// A request under check, sent at second 100.
struct Case {
    ledger: Ledger,
    start: Instant,
}

impl Case {
    fn of(expect: Expect, user: Option<Arc<Identity>>, acts_as: Option<Arc<Identity>>) -> Self {
        Self::verified_by(expect, user, acts_as, true)
    }

    /// A token that is good for nothing, verified by a key that is known, or not.
    fn refused(verified: bool) -> Self {
        Self::verified_by(Expect::Refused, None, None, verified)
    }

    fn verified_by(
        expect: Expect,
        user: Option<Arc<Identity>>,
        acts_as: Option<Arc<Identity>>,
        verified: bool,
    ) -> Self {
        let start = Instant::now();
        let mut ledger = Ledger::new(GATEWAY, Windows::new(start));
        let number = ledger.begin(Sent {
            kind: "list",
            user,
            acts_as,
            credential: "soak-72".to_owned(),
            issuer: 1,
            unverified: !verified,
            expect,
            begun: start + Duration::from_secs(100),
        });
        assert_eq!(user_agent(number), "soak/0");
        Self { ledger, start }
    }

    fn served() -> Self {
        Self::of(Expect::Served(&[200]), Some(gus()), Some(gus()))
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    fn window(mut self, cause: Cause, from: u64, to: u64) -> Self {
        let (from, to) = (self.at(from), self.at(to));
        let opened = self.ledger.windows().open(cause, "", from);
        self.ledger.windows().close(opened, to);
        self
    }

    fn apiserver(mut self, line: &str) -> Self {
        let now = self.at(101);
        self.ledger.apiserver(&serde_json::from_str(line).unwrap(), now);
        self
    }

    fn event(mut self, line: &str) -> Self {
        let now = self.at(101);
        self.ledger.gateway(&serde_json::from_str(line).unwrap(), now);
        self
    }

    fn line(mut self, line: &str) -> Self {
        let now = self.at(101);
        self.ledger.access(&serde_json::from_str(line).unwrap(), now);
        self
    }

    fn ends(mut self, status: Option<u16>) -> Self {
        let audit_id = status.map(|_| "59997507-2aa1-443f-90ab-82ee1f07b0d5".to_owned());
        let broken = status.is_none().then(|| "reset".to_owned());
        let now = self.at(101);
        self.ledger.end(0, Outcome { status, audit_id, broken, ..Outcome::default() }, now);
        self
    }

    /// What was wrong, once the logs are compared.
    fn faults(mut self) -> Vec<Fault> {
        let now = self.at(101) + SETTLE + LATE;
        self.ledger.settle(now);
        assert_eq!(self.ledger.open(), 0);
        self.ledger.faults().keys().copied().collect()
    }
}

#[test]
fn a_request_as_its_user_is_right() {
    let case = Case::served().apiserver(APISERVER).event(EVENT).line(LINE).ends(Some(200));
    assert_eq!(case.faults(), []);
    // The lines may come after the answer, too.
    let mut case = Case::served().ends(Some(200)).line(LINE).event(EVENT).apiserver(APISERVER);
    let now = case.at(200);
    case.ledger.settle(now);
    assert_eq!((case.ledger.proven(), case.ledger.faults().len()), (1, 0));
}

#[test]
fn another_user_another_group_order_or_another_token_is_found() {
    for (right, wrong) in [
        ("\"username\":\"beta:gus\"", "\"username\":\"alpha:gus\""),
        ("\"beta:operators\",\"beta:writers\"", "\"beta:writers\",\"beta:operators\""),
        ("\"beta:readers\",", "\"beta:readers\",\"system:masters\","),
        ("\"beta:readers\",", ""),
        ("uid-beta-gus", "uid-beta-bob"),
        ("JTI=soak-72", "JTI=soak-73"),
        ("\"soak\":[\"0\"]", "\"originaluser.jetstack.io-user\":[\"beta:eve\"]"),
        // The token itself went on, in place of the gateway's.
        (GATEWAY, "beta:gus"),
    ] {
        assert!(APISERVER.contains(right), "{right}");
        let changed = APISERVER.replace(right, wrong);
        let case = Case::served().apiserver(&changed).event(EVENT).line(LINE).ends(Some(200));
        assert_eq!(case.faults(), [Fault::WrongIdentity], "{wrong}");
    }
    let event = EVENT.replace("\"username\":\"beta:gus\"", "\"username\":\"beta:bob\"");
    let case = Case::served().apiserver(APISERVER).event(&event).line(LINE).ends(Some(200));
    assert_eq!(case.faults(), [Fault::WrongIdentity]);
    let line = LINE.replace("beta:gus", "beta:bob");
    let case = Case::served().apiserver(APISERVER).event(EVENT).line(&line).ends(Some(200));
    assert_eq!(case.faults(), [Fault::WrongIdentity]);
}

/// The failure that the project exists to prevent.
#[test]
fn a_request_as_the_gateway_itself_is_found() {
    let alone = APISERVER.replace(IMPERSONATED, "");
    assert_ne!(alone, APISERVER);
    let case = Case::served().apiserver(&alone).event(EVENT).line(LINE).ends(Some(200));
    assert_eq!(case.faults(), [Fault::AsGateway, Fault::Unproven]);
    // A request that nobody of the load has sent.
    let mut case = Case::served().apiserver(&alone.replace("soak/0", "curl"));
    assert_eq!(case.ledger.faults().get(&Fault::AsGateway), Some(&1));
    // Its own reviews are its own; those of a client are not.
    let review = alone.replace(
        "/api/v1/namespaces/soak/configmaps?limit=5",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    );
    case = case.apiserver(&review.replace("soak/0", "kube-oidc-gateway/0.1.0"));
    assert_eq!((case.ledger.own_reviews(), case.ledger.faults()[&Fault::AsGateway]), (1, 1));
    case = case.apiserver(&review);
    assert_eq!(case.ledger.faults()[&Fault::AsGateway], 2);
}

#[test]
fn who_acts_as_another_is_named_beside_them() {
    let eve = identity("gamma:eve", &["gamma:deputies"], "uid-gamma-eve");
    let jane = identity("target:jane", &["system:authenticated"], "");
    let case = |expect| Case::of(expect, Some(Arc::clone(&eve)), Some(Arc::clone(&jane)));
    let first = |case: Case| case.ledger.faults().keys().next().copied();
    let served = Expect::Served(&[200]);
    assert_eq!(first(case(served).apiserver(ACTS_AS)), None);
    let other = ACTS_AS.replace("gamma:eve", "gamma:gus");
    assert_eq!(first(case(served).apiserver(&other)), Some(Fault::WrongIdentity));
    assert_eq!(first(case(Expect::Forbidden).apiserver(ACTS_AS)), Some(Fault::WrongIdentity));
}

#[test]
fn a_token_that_is_good_for_nothing_must_be_refused() {
    let case = || Case::of(Expect::Refused, None, None);
    let event = EVENT.replace("ResponseComplete", "ResponseStarted").replace("200", "401");
    let event = event.replace("\"username\":\"beta:gus\"", "\"username\":\"\"");
    let line =
        r#"{"auditID":"59997507-2aa1-443f-90ab-82ee1f07b0d5","userAgent":"soak/0","code":401}"#;
    assert_eq!(case().event(&event).line(line).ends(Some(401)).faults(), []);
    let taken = case().apiserver(APISERVER).event(EVENT).line(LINE).ends(Some(200));
    assert_eq!(taken.faults(), [Fault::WrongIdentity, Fault::Accepted]);
    assert_eq!(case().event(&event).line(line).ends(Some(404)).faults()[0], Fault::Status);
}

#[test]
fn what_fails_is_explained_by_a_window_or_wrong() {
    let failed = |status: u16| {
        let code = format!("\"code\":{status}");
        (EVENT.replace("\"code\":200", &code), LINE.replace("\"code\":200", &code))
    };
    let (event, line) = failed(503);
    let case = || Case::served().event(&event).line(&line);
    assert_eq!(case().ends(Some(503)).faults(), [Fault::Unavailable]);
    for (cause, from, to, right) in [
        (Cause::Crash, 98, 103, true),
        (Cause::Restart, 90, 100, true),
        (Cause::Crash, 90, 99, false),
        (Cause::Outage(1), 90, 110, false),
        (Cause::Rotation(1), 90, 110, false),
        (Cause::Reload, 90, 110, false),
        (Cause::Token, 90, 110, false),
    ] {
        let faults = case().window(cause, from, to).ends(Some(503)).faults();
        assert_eq!(faults.is_empty(), right, "{cause:?} {from}-{to}: {faults:?}");
    }
    let (event, line) = failed(401);
    let case = || Case::served().event(&event).line(&line);
    assert_eq!(case().ends(Some(401)).faults(), [Fault::Refused]);
    assert_eq!(case().window(Cause::Rotation(1), 90, 110).ends(Some(401)).faults(), []);
    assert_eq!(
        case().window(Cause::Rotation(0), 90, 110).ends(Some(401)).faults(),
        [Fault::Refused]
    );
    // Cut before it arrived: no log has it.
    assert_eq!(Case::served().window(Cause::Crash, 90, 110).ends(None).faults(), []);
    assert_eq!(Case::served().ends(None).faults(), [Fault::Unavailable]);
}

/// Nobody can tell whether an issuer that does not answer has a new key by now.
#[test]
fn an_outage_explains_503_for_what_no_known_key_verifies() {
    let event = EVENT.replace("\"code\":200", "\"code\":503");
    let event = event.replace("\"username\":\"beta:gus\"", "\"username\":\"\"");
    let line =
        r#"{"auditID":"59997507-2aa1-443f-90ab-82ee1f07b0d5","userAgent":"soak/0","code":503}"#;
    for (verified, issuer, right) in [(false, 1, true), (false, 0, false), (true, 1, false)] {
        let case = Case::refused(verified).window(Cause::Outage(issuer), 90, 110);
        let faults = case.event(&event).line(line).ends(Some(503)).faults();
        assert_eq!(faults.is_empty(), right, "{verified} {issuer}: {faults:?}");
    }
}

#[test]
fn a_line_that_is_missing_or_stands_twice_is_found() {
    let case = || Case::served().ends(Some(200));
    for (case, want) in [
        (case().apiserver(APISERVER).event(EVENT), Fault::Lost),
        (case().apiserver(APISERVER).line(LINE), Fault::Lost),
        (case().event(EVENT).line(LINE), Fault::Unproven),
        (case().apiserver(APISERVER).event(EVENT).line(LINE).line(LINE), Fault::Doubled),
        (case().apiserver(APISERVER).event(EVENT).event(EVENT).line(LINE), Fault::Doubled),
        (case().apiserver(APISERVER).apiserver(APISERVER).event(EVENT).line(LINE), Fault::Doubled),
    ] {
        assert_eq!(case.faults(), [want]);
    }
    // A line of a request that was settled long ago.
    let mut case = case().apiserver(APISERVER).event(EVENT).line(LINE);
    let now = case.at(101) + SETTLE;
    case.ledger.settle(now);
    assert_eq!(case.line(LINE).ledger.faults()[&Fault::Doubled], 1);
}

#[test]
fn logs_that_do_not_agree_are_found() {
    for line in [LINE.replace("59997507", "00000000"), LINE.replace("200", "404")] {
        let case = Case::served().ends(Some(200)).apiserver(APISERVER).event(EVENT).line(&line);
        assert_eq!(case.faults(), [Fault::Disagreement], "{line}");
    }
}

/// A VM that was made anew got a queue's event for a context that it does not know, and crashed with it.
#[test]
fn a_crash_that_nobody_asked_for_is_found() {
    let own = "[2026-11-28 18:41:23.331][478][error][wasm] [source/extensions/common/wasm/wasm_vm.cc:38] Function: proxy_on_queue_ready failed: Uncaught RuntimeError: unreachable";
    let made = own.replace("proxy_on_queue_ready", "proxy_on_request_headers");
    for (line, second, want) in [
        (made.as_str(), 11, false),
        (made.as_str(), 21, true),
        (own, 11, true),
        ("2026-11-28T18:41:23.331Z  INFO the configuration has changed and is live", 21, false),
    ] {
        let mut case = Case::served().window(Cause::Crash, 10, 20);
        let now = case.at(second);
        case.ledger.message(line, now);
        let found = case.ledger.faults().contains_key(&Fault::Crash);
        assert_eq!(found, want, "{line} at {second}");
    }
}

#[test]
fn a_violation_is_told_with_its_id_and_what_went_on() {
    let case = Case::served().window(Cause::Outage(2), 80, 95).window(Cause::Crash, 10, 20);
    let case = case.event(EVENT).ends(Some(502));
    let [first] = case.ledger.violations() else { panic!("{:?}", case.ledger.violations()) };
    assert_eq!(first.audit_id, "59997507-2aa1-443f-90ab-82ee1f07b0d5");
    assert_eq!(
        first.text,
        "request 0, list of beta:gus, sent at 100.0 s: 502, expected Served([200])"
    );
    assert_eq!(first.windows, ["80.0..95.0 s outage of issuer 2: "]);
}
