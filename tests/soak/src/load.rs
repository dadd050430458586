//! The load: users' requests at a steady rate, over both versions of HTTP, and watches beside them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use gateway_bench::client::{Connection, GO, Server, Version};
use gateway_tests::crashing;
use http_body_util::BodyExt;
use hyper::{Method, Request, Response, body::Incoming, header::HeaderValue, http::request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    sync::Semaphore,
    task::spawn_local,
    time::{sleep, timeout},
};

use crate::{
    ledger::{Expect, Fault, Identity, Ledger, Outcome, Sent, user_agent},
    people::{GUEST, NAMESPACE, POD, People, Person, Standing, Token},
    windows::Symptom,
    world::World,
};

/// More than any answer but a watch's takes, also when it waits for what is away.
const LIMIT: Duration = Duration::from_secs(45);
/// Requests of each version under way at once, at most.
const H1: usize = 48;
const H2: usize = 80;
/// Streams that share a connection.
const STREAMS: usize = 8;
/// Open watches.
const WATCHES: usize = 16;
/// How often permits to send are given out.
const TICK: Duration = Duration::from_millis(10);
/// Seconds' worth of requests that may be sent later than they were due.
const ARREARS: u64 = 10;
/// Objects that wait to be deleted.
const OBJECTS: usize = 500;

/// What a request is made of.
pub struct Load {
    server: Server,
    world: Arc<World>,
    ledger: Arc<Mutex<Ledger>>,
    permits: Semaphore,
    stop: Arc<AtomicBool>,
    objects: RefCell<Vec<String>>,
    created: Cell<u64>,
    rogue: Cell<bool>,
}

/// A request: how it is made, and what must come of it.
struct Job {
    request: request::Builder,
    body: Bytes,
    authorization: Option<HeaderValue>,
    sent: Sent,
    /// Who must stand in the answer.
    named: Option<Arc<Identity>>,
    /// The object that exists if it succeeds.
    creates: Option<String>,
    /// When the client goes away.
    leaves: Option<Duration>,
    upgrade: bool,
}

/// Connections of one version of HTTP, which are replaced now and then.
struct Pool {
    version: Version,
    kept: tokio::sync::Mutex<Option<Connection>>,
    left: Cell<u32>,
}

impl Load {
    /// A load on the gateway at `server`.
    pub fn new(
        server: Server,
        world: Arc<World>,
        ledger: Arc<Mutex<Ledger>>,
        stop: Arc<AtomicBool>,
    ) -> Rc<Self> {
        let (permits, objects, created) = (Semaphore::new(0), RefCell::default(), Cell::new(0));
        Rc::new(Self {
            rogue: Cell::new(false),
            server,
            world,
            ledger,
            permits,
            stop,
            objects,
            created,
        })
    }

    /// Sends `rate` requests a second until it is stopped; returns when all have been answered.
    /// With `rogue` every request tells a rogue filter to serve it.
    pub async fn run(self: Rc<Self>, rate: u32, seed: u64, rogue: bool) -> Result<()> {
        self.rogue.set(rogue);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut tasks = Vec::new();
        for _ in 0..H1 {
            let pool = Rc::new(Pool::new(Version::H1));
            tasks.push(spawn_local(Rc::clone(&self).slot(pool, random.fork())));
        }
        for _ in 0..H2 / STREAMS {
            let pool = Rc::new(Pool::new(Version::H2));
            for _ in 0..STREAMS {
                tasks.push(spawn_local(Rc::clone(&self).slot(Rc::clone(&pool), random.fork())));
            }
        }
        for _ in 0..WATCHES {
            tasks.push(spawn_local(Rc::clone(&self).watches(random.fork())));
        }
        let (start, mut given) = (Instant::now(), 0);
        while !self.stopped() {
            let due = u64::try_from(start.elapsed().as_millis())? * u64::from(rate) / 1000;
            // What could not be sent while something was away is made up for, but not without bounds.
            let room =
                (u64::from(rate) * ARREARS).saturating_sub(self.permits.available_permits() as u64);
            self.permits.add_permits(usize::try_from((due - given).min(room))?);
            given = due;
            sleep(TICK).await;
        }
        self.permits.close();
        for task in tasks {
            task.await.context("a client ended")?;
        }
        Ok(())
    }

