//! What is generated from the definition of the command line: completions as kubectl asks for them, and the man page.

use std::io::{self, Write};

use clap::Command;

use crate::cli::Cli;

/// Cobra's "no file names" (its completions end with such a line).
const NO_FILES: &str = ":4";
const FILES: &str = ":0";

/// Candidates for the last of `words`, in the form of Cobra's `__complete`, which kubectl expects of the program
/// `kubectl_complete-oidc`.
pub fn complete(words: &[String]) -> String {
    let definition = Cli::definition();
    let Some((last, before)) = words.split_last() else { return NO_FILES.to_owned() };
    let command = before.first().and_then(|name| definition.find_subcommand(name));
    let (candidates, directive) = match command {
        None => (subcommands(&definition), NO_FILES),
        Some(command) if last.starts_with('-') => (flags(command, last), NO_FILES),
        Some(command) => values(command, before.last()),
    };
    let mut lines: Vec<String> = candidates
        .into_iter()
        .filter(|(name, _)| name.starts_with(last.as_str()))
        .map(|(name, about)| format!("{name}\t{about}"))
        .collect();
    lines.push(directive.to_owned());
    lines.join("\n")
}

type Candidates = Vec<(String, String)>;

fn subcommands(definition: &Command) -> Candidates {
    definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| (command.get_name().to_owned(), about(command.get_about())))
        .collect()
}

fn flags(command: &Command, last: &str) -> Candidates {
    let visible = command.get_arguments().filter(|flag| !flag.is_hide_set());
    // `--flag=` is followed by the flag's values.
    if let Some((name, _)) = last.split_once('=') {
        let (candidates, _) = values(command, Some(&name.to_owned()));
        return candidates
            .into_iter()
            .map(|(value, about)| (format!("{name}={value}"), about))
            .collect();
    }
    visible
        .filter_map(|flag| Some((format!("--{}", flag.get_long()?), about(flag.get_help()))))
        .collect()
}

/// The values of the flag that stands before, or of the positional argument.
fn values(command: &Command, before: Option<&String>) -> (Candidates, &'static str) {
    let name = before.and_then(|word| word.strip_prefix("--"));
    let argument = command.get_arguments().find(|argument| match name {
        Some(name) => argument.get_long() == Some(name),
        None => argument.is_positional(),
    });
    let possible = argument.map(clap::Arg::get_possible_values).unwrap_or_default();
    let candidates: Candidates = possible
        .into_iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| (value.get_name().to_owned(), about(value.get_help())))
        .collect();
    let directive = if candidates.is_empty() && argument.is_some() { FILES } else { NO_FILES };
    (candidates, directive)
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// One man page for all commands.
pub fn man(output: &mut impl Write) -> io::Result<()> {
    let definition = Cli::definition().bin_name("kubectl oidc");
    let page = clap_mangen::Man::new(definition.clone());
    page.render_title(output)?;
    page.render_name_section(output)?;
    page.render_synopsis_section(output)?;
    page.render_description_section(output)?;
    for command in definition.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        writeln!(output, ".SH \"KUBECTL OIDC {}\"", name.to_uppercase().replace('-', "\\-"))?;
        let page = clap_mangen::Man::new(command.clone().bin_name(format!("kubectl oidc {name}")));
        page.render_description_section(&mut SubSections(output))?;
        page.render_options_section(&mut SubSections(output))?;
    }
    page.render_version_section(output)
}

/// Turns the sections of a subcommand's page into subsections.
struct SubSections<'a, W>(&'a mut W);

impl<W: Write> Write for SubSections<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).replace(".SH ", ".SS ");
        self.0.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> (Vec<String>, String) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let text = complete(&words);
        let mut lines: Vec<String> = text
            .lines()
            .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
            .collect();
        let directive = lines.pop().unwrap();
        (lines, directive)
    }

    #[test]
    fn completions_are_cobras() {
        let owned =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (words, want, directive) in [
            (&["get"][..], owned(&["get-token"]), ":4"),
            (&["get-token", "--grant"], owned(&["--grant-type"]), ":4"),
            (
                &["get-token", "--grant-type", "auth"],
                owned(&["authcode", "authcode-keyboard"]),
                ":4",
            ),
            (&["get-token", "--grant-type=dev"], owned(&["--grant-type=device-code"]), ":4"),
            (&["get-token", "--certificate-authority", ""], vec![], ":0"), // a file
            (&["completion", "z"], owned(&["zsh"]), ":4"),
            (&["__comp"], vec![], ":4"),
        ] {
            assert_eq!(names(words), (want, directive.to_owned()), "{words:?}");
        }
        assert!(names(&[""]).0.contains(&"setup".to_owned()));
    }

    #[test]
    fn the_man_page_has_every_command_and_flag() {
        let mut page = Vec::new();
        man(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for text in ["KUBECTL OIDC GET\\-TOKEN", "KUBECTL OIDC SETUP", "\\-\\-oidc\\-issuer\\-url"]
        {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("vmodule"), "hidden flags stay hidden");
    }
}
