//! What every test stands on: the shared cluster, and a program in front of it.

mod load;
mod multiplex;
mod mutual;
mod raw;
mod session;
mod tunnel;

use std::{
    fs,
    path::PathBuf,
    sync::LazyLock,
    time::{Duration, Instant},
};

use oidc_provider::{
    Algorithm, ClientConfig, Config, Issuer, IssuerConfig, Preset, Provider, TokenBuilder,
};
use sandbox::{Authority, Client, Cluster, Credential, Kubeconfig, Kubectl, Port, Program, realm};
use tempfile::TempDir;
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

pub use self::{
    load::{Load, Watches},
    multiplex::Multiplex,
    mutual::Mutual,
    raw::{Frames, Outcome, Raw, again, block, indexed},
    session::Sessions,
    tunnel::Tunnel,
};
pub use gateway_tests::{built::program as binary, mount::Mount};
pub use sandbox::wait::until;

/// How long a test waits for what must happen.
pub const LIMIT: Duration = Duration::from_secs(60);

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    // One user makes all the load: the API server's fairness between users is not what is tested.
    let cluster = Cluster::builder()
        .apiserver_arguments([
            "--max-requests-inflight=0",
            "--max-mutating-requests-inflight=0",
            "--enable-priority-and-fairness=false",
        ])
        .start()
        .expect("the cluster starts");
    cluster.apply(include_str!("role.yaml")).expect("the gateway's role");
    cluster
});

/// The cluster that all tests share.
pub fn cluster() -> &'static Cluster {
    &CLUSTER
}

/// The program in front of the cluster, with a provider of its own.
pub struct Rig {
    /// The program. Ends first.
    pub program: Program,
    /// The provider.
    pub provider: Provider,
    /// The serving certificate, as kubelet mounts a secret.
    pub serving: Mount,
    /// The ServiceAccount's files: `token` and `ca.crt`.
    pub account: Mount,
    /// The issuer's CA and other files of configuration.
    pub config: Mount,
    /// The CA of the serving certificate.
    pub authority: Authority,
    /// How long it took to be ready: most of it is Envoy compiling the filter.
    pub start_time: Duration,
    port: Port,
    probe: Port,
    folder: TempDir,
}

/// Where the files of a [`Rig`] are, for its flags.
pub struct Files {
    /// The issuer's URL.
    pub issuer: String,
    /// The folder of [`Rig::config`].
    pub config: PathBuf,
    /// Where the program will listen.
    pub port: u16,
    /// The CA of its certificate, PEM.
    pub authority: String,
}

impl Files {
    /// Writes a file beside that folder, of which no mount makes a copy.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.config.with_file_name(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// What differs from rig to rig, beside flags.
pub struct Setup {
    /// The provider's host; the certificate has it, whether or not a resolver does.
    pub host: &'static str,
    /// Whether the way to the API server is that of a pod; else it is a kubeconfig.
    pub in_pod: bool,
    /// Namespace and name of the gateway's ServiceAccount.
    pub account: (&'static str, &'static str),
    /// Variables of the program's environment.
    pub environment: Vec<(&'static str, String)>,
    /// Whether the flags of kube-oidc-proxy's chart stand before the others.
    pub chart: bool,
    /// More clients of the provider.
    pub clients: Vec<ClientConfig>,
    /// Another way to the API server than its own address, with one more CA that may have signed its certificate (PEM).
    pub server: Option<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            host: "127.0.0.1",
            in_pod: false,
            account: Cluster::GATEWAY,
            environment: Vec::new(),
            chart: true,
            clients: Vec::new(),
            server: None,
        }
    }
}

impl Rig {
    /// With the flags of kube-oidc-proxy's chart and `more`.
    pub fn new(more: &[&str]) -> Self {
        Self::with(|_| more.iter().map(ToString::to_string).collect(), true)
    }

    /// With flags that need to know files. With `chart` those of kube-oidc-proxy's chart stand before them.
    pub fn with(more: impl FnOnce(&Files) -> Vec<String>, chart: bool) -> Self {
        Self::ready(&Setup { chart, ..Setup::default() }, more)
    }

