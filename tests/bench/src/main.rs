//! `make bench`: what a request costs through the gateway, beside Envoy alone and Envoy's own JWT filter.
//!
//! Every chain is the configuration that the program renders for users (listener, TLS, limits, access log, clusters), with
//! other filters in place of ours; so what differs is what is measured. All chains of a load take turns, in an order that
//! alternates from round to round, and medians are compared. The processor time is the proxy's own, from `/proc`.

#![expect(
    clippy::cast_precision_loss,
    reason = "counts and times of a benchmark are far below 2^53"
)]

mod attack;
mod chains;
mod chart;
mod goals;
mod instructions;
mod lasting;
mod load;
mod memory;
mod native;
mod oidc_proxy;
mod paused;
mod plan;
mod portal;
mod report;
mod sources;
mod spread;
mod starts;
mod strangers;
mod stub;
mod upgrades;
mod world;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use clap::Parser;
use gateway_bench::{client, process, publish};

use crate::{chains::Others, plan::Settings, report::Report, world::World};

/// Measures the gateway beside Envoy alone, Envoy's JWT filter and, if there is one, kube-oidc-proxy.
///
/// Needs the filter's module (`GATEWAY_FILTER`) and the sandbox's programs: `make bench` has both made. Writes
/// `bench.json` and `bench.svg` into the output folder and prints the table.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Parser)]
#[command(name = "gateway-bench", version)]
struct Arguments {
    /// How often each chain has its turn under each load.
    #[arg(long, env = "ROUNDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each turn is measured, in seconds.
    #[arg(long, env = "SECONDS_A_TURN", default_value_t = 2.0)]
    seconds: f64,
    /// Only loads whose name contains this.
    #[arg(long, env = "LOAD")]
    load: Option<String>,
    /// Only chains whose name contains one of these, comma-separated.
    #[arg(long, env = "CHAIN", value_delimiter = ',')]
    chain: Vec<String>,
    /// A kube-oidc-proxy program to measure beside them.
    #[arg(long, env = "KUBE_OIDC_PROXY")]
    kube_oidc_proxy: Option<PathBuf>,
    /// Another build of the filter's module, measured beside this one as the chains `other_warm` and `other_cold_rs256`.
    #[arg(long, env = "OTHER_FILTER")]
    other_filter: Option<PathBuf>,
    /// Instead of the loads: the memory after a million warm requests, 100,000 valid and 100,000 invalid tokens.
    #[arg(long)]
    memory: bool,
    /// Instead of the loads: what the portal's tokens and reviews cost.
    #[arg(long, conflicts_with = "memory")]
    portal: bool,
    /// Instead of the loads: the memory of 2,000 requests that wait for an issuer's keys.
    #[arg(long, conflicts_with_all = ["memory", "portal"])]
    paused: bool,
    /// Instead of the loads: how long an exec waits for its 101.
    #[arg(long, conflicts_with_all = ["memory", "portal", "paused"])]
    upgrades: bool,
    /// Instead of the loads: how many instructions a request costs the proxy, counted by Valgrind; all of `CHAIN` by their whole names.
    #[arg(long, conflicts_with_all = ["memory", "portal", "paused", "upgrades"])]
    instructions: bool,
    /// Where the results are written.
    #[arg(long, default_value = "target")]
    output: PathBuf,
    /// Also puts the table and the chart into this folder's performance.md and performance.svg.
    #[arg(long)]
    publish: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let start = Instant::now();
    let settings = Settings {
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        load: arguments.load,
        chains: arguments.chain,
        others: Others {
            kube_oidc_proxy: arguments.kube_oidc_proxy,
            filter: arguments.other_filter,
        },
    };
    let mut world = World::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the load generator")?;
    let tasks = tokio::task::LocalSet::new();
    if arguments.memory {
        let text = tasks.block_on(&runtime, memory::run(&world))?;
        return publish_section(arguments.publish.as_deref(), "memory", &text);
    }
    if arguments.paused {
        let text = tasks.block_on(&runtime, paused::run(&world))?;
        return publish_section(arguments.publish.as_deref(), "paused", &text);
    }
    if arguments.portal {
        let text = tasks.block_on(&runtime, portal::run(&world))?;
        return publish_section(arguments.publish.as_deref(), "portal", &text);
    }
    if arguments.upgrades {
        let text = tasks.block_on(&runtime, upgrades::run(&world))?;
        return publish_section(arguments.publish.as_deref(), "upgrades", &text);
    }
    if arguments.instructions {
        let counts = instructions::run(&mut world, &settings, &arguments.output);
        println!("{}", tasks.block_on(&runtime, counts)?);
        return Ok(());
    }
    let mut report = Report::new(settings.rounds);
    tasks.block_on(&runtime, plan::run(&world, &settings, &mut report))?;
    tasks.block_on(&runtime, sources::run(&world, &settings, &mut report))?;
    let text = report.table() + &goals::table(&goals::goals(&report));
    println!("{text}");
    report.write(&arguments.output)?;
    if let Some(folder) = &arguments.publish {
        report.publish(folder, &text)?;
    }
    eprintln!("{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

fn publish_section(folder: Option<&std::path::Path>, section: &str, text: &str) -> Result<()> {
    println!("{text}");
    match folder {
        Some(folder) => publish::replace_section(&folder.join("performance.md"), section, text),
        None => Ok(()),
    }
}
