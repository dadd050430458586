//! What others may send to the listener while a person logs in: it is refused, and the login goes on.

mod common;

use std::time::Duration;

use common::{
    World,
    http::{get, header, send, status},
    query,
};
use oidc_provider::{Endpoint, Misbehaviour};
use url::Url;

/// A login under way: where it started and what its callback must bring.
struct Login<'a> {
    world: &'a World,
    start: String,
    port: u16,
    authorization: String,
    state: String,
    /// `name=value`
    cookie: String,
}

impl<'a> Login<'a> {
    fn of(world: &'a World, running: &mut common::Running) -> Self {
        let start = running.login_url();
        let (_, answer) = get(&start);
        let authorization = header(&answer, "Location").unwrap().to_owned();
        let cookie = header(&answer, "Set-Cookie").unwrap().split(';').next().unwrap().to_owned();
        let state = query(&authorization)["state"].clone();
        let port = Url::parse(&start).unwrap().port().unwrap();
        Self { world, start, port, authorization, state, cookie }
    }

    /// The person logs in, in the browser that began.
    fn sign_in(&self) -> u16 {
        self.world.sign_in_with(&self.cookie, &self.start).status
    }

    /// A request of the browser that began.
    fn raw(&self, request: &str) -> String {
        self.strange(&request.replacen("\r\n", "\r\nCookie: COOKIE\r\n", 1))
    }

    /// A request of another browser.
    fn strange(&self, request: &str) -> String {
        let request = request
            .replace("COOKIE", &self.cookie)
            .replace("PORT", &self.port.to_string())
            .replace("STATE", &self.state)
            .replace("ISS", self.world.issuer.url());
        send(&self.start, &request)
    }

    /// A code that the issuer gives for this authorization request, changed by `change`.
    fn code(&self, change: impl Fn(&mut Url)) -> String {
        let mut url = Url::parse(&self.authorization).unwrap();
        change(&mut url);
        query(&self.world.way_back(url.as_str()))["code"].clone()
    }

    /// The callback with this code, and from now on an issuer whose keys take so long that others can come in between.
    fn callback_whose_keys_take_long(&self, code: &str) -> String {
        let issuer = &self.world.issuer;
        issuer.reset_requests();
        issuer.misbehave(Endpoint::Jwks, Misbehaviour::delay(Duration::from_secs(3))).unwrap();
        format!("GET /?code={code}&state=STATE&iss=ISS HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n")
    }
}

