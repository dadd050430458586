//! `make soak`: the program, its Envoy and a real cluster under load for an hour, while everything around them changes and
//! fails, and a checker that asks of every request whether it was made as the right user.

#![expect(clippy::cast_precision_loss, reason = "counts and times of a run are far below 2^53")]

mod disturb;
mod ledger;
mod load;
mod logs;
mod memory;
mod people;
mod report;
mod windows;
mod world;

use std::{
    path::PathBuf,
    process::{self, ExitCode},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser;
use gateway_bench::{client::Server, process::resident_mib, publish};
use gateway_tests::built;
use sandbox::{Cluster, audit::Event};

use crate::{
    disturb::Schedule,
    ledger::{AccessLine, Fault, Ledger},
    load::{Load, ledger},
    memory::{Curve, EVERY},
    report::Run,
    windows::{Symptom, Windows},
    world::{Logs, World},
};

/// How long after the load the last lines of the logs may take.
const LAST_LINES: Duration = Duration::from_secs(120);

/// Runs the gateway under load and disturbances, and checks every request.
///
/// Needs the filter's module (`GATEWAY_FILTER`), the program and the sandbox's programs: `make soak` has all made. The
/// exit code is not 0 if anything was wrong.
#[derive(Parser)]
#[command(name = "gateway-soak", version)]
struct Arguments {
    /// How long the load lasts.
    #[arg(long, env = "MINUTES", default_value_t = 60.0)]
    minutes: f64,
    /// Envoy's workers.
    #[arg(long, env = "WORKERS", default_value_t = 2)]
    workers: u32,
    /// What load and disturbances are drawn from [default: another each time]
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// Requests a second.
    #[arg(long, env = "RATE", default_value_t = 320, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Also puts the table into this folder's reliability.md.
    #[arg(long)]
    publish: Option<PathBuf>,
    /// To see that the soak can fail: runs, without disturbances, a filter that serves everybody as the user `rogue`. The
    /// exit code is 0 if that was found.
    #[arg(long, conflicts_with = "publish")]
    rogue: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gateway-soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was right.
fn run(arguments: &Arguments) -> Result<bool> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let length = Duration::from_secs_f64(arguments.minutes * 60.0);
    eprintln!("seed {seed}, {} workers, {} requests a second", arguments.workers, arguments.rate);
    let start = Instant::now();
    let ledger = Arc::new(Mutex::new(Ledger::new(Cluster::GATEWAY_USER, Windows::new(start))));
    let (stop, stop_reading) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut readers = Ok(Vec::new());
    let world = World::start(arguments.workers, arguments.rogue.as_deref(), |logs| {
        readers = read(logs, &ledger, &stop_reading);
    })?;
    let (world, readers) = (Arc::new(world), readers?);
    eprintln!(
        "{:.0} s: ready; its files are in {}",
        start.elapsed().as_secs_f64(),
        world.folder().display()
    );

    let schedule =
        Schedule::new(Arc::clone(&world), Arc::clone(&ledger), Arc::clone(&stop), seed, length);
    let tracks = if arguments.rogue.is_none() { schedule.start() } else { Vec::new() };
    let curve = || Curve::new(Instant::now());
    let run = Arc::new(Mutex::new(Run {
        minutes: arguments.minutes,
        workers: arguments.workers,
        seed,
        rate: arguments.rate,
        memory: [("Envoy", curve()), ("the program", curve()), ("the soak itself", curve())],
    }));
    let watch = {
        let (world, ledger, stop, run) =
            (Arc::clone(&world), Arc::clone(&ledger), Arc::clone(&stop), Arc::clone(&run));
        thread::spawn(move || watch(&world, &ledger, &stop, &run, length))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = Server::new(world.address(), world.ca())?;
    let load = Load::new(server, Arc::clone(&world), Arc::clone(&ledger), Arc::clone(&stop));
    let load = load.run(arguments.rate, seed, arguments.rogue.is_some());
    let loaded = tokio::task::LocalSet::new().block_on(&runtime, load);
    stop.store(true, Ordering::Relaxed);
    for thread in tracks.into_iter().chain([watch]) {
        thread.join().map_err(|_| anyhow::anyhow!("a thread of the soak panicked"))?;
    }
    loaded?;
    eprintln!("the load has ended; waiting for the last lines of the logs");
    let last = Instant::now();
    while self::ledger(&ledger).open() > 0 && last.elapsed() < LAST_LINES {
        thread::sleep(Duration::from_millis(200));
        self::ledger(&ledger).settle(Instant::now());
    }
    finish(&world, &ledger)?;
    stop_reading.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().map_err(|_| anyhow::anyhow!("a reader of a log panicked"))??;
    }
    let (mut ledger, run) =
        (self::ledger(&ledger), run.lock().map_err(|_| anyhow::anyhow!("the watch panicked"))?);
    for text in run.grown() {
        ledger.fault(Fault::Memory, &text, Instant::now());
    }
    let table = run.table(&mut ledger);
    println!("{table}");
    if let Some(folder) = &arguments.publish {
        let form = if built::is_native() { ", native" } else { "" };
        let section = format!("soak with {} workers{form}", arguments.workers);
        publish::replace_section(&folder.join("reliability.md"), &section, &table)?;
    }
    eprintln!("{}", report::violations(&ledger));
    if arguments.rogue.is_some() {
        // A run that could not find this would find nothing.
        return Ok(ledger.faults().contains_key(&Fault::WrongIdentity));
    }
    Ok(ledger.faults().is_empty())
}

/// Reads every log into the checker, each on a thread.
fn read(
    logs: &Logs,
    ledger: &Arc<Mutex<Ledger>>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<thread::JoinHandle<Result<()>>>> {
    let pipe = logs::Pipe::open(&logs.lines)?;
    let to = Arc::clone(ledger);
    thread::spawn(move || {
        pipe.follow(|line| {
            // What is no JSON is not of a request.
            if let Ok(line) = serde_json::from_slice::<AccessLine>(line) {
                self::ledger(&to).access(&line, Instant::now());
            }
        });
    });
    let apiserver: fn(&mut Ledger, &Event, Instant) = Ledger::apiserver;
    let files = [(&logs.apiserver, apiserver), (&logs.events, Ledger::gateway)];
    let follow = |(path, take): (&PathBuf, fn(&mut Ledger, &Event, Instant))| {
        let (path, stop, to) = (path.clone(), Arc::clone(stop), Arc::clone(ledger));
        thread::spawn(move || {
            logs::follow(&path, &stop, |line| {
                let now = Instant::now();
                match serde_json::from_slice::<Event>(line) {
                    Ok(event) => take(&mut self::ledger(&to), &event, now),
                    Err(error) => unreadable(&mut self::ledger(&to), &path, &error, now),
                }
            })
        })
    };
    let mut threads: Vec<_> = files.into_iter().map(follow).collect();
    let (path, stop, to) = (logs.messages.clone(), Arc::clone(stop), Arc::clone(ledger));
    threads.push(thread::spawn(move || {
        logs::follow(&path, &stop, |line| {
            self::ledger(&to).message(&String::from_utf8_lossy(line), Instant::now());
        })
    }));
    Ok(threads)
}

/// kube-apiserver may be killed in the middle of a line.
fn unreadable(
    ledger: &mut Ledger,
    path: &std::path::Path,
    error: &serde_json::Error,
    now: Instant,
) {
    if !ledger.windows().explain(Symptom::Unwritten, now, now) {
        let text = format!("{}: a line that is no event: {error}", path.display());
        ledger.fault(Fault::Disagreement, &text, now);
    }
}

/// Looks at everything now and then until the run is over, then stops the load.
fn watch(
    world: &World,
    ledger: &Mutex<Ledger>,
    stop: &AtomicBool,
    run: &Mutex<Run>,
    length: Duration,
) {
    let start = Instant::now();
    let (mut minute, mut look, mut told) = (0, start, 0);
    while start.elapsed() < length && !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(250));
        let now = Instant::now();
        self::ledger(ledger).settle(now);
        if now < look {
            continue;
        }
        look = now + EVERY;
        let looked = memory_of(world).and_then(|memory| world.check().map(|()| memory));
        match looked {
            Ok(memory) => {
                let Ok(mut run) = run.lock() else { return };
                for ((_, curve), mib) in run.memory.iter_mut().zip(memory) {
                    curve.add(now, mib);
                }
                if start.elapsed().as_secs() / 60 > minute {
                    minute = start.elapsed().as_secs() / 60;
                    let ledger = self::ledger(ledger);
                    eprintln!("{}", run.progress(minute, &ledger));
                    for violation in ledger.violations().iter().skip(told) {
                        eprint!("{}", report::violation(violation));
                    }
                    told = ledger.violations().len();
                }
            }
            Err(error) => {
                self::ledger(ledger).fault(Fault::Disturbance, &format!("{error:#}"), now);
                break;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
}

fn memory_of(world: &World) -> Result<[f64; 3]> {
    let (program, envoy) = world.processes()?;
    Ok([resident_mib(envoy)?, resident_mib(program)?, resident_mib(process::id())?])
}

/// What can be said at the end alone.
fn finish(world: &World, ledger: &Mutex<Ledger>) -> Result<()> {
    let now = Instant::now();
    let none = [
        ("gateway_access_log_lines_dropped_total", Fault::Lost),
        ("gateway_audit_lines_unread_total", Fault::Lost),
        ("gateway_audit_events_total{output=\"file\",result=\"dropped\"}", Fault::Lost),
        // The native form's crash: a panic that it has caught.
        ("gateway_panics_total", Fault::Crash),
    ];
    for (metric, fault) in none {
        let count = world.metric(metric)?;
        if count > 0.0 {
            self::ledger(ledger).fault(fault, &format!("{metric} is {count}"), now);
        }
    }
    let starts = world.metric("gateway_envoy_starts_total")?;
    let mut ledger = self::ledger(ledger);
    if (starts - 1.0).abs() > 0.1 {
        ledger.fault(Fault::Disturbance, &format!("Envoy was started {starts} times"), now);
    }
    if ledger.open() > 0 {
        let text = format!("{} requests have no end", ledger.open());
        ledger.fault(Fault::Lost, &text, now);
    }
    if ledger.proven() == 0 {
        ledger.fault(Fault::Unproven, "not one request was proven", now);
    }
    drop(ledger);
    Ok(())
}
