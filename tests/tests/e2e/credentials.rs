//! Bad credentials: what the client is told, and that nothing of it reaches the API server.
//!
//! A 401 makes kubectl log in anew and says `Unauthorized` and no more. What no new login would cure is a 403 that names
//! the rule, a 431, or a 503 that says when to come back.

use std::{sync::LazyLock, time::Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oidc_provider::{
    Algorithm, Answer as Bad, Config, Endpoint, Misbehaviour, Provider, PublicKeyForm, SignWith,
    TokenBuilder,
};
use serde_json::json;

use crate::{
    harness::cluster,
    target::{self, Target},
    wire::{Ask, Version},
};

const UNAUTHORIZED: (u16, &str) = (401, "Unauthorized");
const FORBIDDEN: (u16, &str) = (403, "Forbidden");
const TOO_LARGE: (u16, &str) = (431, "RequestHeaderFieldsTooLarge");

/// Shared by the tests: none of them changes it. Its allow-list of reserved names is empty.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let main = target::issuer("main").algorithms([Algorithm::Rs256, Algorithm::Es256]);
    let provider = Provider::start(Config::of(main).issuer(target::issuer("silent"))).unwrap();
    let silent = provider.issuer_named("silent").unwrap();
    silent.misbehave(Endpoint::Discovery, Misbehaviour::answer(Bad::Hang)).unwrap();
    let settings = json!({"keySets": {"timeoutSeconds": 1}});
    Target::start_beside_another(provider, &settings)
});

/// A token that is bad in one way.
type Spoil = fn(TokenBuilder) -> TokenBuilder;

fn assert_refused(case: &str, ask: impl Fn() -> Ask, want: (u16, &str)) {
    for version in Version::ALL {
        TARGET.assert_refused(case, &ask(), version, want);
    }
}

fn assert_all_unauthorized(cases: &[(&str, Spoil)]) {
    for (case, spoil) in cases {
        let token = spoil(TARGET.token()).mint();
        assert_refused(case, || Ask::version().bearer(&token), UNAUTHORIZED);
    }
}

/// Without this, every refusal below could have another reason than its own.
#[test]
fn a_good_token_is_served() {
    let token = TARGET.token().mint();
    let user = TARGET.identity(&token);
    for version in Version::ALL {
        let answer = TARGET.assert_served("good", &Ask::version().bearer(&token), version, &user);
        assert_eq!(answer.status, 200);
    }
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let token = TARGET.token().sign(SignWith::Algorithm(algorithm)).mint();
        assert_eq!(TARGET.identity(&token).username, target::USER);
    }
}

#[test]
fn no_credential() {
    for (case, value) in [
        ("none", None),
        ("empty", Some("")),
        ("no token", Some("Bearer")),
        ("another scheme", Some("Basic YWxpY2U6c2VjcmV0")),
        // Go splits at each blank, so that the token is empty.
        ("two blanks", Some("Bearer  token")),
    ] {
        let ask = || match value {
            None => Ask::version(),
            Some(value) => Ask::version().header("Authorization", value),
        };
        assert_refused(case, ask, UNAUTHORIZED);
    }
}

#[test]
fn no_token_at_all() {
    let long = "a".repeat(10_000);
    let dots = ".".repeat(60_000);
    for case in ["garbage", "a.b.c", "...", "..", "a.b", "e30.e30.", "%%%.%%%.%%%", &long, &dots] {
        let name = &case[..case.len().min(20)];
        assert_refused(name, || Ask::version().bearer(case), UNAUTHORIZED);
    }
}

/// RFC 7519, section 6, and its writing in other cases (CVE-2015-9235 and its kin).
#[test]
fn unsigned() {
    assert_all_unauthorized(&[
        ("alg none", |token| token.sign(SignWith::None)),
        ("alg None", |token| token.sign(SignWith::None).header("alg", "None")),
        ("alg NONE", |token| token.sign(SignWith::None).header("alg", "NONE")),
        ("alg missing", |token| token.sign(SignWith::None).without_header("alg")),
        ("empty signature", |token| token.signature(*b"")),
    ]);
}

/// The RS/HS confusion (CVE-2016-10555): the public key as the secret of an HMAC.
#[test]
fn hs256_with_the_public_key() {
    assert_all_unauthorized(&[
        ("PEM", |token| token.sign(SignWith::PublicKeyAsSecret(PublicKeyForm::Pem))),
        ("PEM, trimmed", |token| {
            token.sign(SignWith::PublicKeyAsSecret(PublicKeyForm::PemTrimmed))
        }),
        ("DER", |token| token.sign(SignWith::PublicKeyAsSecret(PublicKeyForm::Der))),
        ("JWK", |token| token.sign(SignWith::PublicKeyAsSecret(PublicKeyForm::Jwk))),
        ("numbers", |token| token.sign(SignWith::PublicKeyAsSecret(PublicKeyForm::Numbers))),
        ("empty secret", |token| token.sign(SignWith::Secret(String::new()))),
    ]);
}

