//! `kube-oidc-gateway doctor`: everything that a gateway depends on, looked at one after the other, each with its cure.
//!
//! Nothing is changed, and nothing is looked at in another way than the gateway has: servers are asked by Envoy, the one of a
//! gateway that runs here or one that is started for the time being; documents, certificates and rights are judged by what `run`
//! judges them by.

mod apiserver;
mod certificates;
mod clock;
mod cure;
mod envoy;
mod finding;
mod issuers;
mod leftovers;
mod machine;
mod sources;

use std::{net::TcpListener, path::Path, time::Duration};

use gateway_client::{Client, Trust};
use gateway_config::Documents;
use gateway_control::check_modules;
use gateway_lint::envoy_version::{CVE, ENVOY, ask};

pub use self::{
    cure::cure,
    finding::{Finding, Findings, State},
};
use crate::run::settings::Settings;

/// How long a gateway here may take to say how it is.
const READINESS: Duration = Duration::from_secs(5);

/// A gateway that runs or is to run.
#[derive(Debug)]
pub struct Planned {
    /// What it is made of. What is lacking has some other value.
    pub settings: Settings,
    /// What is lacking, and why.
    pub lacks: Vec<(Lack, String)>,
}

/// What a gateway cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Envoy's program.
    Envoy,
    /// The filter's module.
    Module,
    /// The way to kube-apiserver.
    ApiServer,
    /// A serving certificate; one will be made.
    Serving,
    /// A portal that is good.
    Portal,
}

impl Lack {
    fn check(self) -> &'static str {
        match self {
            Self::Envoy => "Envoy",
            Self::Module => "module",
            Self::ApiServer => "API server",
            Self::Serving => "certificate",
            Self::Portal => "portal",
        }
    }

    fn cure(self) -> &'static str {
        match self {
            Self::Envoy => "--envoy-binary names one; the image has one",
            Self::Module => {
                "--filter names filter.wasm, with connections.wasm of the same release beside it"
            }
            Self::ApiServer => {
                "--kubeconfig, or --server with a credential; in a pod mount the ServiceAccount's token"
            }
            Self::Serving => {
                "--tls-cert-file and --tls-private-key-file give one that clients can trust"
            }
            Self::Portal => "kube-oidc-gateway check --portal-config names what is wrong",
        }
    }
}

impl Planned {
    fn lacks(&self, what: Lack) -> bool {
        self.lacks.iter().any(|(lack, _)| *lack == what)
    }
}

/// Looks at everything. `host` is what clients call the gateway, if that is known. `then` looks at more as long as there is an Envoy to
/// ask by: it gets the folder of a gateway, in which that Envoy may be.
pub fn examine(
    planned: &Planned,
    host: Option<&str>,
    findings: &mut Findings,
    then: impl FnOnce(&mut Findings, &Path),
) {
    let settings = &planned.settings;
    for (lack, reason) in &planned.lacks {
        match lack {
            Lack::Serving => findings.warn(lack.check(), reason, lack.cure()),
            _ => findings.fail(lack.check(), reason, lack.cure()),
        }
    }
    let documents = documents(findings, settings);
    let running = envoy::running(&settings.run_directory);
    if running.is_some() {
        readiness(findings, settings);
    } else {
        address(findings, settings);
    }
    machine::look(findings, &settings.options.limits, running.is_some());
    let can_run = version(findings, planned) & modules(findings, planned);
    if !planned.lacks(Lack::Serving) {
        certificates::look(findings, settings, host);
    }
    let envoy = match running {
        Some(envoy) => Some(envoy),
        None if can_run && documents.is_some() => envoy::start(findings, settings),
        None => None,
    };
    let probe = envoy.as_ref().map(|envoy| &envoy.probe);
    if let Some(documents) = &documents {
        issuers::look(findings, documents, probe);
        sources::look(findings, documents);
    }
    if !planned.lacks(Lack::ApiServer) {
        apiserver::look(findings, settings, documents.as_ref(), probe);
    }
    then(findings, envoy.as_ref().map_or(&settings.run_directory, |envoy| &envoy.run_directory));
}

/// Looks at the issuers of some documents from here, where no gateway is yet: by this program's own client.
pub fn examine_issuers(documents: &Documents, findings: &mut Findings) {
    issuers::look(findings, documents, None);
}