    /// With all that can differ; returns when it is ready.
    pub fn ready(setup: &Setup, more: impl FnOnce(&Files) -> Vec<String>) -> Self {
        let start = Instant::now();
        let mut rig = Self::begin(setup, more);
        let probe = rig.probe();
        let ready = rig.program.wait_until(|| {
            let answer = probe.get("/readyz").map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        });
        if let Err(error) = ready {
            panic!("{error}\n{}", rig.log());
        }
        rig.start_time = start.elapsed();
        rig
    }

    /// Likewise, without waiting until it is ready.
    pub fn start(more: impl FnOnce(&Files) -> Vec<String>, chart: bool) -> Self {
        Self::begin(&Setup { chart, ..Setup::default() }, more)
    }

    /// Likewise, with all that can differ.
    pub fn begin(setup: &Setup, more: impl FnOnce(&Files) -> Vec<String>) -> Self {
        let realm = Preset::KubernetesSandbox.issuer();
        let realm = realm.algorithms([Algorithm::Rs256, Algorithm::Es256]);
        let realm = setup.clients.iter().cloned().fold(realm, IssuerConfig::client);
        let provider =
            Provider::start(Config { host: setup.host.to_owned(), ..Config::of(realm) }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let authority = Authority::new("serving").unwrap();
        let pair = authority.server(&[]).unwrap();
        let mut serving = Mount::new(&at("serving"));
        serving.swap(&[("crt.pem", pair.certificate.as_bytes()), ("key.pem", pair.key.as_bytes())]);
        let mut account = Mount::new(&at("account"));
        let (server, authority_beside) =
            setup.server.clone().unwrap_or((cluster().url(), String::new()));
        account.swap(&[
            ("token", token_of(setup.account).as_bytes()),
            ("namespace", setup.account.0.as_bytes()),
            ("ca.crt", format!("{}{authority_beside}", cluster().ca()).as_bytes()),
        ]);
        let mut config = Mount::new(&at("config"));
        config.swap(&[
            ("oidc-ca.pem", provider.ca_pem().as_bytes()),
            ("authentication.yaml", realm::authentication_of(&provider).to_string().as_bytes()),
            ("gateway.yaml", realm::configuration().to_string().as_bytes()),
        ]);
        let kubeconfig = at("kubeconfig");
        fs::write(&kubeconfig, account_kubeconfig(&server)).unwrap();
        let (port, probe) = (Port::reserve().unwrap(), Port::reserve().unwrap());
        let files = Files {
            issuer: provider.issuer().url().to_owned(),
            config: at("config"),
            port: port.number(),
            authority: authority.pem().to_owned(),
        };
        let mut arguments: Vec<String> = [
            "run",
            "--bind-address=127.0.0.1",
            "--readiness-probe-address=127.0.0.1",
            &format!("--secure-port={}", port.number()),
            &format!("--readiness-probe-port={}", probe.number()),
            &format!("--tls-cert-file={}", at("serving/crt.pem").display()),
            &format!("--tls-private-key-file={}", at("serving/key.pem").display()),
            &if setup.in_pod {
                format!("--service-account-dir={}", at("account").display())
            } else {
                format!("--kubeconfig={}", kubeconfig.display())
            },
            &format!("--envoy-binary={}", cluster().assets().envoy.display()),
            &format!("--run-dir={}", at("run").display()),
            "--concurrency=2",
            "--shutdown-delay-duration=1s",
            "--drain-duration=6s",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(gateway_tests::built::filter_flags());
        if setup.chart {
            arguments.extend([
                format!("--oidc-issuer-url={}", files.issuer),
                format!("--oidc-client-id={}", realm::CLIENT),
                format!("--oidc-ca-file={}", at("config/oidc-ca.pem").display()),
                "--oidc-username-claim=preferred_username".to_owned(),
                "--oidc-groups-claim=groups".to_owned(),
                "--allow-reserved-groups=system:viewers,system:masters".to_owned(),
            ]);
        }
        arguments.extend(more(&files));
        let log = at("log");
        let pod = [
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1".to_owned()),
            ("KUBERNETES_SERVICE_PORT", cluster().port().to_string()),
        ];
        let environment = pod.iter().filter(|_| setup.in_pod).chain(&setup.environment);
        let environment: Vec<_> =
            environment.map(|(name, value)| (*name, value.as_str())).collect();
        let program = Program::start(&binary(), arguments, &environment, &log).unwrap();
        Self {
            program,
            provider,
            serving,
            account,
            config,
            authority,
            start_time: Duration::ZERO,
            port,
            probe,
            folder,
        }
    }

    /// The issuer.
    pub fn issuer(&self) -> Issuer {
        self.provider.issuer()
    }

    /// A good token of `k8s-user1` (group `system:viewers`) in the making.
    pub fn token(&self) -> TokenBuilder {
        self.issuer().token("k8s-user1", realm::CLIENT)
    }

    /// The name that `k8s-user1` has behind the gateway.
    pub fn user(&self) -> String {
        format!("{}#k8s-user1", self.issuer().url())
    }

    /// The gateway's URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.port.address()
    }

    /// kubectl through the gateway with a token.
    pub fn kubectl(&self, token: impl Into<String>) -> Kubectl {
        let kubeconfig = Kubeconfig {
            server: self.url(),
            ca: self.authority.pem().to_owned(),
            credential: Credential::Token(token.into()),
        };
        cluster().kubectl_with(&kubeconfig).unwrap()
    }

    /// HTTP/1.1 to the gateway, with connections that are kept, and without retries.
    pub fn agent(&self) -> Agent {
        let root = Certificate::from_pem(self.authority.pem().as_bytes()).unwrap();
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
        Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .build()
            .into()
    }

    /// The port for probes and metrics.
    pub fn probe(&self) -> Client {
        Client::tls(&format!("http://{}", self.probe.address()), self.authority.pem(), None)
            .unwrap()
    }

    /// Where that port is.
    pub fn probe_address(&self) -> std::net::SocketAddr {
        self.probe.address()
    }

    /// A number of `/metrics`, by what its line begins with; the sum if there are several.
    pub fn metric(&self, begins: &str) -> f64 {
        let text = self.probe().get("/metrics").unwrap().body;
        let value =
            |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        text.lines().filter(|line| line.starts_with(begins)).filter_map(value).sum()
    }

    /// The folder that the program writes to.
    pub fn run_directory(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// What Envoy's administration answers.
    pub fn envoy_admin(&self, path: &str) -> String {
        let socket = self.folder.path().join("run/admin.sock");
        let mut command = std::process::Command::new("curl");
        command.args(["--silent", "--unix-socket"]).arg(socket).arg(format!("http://envoy{path}"));
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    }

    /// What the program and Envoy have written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.program.log()).unwrap_or_default()).into_owned()
    }

    /// Waits until the log holds a text.
    pub fn wait_for_log(&self, text: &str) {
        until(text, || self.log().contains(text).then_some(()));
    }

    /// The number of Envoy's process.
    pub fn envoy(&self) -> u32 {
        let parent = self.program.id().to_string();
        let found = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let number: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            (fields.nth(1)? == parent).then_some(number)
        });
        found.into_iter().next().expect("Envoy runs")
    }
}

/// A token of the gateway's ServiceAccount.
pub fn token() -> String {
    token_of(Cluster::GATEWAY)
}

fn token_of((namespace, name): (&str, &str)) -> String {
    cluster().service_account_token(namespace, name, 600).unwrap()
}

/// A kubeconfig with the ServiceAccount's files.
fn account_kubeconfig(server: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}],
          clusters: [{{name: a, cluster: {{server: \"{server}\", certificate-authority: account/ca.crt}}}}],
          users: [{{name: a, user: {{tokenFile: account/token}}}}]}}"
    )
}