#[test]
fn requests_that_are_none_of_the_logins_are_refused_and_it_goes_on() {
    let world = World::new();
    let mut running = world.get_token().spawn();
    let login = Login::of(&world, &mut running);
    for (request, want) in [
        // Login CSRF: a page sends the browser here with a code of the attacker's.
        ("GET /?code=evil&state=guess&iss=ISS HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 403),
        ("GET /?code=evil HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 403),
        // A page cancels the login.
        ("GET /?error=access_denied HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 403),
        // DNS rebinding: the page's own name points here.
        ("GET /?code=x&state=STATE&iss=ISS HTTP/1.1\r\nHost: evil.example:PORT\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        ("GET / HTTP/1.0\r\n\r\n", 421),
        // A form or a script of another page.
        (
            "POST / HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: 22\r\n\r\ncode=evil&state=STATE",
            405,
        ),
        (
            "GET /?code=x&state=STATE&iss=ISS HTTP/1.1\r\nHost: localhost:PORT\r\nSec-Fetch-Mode: no-cors\r\n\r\n",
            403,
        ),
        ("OPTIONS / HTTP/1.1\r\nHost: localhost:PORT\r\nOrigin: https://evil.example\r\n\r\n", 405),
        // Another issuer's answer under our state (mix-up, RFC 9207).
        (
            "GET /?code=x&state=STATE&iss=https://evil.example HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
            403,
        ),
        // Whoever looks around learns nothing: the start has an address that cannot be guessed.
        ("GET / HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 404),
        ("GET /login/ HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 404),
        ("GET /favicon.ico HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 404),
        ("GET /../login HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 404),
        ("GET http://localhost:PORT/ HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
    ] {
        let answer = login.raw(request);
        assert_eq!(status(&answer), want, "{request:?} {answer}");
        assert!(!answer.contains(&login.state), "{request:?} {answer}");
        assert_eq!(header(&answer, "Access-Control-Allow-Origin"), None, "{request:?}");
    }
    // Connections that say nothing hold up nobody.
    let silent: Vec<_> =
        (0..8).map(|_| std::net::TcpStream::connect(("127.0.0.1", login.port)).unwrap()).collect();
    assert_eq!(login.sign_in(), 200);
    drop(silent);
    running.finish().credential();
}

/// The start's address stands among the browser's arguments. Another user of the machine who opens it too, or first, learns
/// the state, but has another browser than the one that began.
#[test]
fn break_in_12_an_answer_counts_from_the_browser_that_began_alone() {
    let world = World::new();
    let mut running = world.get_token().spawn();
    let login = Login::of(&world, &mut running);
    let code = login.code(|_| {});
    let callback =
        format!("GET /?code={code}&state=STATE&iss=ISS HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n");
    let answer = login.strange(&callback);
    assert_eq!(status(&answer), 403, "{answer}");
    assert!(answer.contains("did not begin the login"), "{answer}");
    assert_eq!(login.sign_in(), 200);
    running.finish().credential();
}

#[test]
fn break_in_12_a_start_that_two_browsers_open_is_over() {
    let world = World::new();
    let mut running = world.get_token().spawn();
    let login = Login::of(&world, &mut running);
    let code = login.code(|_| {});
    let (second, answer) = get(&login.start);
    assert_eq!(second, 409, "{answer}");
    assert!(!answer.contains(&login.state), "{answer}");
    running.finish().fails_with("two browsers opened the address of the login");
    assert_eq!(
        world.issuer.requests(oidc_provider::Endpoint::Token),
        0,
        "{code} was not looked at"
    );
}

/// The stranger is quicker, and the person's browser comes while the stranger's code is exchanged.
#[test]
fn break_in_12_a_strangers_answer_is_not_taken_when_the_person_comes() {
    let world = World::new();
    let mut running = world.get_token().spawn();
    let login = Login::of(&world, &mut running);
    let code = login.code(|_| {});
    let callback = login.callback_whose_keys_take_long(&code);
    std::thread::scope(|scope| {
        let strangers = scope.spawn(|| login.raw(&callback));
        assert!(world.issuer.wait_for_requests(Endpoint::Jwks, 1, common::PATIENCE));
        assert_eq!(get(&login.start).0, 409);
        assert_eq!(status(&strangers.join().unwrap()), 400);
    });
    running.finish().fails_with("two browsers opened the address of the login");
}

/// A cookie is kept for one name of the machine: the start leads to the redirect URI's first.
#[test]
fn a_start_by_another_name_is_led_to_the_right_one() {
    let world = World::new();
    let mut running = world.get_token().spawn();
    let start = running.login_url();
    let page = world.sign_in(&start.replace("localhost", "127.0.0.1"));
    assert_eq!(page.status, 200, "{}", page.text);
    running.finish().credential();
}

/// A code that somebody else got, put under our state: refused by the issuer, for its PKCE challenge is another's.
#[test]
fn a_code_of_another_login_is_refused_and_it_goes_on() {
    let world = World::new();
    let mut running = world.get_token().spawn();
    let login = Login::of(&world, &mut running);
    let foreign = login.code(|url| {
        let others: Vec<_> = url.query_pairs().into_owned().collect();
        let mut pairs = url.query_pairs_mut();
        pairs.clear();
        for (name, value) in others {
            let value = if name == "code_challenge" { "A".repeat(43) } else { value };
            pairs.append_pair(&name, &value);
        }
    });
    let answer = login.raw(&format!(
        "GET /?code={foreign}&state=STATE&iss=ISS HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n"
    ));
    assert_eq!(status(&answer), 400, "{answer}");
    assert!(
        answer.contains(&login.start.replace('/', "&#x2f;")),
        "the page leads back to the start: {answer}"
    );
    running.line_with("the login goes on");
    assert_eq!(login.sign_in(), 200);
    running.finish().credential();
}

/// The same without PKCE: the nonce tells.
#[test]
fn a_code_of_another_login_is_refused_without_pkce_too() {
    let world = World::new();
    let mut running = world.get_token().arg("--oidc-pkce-method=no").spawn();
    let login = Login::of(&world, &mut running);
    let foreign = login.code(|url| {
        let others: Vec<_> = url.query_pairs().into_owned().collect();
        let mut pairs = url.query_pairs_mut();
        pairs.clear();
        pairs.extend_pairs(others.iter().filter(|(name, _)| name != "nonce"));
        pairs.append_pair("nonce", "another");
    });
    let answer = login.raw(&format!(
        "GET /?code={foreign}&state=STATE&iss=ISS HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n"
    ));
    assert_eq!(status(&answer), 400, "{answer}");
    assert!(answer.contains("another login"), "{answer}");
    assert_eq!(login.sign_in(), 200);
    running.finish().credential();
}

/// The same callback twice, as a browser sends it that reloads or a proxy that repeats: the second is refused while the
/// first one's code is exchanged, and does not spoil it.
#[test]
fn a_second_callback_is_refused_and_the_first_counts() {
    let world = World::new();
    let mut running = world.get_token().spawn();
    let login = Login::of(&world, &mut running);
    let code = login.code(|_| {});
    let request = login.callback_whose_keys_take_long(&code);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| login.raw(&request));
        // The code is exchanged, and the keys are on their way: the first callback is accepted and not yet answered.
        assert!(world.issuer.wait_for_requests(Endpoint::Jwks, 1, common::PATIENCE));
        for second in [&request, &request.replace(&code, "other")] {
            let answer = login.raw(second);
            assert_eq!(status(&answer), 409, "{answer}");
        }
        assert_eq!(status(&first.join().unwrap()), 200);
    });
    running.finish().credential();
    assert_eq!(world.issuer.requests(Endpoint::Token), 1, "the code was exchanged once");
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", login.port)).is_err(),
        "the listener is gone"
    );
}

/// A code of an earlier login with its state: both are over.
#[test]
fn a_replayed_callback_of_an_earlier_login_is_refused() {
    let world = World::new();
    let mut first = world.get_token().arg("--token-store=none").spawn();
    let login = Login::of(&world, &mut first);
    let code = login.code(|_| {});
    let callback = format!("/?code={code}&state={}&iss={}", login.state, world.issuer.url());
    let request = format!("GET {callback} HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n");
    assert_eq!(status(&login.raw(&request)), 200);
    first.finish().credential();

    let mut second = world.get_token().arg("--token-store=none").spawn();
    let login = Login::of(&world, &mut second);
    assert_eq!(status(&login.raw(&request)), 403);
    assert_eq!(login.sign_in(), 200);
    second.finish().credential();
}

/// Every answer hides the address it was given under: it may hold a code.
#[test]
fn nothing_leaks_from_the_last_page() {
    let world = World::new();
    let mut running = world.get_token().spawn();
    let login = Login::of(&world, &mut running);
    let code = login.code(|_| {});
    let answer = login.raw(&format!(
        "GET /?code={code}&state=STATE&iss=ISS HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n"
    ));
    for (name, want) in [
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
    ] {
        assert_eq!(header(&answer, name), Some(want), "{answer}");
    }
    let policy = header(&answer, "Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let credential = running.finish().credential();
    for secret in [&code, &login.state, &credential.token] {
        assert!(!answer.contains(secret.as_str()), "{answer}");
    }
}

/// Whatever bytes come, the listener lives. The bytes are a callback's with some of them changed, at the same
/// places in each run.
#[test]
fn garbage_does_not_end_the_login() {
    use std::io::{Read as _, Write as _};
    let world = World::new();
    let mut running = world.get_token().spawn();
    let login = Login::of(&world, &mut running);
    let good = format!(
        "GET /?code=abc&state={}&iss={} HTTP/1.1\r\nHost: localhost:{}\r\nCookie: {}\r\n\r\n",
        // All but the last letter: no change of one byte makes it right.
        &login.state[..login.state.len() - 1],
        world.issuer.url(),
        login.port,
        login.cookie
    );
    let mut seed = 0x2545_f491_u32;
    let mut next = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed as usize % below
    };
    for _ in 0..300 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", login.port)).unwrap();
        // The listener may answer before it has read all.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || status(&answer) >= 400, "{bytes:?} {answer}");
    }
    assert_eq!(login.sign_in(), 200);
    running.finish().credential();
}
