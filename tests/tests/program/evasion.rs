//! Whatever a client sends, and however much of it: each request that gets an answer has its line and its event, of bounded size.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use gateway_audit::bounds;
use sandbox::program::kill;
use serde_json::Value;

use crate::harness::{Files, Frames, LIMIT, Outcome, Raw, Rig, again, block, indexed, until};

const POLICY: &str = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";
/// docs/audit.md: a request adds at most so many bytes to all logs together, and so many for each byte of its headers.
const FIXED: usize = 8 << 10;
const FACTOR: usize = 12;

/// A rig whose events go to the file `events` beside its configuration, or elsewhere.
fn rig(log: Option<&str>, more: &[&str]) -> (Rig, PathBuf) {
    let mut events = PathBuf::new();
    let flags = |files: &Files| {
        let folder = files.config.parent().unwrap();
        events = log.map_or_else(|| folder.join("events"), PathBuf::from);
        let policy = folder.join("policy.yaml");
        fs::write(&policy, POLICY).unwrap();
        let flags = [
            ("policy-file", policy.display().to_string()),
            ("log-path", events.display().to_string()),
        ];
        let flags = flags.map(|(name, value)| format!("--audit-{name}={value}"));
        flags.into_iter().chain(more.iter().map(ToString::to_string)).collect()
    };
    let rig = Rig::with(flags, true);
    (rig, events)
}

