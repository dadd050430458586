//! Causes that the rendered configuration does not bring about: those of an Envoy that somebody configured otherwise, and the one that
//! takes longer than any other.

use std::{fs, net::TcpStream, os::unix::fs::PermissionsExt, path::Path};

use gateway_config::{Issuer, cluster_name};
use oidc_provider::{Config, Provider};
use sandbox::Authority;
use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::{
    Broken, assert_logged, assert_named, begin, issuer, what_kubectl_prints_is_documented,
};
use crate::harness::{Files, cluster};

pub const CAUSES: [&str; 5] =
    ["connect_timeout", "connection_failed", "no_cluster", "overflow", "envoy"];

/// A port at which nobody arrives, as behind a firewall: its queue of one is full, and the kernel drops whoever comes.
struct Full {
    socket: Socket,
    _first: TcpStream,
}

impl Full {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { _first: TcpStream::connect(address).unwrap(), socket }
    }

    fn url(&self) -> String {
        format!("https://{}", self.socket.local_addr().unwrap().as_socket().unwrap())
    }
}

/// An issuer that answers as it should, by a cluster of its own.
fn good(cause: &'static str, detail: &'static str) -> Broken {
    let provider = Provider::start(Config::of(issuer())).unwrap();
    // One more CA in the bundle makes it another one.
    let more = Authority::new(cause).unwrap();
    Broken {
        cause,
        url: provider.issuer().url().to_owned(),
        ca: format!("{}{}", provider.ca_pem(), more.pem()),
        detail,
        _provider: Some(provider),
    }
}

/// What somebody changed about the cluster of an issuer, as commands of sed for clusters.yaml.
fn edit(broken: &Broken) -> Option<String> {
    /// Somebody's own answer.
    const FILTER: &str = r#"- {name: envoy.filters.http.lua, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, default_source_code: {inline_string: "function envoy_on_request(it) it:respond({[':status'] = '503'}, 'not today') end"}}}"#;
    let change = match broken.cause {
        "overflow" => "s/max_requests: 64/max_requests: 0/".to_owned(),
        "no_cluster" => "s/^  name: .*/  name: renamed/".to_owned(),
        "envoy" => {
            format!("s|^      - name: envoy.filters.http.upstream_codec|      {FILTER}\\n&|")
        }
        _ => return None,
    };
    let name = cluster_name(&Issuer {
        url: broken.url.clone(),
        discovery_url: broken.url.clone(),
        certificate_authority: Some(broken.ca.clone()),
        proxied: false,
    });
    Some(format!("/^  name: \"{name}\"/,/upstream_codec.v3/ {change}\n"))
}

/// A program in Envoy's place that changes Envoy's files before it becomes Envoy.
fn altering(folder: &Path, broken: &[Broken]) -> String {
    let edits = folder.join("clusters.sed");
    fs::write(&edits, broken.iter().filter_map(edit).collect::<String>()).unwrap();
    let script = format!(
        "#!/bin/sh -e\n\
         cd {run} 2>/dev/null && test -e clusters.yaml && {{\n\
         sed -i -f {edits} clusters.yaml\n\
         sed -i 's/\\(hide_transport_failure_reason_in_response_body\\): false/\\1: true/' envoy.yaml\n\
         }}\n\
         exec {envoy} \"$@\"\n",
        run = folder.join("run/envoy").display(),
        edits = edits.display(),
        envoy = cluster().assets().envoy.display(),
    );
    let path = folder.join("envoy");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    format!("--envoy-binary={}", path.display())
}

#[test]
fn the_causes_of_an_envoy_that_somebody_changed_are_named_too() {
    let full = Full::new();
    let closed = sandbox::Port::reserve().unwrap();
    let broken = [
        Broken::nobody("connect_timeout", full.url(), "no connection in time: connection timeout"),
        // Why, this Envoy keeps for itself.
        Broken::nobody(
            "connection_failed",
            format!("https://{}", closed.address()),
            "the connection failed: remote connection failure",
        ),
        good("no_cluster", "Envoy has no cluster for it: \"issuers_"),
        good("overflow", "too many callouts are under way: overflow"),
        good("envoy", "Envoy did not make the callout: HTTP 503: not today"),
    ];
    assert_eq!(broken.each_ref().map(|it| it.cause), CAUSES);
    // An answer may take longer than a connection: what does not come about is the connection.
    let key_sets = json!({"timeoutSeconds": 12});
    let rig = begin(&broken, &key_sets, |files: &Files| {
        vec![altering(files.config.parent().unwrap(), &broken)]
    });
    // An answer of Envoy's own that comes at once, Envoy gives to nobody, and the cause is `no_address`, which says so. That of a filter is told
    // while the issuer's name is looked up, and no more. An overflow is told while there is no connection: beside an idle one it comes at once.
    let [lasting @ .., overflow, of_a_filter] = &broken;
    assert_logged(&rig, overflow);
    assert_logged(&rig, of_a_filter);
    assert_named(&rig, lasting);
    what_kubectl_prints_is_documented(&rig, lasting);
}
