//! The socket at which the filter asks for the documents.

use std::{
    convert::Infallible, fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, thread,
    time::Duration,
};

use gateway_core::access::PATH;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AGE, CONTENT_TYPE, ETAG, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::UnixListener, runtime};

use super::{Answer, Holder};

/// How long a head may take.
const HEADERS: Duration = Duration::from_secs(5);

/// Serves until the program ends.
///
/// # Errors
/// If the socket cannot be had.
pub(crate) fn serve(socket: &Path, holder: Arc<Holder>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let _ = fs::remove_file(socket);
    let listener = {
        let _guard = runtime.enter();
        UnixListener::bind(socket)?
    };
    // The folder is this user's alone: nobody has come in between.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    thread::spawn(move || runtime.block_on(accept(listener, holder)));
    Ok(())
}

async fn accept(listener: UnixListener, holder: Arc<Holder>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of open files, most likely: not a reason to spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let holder = Arc::clone(&holder);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = respond(&holder, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(client), service);
            let _ = connection.await;
        });
    }
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
