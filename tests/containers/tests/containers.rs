//! The whole story in containers, and what operators do to them. One test, because one project takes a minute to start.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Child,
    time::{Duration, Instant},
};

use container_tests::{Login, Project, docker, root, until};
use gateway_tests::readme::shell_blocks;

const ISSUER: &str = "https://keycloak:8443/auth/realms/kubernetes-sandbox";

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_in_containers() {
    let project = Project::start().await;
    for (name, part) in PARTS {
        eprint!("{name}: ");
        let start = Instant::now();
        part(&project);
        eprintln!("{:.1} s", start.elapsed().as_secs_f32());
    }
    // It ends as it would for the reader of the README; what is beside the project itself goes before.
    let beside = project.compose(&["rm", "--stop", "--force", "gateway-2", "balancer"]);
    assert!(beside.success, "{}", beside.err);
    let down = project.shell("make compose-down VOLUMES=1");
    assert!(down.success, "{}", down.err);
    let left = format!("label=com.docker.compose.project={}", project.name());
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &left]), "");
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &left]), "");
    project.end().await;
}

type Part = fn(&Project);

const PARTS: [(&str, Part); 10] = [
    ("two gateways behind a balancer", two),
    ("the images", images),
    ("the names of compose.yaml", default_names),
    ("the container is locked down", locked_down),
    ("the commands of the README", readme),
    ("the story of kubernetes-sandbox", story),
    ("Keycloak is away, and a serving certificate is replaced", keycloak_away),
    ("the authentication configuration is replaced", configuration),
    ("the gateway is killed", killed),
    ("the gateway is stopped", stopped),
];

/// Both serve, and each has fetched the issuer's keys once.
fn two(project: &Project) {
    let viewer = project.login("k8s-user1");
    let server = format!("--server={}", project.balancer());
    for _ in 0..6 {
        viewer.must(&["get", "namespaces", &server]);
    }
    for gateway in ["gateway", "gateway-2"] {
        // The filter hands its numbers on once a tick.
        let lines = until("the requests are counted", || {
            let text = project.tools(&["curl", "-sS", &format!("http://{gateway}:8080/metrics")]);
            let served = sum(&text, "gateway_requests_total", "decision=\"forwarded\"");
            if served > 1.0 { Ok(text) } else { Err(format!("{gateway}: {served}")) }
        });
        // Those that fail have not reached the issuer: Envoy does not know its address yet.
        let fetched = sum(&lines, "gateway_issuer_fetches_total", "result=\"ok\"");
        assert!((fetched - 1.0).abs() < 0.5, "{gateway}: {fetched}");
    }
}

