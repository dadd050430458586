//! Tokens about which their issuer is asked: who they are, how long an answer counts, and what happens if there is none.

use std::{
    fs,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use oidc_provider::{
    AccessTokenFormat, Answer as Manner, ClientConfig, Config, Endpoint, Issuer, IssuerConfig,
    Misbehaviour, Provider,
};
use sandbox::Credential;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::until,
    target::{self, CLIENT, Target, USER},
    wire::{Answer, Ask, Version},
};

/// The client as which the gateway asks.
const ASKER: &str = "gateway";
/// Its secret, and how that is written in HTTP Basic (RFC 6749, section 2.3.1).
const SECRET: &str = "ask-me/anything+1";
const ENCODED: &str = "ask-me%2Fanything%2B1";

/// A gateway and three issuers: every opaque token without a prefix is `main`'s, those that begin with `two_` are `second`'s, and `light` has
/// JWTs without a user.
struct Opaque {
    target: Target,
    secrets: TempDir,
}

/// The file that Envoy reads, by rename, as all files are replaced.
fn write_secret(folder: &TempDir, secret: &str) {
    let next = folder.path().join("next");
    fs::write(&next, STANDARD.encode(format!("{ASKER}:{secret}"))).unwrap();
    fs::rename(next, folder.path().join("basic")).unwrap();
}

fn issuer(name: &str, access_tokens: AccessTokenFormat, prefix: &str) -> IssuerConfig {
    let client = ClientConfig {
        access_tokens,
        access_token_prefix: prefix.to_owned(),
        default_scopes: ["openid", "profile", "groups"].map(str::to_owned).to_vec(),
        ..ClientConfig::public(CLIENT)
    };
    target::issuer(name).client(client).client(ClientConfig::confidential(ASKER, SECRET))
}

impl Opaque {
    /// With these settings of each item of `introspection`.
    fn start(settings: &Value) -> Self {
        let config = Config::of(issuer("main", AccessTokenFormat::Opaque, ""))
            .issuer(issuer("second", AccessTokenFormat::Opaque, "two_"))
            .issuer(issuer("light", AccessTokenFormat::Lightweight, ""));
        let provider = Provider::start(config).unwrap();
        let secrets = tempfile::tempdir().unwrap();
        write_secret(&secrets, ENCODED);
        let basic = secrets.path().join("basic");
        let item = |name: &str, more: Value| {
            let issuer = provider.issuer_named(name).unwrap();
            let mut item = json!({
                "name": name,
                "issuer": issuer.url(),
                "endpoint": issuer.endpoint(Endpoint::Introspection),
                "credential": {"basicFile": basic},
            });
            for fields in [&more, settings] {
                item.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            }
            item
        };
        let items = json!([
            item("main", json!({})),
            item("second", json!({"tokenPrefix": "two_"})),
            item("light", json!({"tokens": "jwt"})),
        ]);
        let target = Target::start_at(provider, &json!({"introspection": items}), |it| it);
        Self { target, secrets }
    }

    fn issuer(&self, name: &str) -> Issuer {
        self.target.provider.issuer_named(name).unwrap()
    }

    /// An access token of an issuer.
    fn token(&self, issuer: &str) -> String {
        self.issuer(issuer).log_in(USER, CLIENT, "").unwrap().access_token
    }

    fn ask(&self, token: &str) -> Answer {
        Ask::version().bearer(token).send(&self.target.gateway, Version::H2).unwrap()
    }

    /// Asks, and gives the status and the reason in the access log.
    fn refused(&self, token: &str) -> (u16, String, String) {
        let answer = self.ask(token);
        let retry = answer.header("retry-after").unwrap_or_default().to_owned();
        (answer.status, self.logged(&answer), retry)
    }

    /// What the access log says of an answer.
    fn logged(&self, answer: &Answer) -> String {
        let id = answer.header("audit-id").unwrap_or_default();
        assert!(!id.is_empty(), "{answer:?}");
        until("the access log has it", || {
            self.target.gateway.access_lines().into_iter().find(|line| line.contains(id))
        })
    }

    fn asked(&self, issuer: &str) -> u64 {
        self.issuer(issuer).requests(Endpoint::Introspection)
    }
}

#[test]
fn an_opaque_token_is_whom_its_issuer_names() {
    let opaque = Opaque::start(&json!({}));
    opaque.issuer("second").set_groups(USER, ["operators"]).unwrap();
    for (issuer, groups) in [
        ("main", &["developers", "testers"][..]),
        ("second", &["operators"]),
        ("light", &["developers", "testers"]),
    ] {
        let token = opaque.token(issuer);
        let identity = opaque.target.identity(&token);
        let named = identity.groups.iter().filter(|group| !group.starts_with("system:"));
        assert_eq!(named.collect::<Vec<_>>(), groups, "{issuer}");
        let kubectl = opaque.target.gateway.kubectl(Credential::Token(token)).unwrap();
        kubectl.must(["get", "--raw", "/version"], "").unwrap();
        kubectl.must(["auth", "whoami"], "").unwrap();
    }
    let asked = ["main", "second", "light"].map(|issuer| opaque.asked(issuer));
    // Each worker asks once for a token.
    let workers = u64::from(target::workers());
    assert!(asked.iter().all(|times| (1..=workers).contains(times)), "{asked:?}");
}

