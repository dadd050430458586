//! `revocations`: what is in the Revocations that gateways follow.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use gateway_core::access::Revocation;
use jiff::Timestamp;

use super::{
    error::Error,
    output::{OutputFlag, print, print_json},
    revoke::{PlaceFlags, Whom, is_same, seconds, who},
};

/// List or remove entries of the Revocations, or prune those that are over.
#[derive(Debug, Args)]
pub struct Revocations {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(List),
    Prune(Prune),
    Remove(Remove),
}

/// List the entries, those that are over with a mark.
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    output: OutputFlag,
}

/// Take out the entries that are over.
#[derive(Debug, Args)]
struct Prune {
    #[command(flatten)]
    place: PlaceFlags,
}

/// Give somebody access again: take out all entries that name it.
#[derive(Debug, Args)]
struct Remove {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    place: PlaceFlags,
}

impl Revocations {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<ExitCode, Error> {
        let now = seconds(Timestamp::now());
        match self.action {
            Action::List(list) => {
                let document = list.place.store()?.read()?;
                if list.output.is_json() {
                    print_json(&serde_json::to_value(&document).unwrap_or_default())?;
                    return Ok(ExitCode::SUCCESS);
                }
                for entry in &document.revocations {
                    print(format_args!("{}", line(entry, now)))?;
                }
            }
            Action::Prune(prune) => {
                let (left, pruned) = prune.place.store()?.change(now, |entries| entries.len())?;
                print(format_args!("{pruned} entries were over, {left} are left"))?;
            }
            Action::Remove(remove) => {
                let whom = remove.whom.entry()?;
                let take = |entries: &mut Vec<Revocation>| {
                    let before = entries.len();
                    entries.retain(|entry| !is_same(entry, &whom));
                    before - entries.len()
                };
                let (removed, _) = remove.place.store()?.change(now, take)?;
                print(format_args!("{removed} entries removed that named {}", who(&whom)))?;
                if removed == 0 {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn line(entry: &Revocation, now: u64) -> String {
    let over = if entry.end().is_some_and(|end| end <= now) { " (over)" } else { "" };
    let before = match entry.issued_before.as_str() {
        "" => String::new(),
        time => format!(", issued before {time}"),
    };
    let reason = match entry.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    format!("{}{before}, until {}{over}{reason}", who(entry), entry.until)
}
