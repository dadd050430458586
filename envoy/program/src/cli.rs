//! The command line.

mod cel;
mod certificates;
mod check;
mod doctor;
mod envoy;
mod envoy_gateway;
mod error;
mod files;
mod grant;
mod init;
mod istio;
mod lint;
mod log;
mod migrate;
mod modules;
mod output;
mod pod;
mod portal;
mod probe;
mod rbac;
mod render;
mod review;
mod revocations;
mod revoke;
mod rules;
mod run;
mod secrets;
mod test_conditions;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing::error;

use self::{error::Error, log::LogFormat};

/// OpenID Connect login for a Kubernetes cluster: Envoy with a filter in front of kube-apiserver.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 120, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Run>),
    /// Write Envoy's configuration files.
    ///
    /// Files that have changed are replaced by rename: an Envoy that runs with them takes the new ones at once, except
    /// envoy.yaml. Prints the command line that starts Envoy with them.
    Render(Box<render::Render>),
    Check(check::Check),
    Doctor(Box<doctor::Doctor>),
    Init(Box<init::Init>),
    Review(review::Review),
    Cel(cel::Cel),
    Lint(lint::Lint),
    Rbac(Box<rbac::Rbac>),
    Probe(probe::Probe),
    Secrets(secrets::Secrets),
    Istio(istio::Istio),
    EnvoyGateway(envoy_gateway::EnvoyGateway),
    Portal(Box<portal::Portal>),
    MigrateValues(migrate::MigrateValues),
    Certificates(Box<certificates::Certificates>),
    TestConditions(test_conditions::TestConditions),
    Grant(grant::Grant),
    Revoke(Box<revoke::Revoke>),
    Revocations(revocations::Revocations),
}

/// The program whose command line `run` takes. Under its name this program needs no subcommand.
const KUBE_OIDC_PROXY: &str = "kube-oidc-proxy";

impl Arguments {
    /// The command line of this process. One that is not understood ends it, with a line that says why.
    pub fn read() -> Self {
        Self::parse_from(env::args_os().collect()).unwrap_or_else(|error| error.exit())
    }

    fn parse_from(mut words: Vec<OsString>) -> Result<Self, clap::Error> {
        let program = words.first().map(PathBuf::from).unwrap_or_default();
        if program.file_name() == Path::new(KUBE_OIDC_PROXY).file_name() {
            words.insert(1, "run".into());
        }
        let matches = Self::grammar().try_get_matches_from(words)?;
        Self::from_arg_matches(&matches)
    }

    fn grammar() -> clap::Command {
        Self::command()
            .mut_subcommand("run", run::as_in_go)
            .mut_subcommand("doctor", |command| doctor::brief(run::as_in_go(command)))
            .mut_subcommand("rbac", |command| rbac::brief(run::as_in_go(command)))
    }

