//! The chains: what stands between the client and the API server.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use gateway_config::{FilterForm, Inputs};
use hyper::header::HeaderValue;
use oidc_provider::Algorithm;
use sandbox::Gateway;
use serde_json::{Value, json};

use crate::{
    client::{GO, Server, Version},
    native::{Decides, Native},
    oidc_proxy::OidcProxy,
    world::{MANY, World},
};

/// How a proxy is made. Chains that differ by their tokens alone share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Envoy with native filters only, with or without the gateway's native gates.
    Envoy {
        /// What decides.
        decides: Decides,
        /// Whether the strip, the gate and the upstream gate are there.
        gates: bool,
    },
    /// The gateway, with the filter in one of its forms.
    Gateway {
        /// The form.
        form: FilterForm,
        /// How it is set up.
        setup: Setup,
    },
    /// The gateway with another build of the filter's module, if one is given.
    Other {
        /// How it is set up.
        setup: Setup,
    },
    /// kube-oidc-proxy, if it is given.
    OidcProxy,
}

/// How a gateway is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// All tokens stay in its cache. Envoy strips the client's `Impersonate-*` headers, as in every chain but [`Setup::Authorize`]: so
    /// all of them have the same doors.
    Warm,
    /// Its cache has room for one token: where tokens come in turn, each is verified.
    Cold,
    /// The same with the rules of Kubernetes 1.38, which alone know ML-DSA's keys.
    ColdBeta,
    /// Warm, with twenty conditions, all of which every request fulfils.
    Conditions,
    /// Warm, and the groups are in a directory: a thousand, of which the cluster knows those that the user of the other chains has.
    Groups,
    /// Warm, and clients may ask for `--as`, as they may by default: the filter reads their headers, and the gate compares.
    Authorize,
}

/// What a small request asks for.
pub const PATH: &str = "/api/v1/namespaces/default";
/// Until a chain that has been started answers.
const READY: Duration = Duration::from_secs(10);

/// The tokens of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// One, for all requests.
    One,
    /// Two thousand in rotation.
    Many(Algorithm),
    /// One, whose user is in a thousand groups.
    Crowd,
    /// One, which does not have its user's thousand groups.
    Overflow,
}

/// A chain: its name, its proxy and the clients' tokens.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// As the results name it.
    pub name: &'static str,
    /// Its proxy.
    pub kind: Kind,
    /// The clients' tokens.
    pub tokens: Tokens,
}

const fn chain(name: &'static str, kind: Kind, tokens: Tokens) -> Chain {
    Chain { name, kind, tokens }
}

const fn envoy(decides: Decides, gates: bool) -> Kind {
    Kind::Envoy { decides, gates }
}

const fn gateway(form: FilterForm, setup: Setup) -> Kind {
    Kind::Gateway { form, setup }
}

const ALL_RS256: Tokens = Tokens::Many(Algorithm::Rs256);
const ML_DSA44: Tokens = Tokens::Many(Algorithm::MlDsa44);
const WARM: Kind = gateway(FilterForm::Wasm, Setup::Warm);
const COLD: Kind = gateway(FilterForm::Wasm, Setup::Cold);
const NATIVE_WARM: Kind = gateway(FilterForm::Native, Setup::Warm);
const NATIVE_COLD: Kind = gateway(FilterForm::Native, Setup::Cold);
const JWT_GATES: Kind = envoy(Decides::Jwt { cache: false }, true);