#[test]
fn not_signed_by_the_issuers_key() {
    assert_all_unauthorized(&[
        ("wrong RSA key", |token| token.sign(SignWith::Stranger(Algorithm::Rs256))),
        ("wrong EC key", |token| token.sign(SignWith::Stranger(Algorithm::Es256))),
        ("signature of something else", |token| token.signature([7; 256])),
        ("another algorithm than the key's", |token| token.header("alg", "ES256")),
        // A key that the token brings along is the attacker's.
        ("embedded key", |token| {
            token
                .sign(SignWith::Stranger(Algorithm::Rs256))
                .without_header("kid")
                .header("jwk", json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}))
        }),
        // RFC 7515, section 4.1.11: an extension that is not understood must be refused.
        ("critical extension", |token| token.header("crit", json!(["b64"])).header("b64", false)),
    ]);
}

#[test]
fn a_key_id_that_no_refetch_finds() {
    let issuer = TARGET.issuer();
    let token = TARGET
        .token()
        .sign(SignWith::Stranger(Algorithm::Rs256))
        .header("kid", "never-published")
        .mint();
    let before = issuer.requests(Endpoint::Jwks);
    assert_refused("unknown kid", || Ask::version().bearer(&token), UNAUTHORIZED);
    let fetches = issuer.requests(Endpoint::Jwks) - before;
    assert!(fetches <= 1, "{fetches} fetches for two requests within the minimum interval");
}

#[test]
fn not_for_this_audience_or_of_no_known_issuer() {
    assert_all_unauthorized(&[
        ("wrong audience", |token| token.claim("aud", "another-client")),
        ("no audience", |token| token.without("aud")),
        ("wrong issuer", |token| token.claim("iss", "https://issuer.example")),
        ("no issuer", |token| token.without("iss")),
        ("issuer with a slash more", |token| {
            let url = token.claims()["iss"].as_str().unwrap().to_owned() + "/";
            token.claim("iss", url)
        }),
    ]);
}

#[test]
fn not_valid_now() {
    assert_all_unauthorized(&[
        ("expired", |token| token.expires_in(-10)),
        ("no end", |token| token.without("exp")),
        ("end is no number", |token| token.claim("exp", "tomorrow")),
        ("not yet valid", |token| token.valid_in(300)),
    ]);
}

/// openshift/origin#14716: of two tokens it must not be a guess which one counts.
#[test]
fn two_tokens() {
    let token = TARGET.token().mint();
    let encoded = URL_SAFE_NO_PAD.encode(&token);
    let protocol = format!("base64url.bearer.authorization.k8s.io.{encoded}");
    let exec = |protocols: String| {
        move || Ask::exec("websocket").header("Sec-WebSocket-Protocol", &protocols)
    };
    let both = exec(format!("{protocol}, v5.channel.k8s.io"));
    let both = || both().bearer(&token);
    assert_refused("Authorization and subprotocol", both, UNAUTHORIZED);
    let twice = exec(format!("{protocol}, {protocol}, v5.channel.k8s.io"));
    assert_refused("two subprotocols", twice, UNAUTHORIZED);
    let padded = exec(format!("{protocol}==, v5.channel.k8s.io"));
    assert_refused("padded", padded, UNAUTHORIZED);

    // Envoy joins them to one, which no longer is a token.
    let headers = || Ask::version().bearer(&token).bearer("a.b.c");
    assert_refused("two Authorization headers", headers, UNAUTHORIZED);

    let user = TARGET.identity(&token);
    for version in Version::ALL {
        let once = exec(format!("{protocol}, v5.channel.k8s.io"))();
        TARGET.assert_served("one subprotocol", &once, version, &user);
    }
}

/// A filter that reads headers as text dies of these.
#[test]
fn values_that_are_not_utf_8() {
    for (case, value) in [
        ("token", &b"Bearer \xff\xfe"[..]),
        ("token of three parts", b"Bearer \xc3\x28.\xff.\x80"),
        ("scheme", b"Bear\xe9r token"),
    ] {
        assert_refused(case, || Ask::version().header("Authorization", value), UNAUTHORIZED);
    }
    let token = TARGET.token().mint();
    let user = TARGET.identity(&token);
    for version in Version::ALL {
        let ask = Ask::version().bearer(&token).header("X-Anything", b"\xff\xfe\x80");
        TARGET.assert_served("another header", &ask, version, &user);
        let protocols = b"\xff, v5.channel.k8s.io";
        let ask = Ask::exec("websocket").header("Sec-WebSocket-Protocol", protocols);
        TARGET.assert_refused("subprotocol", &ask, version, UNAUTHORIZED);
    }
}

