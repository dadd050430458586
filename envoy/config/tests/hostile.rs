//! No input leaves its place: whatever it holds, the files have the same shape and hold it whole.

mod support;

use std::path::{Path, PathBuf};

use gateway_config::{Credential, Inputs, RenderError, render};
use serde_json::{Value, json};

/// What YAML, the template engine, JSON and Envoy's formats give a meaning to.
const HOSTILE: &str = r#"x": {y}}} {{ files }} {% raw %} {# #} ' " \ \" - a: &b *c !d | > # e, [f] %REQ(authorization)% ~ null ${g}"#;
/// Line breaks of YAML 1.1, other planes, an invisible one.
const ODD: &str = "\u{85}\u{2028}\u{2029}\u{feff}\u{1f600}\u{10ffff}é\u{7f}";

const PLAIN: &str = "plain";

/// A way to put text into one input.
type Put = fn(&mut Inputs, &str);

const PATHS: [(&str, Put); 9] = [
    ("directory", |i, text| i.directory = path(text)),
    ("chain", |i, text| i.serving.chain = path(text)),
    ("key", |i, text| i.serving.key = path(text)),
    ("apiserver CA", |i, text| i.apiserver.ca = Some(path(text))),
    ("token", |i, text| i.apiserver.credential = Credential::Token(path(text))),
    ("system CA", |i, text| i.system_ca = path(text)),
    ("filter", |i, text| i.options.filter = path(text)),
    ("connections filter", |i, text| i.options.connections_filter = Some(path(text))),
    ("access log", |i, text| i.access_log = path(text)),
];

fn path(text: &str) -> PathBuf {
    Path::new("/d").join(text).join("f")
}

#[test]
fn paths_stay_in_their_places() {
    for (name, put) in PATHS {
        assert_same_shape(name, put, HOSTILE);
        // No control character among these: U+0085 and U+007F are.
        assert_same_shape(name, put, "\u{2028}\u{2029}\u{feff}\u{1f600}\u{10ffff}é");
    }
    let socket: Put = |i, text| i.admin_socket = path(text);
    for part in HOSTILE.as_bytes().chunks(60) {
        assert_same_shape("admin socket", socket, std::str::from_utf8(part).unwrap());
    }
}

#[test]
fn documents_stay_in_their_places() {
    let configuration: Put = |i, text| {
        let shared =
            json!({"sharedSecret": {"audience": format!("a{text}"), "secretFiles": ["/s"]}});
        i.documents = support::documents(&support::ISSUERS, &shared);
    };
    let bundle: Put = |i, text| {
        let bundle = format!("{text}\n{}", support::ISSUER_CA);
        i.documents = support::documents(&[("https://issuer.example", Some(&bundle))], &json!({}));
    };
    for text in [HOSTILE, ODD, "a\nb: c\r\n--- \n...\n\t- d", "", " ", "\0\u{1}\u{1b}[2J"] {
        assert_same_shape("plugin configuration", configuration, text);
        assert_same_shape("CA bundle", bundle, text);
    }
}

#[test]
fn paths_that_cannot_be_written_are_refused() {
    for text in ["a\nb", "a\0b", "a\u{85}b", "a\tb"] {
        for (name, put) in PATHS {
            let mut inputs = support::inputs(Path::new("/d"));
            put(&mut inputs, text);
            assert!(matches!(render(&inputs), Err(RenderError::BadPath { .. })), "{name} {text:?}");
        }
    }
    let mut inputs = support::inputs(Path::new("relative"));
    inputs.admin_socket = "/a".into();
    assert!(matches!(render(&inputs), Err(RenderError::BadPath { .. })));
}

/// Renders with a plain text and with a hostile one: every value that holds the plain one holds the hostile one in its place,
/// every other is the same.
fn assert_same_shape(name: &str, put: Put, hostile: &str) {
    let [plain_files, hostile_files] = [PLAIN, hostile].map(|text| {
        let mut inputs = support::inputs(Path::new("/d"));
        put(&mut inputs, text);
        render(&inputs).unwrap_or_else(|error| panic!("{name} {text:?}: {error}"))
    });
    let mut places = 0;
    for file in plain_files.files() {
        let plain = support::parsed(&plain_files, &file.name);
        let other = support::parsed(&hostile_files, &file.name);
        places += compare(&format!("{name}: {}", file.name), &plain, &other, hostile);
    }
    assert!(places > 0, "{name} is nowhere");
}

/// Compares two values and counts the places in which they differ as they should.
fn compare(at: &str, plain: &Value, other: &Value, hostile: &str) -> usize {
    match (plain, other) {
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{at}: {other}");
            a.iter()
                .zip(b.values())
                .map(|((k, a), b)| compare(&format!("{at}.{k}"), a, b, hostile))
                .sum()
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{at}: {other}");
            a.iter().zip(b).map(|(a, b)| compare(at, a, b, hostile)).sum()
        }
        // The name of a cluster is the hash of its CA bundle.
        (Value::String(a), Value::String(b)) if a.starts_with("issuers_") => {
            assert!(b.starts_with("issuers_") && b.len() == a.len(), "{at}: {b:?}");
            0
        }
        // The filter's configuration.
        (Value::String(a), Value::String(b)) if a.starts_with('{') => {
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            compare(at, &read(a), &read(b), hostile)
        }
        (Value::String(a), Value::String(b)) if a.contains(PLAIN) => {
            assert_eq!(*b, a.replace(PLAIN, hostile), "{at}");
            1
        }
        (a, b) => {
            assert_eq!(a, b, "{at}");
            0
        }
    }
}