/// Every chain. Those named `gateway_` have the Wasm form of the filter, those named `native_` the other. Those named `_2000_tokens`
/// show what many tokens cost by themselves: HPACK cannot shorten them.
pub const CHAINS: [Chain; 34] = [
    chain("envoy", envoy(Decides::Nothing, false), Tokens::One),
    chain("envoy_gates", envoy(Decides::Nothing, true), Tokens::One),
    chain("envoy_gates_2000_tokens", envoy(Decides::Nothing, true), ALL_RS256),
    chain("jwt_authn", envoy(Decides::Jwt { cache: false }, false), ALL_RS256),
    chain("jwt_authn_cached", envoy(Decides::Jwt { cache: true }, false), Tokens::One),
    chain("jwt_authn_gates", JWT_GATES, ALL_RS256),
    chain("jwt_authn_gates_es256", JWT_GATES, Tokens::Many(Algorithm::Es256)),
    chain("jwt_authn_gates_cached", envoy(Decides::Jwt { cache: true }, true), Tokens::One),
    chain("gateway_warm", WARM, Tokens::One),
    chain("gateway_authorize", gateway(FilterForm::Wasm, Setup::Authorize), Tokens::One),
    chain("gateway_conditions", gateway(FilterForm::Wasm, Setup::Conditions), Tokens::One),
    chain("gateway_groups_warm", gateway(FilterForm::Wasm, Setup::Groups), Tokens::Overflow),
    chain("gateway_2000_tokens", WARM, ALL_RS256),
    chain("gateway_cold_rs256", COLD, ALL_RS256),
    chain("gateway_cold_es256", COLD, Tokens::Many(Algorithm::Es256)),
    chain("gateway_cold_es384", COLD, Tokens::Many(Algorithm::Es384)),
    chain("gateway_cold_ps256", COLD, Tokens::Many(Algorithm::Ps256)),
    chain("gateway_cold_mldsa44", gateway(FilterForm::Wasm, Setup::ColdBeta), ML_DSA44),
    chain("native_warm", NATIVE_WARM, Tokens::One),
    chain("native_authorize", gateway(FilterForm::Native, Setup::Authorize), Tokens::One),
    chain("native_groups_warm", gateway(FilterForm::Native, Setup::Groups), Tokens::Overflow),
    chain("native_2000_tokens", NATIVE_WARM, ALL_RS256),
    chain("native_cold_rs256", NATIVE_COLD, ALL_RS256),
    chain("native_cold_es256", NATIVE_COLD, Tokens::Many(Algorithm::Es256)),
    chain("native_cold_es384", NATIVE_COLD, Tokens::Many(Algorithm::Es384)),
    chain("native_cold_ps256", NATIVE_COLD, Tokens::Many(Algorithm::Ps256)),
    chain("native_cold_mldsa44", gateway(FilterForm::Native, Setup::ColdBeta), ML_DSA44),
    chain("envoy_gates_1000_groups", envoy(Decides::Crowd, true), Tokens::Crowd),
    chain("gateway_1000_groups", WARM, Tokens::Crowd),
    chain("native_1000_groups", NATIVE_WARM, Tokens::Crowd),
    chain("other_warm", Kind::Other { setup: Setup::Warm }, Tokens::One),
    chain("other_cold_rs256", Kind::Other { setup: Setup::Cold }, ALL_RS256),
    chain("kube_oidc_proxy", Kind::OidcProxy, Tokens::One),
    chain("kube_oidc_proxy_1000_groups", Kind::OidcProxy, Tokens::Crowd),
];

/// What stands behind the chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The real API server.
    ApiServer,
    /// Its fast stand-in.
    Stub,
}

/// A running proxy.
pub struct Proxy {
    /// Where clients connect.
    pub server: Server,
    running: Program,
}

enum Program {
    Native(Native),
    Gateway(Box<Gateway>),
    OidcProxy(OidcProxy),
}

impl Proxy {
    /// The process to be measured.
    pub fn process(&self) -> u32 {
        match &self.running {
            Program::Native(native) => native.process(),
            Program::Gateway(gateway) => gateway.envoy_id(),
            Program::OidcProxy(proxy) => proxy.process(),
        }
    }

    /// The gateway, if it is one.
    pub fn gateway(&self) -> Option<&Gateway> {
        match &self.running {
            Program::Gateway(gateway) => Some(gateway),
            Program::Native(_) | Program::OidcProxy(_) => None,
        }
    }

    fn log(&self) -> &Path {
        match &self.running {
            Program::Native(native) => native.log(),
            Program::Gateway(gateway) => gateway.log(),
            Program::OidcProxy(proxy) => proxy.log(),
        }
    }
}

/// A chain whose proxy runs.
#[derive(Clone)]
pub struct Running {
    /// As the results name it.
    pub name: &'static str,
    /// The proxy.
    pub proxy: Rc<Proxy>,
    /// Authorization values, taken in turn.
    pub tokens: Rc<[HeaderValue]>,
}

impl Running {
    /// Waits until it answers 200 with a token: one that refuses would be measured as a fast one.
    ///
    /// # Errors
    /// With the answer, and the last complaint in the proxy's log.
    pub async fn ready(&self) -> Result<()> {
        self.ready_within(READY).await
    }

