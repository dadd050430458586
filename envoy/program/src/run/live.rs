//! What Envoy serves with, and how a changed input becomes that.
//!
//! Every input is looked at before Envoy sees it. Of certificates and tokens Envoy gets the program's own copies; a CA is
//! handed on only after somebody has answered under it, because Envoy would take a wrong one at once and answer everything
//! with 503. It is Envoy that asks, by clusters that are there for that alone: what requests will meet is met before. Documents become Envoy's files in an order in which no request is lost.

mod asking;
mod inputs;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    slice,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use gateway_client::{CredentialSource, Pair, certificates};
use gateway_config::{
    Candidates, Documents, Inputs, Issuer, PROBE_CLUSTER, RenderError, Rendered, cluster_name,
    render, rights,
};
use gateway_control::{Admin, Probe, check, write};
use gateway_core::config::GatewayConfiguration;
use gateway_files as files;
use tracing::{info, warn};

use super::{
    apiserver::{ApiServer, AskError, Credential, Way},
    certificate,
    error::RunError,
    issuer,
    metrics::{Metric, Metrics},
    settings::Settings,
    subject::{Contents, Subject, read, subjects, without},
    token, tokens,
    view::View,
    volume::Volume,
};

/// How long Envoy may take to take a changed file.
const RELOAD: Duration = Duration::from_secs(30);

/// The file that the filter itself has to accept.
const FILTER_FILE: &str = "filter-gateway.yaml";

/// When an input is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before Envoy runs: what is well-formed is taken, whether or not anybody answers yet.
    Start,
    /// While Envoy serves with an older one.
    Change,
}

/// What Envoy serves with.
pub(super) struct Live {
    settings: Arc<Settings>,
    inputs: Inputs,
    volumes: BTreeMap<Subject, Volume>,
    apiserver_ca: Option<Vec<u8>>,
    credential: Credential,
    system_ca: Vec<u8>,
    issuer_certificate: Option<Pair>,
    admin: Admin,
    probe: Probe,
    metrics: Arc<Metrics>,
    view: Arc<Mutex<View>>,
}

impl Live {
    /// Looks at every input and writes Envoy's files. Returns what was read, for the watch.
    pub fn start(
        settings: Arc<Settings>,
        admin: Admin,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Contents), RunError> {
        let refused =
            |subject: Subject| move |reason| RunError::Input { input: subject.to_string(), reason };
        // The documents first: without them there is nothing that could serve.
        let (mut live, documents) = read(&settings.document_sources())
            .and_then(|content| Ok((checked(&settings, &content)?, content)))
            .map_err(refused(Subject::Configuration))
            .and_then(|(documents, content)| {
                Ok((Self::new(settings, documents, admin, metrics)?, content))
            })?;
        let mut contents = Vec::new();
        for (subject, sources) in subjects(&live.settings) {
            if subject == Subject::Configuration {
                live.write().map_err(refused(subject))?;
                contents.push((subject, documents.clone()));
                continue;
            }
            let content = read(&sources)
                .or_else(|reason| without(subject, reason))
                .and_then(|content| live.apply(subject, &content, Moment::Start).map(|()| content))
                .map_err(refused(subject))?;
            contents.push((subject, content));
        }
        Ok((live, contents))
    }

    /// What the rest of the program may know.
    pub fn view(&self) -> Arc<Mutex<View>> {
        Arc::clone(&self.view)
    }

    /// The gateway's own settings.
    pub fn gateway(&self) -> &GatewayConfiguration {
        self.inputs.documents.gateway()
    }

    /// The rendered files as they are, for Envoy's command line.
    pub fn rendered(&self) -> Result<Rendered, RunError> {
        Ok(render(&self.inputs)?)
    }

    /// The folder of the rendered files.
    pub fn directory(&self) -> &Path {
        &self.inputs.directory
    }

