//! The socket at which the filter asks for the documents, and the portal for what it is asked of grants and of sessions.

use std::{
    convert::Infallible, fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, thread,
    time::Duration,
};

use gateway_core::access::PATH;
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AGE, CONTENT_TYPE, ETAG, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{net::UnixListener, runtime, sync::Semaphore, task};

use super::{Answer, Holder};

/// What paths of questions about grants begin with.
pub(crate) const GRANTS: &str = "/grants/";
/// What paths of questions about sessions begin with.
pub(crate) const SESSIONS: &str = "/sessions/";
/// Bytes of such a question.
const MOST_QUESTION: usize = 128 << 10;

/// Questions about grants of callers at once: each may wait for the API server, in a thread. Those of administrators are not counted.
const MOST_AT_ONCE: usize = 32;
/// What paths of administrators' questions begin with.
const ADMIN: &str = "/grants/admin/";

/// Answers questions about grants and sessions: of a path and a JSON document, with a code of HTTP and one.
pub(crate) type Office = Arc<dyn Fn(&str, &[u8]) -> (u16, Value) + Send + Sync>;

/// How long a head may take.
const HEADERS: Duration = Duration::from_secs(5);

/// Serves until the program ends.
///
/// # Errors
/// If the socket cannot be had.
pub(crate) fn serve(socket: &Path, holder: Arc<Holder>, office: Office) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let _ = fs::remove_file(socket);
    let listener = {
        let _guard = runtime.enter();
        UnixListener::bind(socket)?
    };
    // The folder is this user's alone: nobody has come in between.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    thread::spawn(move || runtime.block_on(accept(listener, holder, office)));
    Ok(())
}

async fn accept(listener: UnixListener, holder: Arc<Holder>, office: Office) {
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of open files, most likely: not a reason to spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (holder, office, places) =
            (Arc::clone(&holder), Arc::clone(&office), Arc::clone(&places));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let path = request.uri().path();
                let is_asked = path.starts_with(GRANTS) || path.starts_with(SESSIONS);
                let office = is_asked.then(|| Arc::clone(&office));
                let answer = office.is_none().then(|| respond(&holder, &request));
                let places = Arc::clone(&places);
                async move {
                    Ok::<_, Infallible>(match (office, answer) {
                        (Some(office), _) => ask(office, places, request).await,
                        (None, answer) => answer.unwrap_or_default(),
                    })
                }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(client), service);
            let _ = connection.await;
        });
    }
}

/// Asks the office, which may have to wait for the API server.
async fn ask(
    office: Office,
    places: Arc<Semaphore>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let path = request.uri().path().to_owned();
    let body = Limited::new(request.into_body(), MOST_QUESTION).collect().await;
    let Ok(body) = body.map(Collected::to_bytes) else {
        return empty(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let is_counted = path.starts_with(GRANTS) && !path.starts_with(ADMIN);
    let answer = match is_counted.then(|| places.try_acquire_owned()).transpose() {
        Err(_) => {
            Ok((429, json!({"error": "too many steps at a time: try again in some seconds"})))
        }
        // The place is the thread's, which goes on if nobody waits for it any more.
        Ok(place) => {
            let done = task::spawn_blocking(move || {
                let _place = place;
                office(&path, &body)
            });
            done.await
        }
    };
    let Ok((status, document)) = answer else { return empty(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn respond(holder: &Holder, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let Some(version) = target.strip_prefix(PATH) else {
        return empty(StatusCode::NOT_FOUND);
    };
    if request.method() != Method::GET {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let (mut response, age) = match holder.answer(version) {
        Answer::Unread => return empty(StatusCode::SERVICE_UNAVAILABLE),
        Answer::Unchanged { age } => (empty(StatusCode::NOT_MODIFIED), age),
        Answer::Changed { version, age, body } => {
            let mut response = Response::new(Full::new(Bytes::from(body)));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Ok(version) = HeaderValue::from_str(&format!("\"{version}\"")) {
                headers.insert(ETAG, version);
            }
            (response, age)
        }
    };
    response.headers_mut().insert(AGE, HeaderValue::from(age.as_secs()));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
        sync::{Condvar, Mutex},
    };

    use super::*;

    /// Asks, and does not wait for the answer.
    fn asked(socket: &Path, path: &str) -> UnixStream {
        let mut client = UnixStream::connect(socket).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{{}}");
        client.write_all(head.as_bytes()).unwrap();
        client
    }

    fn status(mut client: UnixStream) -> String {
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    }

    /// Each of them waits for the API server in a thread. Who ends a loan by hand is not kept out, nor a logout, and a place is free again after it.
    #[test]
    fn so_many_steps_are_taken_at_once_and_others_have_places_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("access");
        let (gate, begun) =
            (Arc::new((Mutex::new(false), Condvar::new())), Arc::new(Mutex::new(0)));
        let office: Office = {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            Arc::new(move |path, _| {
                if path == "/grants/ask" {
                    *begun.lock().unwrap() += 1;
                    let is_open = gate.0.lock().unwrap();
                    drop(gate.1.wait_while(is_open, |is_open| !*is_open).unwrap());
                }
                (200, Value::Null)
            })
        };
        serve(&socket, Holder::new(&[], Arc::default()), office).unwrap();
        let waiting: Vec<_> = (0..MOST_AT_ONCE).map(|_| asked(&socket, "/grants/ask")).collect();
        while *begun.lock().unwrap() < MOST_AT_ONCE {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(status(asked(&socket, "/grants/ask")), "HTTP/1.1 429");
        for path in ["/grants/admin/end", "/sessions/end"] {
            assert_eq!(status(asked(&socket, path)), "HTTP/1.1 200", "{path}");
        }
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        for client in waiting {
            assert_eq!(status(client), "HTTP/1.1 200");
        }
        assert_eq!(status(asked(&socket, "/grants/ask")), "HTTP/1.1 200");
        assert_eq!(*begun.lock().unwrap(), MOST_AT_ONCE + 1);
    }
}
