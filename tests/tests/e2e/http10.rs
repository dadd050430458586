//! HTTP/1.0, which proxies still speak by their defaults: nginx and `HAProxy` before the gateway, and what a client could make of it.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use sandbox::{Port, audit::Stage};
use serde_json::json;

use crate::{
    harness::{cluster, until},
    target::{Target, USER},
    wire::{Answer, Connection},
};

static TARGET: LazyLock<Target> =
    LazyLock::new(|| Target::start(&json!({"clientImpersonation": "strip"})));

/// By which requests are found in the API server's log.
const AGENT: &str = "http10";

/// A good token, once it is taken.
static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let token = TARGET.token().expires_in(3600).mint();
    TARGET.identity(&token);
    token
});

/// Sends bytes and reads the first answer.
fn asked(bytes: &str) -> Answer {
    let mut connection = Connection::open(&TARGET.gateway).unwrap();
    connection.send(bytes.as_bytes()).unwrap();
    connection.answer().unwrap()
}

#[test]
fn requests_are_served_and_guarded_as_those_of_http_1_1() {
    let token = &*TOKEN;
    let bearer = format!("User-Agent: {AGENT}\r\nAuthorization: Bearer {token}\r\n");
    let review = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let post = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.0";
    let json = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", review.len());
    for (case, request, status) in [
        ("no host", format!("GET /version HTTP/1.0\r\n{bearer}\r\n"), 200),
        ("a host", format!("GET /version HTTP/1.0\r\nHost: a\r\n{bearer}\r\n"), 200),
        ("a body", format!("{post}\r\n{bearer}{json}\r\n{review}"), 201),
        ("no token", "GET /version HTTP/1.0\r\n\r\n".to_owned(), 401),
        (
            "somebody else",
            format!(
                "GET /version HTTP/1.0\r\n{bearer}Impersonate-User: admin\r\nImpersonate-Uid: 1\r\n\r\n"
            ),
            200,
        ),
    ] {
        let mark = cluster().audit().mark().unwrap();
        let answer = asked(&request);
        assert_eq!(answer.status, status, "{case}: {answer:?}");
        if status == 401 {
            assert_eq!(answer.json()["kind"], "Status", "{case}");
        }
        let events = cluster().audit().since(mark).unwrap();
        let answered = events
            .iter()
            .filter(|event| event.user_agent == AGENT && event.stage == Stage::ResponseComplete);
        for event in answered {
            let user = event.impersonated_user.as_ref().map(|user| user.username.as_str());
            assert_eq!(user, Some(USER), "{case}: {event:?}");
        }
    }
}

/// What follows on a connection is a request of its own, with its own login; and bodies end where everybody sees them end.
#[test]
fn nothing_is_smuggled_by_http_1_0() {
    let token = &*TOKEN;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let next = "GET /version?smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (case, head, first) in [
        (
            "kept open",
            format!("GET /version HTTP/1.0\r\nConnection: keep-alive\r\n{bearer}\r\n"),
            200,
        ),
        ("closed", format!("GET /version HTTP/1.0\r\n{bearer}\r\n"), 200),
        (
            "chunks",
            format!(
                "POST /version HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n{bearer}\r\n0\r\n\r\n"
            ),
            400,
        ),
        (
            "chunks and a length",
            format!(
                "POST /version HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n{bearer}\r\n0\r\n\r\n"
            ),
            400,
        ),
        (
            "an upgrade",
            format!(
                "GET /api/v1/namespaces/default/pods/any/exec?command=id HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n{bearer}\r\n"
            ),
            0,
        ),
    ] {
        let mark = cluster().audit().mark().unwrap();
        let mut connection = Connection::open(&TARGET.gateway).unwrap();
        connection.send(format!("{head}{next}").as_bytes()).unwrap();
        let answer = connection.answer().unwrap();
        if first > 0 {
            assert_eq!(answer.status, first, "{case}: {answer:?}");
        } else {
            assert!(answer.status >= 400, "{case}: {answer:?}");
        }
        // Without a login of its own it is refused, if anybody reads it at all.
        if let Ok(answer) = connection.answer() {
            assert!([400, 401].contains(&answer.status), "{case}: {answer:?}");
        }
        let events = cluster().audit().since(mark).unwrap();
        let smuggled = events.iter().find(|event| event.request_uri.contains("smuggled"));
        assert_eq!(smuggled, None, "{case}");
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")))
}

fn through(port: &Port, token: &str, path: &str) -> String {
    until("the proxy listens", || TcpStream::connect(port.address()).ok());
    let mut command = Command::new("curl");
    command.args(["--silent", "--include", "--max-time", "30"]);
    command.arg("--header").arg(format!("authorization: Bearer {token}"));
    let output = command.arg(format!("http://{}{path}", port.address())).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// nginx speaks HTTP/1.0 to what `proxy_pass` names, unless `proxy_http_version` says otherwise.
#[test]
fn nginx_by_its_defaults_is_served() {
    let token = &*TOKEN;
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve().unwrap());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "daemon off; master_process off; pid {pid}; error_log {log}; events {{}} http {{ access_log off;
           client_body_temp_path {t}; proxy_temp_path {t}; fastcgi_temp_path {t}; uwsgi_temp_path {t}; scgi_temp_path {t};
           server {{ listen {address}; location / {{ proxy_pass https://127.0.0.1:{gateway}; }} }} }}",
        pid = path("pid"),
        log = path("log"),
        t = path("temporary"),
        address = port.address(),
        gateway = TARGET.gateway.port(),
    );
    let file = write(folder.path(), "nginx.conf", &text);
    let nginx = run("nginx", &["-c", &file]);
    let answer = through(&port, token, "/version");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("gitVersion"), "{answer}");
    let answer = through(&port, "x", "/version");
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("\"Status\""), "{answer}");
    drop(nginx);
    assert!(TcpStream::connect(port.address()).is_err(), "a worker of nginx's lives on");
}

/// `HAProxy`'s `option httpchk` asks by HTTP/1.0 without a host; a login it has none, so that 401 is what a living gateway says.
#[test]
fn haproxy_s_checks_are_answered() {
    let token = &*TOKEN;
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve().unwrap());
    let text = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend f\n  bind {}\n  default_backend b\n\
         backend b\n  option httpchk GET /readyz\n  http-check expect status 401\n  \
         server s 127.0.0.1:{} ssl verify none check inter 200ms\n",
        port.address(),
        TARGET.gateway.port(),
    );
    let file = write(folder.path(), "haproxy.cfg", &text);
    let _haproxy = run("haproxy", &["-db", "-f", &file]);
    until("a server that passes its checks", || {
        through(&port, token, "/version").starts_with("HTTP/1.1 200 ").then_some(())
    });
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file.display().to_string()
}