/// The sum of a metric, as far as it has a label.
fn sum(metrics: &str, name: &str, label: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Small, with what they are made of, and the plugin's holds the filter alone.
fn images(project: &Project) {
    const MOST: u64 = 220_000_000;
    let image = project.docker(&["inspect", "-f", "{{.Image}}"], "gateway");
    let size: u64 =
        docker(&["image", "inspect", "-f", "{{.Size}}", &image]).parse().expect("a number");
    eprint!("{} MB, ", size / 1_000_000);
    assert!(size <= MOST, "{size} bytes");
    let health = docker(&["image", "inspect", "-f", "{{.Config.Healthcheck.Test}}", &image]);
    assert_eq!(health, "[CMD /usr/local/bin/kube-oidc-gateway probe]");
    assert_eq!(
        project.docker(&["inspect", "-f", "{{.State.Health.Status}}"], "gateway"),
        "healthy"
    );

    let files = |image: &str| {
        let container = docker(&["create", image, "/none"]);
        let listed = project.shell(&format!("docker export {container} | tar -t"));
        docker(&["rm", &container]);
        assert!(listed.success, "{}", listed.err);
        listed
            .out
            .lines()
            .filter(|line| !line.ends_with('/'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let inside = files(&image);
    for file in [
        "kube-oidc-gateway.cdx.json",
        "plugin.cdx.json",
        "connections.cdx.json",
        "native.cdx.json",
        "LICENCES.txt",
        "filter.wasm",
        "connections.wasm",
    ] {
        let file = format!("usr/local/share/kube-oidc-gateway/{file}");
        assert!(inside.contains(&file), "{file} is missing");
    }
    let native = "usr/local/lib/kube-oidc-gateway/libkube_oidc_gateway.so".to_owned();
    assert!(inside.contains(&native), "{native} is missing");
    let shells = inside.iter().filter(|file| file.ends_with("/sh") || file.ends_with("/bash"));
    assert_eq!(shells.count(), 0);
    readme_of_images(project, &image);
    // What Docker puts into every container.
    let dockers =
        [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"];
    let plugin = files("kube-oidc-gateway-plugin:local");
    let own: Vec<_> = plugin.iter().filter(|file| !dockers.contains(&file.as_str())).collect();
    assert_eq!(own, ["plugin.wasm"]);
}

/// What `make compose-up` finds where nobody names an image: public ones, those that compose.yaml builds, and Kubernetes' programs as made here.
fn default_names(project: &Project) {
    const PUBLIC: [&str; 1] = ["keycloak/keycloak:26.7.3"];
    const BUILT: [&str; 2] = ["kube-oidc-gateway:0.1.0", "kube-oidc-gateway-tools:0.1.0"];
    let made = project.shell("make kubernetes-images");
    assert!(made.success, "{}", made.err);
    let names = project.shell(
        "docker compose --env-file /dev/null -f sandbox/compose/compose.yaml --profile tools config --images",
    );
    assert!(names.success, "{}", names.err);
    let kubectl = "kube-oidc-gateway-sandbox-kubectl:local";
    let mut here = 0;
    for name in names.out.lines().chain([kubectl]) {
        if !PUBLIC.contains(&name) && !BUILT.contains(&name) {
            docker(&["image", "inspect", name]);
            here += 1;
        }
    }
    assert_eq!(here, 3, "etcd, kube-apiserver, kubectl: {}", names.out);
    let version = docker(&["run", "--rm", kubectl, "/bin/kubectl", "version", "--client"]);
    assert!(version.contains("v1."), "{version}");
}

/// The commands of deploy/image/README.md make the same images, and run one; `readme.sh` says what is different here.
fn readme_of_images(project: &Project, image: &str) {
    const DOCKER: &str = include_str!("../readme.sh");
    const TAGGED: &str = "kube-oidc-gateway:readme";
    let page = fs::read_to_string(root().join("deploy/image/README.md")).unwrap();
    let blocks = shell_blocks(&page);
    // The second is for another processor, whose programs this machine may not run.
    let [build, other, run] = blocks.as_slice() else { panic!("other commands: {blocks:?}") };
    assert!(other.text.contains("--platform linux/arm64"), "{other:?}");
    let built = project.shell_in(&root(), &format!("{DOCKER}{}", build.text));
    assert!(built.success, "{}", built.err);
    let layers = |image: &str| docker(&["image", "inspect", "-f", "{{.RootFS.Layers}}", image]);
    assert_eq!(layers(TAGGED), layers(image));

    let gateway = project.docker(&["inspect", "-f", "{{.Id}}"], "gateway");
    let files = format!("command docker cp {gateway}:/files files && chmod -R a+rX files");
    let started = project.shell(&format!("{files}\n{DOCKER}{}", run.text));
    assert!(started.success, "{}", started.err);
    let container = started.out.trim();
    until("the README's container is healthy", || {
        let state = docker(&["inspect", "-f", "{{.State.Health.Status}}", container]);
        if state == "healthy" { Ok(()) } else { Err(state) }
    });
    docker(&["rm", "--force", container]);
    docker(&["rmi", TAGGED, "kube-oidc-gateway-plugin:readme"]);
}

/// Those under "Two commands" in sandbox/compose/README.md, to the letter. The project runs already: the first one finds
/// it ready.
fn readme(project: &Project) {
    let page = fs::read_to_string(root().join("sandbox/compose/README.md")).unwrap();
    let (_, section) = page.split_once("## Two commands").unwrap();
    let (_, block) = section.split_once("```console\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let mut last = String::new();
    for command in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let said = project.shell(command);
        assert!(said.success, "{command}: {}{}", said.out, said.err);
        last = said.out;
    }
    assert!(last.contains("kube-system"), "{last}");
}

/// What the image and the project promise of the process: its user, no capability, nowhere to write.
fn locked_down(project: &Project) {
    let inspected = project.docker(
        &[
            "inspect",
            "-f",
            "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}",
        ],
        "gateway",
    );
    assert_eq!(inspected, "65532:65532 true [ALL]");
    for service in ["gateway", "keycloak"] {
        let ports = project.docker(&["port"], service);
        assert!(ports.lines().all(|port| port.contains("-> 127.0.0.1:")), "{service}: {ports}");
    }
    // Nothing is written into the container but the places where something is mounted.
    let changed = project.docker(&["diff"], "gateway");
    let mounts = ["C /run", "A /run/kube-oidc-gateway", "A /files"];
    assert!(changed.lines().all(|line| mounts.contains(&line)), "{changed}");
}

/// A viewer reads, may not create, is promoted in Keycloak, creates; others are who their claims say.
fn story(project: &Project) {
    let viewer = project.login("k8s-user1");
    assert!(viewer.must(&["get", "namespaces"]).contains("kube-system"));
    let refused = viewer.kubectl(&["create", "ns", "test123"]);
    assert_eq!(
        refused.err.trim(),
        format!(
            "Error from server (Forbidden): namespaces is forbidden: User \"{ISSUER}#k8s-user1\" cannot create resource \
             \"namespaces\" in API group \"\" at the cluster scope"
        )
    );
    project.tools(&["group", "add", "k8s-user1", "system:masters"]);
    // The old token says what was true when it was made.
    assert!(!viewer.kubectl(&["create", "ns", "test123"]).success);
    let promoted = project.login("k8s-user1");
    assert_eq!(promoted.must(&["create", "ns", "test123"]).trim(), "namespace/test123 created");
    project.tools(&["group", "remove", "k8s-user1", "system:masters"]);
    assert!(!project.login("k8s-user1").kubectl(&["create", "ns", "test124"]).success);

    // The form without a token, for a person with a browser.
    let plugin = project.tools(&["generate-kubeconfig", "--exec", "k8s-user1"]);
    let plugin: serde_json::Value = serde_saphyr::from_str(&plugin).unwrap();
    let exec = &plugin["users"][0]["user"]["exec"];
    assert_eq!(exec["command"], "kubectl-oidc", "{plugin}");
    let issuer = format!("--oidc-issuer-url={ISSUER}");
    assert!(exec["args"].as_array().unwrap().iter().any(|it| *it == issuer.as_str()), "{exec}");

    let team = project.login("k8s-user3");
    team.must(&["create", "configmap", "ours", "-n", "team"]);
    assert!(!team.kubectl(&["create", "configmap", "theirs", "-n", "default"]).success);
}

/// New connections get the new certificate; a watch from before goes on.
fn certificate(project: &Project, viewer: &Login) {
    let mut watch = Watch::start(viewer);
    let shown = "openssl s_client -connect gateway:6443 </dev/null 2>/dev/null | openssl x509 -noout -serial";
    let before = project.tools(&["bash", "-c", shown]);
    project.tools(&["certificates", "gateway"]);
    let written =
        project.tools(&["openssl", "x509", "-noout", "-serial", "-in", "/files/gateway/tls.crt"]);
    assert_ne!(before, written);
    until("the new certificate is shown", || {
        let now = project.tools(&["bash", "-c", shown]);
        if now == written { Ok(()) } else { Err(now) }
    });
    viewer.must(&["get", "namespaces"]);
    project.tools(&["kubectl", "create", "ns", "while-watched"]);
    watch.sees("while-watched");
    watch.end();
}

/// A good file is taken at once, a bad one never.
fn configuration(project: &Project) {
    project.tools(&["username-claim", "email"]);
    let user = project.login("k8s-user2");
    let named = |want: &str| {
        let want = format!("{ISSUER}#{want}");
        until(&format!("the user is {want}"), || match user.name()? {
            name if name == want => Ok(()),
            name => Err(name),
        });
    };
    named("k8s-user2@example");
    project.tools(&["bash", "-c", "echo 'kind: Nothing' >/files/gateway/authentication.yaml"]);
    refused(project, true);
    named("k8s-user2@example");
    project.tools(&["username-claim", "preferred_username"]);
    named("k8s-user2");
    refused(project, false);
}

/// The keys are kept: whoever has a token goes on. Logins are possible again when Keycloak is back.
fn keycloak_away(project: &Project) {
    const AWAY: Duration = Duration::from_secs(120);
    let viewer = project.login("k8s-user1");
    project.docker(&["stop", "--time=1"], "keycloak");
    let start = Instant::now();
    certificate(project, &viewer);
    let mut requests = 0;
    while start.elapsed() < AWAY {
        viewer.must(&["get", "--raw", "/api/v1/namespaces/default"]);
        requests += 1;
    }
    eprint!("{requests} requests, ");
    project.docker(&["start"], "keycloak");
    project.healthy("keycloak");
    project.login("k8s-user1").must(&["get", "namespaces"]);
}

/// It comes back with what is in its volume, and with keys fetched anew.
fn killed(project: &Project) {
    let viewer = project.login("k8s-user1");
    project.docker(&["kill"], "gateway");
    assert!(!viewer.kubectl(&["get", "namespaces", "--request-timeout=5s"]).success);
    project.docker(&["start"], "gateway");
    project.healthy("gateway");
    viewer.must(&["get", "namespaces"]);
}

/// `docker stop` lets a request that is under way come to its end, and the program exits by itself.
fn stopped(project: &Project) {
    let viewer = project.login("k8s-user1");
    let path = "/api/v1/namespaces?watch=1&timeoutSeconds=4";
    let mut watch = viewer.start(&["get", "--raw", path]);
    let mut events = BufReader::new(watch.stdout.take().unwrap());
    let mut first = String::new();
    events.read_line(&mut first).unwrap();
    assert!(first.contains("ADDED"), "{first}");
    let start = Instant::now();
    project.docker(&["stop", "--time=60"], "gateway");
    assert!(start.elapsed() < Duration::from_secs(50), "it had to be killed");
    assert!(watch.wait().unwrap().success(), "the watch was cut");
    let code = project.docker(&["inspect", "-f", "{{.State.ExitCode}}"], "gateway");
    assert_eq!(code, "0");
    project.docker(&["start"], "gateway");
    project.healthy("gateway");
}

/// Waits until the gateway's metrics say that some input is refused at the moment, or that none is.
fn refused(project: &Project, want: bool) {
    until(&format!("some input is refused: {want}"), || {
        let text = project.tools(&["curl", "-sS", "http://gateway:8080/metrics"]);
        let gauges: Vec<&str> =
            text.lines().filter(|line| line.starts_with("gateway_reload_refused")).collect();
        let refused = gauges.iter().any(|line| line.ends_with(" 1"));
        if refused == want { Ok(()) } else { Err(gauges.join("\n")) }
    });
}

/// A watch of namespaces.
struct Watch {
    process: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Watch {
    fn start(user: &Login) -> Self {
        let mut process = user.start(&["get", "namespaces", "--watch", "-o", "name"]);
        let output = BufReader::new(process.stdout.take().unwrap());
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut watch = Self { process, lines };
        watch.sees("kube-system");
        watch
    }

    fn sees(&mut self, name: &str) {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(30));
            if line.unwrap_or_else(|_| panic!("the watch does not see {name}")).ends_with(name) {
                return;
            }
        }
    }

    fn end(mut self) {
        assert!(self.process.try_wait().unwrap().is_none(), "the watch ended by itself");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
