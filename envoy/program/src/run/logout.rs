//! Where issuers say that a session has ended: OpenID Connect Back-Channel Logout 1.0.
//!
//! Envoy leads requests for `logout.path` to a Unix socket that only this user opens. Whoever reaches the gateway may send one: what counts is
//! the logout token in it, which its issuer has signed. What it names is written into the Revocations, by which every replica ends it.

mod issuers;
mod rate;

use std::{
    convert::Infallible,
    fs, io,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use gateway_client::Connection;
use gateway_core::access::Revocation;
use go_compat::url::Url;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use kube_authn::logout::Logout;
use tokio::{net::UnixListener, runtime, task, time::timeout};
use tracing::{info, warn};

pub(super) use self::issuers::Issuers;
use self::rate::Rate;
use super::metrics::{Metric, Metrics};
use crate::access::{Place, Store};

/// How long a request may take until it is here.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same of a body that nobody looks at, because its sender has sent too many: a provider's comes with its head.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// Bytes of a body: more than any token that is read.
const MOST_BODY: usize = 64 << 10;
/// Bytes of what is no form that are read all the same.
const MOST_LEFT: usize = 1 << 20;
/// Logout tokens that are looked at at once: each may wait for an issuer, and for the API server. An issuer that answers slowly holds a quarter.
const MOST_AT_ONCE: usize = 64;
/// From so many entries on, a logout ends all logins of its subject: one entry, however often one user logs in and out.
const CROWDED: usize = 2_000;
/// Tokens are taken for a while behind their end, by clocks that are late.
const SLACK: Duration = Duration::from_secs(60);
/// Bytes of what the log says of a token, which anybody may have written.
const MOST_REASON: usize = 512;

/// Takes logout tokens.
pub(super) struct Listener {
    /// Whose tokens are taken.
    pub issuers: Issuers,
    /// Where it is written down, and the way there.
    pub place: Place,
    pub connection: Connection,
    pub metrics: Arc<Metrics>,
    /// For how long a portal's tokens may live on when their login has ended.
    pub outliving: Duration,
    pub rate: Rate,
    pub at_once: AtomicUsize,
    pub turn: Mutex<()>,
}

/// Why nothing was ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the request is no form with one logout_token")]
    Form,
    #[error("too many logout tokens")]
    TooMany,
    #[error("{0}")]
    Token(String),
    #[error("it could not be written down: {0}")]
    Failed(String),
}

impl Listener {
    /// For these issuers, with nothing under way.
    pub fn new(
        issuers: Issuers,
        place: Place,
        connection: Connection,
        metrics: Arc<Metrics>,
        outliving: Duration,
    ) -> Self {
        let (rate, at_once, turn) = (Rate::default(), AtomicUsize::new(0), Mutex::default());
        Self { issuers, place, connection, metrics, outliving, rate, at_once, turn }
    }
}

/// Serves until the program ends.
///
/// # Errors
/// If the socket cannot be had.
pub(super) fn serve(socket: &Path, listener: Listener) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let _ = fs::remove_file(socket);
    let accepting = {
        let _guard = runtime.enter();
        UnixListener::bind(socket)?
    };
    // The folder is this user's alone: nobody has come in between.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    let listener = Arc::new(listener);
    thread::spawn(move || runtime.block_on(accept(accepting, listener)));
    Ok(())
}

