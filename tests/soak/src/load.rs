//! The load: users' requests at a steady rate, over both versions of HTTP, and watches beside them.

mod exchange;
mod jobs;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use gateway_bench::client::{Connection, GO, Server, Version};
use gateway_tests::crashing;
use hyper::{Method, Request, header::HeaderValue, http::request};
use tokio::{
    sync::Semaphore,
    task::spawn_local,
    time::{sleep, timeout},
};

use crate::{
    ledger::{Expect, Fault, Identity, Ledger, Outcome, Sent},
    people::People,
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
        let answer = timeout(limit, exchange::run(&mut connection, number, &mut job)).await;
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
    let outcome = timeout(LIMIT, exchange::run(&mut connection, number, &mut job)).await;
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

/// The checker, also after a thread that held it has panicked.
pub fn ledger(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