    fn people(&self) -> &People {
        &self.world.people
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn slot(self: Rc<Self>, pool: Rc<Pool>, mut random: fastrand::Rng) {
        while let Ok(permit) = self.permits.acquire().await {
            permit.forget();
            let begun = Instant::now();
            let connection = match timeout(LIMIT, pool.take(&self.server, &mut random)).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => {
                    self.no_connection(&format!("{error:#}"), begun);
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(_) => {
                    self.no_connection("no connection in time", begun);
                    continue;
                }
            };
            match self.job(pool.version, &mut random) {
                Ok(job) => {
                    let rest = self.send(connection, job).await;
                    pool.give_back(rest).await;
                }
                Err(error) => {
                    ledger(&self.ledger).fault(Fault::Disturbance, &format!("{error:#}"), begun);
                }
            }
        }
    }

    fn no_connection(&self, why: &str, begun: Instant) {
        let (mut ledger, now) = (ledger(&self.ledger), Instant::now());
        if !ledger.windows().explain(Symptom::Unavailable, begun, now) {
            ledger.fault(Fault::Unavailable, &format!("cannot connect: {why}"), now);
        }
    }

    /// Watches one after another, each on a connection of its own.
    async fn watches(self: Rc<Self>, mut random: fastrand::Rng) {
        while !self.stopped() {
            sleep(Duration::from_millis(random.u64(100..3000))).await;
            let version = if random.bool() { Version::H1 } else { Version::H2 };
            let begun = Instant::now();
            match timeout(LIMIT, self.server.connect(version, GO)).await {
                Ok(Ok(connection)) => {
                    if let Ok(job) = self.watch(&mut random) {
                        self.send(connection, job).await;
                    }
                }
                _ => self.no_connection("for a watch", begun),
            }
        }
    }

    /// Sends a request and tells the checker what came of it; the connection, if it can go on.
    async fn send(&self, mut connection: Connection, mut job: Job) -> Option<Connection> {
        job.sent.begun = Instant::now();
        if self.rogue.get() {
            job.request = job.request.header("x-rogue", "serve");
        }
        let number = ledger(&self.ledger).begin(job.sent.clone());
        let limit = job.leaves.unwrap_or(LIMIT);
        let answer = timeout(limit, exchange(&mut connection, number, &mut job)).await;
        let leaves = job.leaves.is_some();
        let (outcome, goes_on) = match answer {
            Ok(outcome) => {
                let goes_on = outcome.broken.is_none() && !job.upgrade;
                (outcome, goes_on)
            }
            Err(_) if leaves => (Outcome { left: true, ..Outcome::default() }, false),
            Err(_) => {
                let broken = Some("no answer in time".to_owned());
                (Outcome { broken, ..Outcome::default() }, false)
            }
        };
        if let (Some(name), Some(201)) = (job.creates, outcome.status) {
            let mut objects = self.objects.borrow_mut();
            if objects.len() < OBJECTS {
                objects.push(name);
            }
        }
        ledger(&self.ledger).end(number, outcome, Instant::now());
        goes_on.then_some(connection)
    }

    fn job(&self, version: Version, random: &mut fastrand::Rng) -> Result<Job> {
        match random.u8(0..100) {
            0..8 => return self.bad(random),
            8..12 => {
                if let Some(token) = self.people().retired(random) {
                    return self.as_token("retired key", &token, random);
                }
            }
            12..17 => return self.deputy(random),
            17..19 => return self.leaving(random),
            19..20 if version == Version::H1 => return self.exec(random),
            20..40 => return self.whoami(random),
            40..48 => return self.create(random),
            48..56 => return self.delete(random),
            56..70 => {
                let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?limit=5");
                return self.read("list", &path, random);
            }
            _ => {}
        }
        self.read("get", &format!("/api/v1/namespaces/{NAMESPACE}/pods/{POD}"), random)
    }

    /// Anybody, or somebody of whom that holds.
    fn somebody(
        &self,
        random: &mut fastrand::Rng,
        who: impl Fn(&Person) -> bool,
    ) -> Result<(Token, &Person)> {
        let persons = &self.people().persons;
        loop {
            let number = random.usize(..persons.len());
            if who(&persons[number]) {
                let token = self.people().token(number, random, Instant::now())?;
                return Ok((token, &persons[number]));
            }
        }
    }

    fn job_of(
        &self,
        kind: &'static str,
        method: Method,
        path: &str,
        (token, person): (&Token, &Person),
        right: &'static [u16],
    ) -> Job {
        let expect = match self.people().standing(token, Instant::now()) {
            Standing::Good => Expect::Served(right),
            Standing::Doubtful => Expect::ServedOrRefused(right),
            Standing::Dead => Expect::Refused,
        };
        Job {
            request: Request::builder().method(method).uri(path),
            body: Bytes::new(),
            authorization: Some(token.authorization.clone()),
            sent: Sent {
                kind,
                user: Some(Arc::clone(&person.identity)),
                acts_as: Some(Arc::clone(&person.identity)),
                credential: token.credential.clone(),
                issuer: person.issuer,
                unverified: !matches!(expect, Expect::Served(_)),
                expect,
                begun: Instant::now(),
            },
            named: None,
            creates: None,
            leaves: None,
            upgrade: false,
        }
    }

    fn read(&self, kind: &'static str, path: &str, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |_| true)?;
        let right: &[u16] = if person.rights.read { &[200] } else { &[403] };
        Ok(self.job_of(kind, Method::GET, path, (&token, person), right))
    }

    fn as_token(
        &self,
        kind: &'static str,
        token: &Token,
        random: &mut fastrand::Rng,
    ) -> Result<Job> {
        let person = self.people().persons.get(token.person).context("no such person")?;
        let mut job = self.whoami_of(kind, token, person);
        if random.bool() {
            let right: &[u16] = if person.rights.read { &[200] } else { &[403] };
            let path = format!("/api/v1/namespaces/{NAMESPACE}");
            job = self.job_of(kind, Method::GET, &path, (token, person), right);
        }
        Ok(job)
    }

    fn whoami(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |_| true)?;
        Ok(self.whoami_of("whoami", &token, person))
    }

