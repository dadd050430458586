//! Tokens that a portal made end with the login with which they were made.

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    access::{Documents, Envelope, ORIGIN},
    portal_keys::KeyRing,
    record,
};

const PORTAL: &str = "https://portal.example";
const AUDIENCE: &str = "portal";
const UNTIL: &str = "2030-01-01T00:00:00Z";
/// The login's names.
const LOGIN: &str = "iss=https://issuer.example&sub=1234&sid=s1&jti=j1&iat=999000";

fn keys(secret: u8) -> KeyRing {
    let secret = URL_SAFE_NO_PAD.encode([secret; 32]);
    let keys = json!({"keys": [{"algorithm": "HS256", "id": "s", "secret": secret}]});
    KeyRing::parse(keys.to_string().as_bytes()).unwrap()
}

/// A gateway with a portal beside it, whose tokens it takes by its secret and as those of an issuer.
fn rig(more: &Value) -> Rig {
    let mut document = json!({
        "authenticationConfiguration": configuration_json(&[ISSUER, PORTAL]),
        "gatewayConfiguration": {
            "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "GatewayConfiguration",
            "sharedSecret": {"audience": AUDIENCE, "secretFiles": ["/s"]},
        },
        "defaultIssuerCluster": "issuers", "reviewCluster": "review", "accessCluster": "access",
        "portalIssuer": PORTAL,
    });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut configuration = Configuration::parse(document.to_string().as_bytes()).unwrap();
    configuration.shared_keys = Some(keys(7));
    let mut rig = Rig::beside(Rc::default(), 1, "", configuration);
    let set = key_set(&["a"]);
    rig.serve_all(&[(ISSUER, &set), (PORTAL, &set)]);
    rig
}

impl Rig {
    /// Has these entries be the newest.
    pub(super) fn revoke(&mut self, generation: u64, entries: &Value) {
        let document = json!({"revocations": {
            "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "Revocations", "revocations": entries,
        }});
        let envelope: Envelope = serde_json::from_value(document).unwrap();
        let documents = Documents::new(&envelope, "v", generation).unwrap();
        self.worker.take_documents(Arc::new(documents), self.now);
    }
}

/// What a portal would sign for jane.
fn made(id: &str, origin: &Value) -> Value {
    let now = NOW.as_secs();
    json!({"aud": AUDIENCE, "sub": "jane", "exp": now + 600, "iat": now, "jti": id, "sid": "p", ORIGIN: origin})
}

fn by_secret(secret: u8, origin: &Value) -> String {
    keys(secret).sign(&made("p1", origin)).unwrap().1
}

fn by_issuer(issuer: &str, origin: &Value) -> String {
    let mut claims = made("p1", origin);
    (claims["iss"], claims["aud"]) = (json!(issuer), json!("kubernetes"));
    token("a", &claims)
}

#[test]
fn what_a_portal_made_ends_with_its_login_by_either_kind_of_key() {
    let mut rig = rig(&json!({}));
    let tokens = [by_secret(7, &json!(LOGIN)), by_issuer(PORTAL, &json!(LOGIN))];
    let entries = [
        (json!({"sid": "s1", "issuer": ISSUER}), Some((401, "revoked"))),
        (json!({"jti": "j1", "issuer": ISSUER}), Some((401, "revoked"))),
        (json!({"subject": "1234", "issuer": ISSUER}), Some((403, "revoked"))),
        (
            json!({"subject": "1234", "issuer": ISSUER, "issuedBefore": "1970-01-12T13:30:01Z"}),
            Some((401, "revoked")),
        ),
        (
            json!({"subject": "1234", "issuer": ISSUER, "issuedBefore": "1970-01-12T13:30:00Z"}),
            None,
        ),
        (json!({"sid": "s1", "issuer": PORTAL}), None),
        (json!({"subject": "1234", "issuer": PORTAL}), None),
    ];
    for (entry, generation) in entries.into_iter().zip(1..) {
        let (mut entry, want) = entry;
        entry["until"] = json!(UNTIL);
        rig.revoke(2 * generation, &json!([]));
        for token in &tokens {
            drop(forwarded(rig.present(token)));
        }
        rig.revoke(2 * generation + 1, &json!([entry]));
        for token in &tokens {
            let decision = rig.present(token);
            match want {
                Some(want) => assert_eq!(refused(decision), want, "{entry}"),
                None => drop(forwarded(decision)),
            }
        }
    }
}

#[test]
fn a_request_that_runs_with_a_portals_token_ends_with_its_login() {
    let mut rig = rig(&json!({}));
    rig.revoke(1, &json!([]));
    let authorization = format!("Bearer {}", by_secret(7, &json!(LOGIN)));
    let headers = [
        ("authorization", authorization.as_str()),
        (":method", "GET"),
        (":path", "/api/v1/pods?watch=true"),
    ];
    let Decision::Forward(forward) = rig.decide(&headers, Attempt::default()) else { panic!() };
    rig.worker.opened(7, forward.open.unwrap());
    rig.revoke(2, &json!([{"sid": "s1", "issuer": "https://other.example", "until": UNTIL}]));
    assert!(rig.worker.revoked(rig.now, 32).0.is_empty());
    rig.revoke(3, &json!([{"sid": "s1", "issuer": ISSUER, "until": UNTIL}]));
    let (revoked, _) = rig.worker.revoked(rig.now, 32);
    assert!(matches!(revoked.as_slice(), [(7, _)]), "{revoked:?}");
}