async fn accept(accepting: UnixListener, listener: Arc<Listener>) {
    loop {
        let Ok((client, _)) = accepting.accept().await else {
            // Out of open files, most likely: not a reason to spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let listener = Arc::clone(&listener);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let listener = Arc::clone(&listener);
                async move { Ok::<_, Infallible>(answer(listener, request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(client), service);
            let _ = connection.await;
        });
    }
}

async fn answer(listener: Arc<Listener>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let metrics = Arc::clone(&listener.metrics);
    let result = match take(listener, request).await {
        Ok(()) => {
            metrics.add(Metric::Logouts, ["ok", ""], 1);
            return empty(StatusCode::OK);
        }
        Err(refused) => refused,
    };
    let (word, status, error) = match &result {
        Refused::Failed(_) => ("failed", StatusCode::BAD_REQUEST, "server_error"),
        Refused::TooMany => ("too_many", StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable"),
        Refused::Form | Refused::Token(_) => {
            ("refused", StatusCode::BAD_REQUEST, "invalid_request")
        }
    };
    metrics.add(Metric::Logouts, [word, ""], 1);
    if !matches!(result, Refused::TooMany) {
        warn!("a logout token was not taken: {result}");
    }
    // As an error of OAuth (section 2.8). What is wrong with a token is for the log.
    let body =
        format!("{{\"error\":\"{error}\",\"error_description\":\"the gateway's log says why\"}}\n");
    let mut response = empty(status);
    *response.body_mut() = Full::new(Bytes::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

async fn take(listener: Arc<Listener>, request: Request<Incoming>) -> Result<(), Refused> {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let is_form = kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded");
    // Envoy's own word stands last.
    let address = headers.get_all("x-forwarded-for").iter().next_back();
    let address = address.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    let address: Option<IpAddr> = address.and_then(|address| address.trim().parse().ok());
    let mut body = request.into_body();
    // First of all: what is no form is a line of the log, too.
    let Some(turn) = listener.rate.turn(address) else {
        // Who sends too much holds nothing for long.
        let _ = timeout(IMPATIENCE, read(&mut body, false)).await;
        return Err(Refused::TooMany);
    };
    let read = timeout(PATIENCE, read(&mut body, is_form)).await;
    drop(turn);
    let body = read.ok().flatten().ok_or(Refused::Form)?;
    let token = token(&body).ok_or(Refused::Form)?;
    let busy = Busy::new(&listener).ok_or(Refused::TooMany)?;
    let done = task::spawn_blocking(move || busy.0.end(&token));
    done.await.unwrap_or_else(|_| Err(Refused::Failed("it was broken off".to_owned())))
}

/// Reads a form's body. What else came is read and left: a connection that closes over bytes that nobody read is a reset to Envoy, which then
/// answers 503 in the place of this server.
async fn read(body: &mut Incoming, is_form: bool) -> Option<Bytes> {
    if is_form && let Ok(read) = Limited::new(&mut *body, MOST_BODY).collect().await {
        return Some(read.to_bytes());
    }
    // More than that is nobody's mistake.
    let mut left = MOST_LEFT;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        left = left.checked_sub(bytes)?;
    }
    None
}

/// That a token is looked at, whatever comes of that.
struct Busy(Arc<Listener>);

impl Busy {
    /// None if too many are.
    fn new(listener: &Arc<Listener>) -> Option<Self> {
        let busy = Self(Arc::clone(listener));
        (listener.at_once.fetch_add(1, Ordering::AcqRel) < MOST_AT_ONCE).then_some(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Listener {
    fn end(&self, token: &str) -> Result<(), Refused> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_err(|error| Refused::Failed(error.to_string()))?;
        let (issuer, logout, lifetime) = self.issuers.verify(token, now)?;
        let lifetime = lasting(lifetime, self.outliving);
        let write = || {
            // One at a time: sixteen at once would be in each other's way, and some would end nothing.
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let store = Store::new(self.place.clone(), || Ok(self.connection.clone()))?;
            store.keeping_room().change(now.as_secs(), |entries| {
                let entry = entry(&issuer, &logout, now, lifetime, entries.len() >= CROWDED);
                add(entries, &entry);
                entry
            })
        };
        match write() {
            Ok((Revocation { sid, subject: sub, .. }, _)) => {
                info!(issuer, sid, sub, "an issuer has ended a login");
                Ok(())
            }
            Err(error) => {
                // It may come again: nothing has been ended.
                self.issuers.forget(&issuer, &logout.id);
                Err(Refused::Failed(error.to_string()))
            }
        }
    }
}

/// How long an entry lasts: an end before that of the last token would give access back.
fn lasting(configured: Duration, outliving: Duration) -> Duration {
    configured.max(outliving.saturating_add(SLACK))
}

/// A time since 1970, as documents have it.
pub(super) fn time(since: Duration) -> String {
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

pub(super) fn refused(mut why: String) -> Refused {
    let end = why.floor_char_boundary(MOST_REASON);
    if end < why.len() {
        why.truncate(end);
        why.push_str("...");
    }
    Refused::Token(why)
}

/// Adds an entry, unless one that is there ends the same for as long. What somebody wrote who ended more stays: who logs out at the provider must
/// not come back in by that.
pub(super) fn add(entries: &mut Vec<Revocation>, entry: &Revocation) {
    if entries.iter().any(|known| known.covers(entry)) {
        return;
    }
    entries.retain(|known| !entry.covers(known));
    entries.push(entry.clone());
}

/// A session where the token names one. Else all logins of the subject until then, so that a new one is let in; likewise where entries are many.
fn entry(
    issuer: &str,
    logout: &Logout,
    now: Duration,
    lifetime: Duration,
    is_crowded: bool,
) -> Revocation {
    let until = time(now.saturating_add(lifetime));
    let reason = "logged out at the provider".to_owned();
    let entry = Revocation { issuer: issuer.to_owned(), until, reason, ..Revocation::default() };
    match (&logout.session, &logout.subject) {
        (Some(session), subject) if subject.is_none() || !is_crowded => {
            Revocation { sid: session.clone(), ..entry }
        }
        (_, subject) => {
            // Times in tokens are whole seconds: a token of the same one has been ended, too.
            let issued_before = time(logout.issued_at.saturating_add(Duration::from_secs(1)));
            let subject = subject.clone().unwrap_or_default();
            Revocation { subject, issued_before, ..entry }
        }
    }
}

/// The only `logout_token` of a form.
fn token(form: &[u8]) -> Option<String> {
    let form = std::str::from_utf8(form).ok()?;
    // As the query of a URL: the same form (URL Standard, section 5.1).
    let url = Url::parse(&format!("/?{}", form.trim())).ok()?;
    let mut tokens = url.parameters().filter(|(name, _)| name == "logout_token");
    let (_, token) = tokens.next()?;
    (tokens.next().is_none() && !token.is_empty()).then_some(token)
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use gateway_client::{CredentialSource, Source};
    use gateway_config::Documents;
    use gateway_control::Probe;
    use serde_json::json;

    use super::*;
    use crate::run::view::View;

    /// A server of nobody's tokens.
    fn served(folder: &Path) -> std::path::PathBuf {
        let connection = Connection {
            host: "127.0.0.1".parse().unwrap(),
            port: 1,
            server_name: None,
            ca: None,
            credential: CredentialSource::Token(Source::Inline(Vec::new())),
        };
        let authentication = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [],
        });
        let documents = Documents::from_values(&authentication, None).unwrap();
        let view = Arc::new(Mutex::new(View::of(documents, &connection)));
        let (socket, nobody) = (folder.join("logout"), folder.join("probe"));
        let issuers = Issuers::new(view, Probe::new(&nobody));
        let place = Place::File(folder.join("revocations.yaml"));
        let listener = Listener::new(issuers, place, connection, Arc::default(), Duration::ZERO);
        serve(&socket, listener).unwrap();
        socket
    }

    /// Sends a request's head, and nothing of its body.
    fn begun(socket: &Path) -> UnixStream {
        let mut client = UnixStream::connect(socket).unwrap();
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";
        client.write_all(head.as_bytes()).unwrap();
        client
    }

    /// The answer, which does not come before the body.
    fn answered(client: &mut UnixStream) -> String {
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut answer = [0; 12];
        assert!(client.read(&mut answer).is_err(), "it was answered before its body came");
        client.write_all(b"{}").unwrap();
        status(client)
    }

    fn status(client: &mut UnixStream) -> String {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    }

    /// A server that answers and closes before it has read the body resets the connection: Envoy then says 503 in its place.
    #[test]
    fn what_is_no_form_is_answered_once_its_body_is_here() {
        let folder = tempfile::tempdir().unwrap();
        let socket = served(folder.path());
        assert_eq!(answered(&mut begun(&socket)), "HTTP/1.1 400");
    }

    /// Likewise what is one too many: a provider that saw 503 would not know that it has only to wait. But who sends slowly is not waited for.
    #[test]
    fn what_is_too_much_is_answered_once_its_body_is_here_if_that_is_soon() {
        let folder = tempfile::tempdir().unwrap();
        let socket = served(folder.path());
        let mut coming: Vec<_> = (0..8).map(|_| begun(&socket)).collect();
        let mut slow = begun(&socket);
        // Their heads have been read, so that all places are taken.
        assert_eq!(status(&mut slow), "HTTP/1.1 429");
        assert_eq!(answered(&mut begun(&socket)), "HTTP/1.1 429");
        assert_eq!(answered(&mut coming.pop().unwrap()), "HTTP/1.1 400");
        assert_eq!(answered(&mut begun(&socket)), "HTTP/1.1 400");
    }

    #[test]
    fn a_form_has_one_logout_token() {
        for (form, want) in [
            ("logout_token=a.b-c_d", Some("a.b-c_d")),
            ("logout_token=a%2Eb", Some("a.b")),
            ("x=1&logout_token=a&y=2", Some("a")),
            ("logout_token=a&logout_token=b", None),
            ("logout_token=", None),
            ("token=a", None),
            ("", None),
        ] {
            assert_eq!(token(form.as_bytes()).as_deref(), want, "{form}");
        }
        assert_eq!(token(b"logout_token=\xff"), None);
    }

    #[test]
    fn a_session_ends_alone_and_a_subject_may_log_in_again() {
        let (now, lifetime) = (Duration::from_secs(1_000_000_000), Duration::from_secs(3600));
        let logout = Logout {
            subject: Some("jane".to_owned()),
            session: Some("s1".to_owned()),
            id: "j".to_owned(),
            issued_at: now,
            expires_at: now,
        };
        let of_session = entry("https://i", &logout, now, lifetime, false);
        assert_eq!((of_session.sid.as_str(), of_session.subject.as_str()), ("s1", ""));
        assert_eq!(of_session.until, "2001-09-09T02:46:40Z");
        // Where there are many entries, all that a user does makes one.
        let of_all = entry("https://i", &logout, now, lifetime, true);
        assert_eq!((of_all.sid.as_str(), of_all.subject.as_str()), ("", "jane"));
        let nobodys = Logout { subject: None, ..logout.clone() };
        assert_eq!(entry("https://i", &nobodys, now, lifetime, true).sid, "s1");
        let of_subject = Logout { session: None, ..logout };
        let of_subject = entry("https://i", &of_subject, now, lifetime, false);
        assert_eq!((of_subject.sid.as_str(), of_subject.subject.as_str()), ("", "jane"));
        assert_eq!(of_subject.issued_before, "2001-09-09T01:46:41Z");
        for entry in [of_session, of_subject] {
            let document = gateway_core::access::Revocations {
                revocations: vec![entry],
                ..Default::default()
            };
            document.check().unwrap();
        }
    }

    /// A token that a portal made of the login for a week is not good again on the second day.
    #[test]
    fn an_entry_lasts_until_the_last_token_has_ended() {
        let (day, week) = (Duration::from_hours(24), Duration::from_hours(168));
        assert_eq!(lasting(day, Duration::ZERO), day);
        assert_eq!(lasting(day, week), week + SLACK);
        assert_eq!(lasting(2 * week, week), 2 * week);
    }

    /// An administrator has ended more, and for longer. A logout at the provider, which the user can bring about, must not undo that.
    #[test]
    fn who_was_revoked_does_not_come_back_by_logging_out() {
        let now = Duration::from_secs(1_000_000_000);
        let logout = Logout {
            subject: Some("jane".to_owned()),
            session: None,
            id: "j".to_owned(),
            issued_at: now,
            expires_at: now,
        };
        let of_subject =
            |logout: &Logout| entry("https://i", logout, now, Duration::from_secs(3600), false);
        let of_session = Logout { session: Some("s".to_owned()), ..logout.clone() };
        let (issuer, until) = ("https://i".to_owned(), "2027-01-01T00:00:00Z".to_owned());
        let revoked = Revocation { issuer, until, ..Revocation::default() };
        for (known, logout, kept) in [
            (Revocation { subject: "jane".to_owned(), ..revoked.clone() }, &logout, 1),
            (Revocation { sid: "s".to_owned(), ..revoked.clone() }, &of_session, 1),
            // It ends what was issued earlier, and for longer: neither covers the other.
            (
                Revocation {
                    subject: "jane".to_owned(),
                    issued_before: "2001-09-01T00:00:00Z".to_owned(),
                    ..revoked.clone()
                },
                &logout,
                2,
            ),
        ] {
            let mut entries = vec![known.clone()];
            add(&mut entries, &of_subject(logout));
            assert_eq!((entries.len(), &entries[0]), (kept, &known));
        }
        // One that comes late ends no less than one that came before.
        let late = Logout { issued_at: Duration::from_secs(999_999_700), ..logout.clone() };
        let mut entries = vec![of_subject(&logout)];
        add(&mut entries, &of_subject(&late));
        assert_eq!(entries, [of_subject(&logout)]);
        let newer = Logout { issued_at: now + Duration::from_secs(9), ..logout };
        add(&mut entries, &of_subject(&newer));
        assert_eq!(entries, [of_subject(&newer)]);
    }

    #[test]
    fn what_the_log_says_of_a_token_is_short() {
        let Refused::Token(why) = refused("é".repeat(10_000)) else { panic!() };
        assert!(why.len() < 600, "{}", why.len());
    }
}