    fn whoami_of(&self, kind: &'static str, token: &Token, person: &Person) -> Job {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let mut job = self.job_of(kind, Method::POST, path, (token, person), &[201]);
        job.body = json_body(
            &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}),
        );
        job.named = Some(Arc::clone(&person.identity));
        job
    }

    fn create(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |person| person.issuer != GUEST)?;
        let right: &[u16] = if person.rights.write { &[201] } else { &[403] };
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        let mut job = self.job_of("create", Method::POST, &path, (&token, person), right);
        let number = self.created.get();
        self.created.set(number + 1);
        let name = format!("soak-{number}");
        job.body = json_body(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"by": person.identity.name},
        }));
        job.creates = Some(name);
        Ok(job)
    }

    fn delete(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let Some(name) = self.objects.borrow_mut().pop() else { return self.create(random) };
        let (token, person) = self.somebody(random, |person| person.rights.write)?;
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{name}");
        Ok(self.job_of("delete", Method::DELETE, &path, (&token, person), &[200, 404]))
    }

    /// `kubectl --as`, by who may and who may not.
    fn deputy(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let may = random.bool();
        let (token, person) = self.somebody(random, |person| person.rights.deputy == may)?;
        if !may && self.people().standing(&token, Instant::now()) == Standing::Doubtful {
            return Ok(self.whoami_of("whoami", &token, person));
        }
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?limit=1");
        let mut job = self.job_of("as another", Method::GET, &path, (&token, person), &[200]);
        job.request = job.request.header("impersonate-user", self.people().target.name.as_str());
        job.sent.acts_as = Some(Arc::clone(&self.people().target));
        if !may && matches!(job.sent.expect, Expect::Served(_)) {
            job.sent.expect = Expect::Forbidden;
        }
        Ok(job)
    }

    /// A client that goes away while it is answered.
    fn leaving(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?limit=500");
        let mut job = self.read("leaving", &path, random)?;
        job.leaves = Some(Duration::from_micros(random.u64(300..8000)));
        Ok(job)
    }

    fn exec(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |person| person.rights.exec)?;
        let path =
            format!("/api/v1/namespaces/{NAMESPACE}/pods/{POD}/exec?command=true&stdout=true");
        let mut job = self.job_of("exec", Method::GET, &path, (&token, person), &[101]);
        job.request = job
            .request
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "c29haydzIHNhbXBsZSBrZXk=")
            .header("sec-websocket-protocol", "v5.channel.k8s.io");
        job.upgrade = true;
        Ok(job)
    }

    fn watch(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |person| person.rights.read)?;
        let seconds = random.u64(2..40);
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/configmaps?watch=1&timeoutSeconds={seconds}&fieldSelector=metadata.name%3Dnone"
        );
        let mut job = self.job_of("watch", Method::GET, &path, (&token, person), &[200]);
        if random.u8(0..3) == 0 {
            job.leaves = Some(Duration::from_millis(random.u64(1..seconds * 1000)));
        }
        Ok(job)
    }

    fn bad(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let bad = self.people().bad(random)?;
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        Ok(Job {
            request: Request::builder().method(Method::GET).uri(path),
            body: Bytes::new(),
            authorization: bad.authorization,
            sent: Sent {
                kind: bad.kind,
                user: None,
                acts_as: None,
                credential: String::new(),
                issuer: bad.issuer,
                unverified: bad.unverified,
                expect: Expect::Refused,
                begun: Instant::now(),
            },
            named: None,
            creates: None,
            leaves: None,
            upgrade: false,
        })
    }
}

