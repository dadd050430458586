//! The real thing: etcd, kube-apiserver, issuers and the program with its Envoy, and the files through which it is changed.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use gateway_tests::{built, crashing, mount::Mount};
use sandbox::{Authority, Client, Cluster, Port, Program, Steps, wait};
use tempfile::TempDir;

use crate::people::{self, People};

/// How long a change may take to be live on a busy machine.
const LIVE: Duration = Duration::from_secs(60);

/// A token of the gateway's outlives the longest run without a swap of it.
const TOKEN_SECONDS: u32 = 6 * 3600;

/// kube-apiserver's audit policy: the last stages of everything, as the first one knows no impersonation.
const APISERVER_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [{"level": "None", "users": ["system:apiserver"]}, {"level": "Metadata"}]}"#;

/// The gateway's: everything.
const GATEWAY_POLICY: &str =
    "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";

/// The file of what the program and Envoy say.
const MESSAGES: &str = "program.log";

/// What the files of the serving certificate are called.
const SERVING: &str = "serving";

/// Megabytes of an audit log before it is renamed, and how many old ones stay for whoever looks into a violation.
const LOG_MEGABYTES: u32 = 64;
const LOG_BACKUPS: u32 = 3;

/// What the load runs against.
pub struct World {
    program: Mutex<Program>,
    /// Issuers and users.
    pub people: People,
    /// The cluster.
    pub cluster: Cluster,
    account: Mutex<Mount>,
    config: Mutex<Mount>,
    authority: Authority,
    port: Port,
    probe: Port,
    folder: TempDir,
}

/// Where a run's logs are.
pub struct Logs {
    /// kube-apiserver's audit log.
    pub apiserver: PathBuf,
    /// The gateway's audit events.
    pub events: PathBuf,
    /// A pipe with the gateway's access log.
    pub lines: PathBuf,
    /// What the program and Envoy say.
    pub messages: PathBuf,
}

impl World {
    /// Starts all of it; the gateway is ready when this returns. `open` is called with the logs before the program starts:
    /// the pipe must have a reader.
    pub fn start(workers: u32, filter: Option<&Path>, open: impl FnOnce(&Logs)) -> Result<Self> {
        let mut folder = tempfile::Builder::new().prefix("soak-").tempdir()?;
        folder.disable_cleanup(std::env::var_os("SANDBOX_KEEP").is_some());
        let at = |name: &str| folder.path().join(name);
        let logs = Logs {
            apiserver: at("apiserver-audit.log"),
            events: at("gateway-audit.log"),
            lines: at("access.pipe"),
            messages: at(MESSAGES),
        };
        let policy = at("apiserver-policy.yaml");
        fs::write(&policy, APISERVER_POLICY)?;
        fs::write(at("gateway-policy.yaml"), GATEWAY_POLICY)?;
        let made = Command::new("mkfifo").arg("-m").arg("600").arg(&logs.lines).status()?;
        ensure!(made.success(), "cannot make a pipe for the access log");
        let people = People::start()?;
        let cluster = Cluster::builder()
            .apiserver_arguments([
                "--enable-priority-and-fairness=false".to_owned(),
                "--max-requests-inflight=0".to_owned(),
                "--max-mutating-requests-inflight=0".to_owned(),
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", logs.apiserver.display()),
                format!("--audit-log-maxsize={LOG_MEGABYTES}"),
                format!("--audit-log-maxbackup={LOG_BACKUPS}"),
            ])
            .steps(Steps::Told)
            .start()?;
        cluster.apply(&people::manifest())?;
        let rogue = filter.is_some();
        let filter = if let Some(filter) = filter {
            vec![format!("--filter={}", filter.display())]
        } else if built::is_native() {
            // Nobody has a way to crash it, and a crash would be Envoy's: the checker knows no window for that.
            built::filter_flags()
        } else {
            let trapped = at("filter.wasm");
            crashing::write(&built::filter(), &trapped);
            fs::copy(built::connections(), at("connections.wasm"))?;
            vec![format!("--filter={}", trapped.display())]
        };
        let authority = Authority::new("serving")?;
        authority.server(&[])?.write(folder.path(), SERVING)?;
        let mut account = Mount::new(&at("account"));
        let token = token(&cluster)?;
        account.swap(&[("token", token.as_bytes()), ("ca.crt", cluster.ca().as_bytes())]);
        let mut config = Mount::new(&at("config"));
        config.swap(&[
            ("authentication.yaml", people.authentication(true).to_string().as_bytes()),
            ("gateway.yaml", people::configuration(0).to_string().as_bytes()),
        ]);
        let (port, probe) = (Port::reserve()?, Port::reserve()?);
        open(&logs);
        let paths = Paths { folder: folder.path(), logs: &logs, filter: &filter };
        let program = start_program(&cluster, &paths, (&port, &probe), workers)?;
        let world = Self {
            program: Mutex::new(program),
            people,
            cluster,
            account: Mutex::new(account),
            config: Mutex::new(config),
            authority,
            port,
            probe,
            folder,
        };
        world.wait(rogue).with_context(|| world.log())?;
        Ok(world)
    }

    /// Waits until the gateway is ready.
    fn wait(&self, rogue: bool) -> Result<()> {
        let mut program = lock(&self.program);
        if rogue {
            // Such a filter fetches no keys, so that the program is never ready.
            program.wait_until(|| {
                TcpStream::connect(self.address()).map(drop).map_err(|error| error.to_string())
            })?;
        } else {
            let probe = self.probe()?;
            program.wait_until(|| {
                let answer = probe.get("/readyz").map_err(|error| error.to_string())?;
                if answer.status == 200 { Ok(()) } else { Err(answer.body) }
            })?;
        }
        Ok(())
    }

