//! Flags that kubelogin takes and that change nothing here, so that a kubeconfig which names them keeps working.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// Without a value, or with `=true` and `=false`: klog's, and TLS renegotiation, which TLS 1.3 and this program's TLS library do
/// not have.
const SWITCHES: [&str; 9] = [
    "tls-renegotiation-once",
    "tls-renegotiation-freely",
    "add_dir_header",
    "alsologtostderr",
    "legacy_stderr_threshold_behavior",
    "logtostderr",
    "one_output",
    "skip_headers",
    "skip_log_headers",
];

/// With a value: klog's.
const VALUES: [&str; 7] = [
    "alsologtostderrthreshold",
    "log_backtrace_at",
    "log_dir",
    "log_file",
    "log_file_max_size",
    "stderrthreshold",
    "vmodule",
];

/// Those of them that were given.
#[derive(Debug, Clone, Default)]
pub struct IgnoredFlags {
    given: Vec<&'static str>,
}

impl IgnoredFlags {
    /// Their names, to tell the person.
    pub fn given(&self) -> impl Iterator<Item = String> + '_ {
        self.given.iter().map(|name| format!("--{name}"))
    }
}

fn all() -> impl Iterator<Item = &'static str> {
    SWITCHES.into_iter().chain(VALUES)
}

impl Args for IgnoredFlags {
    fn augment_args(command: Command) -> Command {
        let flag = |name: &'static str| {
            Arg::new(name).long(name).hide(true).action(ArgAction::Append).value_name("VALUE")
        };
        let switch =
            |name| flag(name).num_args(0..=1).require_equals(true).default_missing_value("true");
        command.args(SWITCHES.map(switch)).args(VALUES.map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for IgnoredFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { given: all().filter(|name| matches.contains_id(name)).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
