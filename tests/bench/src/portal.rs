//! What the portal costs: a token made, a token reviewed. One request at a time, two workers, no TLS.
//!
//! As nothing else is under way, what a worker runs while a request is answered it runs for that request: the most that one
//! took bounds how long other requests of that worker can have stood still. The longest answer has waits for a processor in it.

use std::{
    env,
    fmt::Write,
    net::{SocketAddr, TcpStream as Probe},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use gateway_config::{
    Documents, Rendered,
    portal::{IDENTIFY, Inputs, Part, render},
};
use gateway_control::write;
use gateway_core::portal_keys::VARIABLE;
use gateway_portal::Settings;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use kube_oidc_gateway::portal::Keys;
use oidc_provider::{Algorithm, SignWith};
use sandbox::{Authority, Port};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, task::spawn_local};

use crate::{
    process::{self, Server},
    world::{CLIENT, USER, World, authentication},
};

const WARM_UP: usize = 50;
const REQUESTS: usize = 1000;
const AUDIENCE: &str = "github.com/planetlabs/kubehook";

/// A portal's Envoy, with one signing key.
struct Portal {
    address: SocketAddr,
    // Ends before its folder is removed.
    envoy: Server,
    _folder: TempDir,
    _port: Port,
}

impl Portal {
    fn start(world: &World, algorithm: Algorithm) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, Port::reserve()?);
        let directory = folder.path().to_owned();
        let mut keys = Keys::default();
        if algorithm == Algorithm::Es256 {
            let path = directory.join("key");
            std::fs::write(&path, Authority::new("key")?.server(&[])?.key)?;
            keys.add_private_key(&path)?;
        } else {
            keys.add_secret("secret", b"a-secret-of-this-benchmark-of-32-bytes-and-more");
        }
        let settings = json!({
            "audience": AUDIENCE,
            "userHeader": "x-forwarded-user",
            "groupHeader": "x-forwarded-groups",
            "groupHeaderDelimiter": ";",
            "maxLifetimeSeconds": 3600,
            "tokensPerSecond": 1_000_000,
            "trust": {"clientCertificate": false, "networks": ["127.0.0.1"], "anybody": false},
            "issuer": (algorithm == Algorithm::Es256).then_some("https://portal.example"),
            "identify": {"cluster": IDENTIFY},
        });
        let listen = port.address();
        let inputs = Inputs {
            directory: directory.clone(),
            listen,
            part: Part {
                host: None,
                serving: None,
                client_ca: None,
                client_subject: None,
                settings: Settings::parse(settings.to_string().as_bytes())?,
                login: None,
                filter: env::var_os("GATEWAY_FILTER").context("GATEWAY_FILTER is not set")?.into(),
                access_log: directory.join("access.log"),
            },
            documents: Some(Documents::from_values(&authentication(&world.provider), None)?),
            system_ca: "/etc/ssl/certs/ca-certificates.crt".into(),
            concurrency: Some(2),
        };
        let rendered = render(&inputs)?;
        write(&rendered, &directory)?;
        let mut command = Command::new(&world.cluster.assets().envoy);
        command
            .envs(Rendered::environment())
            .args(rendered.arguments(&directory))
            .args(["--log-level", "error"]);
        command.env_clear().env(VARIABLE, keys.document()?.0);
        let ready = || Probe::connect(listen).is_ok();
        let envoy = Server::start(command, &directory.join("envoy.log"), ready)?;
        Ok(Self { address: listen, envoy, _folder: folder, _port: port })
    }

    /// Sends bodies one after the other, and says in a line what they cost.
    async fn measure(&self, name: &str, path: &str, bodies: &[String]) -> Result<String> {
        let io = TokioIo::new(TcpStream::connect(self.address).await?);
        let (mut sender, connection) = http1::handshake(io).await?;
        spawn_local(connection);
        let mut latencies: Histogram<u64> = Histogram::new(3)?;
        let mut used: Histogram<u64> = Histogram::new(3)?;
        for number in 0..WARM_UP + REQUESTS {
            let body = bodies.get(number % bodies.len()).cloned().unwrap_or_default();
            let request = Request::post(path)
                .header("host", self.address.to_string())
                .header("content-type", "application/json")
                .header("x-forwarded-user", USER)
                .header("x-forwarded-groups", "platform-team;developers")
                .body(Full::new(Bytes::from(body)))?;
            let before = process::worker_time(self.envoy.id())?;
            let start = Instant::now();
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            if status != 200 {
                bail!("{name}: {status}: {}", String::from_utf8_lossy(&body));
            }
            if number >= WARM_UP {
                latencies.record(u64::try_from(start.elapsed().as_micros())?)?;
                let ran = process::worker_time(self.envoy.id())?.saturating_sub(before);
                used.record(u64::try_from(ran.as_micros())?)?;
            }
        }
        let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Ok(format!(
            "| {name} | {:.0} | {} | {:.2} | {:.2} | {:.2} |",
            used.mean(),
            used.max(),
            ms(0.5),
            ms(0.99),
            ms(1.0)
        ))
    }

    /// A token of this portal.
    async fn token(&self) -> Result<String> {
        let io = TokioIo::new(TcpStream::connect(self.address).await?);
        let (mut sender, connection) = http1::handshake(io).await?;
        spawn_local(connection);
        let request = Request::post("/generate")
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .header("x-forwarded-user", USER)
            .body(Full::new(Bytes::from_static(br#"{"lifetime": "1h"}"#)))?;
        let answer = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        let answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer["token"].as_str().context("no token")?.to_owned())
    }
}

/// Runs all loads; gives a table.
pub async fn run(world: &World) -> Result<String> {
    let mut text = String::from(
        "| portal, two workers, one request at a time | CPU µs | most CPU µs | p50 ms | p99 ms | longest ms |\n|---|---|---|---|---|---|\n",
    );
    let generate = [r#"{"lifetime": "1h"}"#.to_owned()];
    for (algorithm, name) in [(Algorithm::Rs256, "HS256"), (Algorithm::Es256, "ES256")] {
        let portal = Portal::start(world, algorithm)?;
        let name_of = |what: &str| format!("{what}, {name}");
        let line = portal.measure(&name_of("generate"), "/generate", &generate).await?;
        writeln!(text, "{line}")?;
        let own = [review(&portal.token().await?)];
        let what = name_of("review, the portal's token");
        writeln!(text, "{}", portal.measure(&what, "/authenticate", &own).await?)?;
        if algorithm == Algorithm::Es256 {
            continue;
        }
        let issuer = world.issuer();
        let id_token = |number: usize| {
            let token = issuer.token(USER, CLIENT).claim("jti", format!("portal-{number}"));
            review(&token.expires_in(3600).sign(SignWith::Algorithm(Algorithm::Rs256)).mint())
        };
        let cold: Vec<_> = (0..WARM_UP + REQUESTS).map(id_token).collect();
        for (name, bodies) in [("warm", &cold[..1]), ("cold", &cold[1..])] {
            let name = format!("review, an RS256 ID token, {name}");
            writeln!(text, "{}", portal.measure(&name, "/authenticate", bodies).await?)?;
        }
    }
    Ok(text)
}

fn review(token: &str) -> String {
    let version = "authentication.k8s.io/v1";
    json!({"apiVersion": version, "kind": "TokenReview", "spec": {"token": token}}).to_string()
}
