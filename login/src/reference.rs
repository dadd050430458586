//! The table of flags in docs/login.md, from the definition of the command line.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::Arg;

use crate::cli::Cli;

/// A Markdown table for each heading: flag, environment variable, default, meaning. Flags of several commands stand there
/// once, with the commands that have them unless it is all.
#[must_use]
pub fn markdown() -> String {
    let definition = Cli::definition();
    let commands: Vec<_> = definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_arguments().any(is_listed))
        .collect();
    let mut headings: Vec<String> = Vec::new();
    let mut tables: BTreeMap<String, Vec<Row<'_>>> = BTreeMap::new();
    for command in &commands {
        for flag in command.get_arguments().filter(|flag| is_listed(flag)) {
            let heading = flag.get_help_heading().unwrap_or("Other").to_owned();
            if !headings.contains(&heading) {
                headings.push(heading.clone());
            }
            let name = flag.get_long().unwrap_or_default().to_owned();
            let table = tables.entry(heading).or_default();
            match table.iter_mut().find(|row| row.name == name) {
                Some(row) => row.commands.push(command.get_name()),
                None => table.push(Row { name, flag, commands: vec![command.get_name()] }),
            }
        }
    }
    let mut text = String::new();
    for heading in headings {
        let _ =
            write!(text, "### {heading}\n\n| flag | variable | default | |\n|---|---|---|---|\n");
        for Row { name, flag, commands } in tables.remove(&heading).unwrap_or_default() {
            let env = flag.get_env().map(|env| env.to_string_lossy().into_owned());
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            let only = if commands.len() == 1 || heading == "Other" {
                format!(" (`{}`)", commands.join("`, `"))
            } else {
                String::new()
            };
            let _ = writeln!(
                text,
                "| `{}` | `{}` | {} | {}{only} |",
                written(&name, flag),
                env.unwrap_or_default(),
                default(flag),
                help.replace('|', "\\|").replace("[default: ", "[").replace('\n', " "),
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

struct Row<'a> {
    name: String,
    flag: &'a Arg,
    commands: Vec<&'a str>,
}

fn is_listed(flag: &Arg) -> bool {
    flag.get_long().is_some() && !flag.is_hide_set()
}

/// `-s`, `--server URL`
fn written(name: &str, flag: &Arg) -> String {
    let short = flag.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let aliases = flag.get_visible_aliases().unwrap_or_default();
    let aliases = aliases.iter().fold(String::new(), |text, alias| text + ", --" + alias);
    let value = match flag.get_value_names() {
        Some([value]) if value != "BOOL" => format!(" {value}"),
        _ => String::new(),
    };
    format!("{short}--{name}{aliases}{value}")
}

fn default(flag: &Arg) -> String {
    let values: Vec<_> =
        flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match values.join(",").as_str() {
        "" | "false" | "0" => String::new(),
        text => format!("`{text}`"),
    }
}
