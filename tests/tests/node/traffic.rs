//! A user at work while pods are replaced: requests on new and on kept connections, a watch, a command in a pod, a forwarded port.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use sandbox::{Kubectl, wait};
use serde_json::{Value, json};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::{
    issuer,
    nodes::{LIMIT, nodes},
    release::{Release, apply},
};

/// The port on which the worker echoes.
const ECHO: u16 = 7007;

/// The object after which no other is made.
const LAST: &str = "last";

/// Requests and a watch that go on from their start until [`Traffic::end`].
pub struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    url: String,
    namespace: &'static str,
    ca: String,
    token: String,
    start: Instant,
    over: AtomicBool,
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
    /// How many objects were made for the watch, and the names of those that it was told of.
    made: AtomicUsize,
    seen: Mutex<Vec<String>>,
    /// How often the watch was begun.
    watches: AtomicUsize,
}

impl Traffic {
    /// Starts them as the user, by this URL of the gateway's.
    pub fn start(release: &Release, url: &str, ca: &str) -> Self {
        let shared = Arc::new(Shared {
            url: url.to_owned(),
            namespace: release.name,
            ca: ca.to_owned(),
            token: issuer::token(),
            start: Instant::now(),
            over: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
            failures: Mutex::default(),
            made: AtomicUsize::new(0),
            seen: Mutex::default(),
            watches: AtomicUsize::new(0),
        });
        let jobs: [fn(&Shared); 4] =
            [Shared::on_new_connections, Shared::on_one_connection, Shared::make, Shared::watch];
        let threads = jobs.map(|job| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || job(&shared))
        });
        let traffic = Self { shared, threads: threads.into() };
        wait::until("the traffic to flow", || {
            let flows = traffic.answered() > 10 && !traffic.shared.seen.lock().unwrap().is_empty();
            flows.then_some(())
        });
        traffic
    }

    /// How many requests were answered with 200 so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// How often the watch has begun so far.
    pub fn watches(&self) -> usize {
        self.shared.watches.load(Ordering::Relaxed)
    }

    /// Nothing has failed so far.
    pub fn check(&self, when: &str) {
        let failures = self.shared.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{when}: {} of {} requests failed: {failures:#?}",
            failures.len(),
            failures.len() + self.answered()
        );
    }

    /// Ends them. Every request was answered with 200, and the watch, begun again where it ended, was told of every object once.
    pub fn end(self) {
        let shared = &self.shared;
        shared.over.store(true, Ordering::Relaxed);
        let ended = wait::within(LIMIT, "the watch to be told of the last object", || {
            if self.threads.iter().all(JoinHandle::is_finished) {
                Ok(())
            } else {
                Err(String::new())
            }
        });
        self.check("at the end");
        ended.unwrap();
        let made = shared.made.load(Ordering::Relaxed);
        let want: Vec<String> = (0..made).map(|number| format!("watched-{number}")).collect();
        assert_eq!(*shared.seen.lock().unwrap(), want);
        eprintln!(
            "{}: {} requests in {} s, {made} objects in {} watches",
            shared.namespace,
            self.answered(),
            shared.start.elapsed().as_secs(),
            self.watches()
        );
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

impl Shared {
    fn agent(&self, limit: Option<Duration>) -> Agent {
        let root = Certificate::from_pem(self.ca.as_bytes()).unwrap();
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
        let config = Agent::config_builder().tls_config(tls).proxy(None).timeout_global(limit);
        config.http_status_as_error(false).build().into()
    }

    fn get(&self, agent: &Agent, query: &str) -> Result<ureq::Body, String> {
        let url = format!("{}/api/v1/namespaces/{}/configmaps?{query}", self.url, self.namespace);
        let bearer = format!("Bearer {}", self.token);
        let answer = agent.get(url).header("authorization", bearer).call();
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        if status == 200 {
            return Ok(body);
        }
        Err(format!("{status} {}", body.read_to_string().unwrap_or_default()))
    }

    fn ask(&self, agent: &Agent, how: &str) {
        let answer = self.get(agent, "limit=1");
        match answer.and_then(|mut body| body.read_to_string().map_err(|error| error.to_string())) {
            Ok(_) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let after = self.start.elapsed().as_secs_f32();
                self.failures.lock().unwrap().push(format!("{after:.1} s, {how}: {error}"));
            }
        }
        // A person with several tools, not a load.
        thread::sleep(Duration::from_millis(20));
    }

    fn on_new_connections(&self) {
        while !self.over.load(Ordering::Relaxed) {
            self.ask(&self.agent(Some(Duration::from_secs(10))), "new connection");
        }
    }

    fn on_one_connection(&self) {
        let agent = self.agent(Some(Duration::from_secs(10)));
        while !self.over.load(Ordering::Relaxed) {
            self.ask(&agent, "kept connection");
        }
    }

    /// Makes objects for the watch, by another way than the gateway.
    fn make(&self) {
        let path = format!("/api/v1/namespaces/{}/configmaps", self.namespace);
        while !self.over.load(Ordering::Relaxed) {
            let name = format!("watched-{}", self.made.load(Ordering::Relaxed));
            nodes().client.post_json(&path, &json!({"metadata": {"name": name}})).unwrap();
            self.made.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(200));
        }
        nodes().client.post_json(&path, &json!({"metadata": {"name": LAST}})).unwrap();
    }

    /// Watches as client-go does: begins anew after what it was told last.
    fn watch(&self) {
        let agent = self.agent(None);
        let mut version = "0".to_owned();
        loop {
            self.watches.fetch_add(1, Ordering::Relaxed);
            let query = format!("watch=true&timeoutSeconds=600&resourceVersion={version}");
            let body = match self.get(&agent, &query) {
                Ok(body) => body,
                Err(error) => {
                    self.failures.lock().unwrap().push(format!("watch: {error}"));
                    return;
                }
            };
            for line in BufReader::new(body.into_reader()).lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap();
                let metadata = &event["object"]["metadata"];
                let (Some(name), Some(now)) =
                    (metadata["name"].as_str(), metadata["resourceVersion"].as_str())
                else {
                    self.failures.lock().unwrap().push(format!("watch: {line}"));
                    return;
                };
                now.clone_into(&mut version);
                if name.starts_with("watched-") {
                    self.seen.lock().unwrap().push(name.to_owned());
                }
                if name == LAST {
                    return;
                }
            }
        }
    }
}