/// Makes the VM of one worker crash. Returns an error if it did not.
pub async fn crash(
    server: &Server,
    people: &People,
    ledger: &Mutex<Ledger>,
    random: &mut fastrand::Rng,
) -> Result<()> {
    let version = if random.bool() { Version::H1 } else { Version::H2 };
    let mut connection = server.connect(version, GO).await?;
    let number = random.usize(..people.persons.len());
    let person = &people.persons[number];
    let token = people.token(number, random, Instant::now())?;
    let mut request = Request::builder().method(Method::GET).uri("/version");
    for (name, value) in crashing::headers() {
        request = request.header(name, value);
    }
    let mut job = Job {
        request,
        body: Bytes::new(),
        authorization: Some(token.authorization),
        sent: Sent {
            kind: "crash",
            user: Some(Arc::clone(&person.identity)),
            acts_as: None,
            credential: token.credential,
            issuer: person.issuer,
            unverified: false,
            expect: Expect::Crash,
            begun: Instant::now(),
        },
        named: None,
        creates: None,
        leaves: None,
        upgrade: false,
    };
    let number = self::ledger(ledger).begin(job.sent.clone());
    let outcome = timeout(LIMIT, exchange(&mut connection, number, &mut job)).await;
    let outcome = outcome.context("no answer")?;
    let status = outcome.status;
    self::ledger(ledger).end(number, outcome, Instant::now());
    // What is under way when the VM ends may end without an answer, too.
    match status {
        Some(503) | None => Ok(()),
        Some(status) => bail!("the VM did not crash: {status}"),
    }
}

