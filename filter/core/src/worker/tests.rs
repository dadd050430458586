//! Whole decisions: a request's headers in, the identity or the refusal out, keys arriving in between.

mod access;
mod checks;
mod conditions;
mod elevation;
mod gateways;
mod groups;
mod introspection;
mod keys;
mod numbers;
mod origin;
mod reviews;
mod source_faults;
mod source_forms;
mod source_tokens;
mod source_workers;
mod sources;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    callout::{Callout, Cause, Fault, Response},
    decision::{Decision, Forward, Mode, Outcome},
    headers::RequestHead,
    testing::{FakeVerifier, Memory, configuration_json, key_set, token},
};

const ISSUER: &str = "https://issuer.example";
const WAITED: Attempt =
    Attempt { keys: 1, reviews: false, groups: false, introspection: false, since: None };
const NOW: Duration = Duration::from_secs(1_000_000);

fn configuration(issuers: &[&str], gateway: Value) -> Configuration {
    let mut gateway = gateway;
    gateway["apiVersion"] = json!("gateway.kube-oidc.dev/v1alpha1");
    gateway["kind"] = json!("GatewayConfiguration");
    let document = json!({
        "authenticationConfiguration": configuration_json(issuers),
        "gatewayConfiguration": gateway,
        "defaultIssuerCluster": "issuers",
        "reviewCluster": "review",
    });
    Configuration::parse(document.to_string().as_bytes()).unwrap()
}

struct Rig {
    worker: Worker,
    memory: Rc<Memory>,
    now: Duration,
    protocol: &'static str,
    address: &'static str,
    /// Callouts for keys, and for lookups, that the worker wants made.
    fetches: Vec<Callout>,
    lookups: Vec<Callout>,
}

impl Rig {
    fn new(gateway: Value) -> Self {
        Self::with(&[ISSUER], gateway)
    }

    fn with(issuers: &[&str], gateway: Value) -> Self {
        Self::beside(Rc::default(), 1, "", configuration(issuers, gateway))
    }

    /// One of several workers in a proxy.
    fn beside(memory: Rc<Memory>, id: u64, gateway: &str, configuration: Configuration) -> Self {
        let instance = Instance::new(id, gateway.to_owned(), [7; 16]);
        let verifier = Box::new(FakeVerifier);
        let worker = Worker::new(instance, verifier, configuration, Rc::clone(&memory) as _);
        Self {
            worker,
            memory,
            now: NOW,
            protocol: "HTTP/1.1",
            address: "192.0.2.1",
            fetches: Vec::new(),
            lookups: Vec::new(),
        }
    }

    fn ready(&mut self) -> Vec<Waiter> {
        self.worker.settled(self.now, usize::MAX).0
    }

    fn decide(&mut self, headers: &[(&str, &str)], attempt: Attempt) -> Decision {
        self.outcome(headers, attempt).decision
    }

    fn outcome(&mut self, headers: &[(&str, &str)], attempt: Attempt) -> Outcome {
        let headers: Vec<_> =
            headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        let (protocol, address) = (self.protocol, self.address);
        self.worker.decide(
            &RequestHead::read(&headers),
            Peer {
                address: &|| address.to_owned(),
                protocol: &|| protocol.to_owned(),
                has_body: true,
            },
            attempt,
            self.now,
        )
    }

    fn present(&mut self, token: &str) -> Decision {
        self.decide(&[("authorization", &format!("Bearer {token}"))], Attempt::default())
    }

    fn present_again(&mut self, token: &str) -> Decision {
        self.decide(&[("authorization", &format!("Bearer {token}"))], WAITED)
    }

    /// Decides on a request that has to wait, and lets it. Gives what it waits for.
    fn waits(&mut self, headers: &[(&str, &str)], attempt: Attempt) -> Wait {
        let decision = self.decide(headers, attempt);
        let Decision::Wait(wait) = decision else { panic!("{decision:?}") };
        self.worker.wait(1, wait.clone(), attempt, self.now).unwrap();
        wait
    }

    /// What the only request that waited and need not any longer has waited for.
    fn settled(&mut self) -> Attempt {
        let settled = self.ready();
        let [waiter] = settled.as_slice() else { panic!("{settled:?}") };
        waiter.attempt
    }