/// A pod for commands and ports, in the release's namespace.
pub fn worker(release: &Release) {
    let port = ECHO.to_string();
    apply(&json!({"apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "worker", "namespace": release.name},
    "spec": {
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "worker", "image": "docker.io/library/kube-oidc-gateway-sandbox-busybox:local",
            "command": ["busybox", "nc", "-ll", "-p", port, "-e", "busybox", "cat"],
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    }}));
    let ready =
        ["-n", release.name, "wait", "--for=condition=Ready", "--timeout=120s", "pod/worker"];
    nodes().admin.must(ready, "").unwrap_or_else(|error| panic!("{error}\n{}", release.story()));
}

/// A command and a forwarded port, each with a byte on its way again and again until it ends.
pub struct Streams {
    threads: Vec<(&'static str, JoinHandle<Duration>)>,
    over: Arc<AtomicBool>,
    start: Instant,
}

impl Streams {
    /// Opens both as the user; they flow when this returns.
    pub fn open(release: &Release, kubectl: &Kubectl) -> Self {
        let begun = Instant::now();
        let over = Arc::new(AtomicBool::new(false));
        let mut command = kubectl
            .start(["-n", release.name, "exec", "-i", "worker", "--", "busybox", "cat"])
            .unwrap();
        let mut echo = move |text: &str| -> Result<(), String> {
            command.write(&format!("{text}\n")).map_err(|error| error.to_string())?;
            command.line(LIMIT, |line| line == text).map(drop).map_err(|error| error.to_string())
        };
        let mut forward = kubectl
            .start(["-n", release.name, "port-forward", "pod/worker", &format!(":{ECHO}")])
            .unwrap();
        let line =
            forward.line(LIMIT, |line| line.starts_with("Forwarding from 127.0.0.1:")).unwrap();
        let port = line.split(':').nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut bounce = move |text: &str| -> Result<(), String> {
            // It ends with its kubectl.
            let _ = &forward;
            let mut back = vec![0; text.len()];
            stream.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
            stream.read_exact(&mut back).map_err(|error| error.to_string())?;
            if back == text.as_bytes() { Ok(()) } else { Err(format!("{back:?}")) }
        };
        echo("first").unwrap();
        bounce("first").unwrap();
        eprintln!("both streams flow after {:.1} s", begun.elapsed().as_secs_f32());
        let start = Instant::now();
        let threads = vec![
            ("exec", again_and_again(Arc::clone(&over), echo)),
            ("port-forward", again_and_again(Arc::clone(&over), bounce)),
        ];
        Self { threads, over, start }
    }

    /// Each has lived for so long since [`Self::open`], and has ended by now or does it here.
    pub fn lasted(self, at_least: Duration) {
        thread::sleep(at_least.saturating_sub(self.start.elapsed()));
        self.over.store(true, Ordering::Relaxed);
        for (name, thread) in self.threads {
            let lasted = thread.join().unwrap();
            eprintln!("{name}: {:.1} s", lasted.as_secs_f32());
            assert!(lasted >= at_least, "{name} ended after {lasted:?}");
        }
    }
}

/// Sends until it fails or is over; for how long that was.
fn again_and_again(
    over: Arc<AtomicBool>,
    mut step: impl FnMut(&str) -> Result<(), String> + Send + 'static,
) -> JoinHandle<Duration> {
    let start = Instant::now();
    thread::spawn(move || {
        let mut number = 0;
        while !over.load(Ordering::Relaxed) && step(&number.to_string()).is_ok() {
            number += 1;
            thread::sleep(Duration::from_millis(100));
        }
        start.elapsed()
    })
}
