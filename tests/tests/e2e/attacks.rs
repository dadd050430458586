//! What a client may try in order to be somebody else, one case for each trick that has worked on some proxy.
//!
//! The judge is the API server's audit log: it saw the token's user and nobody else, or it saw nothing.

use std::sync::LazyLock;

use sandbox::{
    Credential,
    audit::{Identity, Mark},
};
use serde_json::json;

use crate::{
    harness::cluster,
    target::{self, Target},
    wire::{Ask, Connection, Version},
};

const BAD_REQUEST: (u16, &str) = (400, "BadRequest");
const FORBIDDEN: (u16, &str) = (403, "Forbidden");

/// Shared by the tests: none of them changes it. It is one of two gateways in one Envoy, and asks the API server whom its
/// users may impersonate: nobody.
static TARGET: LazyLock<Target> =
    LazyLock::new(|| Target::start_beside_another(target::provider(), &json!({})));

/// One that takes the client's impersonation headers away.
static STRIPPING: LazyLock<Target> =
    LazyLock::new(|| Target::start(&json!({"clientImpersonation": "strip"})));

/// One token for all, and whom the API server sees for it: every case is compared with it, extras included.
static TOKEN: LazyLock<(String, Identity)> = LazyLock::new(|| {
    let token = TARGET.token().expires_in(3600).mint();
    let identity = TARGET.identity(&token);
    (token, identity)
});

/// Sends headers with a good token over both versions: the user is served as itself. The answers have a warning if
/// `warned`.
fn assert_harmless(target: &Target, case: &str, headers: &[(&str, &str)], warned: bool) {
    let token = target.token().expires_in(600).mint();
    let user = target.identity(&token);
    for version in Version::ALL {
        let ask = Ask::version().bearer(&token).headers(headers.iter().copied());
        let answer = target.assert_served(case, &ask, version, &user);
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
        let warning = answer.header("warning").unwrap_or_default();
        assert_eq!(warning.starts_with("299 "), warned, "{case}, {version:?}: {answer:?}");
    }
}

/// Infisical/cli#186 forgot `Impersonate-Uid`; OCM cluster-proxy#335 and teleport#22247 added groups instead of replacing
/// them.
#[test]
fn impersonation_in_every_case() {
    for headers in [
        &[("Impersonate-User", "admin")][..],
        &[("impersonate-user", "admin")],
        &[("IMPERSONATE-USER", "admin")],
        &[("iMpErSoNaTe-UsEr", "system:admin")],
        &[("Impersonate-Group", "system:masters")],
        &[("IMPERSONATE-GROUP", "system:masters")],
        &[("Impersonate-Uid", "0")],
        &[("Impersonate-User", "admin"), ("Impersonate-Group", "system:masters")],
        &[("Impersonate-User", "admin"), ("Impersonate-User", "root")],
        &[("Impersonate-Group", "a"), ("impersonate-group", "system:masters")],
    ] {
        let case = format!("{headers:?}");
        assert_harmless(&STRIPPING, &case, headers, true);
        // Whose `Impersonate-User` is missing, or there twice, asks for nothing that could be allowed.
        let users =
            headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("impersonate-user"));
        let want = if users.count() == 1 { FORBIDDEN } else { BAD_REQUEST };
        for version in Version::ALL {
            let ask = Ask::version().bearer(&TOKEN.0).headers(headers.iter().copied());
            TARGET.assert_refused(&case, &ask, version, want);
        }
    }
}

/// These are taken away as well; they alone are no `kubectl --as`, which always names a user.
#[test]
fn everything_else_that_is_called_impersonate() {
    for name in [
        "Impersonate-Extra-Scopes",
        "Impersonate-Extra-Authentication.kubernetes.io%2fcredential-id",
        "Impersonate-Extra-",
        "Impersonate-Not-Yet-Invented",
        "Impersonate",
        // CVE-2025-64484 and its kin: servers that fold these to hyphens.
        "Impersonate_User",
        "Impersonate_Group",
        "IMPERSONATE_USER",
        "Impersonate-Extra_Scopes",
        "Impersonate.User",
        "Impersonate.Group",
    ] {
        assert_harmless(&STRIPPING, name, &[(name, "system:masters")], false);
        // Where the filter reads them, one without a user, or one that it does not know, is an error; what is written otherwise
        // never gets there.
        if !name.starts_with("Impersonate-") || name.contains('_') {
            assert_harmless(&TARGET, name, &[(name, "system:masters")], false);
            continue;
        }
        for version in Version::ALL {
            let ask = Ask::version().bearer(&TOKEN.0).header(name, "system:masters");
            TARGET.assert_refused(name, &ask, version, BAD_REQUEST);
        }
    }
}