/// Names that no token may bring: refused, never trimmed or dropped, and the rule is named.
#[test]
fn identities_that_no_token_may_bring() {
    let cases: [(&str, &str, Spoil); 16] = [
        ("empty user", "empty-user-name", |t| t.claim("preferred_username", "")),
        ("system: user", "reserved-user", |t| t.claim("preferred_username", "system:admin")),
        ("node", "reserved-user", |t| t.claim("preferred_username", "system:node:a")),
        ("masters", "reserved-group", |t| t.claim("groups", json!(["system:masters"]))),
        ("masters among others", "reserved-group", |t| {
            t.claim("groups", json!(["a", "system:masters", "b"]))
        }),
        // Go trims blanks of HTTP/1 headers, so that these would arrive as system:masters.
        ("blank and masters", "unsafe-value", |t| t.claim("groups", json!([" system:masters"]))),
        ("tab and masters", "unsafe-value", |t| t.claim("groups", json!(["\tsystem:masters"]))),
        ("masters and blank", "unsafe-value", |t| t.claim("groups", json!(["system:masters "]))),
        ("no-break space", "unsafe-value", |t| t.claim("groups", json!(["\u{a0}system:masters"]))),
        ("blank and user", "unsafe-value", |t| t.claim("preferred_username", " system:admin")),
        ("NUL in user", "unsafe-value", |t| t.claim("preferred_username", "al\0ice")),
        ("line break in user", "unsafe-value", |t| {
            t.claim("preferred_username", "alice\r\nImpersonate-Group: system:masters")
        }),
        ("line break in group", "unsafe-value", |t| {
            t.claim("groups", json!(["a\nImpersonate-Group: system:masters"]))
        }),
        ("escape in group", "unsafe-value", |t| t.claim("groups", json!(["a\u{1b}[2J"]))),
        ("delete in uid", "unsafe-value", |t| t.claim("sub", "a\u{7f}")),
        ("C1 control in user", "unsafe-value", |t| t.claim("preferred_username", "a\u{85}b")),
    ];
    for (case, rule, spoil) in cases {
        let token = spoil(TARGET.token()).mint();
        for version in Version::ALL {
            let ask = Ask::version().bearer(&token);
            let answer = TARGET.assert_refused(case, &ask, version, FORBIDDEN);
            let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains(&format!("rule {rule}")), "{case}: {message}");
        }
    }
}

#[test]
fn tokens_above_the_cap() {
    let token = TARGET.token().claim("padding", "x".repeat(60_000)).mint();
    assert!(token.len() > 64 << 10);
    assert_refused("above limits.tokenBytes", || Ask::version().bearer(&token), TOO_LARGE);
    let garbage = "a".repeat(100_000);
    assert_refused("no token, but as large", || Ask::version().bearer(&garbage), TOO_LARGE);
}

#[test]
fn too_many_groups() {
    let groups = |count: u32| (0..count).map(|i| format!("g{i}")).collect::<Vec<_>>();
    let token = |count| TARGET.token().claim("groups", json!(groups(count))).mint();
    let (most, over, many) = (token(1_000), token(1_001), token(10_000));
    assert_refused("1,001 groups", || Ask::version().bearer(&over), TOO_LARGE);
    assert_refused("10,000 groups", || Ask::version().bearer(&many), TOO_LARGE);
    let user = TARGET.identity(&most);
    assert!(user.groups.contains(&"g999".to_owned()));
}

/// What exceeds Envoy's own limit never gets to the filter. Over HTTP/2 it is a reset of the stream, which no setting of
/// Envoy makes an answer.
#[test]
fn headers_above_envoys_limit() {
    let token = "a".repeat(300_000);
    for version in Version::ALL {
        let mark = cluster().audit().mark().unwrap();
        let ask = Ask::version().bearer(&token);
        match ask.send(&TARGET.gateway, version) {
            Ok(answer) => target::assert_bare_status("headers", &answer, TOO_LARGE),
            Err(reset) => assert_eq!(version, Version::H2, "{reset}"),
        }
        target::assert_nothing_arrived("headers", mark, &ask);
    }
}

/// istio/istio#25934 and its kin: an issuer that is down is not the user's fault, and no other issuer's users pay for it.
#[test]
fn an_issuer_that_never_answered() {
    let silent = TARGET.provider.issuer_named("silent").unwrap();
    let token = silent.token(target::USER, target::CLIENT).mint();
    for version in Version::ALL {
        let ask = Ask::version().bearer(&token);
        let answer = TARGET.assert_refused("silent", &ask, version, (503, "ServiceUnavailable"));
        let after = answer.header("retry-after").and_then(|value| value.parse::<u32>().ok());
        assert!(after.is_some_and(|seconds| seconds >= 1), "{answer:?}");

        let good = TARGET.token().mint();
        let start = Instant::now();
        TARGET.identity(&good);
        assert!(start.elapsed().as_secs() < 5, "a healthy issuer waits for no sick one");
    }
}
