//! `convert`: users of the kubeconfig that log in with other programs become ours.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::{error::CommandError, setup::exec_section, standard::print};
use crate::{
    cli::Convert,
    console::{Console, printable},
    kubeconfig::{Files, Kubeconfig, KubeconfigError, Rewritten, Users, masked, rewritten},
    stanza::{Converted, Stanza, convert},
};

/// Fields of an exec section that are as good for this program.
const KEPT: [&str; 3] = ["apiVersion", "interactiveMode", "provideClusterInfo"];

/// Shows, or writes, what changes.
pub fn run(flags: &Convert) -> Result<(), CommandError> {
    let console = flags.messages.console();
    let files = Files::existing(flags.kubeconfig.as_deref())?;
    let config = Kubeconfig::load(&files)?;
    let chosen = chosen(&config, flags)?;
    let mut changes: BTreeMap<PathBuf, Users> = BTreeMap::new();
    let mut failed = 0;
    for (path, name, user) in config.users() {
        if chosen.as_ref().is_some_and(|chosen| chosen != name) {
            continue;
        }
        match convert(&Stanza::read(user), path) {
            None if chosen.is_some() => console.say(format_args!("{name}: {}", left_alone(user))),
            None => console.trace(|| format!("{name}: {}", left_alone(user))),
            Some(Err(why)) => {
                failed += 1;
                console.say(format_args!("{name} cannot be converted: {why}"));
            }
            Some(Ok(converted)) => {
                for note in &converted.notes {
                    console.say(format_args!("{name}: {note}"));
                }
                let new = section(user, &converted);
                changes.entry(path.to_owned()).or_default().push((name.to_owned(), new));
            }
        }
    }
    if changes.is_empty() && failed == 0 {
        console.say("There is nothing to convert.");
    }
    for (path, users) in &changes {
        let change = rewritten(path, users, flags.write)?;
        match diff(&change) {
            Some(text) => print(text.trim_end())?,
            None => console.say(format_args!(
                "The change of {} is not shown: its secrets cannot be told from the rest.",
                path.display()
            )),
        }
        say_of(&change, flags.write, console);
    }
    if !changes.is_empty() && !flags.write {
        console.say("Nothing is written yet: --write does it.");
    }
    match failed {
        0 => Ok(()),
        1 => Err(CommandError::Other(
            "one user cannot be converted, see above; --user chooses among the others".to_owned(),
        )),
        many => Err(CommandError::Other(format!(
            "{many} users cannot be converted, see above; --user chooses among the others"
        ))),
    }
}

/// The user that the flags name; `None` for all.
fn chosen(config: &Kubeconfig, flags: &Convert) -> Result<Option<String>, KubeconfigError> {
    if let Some(user) = &flags.user {
        return config.user(user).map(|_| Some(user.clone()));
    }
    let Some(context) = flags.context.as_deref() else { return Ok(None) };
    config.context(Some(context)).map(|context| Some(context.user_name))
}

fn left_alone(user: &Value) -> String {
    match Stanza::read(user) {
        Stanza::Ours(_) => "logs in with this program already".to_owned(),
        Stanza::Other(command) => format!("is left alone: it logs in with {command:?}"),
        _ => "is left alone: it needs no program to log in".to_owned(),
    }
}

fn section(user: &Value, converted: &Converted) -> Value {
    let mut section = exec_section(&converted.arguments, &converted.env);
    let known = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
    for field in KEPT {
        let Some(value) = user.get("exec").and_then(|exec| exec.get(field)) else { continue };
        if field != "apiVersion" || value.as_str().is_some_and(|value| known.contains(&value)) {
            section["exec"][field] = value.clone();
        }
    }
    section
}

/// The change of a file as programs print it, with `***` for secrets; `None` where they cannot be told from the rest.
fn diff(change: &Rewritten) -> Option<String> {
    let path = change.path.display();
    let mut text = format!("--- {path}\n+++ {path}\n");
    let (before, after) = (masked(&change.before)?, masked(&change.after)?);
    let lines = TextDiff::from_lines(&before, &after);
    for hunk in lines.unified_diff().context_radius(2).iter_hunks() {
        let _ = writeln!(text, "{}", hunk.header());
        for line in hunk.iter_changes() {
            let sign = match line.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let _ =
                writeln!(text, "{sign}{}", printable(line.value().trim_end_matches(['\n', '\r'])));
        }
    }
    Some(text)
}

fn say_of(change: &Rewritten, written: bool, console: Console) {
    let path = change.path.display();
    if change.comments_lost {
        let would = if written { "are" } else { "would be" };
        console.say(format_args!("The comments in {path} {would} lost."));
    }
    if written {
        console.say(format_args!("Written: {path}"));
    }
}
