//! What the listener answers. Nothing but the issuer's answer to this very login gets through, and that once.
//!
//! The address of the start stands among the browser's arguments, which other users of the machine can read. So it serves
//! once: the first browser gets a cookie, and the answer must come from the browser that has it. When a second one comes,
//! nobody can say which of them is the person's, and the login is over.

use std::sync::{Mutex, MutexGuard, PoisonError};

use subtle::ConstantTimeEq as _;

use super::request::Request;

/// The issuer's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A code to exchange.
    Code(String),
    /// The person or the issuer said no.
    Error {
        /// Code of RFC 6749, section 4.1.2.1.
        code: String,
        /// What the issuer says in addition.
        description: Option<String>,
    },
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send the browser to the issuer; with this `Set-Cookie` if it is the first one.
    Start(String, Option<String>),
    /// Send the browser to the start's own address: a cookie is kept for one host.
    Move(String),
    /// A second browser wants to start. The rules are closed for good.
    Contested,
    /// Take it as the login's answer. The rules are closed until [`Rules::reopen`].
    Accept(Answer),
    /// Refuse it; nothing changes.
    Refuse(u16, &'static str),
}

/// What a browser is told when two of them wanted to start.
pub const CONTESTED: &str = "this login was begun in another browser, perhaps by another user of this machine, and is over; \
                             run the command again";

/// What belongs to this login.
#[derive(Debug)]
pub struct Expected {
    /// Values of `Host` that mean this listener.
    pub hosts: Vec<String>,
    /// Those of them whose cookies reach the redirect URI.
    pub start_hosts: Vec<String>,
    /// Where the login starts.
    pub start_path: String,
    /// The same as a whole address.
    pub start_url: String,
    /// What the first browser gets.
    pub cookie: Cookie,
    /// Where the issuer sends the browser back to.
    pub callback_path: String,
    /// The issuer's address with the authorization request.
    pub authorization_url: String,
    /// The secret that a callback brings back.
    pub state: String,
    /// The issuer, for `iss` (RFC 9207).
    pub issuer: String,
    /// The issuer says that it always sends `iss`.
    pub issuer_required: bool,
}

/// A cookie by which the browser that began is known again.
#[derive(Debug)]
pub struct Cookie {
    /// Browsers keep one jar for all ports of a host: the name has the port.
    pub name: String,
    /// A secret.
    pub value: String,
    /// How long the login may take, in seconds.
    pub seconds: u64,
    /// The listener speaks TLS.
    pub secure: bool,
}

