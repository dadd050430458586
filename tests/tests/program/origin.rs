//! A session that ends at the provider ends what the portal made with it: by a logout token, and by an entry; for tokens of the portal's secret and
//! of its key.

use std::{
    fs,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use gateway_config::parse_revocations;
use sandbox::{Authority, Kubectl, realm};
use serde_json::{Value, json};

use crate::{
    harness::{LIMIT, Rig, until},
    logout::{self, log_out},
    revocations::{Document, NEW, RUNNING, refused},
    sessions::{HOST, portal},
};

const AUDIENCE: &str = "github.com/planetlabs/kubehook";
const SECRET: &str = "the-secret-of-the-portal-whose-tokens-end";
const WATCH: &str = "/api/v1/namespaces?watch=true";

/// What the portal signs with.
#[derive(Clone, Copy, PartialEq)]
enum Key {
    Secret,
    /// The gateway knows the portal as an issuer, and fetches its keys from there.
    Private,
}

/// A gateway that takes logout tokens, with a portal whose tokens it takes.
fn rig(document: &Document, key: Key) -> Rig {
    Rig::with(
        |files| {
            let write = |name: &str, text: &str| files.write(name, text);
            let mut gateway = realm::configuration();
            gateway["logout"] = json!({"path": logout::PATH, "lifetimeSeconds": 3600});
            let mut portal = json!({
                "apiVersion": "gateway.kube-oidc.dev/v1alpha1", "kind": "PortalConfiguration",
                "host": HOST, "audience": AUDIENCE, "outliveLogin": true,
            });
            let issuers = fs::read(files.config.join("authentication.yaml")).unwrap();
            let mut issuers: Value = serde_json::from_slice(&issuers).unwrap();
            match key {
                Key::Secret => {
                    let secret = write("shared-secret", SECRET);
                    gateway["sharedSecret"] =
                        json!({"audience": AUDIENCE, "secretFiles": [secret]});
                    portal["secretFile"] = json!([secret]);
                }
                Key::Private => {
                    let url = format!("https://{HOST}:{}", files.port);
                    let key = Authority::new("key").unwrap().server(&[]).unwrap().key;
                    portal["signingKeyFile"] = json!([write("portal-key", &key)]);
                    portal["issuer"] = json!(url);
                    let claim = |name: &str| json!({"claim": name, "prefix": ""});
                    issuers["jwt"].as_array_mut().unwrap().push(json!({
                        "issuer": {"url": url, "audiences": [AUDIENCE], "certificateAuthority": files.authority},
                        "claimMappings": {"username": claim("sub"), "groups": claim("groups")},
                    }));
                }
            }
            vec![
                format!(
                    "--authentication-config={}",
                    write("issuers.json", &issuers.to_string()).display()
                ),
                format!(
                    "--gateway-config={}",
                    write("gateway.json", &gateway.to_string()).display()
                ),
                format!("--portal-config={}", write("portal.json", &portal.to_string()).display()),
                document.flag(),
            ]
        },
        false,
    )
}

/// A token that the portal makes with this one.
fn made(rig: &Rig, with: &str) -> String {
    let (status, answer) = portal(rig, with, "/generate", &json!({"lifetime": "10m"}));
    assert_eq!(status, 200, "{answer}\n{}", rig.log());
    answer["token"].as_str().unwrap().to_owned()
}

/// kubectl with a token that is let in: the gateway may have to fetch the portal's keys first.
fn client(rig: &Rig, token: &str) -> Kubectl {
    let kubectl = rig.kubectl(token);
    until("it is let in", || kubectl.run(["get", "namespaces"]).unwrap().success().then_some(()));
    kubectl
}

fn reviewed(rig: &Rig, token: &str) -> u16 {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    });
    portal(rig, token, "/authenticate", &review).0
}

/// Ends a login in some way, and sees that what was made with it has ended, and nothing else.
fn ends(key: Key, words: &str, end: impl FnOnce(&Rig, &Document)) {
    let document = Document::new();
    let rig = rig(&document, key);
    let login = |sub: &str, sid: &str| {
        rig.token().claim("sub", sub).claim("sid", sid).claim("jti", sid).mint()
    };
    let (first, other) = (made(&rig, &login("1234", "s1")), made(&rig, &login("5678", "s2")));
    // A token that is made with the portal's own, too.
    let second = made(&rig, &first);
    let [kubectl, again, others] = [&first, &second, &other].map(|token| client(&rig, token));
    let start = |kubectl: &Kubectl| {
        let mut watch = kubectl.start(["get", "--raw", WATCH]).unwrap();
        watch.line(LIMIT, |line| line.contains("ADDED")).unwrap();
        watch
    };
    let (mut watch, mut others_watch) = (start(&again), start(&others));
    for token in [&first, &second, &other] {
        assert_eq!(reviewed(&rig, token), 200, "{}", rig.log());
    }
    end(&rig, &document);
    let ended = Instant::now();
    // Without kubectl, which takes its own time to start.
    let agent = rig.agent();
    let is_refused = |token: &String| {
        let request = agent.get(format!("{}/api/v1/namespaces", rig.url()));
        let answer = request.header("authorization", format!("Bearer {token}")).call().unwrap();
        answer.status().as_u16() != 200
    };
    until("both are refused", || [&first, &second].into_iter().all(is_refused).then_some(()));
    let took = ended.elapsed();
    assert!(took < NEW, "{took:?}");
    println!("new requests were refused after {took:?}");
    watch.wait(LIMIT).unwrap();
    let took = ended.elapsed();
    assert!(took < RUNNING, "{took:?}");
    println!("the watch had ended after {took:?}");
    for kubectl in [&kubectl, &again] {
        refused(kubectl, words);
    }
    for token in [&first, &second] {
        until("the webhook refuses it", || (reviewed(&rig, token) == 403).then_some(()));
    }
    others.must(["get", "namespaces"], "").unwrap();
    assert_eq!(reviewed(&rig, &other), 200);
    assert_eq!(others_watch.ended().unwrap(), None, "another session's watch ended");
}

#[test]
fn a_logout_token_ends_what_the_portal_made_in_that_session() {
    ends(Key::Secret, "log in again", |rig, document| {
        let issuer = rig.issuer();
        let token = issuer.mint(&logout::claims(issuer.url(), "l1"));
        assert_eq!(log_out(rig, &token), 200, "{}", rig.log());
        let written = parse_revocations(&fs::read(document.path()).unwrap()).unwrap().revocations;
        let [entry] = written.as_slice() else { panic!("{written:?}") };
        assert_eq!((entry.sid.as_str(), entry.issuer.as_str()), ("s1", issuer.url()));
        // For as long as a token that outlives its login may live, which is longer than what is configured for the issuer's.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let left = entry.end().unwrap() - now;
        assert!(left > 167 * 3600, "{left}");
    });
}

#[test]
fn an_entry_against_a_subject_ends_what_the_portal_made_for_it() {
    ends(Key::Private, "access has been revoked (reason: left)", |rig, document| {
        let issuer = rig.issuer().url().to_owned();
        let words = ["revoke", "--subject", "1234", "--issuer", &issuer, "--reason", "left"];
        document.say(&words);
    });
}
