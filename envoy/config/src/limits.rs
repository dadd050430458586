//! Sizes and times of the rendered configuration, with the defaults that serve a cluster of 5,000 open watches.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::{
    duration::{duration, in_seconds},
    upstream::STREAMS,
};

/// Twice the sum of all streams' windows must fit into the connection's, 2^31 - 1 (RFC 9113, section 6.9.1).
const MAX_STREAM_WINDOW: u64 = ((1 << 31) - 1) / (2 * STREAMS as u64);

/// Sizes and times. Each is a flag; what is not given has its default.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Client connections at once; more are closed at once. Each `kubectl get -w` is one, and takes 55 KiB of memory
    #[arg(long = "max-connections", value_name = "N", default_value_t = Self::default().connections)]
    pub connections: u64,
    /// Connections of one address (IPv6: /64) on which nobody has signed in yet, over all workers; more are closed at once; 0 for no limit, as behind a balancer whose address all clients share
    #[arg(long = "max-undecided-connections-per-address", value_name = "N", default_value_t = Self::default().undecided_connections_per_address)]
    pub undecided_connections_per_address: u32,
    /// How long a connection may stay on which nobody has signed in: longer than a handshake and a request that waits
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    #[serde(serialize_with = "in_seconds")]
    pub undecided_connection_timeout: Duration,
    /// Requests at once on one HTTP/2 connection of a client: as kube-apiserver; clients open another connection
    #[arg(long = "max-streams-per-connection", value_name = "N", default_value_t = Self::default().streams_per_connection)]
    pub streams_per_connection: u32,
    /// Memory that Envoy may take before it sheds load (it refuses new requests at 93 %); `run` without it takes 85 % of the container's [default: no limit]
    #[arg(long = "max-heap-bytes", value_name = "BYTES")]
    pub heap_bytes: Option<u64>,
    /// All headers of a request together: above the filter's own cap for a token, which is one of them, so that the filter can explain
    #[arg(long = "max-request-headers-kib", value_name = "KIB", default_value_t = Self::default().request_headers_kib)]
    pub request_headers_kib: u32,
    /// Header lines of a request: `kubectl --as-group` many times over
    #[arg(long = "max-request-headers", value_name = "N", default_value_t = Self::default().request_headers)]
    pub request_headers: u32,
    /// What is held of a connection's data before it is read no further
    #[arg(long, value_name = "BYTES", default_value_t = Self::default().buffer_bytes)]
    pub buffer_bytes: u32,
    /// HTTP/2 window of a stream: the cost of a client that stopped reading. What a client sends has half of its connection's window, if that is less
    #[arg(long, value_name = "BYTES", default_value_t = Self::default().stream_window_bytes)]
    pub stream_window_bytes: u32,
    /// HTTP/2 window of a client's connection: what all its requests that wait may cost together. Its half is what kube-apiserver gives a stream, and one that is not read keeps no other from sending
    #[arg(long, value_name = "BYTES", default_value_t = Self::default().connection_window_bytes)]
    pub connection_window_bytes: u32,
    /// From a connection to the end of its TLS handshake
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    #[serde(serialize_with = "in_seconds")]
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its headers
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    #[serde(serialize_with = "in_seconds")]
    pub request_headers_timeout: Duration,
    /// How long a request may wait for the filter's decision: longer than the filter's own deadline for keys; it is what ends a request whose VM died
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    #[serde(serialize_with = "in_seconds")]
    pub undecided_timeout: Duration,
    /// How long a watch, log or exec may be silent: the kubelet ends a silent exec after 4 h by itself, and dead connections are found by keepalives long before
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    #[serde(serialize_with = "in_seconds")]
    pub stream_idle_timeout: Duration,
    /// How long a client's connection may stay open without a request: longer than the 90 s of Go's clients, which therefore never write on one that is being closed
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    #[serde(serialize_with = "in_seconds")]
    pub connection_idle_timeout: Duration,
    /// How long a client's connection may last before the client is asked to open another one, so that new replicas behind a balancer get their share; what is under way on it goes on; 0s for no limit
    #[arg(long = "max-connection-duration", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    #[serde(serialize_with = "in_seconds")]
    pub connection_duration: Duration,
    /// From the first packet to kube-apiserver to the end of the TLS handshake; an issuer has 10 s, if keySets.timeoutSeconds allows it
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    #[serde(serialize_with = "in_seconds")]
    pub connect_timeout: Duration,
    /// How long, while draining, a connection may go on after it was told to go away
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    #[serde(serialize_with = "in_seconds")]
    pub drain_timeout: Duration,
}

impl Limits {
    /// Whether connections are counted by address.
    #[must_use]
    pub fn counts_connections(&self) -> bool {
        self.undecided_connections_per_address > 0
    }

    /// What each must be within. The ranges are those of Envoy's API, tightened where a value would shut everybody out.
    pub(crate) fn bounds(&self) -> impl IntoIterator<Item = Bound> {
        const MIB: u64 = 1024 * 1024;
        // A time of 0 would mean "for ever" to Envoy.
        let time = |name, time: Duration, most| {
            let value = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            Bound { name, value, least: 1, most }
        };
        let bound = |name, value, least, most| Bound { name, value, least, most };
        let share = self.undecided_connections_per_address;
        let undecided = self.undecided_connection_timeout.as_secs();
        [
            bound("connections", self.connections, 1, u64::from(u32::MAX)),
            bound("undecided_connections_per_address", share.into(), 0, u64::MAX),
            bound("undecided_connection_timeout (s)", undecided, 1, 86_400),
            bound("streams_per_connection", self.streams_per_connection.into(), 1, 10_000),
            bound("heap_bytes", self.heap_bytes.unwrap_or(64 * MIB), 64 * MIB, u64::MAX >> 1),
            bound("request_headers_kib", self.request_headers_kib.into(), 8, 8192),
            bound("request_headers", self.request_headers.into(), 20, 10_000),
            bound("buffer_bytes", self.buffer_bytes.into(), 16 * 1024, 1024 * MIB),
            bound(
                "stream_window_bytes",
                self.stream_window_bytes.into(),
                65_535,
                MAX_STREAM_WINDOW,
            ),
            bound(
                "connection_window_bytes",
                self.connection_window_bytes.into(),
                65_535,
                1024 * MIB,
            ),
            time("handshake_timeout (ms)", self.handshake_timeout, u64::MAX),
            time("request_headers_timeout (ms)", self.request_headers_timeout, u64::MAX),
            time("undecided_timeout (ms)", self.undecided_timeout, 600_000),
            time("stream_idle_timeout (ms)", self.stream_idle_timeout, u64::MAX),
            time("connection_idle_timeout (ms)", self.connection_idle_timeout, u64::MAX),
            time("connect_timeout (ms)", self.connect_timeout, u64::MAX),
            time("drain_timeout (ms)", self.drain_timeout, u64::MAX),
        ]
    }
}

/// What a limit must be within.
#[derive(Debug)]
pub(crate) struct Bound {
    pub name: &'static str,
    pub value: u64,
    pub least: u64,
    pub most: u64,
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
            connection_duration: Duration::ZERO,
            connect_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    #[test]
    fn who_gives_no_flag_has_the_defaults() {
        let matches = Limits::augment_args(Command::new("a")).get_matches_from(["a"]);
        assert_eq!(Limits::from_arg_matches(&matches).unwrap(), Limits::default());
    }
}
