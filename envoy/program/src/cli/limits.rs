//! Flags for [`Limits`].

use std::time::Duration;

use clap::Args;
use gateway_config::{Limits, duration};

/// One flag for each field of [`Limits`]; what is not given has its default.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// Client connections at once [default: 20000]
    #[arg(long, value_name = "N")]
    max_connections: Option<u64>,
    /// Connections of one address (IPv6: /64) on which nobody has signed in yet; 0 for no limit, as behind a balancer whose address all clients share [default: 1000]
    #[arg(long, value_name = "N")]
    max_undecided_connections_per_address: Option<u32>,
    /// How long a connection may stay on which nobody has signed in [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    undecided_connection_timeout: Option<Duration>,
    /// Requests at once on one HTTP/2 connection of a client [default: 100]
    #[arg(long, value_name = "N")]
    max_streams_per_connection: Option<u32>,
    /// Memory that Envoy may take before it sheds load; `run` without it takes 85 % of the container's [default: no limit]
    #[arg(long, value_name = "BYTES")]
    max_heap_bytes: Option<u64>,
    /// All headers of a request together; the token is one of them [default: 192]
    #[arg(long, value_name = "KIB")]
    max_request_headers_kib: Option<u32>,
    /// Header lines of a request [default: 200]
    #[arg(long, value_name = "N")]
    max_request_headers: Option<u32>,
    /// What is held of a connection's data before it is read no further [default: 262144]
    #[arg(long, value_name = "BYTES")]
    buffer_bytes: Option<u32>,
    /// HTTP/2 window of a stream: the cost of a client that stopped reading [default: 524288]
    #[arg(long, value_name = "BYTES")]
    stream_window_bytes: Option<u32>,
    /// HTTP/2 window of a client's connection [default: 524288]
    #[arg(long, value_name = "BYTES")]
    connection_window_bytes: Option<u32>,
    /// From a connection to the end of its TLS handshake [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    handshake_timeout: Option<Duration>,
    /// From the first byte of a request to the end of its headers [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    request_headers_timeout: Option<Duration>,
    /// How long a request may wait for the filter's decision [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    undecided_timeout: Option<Duration>,
    /// How long a watch, log or exec may be silent [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    stream_idle_timeout: Option<Duration>,
    /// How long a client's connection may stay open without a request [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    connection_idle_timeout: Option<Duration>,
    /// How long a connection to kube-apiserver or an issuer may take [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    connect_timeout: Option<Duration>,
    /// How long, while draining, a connection may go on after it was told to go away [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    drain_timeout: Option<Duration>,
}

impl From<LimitFlags> for Limits {
    fn from(flags: LimitFlags) -> Self {
        let default = Self::default();
        Self {
            connections: flags.max_connections.unwrap_or(default.connections),
            undecided_connections_per_address: flags
                .max_undecided_connections_per_address
                .unwrap_or(default.undecided_connections_per_address),
            undecided_connection_timeout: flags
                .undecided_connection_timeout
                .unwrap_or(default.undecided_connection_timeout),
            streams_per_connection: flags
                .max_streams_per_connection
                .unwrap_or(default.streams_per_connection),
            heap_bytes: flags.max_heap_bytes.or(default.heap_bytes),
            request_headers_kib: flags
                .max_request_headers_kib
                .unwrap_or(default.request_headers_kib),
            request_headers: flags.max_request_headers.unwrap_or(default.request_headers),
            buffer_bytes: flags.buffer_bytes.unwrap_or(default.buffer_bytes),
            stream_window_bytes: flags.stream_window_bytes.unwrap_or(default.stream_window_bytes),
            connection_window_bytes: flags
                .connection_window_bytes
                .unwrap_or(default.connection_window_bytes),
            handshake_timeout: flags.handshake_timeout.unwrap_or(default.handshake_timeout),
            request_headers_timeout: flags
                .request_headers_timeout
                .unwrap_or(default.request_headers_timeout),
            undecided_timeout: flags.undecided_timeout.unwrap_or(default.undecided_timeout),
            stream_idle_timeout: flags.stream_idle_timeout.unwrap_or(default.stream_idle_timeout),
            connection_idle_timeout: flags
                .connection_idle_timeout
                .unwrap_or(default.connection_idle_timeout),
            connect_timeout: flags.connect_timeout.unwrap_or(default.connect_timeout),
            drain_timeout: flags.drain_timeout.unwrap_or(default.drain_timeout),
        }
    }
}