    /// Makes an input live, or says why not; then the older one goes on.
    pub fn apply(
        &mut self,
        subject: Subject,
        content: &[Vec<u8>],
        moment: Moment,
    ) -> Result<(), String> {
        let [first, rest @ ..] = content else { return Err("nothing to read".to_owned()) };
        let second = rest.first().map(Vec::as_slice).unwrap_or_default();
        let pair = || Pair { chain: first.clone(), key: second.to_vec() };
        match subject {
            Subject::SystemCa => self.system_ca(first, moment)?,
            Subject::ApiServerCa => self.apiserver_ca(first, moment)?,
            Subject::Credential => self.credential(first, pair(), moment)?,
            Subject::IssuerCertificate => {
                self.put_pair(subject, &pair())?;
                self.issuer_certificate = Some(pair());
            }
            Subject::Serving | Subject::Named(_) | Subject::Portal => {
                self.put_pair(subject, &pair())?;
            }
            Subject::Configuration => self.configuration(content)?,
        }
        let expiry = match subject {
            Subject::Credential if rest.is_empty() => {
                if let Some(end) = token::expiry(first) {
                    self.metrics.set(Metric::TokenExpiry, ["", ""], end);
                }
                None
            }
            Subject::Configuration => None,
            _ => certificate::expiry(first),
        };
        if let Some(end) = expiry {
            self.metrics.set(Metric::CertificateExpiry, [subject.label(), ""], end);
        }
        Ok(())
    }

    fn system_ca(&mut self, pem: &[u8], moment: Moment) -> Result<(), String> {
        if pem.is_empty() && moment == Moment::Start {
            return Ok(());
        }
        certificates(pem).map_err(|error| error.to_string())?;
        if moment == Moment::Change {
            let bundle = std::str::from_utf8(pem).map_err(|error| error.to_string())?;
            let issuers = self.inputs.documents.issuers().iter();
            let mut asked = Vec::new();
            for issuer in issuers.filter(|issuer| issuer.certificate_authority.is_none()) {
                // An issuer that does not answer now either says nothing about the new bundle.
                if self.issuers_answer(slice::from_ref(issuer), &self.system_ca).is_ok() {
                    let certificate_authority = Some(bundle.to_owned());
                    asked.push(Issuer { certificate_authority, ..issuer.clone() });
                }
            }
            let candidates = Candidates { issuers: asked.clone(), ..Candidates::default() };
            self.with_candidates(candidates, || self.issuers_answer(&asked, pem))?;
        }
        self.put(Subject::SystemCa, &[("ca.crt", pem)])?;
        self.system_ca = pem.to_vec();
        Ok(())
    }

    fn apiserver_ca(&mut self, pem: &[u8], moment: Moment) -> Result<(), String> {
        certificates(pem).map_err(|error| error.to_string())?;
        let client = ApiServer::new(&self.settings.apiserver, Some(pem), &self.credential)?;
        if moment == Moment::Change {
            let bundle = std::str::from_utf8(pem).map_err(|error| error.to_string())?;
            let apiserver_ca = Some(bundle.to_owned());
            let candidates = Candidates { apiserver_ca, ..Candidates::default() };
            self.with_candidates(candidates, || self.apiserver_answers(&client))?;
        }
        self.put(Subject::ApiServerCa, &[("ca.crt", pem)])?;
        self.apiserver_ca = Some(pem.to_vec());
        self.look(|view| view.apiserver = client);
        Ok(())
    }

    fn credential(&mut self, first: &[u8], pair: Pair, moment: Moment) -> Result<(), String> {
        let credential = match self.settings.apiserver.credential {
            CredentialSource::Token(_) => Credential::Token(token::checked(first)?),
            CredentialSource::Certificate(_) => {
                pair.check().map_err(|error| error.to_string())?;
                Credential::Certificate(pair)
            }
        };
        let ca = self.apiserver_ca.as_deref();
        let client = ApiServer::new(&self.settings.apiserver, ca, &credential)?;
        // An API server that is away does not keep the next token from being used when it is back.
        if moment == Moment::Change {
            let way = match &credential {
                Credential::Token(_) => Way::Envoy(&self.probe, PROBE_CLUSTER),
                Credential::Certificate(_) => {
                    info!(
                        "the API server is asked by the program itself, whose TLS is not Envoy's: Envoy's cluster for questions shows no certificate"
                    );
                    Way::Own
                }
            };
            let taken = match client.takes_credential(way) {
                Err(AskError::NoEnvoy(error)) => {
                    warn!(
                        "the API server is asked by the program itself, whose TLS is not Envoy's: {error}"
                    );
                    client.takes_credential(Way::Own)
                }
                taken => taken,
            };
            match (taken, way) {
                (Err(error @ AskError::Credential), Way::Own) => {
                    return Err(error.by_program().to_string());
                }
                (Err(error @ AskError::Credential), Way::Envoy(..)) => {
                    return Err(error.to_string());
                }
                _ => {}
            }
        }
        match &credential {
            Credential::Token(token) => {
                self.put(Subject::Credential, &[("token", token.as_bytes())])?;
            }
            Credential::Certificate(pair) => self.put_pair(Subject::Credential, pair)?,
        }
        self.credential = credential;
        self.look(|view| view.apiserver = client);
        Ok(())
    }

