//! `run`: the gateway as one program, with the flags of kube-oidc-proxy.

mod audit;
mod documents;
mod flags;
mod go;
#[cfg(test)]
mod held;
mod planned;
mod settings;
mod tls;

use std::process::ExitCode;

use clap::{ArgAction, Args, Command, FromArgMatches};
use gateway_config::{Limits, traces::TracesFlags};
use kube_oidc_gateway::{
    doctor::Planned,
    process::write_for_the_owner_alone,
    run::{self as gateway, metrics::Metrics},
};
use tempfile::TempDir;
use tracing::warn;

use super::{error::Error, log::LogFormat};

/// Run the gateway: Envoy with the filter, as a child of this program.
///
/// Takes the flags of kube-oidc-proxy. In a pod of the cluster it needs only the issuer's flags. Every file that it reads
/// may change while it runs.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    proxy: flags::Proxy,
    #[command(flatten)]
    oidc: flags::Oidc,
    #[command(flatten)]
    serving: flags::Serving,
    #[command(flatten)]
    client: flags::Client,
    #[command(flatten)]
    audit: audit::Audit,
    #[command(flatten)]
    ignored: flags::Ignored,
    #[command(flatten)]
    own: flags::Own,
    #[command(flatten)]
    traces: TracesFlags,
    #[command(flatten)]
    limits: Limits,
}

/// Gives flags without a value the form they have in Go (`--flag`, `--flag=false`), and lets a later flag win.
pub fn as_in_go(command: Command) -> Command {
    let boolean = |argument: clap::Arg| match argument.get_action() {
        ArgAction::SetTrue => argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(go::boolean)
            .value_name("BOOL")
            .hide_default_value(true),
        _ => argument,
    };
    command.args_override_self(true).mut_args(boolean)
}

/// A command line of `run`, the program's name included, or of a program under kube-oidc-proxy's name.
///
/// # Errors
/// In one line.
pub fn of_words(words: Vec<String>) -> Result<Run, String> {
    let first = words.iter().skip(1).position(|word| word == "run");
    let flags = words.into_iter().skip(first.map_or(1, |index| index + 2));
    let command = as_in_go(Run::augment_args(Command::new("run").no_binary_name(true)));
    let line = |error: clap::Error| {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned()
    };
    let matches = command.try_get_matches_from(flags).map_err(line)?;
    Run::from_arg_matches(&matches).map_err(line)
}

impl Run {
    /// The form of this program's own lines.
    pub fn log_format(&self) -> LogFormat {
        self.own.log_format
    }

    /// What a gateway of these flags would be, and what it lacks, with a folder that some of it may be in.
    pub fn planned(self) -> Result<(Planned, Option<TempDir>), Error> {
        planned::planned(self)
    }

