//! An OpenTelemetry collector, `assets/collector`: takes spans by OTLP and keeps them in a file.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    assets::{self, Progress},
    error::{Context, Error, Result},
    files,
    folder::Folder,
    pki::Authority,
    port::Port,
    process::{Process, Spec},
};

/// How long it may take to serve.
const READY: Duration = Duration::from_secs(60);

const SPANS: &str = "spans.json";

/// The running collector. Dropping it ends it.
#[derive(Debug)]
pub struct Collector {
    // Ends before the folder it writes to is removed.
    _process: Process,
    plain: Doors,
    guarded: Doors,
    ca_file: PathBuf,
    token_file: PathBuf,
    folder: Folder,
}

/// Where one manner of it listens.
#[derive(Debug)]
struct Doors {
    grpc: Port,
    http: Port,
}

/// A span that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `service.name` of whoever sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// 2 for a server's, 3 for a client's (OTLP, `SpanKind`).
    pub kind: u64,
    /// Its trace.
    pub trace: String,
    /// Itself.
    pub id: String,
    /// Its parent, empty for a root.
    pub parent: String,
    /// What is said of it.
    pub attributes: BTreeMap<String, String>,
    /// Other spans that it points to: trace and span.
    pub links: Vec<(String, String)>,
}

impl Collector {
    /// Builds the program if it is missing, and starts it; it takes spans when this returns.
    pub fn start() -> Result<Self> {
        let program = assets::collector(&Progress::new())?;
        let folder = Folder::new(None)?;
        let authority = Authority::new("sandbox collector")?;
        let identity =
            authority.server(&["localhost"])?.write(&folder.folder("serving")?, "tls")?;
        let (ca_file, token_file) = (folder.file("ca.crt"), folder.file("token"));
        files::write(&ca_file, authority.pem().as_bytes())?;
        files::write_private(&token_file, b"collector-token-of-the-sandbox")?;
        let (plain, guarded) = (Doors::reserve()?, Doors::reserve()?);
        let tls = json!({"cert_file": identity.certificate, "key_file": identity.key});
        let auth = json!({"authenticator": "bearertokenauth"});
        let configuration = json!({
            "extensions": {"bearertokenauth": {"filename": token_file}},
            "receivers": {
                "otlp/plain": {"protocols": plain.protocols(&json!({}))},
                "otlp/guarded": {"protocols": guarded.protocols(&json!({"tls": tls, "auth": auth}))},
            },
            "exporters": {"file": {"path": folder.file(SPANS), "flush_interval": "100ms"}},
            "service": {
                "extensions": ["bearertokenauth"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {
                    "traces": {"receivers": ["otlp/plain", "otlp/guarded"], "exporters": ["file"]},
                },
            },
        });
        let file = folder.file("collector.json");
        files::write(&file, configuration.to_string().as_bytes())?;
        let mut process = Process::start(&Spec {
            name: "the OpenTelemetry collector",
            program,
            arguments: vec![format!("--config={}", file.display())],
            environment: vec![],
            folder: None,
            log: folder.file("collector.log"),
        })?;
        let doors = [&plain.grpc, &plain.http, &guarded.grpc, &guarded.http];
        process.wait_until(READY, || {
            let mut closed = doors.iter().filter_map(|it| TcpStream::connect(it.address()).err());
            closed.next().map_or(Ok(()), |error| Err(error.to_string()))
        })?;
        Ok(Self { _process: process, plain, guarded, ca_file, token_file, folder })
    }

    /// Where it takes everybody's spans by gRPC, without TLS.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.plain.grpc.address()
    }

    /// The same by HTTP.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.plain.http.address()
    }

    /// Where it takes spans by gRPC over TLS from those with [`Self::token_file`].
    #[must_use]
    pub fn guarded_grpc(&self) -> SocketAddr {
        self.guarded.grpc.address()
    }

    /// The same by HTTP.
    #[must_use]
    pub fn guarded_http(&self) -> SocketAddr {
        self.guarded.http.address()
    }

    /// Whom to believe there, PEM.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The token that it takes.
    #[must_use]
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// All spans that have arrived.
    pub fn spans(&self) -> Result<Vec<Span>> {
        let text = self.text()?;
        let mut spans = Vec::new();
        // A line that is being written has no end yet.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let batch: Value = serde_json::from_str(line)
                .map_err(|source| Error::Json { what: "a batch of spans".to_owned(), source })?;
            for resource in items(&batch["resourceSpans"]) {
                let of = attributes(&resource["resource"]["attributes"]);
                let service = of.get("service.name").cloned().unwrap_or_default();
                for scope in items(&resource["scopeSpans"]) {
                    spans.extend(items(&scope["spans"]).iter().map(|it| span(&service, it)));
                }
            }
        }
        Ok(spans)
    }

    /// What has arrived, word for word.
    pub fn text(&self) -> Result<String> {
        let path = self.folder.file(SPANS);
        fs::read_to_string(&path).context(|| format!("read {}", path.display()))
    }
}

impl Doors {
    fn reserve() -> Result<Self> {
        Ok(Self { grpc: Port::reserve()?, http: Port::reserve()? })
    }

    fn protocols(&self, more: &Value) -> Value {
        let door = |port: &Port| {
            let mut door = more.clone();
            door["endpoint"] = json!(port.address());
            door
        };
        json!({"grpc": door(&self.grpc), "http": door(&self.http)})
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn attributes(list: &Value) -> BTreeMap<String, String> {
    let attribute = |it: &Value| {
        let (_, value) = it["value"].as_object()?.iter().next()?;
        Some((text(&it["key"]), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    };
    items(list).iter().filter_map(attribute).collect()
}

fn span(service: &str, span: &Value) -> Span {
    let links = items(&span["links"]).iter();
    Span {
        service: service.to_owned(),
        name: text(&span["name"]),
        kind: span["kind"].as_u64().unwrap_or_default(),
        trace: text(&span["traceId"]),
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        attributes: attributes(&span["attributes"]),
        links: links.map(|link| (text(&link["traceId"]), text(&link["spanId"]))).collect(),
    }
}
