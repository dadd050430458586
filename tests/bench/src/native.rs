//! Envoy with native filters only: the files that the program renders, with other filters in place of ours.
//!
//! Listener, TLS, limits, access log and clusters stay as they are. The identity's headers are written by the route, the
//! cheapest way that Envoy has, and are those that the gateway writes for the clients' token.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use gateway_config::{Inputs, Options, Rendered, render};
use gateway_control::write;
use sandbox::Port;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{
    chains::Beside,
    client,
    process::Server,
    world::{CLIENT, GROUPS, SUBJECT, USER, World, crowd},
};

/// What decides on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decides {
    /// Nothing: every request is the same user's.
    Nothing,
    /// Nothing: every request is the same user's, who is in a thousand groups.
    Crowd,
    /// Nothing, after so many seconds: what a request that waits costs Envoy by itself.
    Late(u32),
    /// Envoy's own filter for JSON Web Tokens, with or without its cache.
    Jwt {
        /// Whether tokens that were verified are remembered.
        cache: bool,
    },
}

/// How many groups the virtual host adds; the route configuration has the others. Envoy refuses a list of more than a thousand headers,
/// and then has no route at all.
const MOST_HEADERS: usize = 500;

/// A running Envoy.
pub struct Native {
    process: Server,
    port: Port,
    ca: String,
    log: PathBuf,
    _folder: TempDir,
}

impl Native {
    /// Starts one beside a gateway.
    pub fn start(world: &World, beside: &Beside, decides: Decides, gates: bool) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let port = Port::reserve()?;
        let inputs = Inputs {
            directory: folder.path().join("envoy"),
            options: Options { listen: port.address(), ..beside.inputs.options.clone() },
            admin_socket: folder.path().join("admin.sock"),
            access_log: folder.path().join("access.log"),
            ..beside.inputs.clone()
        };
        let rendered = render(&inputs)?;
        write(&rendered, &inputs.directory)?;
        let token = world.service_account_token()?;
        change(&inputs.directory.join("envoy.yaml"), |file| {
            filters(file, world, decides, gates);
        })?;
        change(&inputs.directory.join("routes.yaml"), |file| {
            let groups = if decides == Decides::Crowd {
                crowd()
            } else {
                GROUPS.map(str::to_owned).to_vec()
            };
            routes(file, gates, &token, &groups);
        })?;
        change(&inputs.directory.join("clusters.yaml"), |file| clusters(file, gates))?;
        let mut command = Command::new(&world.envoy);
        command.args(rendered.arguments(&inputs.directory)).envs(Rendered::environment());
        // Its listener is there when the routes and the certificate are.
        let address = port.address();
        let log = folder.path().join("log");
        let process = Server::start_within(world.patience, command, &log, || {
            std::net::TcpStream::connect(address).is_ok()
        })?;
        Ok(Self { process, port, ca: beside.ca.clone(), log, _folder: folder })
    }

    /// Envoy's log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process's number.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Where clients connect.
    pub fn server(&self) -> Result<client::Server> {
        client::Server::new(self.port.address(), &self.ca)
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Value)) -> Result<()> {
    let context = || format!("cannot change {}", path.display());
    let text = fs::read_to_string(path).with_context(context)?;
    let mut value: Value = serde_saphyr::from_str(&text).with_context(context)?;
    change(&mut value);
    fs::write(path, value.to_string()).with_context(context)
}

/// The part of a document at a path that the templates have.
fn at<'a>(document: &'a mut Value, pointer: &str) -> &'a mut Value {
    match document.pointer(pointer) {
        Some(_) => document.pointer_mut(pointer).unwrap_or_else(|| unreachable!("it is there")),
        None => panic!("the templates have no {pointer} any more"),
    }
}