impl Cookie {
    /// `Lax`: the issuer's redirect back comes from another site.
    fn set(&self) -> String {
        let Self { name, value, seconds, secure } = self;
        let secure = if *secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// The rules of one login.
#[derive(Debug)]
pub struct Rules {
    expected: Expected,
    seen: Mutex<Seen>,
}

/// What has come so far.
#[derive(Debug, Default)]
struct Seen {
    started: bool,
    answered: bool,
    contested: bool,
}

impl Rules {
    /// Rules that have seen nothing yet.
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        Self { expected, seen: Mutex::default() }
    }

    /// Lets another callback come, because the last one was none of this login's after all.
    pub fn reopen(&self) {
        self.seen().answered = false;
    }

    /// Two browsers wanted to start.
    #[must_use]
    pub fn is_contested(&self) -> bool {
        self.seen().contested
    }

    /// Every change is one assignment, so a panic elsewhere leaves nothing half done.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges one request.
    #[must_use]
    pub fn judge(&self, request: &Request) -> Verdict {
        let expected = &self.expected;
        // A name that an attacker's DNS points to this machine (rebinding) arrives here with that name.
        let [host] = request.hosts.as_slice() else {
            return Verdict::Refuse(421, "this listener has another name");
        };
        let among = |hosts: &[String]| hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
        if !among(&expected.hosts) {
            return Verdict::Refuse(421, "this listener has another name");
        }
        if request.method != "GET" {
            return Verdict::Refuse(405, "only GET is answered here");
        }
        // Scripts, images and frames of other pages say so; a navigation of the person is what we wait for.
        if request.fetch_mode.as_deref().is_some_and(|mode| mode != "navigate") {
            return Verdict::Refuse(403, "only a navigation is answered here");
        }
        if request.purpose.as_deref().is_some_and(|purpose| purpose.contains("prefetch")) {
            return Verdict::Refuse(403, "nothing is answered ahead of need");
        }
        let is_answer = ["state", "code", "error"].iter().any(|name| request.has(name));
        if request.path == expected.callback_path && is_answer {
            return self.judge_callback(request);
        }
        if !same(&request.path, &expected.start_path) {
            let why = "there is nothing here; use the address that kubectl oidc printed";
            return Verdict::Refuse(404, why);
        }
        if !among(&expected.start_hosts) {
            return Verdict::Move(expected.start_url.clone());
        }
        self.judge_start(request)
    }

    fn judge_start(&self, request: &Request) -> Verdict {
        let Expected { authorization_url, cookie, .. } = &self.expected;
        let mut seen = self.seen();
        if seen.contested {
            return Verdict::Refuse(409, CONTESTED);
        }
        if self.began(request) {
            return Verdict::Start(authorization_url.clone(), None);
        }
        if std::mem::replace(&mut seen.started, true) {
            seen.contested = true;
            return Verdict::Contested;
        }
        Verdict::Start(authorization_url.clone(), Some(cookie.set()))
    }

    /// The browser is the one that began.
    fn began(&self, request: &Request) -> bool {
        let Cookie { name, value, .. } = &self.expected.cookie;
        request.cookie(name).any(|found| same(found, value))
    }

    fn judge_callback(&self, request: &Request) -> Verdict {
        let expected = &self.expected;
        if !request.parameter("state").is_some_and(|state| same(state, &expected.state)) {
            return Verdict::Refuse(403, "this is not the login that kubectl oidc waits for");
        }
        if !self.began(request) {
            let why = "this browser did not begin the login, or it keeps no cookies for this address; \
                       use the address that kubectl oidc printed";
            return Verdict::Refuse(403, why);
        }
        match request.parameter("iss") {
            Some(issuer) if issuer == expected.issuer => {}
            None if !expected.issuer_required && !request.has("iss") => {}
            _ => return Verdict::Refuse(403, "this answer comes from another issuer"),
        }
        let answer = match (request.parameter("code"), request.parameter("error")) {
            (Some(code), None) if !code.is_empty() && !request.has("error") => {
                Answer::Code(code.to_owned())
            }
            (None, Some(error)) if !request.has("code") => Answer::Error {
                code: error.to_owned(),
                description: request.parameter("error_description").map(str::to_owned),
            },
            _ => return Verdict::Refuse(400, "this answer has neither a code nor an error"),
        };
        let mut seen = self.seen();
        if seen.contested {
            return Verdict::Refuse(409, CONTESTED);
        }
        if std::mem::replace(&mut seen.answered, true) {
            return Verdict::Refuse(409, "this login has been answered already");
        }
        Verdict::Accept(answer)
    }
}

/// Compares in a time that does not depend on where the two differ.
fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        rules_with(false)
    }

    fn rules_with(issuer_required: bool) -> Rules {
        Rules::new(Expected {
            hosts: vec!["localhost:8000".to_owned(), "127.0.0.1:8000".to_owned()],
            start_hosts: vec!["localhost:8000".to_owned()],
            start_path: "/login/secret".to_owned(),
            start_url: "http://localhost:8000/login/secret".to_owned(),
            cookie: Cookie {
                name: "kubectl-oidc-8000".to_owned(),
                value: "C00kie".to_owned(),
                seconds: 180,
                secure: false,
            },
            callback_path: "/".to_owned(),
            authorization_url: "https://i.example/auth".to_owned(),
            state: "st4te".to_owned(),
            issuer: "https://i.example".to_owned(),
            issuer_required,
        })
    }

    fn request(line: &str, headers: &str) -> Request {
        let head = format!("{line} HTTP/1.1\r\n{headers}\r\n");
        Request::parse(head.as_bytes()).unwrap().unwrap()
    }

    const HOST: &str = "Host: localhost:8000\r\nCookie: kubectl-oidc-8000=C00kie\r\n";
    const STRANGER: &str = "Host: localhost:8000\r\n";

    /// What is refused, with the status; after each of them the real callback still gets through.
    #[test]
    fn requests_that_are_not_this_logins_are_refused_and_change_nothing() {
        for (line, headers, status) in [
            ("GET /?code=c&state=other", HOST, 403),
            ("GET /?code=c&state=st4t", HOST, 403),
            ("GET /?code=c&state=", HOST, 403),
            ("GET /?code=c", HOST, 403),
            ("GET /?error=access_denied&state=other", HOST, 403), // a page must not cancel the login
            ("GET /?error=access_denied", HOST, 403),
            ("GET /?code=c&state=st4te&state=st4te", HOST, 403),
            ("GET /?code=c&code=d&state=st4te", HOST, 400),
            ("GET /?code=&state=st4te", HOST, 400),
            ("GET /?code=c&error=e&state=st4te", HOST, 400),
            ("GET /?state=st4te", HOST, 400),
            ("GET /?code=c&state=st4te&iss=https://evil.example", HOST, 403), // RFC 9207: mix-up
            ("POST /?code=c&state=st4te", HOST, 405),
            ("HEAD /login/secret", HOST, 405),
            ("OPTIONS /?code=c&state=st4te", HOST, 405),
            ("GET /?code=c&state=st4te", "Host: evil.example:8000\r\n", 421), // DNS rebinding
            ("GET /?code=c&state=st4te", "Host: localhost:9000\r\n", 421),
            ("GET /?code=c&state=st4te", "Host: localhost\r\n", 421),
            ("GET /?code=c&state=st4te", "", 421),
            ("GET /?code=c&state=st4te", "Host: localhost:8000\r\nHost: evil.example\r\n", 421),
            (
                "GET /?code=c&state=st4te",
                "Host: localhost:8000\r\nSec-Fetch-Mode: no-cors\r\n",
                403,
            ),
            (
                "GET /?code=c&state=st4te",
                "Host: localhost:8000\r\nSec-Purpose: prefetch;prerender\r\n",
                403,
            ),
            ("GET /login/secret", "Host: localhost:8000\r\nSec-Fetch-Mode: cors\r\n", 403),
            ("GET /login/other", HOST, 404),
            ("GET /", HOST, 404), // the start is not for everybody: who fetches it learns the state
            ("GET /favicon.ico", HOST, 404),
            ("GET /callback?code=c&state=st4te", HOST, 404),
            ("GET /?code=c&state=st4te", STRANGER, 403),
            ("GET /?error=access_denied&state=st4te", STRANGER, 403),
            (
                "GET /?code=c&state=st4te",
                "Host: localhost:8000\r\nCookie: kubectl-oidc-8000=c00kie\r\n",
                403,
            ),
            (
                "GET /?code=c&state=st4te",
                "Host: localhost:8000\r\nCookie: kubectl-oidc-8001=C00kie\r\n",
                403,
            ),
            ("GET //?code=c&state=st4te", HOST, 404),
        ] {
            let rules = rules();
            match rules.judge(&request(line, headers)) {
                Verdict::Refuse(found, _) => assert_eq!(found, status, "{line} {headers}"),
                other => panic!("{line} {headers}: {other:?}"),
            }
            let real = rules.judge(&request("GET /?code=c&state=st4te", HOST));
            assert_eq!(real, Verdict::Accept(Answer::Code("c".to_owned())), "after {line}");
        }
    }

    #[test]
    fn a_callback_counts_once() {
        let rules = rules();
        let callback = request("GET /?code=c&state=st4te&session_state=x", HOST);
        assert_eq!(rules.judge(&callback), Verdict::Accept(Answer::Code("c".to_owned())));
        for line in [
            "GET /?code=c&state=st4te",
            "GET /?code=other&state=st4te",
            "GET /?error=e&state=st4te",
        ] {
            assert!(matches!(rules.judge(&request(line, HOST)), Verdict::Refuse(409, _)), "{line}");
        }
        rules.reopen();
        assert_eq!(rules.judge(&callback), Verdict::Accept(Answer::Code("c".to_owned())));
    }

    #[test]
    fn start_and_answers_of_this_login_are_taken() {
        let cookie = "kubectl-oidc-8000=C00kie; Path=/; Max-Age=180; HttpOnly; SameSite=Lax";
        for headers in [
            STRANGER,
            "host: LOCALHOST:8000\r\n",
            "Host: localhost:8000\r\nSec-Fetch-Mode: navigate\r\n",
        ] {
            let start = rules().judge(&request("GET /login/secret", headers));
            let want = Verdict::Start("https://i.example/auth".to_owned(), Some(cookie.to_owned()));
            assert_eq!(start, want, "{headers}");
        }
        // By another name of this machine: the cookie would not come back to the redirect URI.
        let rules_of_one = rules();
        let start = rules_of_one.judge(&request("GET /login/secret", "Host: 127.0.0.1:8000\r\n"));
        assert_eq!(start, Verdict::Move("http://localhost:8000/login/secret".to_owned()));
        let start = rules_of_one.judge(&request("GET /login/secret", STRANGER));
        assert!(matches!(start, Verdict::Start(_, Some(_))), "that was no start: {start:?}");
        let denied = Answer::Error {
            code: "access_denied".to_owned(),
            description: Some("no thanks".to_owned()),
        };
        let line = "GET /?error=access_denied&error_description=no+thanks&state=st4te";
        assert_eq!(rules().judge(&request(line, HOST)), Verdict::Accept(denied));
    }

    /// Whoever reads the address among another user's processes and is quicker gets the cookie; then the person's own browser
    /// comes, and the login is over before or after the stranger's answer.
    #[test]
    fn break_in_12_a_start_serves_one_browser() {
        let rules = rules();
        let start = |headers: &str| rules.judge(&request("GET /login/secret", headers));
        assert!(matches!(start(STRANGER), Verdict::Start(_, Some(_))));
        assert!(matches!(start(HOST), Verdict::Start(_, None)), "the same browser may begin again");
        assert!(!rules.is_contested());
        assert_eq!(start(STRANGER), Verdict::Contested);
        assert!(rules.is_contested());
        for line in ["GET /login/secret", "GET /?code=c&state=st4te"] {
            let verdict = rules.judge(&request(line, HOST));
            assert_eq!(verdict, Verdict::Refuse(409, CONTESTED), "{line}");
        }
        rules.reopen();
        assert!(rules.is_contested(), "for good");
    }

    #[test]
    fn an_issuer_that_promises_iss_must_send_it() {
        for (query, accepted) in [
            ("code=c&state=st4te", false),
            ("code=c&state=st4te&iss=https://i.example", true),
            ("code=c&state=st4te&iss=https://i.example&iss=https://i.example", false),
        ] {
            let verdict = rules_with(true).judge(&request(&format!("GET /?{query}"), HOST));
            assert_eq!(matches!(verdict, Verdict::Accept(_)), accepted, "{query}");
        }
    }
}
