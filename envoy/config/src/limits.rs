//! Sizes and times of the rendered configuration, with the defaults that serve a cluster of 5,000 open watches.

use std::time::Duration;

/// Sizes and times. A field's documentation gives its default and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once; more are closed at once. 20,000: each `kubectl get -w` is one, and takes 55 KiB of memory.
    pub connections: u64,
    /// Client connections of one address (IPv6: of one /64) on which nobody has signed in yet; more are closed at once. 1,000, and
    /// 0 for no limit. Each worker counts its own and gets its share, if the number of workers is given.
    pub undecided_connections_per_address: u32,
    /// How long a connection may stay on which nobody has signed in. 30 s: longer than a handshake and a request that waits.
    pub undecided_connection_timeout: Duration,
    /// Requests at once on one HTTP/2 connection of a client. 100, as kube-apiserver: clients open another connection.
    pub streams_per_connection: u32,
    /// Memory that Envoy may take before it sheds load (it refuses new requests at 93 %), in bytes; `None` for no limit,
    /// the default. About 85 % of the container's memory limit is a good value: V8 takes some outside of this count.
    pub heap_bytes: Option<u64>,
    /// All headers of a request, in KiB. 192: above the filter's own cap for a token, so that the filter can explain.
    pub request_headers_kib: u32,
    /// Header lines of a request. 200: `kubectl --as-group` many times over. Envoy's 100 would be a bare stream reset.
    pub request_headers: u32,
    /// What Envoy holds of a connection's data before it stops reading, in bytes. 256 KiB.
    pub buffer_bytes: u32,
    /// HTTP/2 flow control window of a stream, in bytes: what a client that stopped reading costs, and what a fast one
    /// gets in one round trip. 512 KiB. What a client sends has half of its connection's window, if that is less.
    pub stream_window_bytes: u32,
    /// HTTP/2 flow control window of a client's connection, in bytes: what all its requests that wait may cost together. 512 KiB:
    /// its half, 256 KiB, is what kube-apiserver gives a stream (most objects fit in), and one that is not read keeps no other
    /// from sending. Towards kube-apiserver it is twice the sum of the windows of
    /// all streams.
    pub connection_window_bytes: u32,
    /// From a connection to the end of its TLS handshake. 10 s.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its headers. 10 s.
    pub request_headers_timeout: Duration,
    /// How long a request may wait for the filter's decision. 15 s: it must exceed the filter's own deadline for keys,
    /// and is what ends a request whose VM died.
    pub undecided_timeout: Duration,
    /// How long a watch, log or exec may be silent. 24 h: kube-apiserver has no such limit, and the kubelet ends a silent
    /// exec after 4 h by itself. Dead connections are found by keepalives long before.
    pub stream_idle_timeout: Duration,
    /// How long a client's connection may stay open without a request. 5 min: longer than the 90 s of Go's clients,
    /// which therefore never write on a connection that is being closed.
    pub connection_idle_timeout: Duration,
    /// From the first packet to kube-apiserver or an issuer to the end of the TLS handshake. 5 s.
    pub connect_timeout: Duration,
    /// How long, while draining, a connection may go on after it was told to go away. 5 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            undecided_connections_per_address: 1_000,
            undecided_connection_timeout: Duration::from_secs(30),
            streams_per_connection: 100,
            heap_bytes: None,
            request_headers_kib: 192,
            request_headers: 200,
            buffer_bytes: 256 * 1024,
            stream_window_bytes: 512 * 1024,
            connection_window_bytes: 512 * 1024,
            handshake_timeout: Duration::from_secs(10),
            request_headers_timeout: Duration::from_secs(10),
            undecided_timeout: Duration::from_secs(15),
            stream_idle_timeout: Duration::from_hours(24),
            connection_idle_timeout: Duration::from_mins(5),
            connect_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
        }
    }
}