fn documents(findings: &mut Findings, settings: &Settings) -> Option<Documents> {
    let documents = match settings.read_documents() {
        Ok(documents) => documents,
        Err(error) => {
            let cure =
                "kube-oidc-gateway check names the field; docs/configuration.md has them all";
            findings.fail("configuration", error, cure);
            return None;
        }
    };
    let urls: Vec<_> = documents.issuers().iter().map(|issuer| issuer.url.as_str()).collect();
    let mode = serde_json::to_value(documents.client_impersonation()).unwrap_or_default();
    let mode = mode.as_str().unwrap_or_default();
    findings.ok("configuration", format!("issuers {}; kubectl --as: {mode}", urls.join(", ")));
    for warning in documents.warnings() {
        findings.warn("configuration", warning, "");
    }
    if let Err(reason) = documents.fit(&settings.options.limits) {
        findings.fail("configuration", reason, "change one of them");
    }
    Some(documents)
}

/// What the gateway that runs here says of itself.
fn readiness(findings: &mut Findings, settings: &Settings) {
    let address = settings.probe;
    let host =
        if address.ip().is_unspecified() { "127.0.0.1".into() } else { address.ip().to_string() };
    let url = format!("http://{host}:{}/readyz?verbose", address.port());
    let client =
        Client { trust: Trust::Anybody, identity: None, to: None, proxy: None, timeout: READINESS };
    let asked = client.agent().and_then(|agent| {
        let mut answer = agent.get(&url).call().map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        Ok((answer.status().is_success(), text))
    });
    match asked {
        Ok((true, text)) => {
            findings.ok("gateway", "one runs here, and is ready");
            for line in text.lines().filter_map(|line| line.strip_prefix("[!]")) {
                let cure = "what stands below says more";
                findings.warn("gateway", format!("one runs here: {line}"), cure);
            }
        }
        Ok((false, text)) => {
            for line in text.lines().filter_map(|line| line.strip_prefix("[-]")) {
                findings.fail(
                    "gateway",
                    format!("one runs here and is not ready: {line}"),
                    "what stands below says more",
                );
            }
        }
        Err(error) => findings.warn(
            "gateway",
            format!("one runs here; GET {url}: {error}"),
            "--readiness-probe-port as the gateway has it",
        ),
    }
}

fn address(findings: &mut Findings, settings: &Settings) {
    let listen = settings.options.listen;
    match TcpListener::bind(listen) {
        Ok(_) => findings.ok("address", format!("{listen} can be listened on")),
        Err(error) => findings.fail(
            "address",
            format!("cannot listen on {listen}: {error}"),
            "--secure-port and --bind-address; who has it says ss -ltnp",
        ),
    }
}

/// Whether the Envoy is of a version that may serve.
fn version(findings: &mut Findings, planned: &Planned) -> bool {
    if planned.lacks(Lack::Envoy) {
        return false;
    }
    let settings = &planned.settings;
    let envoy = settings.envoy.display();
    let cure = format!("take {}", ENVOY.safe());
    match ask(&settings.envoy) {
        Ok(Some(version)) => match ENVOY.check(version) {
            Ok(()) => findings.ok("Envoy", format!("{envoy}, {version}")),
            Err(error) if settings.allow_vulnerable_envoy => {
                findings.warn("Envoy", error.to_string(), cure);
            }
            Err(error) => {
                findings.fail("Envoy", error.to_string(), cure);
                return false;
            }
        },
        Ok(None) => findings.warn(
            "Envoy",
            format!("{envoy} does not say of which release it is; it must not have {CVE}"),
            cure,
        ),
        Err(error) => {
            findings.fail("Envoy", error.to_string(), Lack::Envoy.cure());
            return false;
        }
    }
    true
}

fn modules(findings: &mut Findings, planned: &Planned) -> bool {
    if planned.lacks(Lack::Module) {
        return false;
    }
    let options = &planned.settings.options;
    let module = options.filter.display();
    if !options.filter.is_file() {
        findings.fail("module", format!("no file {module}"), Lack::Module.cure());
        return false;
    }
    if let Err(error) = check_modules(options, Some(&planned.settings.envoy)) {
        let text = error.to_string();
        let (message, cure) = text.split_once(": ").unwrap_or((&text, ""));
        findings.fail("module", message, cure);
        return false;
    }
    findings.ok("module", module.to_string());
    true
}