#[test]
fn impersonation_in_trailers() {
    let (token, user) = &*TOKEN;
    let trailers = [
        ("Impersonate-User", "admin"),
        ("impersonate-group", "system:masters"),
        ("X-Remote-User", "admin"),
        ("Authorization", "Bearer a.b.c"),
    ];
    for version in Version::ALL {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let ask = Ask::new("POST", path).bearer(token).header("Content-Type", "application/json");
        TARGET.assert_served("trailers", &ask.trailers(trailers), version, user);
    }
}

/// CVE-2021-31999 (rancher#33588), capsule-proxy#188: a `Connection` that nominates our own header takes it away on the
/// next hop, and the request runs as the gateway.
#[test]
fn nominated_in_connection() {
    for value in [
        "Impersonate-User",
        "close, Impersonate-User, Impersonate-Group",
        "keep-alive,  impersonate-user",
        "IMPERSONATE-USER",
        "x-wasm-mode, impersonate-uid",
    ] {
        let (token, user) = &*TOKEN;
        let ask = Ask::version().bearer(token).header("Connection", value);
        TARGET.assert_served(value, &ask, Version::H1, user);
    }
    let (token, _) = &*TOKEN;
    let ask = Ask::version().bearer(token).header("Connection", "Authorization");
    TARGET.assert_refused("its own token", &ask, Version::H1, (401, "Unauthorized"));
}

/// envoyproxy/envoy#44525: on an upgrade the value travels on whole.
#[test]
fn nominated_in_connection_on_an_upgrade() {
    let (token, user) = &*TOKEN;
    for protocol in ["websocket", "SPDY/3.1"] {
        for value in [
            "Upgrade, Impersonate-User",
            "Impersonate-User,Upgrade",
            "upgrade,  Impersonate-Group",
            "keep-alive, Upgrade, impersonate-uid",
            "Upgrade, close",
            "Upgrade, X-Anything",
        ] {
            let ask = Ask::exec(protocol).bearer(token).header("Connection", value);
            TARGET.assert_refused(value, &ask, Version::H1, BAD_REQUEST);
        }
        for value in ["Upgrade", "keep-alive, Upgrade"] {
            let ask = Ask::exec(protocol).bearer(token).header("Connection", value);
            TARGET.assert_served(value, &ask, Version::H1, user);
        }
    }
    let twice = Ask::exec("SPDY/3.1").bearer(token);
    let twice = twice.header("Connection", "Upgrade").header("Connection", "Impersonate-User");
    TARGET.assert_refused("two lines", &twice, Version::H1, BAD_REQUEST);
}

#[test]
fn upgrades_with_forged_headers() {
    let token = STRIPPING.token().mint();
    let user = STRIPPING.identity(&token);
    for version in Version::ALL {
        for protocol in ["websocket", "SPDY/3.1"] {
            let forged = [("Impersonate-User", "admin"), ("Impersonate-Group", "system:masters")];
            let ask = Ask::exec(protocol).bearer(&token).headers(forged);
            STRIPPING.assert_served(protocol, &ask, version, &user);
            let ask = Ask::exec(protocol).bearer(&TOKEN.0).headers(forged);
            TARGET.assert_refused(protocol, &ask, version, FORBIDDEN);
        }
    }
}