/// The kind of a token decides who is asked. Nobody else sees it.
#[test]
fn no_token_is_shown_to_another_issuer() {
    let opaque = Opaque::start(&json!({"requestsPerSecond": 1000}));
    for (token, asked) in [
        ("nobodys", [1, 0, 0]),
        ("one_nobodys", [1, 0, 0]),
        ("two_nobodys", [0, 1, 0]),
        ("two_eyJhbGciOiJub25lIn0.e30.", [0, 1, 0]),
        // JWTs: of an issuer that there is not, and of one that is asked about others.
        ("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2EifQ.eA", [0, 0, 0]),
    ] {
        let before = ["main", "second", "light"].map(|issuer| opaque.asked(issuer));
        assert_eq!(opaque.ask(token).status, 401, "{token}");
        let after = ["main", "second", "light"].map(|issuer| opaque.asked(issuer));
        let mut want = before;
        want.iter_mut().zip(asked).for_each(|(times, more)| *times += more);
        assert_eq!(after, want, "{token}");
    }
    // Tokens of the one, dressed as the other's.
    let second = opaque.token("second");
    assert_eq!(opaque.ask(second.trim_start_matches("two_")).status, 401);
    assert_eq!(opaque.ask(&format!("two_{}", opaque.token("main"))).status, 401);
    // What the issuer has not signed, it is not asked about.
    let light = opaque.token("light");
    let (head, signature) = light.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(opaque.ask(&forged).status, 401);
    let own = opaque.target.issuer().token(USER, CLIENT).mint();
    assert_eq!(opaque.ask(&own).status, 200, "a JWT remains a JWT");
    assert_eq!(opaque.asked("light"), 0);
    // A refresh token is active, and is for its issuer alone.
    let tokens = opaque.issuer("main").log_in(USER, CLIENT, "").unwrap();
    let (status, line, _) = opaque.refused(&tokens.refresh_token.unwrap());
    assert!(status == 401 && line.contains("refresh token"), "{line}");
}

#[test]
fn a_revoked_token_is_refused_after_its_lifetime() {
    let opaque = Opaque::start(&json!({"lifetimeSeconds": 3, "negativeLifetimeSeconds": 1}));
    let token = opaque.token("main");
    assert_eq!(opaque.ask(&token).status, 200);
    let revoked = Instant::now();
    opaque.issuer("main").end_logins(USER);
    let refused = until("it is refused", || {
        let answer = opaque.ask(&token);
        (answer.status != 200).then_some(answer)
    });
    target::assert_status("revoked", &refused, (401, "Unauthorized"));
    // A worker that first saw it a moment later may have it a moment longer.
    assert!(revoked.elapsed() < Duration::from_secs(6), "{:?}", revoked.elapsed());
    let line = opaque.logged(&refused);
    assert!(line.contains("\"inactive\""), "{line}");
    assert!(!line.contains(&token));
    until("every worker refuses it", || {
        (0..20).all(|_| opaque.ask(&token).status == 401).then_some(())
    });
}

#[test]
fn an_endpoint_that_is_down_makes_nobody_a_stranger() {
    let opaque = Opaque::start(&json!({"lifetimeSeconds": 600, "timeoutSeconds": 2}));
    let known = opaque.token("main");
    // Both workers know it.
    (0..20).for_each(|_| assert_eq!(opaque.ask(&known).status, 200));
    let unknown = opaque.token("main");
    opaque.target.provider.go_down().unwrap();
    let (status, line, retry) = opaque.refused(&unknown);
    assert_eq!((status, retry.as_str()), (503, "1"), "{line}");
    assert!(
        line.contains("introspection_failed") && line.contains("refuses the connection"),
        "{line}"
    );
    (0..20).for_each(|_| assert_eq!(opaque.ask(&known).status, 200));
    opaque.target.provider.come_up().unwrap();
    until("it is asked again", || (opaque.ask(&unknown).status == 200).then_some(()));
}

