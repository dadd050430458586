//! `make instructions`: how many instructions a request costs the proxy's worker, counted by Valgrind's callgrind. Unlike times, such
//! counts hardly depend on what else the machine does, so that a hundredth shows. Other threads do what they do by the clock, which runs on
//! meanwhile.
//!
//! Envoy runs in callgrind from its start, some thirty times slower. It is counted only while a known number of requests is answered. The
//! code that V8 makes is counted too, though without names.

use std::{
    fs, iter,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use hyper::header::HeaderValue;
use tokio::task::spawn_local;

use crate::{
    chains::{CHAINS, PATH, Running, Starter, Upstream},
    client::{Connection, GO, Version},
    plan::Settings,
    report::GATES,
    spread::Spread,
    world::World,
};

/// What is counted unless other chains are asked for.
const NAMES: [&str; 2] = [GATES, "gateway_warm"];
const CONNECTIONS: usize = 8;
const STREAMS: usize = 4;
/// How long such an Envoy may take to be ready: it compiles the filter.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Requests of each stream before anything is counted: V8 has compiled what is used by then.
const WARM_UP: usize = 50;
/// Requests of each stream while it is counted.
const COUNTED: usize = 30;

/// Counts the chains of these settings with one worker, in front of the stand-in. The profiles of each stay in `output`, for
/// `callgrind_annotate`.
pub async fn run(world: &mut World, settings: &Settings, output: &Path) -> Result<String> {
    let folder = output.join("instructions");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize().context("no folder for the profiles")?;
    world.envoy = counted(&world.envoy, &folder)?;
    world.patience = PATIENCE;
    let names: Vec<&str> = match &settings.chains[..] {
        [] => NAMES.to_vec(),
        chains => chains.iter().map(String::as_str).collect(),
    };
    let mut starter = Starter::new(world, Upstream::Stub, 1, settings.others.clone());
    let mut counts: Vec<(&str, Vec<f64>)> = Vec::new();
    for name in names {
        let chain = CHAINS.into_iter().find(|chain| chain.name == name);
        let chain = chain.with_context(|| format!("there is no chain {name:?}"))?;
        let running = starter.start(chain)?;
        let running = running.with_context(|| format!("the program of {name} is not given"))?;
        running.ready_within(PATIENCE).await?;
        counts.push((chain.name, count(&running, settings.rounds, &folder).await?));
    }
    Ok(table(&counts))
}

/// A program in this folder that runs an Envoy in callgrind.
fn counted(envoy: &Path, folder: &Path) -> Result<PathBuf> {
    let program = folder.join("envoy");
    // V8 writes code into memory that is no file's.
    let script = format!(
        "#!/bin/sh\nexec valgrind --tool=callgrind --instr-atstart=no --separate-threads=yes --smc-check=all-non-file '--callgrind-out-file={}/callgrind.%p' '{}' \"$@\"\n",
        folder.display(),
        envoy.display(),
    );
    fs::write(&program, script).context("cannot write a program")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .context("cannot make a program")?;
    Ok(program)
}

/// Instructions of a request, once for each round.
async fn count(chain: &Running, rounds: u32, folder: &Path) -> Result<Vec<f64>> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(chain.proxy.server.connect(Version::H2, GO).await?);
    }
    ask(&connections, &chain.tokens, WARM_UP).await?;
    let process = chain.proxy.process().to_string();
    let mut counts = Vec::new();
    for round in 1..=rounds {
        control(&["--instr=on", &process])?;
        ask(&connections, &chain.tokens, COUNTED).await?;
        control(&["--instr=off", &process])?;
        control(&["--dump", &process])?;
        let profile = folder.join(format!("{}.{round}.callgrind", chain.name));
        let all = keep_worker(folder, &format!("callgrind.{process}.{round}-"), &profile)?;
        let a_request = all / (CONNECTIONS * STREAMS * COUNTED) as f64;
        eprintln!("{:<26} {round} {a_request:>10.0} instructions", chain.name);
        counts.push(a_request);
    }
    Ok(counts)
}

/// Of the threads' profiles, whose names begin so, keeps the worker's: it does nearly everything. Gives its instructions.
fn keep_worker(folder: &Path, profiles: &str, kept: &Path) -> Result<f64> {
    let mut worker: Option<(f64, PathBuf)> = None;
    for entry in fs::read_dir(folder).context("cannot look for profiles")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with(profiles) {
            continue;
        }
        let text = fs::read_to_string(&path).context("cannot read a profile")?;
        let all = total(&text).unwrap_or_default();
        if worker.as_ref().is_none_or(|(most, _)| all > *most) {
            worker = Some((all, path));
        }
    }
    let (all, path) = worker.context("callgrind has written no profile")?;
    fs::rename(path, kept).context("cannot keep a profile")?;
    Ok(all)
}

/// Asks so often on each stream of these connections, all of them at once and with the tokens in turn, and waits for all answers.
async fn ask(connections: &[Connection], tokens: &[HeaderValue], times: usize) -> Result<()> {
    let mut tasks = Vec::new();
    let mut tokens = tokens.iter().cycle();
    for connection in connections {
        for _ in 0..STREAMS {
            let mut stream = connection.again().context("HTTP/2 has streams")?;
            let own: Vec<_> = tokens.by_ref().take(times).cloned().collect();
            ensure!(own.len() == times, "no token");
            tasks.push(spawn_local(async move {
                for token in own {
                    stream.must(PATH, token).await?.into_body().collect().await?;
                }
                anyhow::Ok(())
            }));
        }
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Tells callgrind what to do; returns when it is done.
fn control(arguments: &[&str]) -> Result<()> {
    let output = Command::new("callgrind_control").args(arguments).output();
    let output = output.context("cannot run callgrind_control, which is Valgrind's")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "callgrind_control {arguments:?}: {}", said.trim());
    Ok(())
}

/// The instructions of a profile (Valgrind's manual, "Callgrind Format Specification").
fn total(profile: &str) -> Option<f64> {
    let line = |name| profile.lines().find_map(|line| line.strip_prefix(name));
    line("totals: ").or_else(|| line("summary: "))?.trim().parse().ok()
}

fn table(counts: &[(&str, Vec<f64>)]) -> String {
    let counts = counts.iter().map(|(name, counts)| (*name, Spread::of(counts.iter().copied())));
    let counts: Vec<_> = counts.collect();
    let base = counts.iter().find(|(name, _)| *name == GATES).map(|(_, counts)| counts.median);
    let head = format!("| chain | instructions a request | x {GATES} |\n|---|---:|---:|\n");
    let rows = counts.into_iter().map(|(name, Spread { least, median, most })| {
        let ratio = base.map_or("–".to_owned(), |base| format!("{:.3}", median / base));
        format!("| {name} | {median:.0} ({least:.0}–{most:.0}) | {ratio} |\n")
    });
    iter::once(head).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_says_what_it_has_counted() {
        let profile = "version: 1\nevents: Ir\nsummary: 12\n\nfn=(1) main\n1 3\n\ntotals: 345\n";
        assert_eq!(total(profile), Some(345.0));
        assert_eq!(total("version: 1\nsummary: 12\n"), Some(12.0));
        assert_eq!(total("version: 1\n"), None);
    }

    #[test]
    fn counts_are_compared_with_the_native_doors() {
        let counts = [(GATES, vec![100.0, 104.0, 102.0]), ("gateway_warm", vec![123.0])];
        let table = table(&counts);
        assert!(table.contains("| envoy_gates | 102 (100–104) | 1.000 |"), "{table}");
        assert!(table.contains("| gateway_warm | 123 (123–123) | 1.206 |"), "{table}");
    }
}