    /// The same, with another time in which it has to answer.
    pub async fn ready_within(&self, patience: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let Err(error) = self.ask().await else { return Ok(()) };
            if start.elapsed() > patience {
                let complaint = last_complaint(self.proxy.log());
                return Err(error.context(format!(
                    "chain {} does not answer 200 after {} s, so it cannot be measured; its log: {complaint}",
                    self.name,
                    patience.as_secs()
                )));
            }
            tokio::time::sleep(READY / 50).await;
        }
    }

    async fn ask(&self) -> Result<()> {
        let token = self.tokens.first().cloned().context("no token")?;
        self.proxy.server.connect(Version::H2, GO).await?.must(PATH, token).await.map(drop)
    }
}

/// The last line of a log that says that something is wrong.
fn last_complaint(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let complains =
        |line: &&str| ["[warning]", "[error]", "[critical]"].iter().any(|word| line.contains(word));
    text.lines().rev().find(complains).or(text.lines().last()).unwrap_or("empty").to_owned()
}

/// A gateway whose certificates, token and rendered files other proxies use.
pub struct Beside {
    /// What its files were rendered from.
    pub inputs: Inputs,
    /// The CA that signed its certificate, PEM.
    pub ca: String,
}

/// What is measured only if it is given.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// A kube-oidc-proxy program.
    pub kube_oidc_proxy: Option<PathBuf>,
    /// Another build of the filter's module.
    pub filter: Option<PathBuf>,
}

/// Starts proxies, each once.
pub struct Starter<'a> {
    world: &'a World,
    upstream: Upstream,
    workers: u32,
    others: Others,
    beside: Option<Beside>,
    proxies: Vec<(Kind, Rc<Proxy>)>,
    tokens: Vec<(Tokens, Rc<[HeaderValue]>)>,
}

impl<'a> Starter<'a> {
    /// For proxies with so many workers in front of one upstream.
    pub fn new(world: &'a World, upstream: Upstream, workers: u32, others: Others) -> Self {
        let (proxies, tokens) = (Vec::new(), Vec::new());
        Self { world, upstream, workers, others, beside: None, proxies, tokens }
    }

    /// The chain, with its proxy running; `None` for one whose program is not given.
    pub fn start(&mut self, chain: Chain) -> Result<Option<Running>> {
        let missing = match chain.kind {
            Kind::OidcProxy => self.others.kube_oidc_proxy.is_none(),
            Kind::Other { .. } => self.others.filter.is_none(),
            _ => false,
        };
        if missing {
            return Ok(None);
        }
        let started = || format!("cannot start chain {}", chain.name);
        let proxy = self.proxy(chain.kind).with_context(started)?;
        let tokens = self.tokens(chain.tokens)?;
        Ok(Some(Running { name: chain.name, proxy, tokens }))
    }

    fn tokens(&mut self, tokens: Tokens) -> Result<Rc<[HeaderValue]>> {
        if let Some((_, values)) = self.tokens.iter().find(|(known, _)| *known == tokens) {
            return Ok(Rc::clone(values));
        }
        let values = match tokens {
            Tokens::One => self.world.tokens(Algorithm::Rs256, 1)?,
            Tokens::Many(algorithm) => self.world.tokens(algorithm, MANY)?,
            Tokens::Crowd => self.world.token_of_a_crowd()?,
            Tokens::Overflow => Rc::new([self.world.token_of_an_overflow()?]),
        };
        self.tokens.push((tokens, Rc::clone(&values)));
        Ok(values)
    }

    fn proxy(&mut self, kind: Kind) -> Result<Rc<Proxy>> {
        if let Some((_, proxy)) = self.proxies.iter().find(|(known, _)| *known == kind) {
            return Ok(Rc::clone(proxy));
        }
        if self.beside.is_none() && kind != WARM {
            // Its doors are those of all chains.
            self.proxy(WARM)?;
        }
        let proxy = match (kind, &self.beside) {
            (Kind::Envoy { decides, gates }, Some(beside)) => {
                let native = Native::start(self.world, beside, decides, gates)?;
                Proxy { server: native.server()?, running: Program::Native(native) }
            }
            (Kind::OidcProxy, Some(beside)) => {
                let program = self.others.kube_oidc_proxy.as_deref();
                let program = program.context("no kube-oidc-proxy is given")?;
                let proxy = OidcProxy::start(program, self.world, beside)?;
                Proxy { server: proxy.server()?, running: Program::OidcProxy(proxy) }
            }
            _ => self.gateway(kind)?,
        };
        let proxy = Rc::new(proxy);
        self.proxies.push((kind, Rc::clone(&proxy)));
        Ok(proxy)
    }