    /// Where the gateway listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.port.address()
    }

    /// The CA of its certificate, PEM.
    pub fn ca(&self) -> &str {
        self.authority.pem()
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes sure that the program and the cluster run.
    pub fn check(&self) -> Result<()> {
        lock(&self.program).check()?;
        Ok(())
    }

    /// The numbers of the program's process and of Envoy's.
    pub fn processes(&self) -> Result<(u32, u32)> {
        let program = lock(&self.program).id();
        Ok((program, child_of(program).context("Envoy does not run")?))
    }

    /// The sum of the metrics whose lines begin so.
    pub fn metric(&self, begins: &str) -> Result<f64> {
        let text = self.probe()?.get("/metrics")?.body;
        let value = |line: &str| line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
        Ok(text.lines().filter(|line| line.starts_with(begins)).filter_map(value).sum())
    }

    /// Another token for the gateway, as a kubelet brings it; returns when it is live.
    pub fn swap_token(&self, text: Option<&str>) -> Result<()> {
        let token = text.map_or_else(|| token(&self.cluster), |text| Ok(text.to_owned()))?;
        let result = if text.is_some() { "refused" } else { "ok" };
        self.change("credential", result, || {
            lock(&self.account).swap(&[("token", token.as_bytes())]);
        })
    }

    /// Changes documents of the configuration; returns when the program has taken (or refused) them.
    pub fn configure(&self, files: &[(&str, &[u8])], result: &str) -> Result<()> {
        self.change("configuration", result, || lock(&self.config).swap(files))
    }

    /// Puts back what serves, after something that was refused.
    pub fn restore(&self, files: &[(&str, &[u8])]) -> Result<()> {
        lock(&self.config).swap(files);
        let metric = "gateway_reload_refused{input=\"configuration\"";
        self.wait_for("configuration that stands no longer refused", metric, |value| value < 0.5)
    }

    fn change(&self, input: &str, result: &str, swap: impl FnOnce()) -> Result<()> {
        let metric = format!("gateway_reloads_total{{input=\"{input}\",result=\"{result}\"}}");
        let before = self.metric(&metric)?;
        swap();
        self.wait_for(&format!("{input} {result}"), &metric, |value| value > before + 0.5)
    }

    fn wait_for(&self, what: &str, metric: &str, is_so: impl Fn(f64) -> bool) -> Result<()> {
        Ok(wait::within(LIVE, what, || match self.metric(metric) {
            Ok(value) if is_so(value) => Ok(()),
            Ok(value) => Err(format!("{metric} is {value}")),
            Err(error) => Err(format!("{error:#}")),
        })?)
    }

    fn probe(&self) -> Result<Client> {
        Ok(Client::tls(&format!("http://{}", self.probe.address()), self.authority.pem(), None)?)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(MESSAGES)).unwrap_or_default()
    }
}

/// Where the program finds its files.
struct Paths<'a> {
    folder: &'a Path,
    logs: &'a Logs,
    /// The flags that name the filter.
    filter: &'a [String],
}

fn start_program(
    cluster: &Cluster,
    paths: &Paths<'_>,
    (port, probe): (&Port, &Port),
    workers: u32,
) -> Result<Program> {
    let at = |name: &str| paths.folder.join(name);
    let file = |name: &str| at(name).display().to_string();
    let arguments = [
        // Its output goes to the pipe, its messages into a file.
        "-c".to_owned(),
        r#"pipe=$1; shift; exec "$@" >"$pipe""#.to_owned(),
        "sh".to_owned(),
        paths.logs.lines.display().to_string(),
        built::program().display().to_string(),
        "run".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        "--readiness-probe-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", port.number()),
        format!("--readiness-probe-port={}", probe.number()),
        format!("--tls-cert-file={}", file(&format!("{SERVING}.crt"))),
        format!("--tls-private-key-file={}", file(&format!("{SERVING}.key"))),
        format!("--service-account-dir={}", file("account")),
        format!("--authentication-config={}", file("config/authentication.yaml")),
        format!("--gateway-config={}", file("config/gateway.yaml")),
        format!("--envoy-binary={}", cluster.assets().envoy.display()),
        format!("--run-dir={}", file("run")),
        format!("--audit-policy-file={}", file("gateway-policy.yaml")),
        format!("--audit-log-path={}", paths.logs.events.display()),
        format!("--audit-log-maxsize={LOG_MEGABYTES}"),
        format!("--audit-log-maxbackup={LOG_BACKUPS}"),
        format!("--concurrency={workers}"),
        "--shutdown-delay-duration=0s".to_owned(),
        "--drain-duration=2s".to_owned(),
    ];
    let arguments = arguments.into_iter().chain(paths.filter.iter().cloned());
    let port = cluster.port().to_string();
    let environment =
        [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", &*port)];
    Ok(Program::start(Path::new("/bin/sh"), arguments, &environment, &paths.logs.messages)?)
}

/// A process's first child.
fn child_of(parent: u32) -> Option<u32> {
    let children = format!("/proc/{parent}/task");
    let tasks = fs::read_dir(children).ok()?;
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .find_map(|text| text.split_whitespace().next()?.parse().ok())
}

fn token(cluster: &Cluster) -> Result<String> {
    let (namespace, name) = Cluster::GATEWAY;
    Ok(cluster.service_account_token(namespace, name, TOKEN_SECONDS)?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
