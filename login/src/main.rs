//! The program: reads the command line, runs the command, tells an error in one line.

use std::{env, process::ExitCode};

use kubectl_oidc::{
    cli::{Cli, kubekey},
    command,
    console::Console,
};

fn main() -> ExitCode {
    kubectl_oidc::memory::leave_no_core();
    let arguments = env::args_os().skip(1).collect();
    let mut words = match kubekey::interpret(arguments, |name| env::var(name).ok()) {
        kubekey::Call::Arguments(words) => words,
        kubekey::Call::Version => vec!["--version".into()],
        kubekey::Call::Help => {
            if let Some(hint) = command::standalone_hint() {
                Console::default().say(hint);
            }
            vec!["--help".into()]
        }
    };
    words.insert(0, "kubectl-oidc".into());
    let parsed = Cli::read(words).unwrap_or_else(|error| error.exit());
    let Some(command) = parsed.command else { return ExitCode::SUCCESS };
    let outcome = command::run(command);
    kubectl_oidc::terminal::restore();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Console::default().say(format_args!("kubectl-oidc: {error}"));
            ExitCode::FAILURE
        }
    }
}
