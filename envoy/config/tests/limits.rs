//! What inputs are refused, and what the limits add up to.

mod support;

use std::{path::Path, time::Duration};

use gateway_config::{Inputs, render};
use gateway_control::write;

/// With a connection window that is only the sum of its streams' windows, a hundred clients that stop reading hold up
/// everybody else on the same connection: seen with Envoy 1.40.
#[test]
fn readers_that_stop_do_not_hold_up_the_others() {
    for window in [65_535, 512 * 1024, 10 * 1024 * 1024] {
        let mut inputs = support::inputs(Path::new("/gateway"));
        inputs.options.limits.stream_window_bytes = window;
        let rendered = render(&inputs).unwrap();
        let clusters = support::parsed(&rendered, "clusters.yaml");
        let h2 = clusters["resources"][0]
            .pointer("/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/auto_config/http2_protocol_options")
            .unwrap();
        let number = |field: &str| h2[field].as_u64().unwrap();
        assert_eq!(number("initial_stream_window_size"), u64::from(window));
        assert_eq!(
            number("initial_connection_window_size"),
            2 * number("max_concurrent_streams") * number("initial_stream_window_size")
        );
    }
}

#[test]
fn inputs_that_cannot_work_are_refused() {
    type Spoil = fn(&mut Inputs);
    let cases: [(Spoil, &str); 10] = [
        (|i| i.options.concurrency = Some(0), "limit concurrency: 0 is not between 1 and 1024"),
        (|i| i.options.limits.connections = 0, "limit connections: 0"),
        (|i| i.options.limits.streams_per_connection = 0, "limit streams_per_connection: 0"),
        (|i| i.options.limits.heap_bytes = Some(1), "limit heap_bytes: 1"),
        (|i| i.options.limits.request_headers_kib = 9000, "limit request_headers_kib: 9000"),
        (|i| i.options.limits.stream_window_bytes = 1000, "limit stream_window_bytes: 1000"),
        (
            |i| i.options.limits.stream_window_bytes = 11 << 20,
            "limit stream_window_bytes: 11534336",
        ),
        // To Envoy a time of 0 is "for ever": a request whose VM died would never end.
        (
            |i| i.options.limits.undecided_timeout = Duration::ZERO,
            "limit undecided_timeout (ms): 0",
        ),
        (|i| i.admin_socket = Path::new("/").join("a".repeat(107)), "longer than 107 bytes"),
        // kube-apiserver passes over a block that is none; Envoy does not.
        (
            |i| {
                let bad = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
                let bundle = format!("{}{bad}", support::ISSUER_CA);
                let issuers = [("https://issuer.example", Some(bundle.as_str()))];
                i.documents = support::documents(&issuers, &serde_json::json!({}));
            },
            "issuer \"https://issuer.example\": its CA bundle is not a list of PEM certificates: ",
        ),
    ];
    for (spoil, want) in cases {
        let mut inputs = support::inputs(Path::new("/gateway"));
        spoil(&mut inputs);
        let got = render(&inputs).unwrap_err().to_string();
        assert!(got.contains(want), "{want}: {got}");
    }
}

#[test]
fn only_changed_files_are_written() {
    let root = tempfile::tempdir().unwrap();
    let mut inputs = support::inputs(root.path());
    let directory = inputs.directory.clone();
    let first = render(&inputs).unwrap();
    assert_eq!(write(&first, &directory).unwrap().len(), first.files().len());
    assert!(write(&first, &directory).unwrap().is_empty());
    let gateway =
        serde_json::json!({"clientImpersonation": "strip", "tokenReview": {"enabled": true}});
    inputs.documents = support::documents(&support::ISSUERS, &gateway);
    let second = render(&inputs).unwrap();
    let changed = [
        "secret-token-apiserver_review.yaml",
        "clusters.yaml",
        "routes.yaml",
        "filter-gateway.yaml",
    ];
    assert_eq!(write(&second, &directory).unwrap(), changed);
    let mut left: Vec<_> =
        directory.read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    let mut wanted: Vec<_> = second.files().iter().map(|file| file.name.as_str()).collect();
    wanted.sort_unstable();
    assert_eq!(left, wanted);
}
