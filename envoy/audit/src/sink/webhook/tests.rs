//! Against a receiver that answers what it is told.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Sender as Told, channel},
};

use super::*;
use crate::event::Stage;

const LIMIT: Duration = Duration::from_secs(20);

/// A request: its head in lower case, and the ids of its events.
type Seen = (String, Vec<String>);

/// A receiver that answers with these statuses, then with 200, and tells what it saw.
fn receiver(statuses: &'static [u16]) -> (Remote, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, seen) = channel();
    thread::spawn(move || {
        let mut statuses = statuses.iter();
        for stream in listener.incoming() {
            serve(&stream.unwrap(), &mut statuses, &told);
        }
    });
    (remote(port), seen)
}

fn remote(port: u16) -> Remote {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let text = format!(
        "{{clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{port}/hook'}}}}],
          users: [{{name: u, user: {{token: secret}}}}]}}"
    );
    fs::write(&path, text).unwrap();
    Remote::read(&path, TIMEOUT).unwrap()
}

/// One request a connection.
fn serve(stream: &TcpStream, statuses: &mut std::slice::Iter<'_, u16>, told: &Told<Seen>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap() == 0 {
            return;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let list: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("EventList"), &json!("audit.k8s.io/v1"))
    );
    let ids = list["items"].as_array().unwrap().iter();
    let ids = ids.map(|event| event["auditID"].as_str().unwrap().to_owned()).collect();
    let status = statuses.next().unwrap_or(&200);
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .unwrap();
    let _ = told.send((head, ids));
}

fn events(ids: std::ops::Range<usize>) -> Vec<Event> {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    ids.map(|id| Event::new(id.to_string(), Stage::ResponseComplete, now, now)).collect()
}

fn quick() -> WebhookOptions {
    WebhookOptions {
        initial_backoff: Duration::from_millis(10),
        max_batch_wait: Duration::from_secs(60),
        ..WebhookOptions::default()
    }
}

#[test]
fn batches_go_when_they_are_full_or_flushed() {
    let (target, seen) = receiver(&[]);
    let mut webhook = Webhook::start(target, WebhookOptions { max_batch_size: 2, ..quick() });
    webhook.take(&events(0..3));
    let (head, ids) = seen.recv_timeout(LIMIT).unwrap();
    assert!(head.starts_with("post /hook http/1.1"), "{head}");
    assert!(head.contains("authorization: bearer secret"), "{head}");
    assert_eq!(ids, ["0", "1"]);
    webhook.flush();
    assert_eq!(seen.recv_timeout(LIMIT).unwrap().1, ["2"]);
    assert_eq!((webhook.counts().written(), webhook.counts().dropped()), (3, 0));
}

#[test]
fn a_batch_that_waits_long_enough_goes() {
    let (target, seen) = receiver(&[]);
    let options = WebhookOptions { max_batch_wait: Duration::from_millis(20), ..quick() };
    let mut webhook = Webhook::start(target, options);
    webhook.take(&events(0..1));
    assert_eq!(seen.recv_timeout(LIMIT).unwrap().1, ["0"]);
}

/// A receiver that is back after some failures has lost nothing; one that is not back in time has, and it is counted.
#[test]
fn failures_are_tried_again_and_then_counted() {
    for (statuses, tries, want) in
        [(&[500, 503, 404][..], 4, (1, 0)), (&[500, 500, 500, 500, 500][..], 5, (0, 1))]
    {
        let (target, seen) = receiver(statuses);
        let mut webhook = Webhook::start(target, WebhookOptions { max_batch_size: 1, ..quick() });
        webhook.take(&events(0..1));
        for _ in 0..tries {
            assert_eq!(seen.recv_timeout(LIMIT).unwrap().1, ["0"]);
        }
        webhook.flush();
        assert_eq!((webhook.counts().written(), webhook.counts().dropped()), want);
    }
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    // Nobody listens there; the first batch is in its pauses.
    let target = remote(9);
    let options = WebhookOptions {
        buffer_size: 5,
        max_batch_size: 1,
        initial_backoff: Duration::from_secs(3600),
        ..quick()
    };
    let mut webhook = Webhook::start(target, options);
    webhook.take(&events(0..100));
    let dropped = webhook.counts().dropped();
    // One is on its way or not yet: five or six found room.
    assert!((94..=95).contains(&dropped), "{dropped}");
    std::mem::forget(webhook);
}

#[test]
fn sizes_are_bounded() {
    let (target, seen) = receiver(&[]);
    let one = serde_json::to_string(&events(0..1)[0]).unwrap().len();
    let options =
        WebhookOptions { max_event_bytes: Some(one), max_batch_bytes: Some(2 * one), ..quick() };
    let mut webhook = Webhook::start(target, options);
    // The last one's id has two digits.
    webhook.take(&events(6..11));
    webhook.flush();
    let batches: Vec<_> = (0..2).map(|_| seen.recv_timeout(LIMIT).unwrap().1).collect();
    assert_eq!(batches, [["6", "7"], ["8", "9"]]);
    assert_eq!((webhook.counts().written(), webhook.counts().dropped()), (4, 1));
}

#[test]
fn the_throttle_lets_a_burst_pass_and_then_one_at_a_time() {
    let mut bucket = Bucket::new(Some(Throttle { qps: 100.0, burst: 3 }));
    let start = Instant::now();
    for _ in 0..3 {
        bucket.take();
    }
    let burst = start.elapsed();
    for _ in 0..10 {
        bucket.take();
    }
    let all = start.elapsed();
    assert!(
        burst < Duration::from_millis(90) && all >= Duration::from_millis(90),
        "{burst:?} {all:?}"
    );
    let mut free = Bucket::new(None);
    for _ in 0..1000 {
        free.take();
    }
}