#[test]
fn headers_of_proxies_and_of_the_gateway_itself() {
    for (name, value) in [
        ("X-Remote-User", "admin"),
        ("X-Remote-Group", "system:masters"),
        ("X-Remote-Uid", "0"),
        ("X-Remote-Extra-Scopes", "all"),
        ("X_Remote_User", "admin"),
        ("X-Gateway-Asked", "admin"),
        ("X-Gateway-Mode", "impersonate"),
        ("X-Envoy-Original-Path", "/api"),
        ("X-Envoy-Internal", "true"),
        ("X-Envoy-Upstream-Rq-Timeout-Ms", "1"),
        ("X-Envoy-Force-Trace", "1"),
        ("X-Original-URL", "/api"),
        ("X-HTTP-Method-Override", "DELETE"),
        // Ends a stream at Envoy, if it is believed.
        ("Grpc-Timeout", "1n"),
        ("Grpc-Timeout", "0S"),
    ] {
        assert_harmless(&TARGET, name, &[(name, value)], false);
        assert_harmless(&STRIPPING, name, &[(name, value)], false);
    }
}

/// The id under which a request is found in every log is the gateway's: `assert_served` compares it with the audit log.
#[test]
fn ids_of_the_clients_choice() {
    let (token, user) = &*TOKEN;
    let id = "00000000-0000-4000-8000-000000000000";
    for name in ["Audit-ID", "audit-id", "X-Request-Id"] {
        for version in Version::ALL {
            let ask = Ask::version().bearer(token).header(name, id);
            let answer = TARGET.assert_served(name, &ask, version, user);
            assert_ne!(answer.header("audit-id"), Some(id), "{name}");
            let refused = Ask::version().header(name, id);
            let answer = TARGET.assert_refused(name, &refused, version, (401, "Unauthorized"));
            assert_ne!(answer.header("audit-id"), Some(id), "{name}");
        }
    }
}

/// kube-oidc-proxy (RafPe#75) wrote what the client said of itself into the audit log.
#[test]
fn addresses_of_the_clients_choice() {
    let (token, _) = &*TOKEN;
    for (name, value) in [
        ("X-Forwarded-For", "10.1.2.3"),
        ("X-Forwarded-For", "10.1.2.3, 10.4.5.6"),
        ("X-Real-Ip", "10.1.2.3"),
        ("Forwarded", "for=10.1.2.3"),
        ("X-Envoy-External-Address", "10.1.2.3"),
        ("True-Client-Ip", "10.1.2.3"),
    ] {
        for version in Version::ALL {
            let mark = cluster().audit().mark().unwrap();
            let ask = Ask::version().bearer(token).header(name, value);
            assert_eq!(ask.send(&TARGET.gateway, version).unwrap().status, 200);
            let seen = target::seen(mark, &ask).source_ips;
            assert!(
                !seen.is_empty() && seen.iter().all(|ip| ip == "127.0.0.1"),
                "{name}: {seen:?}"
            );
        }
    }
}