fn filters(file: &mut Value, world: &World, decides: Decides, gates: bool) {
    let chain = at(file, "/static_resources/listeners/0/filter_chains/0/filters");
    // What counts connections is Wasm too.
    if let Some(filters) = chain.as_array_mut() {
        filters.retain(|filter| filter["name"] != "connections");
    }
    let list = at(chain, "/0/typed_config/http_filters");
    let old = list.as_array().cloned().unwrap_or_default();
    let named = |name: &str| old.iter().find(|filter| filter["name"] == name).cloned();
    let mut new = Vec::new();
    if gates {
        new.extend(named("strip"));
    }
    match decides {
        Decides::Nothing | Decides::Crowd => {}
        Decides::Late(seconds) => new.push(late(seconds)),
        Decides::Jwt { cache } => new.push(jwt(world, cache)),
    }
    if gates {
        let by_token = matches!(decides, Decides::Jwt { .. });
        new.push(marks(if by_token { "%REQ(impersonate-user)%" } else { USER }));
        new.extend(named("gate"));
    }
    new.extend(named("envoy.filters.http.router"));
    *list = json!(new);
}

fn jwt(world: &World, cache: bool) -> Value {
    let issuer = world.issuer();
    let mut provider = json!({
        "issuer": issuer.url(),
        "audiences": [CLIENT],
        "local_jwks": {"inline_string": issuer.jwks().to_string()},
        "claim_to_headers": [
            {"header_name": "impersonate-user", "claim_name": "preferred_username"},
        ],
    });
    if cache {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 10_000});
    }
    json!({"name": "jwt", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"bench": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }})
}

fn late(seconds: u32) -> Value {
    json!({"name": "late", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        "delay": {"fixed_delay": format!("{seconds}s"), "percentage": {"numerator": 100}},
    }})
}

/// The marks that the gate, the routes and the upstream gate look for.
fn marks(user: &str) -> Value {
    let mark = |key: &str, value: &str| {
        json!({
            "object_key": key,
            "factory_key": "envoy.string",
            "format_string": {"text_format_source": {"inline_string": value}},
            // Upstream filters see it, as they see the Wasm filter's.
            "shared_with_upstream": "TRANSITIVE",
        })
    };
    json!({"name": "marks", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
        "on_request_headers": [mark("wasm.user", user), mark("wasm.mode", "impersonate")],
        "clear_route_cache": true,
    }})
}

fn routes(file: &mut Value, gates: bool, token: &str, groups: &[String]) {
    let header = |name: &str, value: &str, action: &str| json!({"header": {"key": name, "value": value}, "append_action": action});
    let set = |name: &str, value: &str| header(name, value, "OVERWRITE_IF_EXISTS_OR_ADD");
    // jwt_authn has written the user by then.
    let mut headers = vec![header("impersonate-user", USER, "ADD_IF_ABSENT")];
    let group = |name: &String| header("impersonate-group", name, "APPEND_IF_EXISTS_OR_ADD");
    let (groups, others) = groups.split_at(groups.len().min(MOST_HEADERS));
    headers.extend(groups.iter().map(group));
    headers.push(set("impersonate-uid", SUBJECT));
    headers.push(set("audit-id", "%REQ(x-request-id)%"));
    if !gates {
        headers.push(set("authorization", &format!("Bearer {token}")));
    }
    at(file, "/resources/0")["request_headers_to_add"] = others.iter().map(group).collect();
    let virtual_host = at(file, "/resources/0/virtual_hosts/0");
    virtual_host["request_headers_to_add"] = json!(headers);
    if !gates {
        // The way of what asks for no upgrade and does not last.
        let plain = |route: &Value| {
            route["match"]["headers"][0]["invert_match"] == true
                && route["match"].get("query_parameters").is_none()
        };
        let routes = virtual_host["routes"].as_array().cloned().unwrap_or_default();
        let Some(mut route) = routes.into_iter().find(plain) else {
            panic!("the templates have no route of requests any more")
        };
        route["match"] = json!({"prefix": "/"});
        virtual_host["routes"] = json!([route]);
    }
}

fn clusters(file: &mut Value, gates: bool) {
    if gates {
        return;
    }
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    for cluster in at(file, "/resources").as_array_mut().into_iter().flatten() {
        let apiserver = cluster["name"].as_str().is_some_and(|name| name.starts_with("apiserver"));
        if let (true, Some(options)) =
            (apiserver, cluster["typed_extension_protocol_options"][options].as_object_mut())
        {
            Map::remove(options, "http_filters");
        }
    }
}