/// Values that a log must not be lost over, each with a name.
fn odd_values() -> Vec<(String, Vec<u8>)> {
    let mut values: Vec<(&str, Vec<u8>)> = [
        ("nothing", &b""[..]),
        ("no UTF-8", b"\xff\xfe\xff"),
        ("NUL", b"a\0b"),
        ("LF", b"a\nb"),
        ("CR", b"a\rb"),
        ("CRLF and a header", b"a\r\nx-forged: b"),
        ("tab", b"a\tb"),
        ("DEL", b"a\x7fb"),
        ("SOH", b"a\x01b"),
        ("escape sequence", b"\x1b[2J\x1b[31m"),
        ("quotes", b"\"\"'`"),
        ("backslashes", b"\\\\n\\u0000\\"),
        ("JSON", b"\",\"code\":999,\"user\":\"root\",\"x\":\""),
        ("a line of kube-oidc-proxy", b"] AuSuccess src:[1.1.1.1 / ] URI:/ inbound:[root / / ]"),
        ("a format of Envoy", b"%REQ(authorization)%"),
        ("percent", b"%00%0a%22%5c%ff"),
        ("bidi", "a\u{202e}b\u{2066}c".as_bytes()),
        ("line separator", "a\u{2028}b\u{2029}c\u{85}d".as_bytes()),
        ("lone surrogate", b"a\xed\xa0\x80b"),
        ("overlong", b"a\xc0\xaf\xe0\x80\xafb"),
        ("beyond Unicode", b"a\xf5\x80\x80\x80\xf4\x90\x80\x80b"),
        ("emoji", "\u{1f980}".as_bytes()),
    ]
    .map(|(name, value)| (name, value.to_vec()))
    .into();
    values.extend([
        ("1024", vec![b'x'; 1024]),
        ("1025", vec![b'x'; 1025]),
        ("cut in a character", "é".repeat(2000).into_bytes()),
        ("60 KiB", vec![b'x'; 60 << 10]),
        ("60 KiB of quotes", vec![b'"'; 60 << 10]),
        ("60 KiB of backslashes", vec![b'\\'; 60 << 10]),
        ("60 KiB of slashes", vec![b'/'; 60 << 10]),
        ("60 KiB of blanks within", [&b"a"[..], &vec![b' '; 60 << 10], b"b"].concat()),
        // What evaded the audit trail: sixfold in JSON, and a line beyond 1 MiB.
        ("176,000 of 0xff", vec![0xff; 176_000]),
        ("beyond all headers", vec![b'x'; 200 << 10]),
    ]);
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Where a client puts a value.
const HEADERS: [&str; 14] = [
    "user-agent",
    "host",
    "upgrade",
    "sec-websocket-protocol",
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-extra-x",
    "x-request-id",
    "audit-id",
    "x-forwarded-for",
    "authorization",
    "accept",
    "x-y",
];

/// A request by its parts.
#[derive(Clone)]
struct Parts {
    method: Vec<u8>,
    target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Parts {
    fn new(token: &str) -> Self {
        let headers = [("host", "localhost"), ("user-agent", "odd"), ("authorization", token)];
        Self {
            method: b"GET".to_vec(),
            target: b"/api/v1/namespaces/default/pods?limit=1".to_vec(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .into(),
        }
    }

    fn with(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_vec()));
        self
    }

    fn h1(&self) -> Vec<u8> {
        let mut text = [&self.method[..], b" ", &self.target, b" HTTP/1.1\r\n"].concat();
        for (name, value) in &self.headers {
            text.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
            if name == "upgrade" {
                text.extend(b"connection: upgrade\r\n");
            }
        }
        text.extend(b"\r\n");
        text
    }

    fn h2(&self) -> Vec<u8> {
        let (host, headers): (Vec<_>, Vec<_>) =
            self.headers.iter().partition(|(name, _)| name == "host");
        let mut all: Vec<(&str, &[u8])> =
            vec![(":method", &self.method), (":scheme", b"https"), (":path", &self.target)];
        all.extend(host.iter().map(|(_, value)| (":authority", &value[..])));
        all.extend(headers.iter().map(|(name, value)| (name.as_str(), &value[..])));
        block(&all)
    }
}

/// Requests with every odd value in every place.
fn odd_requests(token: &str) -> Vec<(String, Parts)> {
    let plain = Parts::new(token);
    let mut requests = vec![("plain".to_owned(), plain.clone())];
    for (name, value) in odd_values() {
        let mut add =
            |place: &str, parts: Parts| requests.push((format!("{place}: {name}"), parts));
        for header in HEADERS {
            let value = match header {
                "authorization" => [b"Bearer ", &value[..]].concat(),
                _ => value.clone(),
            };
            add(header, plain.clone().with(header, &value));
        }
        add("header's name", plain.clone().with(&String::from_utf8_lossy(&value), b"a"));
        add("method", Parts { method: value.clone(), ..plain.clone() });
        for (place, before, after) in [
            ("target", &b""[..], &b""[..]),
            ("path", b"/", b""),
            ("resource", b"/api/v1/", b"?watch=0"),
            ("name", b"/api/v1/namespaces/default/pods/", b"/log"),
            ("namespace", b"/api/v1/namespaces/", b"/secrets/a"),
            ("query", b"/version?", b""),
            ("field selector", b"/api/v1/pods?fieldSelector=metadata.name%3D", b""),
        ] {
            let target = [before, &value, after].concat();
            add(place, Parts { target, ..plain.clone() });
        }
    }
    requests
}

/// What Envoy's codec has something to say of.
fn bad_requests(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let good = Parts::new(token).h1();
    let head = |line: &str, more: &str| {
        format!("{line}\r\nauthorization: {token}\r\n{more}\r\n").into_bytes()
    };
    vec![
        ("no host", head("GET / HTTP/1.1", "x-request-id: evil\r\n")),
        (
            "no host, an id",
            head("GET / HTTP/1.1", "x-request-id: a83aac15-e140-4740-ad2a-389c6cfe7c81\r\n"),
        ),
        ("two hosts", head("GET / HTTP/1.1", "host: a\r\nhost: b\r\n")),
        ("HTTP/1.0", head("GET / HTTP/1.0", "x-request-id: evil\r\n")),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec()),
        ("HTTP/9.9", head("GET / HTTP/9.9", "host: a\r\n")),
        ("lower case", head("get / HTTP/1.1", "host: a\r\n")),
        ("no target", head("GET HTTP/1.1", "host: a\r\n")),
        ("OPTIONS *", head("OPTIONS * HTTP/1.1", "host: a\r\n")),
        ("CONNECT", head("CONNECT a:1 HTTP/1.1", "host: a\r\n")),
        ("absolute", head("GET http://a/version HTTP/1.1", "host: a\r\n")),
        ("fragment", head("GET /version#a HTTP/1.1", "host: a\r\n")),
        (
            "two lengths",
            head("GET / HTTP/1.1", "host: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n"),
        ),
        (
            "length and chunks",
            head(
                "GET / HTTP/1.1",
                "host: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n",
            ),
        ),
        ("no length", head("POST / HTTP/1.1", "host: a\r\ncontent-length: x\r\n")),
        ("unknown coding", head("POST / HTTP/1.1", "host: a\r\ntransfer-encoding: x\r\n")),
        (
            "bad chunk",
            head("POST /version HTTP/1.1", "host: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        ),
        ("blank in a name", head("GET / HTTP/1.1", "host: a\r\na b: c\r\n")),
        ("folded", head("GET / HTTP/1.1", "host: a\r\nx: a\r\n b\r\n")),
        ("300 headers", head("GET / HTTP/1.1", &format!("host: a\r\n{}", "x: y\r\n".repeat(300)))),
        ("no HTTP", b"\x16\x03\x01\x02\x00\r\n\r\n".to_vec()),
        ("no HTTP, long", [&[b'x'; 70_000][..], b"\r\n\r\n"].concat()),
        ("half a head, long", [&good[..good.len() - 2], b"a: ", &[b'x'; 250_000]].concat()),
    ]
}

/// Tokens with claims that are long and odd, as the issuer signs them.
fn odd_tokens(rig: &Rig) -> Vec<(String, String)> {
    let mut tokens = Vec::new();
    for (name, value) in odd_values() {
        let Ok(value) = String::from_utf8(value) else { continue };
        if value.len() > 30 << 10 {
            continue;
        }
        let user = rig.token().claim("preferred_username", value.as_str()).mint();
        let groups = rig.token().claim("groups", [value.as_str(), "b"].as_slice()).mint();
        tokens.push((format!("user name: {name}"), user));
        tokens.push((format!("group: {name}"), groups));
    }
    for (name, count, group) in
        [("many groups", 900, "g".repeat(36)), ("long groups", 20, "\"".repeat(1100))]
    {
        let groups: Vec<_> = (0..count).map(|number| format!("{group}{number}")).collect();
        let groups: Vec<_> = groups.iter().map(String::as_str).collect();
        tokens.push((name.to_owned(), rig.token().claim("groups", groups.as_slice()).mint()));
    }
    let name = "\\".repeat(20 << 10);
    tokens.push((
        "long user name".to_owned(),
        rig.token().claim("preferred_username", name.as_str()).mint(),
    ));
    tokens
}

fn h1_requests(rig: &Rig, bearer: &str) -> Vec<(String, Vec<u8>)> {
    let odd = odd_requests(bearer).into_iter().map(|(name, parts)| (name, parts.h1()));
    let bad = bad_requests(bearer).into_iter().map(|(name, request)| (name.to_owned(), request));
    let tokens = odd_tokens(rig).into_iter();
    let tokens = tokens.map(|(name, token)| (name, Parts::new(&format!("Bearer {token}")).h1()));
    odd.chain(bad).chain(tokens).collect()
}

/// A connection from a port that no other came from, by which its line is found.
fn fresh<T>(sent: &BTreeMap<u16, Sent>, open: impl Fn() -> T, port: impl Fn(&T) -> u16) -> T {
    loop {
        let connection = open();
        if !sent.contains_key(&port(&connection)) {
            return connection;
        }
    }
}

/// A request that was sent.
struct Sent {
    name: String,
    bytes: usize,
    answered: bool,
}

#[test]
fn break_in_3_each_request_has_its_line_and_its_event_of_bounded_size() {
    let (mut rig, events) = rig(None, &[]);
    let token = rig.token().mint();
    let bearer = format!("Bearer {token}");
    // By the port that it came from.
    let mut sent: BTreeMap<u16, Sent> = BTreeMap::new();
    for (name, request) in h1_requests(&rig, &bearer) {
        let mut raw = fresh(&sent, || Raw::open(&rig, "http/1.1"), |raw| raw.port);
        let answered = raw.ask(&request).is_some();
        sent.insert(raw.port, Sent { name: format!("h1, {name}"), bytes: request.len(), answered });
    }
    for (name, parts) in odd_requests(&bearer) {
        let request = parts.h2();
        let mut frames = fresh(&sent, || Frames::open(&rig), Frames::port);
        let answered = frames.ask(&request) == Outcome::Answered;
        let name = format!("h2, {name}");
        sent.insert(frames.port(), Sent { name, bytes: request.len(), answered });
    }
    let cut = ["access_log_lines", "audit_events"]
        .map(|what| rig.metric(&format!("gateway_{what}_truncated_total")));
    let lost = [
        "gateway_access_log_lines_dropped_total",
        "gateway_audit_lines_unread_total",
        "gateway_audit_gaps_total",
        "gateway_audit_events_total{output=\"file\",result=\"dropped\"}",
    ];
    let lost = lost.map(|name| (name, rig.metric(name)));
    // Everything is written when the program has ended.
    rig.program.terminate().unwrap();
    assert!(rig.program.wait(LIMIT).unwrap().success());

    let log = fs::read(rig.program.log()).unwrap();
    let mut lines: BTreeMap<u16, Vec<(Value, usize)>> = BTreeMap::new();
    for line in log.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        assert!(line.len() < bounds::LINE, "{} bytes", line.len());
        let read: Value = serde_json::from_slice(line)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)));
        let port = read["peer"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        lines.entry(port).or_default().push((read, line.len()));
    }
    let mut stages: BTreeMap<String, Vec<(String, usize)>> = BTreeMap::new();
    for line in fs::read(&events).unwrap().split(|byte| *byte == b'\n').filter(|it| !it.is_empty())
    {
        assert!(line.len() < bounds::LINE, "{} bytes", line.len());
        let event: Value = serde_json::from_slice(line).unwrap();
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        let agent = event["userAgent"].as_str().unwrap_or_default();
        assert!(agent.len() <= 1024 + bounds::CUT.len());
        stages.entry(text("auditID")).or_default().push((text("stage"), line.len()));
    }

    let (mut ids, mut faults, mut unanswered) = (BTreeSet::new(), Vec::new(), Vec::new());
    let (mut longest_line, mut longest_event, mut most) = (0, 0, 0.0_f64);
    for (port, Sent { name, bytes, answered }) in &sent {
        let own = lines.remove(port).unwrap_or_default();
        let [(line, length)] = &own[..] else {
            if own.is_empty() && !answered {
                unanswered.push(name);
            } else {
                faults.push(format!("{name}: {} lines", own.len()));
            }
            continue;
        };
        let id = line["auditID"].as_str().unwrap_or_default();
        if id.len() != 36 || !ids.insert(id.to_owned()) {
            faults.push(format!("{name}: audit id {id:?}"));
        }
        let events = stages.remove(id).unwrap_or_default();
        let shown: Vec<_> = events.iter().map(|(stage, _)| stage.as_str()).collect();
        let complete = ["RequestReceived", "ResponseComplete"];
        let lasting = ["RequestReceived", "ResponseStarted", "ResponseComplete"];
        if shown != complete && shown != lasting && shown != ["ResponseStarted"] {
            faults.push(format!("{name}: events {shown:?}"));
        }
        longest_line = longest_line.max(*length);
        longest_event = events.iter().map(|(_, length)| *length).fold(longest_event, usize::max);
        let written = length + events.iter().map(|(_, length)| length).sum::<usize>();
        if written > FIXED + FACTOR * bytes {
            faults.push(format!("{name}: {written} bytes of logs for {bytes}"));
        }
        if *bytes > 16 << 10 {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let factor = written as f64 / *bytes as f64;
            most = most.max(factor);
        }
    }
    println!(
        "{} requests; longest line {longest_line}, longest event {longest_event}; a long request's bytes came {most:.1} times; \
         without an answer and without a line: {unanswered:#?}",
        sent.len()
    );
    println!("cut: {cut:?}; lost: {lost:?}");
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    assert!(sent.len() > 1000);
    assert!(cut.iter().all(|count| *count > 50.0), "{cut:?}");
    assert!(lost.iter().all(|(_, count)| *count < 1.0), "{lost:?}");
    // Ports that no request of these came from: none of the lines is a second one of theirs.
    assert!(lines.values().flatten().all(|(line, _)| line["userAgent"] != "odd"), "{lines:#?}");
    assert!(!log.windows(token.len()).any(|it| it == token.as_bytes()), "a token was written");
}