impl Pool {
    fn new(version: Version) -> Self {
        Self { version, kept: tokio::sync::Mutex::new(None), left: Cell::new(0) }
    }

    /// A connection that takes requests: an old one, or a new one.
    async fn take(&self, server: &Server, random: &mut fastrand::Rng) -> Result<Connection> {
        let mut kept = self.kept.lock().await;
        self.left.set(self.left.get().saturating_sub(1));
        if let Some(mut connection) = kept.take()
            && self.left.get() > 0
            && connection.ready().await
        {
            *kept = connection.again();
            return Ok(connection);
        }
        let connection = server.connect(self.version, GO).await?;
        self.left.set(random.u32(50..2000));
        *kept = connection.again();
        Ok(connection)
    }

    /// A connection that may go on. Streams of HTTP/2 share theirs already.
    async fn give_back(&self, connection: Option<Connection>) {
        if let Some(connection) = connection
            && self.version == Version::H1
        {
            *self.kept.lock().await = Some(connection);
        }
    }
}

/// Sends a request and reads its answer to the end.
async fn exchange(connection: &mut Connection, number: u64, job: &mut Job) -> Outcome {
    let request = std::mem::take(&mut job.request);
    let request = request.header("user-agent", user_agent(number));
    let request = request.header("accept", "application/json");
    let request = match &job.authorization {
        Some(value) => request.header("authorization", value),
        None => request,
    };
    let request = if job.body.is_empty() {
        request
    } else {
        request.header("content-type", "application/json")
    };
    let answer = match request.body(job.body.clone()) {
        Ok(request) => connection.send(request).await,
        Err(error) => Err(error.into()),
    };
    match answer {
        Ok(answer) => read(answer, job).await,
        Err(error) => Outcome { broken: Some(format!("{error:#}")), ..Outcome::default() },
    }
}

async fn read(answer: Response<Incoming>, job: &Job) -> Outcome {
    let status = answer.status().as_u16();
    let audit_id = answer.headers().get("audit-id").and_then(|id| id.to_str().ok());
    let mut outcome = Outcome {
        status: Some(status),
        audit_id: audit_id.map(str::to_owned),
        ..Outcome::default()
    };
    if status == 101 {
        outcome.broken = upgraded(answer).await.err().map(|error| format!("{error:#}"));
        return outcome;
    }
    let mut body = answer.into_body();
    let mut text = Vec::new();
    loop {
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => {
                if let (Some(_), Some(data)) = (&job.named, frame.data_ref()) {
                    text.extend_from_slice(data);
                }
            }
            Some(Err(error)) => {
                outcome.broken = Some(format!("half an answer: {error}"));
                return outcome;
            }
        }
    }
    if let (Some(want), 201) = (&job.named, status) {
        outcome.wrong_user = wrong_user(&text, want).err().map(|error| format!("{error:#}"));
    }
    outcome
}

/// Reads what comes after 101 until the command has ended.
async fn upgraded(answer: Response<Incoming>) -> Result<()> {
    let mut stream = TokioIo::new(hyper::upgrade::on(answer).await?);
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Whether a `SelfSubjectReview` names whom it must.
fn wrong_user(text: &[u8], want: &Identity) -> Result<()> {
    let answer: Value = serde_json::from_slice(text).context("not a review")?;
    let user = answer.pointer("/status/userInfo").context("no user in the answer")?;
    let name = user["username"].as_str().unwrap_or_default();
    let groups: Vec<&str> =
        user["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let uid = user["uid"].as_str().unwrap_or_default();
    if name == want.name && groups == want.groups && uid == want.uid {
        return Ok(());
    }
    Err(anyhow!("the answer names {name:?} {groups:?} uid {uid:?}, expected {want:?}"))
}

fn json_body(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// The checker, also after a thread that held it has panicked.
pub fn ledger(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