    /// Polls, answers every callout, and returns how many there were.
    fn serve(&mut self, issuer: &str, keys: &str) -> usize {
        self.serve_all(&[(issuer, keys)])
    }

    /// The same for several issuers, by their URLs.
    fn serve_all(&mut self, issuers: &[(&str, &str)]) -> usize {
        let mut callouts = 0;
        self.poll();
        while let Some(callout) = self.fetches.pop() {
            callouts += 1;
            let url = format!("https://{}", callout.authority);
            let found = issuers.iter().find(|(issuer, _)| *issuer == url);
            let (issuer, keys) = *found.unwrap_or_else(|| panic!("a callout to {url}"));
            let body = if callout.path.ends_with("openid-configuration") {
                json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string()
            } else {
                (*keys).to_owned()
            };
            self.answer(&callout, Ok((200, body.as_bytes())));
        }
        callouts
    }

    /// Takes over what the worker wants to be done.
    fn poll(&mut self) {
        for action in self.worker.poll(self.now, 0.0) {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Call(callout @ Callout { purpose: Purpose::Keys(_), .. }) => {
                self.fetches.push(callout);
            }
            Action::Call(callout) => self.lookups.push(callout),
            Action::Broadcast { .. } => {}
        }
    }

    /// The callouts for keys that are wanted now.
    fn fetches(&mut self) -> Vec<Callout> {
        self.poll();
        std::mem::take(&mut self.fetches)
    }

    /// The callouts for lookups that are wanted now.
    fn lookups(&mut self) -> Vec<Callout> {
        self.poll();
        std::mem::take(&mut self.lookups)
    }

    /// Answers a callout with a status and a body, or with why there is none.
    fn answer(&mut self, callout: &Callout, result: Result<(u16, &[u8]), &str>) {
        let result = result
            .map(|(status, body)| Response { status, headers: &[], body })
            .map_err(|why| Fault::new(Cause::Reset, why));
        let action = self.worker.answered(callout.purpose, result, self.now, 0.0);
        if let Some(action) = action {
            self.perform(action);
        }
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "kubernetes", "sub": "jane", "groups": ["dev"], "jti": "j1",
           "exp": NOW.as_secs() + 60})
}

fn forwarded(decision: Decision) -> Vec<(String, String)> {
    match decision {
        Decision::Forward(Forward { mode: Mode::Impersonate { plan, .. }, more, .. }) => {
            plan.headers().map(|(n, v)| (n.to_owned(), v.to_owned())).chain(more).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn refused(decision: Decision) -> (u16, &'static str) {
    match decision {
        Decision::Refuse(refusal) => (refusal.reply().code, refusal.keyword()),
        other => panic!("{other:?}"),
    }
}

/// As kube-apiserver has it. The cache holds what a token is, and no words beside it.
#[test]
fn words_behind_a_token_are_none_of_it() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let first = token("a", &claims());
    let bearer = |text: &str| vec![("authorization", format!("Bearer {text}"))];
    let protocol = |text: &str| {
        let text = URL_SAFE_NO_PAD.encode(text);
        let offered = format!("base64url.bearer.authorization.k8s.io.{text}, v4.channel.k8s.io");
        let more = [("upgrade", "websocket"), ("connection", "upgrade")];
        let mut headers = vec![("sec-websocket-protocol", offered)];
        headers.extend(more.map(|(name, value)| (name, value.to_owned())));
        headers
    };
    let with_words = format!("{first} and words");
    for (headers, want) in [
        (bearer(&with_words), Some(true)),
        (bearer(&with_words), Some(false)),
        (bearer(&first), Some(false)),
        (protocol(&first), Some(false)),
        // There a blank is a byte of the token, which is none then.
        (protocol(&with_words), None),
        (bearer(&format!(" {first}")), None),
        (bearer(&format!("{first}\t")), Some(false)),
        (bearer(&format!("{first}\tx")), None),
    ] {
        let given: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let Outcome { decision, authenticated, .. } = rig.outcome(&given, Attempt::default());
        let forwarded = matches!(decision, Decision::Forward(_));
        assert_eq!(forwarded.then_some(authenticated), want, "{headers:?}: {decision:?}");
    }
    assert_eq!(rig.worker.cache.len(), 1);
}

#[test]
fn a_good_token_becomes_an_identity() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let headers = forwarded(rig.present(&token("a", &claims())));
    let want = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "dev"),
        ("impersonate-extra-authentication.kubernetes.io%2fcredential-id", "JTI=j1"),
    ];
    assert_eq!(headers, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
    let mut rig = Rig::new(json!({"extras": {"credentialId": false}}));
    rig.serve(ISSUER, &key_set(&["a"]));
    assert_eq!(forwarded(rig.present(&token("a", &claims()))).len(), 2);
}