    fn configuration(&mut self, content: &[Vec<u8>]) -> Result<(), String> {
        let documents = checked(&self.settings, content)?;
        let inputs = Inputs { documents, ..self.inputs.clone() };
        let rendered = render(&inputs).map_err(|error| error.to_string())?;
        check(&rendered, &self.settings.envoy, &self.settings.run_directory)
            .map_err(|error| error.to_string())?;
        // As kube-apiserver does before it takes a changed file.
        let known = self.inputs.documents.issuers();
        let issuers = inputs.documents.issuers().iter().filter(|issuer| !known.contains(issuer));
        let issuers: Vec<_> = issuers.cloned().collect();
        // Their clusters stay for the filter's new configuration: it finds them on every worker.
        let candidates = Candidates { issuers: issuers.clone(), ..Candidates::default() };
        let taken = self
            .offer(candidates)
            .and_then(|()| self.issuers_answer(&issuers, &self.system_ca))
            .and_then(|()| self.hand_over(&inputs, &rendered));
        if let Err(reason) = taken {
            // An Envoy that starts anew must find what this one goes on with, too.
            self.withdraw()?;
            return Err(reason);
        }
        if self.moves_login(&inputs) {
            warn!("the portal's login needs a restart: its issuer is gone, or has another CA");
        }
        self.inputs = inputs;
        self.tell_documents();
        Ok(())
    }

    /// Writes Envoy's files before it runs.
    fn write(&self) -> Result<(), String> {
        let rendered = render(&self.inputs).map_err(|error| error.to_string())?;
        write(&rendered, &self.inputs.directory).map_err(|error| error.to_string())?;
        self.tell_documents();
        Ok(())
    }

    /// Tells whoever wants to know what the documents say.
    fn tell_documents(&self) {
        let documents = &self.inputs.documents;
        for warning in documents.warnings() {
            warn!(input = Subject::Configuration.label(), "{warning}");
        }
        if documents.reads_address() && !self.settings.options.knows_clients() {
            warn!(
                input = Subject::Configuration.label(),
                "a condition reads request.address, and nobody before the gateway is believed (--trusted-hops, --trusted-proxies, --proxy-protocol): behind a balancer every client has the balancer's"
            );
        }
        if let Some(end) = documents.issuers().iter().filter_map(issuer::expiry).min() {
            let label = Subject::Configuration.label();
            self.metrics.set(Metric::CertificateExpiry, [label, ""], end);
        }
        self.look(|view| {
            view.documents = Arc::new(documents.clone());
            view.issuers = urls(documents);
            view.rights = rights(documents);
        });
    }

    /// Whether the cluster goes by which the portal's login reaches its issuer: what names it is read at start alone.
    fn moves_login(&self, inputs: &Inputs) -> bool {
        let login = inputs.portal.as_ref().and_then(|portal| portal.login.as_ref());
        let cluster = |inputs: &Inputs| {
            let mut issuers = inputs.documents.issuers().iter();
            login
                .and_then(|login| issuers.find(|issuer| issuer.url == login.issuer))
                .map(cluster_name)
        };
        cluster(inputs) != cluster(&self.inputs)
    }

