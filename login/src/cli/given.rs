//! The flags of a call as a kubeconfig's exec section would have them.

use std::path::absolute;

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::go;
use crate::path::path_of;

/// Flags that are secrets. One belongs to the client, and goes into the environment of an exec section; the others are the
/// person's, and are nowhere written.
const CLIENT_SECRET: &str = "oidc-client-secret";
const PERSONS: [&str; 2] = ["password", "token-store-passphrase"];

/// Those flags of `get-token` that were given, by hand or by the environment, and differ from the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// `--name=value` for each.
    pub arguments: Vec<String>,
    /// Environment variables for what other users must not see among the arguments.
    pub env: Vec<(String, String)>,
    /// The person's own secrets, by their flags: they are left out.
    pub left_out: Vec<String>,
}

impl Given {
    /// What `matches`, of any command that has flags of `get-token`, amounts to.
    #[must_use]
    pub fn of(definition: &Command, matches: &ArgMatches) -> Self {
        let mut given = Self::default();
        let command = definition.find_subcommand("get-token");
        for flag in command.into_iter().flat_map(Command::get_arguments) {
            let heading = flag.get_help_heading();
            if flag.is_hide_set() || heading.is_none() || heading == Some("Messages") {
                continue;
            }
            given.add(flag, matches);
        }
        given
    }

    fn add(&mut self, flag: &Arg, matches: &ArgMatches) {
        let (Some(name), id) = (flag.get_long(), flag.get_id().as_str()) else { return };
        let Ok(Some(raw)) = matches.try_get_raw(id) else { return };
        let source = matches.value_source(id);
        if !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            return;
        }
        let values: Vec<String> = raw
            .map(|value| value.to_string_lossy().into_owned())
            .filter(|v| !v.is_empty())
            .collect();
        let defaults: Vec<_> =
            flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if values.is_empty() || values == defaults {
            return;
        }
        if PERSONS.contains(&name) {
            self.left_out.push(format!("--{name}"));
        } else if name == CLIENT_SECRET {
            let variable = flag.get_env().map(|name| name.to_string_lossy().into_owned());
            self.env.extend(variable.zip(values.into_iter().next_back()));
        } else {
            self.arguments.extend(written(flag, name, &values));
        }
    }
}

fn written(flag: &Arg, name: &str, values: &[String]) -> Vec<String> {
    let kind = flag.get_value_names().and_then(<[_]>::first).map(clap::builder::Str::as_str);
    let one = |value: String| format!("--{name}={value}");
    match kind {
        Some("BOOL") if values == ["true"] => vec![format!("--{name}")],
        // A kubeconfig is used in any folder.
        Some("FILE" | "DIR") => {
            let path = |text: &String| path_of(text).and_then(|path| absolute(path).ok());
            values.iter().filter_map(path).map(|path| one(path.display().to_string())).collect()
        }
        Some("SCOPE") => vec![one(values.join(" "))],
        Some("HOST:PORT" | "ACR") => vec![one(values.join(","))],
        Some("NAME=VALUE") => {
            let pairs: Vec<_> = values.iter().filter_map(|text| go::pairs(text).ok()).collect();
            let pairs = go::merged(&pairs);
            pairs.iter().map(|(name, value)| one(go::written(name, value))).collect()
        }
        _ => values.iter().cloned().map(one).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::ArgAction;

    use super::*;
    use crate::cli::{Cli, parse_exec};

    fn given(words: &[&str]) -> Given {
        let words = ["kubectl-oidc", "setup"].iter().chain(words);
        match Cli::read(words).unwrap().command {
            Some(crate::cli::Command::Setup(setup)) => setup.given,
            other => panic!("{other:?}"),
        }
    }

    /// A value for the flag that is not its default.
    fn sample(flag: &Arg) -> Option<String> {
        let default = flag.get_default_values().first();
        let possible = flag.get_possible_values();
        let other = possible
            .iter()
            .rev()
            .find(|value| Some(value.get_name()) != default.and_then(|d| d.to_str()));
        let kind = flag.get_value_names().and_then(<[_]>::first).map(clap::builder::Str::as_str);
        match kind {
            Some("BOOL") => Some("true".to_owned()),
            _ if other.is_some() => other.map(|value| value.get_name().to_owned()),
            Some("NAME=VALUE") => Some(r#"claims={"a":"b=c","d":1}"#.to_owned()),
            Some("URL") => Some("https://example.com/x".to_owned()),
            Some("HOST:PORT") => Some("127.0.0.1:1,127.0.0.1:2".to_owned()),
            Some("SECONDS") => Some("77".to_owned()),
            Some("FILE" | "DIR") => Some("~/a b".to_owned()),
            Some("BASE64") => Some("abc=".to_owned()),
            _ => Some("a,b c".to_owned()),
        }
    }

    /// A flag that comes later is among them without anybody thinking of it.
    #[test]
    fn every_flag_is_written_and_read_again() {
        let definition = Cli::definition();
        let setup = definition.find_subcommand("setup").unwrap();
        let mut seen = 0;
        for flag in definition.find_subcommand("get-token").unwrap().get_arguments() {
            let name = flag.get_long().unwrap();
            let messages = flag.get_help_heading() == Some("Messages");
            if flag.is_hide_set() || messages || ["help", "force-refresh"].contains(&name) {
                continue;
            }
            assert!(setup.get_arguments().any(|other| other.get_long() == Some(name)), "{name}");
            assert!(
                flag.get_action().takes_values() || matches!(flag.get_action(), ArgAction::Set)
            );
            let other = absolute("/other").unwrap();
            let mut words = vec![format!("--{name}={}", sample(flag).unwrap())];
            match name {
                "local-server-cert" => {
                    words.push(format!("--local-server-key={}", other.display()));
                }
                "local-server-key" => {
                    words.push(format!("--local-server-cert={}", other.display()));
                }
                _ => {}
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let found = given(&words);
            if PERSONS.contains(&name) {
                assert_eq!(
                    found,
                    Given { left_out: vec![format!("--{name}")], ..Given::default() }
                );
                continue;
            }
            assert_eq!(found.arguments.len() + found.env.len(), words.len(), "{name}: {found:?}");
            let mut arguments = vec!["get-token".to_owned()];
            arguments.extend(found.arguments);
            let read = |arguments, env: &[(String, String)]| {
                let flags = parse_exec(arguments, env).unwrap_or_else(|error| panic!("{error}"));
                format!("{:?}", flags.connect)
            };
            let direct = ["get-token"].iter().chain(&words).map(|word| {
                // What a shell's user writes, where paths become whole.
                let whole = directories::BaseDirs::new().unwrap().home_dir().join("a b");
                word.replace("=~/a b", &format!("={}", whole.display()))
            });
            let same = read(arguments, &found.env);
            let direct = read(direct.collect(), &[]);
            if name != "oidc-extra-scope" {
                assert_eq!(same, direct, "{name}");
            }
            seen += 1;
        }
        assert!(seen > 30, "{seen}");
    }

    #[test]
    fn what_is_the_default_is_not_written() {
        let defaults: BTreeMap<_, _> =
            [("--grant-type", "auto"), ("--listen-address", "127.0.0.1:8000,127.0.0.1:18000")]
                .into();
        let words: Vec<_> =
            defaults.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        assert_eq!(given(&words), Given::default());
        assert_eq!(given(&["--oidc-use-pkce=false", "--account="]), Given::default());
    }
}