#[test]
fn what_is_refused_and_how() {
    let mut rig = Rig::new(json!({"limits": {"tokenBytes": 4096, "groups": 3}}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let bearer = |token: String| vec![("authorization".to_owned(), format!("Bearer {token}"))];
    let with = |changes: Value| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        bearer(token("a", &claims))
    };
    let protocols = |token: &str| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
        vec![
            ("connection".to_owned(), "Upgrade".to_owned()),
            ("upgrade".to_owned(), "websocket".to_owned()),
            (
                "sec-websocket-protocol".to_owned(),
                format!("base64url.bearer.authorization.k8s.io.{}, v4", B64.encode(token)),
            ),
        ]
    };
    let good = token("a", &claims());
    let both = [bearer(good.clone()), protocols(&good)].concat();
    let nominated = [
        bearer(good.clone()),
        vec![
            ("upgrade".to_owned(), "SPDY/3.1".to_owned()),
            ("connection".to_owned(), "Upgrade, Impersonate-User".to_owned()),
        ],
    ]
    .concat();
    for (headers, want) in [
        (vec![], (401, "no_credential")),
        (vec![("authorization".to_owned(), "Basic YTpi".to_owned())], (401, "no_credential")),
        (bearer("garbage".to_owned()), (401, "token")),
        (bearer("a.b.c.d".to_owned()), (401, "token")),
        (bearer("x".repeat(5000)), (431, "token_too_large")),
        (both, (401, "credential")),
        (nominated, (400, "connection")),
        (with(json!({"iss": "https://other.example"})), (401, "unknown_issuer")),
        (with(json!({"aud": "other"})), (401, "verify")),
        (with(json!({"exp": NOW.as_secs() - 1})), (401, "verify")),
        (with(json!({"sub": 1})), (401, "verify")),
        (with(json!({"groups": {"a": 1}})), (401, "identity")),
        (bearer(token("b", &claims())), (401, "verify")),
        (with(json!({"sub": ""})), (403, "guard")),
        (with(json!({"sub": "system:admin"})), (403, "guard")),
        (with(json!({"groups": ["system:masters"]})), (403, "guard")),
        (with(json!({"groups": [" system:masters"]})), (403, "guard")),
        (with(json!({"groups": ["a", "b", "c", "d"]})), (431, "identity_too_large")),
    ] {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(refused(rig.decide(&headers, Attempt::default())), want, "{headers:?}");
    }
    let headers = protocols(&good);
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let Decision::Forward(Forward { mode: Mode::Impersonate { plan, protocols }, .. }) =
        rig.decide(&headers, Attempt::default())
    else {
        panic!()
    };
    assert_eq!(protocols.as_deref(), Some(&b"v4"[..]));
    assert_eq!(plan.user(), "jane");
}

#[test]
fn a_list_of_algorithms_narrows() {
    for (names, want) in [(&["RS256"][..], true), (&["ES256", "PS256"], false)] {
        let mut rig = Rig::new(json!({}));
        Arc::get_mut(&mut rig.worker.configuration).unwrap().algorithms =
            names.iter().map(|name| name.parse().unwrap()).collect();
        rig.serve(ISSUER, &key_set(&["a"]));
        match rig.present(&token("a", &claims())) {
            Decision::Forward(_) => assert!(want, "{names:?}"),
            refusal => {
                assert!(!want, "{names:?}");
                assert_eq!(refused(refusal), (401, "verify"));
            }
        }
    }
}

fn bearer<'a>(token: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("authorization", token)], more].concat()
}

