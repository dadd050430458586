//! Clients that notice every fault: a steady stream of requests, and watches that stay open.

use std::{
    io::{BufRead, BufReader},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::Rig;

/// Requests a second, from clients that each keep a connection, until it is ended.
pub struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    faults: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` that ask for `path` with a token, together `rate` times a second.
    pub fn start(rig: &Rig, token: &str, path: &str, clients: u32, rate: u32) -> Self {
        let (stop, good, faults) = (Arc::default(), Arc::default(), Arc::default());
        let clients = (0..clients).map(|_| {
            let (stop, good, faults) =
                (Arc::clone(&stop), Arc::clone(&good), Arc::<Mutex<Vec<_>>>::clone(&faults));
            let (agent, url) = (rig.agent(), format!("{}{path}", rig.url()));
            let bearer = format!("Bearer {token}");
            let pause = Duration::from_secs(1) * clients / rate;
            thread::spawn(move || {
                let mut next = Instant::now();
                while !AtomicBool::load(&stop, Ordering::Relaxed) {
                    let answer = agent.get(&url).header("authorization", &bearer).call();
                    let fault = match answer {
                        Ok(mut answer) if answer.status() == 200 => {
                            answer.body_mut().read_to_string().err().map(|e| e.to_string())
                        }
                        Ok(mut answer) => Some(format!(
                            "{} {}",
                            answer.status(),
                            answer.body_mut().read_to_string().unwrap_or_default()
                        )),
                        Err(error) => Some(error.to_string()),
                    };
                    match fault {
                        None => drop(AtomicUsize::fetch_add(&good, 1, Ordering::Relaxed)),
                        Some(fault) => faults.lock().unwrap().push(fault),
                    }
                    next += pause;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            })
        });
        let clients = clients.collect();
        Self { stop, good, faults, clients }
    }

    /// How many requests were answered well so far.
    pub fn good(&self) -> usize {
        self.good.load(Ordering::Relaxed)
    }

    /// Ends it: how many requests were answered well, and what went wrong with the others.
    pub fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        (self.good.load(Ordering::Relaxed), std::mem::take(&mut *self.faults.lock().unwrap()))
    }
}

/// Watches, and how many of them have ended.
pub struct Watches {
    open: Arc<AtomicUsize>,
    seen: Arc<AtomicUsize>,
}

impl Watches {
    /// Opens `count` watches of the configmaps in the namespace `default`; returns when all are open.
    pub fn open(rig: &Rig, token: &str, count: usize) -> Self {
        let (open, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..count {
            let (open, seen) = (Arc::clone(&open), Arc::clone(&seen));
            let agent = rig.agent();
            let url = format!(
                "{}/api/v1/namespaces/default/configmaps?watch=1&sendInitialEvents=true\
                 &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
                rig.url()
            );
            let bearer = format!("Bearer {token}");
            thread::spawn(move || {
                let answer = agent.get(&url).header("authorization", bearer).call().unwrap();
                assert_eq!(answer.status(), 200);
                open.fetch_add(1, Ordering::SeqCst);
                let lines = BufReader::new(answer.into_body().into_reader()).lines();
                for line in lines {
                    match line {
                        Ok(line) if line.contains("\"witness\"") && line.contains("\"ADDED\"") => {
                            seen.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
        super::until("the watches are open", || {
            (open.load(Ordering::SeqCst) == count).then_some(())
        });
        Self { open, seen }
    }

    /// How many are open.
    pub fn still_open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many have told of the configmap `witness`.
    pub fn witnesses(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}
