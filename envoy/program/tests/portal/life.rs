//! How it ends, and what happens if Envoy ends by itself.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use crate::portal::{PATIENCE, Portal, terminate};

#[test]
fn told_to_end_it_ends_after_what_is_under_way() {
    let mut portal = Portal::start(&["--insecure-trust-header"]);
    assert_eq!(portal.generate("cooluser", "1h").0, 200);
    let body = r#"{"lifetime": "1h"}"#;
    let head = format!(
        "POST /generate HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nX-Forwarded-User: a\r\nContent-Length: {}\r\n\r\n",
        portal.address,
        body.len()
    );
    let mut under_way = TcpStream::connect(portal.address).unwrap();
    under_way.write_all(head.as_bytes()).unwrap();
    terminate(&portal.child);
    let start = Instant::now();
    while portal.admin("/ready").is_some_and(|answer| answer.contains("LIVE")) {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
    under_way.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("token"), "{answer}");
    let status = loop {
        if let Some(status) = portal.child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    assert!(TcpStream::connect(portal.address).is_err(), "Envoy has ended too");
}

#[test]
fn an_envoy_that_ends_by_itself_is_started_anew() {
    let portal = Portal::start(&["--insecure-trust-header"]);
    let token = portal.generate("cooluser", "1h").1;
    let start = Instant::now();
    while !portal.log().contains("the portal serves") {
        assert!(start.elapsed() < PATIENCE, "{}", portal.log());
        thread::sleep(Duration::from_millis(20));
    }
    let mut admin = UnixStream::connect(portal.folder.path().join("run/admin.sock")).unwrap();
    admin.write_all(b"POST /quitquitquit HTTP/1.1\r\nHost: admin\r\n\r\n").unwrap();
    while !portal.log().contains("it is started again")
        || !portal.admin("/ready").is_some_and(|answer| answer.contains("LIVE"))
    {
        assert!(start.elapsed() < PATIENCE, "{}", portal.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(portal.review("authentication.k8s.io/v1", &token).0, 200, "with the same keys");
}