/// Answers every review under way with `status`, and says how many there were.
fn answer_reviews(rig: &mut Rig, status: impl Fn(&Value) -> Value) -> usize {
    let reviews = rig.lookups();
    for review in &reviews {
        let question: Value = serde_json::from_slice(review.body.as_ref().unwrap()).unwrap();
        let answer = json!({"status": status(&question["spec"])}).to_string();
        rig.answer(review, Ok((201, answer.as_bytes())));
    }
    reviews.len()
}

#[test]
fn without_impersonation_the_token_itself_travels_on() {
    let mut rig = Rig::new(json!({"impersonation": "disabled"}));
    rig.serve(ISSUER, &key_set(&["a"]));
    match rig.present(&token("a", &claims())) {
        Decision::Forward(Forward { mode: Mode::OwnToken { user }, .. }) => {
            assert_eq!(user, "jane");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(refused(rig.present("garbage")), (401, "token"));
}

/// `--as` never looks as if it had worked when it had not.
#[test]
fn a_client_is_warned_where_its_impersonation_had_no_effect() {
    let token = format!("Bearer {}", token("a", &claims()));
    let asked = ("x-gateway-asked", "impersonate-user");
    for (gateway, headers, impersonated, own_token) in [
        (json!({"clientImpersonation": "strip"}), bearer(&token, &[asked]), true, true),
        (json!({"clientImpersonation": "strip"}), bearer(&token, &[]), false, false),
        (json!({"clientImpersonation": "authorize"}), bearer(&token, &[asked]), false, true),
        (json!({"clientImpersonation": "authorize"}), bearer(&token, &[]), false, false),
    ] {
        let reads = gateway["clientImpersonation"] != "strip";
        let mut rig = Rig::new(gateway.clone());
        rig.serve(ISSUER, &key_set(&["a"]));
        let Outcome { decision, response, record, .. } = rig.outcome(&headers, Attempt::default());
        let warns = |mode: &str| response.warning.holds(mode.as_bytes());
        let got = (warns(Mode::IMPERSONATE), warns(Mode::OWN_TOKEN));
        assert_eq!(got, (impersonated, own_token), "{gateway}");
        assert!(!warns(""), "a refused request went nowhere: {gateway}");
        assert!(record.is_some_and(|record| record.contains("jane")), "{gateway}");
        let Decision::Forward(forward) = decision else { panic!("{decision:?}") };
        assert_eq!(forward.is_compared, reads, "{gateway}");
    }
}

#[test]
fn configured_extras_and_the_clients_address_travel_along() {
    let mut rig = Rig::new(json!({
        "extras": {"clientIP": true, "credentialId": false,
                   "headers": {"example.org/cluster": ["one", "two"]}},
    }));
    rig.serve(ISSUER, &key_set(&["a"]));
    let headers = forwarded(rig.present(&token("a", &claims())));
    assert_eq!(
        headers[2..],
        [
            ("impersonate-extra-example.org%2fcluster", "one"),
            ("impersonate-extra-example.org%2fcluster", "two"),
            ("impersonate-extra-remote-client-ip", "192.0.2.1"),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
}

#[test]
fn streams_are_cut_where_the_configuration_says_so() {
    let token = format!("Bearer {}", token("a", &claims()));
    for (gateway, path, want) in [
        (json!({}), "/api/v1/pods?watch=true", None),
        (json!({"streamExpiry": {"watches": "cut"}}), "/api/v1/pods?watch=true", Some(60)),
        (json!({"streamExpiry": {"watches": "cut"}}), "/api/v1/pods", None),
        (
            json!({"streamExpiry": {"watches": "cut", "graceSeconds": 9}}),
            "/api/v1/pods?watch=1",
            Some(69),
        ),
        (json!({"streamExpiry": {"logs": "cut"}}), "/api/v1/pods?watch=true", None),
    ] {
        let mut rig = Rig::new(gateway);
        rig.serve(ISSUER, &key_set(&["a"]));
        let headers = bearer(&token, &[(":path", path)]);
        let Decision::Forward(forward) = rig.decide(&headers, Attempt::default()) else { panic!() };
        assert_eq!(forward.cut_after.map(|after| after.as_secs()), want, "{path}");
    }
}

/// RFC 9112, section 6.1: what reads such a body differs from server to server.
#[test]
fn before_http_1_1_no_body_comes_in_chunks() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let bearer = format!("Bearer {}", token("a", &claims()));
    let plain = [("authorization", bearer.as_str()), ("content-length", "5")];
    let chunked = [("authorization", bearer.as_str())];
    forwarded(rig.decide(&chunked, Attempt::default()));
    rig.protocol = "HTTP/1.0";
    forwarded(rig.decide(&plain, Attempt::default()));
    let refusal = refused(rig.decide(&chunked, Attempt::default()));
    assert_eq!(refusal, (400, "transfer_encoding"));
}

/// A byte beyond ASCII made the log read the whole target in another encoding than kube-apiserver: a list was logged as a watch.
#[test]
fn a_target_is_ascii() {
    let mut rig = Rig::new(json!({}));
    rig.serve(ISSUER, &key_set(&["a"]));
    let bearer = format!("Bearer {}", token("a", &claims()));
    for (path, good) in [
        ("/api/v1/namespaces/team/secrets?watch=fal%C5%BFe&x=%FF", true),
        ("/api/v1/namespaces/team/secrets?watch=fal\u{17f}e", false),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/\u{e9}", false),
    ] {
        let headers = [(":path", path), ("authorization", bearer.as_str())];
        let decision = rig.decide(&headers, Attempt::default());
        if good {
            forwarded(decision);
        } else {
            assert_eq!(refused(decision), (400, "target"), "{path}");
        }
    }
}

/// Without a login, whatever comes along, by this spelling alone; and not at all where nobody is to be told.
#[test]
fn strangers_are_told_where_to_log_in() {
    let path = "/.well-known/oauth-protected-resource";
    let url = "https://gateway.example";
    for (told, path, want) in [
        (json!({"url": url}), path, true),
        (json!({"url": url}), "/.well-known/oauth-protected-resource?a=b", true),
        (json!({"url": url}), "/.well-known/oauth-protected-resource/", false),
        (json!({}), path, false),
    ] {
        let mut rig = Rig::new(json!({"protectedResource": told}));
        rig.serve(ISSUER, &key_set(&["a"]));
        for more in [
            &[][..],
            &[(":method", "DELETE")],
            &[("authorization", "Bearer a.b.c")],
            &[("impersonate-user", "admin"), ("connection", "upgrade, x"), ("upgrade", "a")],
        ] {
            let headers: Vec<_> = [(":path", path)].iter().chain(more).copied().collect();
            let Outcome { decision, record, .. } = rig.outcome(&headers, Attempt::default());
            assert_eq!(
                matches!(decision, Decision::Open("metadata")),
                want,
                "{path} {more:?}: {decision:?}"
            );
            let anonymous = record.is_some_and(|record| record.contains("system:anonymous"));
            assert_eq!(anonymous, want, "{path} {more:?}");
        }
        let challenge = rig.worker.challenge();
        let named = "Bearer resource_metadata=\"https://gateway.example/.well-known/oauth-protected-resource\"";
        assert_eq!(challenge.as_deref(), (told != json!({})).then_some(named));
    }
}

#[test]
fn pages_of_allowed_origins_may_ask() {
    let mut rig = Rig::new(json!({"corsAllowedOrigins": ["^https://page[.]example$"]}));
    rig.serve(ISSUER, &key_set(&["a"]));
    for (method, origin, want) in [
        ("OPTIONS", "https://page.example", (true, true)),
        ("OPTIONS", "https://other.example", (false, false)),
        ("GET", "https://page.example", (false, true)),
        ("GET", "https://other.example", (false, false)),
    ] {
        let headers = [(":method", method), ("origin", origin)];
        let Outcome { decision, origin: allowed, .. } = rig.outcome(&headers, Attempt::default());
        let preflight = matches!(decision, Decision::Preflight);
        assert_eq!((preflight, allowed.is_some()), want, "{method} {origin}");
        assert!(allowed.is_none_or(|allowed| allowed == origin.as_bytes()));
        if !preflight {
            assert_eq!(refused(decision), (401, "no_credential"));
        }
    }
}