/// A claim is what a signer says, and only the portal signs of origins. Whoever else says so names nothing, and so does a portal that the
/// gateway does not have.
#[test]
fn nobody_but_the_portal_says_where_a_token_comes_from() {
    let entry = json!([
        {"sid": "s1", "issuer": ISSUER, "until": UNTIL}, {"jti": "other", "until": UNTIL},
    ]);
    let others = by_issuer(ISSUER, &json!(LOGIN));
    for (more, portals) in [
        (json!({}), true),
        (json!({"portalIssuer": ""}), false),
        (json!({"portalIssuer": null}), false),
    ] {
        let mut rig = rig(&more);
        rig.revoke(1, &entry);
        forwarded(rig.present(&others));
        let decision = rig.present(&by_issuer(PORTAL, &json!(LOGIN)));
        assert_eq!(matches!(decision, Decision::Refuse(_)), portals, "{more}");
        // The secret is the portal's and the gateway's, wherever the portal is.
        assert_eq!(refused(rig.present(&by_secret(7, &json!(LOGIN)))), (401, "revoked"));
        assert_eq!(refused(rig.present(&by_secret(8, &json!(LOGIN)))), (401, "verify"));
    }
}

/// The claim takes nothing from what the token is by itself: its own names end it as they did, whatever stands in it.
#[test]
fn an_origin_hides_no_name_of_the_tokens_own() {
    let long = format!("iss={ISSUER}&sub={}&sid=s1", "a".repeat(5000));
    let origins = [
        json!(LOGIN),
        json!(""),
        json!("x"),
        json!(5),
        json!({"sid": "s1"}),
        json!(["sid=s1"]),
        json!(long),
        json!("iat=99999999999999999999"),
        json!("iss=%ff&sub=%00"),
    ];
    for origin in origins {
        let mut rig = rig(&json!({}));
        rig.revoke(1, &json!([]));
        let token = by_secret(7, &origin);
        forwarded(rig.present(&token));
        let entries = [
            json!({"user": "jane"}),
            json!({"jti": "p1"}),
            json!({"sid": "p"}),
            json!({"user": "jane", "issuedBefore": "1970-01-12T13:46:41Z"}),
        ];
        for (mut entry, generation) in entries.into_iter().zip(2..) {
            entry["until"] = json!(UNTIL);
            rig.revoke(generation, &json!([entry]));
            assert_eq!(refused(rig.present(&token)).1, "revoked", "{origin} {entry}");
        }
    }
}

/// The portal learns what its token is to carry from the filter, which has the claims; and nobody is told where no portal asks.
#[test]
fn the_record_has_what_a_portals_token_is_to_carry() {
    let origin = |rig: &mut Rig, token: &str| {
        let authorization = format!("Bearer {token}");
        let outcome = rig.outcome(&[("authorization", &authorization)], Attempt::default());
        let record = outcome.record.unwrap();
        assert_eq!(record::read_user(&record).unwrap().username, "jane", "{record}");
        record::read_origin(&record)
    };
    let mut login = claims();
    (login["sid"], login["iat"]) = (json!("s&1"), json!(NOW.as_secs() - 5));
    let login = token("a", &login);
    let mut rig_with = rig(&json!({}));
    rig_with.revoke(1, &json!([]));
    let want = "iss=https://issuer.example&sub=jane&sid=s%261&jti=j1&iat=999995";
    assert_eq!(origin(&mut rig_with, &login).as_deref(), Some(want));
    // What is made with a token of the portal's comes from where that came from, and from that token.
    for made in [by_secret(7, &json!(LOGIN)), by_issuer(PORTAL, &json!(LOGIN))] {
        assert_eq!(origin(&mut rig_with, &made), Some(format!("{LOGIN}&via=p1")));
    }
    // Tokens of kubehook's, or of a portal before this one, have only names of their own.
    let old = by_secret(7, &Value::Null);
    let want = "iss=sharedSecret&sid=p&jti=p1&iat=1000000";
    assert_eq!(origin(&mut rig_with, &old).as_deref(), Some(want));
    let mut without = rig(&json!({"portalIssuer": null}));
    without.revoke(1, &json!([]));
    assert_eq!(origin(&mut without, &login), None);
    // A portal tells of the login wherever its tokens may be looked at, also if nothing is revoked here.
    let mut alone = rig(&json!({"accessCluster": null}));
    assert!(origin(&mut alone, &login).is_some());
}

/// An origin reaches no header, and lends no group.
#[test]
fn an_origin_changes_nothing_of_who_the_user_is() {
    let mut rig = rig(&json!({}));
    rig.revoke(1, &json!([]));
    let headers =
        |rig: &mut Rig, origin: &Value| forwarded(rig.present(&by_issuer(PORTAL, origin)));
    let with = headers(&mut rig, &json!(LOGIN));
    assert_eq!(with, headers(&mut rig, &Value::Null));
    assert!(with.iter().all(|(_, value)| !value.contains("s1")), "{with:?}");
}