/// HTTP/2 lets a request name headers that it sent before: the bound is that of the connection's table, 4 KiB.
#[test]
fn break_in_3_a_request_of_a_few_bytes_adds_no_more_than_is_said() {
    /// docs/audit.md
    const MOST: usize = 64 << 10;
    let (mut rig, events) = rig(None, &[]);
    let bearer = format!("Bearer {}", rig.token().mint());
    let room = 4096 - bearer.len() - 32 * 4 - 200;
    let target = [&b"/api/v1/namespaces/"[..], &vec![b'"'; room - 1100]].concat();
    let headers: [(&str, &[u8]); 6] = [
        (":method", b"GET"),
        (":scheme", b"https"),
        (":authority", b"localhost"),
        (":path", &target),
        ("user-agent", &[b'"'; 1024]),
        ("authorization", bearer.as_bytes()),
    ];
    let mut frames = Frames::open(&rig);
    assert_eq!(frames.ask(&indexed(&headers)), Outcome::Answered);
    let count = 200;
    let request = again(6);
    for _ in 0..count {
        assert_eq!(frames.ask(&request), Outcome::Answered, "the table holds all of them");
    }
    drop(frames);
    rig.program.terminate().unwrap();
    assert!(rig.program.wait(LIMIT).unwrap().success());
    let log = fs::read(rig.program.log()).unwrap();
    let own = log.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{"));
    let own: Vec<_> = own.map(<[u8]>::len).collect();
    assert!(own.len() > count);
    let written = own.iter().sum::<usize>() + fs::read(&events).unwrap().len();
    let each = written / count;
    println!("{} bytes on the wire, {each} bytes of logs", request.len() + 9);
    assert!(each < MOST, "{each}");
}

/// Nobody has to end anything to see that something is lost.
#[test]
fn break_in_3_losses_are_counted_while_they_happen() {
    let (rig, _) = rig(Some("/dev/full"), &[]);
    let token = rig.token().mint();
    let get = || {
        let url = format!("{}/version", rig.url());
        rig.agent().get(url).header("authorization", format!("Bearer {token}")).call()
    };
    assert_eq!(get().unwrap().status(), 200);
    until("lost events are counted", || {
        let dropped = rig.metric("gateway_audit_events_total{output=\"file\",result=\"dropped\"}");
        (dropped >= 2.0).then_some(())
    });
    assert!(rig.metric("gateway_audit_gaps_total") < 1.0);
    kill(rig.envoy()).unwrap();
    until("the gap is counted", || {
        (rig.metric("gateway_audit_gaps_total{cause=\"envoy\"}") >= 1.0).then_some(())
    });
    until("Envoy serves again", || get().ok().filter(|answer| answer.status() == 200));
}
