//! API servers in all manners, each with the program in front of it: where kubectl gets through, it gets through the gateway, and the
//! gateway calls itself ready. The answers are a table of docs/conformance.md.

mod renewals;

use std::{fmt::Write, fs, path::Path, sync::Barrier, thread, time::Duration};

use gateway_tests::built;
use oidc_provider::{Config, Preset, Provider};
use sandbox::{
    Authority, Client, Cluster, Credential, IdentityFiles, Kubeconfig, Kubectl, Manners, Port,
    Program, realm, wait::within,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::page;

const TABLE: &str = include_str!("apiservers.yaml");

/// Rows in which the gateway fails by a defect that is known and is to be cured: manner, defect. A row that agrees must not stand here.
const KNOWN: &[(&str, &str)] = &[];

/// How long the gateway may take to be ready, and a line of a watch.
const LIMIT: Duration = Duration::from_secs(60);

/// Watches of one kubectl beside its other commands: more than one stream.
const WATCHES: usize = 3;

/// Programs that start at the same time; Envoy compiles the filter for each.
const AT_ONCE: usize = 4;

const POD: &str = "matrix";

const RIGHTS: &str = include_str!("../program/harness/role.yaml");

/// One manner.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    manner: String,
    /// Flags of kube-apiserver.
    #[serde(default)]
    flags: Vec<String>,
    /// The certificate that it shows, in place of the sandbox's own.
    #[serde(default)]
    certificate: Option<Value>,
    /// Why the gateway does not get through.
    #[serde(default)]
    difference: Option<String>,
}

/// How to reach an API server: whom to believe, and the name to ask for.
struct Way {
    server: String,
    ca: String,
    name: Option<String>,
}

/// The program in front of an API server.
struct Gateway {
    // Ends first.
    _program: Program,
    kubectl: Kubectl,
    probe: Client,
    log: std::path::PathBuf,
    _ports: (Port, Port),
    _folder: TempDir,
}

fn rows() -> Vec<Row> {
    serde_saphyr::from_str(TABLE).unwrap()
}

/// A cluster with a pod and the gateway's rights.
fn cluster() -> Cluster {
    let cluster = Cluster::builder().start().unwrap();
    cluster.apply(RIGHTS).unwrap();
    let pod = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {POD}}},
          spec: {{nodeName: {}, containers: [{{name: main, image: none}}]}}}}",
        sandbox::NODE
    );
    cluster.apply(&pod).unwrap();
    let ready = ["wait", "--for=condition=Ready", "--timeout=60s", "pod", POD];
    cluster.admin().must(ready, "").unwrap();
    cluster
}

impl Way {
    /// kubectl straight to the API server as an administrator.
    fn kubectl(&self, cluster: &Cluster) -> Kubectl {
        let credential = cluster.admin_kubeconfig().credential;
        let kubeconfig =
            Kubeconfig { server: self.server.clone(), ca: self.ca.clone(), credential };
        cluster.kubectl_with(&kubeconfig).unwrap()
    }

    /// What kubectl has to be told beside its kubeconfig.
    fn flags(&self) -> Vec<String> {
        self.name.iter().map(|name| format!("--tls-server-name={name}")).collect()
    }
}

