//! Clusters that carry the credential.

use gateway_lint::Rule;
use serde_json::json;

use super::{CLUSTERS, Case, HOST, OPTIONS, ROUTES};

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn broken() -> Vec<Case> {
    vec![
        (
            Rule::NoDoor,
            "in-cluster",
            |files| {
                let filters = format!("/resources/0{OPTIONS}/http_filters");
                files.list(CLUSTERS, &filters).remove(0);
            },
            "clusters.yaml: resources[0]",
        ),
        // Behind the injector it is no door, and under another name it is no upstream filter.
        (
            Rule::NoDoor,
            "in-cluster",
            |files| {
                let filters = format!("/resources/1{OPTIONS}/http_filters");
                files.list(CLUSTERS, &filters).swap(0, 1);
            },
            "clusters.yaml: resources[1]",
        ),
        (
            Rule::OpenDoor,
            "in-cluster",
            |files| {
                let policy = format!(
                    "/resources/0{OPTIONS}/http_filters/0/typed_config/rules/policies/impersonating"
                );
                files.set(CLUSTERS, &policy, "permissions", json!([{"any": true}]));
            },
            "policies.impersonating",
        ),
        (
            Rule::OpenDoor,
            "authorize-own-token",
            |files| {
                let matcher = format!(
                    "/resources/1{OPTIONS}/http_filters/0/typed_config/rules/policies/impersonating/principals/0/filter_state/string_match"
                );
                files.set(CLUSTERS, &matcher, "exact", json!("own-token"));
            },
            "policies.impersonating",
        ),
        (
            Rule::LenientInjector,
            "in-cluster",
            |files| {
                let config = format!("/resources/0{OPTIONS}/http_filters/1/typed_config");
                files.set(CLUSTERS, &config, "allow_request_without_credential", json!(true));
            },
            "http_filters[1].typed_config",
        ),
        (
            Rule::LenientInjector,
            "in-cluster",
            |files| {
                let generic = format!(
                    "/resources/0{OPTIONS}/http_filters/1/typed_config/credential/typed_config"
                );
                files.set(CLUSTERS, &generic, "header", json!("x-token"));
            },
            "http_filters[1].typed_config",
        ),
        (
            Rule::LenientInjector,
            "certificates",
            |files| {
                let filters = format!("/resources/0{OPTIONS}/http_filters");
                files
                    .list(CLUSTERS, &filters)
                    .retain(|it| it["name"] != "envoy.filters.http.header_mutation");
            },
            "clusters.yaml: resources[0]",
        ),
        // A client certificate is a credential as a token is.
        (
            Rule::NoDoor,
            "certificates",
            |files| {
                let filters = format!("/resources/0{OPTIONS}/http_filters");
                files.list(CLUSTERS, &filters).remove(0);
            },
            "clusters.yaml: resources[0]",
        ),
        // Chosen by what is said of an endpoint.
        (
            Rule::UpstreamTrust,
            "in-cluster",
            |files| {
                let plain = json!({"name": "plain", "match": {}, "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
                }});
                files.set(CLUSTERS, "/resources/0", "transport_socket_matches", json!([plain]));
            },
            "transport_socket_matches[0]",
        ),
        (
            Rule::UpstreamTrust,
            "in-cluster",
            |files| {
                let context = "/resources/0/transport_socket/typed_config/common_tls_context/combined_validation_context/default_validation_context";
                files.remove(CLUSTERS, context, "match_typed_subject_alt_names");
            },
            "transport_socket.typed_config",
        ),
        (
            Rule::UpstreamTrust,
            "authorize-own-token",
            |files| files.remove(CLUSTERS, "/resources/2", "transport_socket"),
            "clusters.yaml: resources[2]",
        ),
        // Impersonating upgrades, with a certificate and with a token, and those with the client's own.
        (
            Rule::OneRequest,
            "certificates",
            |files| {
                let options = format!("/resources/1{OPTIONS}/common_http_protocol_options");
                files.remove(CLUSTERS, &options, "max_requests_per_connection");
            },
            "clusters.yaml: resources[1]",
        ),
        (
            Rule::OneRequest,
            "in-cluster",
            |files| {
                files.remove(
                    CLUSTERS,
                    &format!("/resources/1{OPTIONS}"),
                    "common_http_protocol_options",
                );
            },
            "clusters.yaml: resources[1]",
        ),
        (
            Rule::OneRequest,
            "authorize-own-token",
            |files| {
                let options = format!("/resources/4{OPTIONS}/common_http_protocol_options");
                files.set(CLUSTERS, &options, "max_requests_per_connection", json!(2));
            },
            "clusters.yaml: resources[4]",
        ),
        // What speaks either with whoever is there speaks HTTP/1.1, too.
        (
            Rule::OneRequest,
            "in-cluster",
            |files| {
                let options = format!("/resources/0{OPTIONS}");
                files.remove(CLUSTERS, &options, "auto_config");
                files.set(CLUSTERS, &options, "use_downstream_protocol_config", json!({}));
            },
            "clusters.yaml: resources[0]",
        ),
        // By what the handshake agrees on, and for upgrades too.
        (
            Rule::OneRequest,
            "in-cluster",
            |files| files.remove(ROUTES, &format!("{HOST}/routes/2/match"), "headers"),
            "clusters.yaml: resources[0]",
        ),
        (
            Rule::Breakers,
            "in-cluster",
            |files| files.remove(CLUSTERS, "/resources/0", "circuit_breakers"),
            "clusters.yaml: resources[0]",
        ),
        (
            Rule::Streams,
            "in-cluster",
            |files| {
                let http2 = format!("/resources/0{OPTIONS}/auto_config/http2_protocol_options");
                files.remove(CLUSTERS, &http2, "max_concurrent_streams");
            },
            "auto_config.http2_protocol_options",
        ),
    ]
}