    /// Does what the command line asks for.
    pub fn run(self) -> ExitCode {
        // `review` keeps 1 for "not authenticated", `lint` and `doctor` for findings, `test-conditions` for tests that fail.
        let failure = match self.command {
            Command::Review(_)
            | Command::Lint(_)
            | Command::Doctor(_)
            | Command::TestConditions(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        };
        // Who runs on and on has a log; the others have people before them.
        let format = match &self.command {
            Command::Run(run) => Some(run.log_format()),
            Command::Portal(portal) => Some(portal.log_format()),
            _ => None,
        };
        // These have findings, and no log.
        if !matches!(self.command, Command::Doctor(_) | Command::Init(_)) {
            format.unwrap_or(LogFormat::Text).start();
        }
        self.carry_out().unwrap_or_else(|error| {
            if format.is_some() {
                error!("{error}");
            } else {
                output::say(format_args!("kube-oidc-gateway: {error}"));
            }
            failure
        })
    }

    fn carry_out(self) -> Result<ExitCode, Error> {
        match self.command {
            Command::Run(run) => run.run(),
            Command::Render(render) => render.run().map(|()| ExitCode::SUCCESS),
            Command::Check(check) => check.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Init(init) => init.run(),
            Command::Review(review) => review.run(),
            Command::Cel(cel) => cel.run(),
            Command::Lint(lint) => lint.run(),
            Command::Rbac(rbac) => rbac.run(),
            Command::Secrets(secrets) => secrets.run().map(|()| ExitCode::SUCCESS),
            Command::Probe(probe) => probe.run().map(|()| ExitCode::SUCCESS),
            Command::Portal(portal) => portal.run().map(|()| ExitCode::SUCCESS),
            Command::Istio(istio) => istio.run().map(|()| ExitCode::SUCCESS),
            Command::MigrateValues(migrate) => migrate.run(),
            Command::Certificates(certificates) => certificates.run(),
            Command::TestConditions(tests) => tests.run(),
            Command::Grant(grant) => grant.run(),
            Command::Revoke(revoke) => revoke.run(),
            Command::Revocations(revocations) => revocations.run(),
            Command::EnvoyGateway(gateway) => gateway.run().map(|()| ExitCode::SUCCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/init-and-doctor.md speaks of flags that there are, and of every provider and way in with what the program does for it.
    #[test]
    fn the_page_of_init_and_doctor_is_about_this_command_line() {
        let page = include_str!("../../../docs/init-and-doctor.md");
        let command = Arguments::grammar();
        let flags: Vec<_> = command
            .get_subcommands()
            .flat_map(|command| command.get_arguments().filter_map(clap::Arg::get_long))
            .collect();
        let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
        let named = page.split("--").skip(1).filter_map(|rest| {
            rest.split(|c| !is_word(c)).next().filter(|flag| flag.starts_with(char::is_alphabetic))
        });
        // The plugin's.
        let others = ["token-store"];
        for flag in named.filter(|flag| !others.contains(flag)) {
            assert!(flags.contains(&flag), "--{flag}");
        }
        // What `brief` hides are flags of `run` alone.
        for (name, flag) in [("doctor", "process"), ("doctor", "host"), ("rbac", "service-account")]
        {
            let subcommand = command.find_subcommand(name).unwrap();
            let argument = subcommand.get_arguments().find(|it| it.get_long() == Some(flag));
            assert!(!argument.unwrap().is_hide_set(), "{name} --{flag} is hidden");
        }
        let init = command.find_subcommand("init").unwrap();
        for argument in init.get_arguments().filter(|it| it.get_help_heading() == Some("Answers")) {
            let flag = argument.get_long().unwrap();
            assert!(page.contains(&format!("`--{flag}`")), "the page lacks --{flag}");
            // One that takes none is said to have `true` and `false`.
            let takes = argument.get_action().takes_values();
            for value in argument.get_possible_values().iter().filter(|_| takes) {
                let row = format!("| `{}` |", value.get_name());
                assert!(page.contains(&row), "the page lacks {row}");
            }
        }
    }

    /// The commands of this program in a page's blocks: each with its words, as far as a shell would give them to it.
    fn commands(page: &str) -> Vec<Vec<String>> {
        let page = page.replace("\\\n", " ");
        let lines = page.lines().map(|line| line.trim().trim_start_matches("$ "));
        let lines =
            lines.filter(|line| line.starts_with("kube-oidc-gateway ") && !line.contains('…'));
        lines
            .map(|line| {
                let words = line.split_whitespace();
                let mut quoted = String::new();
                let mut found = Vec::new();
                for word in words.take_while(|word| {
                    !matches!(*word, "|" | ">" | "&&") && !word.starts_with(['#', '>'])
                }) {
                    quoted.push_str(word);
                    if quoted.matches(['"', '\'']).count().is_multiple_of(2) {
                        found.push(quoted.replace(['"', '\''], ""));
                        quoted.clear();
                    } else {
                        quoted.push(' ');
                    }
                }
                found
            })
            .collect()
    }

    /// What people copy from a page must be understood.
    #[test]
    fn the_commands_in_the_pages_are_of_this_command_line() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut folders = vec![root.join("docs"), root.join("deploy")];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                if path.extension().is_none_or(|extension| extension != "md") {
                    continue;
                }
                for words in commands(&std::fs::read_to_string(&path).unwrap()) {
                    let parsed = Arguments::grammar().try_get_matches_from(&words);
                    assert!(
                        parsed.is_ok(),
                        "{}: {words:?}: {}",
                        path.display(),
                        parsed.unwrap_err()
                    );
                    found += 1;
                }
            }
        }
        assert!(found >= 12, "{found} commands found: are they written otherwise now?");
    }

    #[test]
    fn the_command_line_is_consistent_and_every_flag_explained() {
        let command = Arguments::grammar();
        command.clone().debug_assert();
        for subcommand in command.get_subcommands() {
            for argument in subcommand.get_arguments() {
                assert!(argument.get_help().is_some(), "{}", argument.get_id());
            }
        }
    }
}