    /// Writes changed files for an Envoy that runs, and waits until the filter has taken its own.
    ///
    /// Clusters of issuers that leave stay until then: the old configuration of the filter still names them. If it fails, the files are to
    /// be withdrawn.
    fn hand_over(&self, inputs: &Inputs, rendered: &Rendered) -> Result<(), String> {
        let write = |rendered: &Rendered| {
            let written = write(rendered, &inputs.directory).map_err(|error| error.to_string())?;
            Ok::<_, String>(written.contains(&FILTER_FILE))
        };
        let render = |inputs: &Inputs| render(inputs).map_err(|error| error.to_string());
        let staying = inputs.documents.issuers();
        let leaving = self.inputs.documents.issuers().iter();
        let leaving = leaving.filter(|issuer| !staying.contains(issuer)).cloned().collect();
        let both = Inputs { leaving, ..inputs.clone() };
        let before = self.admin.numbers()?;
        if write(&render(&both)?)? {
            let start = Instant::now();
            loop {
                let now = self.admin.numbers().unwrap_or_else(|_| before.clone());
                if now.refused > before.refused {
                    return Err("the filter refuses it: Envoy's log has the reason".to_owned());
                }
                // Envoy may have been restarted meanwhile; then it has read the new file.
                if now.taken > before.taken || (now.taken > 0 && now.taken < before.taken) {
                    break;
                }
                if start.elapsed() > RELOAD {
                    return Err("Envoy does not take it".to_owned());
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        write(rendered).map(drop)
    }

    fn look(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut view);
        view.generation += 1;
    }

    fn put_pair(&mut self, subject: Subject, pair: &Pair) -> Result<(), String> {
        pair.check().map_err(|error| error.to_string())?;
        self.put(subject, &[("tls.crt", &pair.chain), ("tls.key", &pair.key)])
    }

    fn put(&mut self, subject: Subject, files: &[(&str, &[u8])]) -> Result<(), String> {
        let volume = self.volumes.get_mut(&subject).ok_or("it has no place")?;
        volume.replace(files).map_err(|error| format!("cannot write a copy of it: {error}"))
    }

    fn new(
        settings: Arc<Settings>,
        documents: Documents,
        admin: Admin,
        metrics: Arc<Metrics>,
    ) -> Result<Self, RunError> {
        let root = &settings.run_directory;
        let failed = |source: io::Error| RunError::RunDirectory { path: root.clone(), source };
        files::folder(root).map_err(failed)?;
        let mut volumes = BTreeMap::new();
        for (subject, _) in subjects(&settings) {
            let name = match subject {
                Subject::Named(index) => format!("{}-{index}", subject.label()),
                Subject::Configuration => continue,
                _ => subject.label().to_owned(),
            };
            volumes.insert(subject, Volume::new(&root.join(name)).map_err(failed)?);
        }
        let credential = Credential::Token(String::new());
        let apiserver = ApiServer::new(&settings.apiserver, None, &credential)
            .map_err(|reason| RunError::Input { input: "the API server".to_owned(), reason })?;
        let view = View {
            apiserver,
            documents: Arc::new(documents.clone()),
            issuers: urls(&documents),
            rights: rights(&documents),
            generation: 0,
        };
        let inputs = inputs::of(&settings, documents, &volumes);
        Ok(Self {
            inputs,
            volumes,
            apiserver_ca: None,
            credential,
            system_ca: Vec::new(),
            issuer_certificate: None,
            admin,
            probe: Probe::new(&admin_socket(&settings)),
            metrics,
            view: Arc::new(Mutex::new(view)),
            settings,
        })
    }
}

/// Where Envoy's files are.
pub(crate) fn directory(settings: &Settings) -> std::path::PathBuf {
    settings.run_directory.join("envoy")
}

/// Its name in the folder that the program writes to.
pub(crate) const ADMIN: &str = "admin.sock";

/// Where the socket of Envoy's administration is.
pub(crate) fn admin_socket(settings: &Settings) -> std::path::PathBuf {
    settings.run_directory.join(ADMIN)
}

/// The documents of what [`Settings::document_sources`] held, valid and fit for Envoy's limits.
fn checked(settings: &Settings, content: &[Vec<u8>]) -> Result<Documents, String> {
    let [first, second] = content else { return Err("nothing to read".to_owned()) };
    let documents = settings.documents(first, second).map_err(|error| error.to_string())?;
    documents.fit(&settings.options.limits)?;
    if !documents.gateway().logout.path.is_empty() && !settings.options.takes_logouts {
        return Err(RenderError::NobodyTakesLogouts.to_string());
    }
    tokens::prepare(&documents)?;
    Ok(documents)
}

fn urls(documents: &Documents) -> Vec<String> {
    documents.issuers().iter().map(|issuer| issuer.url.clone()).collect()
}