impl Gateway {
    fn start(cluster: &Cluster, way: &Way, provider: &Provider) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let authority = Authority::new("serving").unwrap();
        let serving = authority.server(&[]).unwrap().write(folder.path(), "tls").unwrap();
        let (namespace, account) = Cluster::GATEWAY;
        let token = cluster.service_account_token(namespace, account, 3600).unwrap();
        for (name, text) in
            [("token", &*token), ("api.crt", &way.ca), ("issuer.crt", provider.ca_pem())]
        {
            fs::write(at(name), text).unwrap();
        }
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {
                "server": way.server,
                "certificate-authority": "api.crt",
                "tls-server-name": way.name.clone().unwrap_or_default(),
            }}],
            "users": [{"name": "a", "user": {"tokenFile": "token"}}],
        });
        fs::write(at("kubeconfig"), kubeconfig.to_string()).unwrap();
        let (port, probe) = (Port::reserve().unwrap(), Port::reserve().unwrap());
        let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        let arguments = [
            "run".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--readiness-probe-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", port.number()),
            format!("--readiness-probe-port={}", probe.number()),
            file("tls-cert-file", &serving.certificate),
            file("tls-private-key-file", &serving.key),
            file("kubeconfig", &at("kubeconfig")),
            file("envoy-binary", &cluster.assets().envoy),
            file("filter", &built::filter()),
            file("run-dir", &at("run")),
            "--concurrency=1".to_owned(),
            "--shutdown-delay-duration=0s".to_owned(),
            format!("--oidc-issuer-url={}", provider.issuer().url()),
            format!("--oidc-client-id={}", realm::CLIENT),
            file("oidc-ca-file", &at("issuer.crt")),
            "--oidc-groups-claim=groups".to_owned(),
            "--allow-reserved-groups=system:masters".to_owned(),
        ];
        let log = at("log");
        let program = Program::start(&built::program(), arguments, &[], &log).unwrap();
        let token = provider.issuer().token("k8s-user1", realm::CLIENT);
        let token = token.claim("groups", ["system:masters"].as_slice()).expires_in(3600).mint();
        let kubeconfig = Kubeconfig {
            server: format!("https://{}", port.address()),
            ca: authority.pem().to_owned(),
            credential: Credential::Token(token),
        };
        let kubectl = cluster.kubectl_with(&kubeconfig).unwrap();
        let address = format!("http://{}", probe.address());
        let client = Client::tls(&address, authority.pem(), None).unwrap();
        Self {
            _program: program,
            kubectl,
            probe: client,
            log,
            _ports: (port, probe),
            _folder: folder,
        }
    }

    /// Waits until it calls itself ready.
    fn ready(&self) -> Result<(), String> {
        let ready = within(LIMIT, "the gateway to be ready", || {
            let answer = self.probe.get("/readyz").map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        });
        ready.map_err(|error| format!("{error}\n{}", self.log()))
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A list, watches at the same time, a stream of bytes, and the API server's own word for it.
fn works(kubectl: &Kubectl, flags: &[String]) -> Result<(), String> {
    let text = |error: sandbox::Error| error.to_string();
    let words = |words: &[&str]| {
        let words = words.iter().map(ToString::to_string);
        words.chain(flags.iter().cloned()).collect::<Vec<_>>()
    };
    let ok = kubectl.must(words(&["get", "--raw", "/readyz"]), "").map_err(text)?;
    if ok != "ok" {
        return Err(ok);
    }
    let watch = words(&["get", "namespaces", "--watch"]);
    let mut watches = Vec::new();
    for _ in 0..WATCHES {
        let mut watch = kubectl.start(&watch).map_err(text)?;
        watch.line(LIMIT, |line| line.starts_with("kube-system")).map_err(text)?;
        watches.push(watch);
    }
    kubectl.must(words(&["get", "namespaces"]), "").map_err(text)?;
    let exec: Vec<String> =
        words(&["exec", "-i", POD]).into_iter().chain(["--", "cat"].map(str::to_owned)).collect();
    let said = kubectl.must(exec, "in and out").map_err(text)?;
    if said == "in and out" { Ok(()) } else { Err(format!("exec said {said:?}")) }
}

/// Whether kubectl works straight and through the gateway, which says that it is ready.
fn try_both(cluster: &Cluster, way: &Way, provider: &Provider) -> [Result<(), String>; 2] {
    let straight = works(&way.kubectl(cluster), &way.flags());
    let gateway = Gateway::start(cluster, way, provider);
    let through = gateway.ready().and_then(|()| works(&gateway.kubectl, &[]));
    let through = through.and_then(|()| gateway.ready());
    [straight, through]
}

#[test]
fn what_kubectl_gets_of_an_api_server_it_gets_through_the_gateway() {
    let rows = rows();
    let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
    let name = |index: usize| format!("row-{index}.apiserver.test");
    let certificates = rows.iter().enumerate().filter_map(|(index, row)| {
        let mut certificate = row.certificate.clone()?;
        certificate["names"] = json!([name(index)]);
        Some((index, certificate))
    });
    let certificates: Vec<_> = certificates.collect();
    let manners = certificates
        .iter()
        .fold(Manners::builder(json!({"keys": []})), |manners, (index, certificate)| {
            manners.certificate(&name(*index), certificate)
        });
    let manners = manners.start().unwrap();
    let cluster = cluster();

    // It chooses a certificate by the name that it is asked for.
    let folder = tempfile::tempdir().unwrap();
    let mut flags = Vec::new();
    let mut ways = Vec::new();
    for (index, _) in &certificates {
        let (identity, ca) = manners.certificate(&name(*index)).unwrap();
        let files = identity.write(folder.path(), &name(*index)).unwrap();
        flags.push(sni(&files));
        ways.push((*index, Way { server: cluster.url(), ca, name: Some(name(*index)) }));
    }
    cluster.start_apiserver_with(&flags).unwrap();
    let mut answers: Vec<(usize, [Result<(), String>; 2])> = Vec::new();
    for ways in ways.chunks(AT_ONCE) {
        answers.extend(thread::scope(|scope| {
            let tries: Vec<_> = ways
                .iter()
                .map(|(index, way)| {
                    let (cluster, provider) = (&cluster, &provider);
                    scope.spawn(move || (*index, try_both(cluster, way, provider)))
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        }));
    }
    let own = Way { server: cluster.url(), ca: cluster.ca().to_owned(), name: None };
    for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.certificate.is_none()) {
        cluster.start_apiserver_with(&row.flags).unwrap();
        answers.push((index, try_both(&cluster, &own, &provider)));
    }
    answers.sort_by_key(|(index, _)| *index);

    let (mut wrong, mut table) = (Vec::new(), String::new());
    table.push_str("| API server | kubectl | through the gateway | |\n|---|---|---|---|\n");
    for (row, (_, [straight, through])) in rows.iter().zip(&answers) {
        let known = KNOWN.iter().find(|(manner, _)| *manner == row.manner).map(|(_, why)| *why);
        let seen = format!("{}: {straight:?} straight, {through:?} through", row.manner);
        match (straight.is_ok() == through.is_ok(), &row.difference, known) {
            (true, None, None) | (false, Some(_), None) | (false, None, Some(_)) => {}
            (true, ..) => wrong.push(format!("{seen}: they agree; take the reason away")),
            (false, Some(_), Some(_)) => wrong.push(format!("{seen}: two reasons")),
            (false, None, None) => wrong.push(format!("{seen}: no reason is given")),
        }
        let say = |result: &Result<(), String>| if result.is_ok() { "works" } else { "fails" };
        let known = known.map(|defect| format!("to be cured: {defect}"));
        let why = row.difference.clone().or(known).unwrap_or_default();
        let cells = [&*row.manner, say(straight), say(through), &why].join(" | ");
        writeln!(table, "| {} |", cells.trim_end()).unwrap();
    }
    for (manner, _) in KNOWN {
        assert!(rows.iter().any(|row| row.manner == *manner), "there is no manner {manner}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    page::check("apiservers", &table);
}

fn sni(files: &IdentityFiles) -> String {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    format!("--tls-sni-cert-key={certificate},{key}")
}

/// Before the first handshake is over nobody knows whether its connection carries one request at a time or a hundred: all are
/// served, and where it is HTTP/2 they share connections, however many wait.
#[test]
fn requests_that_wait_for_the_first_handshake_are_served_by_few_connections() {
    const AT_ONCE: usize = 150;
    const FEW: u64 = 12;
    let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
    let cluster = Cluster::builder().start().unwrap();
    let gateway = cluster.gateway(realm::authentication_of(&provider));
    let gateway = gateway.configuration(realm::configuration()).start().unwrap();
    let token = provider.issuer().token("k8s-user1", realm::CLIENT).mint();
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let ask = |client: &Client| {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        client.post_json_as(&token, path, &review).map(|answer| answer.status)
    };
    let client = || Client::tls(&gateway.url(), gateway.ca(), None).unwrap();
    assert_eq!(ask(&client()).unwrap(), 201);
    for (flags, http2) in [(&[][..], true), (&["--disable-http2-serving".to_owned()], false)] {
        // No connection of before is left.
        cluster.start_apiserver_with(flags).unwrap();
        let count = |of: &str| {
            let name = format!("cluster.apiserver_impersonate_h2.upstream_cx_{of}_total");
            gateway.stats().unwrap().get(&name)
        };
        let (before, plain) = (count("http2"), count("http1"));
        let barrier = Barrier::new(AT_ONCE);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    let client = client();
                    barrier.wait();
                    assert_eq!(ask(&client).unwrap(), 201);
                });
            }
        });
        let (opened, plain) = (count("http2") - before, count("http1") - plain);
        assert_eq!((opened > 0, plain > 0), (http2, !http2), "{opened} {plain}");
        assert!(opened <= FEW, "{opened}");
    }
}