    /// Runs the gateway until it is told to end.
    pub fn run(self) -> Result<ExitCode, Error> {
        write_for_the_owner_alone();
        let warnings = self.ignored.warnings().into_iter();
        for warning in warnings.chain(self.serving.warnings()).chain(self.audit.warnings()) {
            warn!("{warning}");
        }
        let mut metrics = Metrics::default();
        let sinks = self.audit.sinks(&mut metrics)?;
        gateway::run(self.settings()?, sinks, metrics)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    /// Every flag of kube-oidc-proxy, in all its forks, with a value.
    const FLAGS: &[&str] = &[
        "--disable-impersonation",
        "--extra-user-header-client-ip",
        "--extra-user-headers=a=b,a=c",
        "--flush-interval=50ms",
        "--readiness-probe-port=8081",
        "-P=8081",
        "--token-passthrough=false",
        "--token-passthrough-audiences=a,b",
        "--allow-reserved-groups=system:a",
        "--readiness-require-all-issuers",
        "--subject-access-review-timeout=5s",
        "--authentication-config=/a",
        "--oidc-ca-file=/a",
        "--oidc-client-id=a",
        "--oidc-groups-claim=a",
        "--oidc-groups-prefix=a",
        "--oidc-issuer-url=https://a",
        "--oidc-required-claim=a=b",
        "--oidc-signing-algs=RS256,ES256",
        "--oidc-username-claim=a",
        "--oidc-username-prefix=-",
        "--oidc-tls-client-cert-file=/a",
        "--oidc-tls-client-key-file=/a",
        "--bind-address=::",
        "--cert-dir=/a",
        "--disable-http2-serving",
        "--http2-max-streams-per-connection=5",
        "--permit-address-sharing",
        "--permit-port-sharing",
        "--secure-port=443",
        "--tls-cert-file=/a",
        "--tls-cipher-suites=TLS_AES_128_GCM_SHA256",
        "--tls-curve-preferences=29",
        "--tls-min-version=VersionTLS12",
        "--tls-private-key-file=/a",
        "--tls-sni-cert-key=/a,/b:c",
        "--kubeconfig=/a",
        "--context=a",
        "--cluster=a",
        "--user=a",
        "--server=https://a",
        "-s=https://a",
        "--certificate-authority=/a",
        "--client-certificate=/a",
        "--client-key=/a",
        "--token=a",
        "--insecure-skip-tls-verify=true",
        "--tls-server-name=a",
        "--request-timeout=0",
        "--namespace=a",
        "-n=a",
        "--disable-compression",
        "--as-uid=a",
        "--as-user-extra=a=b",
        "--kube-client-qps=5",
        "--kube-client-burst=5",
        "--audit-policy-file=/a",
        "--audit-log-path=-",
        "--audit-log-format=legacy",
        "--audit-log-version=audit.k8s.io/v1",
        "--audit-log-maxage=1",
        "--audit-log-maxbackup=1",
        "--audit-log-maxsize=1",
        "--audit-log-compress",
        "--audit-log-mode=batch",
        "--audit-log-batch-buffer-size=1",
        "--audit-log-batch-max-size=2",
        "--audit-log-truncate-enabled",
        "--audit-log-truncate-max-batch-size=1",
        "--audit-log-truncate-max-event-size=1",
        "--audit-webhook-config-file=/a",
        "--audit-webhook-mode=blocking",
        "--audit-webhook-initial-backoff=10s",
        "--audit-webhook-version=audit.k8s.io/v1",
        "--audit-webhook-batch-buffer-size=1",
        "--audit-webhook-batch-max-size=1",
        "--audit-webhook-batch-max-wait=30s",
        "--audit-webhook-batch-throttle-enable=false",
        "--audit-webhook-batch-throttle-qps=10",
        "--audit-webhook-batch-throttle-burst=15",
        "--audit-webhook-truncate-enabled",
        "--audit-webhook-truncate-max-batch-size=1",
        "--audit-webhook-truncate-max-event-size=1",
        "-v=2",
        "--v=2",
        "--vmodule=a=1",
        "--log-flush-frequency=5s",
    ];

    fn run(words: &[&str]) -> Result<Run, clap::Error> {
        let command = as_in_go(Run::augment_args(Command::new("run")));
        let words = std::iter::once("run").chain(words.iter().copied());
        Run::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn every_flag_of_kube_oidc_proxy_is_taken() {
        run(FLAGS).unwrap();
    }

    #[test]
    fn what_has_no_effect_is_warned_of_once() {
        let given = run(FLAGS).unwrap();
        for flag in [
            "flush-interval",
            "kube-client-qps",
            "kube-client-burst",
            "disable-compression",
            "namespace",
            "as-uid",
            "as-user-extra",
            "vmodule",
            "log-flush-frequency",
        ] {
            let begin = format!("--{flag} has no effect: ");
            let count = given.ignored.warnings().iter().filter(|w| w.starts_with(&begin)).count();
            assert_eq!(count, 1, "{flag}");
        }
        assert_eq!(given.serving.warnings().len(), 1);
        let none = run(&[]).unwrap();
        assert!(none.ignored.warnings().is_empty() && none.audit.warnings().is_empty());
        assert!(none.serving.warnings().is_empty());
    }

    /// `--drain-timeout=1d` was taken while `--drain-duration=1d` was refused.
    #[test]
    fn every_duration_is_one_of_go_s() {
        let command = as_in_go(Run::augment_args(Command::new("run")));
        let durations = command.get_arguments().filter(|argument| {
            // What has no effect is not looked at.
            let names = argument.get_value_names().unwrap_or_default();
            names.iter().any(|name| name.as_str() == "DURATION") && !argument.is_hide_set()
        });
        let flags: Vec<_> = durations.filter_map(|it| it.get_long()).collect();
        assert!(flags.contains(&"drain-timeout") && flags.contains(&"drain-duration"), "{flags:?}");
        // As client-go's, it is read later, and takes a number of seconds.
        for flag in flags.into_iter().filter(|flag| *flag != "request-timeout") {
            for (text, good) in [("90s", true), ("1h30m", true), ("1d", false), ("5min", false)] {
                let result = run(&[&format!("--{flag}={text}")]);
                assert_eq!(result.is_ok(), good, "--{flag}={text}");
            }
        }
    }

    #[test]
    fn flags_have_go_s_forms() {
        let run = run(&[
            "--token-passthrough",
            "--token-passthrough=F",
            "--secure-port=1",
            "--secure-port=2",
        ]);
        let run = run.unwrap();
        assert!(!run.proxy.token_passthrough, "the last counts");
        assert_eq!(run.serving.secure_port, 2);
        assert_eq!(
            super::tests::run(&["--extra-user-headers=a=b", "--extra-user-headers=c=d"])
                .unwrap()
                .proxy
                .extra_user_headers
                .len(),
            2
        );
    }
}