    fn gateway(&mut self, kind: Kind) -> Result<Proxy> {
        let (setup, filter) = match kind {
            Kind::Other { setup } => {
                (setup, self.others.filter.clone().context("no other filter is given")?)
            }
            Kind::Gateway { form: FilterForm::Native, setup } => {
                (setup, module("GATEWAY_NATIVE_FILTER")?)
            }
            Kind::Gateway { form: FilterForm::Wasm, setup } => (setup, module("GATEWAY_FILTER")?),
            Kind::Envoy { .. } | Kind::OidcProxy => anyhow::bail!("{kind:?} is no gateway"),
        };
        let settings = match setup {
            Setup::Warm => json!({"clientImpersonation": "strip"}),
            // One entry is always the wrong one when tokens come in turn: every request is verified, by the way users get.
            Setup::Cold | Setup::ColdBeta => json!({
                "clientImpersonation": "strip",
                "kubernetesRules": if setup == Setup::ColdBeta { "1.38" } else { "1.37" },
                "tokenCache": {"maximumEntries": 1},
                "limits": {"signatureChecksPerSecond": 100_000},
            }),
            Setup::Conditions => {
                json!({"clientImpersonation": "strip", "conditions": conditions()})
            }
            Setup::Groups => {
                json!({"clientImpersonation": "strip", "groupSources": [self.world.group_source()]})
            }
            Setup::Authorize => json!({"clientImpersonation": "authorize"}),
        };
        let mut taken = None;
        let (port, ca) = match self.upstream {
            Upstream::ApiServer => (None, None),
            Upstream::Stub => (Some(self.world.stub.port()), Some(self.world.stub.ca())),
        };
        let builder = self.world.cluster.gateway(self.world.authentication());
        let gateway = builder
            .filter(filter)
            .envoy(&self.world.envoy)
            .patience(self.world.patience)
            .configuration(configuration(settings))
            .workers(self.workers)
            .inputs(|inputs| {
                if let Some(port) = port {
                    inputs.apiserver.port = port;
                }
                if let Some(ca) = ca {
                    trust(inputs, ca);
                }
                taken = Some(inputs.clone());
            })
            .start()?;
        if let (None, Some(inputs)) = (&self.beside, taken) {
            self.beside = Some(Beside { inputs, ca: gateway.ca().to_owned() });
        }
        let address = ([127, 0, 0, 1], gateway.port()).into();
        let server = Server::new(address, gateway.ca())?;
        Ok(Proxy { server, running: Program::Gateway(Box::new(gateway)) })
    }
}

/// The module that a variable names: each form is measured, whatever the sandbox would take by itself.
fn module(variable: &str) -> Result<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.with_context(|| format!("{variable} is not set: `make bench` sets it"))
}

/// Twenty conditions of the forms that docs/conditions.md has. Two expressions each are evaluated where `match` holds.
fn conditions() -> Value {
    let forms = [
        json!({"match": "request.namespace == 'kube-system' && request.verb in ['delete', 'deletecollection']", "login": {"acr": ["mfa"], "maxAgeSeconds": 900}}),
        json!({"match": "request.verb in ['get', 'list', 'watch', 'create', 'delete']", "expression": "cidr('127.0.0.0/8').containsIP(request.address)"}),
        json!({"match": "claims.?azp.orValue('') == 'agent'", "expression": "request.verb in ['get', 'list', 'watch']"}),
        json!({"match": "request.resource == 'secrets'", "expression": "!('contractors' in user.groups)"}),
        json!({"expression": "user.username != '' && impersonated.username == ''"}),
    ];
    let named = forms.iter().cycle().take(20).enumerate().map(|(index, form)| {
        let mut condition = form.clone();
        condition["name"] = json!(format!("condition-{index}"));
        condition
    });
    named.collect()
}

/// Has a gateway believe this CA (PEM) for what stands behind it. A failure shows at once: no request is answered.
pub fn trust(inputs: &Inputs, ca: &str) {
    if let Some(path) = &inputs.apiserver.ca {
        let _ = std::fs::write(path, ca);
    }
}

/// A `GatewayConfiguration` with these settings.
pub fn configuration(settings: Value) -> Value {
    let mut document = json!({
        "apiVersion": "gateway.kube-oidc.dev/v1alpha1",
        "kind": "GatewayConfiguration",
    });
    if let (Value::Object(document), Value::Object(settings)) = (&mut document, settings) {
        document.extend(settings);
    }
    document
}