/// What a lenient proxy and a strict server read differently. `FORGED` is a second request in the body of the first.
#[test]
fn smuggled() {
    const FORGED: &str = "GET /version?smuggled HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let (token, _) = &*TOKEN;
    let length = FORGED.len();
    for (case, lines) in [
        ("CL and TE", format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n")),
        ("TE and CL", format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n")),
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {length}\r\n")),
        ("signed length", format!("Content-Length: +{length}\r\n")),
        ("list of lengths", format!("Content-Length: 0, {length}\r\n")),
        ("unknown coding", "Transfer-Encoding: xchunked\r\n".to_owned()),
        ("coding before chunked", "Transfer-Encoding: gzip, chunked\r\n".to_owned()),
        ("blank before colon", "Impersonate-User : admin\r\n".to_owned()),
        ("tab before colon", "Impersonate-User\t: admin\r\n".to_owned()),
        ("blank in name", "Impersonate User: admin\r\n".to_owned()),
        ("NUL in name", "Impersonate-User\0: admin\r\n".to_owned()),
        ("NUL in value", "X: a\0b\r\n".to_owned()),
        ("no name", ": admin\r\n".to_owned()),
        ("no colon", "Impersonate-User\r\n".to_owned()),
    ] {
        let mark = cluster().audit().mark().unwrap();
        let mut connection = Connection::open(&TARGET.gateway).unwrap();
        let request = format!(
            "POST /version?smuggling HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{lines}\r\n{FORGED}"
        );
        connection.send(request.as_bytes()).unwrap();
        let answer = connection.answer().unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!([400, 501].contains(&answer.status), "{case}: {answer:?}");
        assert_untouched(case, mark);
        drop(connection);
    }
}

fn assert_untouched(case: &str, mark: Mark) {
    let events = cluster().audit().since(mark).unwrap();
    let mut smuggled = events.iter().filter(|event| event.request_uri.contains("?smuggl"));
    assert_eq!(smuggled.next(), None, "{case}");
}

/// Line ends that some read as one: the header is either stripped like any other or part of a harmless value.
#[test]
fn folded_lines_and_bare_line_ends() {
    let (token, user) = &*TOKEN;
    for (case, lines) in [
        ("folded", "X: a\r\n Impersonate-User: admin\r\n"),
        ("folded by a tab", "X: a\r\n\tImpersonate-User: admin\r\n"),
        ("folded to nothing", "X:\r\n Impersonate-User: admin\r\n"),
        ("bare LF", "X: a\nImpersonate-User: admin\r\n"),
        ("bare CR", "X: a\rImpersonate-User: admin\r\n"),
        ("CR CR LF", "X: a\r\r\nImpersonate-User: admin\r\n"),
    ] {
        let mark = cluster().audit().mark().unwrap();
        let ask = Ask::version();
        let mut connection = Connection::open(&TARGET.gateway).unwrap();
        let request = format!(
            "GET /version HTTP/1.1\r\nHost: a\r\nUser-Agent: {}\r\n{lines}Authorization: Bearer {token}\r\n\r\n",
            ask.agent()
        );
        connection.send(request.as_bytes()).unwrap();
        let answer = connection.answer().unwrap_or_else(|error| panic!("{case}: {error}"));
        if answer.status == 200 {
            assert_eq!(target::seen(mark, &ask).impersonated_user.as_ref(), Some(user), "{case}");
        } else {
            assert!([400, 401, 403].contains(&answer.status), "{case}: {answer:?}");
            target::assert_nothing_arrived(case, mark, &ask);
        }
    }
}

/// envoyproxy/envoy#36305, #38645: what follows a refused handshake is no request, and no byte of it goes on.
#[test]
fn data_before_the_101() {
    const FORGED: &[u8] = b"GET /version?smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let (token, _) = &*TOKEN;
    for protocol in ["websocket", "SPDY/3.1"] {
        for (case, ask) in [
            ("refused by the gateway", Ask::exec(protocol)),
            ("refused by the API server", Ask::exec(protocol).bearer(token)),
        ] {
            let mark = cluster().audit().mark().unwrap();
            let mut connection = Connection::open(&TARGET.gateway).unwrap();
            connection.send(&[&ask.bytes(), FORGED].concat()).unwrap();
            let answer = connection.answer().unwrap();
            assert!([400, 401, 403, 404].contains(&answer.status), "{case}: {answer:?}");
            // Either the connection ends or the forged request is refused like any other without a token.
            if let Ok(next) = connection.answer() {
                assert!([400, 401].contains(&next.status), "{case}: {next:?}");
            }
            assert_untouched(case, mark);
        }
    }
}

#[test]
fn methods_and_protocols_that_are_not_for_it() {
    let (token, _) = &*TOKEN;
    for (case, first, more, codes) in [
        ("CONNECT", "CONNECT 127.0.0.1:6443 HTTP/1.1", "", &[400, 403, 404][..]),
        (
            "HTTP/1.0, chunks",
            "GET /version?smuggling HTTP/1.0",
            "Transfer-Encoding: chunked\r\n",
            &[400],
        ),
        (
            "unlisted upgrade",
            "GET /version?smuggling HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: foo\r\n",
            &[403],
        ),
        (
            "tunnel",
            "GET /version?smuggling HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: connect-udp\r\n",
            &[400, 403, 404],
        ),
    ] {
        let mark = cluster().audit().mark().unwrap();
        let mut connection = Connection::open(&TARGET.gateway).unwrap();
        let request = format!("{first}\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{more}\r\n");
        connection.send(request.as_bytes()).unwrap();
        let answer = connection.answer().unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(codes.contains(&answer.status), "{case}: {answer:?}");
        assert_untouched(case, mark);
    }
}

/// oauth2-proxy GHSA-7x63-xv5r-3p2x: no path is open without a token, however it is written.
#[test]
fn paths_that_might_be_exempt() {
    for path in [
        "/healthz",
        "/livez",
        "/readyz",
        "/version",
        "/openid/v1/jwks",
        "/.well-known/openid-configuration",
        "/healthz/../api/v1/secrets",
        "/healthz/%2e%2e/api/v1/secrets",
        "/healthz%2f..%2fapi",
        "//healthz",
        "/healthz;x=/api",
        "/healthz?/api",
        "/HEALTHZ",
        "/",
        "https://localhost/healthz",
    ] {
        let ask = Ask::new("GET", path);
        TARGET.assert_refused(path, &ask, Version::H1, (401, "Unauthorized"));
    }
}

#[test]
fn other_ways_to_send_a_token() {
    let (token, _) = &*TOKEN;
    for (case, ask) in [
        ("query", Ask::new("GET", &format!("/version?access_token={token}"))),
        ("cookie", Ask::version().header("Cookie", format!("token={token}"))),
        ("proxy", Ask::version().header("Proxy-Authorization", format!("Bearer {token}"))),
        ("forwarded", Ask::version().header("X-Forwarded-Access-Token", token)),
        ("underscore", Ask::version().header("Authorization_", format!("Bearer {token}"))),
        // Only a WebSocket handshake may carry it so.
        (
            "subprotocol without a handshake",
            Ask::version().header(
                "Sec-WebSocket-Protocol",
                "base64url.bearer.authorization.k8s.io.YS5iLmM, v5.channel.k8s.io",
            ),
        ),
    ] {
        for version in Version::ALL {
            TARGET.assert_refused(case, &ask, version, (401, "Unauthorized"));
        }
    }
}

/// siderolabs/omni#2671: `--as` that is ignored must not be ignored in silence.
#[test]
fn kubectl_as_is_told_that_it_has_no_effect() {
    let token = STRIPPING.token().mint();
    let kubectl = STRIPPING.gateway.kubectl(Credential::Token(token)).unwrap();
    let arguments = ["auth", "whoami", "--as=admin", "--as-group=system:masters", "-o", "json"];
    let output = kubectl.run(arguments).unwrap();
    assert!(output.success(), "{output:?}");
    assert!(output.stdout.contains(&format!("\"{}\"", target::USER)), "{output:?}");
    assert!(!output.stdout.contains("system:masters"), "{output:?}");
    assert!(output.stderr.contains("Warning: impersonation (--as) is not available"), "{output:?}");
}

/// capsule-proxy#117 and #118: in mode `reject` the header is named, in every writing that Go would take.
#[test]
fn rejected_where_it_is_configured() {
    let target = Target::start(&json!({"clientImpersonation": "reject"}));
    let token = target.token().mint();
    let user = target.identity(&token);
    for name in ["Impersonate-User", "IMPERSONATE-GROUP", "impersonate-uid", "Impersonate-Extra-X"]
    {
        for version in Version::ALL {
            let ask = Ask::version().bearer(&token).header(name, "admin");
            let answer = target.assert_refused(name, &ask, version, FORBIDDEN);
            let named = answer.body.contains(&name.to_ascii_lowercase());
            assert!(named, "{name}: {}", answer.body);
            let hidden = Ask::version().bearer(&token).header(&name.replace('-', "_"), "admin");
            target.assert_served(name, &hidden, version, &user);
        }
    }
}

/// The user of the tests has no rights of its own: were it somebody else for a moment, this would be allowed.
#[test]
fn nobody_gains_a_right() {
    let token = STRIPPING.token().mint();
    let user = STRIPPING.identity(&token);
    let mark = cluster().audit().mark().unwrap();
    for version in Version::ALL {
        let forged = [("Impersonate-User", "admin"), ("Impersonate-Group", "system:masters")];
        let ask = Ask::new("GET", "/api/v1/secrets").bearer(&token).headers(forged);
        let answer = STRIPPING.assert_served("secrets", &ask, version, &user);
        assert_eq!(answer.status, 403);
        let wanted = format!("User \\\"{}\\\" cannot list", target::USER);
        assert!(answer.body.contains(&wanted), "{}", answer.body);
    }
    target::assert_never_the_gateway_itself(mark);
}
