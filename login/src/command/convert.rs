//! `convert`: users of the kubeconfig that log in with other programs become ours.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::{error::CommandError, setup::exec_section, standard::print};
use crate::{
    cli::Convert,
    console::{Console, printable},
    kubeconfig::{Files, Kubeconfig, KubeconfigError, Rewritten, Users, rewritten},
    stanza::{Converted, Stanza, convert},
};

/// Fields of an exec section that are as good for this program.
const KEPT: [&str; 3] = ["apiVersion", "interactiveMode", "provideClusterInfo"];

/// Shows, or writes, what changes.
pub fn run(flags: &Convert) -> Result<(), CommandError> {
    let console = flags.messages.console();
    let files = Files::locate(flags.kubeconfig.as_deref())?;
    let config = Kubeconfig::load(&files)?;
    let chosen = chosen(&config, flags)?;
    let mut changes: BTreeMap<PathBuf, Users> = BTreeMap::new();
    let mut secrets = Vec::new();
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
                secrets.extend(secrets_of(user));
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
        print(diff(&change, &secrets).trim_end())?;
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

/// What must not stand on a screen.
fn secrets_of(user: &Value) -> Vec<String> {
    let config = &user["auth-provider"]["config"];
    let names = ["client-secret", "id-token", "refresh-token", "access-token"];
    let mut secrets: Vec<String> =
        names.iter().filter_map(|name| config[*name].as_str().map(str::to_owned)).collect();
    let words = |key: &str| user["exec"][key].as_array().cloned().unwrap_or_default();
    let arguments: Vec<_> =
        words("args").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let flags =
        ["--oidc-client-secret", "--password", "--client-secret", "--token-store-passphrase"];
    for (at, word) in arguments.iter().enumerate() {
        match word.split_once('=') {
            Some((name, value)) if flags.contains(&name) => secrets.push(value.to_owned()),
            None if flags.contains(&&**word) => secrets.extend(arguments.get(at + 1).cloned()),
            _ => {}
        }
    }
    for pair in words("env") {
        let name = pair["name"].as_str().unwrap_or_default();
        let secret =
            ["SECRET", "PASSWORD", "PASSPHRASE", "TOKEN"].iter().any(|part| name.contains(part));
        secrets.extend(pair["value"].as_str().filter(|_| secret).map(str::to_owned));
    }
    secrets.retain(|secret| !secret.is_empty());
    // The longest first: one may be a part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// The change of a file as programs print it, with `***` for secrets.
fn diff(change: &Rewritten, secrets: &[String]) -> String {
    let masked = |line: &str| {
        let line = secrets.iter().fold(line.to_owned(), |line, secret| line.replace(secret, "***"));
        printable(line.trim_end_matches(['\n', '\r']))
    };
    let path = change.path.display();
    let mut text = format!("--- {path}\n+++ {path}\n");
    let lines = TextDiff::from_lines(&change.before, &change.after);
    for hunk in lines.unified_diff().context_radius(2).iter_hunks() {
        let _ = writeln!(text, "{}", hunk.header());
        for line in hunk.iter_changes() {
            let sign = match line.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let _ = writeln!(text, "{sign}{}", masked(line.value()));
        }
    }
    text
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