#[test]
fn a_wrong_answer_is_refused_with_its_cause() {
    let opaque = Opaque::start(&json!({"timeoutSeconds": 1, "requestsPerSecond": 1000}));
    let issuer = opaque.issuer("main");
    let body = |body: Value| Manner::Body {
        status: 200,
        content_type: "application/json".to_owned(),
        body: body.to_string(),
    };
    let user = |more: Value| {
        let mut answer = json!({"active": true, "aud": CLIENT, "sub": "0001",
                                "preferred_username": USER});
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body(answer)
    };
    for (manner, status, why) in [
        (Manner::Html, 503, "the answer is not JSON"),
        (Manner::HugeMib(2), 503, "bytes"),
        (Manner::Status(500), 503, "HTTP 500"),
        (Manner::Status(401), 503, "does not take the gateway's credential"),
        (Manner::Redirect("https://127.0.0.1:9/".to_owned()), 503, "redirects are not followed"),
        (Manner::Hang, 503, "no answer in time"),
        (Manner::Close, 503, "introspection"),
        (Manner::Truncated, 503, "introspection"),
        (body(json!({"active": "true"})), 503, "`active` of the answer"),
        (body(json!([])), 503, "not an object"),
        (
            user(json!({"iss": opaque.issuer("second").url()})),
            401,
            "issued by a different provider",
        ),
        (user(json!({"aud": "another"})), 401, "expected audience"),
        (user(json!({"exp": 1})), 401, "token is expired"),
        (user(json!({"preferred_username": null})), 403, "guard"),
        (body(json!({"active": true, "aud": CLIENT})), 401, "claim not present"),
        (user(json!({"groups": ["system:masters"]})), 403, "reserved-group"),
    ] {
        issuer.misbehave(Endpoint::Introspection, Misbehaviour::answer(manner.clone())).unwrap();
        let token = opaque.token("main");
        let (got, line, retry) = opaque.refused(&token);
        assert_eq!(got, status, "{manner:?}: {line}");
        assert!(line.contains(why), "{manner:?}: {line}");
        assert_eq!(!retry.is_empty(), status == 503, "{manner:?}");
        issuer.behave();
    }
    assert_eq!(opaque.ask(&opaque.token("main")).status, 200);
}

#[test]
fn a_storm_of_unknown_tokens_reaches_the_issuer_as_a_trickle() {
    let opaque = Opaque::start(&json!({"requestsPerSecond": 5}));
    let known = opaque.token("main");
    (0..20).for_each(|_| assert_eq!(opaque.ask(&known).status, 200));
    let other = opaque.token("second");
    let (start, before) = (Instant::now(), opaque.asked("main"));
    let mut limited = Vec::new();
    for n in 0..500 {
        let answer = opaque.ask(&format!("unknown{n}"));
        match answer.status {
            401 => {}
            429 => limited.push(answer),
            other => panic!("{other}"),
        }
    }
    let most = 50 + 5 * (start.elapsed().as_secs() + 2);
    let asked = opaque.asked("main") - before;
    assert!(asked < most, "{asked} questions, {} refused unasked", limited.len());
    let line = opaque.logged(limited.first().expect("some are refused unasked"));
    assert!(line.contains("too_many_introspections"), "{line}");
    assert_eq!(opaque.ask(&known).status, 200, "who is known is served");
    assert_eq!(opaque.ask(&other).status, 200, "another issuer's tokens are asked about");
}

/// The secret is Envoy's, and what is renewed counts at once.
#[test]
fn the_credential_is_renewed_live_and_seen_by_nobody() {
    let opaque = Opaque::start(&json!({"requestsPerSecond": 1000}));
    let token = opaque.token("main");
    assert_eq!(opaque.ask(&token).status, 200);
    let renewed = ClientConfig::confidential(ASKER, "another-secret");
    opaque.issuer("main").put_client(renewed);
    let (status, line, _) = opaque.refused(&opaque.token("main"));
    assert_eq!(status, 503, "{line}");
    assert!(line.contains("does not take the gateway's credential"), "{line}");
    write_secret(&opaque.secrets, "another-secret");
    until("Envoy has the new secret", || {
        (opaque.ask(&opaque.token("main")).status == 200).then_some(())
    });
    let gateway = &opaque.target.gateway;
    let secrets = [
        token,
        STANDARD.encode(format!("{ASKER}:{ENCODED}")),
        STANDARD.encode(format!("{ASKER}:another-secret")),
        "another-secret".to_owned(),
    ];
    let dump = gateway.envoy_admin().get("/config_dump?include_eds").unwrap().body;
    let log = fs::read_to_string(gateway.log()).unwrap();
    let access = fs::read_to_string(gateway.access_log()).unwrap();
    let environment = fs::read(format!("/proc/{}/environ", gateway.envoy_id())).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    for (what, text) in
        [("dump", dump), ("log", log), ("access log", access), ("environment", environment)]
    {
        assert!(!text.is_empty(), "{what}");
        for secret in &secrets {
            assert!(!text.contains(secret), "{what} has {secret}");
        }
    }
}
