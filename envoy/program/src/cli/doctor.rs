//! `doctor`: what does a gateway depend on, and does it hold?

use std::{
    cell::RefCell,
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use clap::{Args, Command};
use gateway_config::Documents;
use kube_authn::config::{LoadOptions, load};
use kube_oidc_gateway::doctor::{Findings, Planned, examine};

use super::{
    error::Error,
    files::{absolute, read_or_stdin},
    output::{OutputFlag, print, print_json},
    review::Reviewer,
    run::{self, Run},
};

const EXAMPLES: &str = "Examples:
  kube-oidc-gateway doctor --kubeconfig=gateway.conf \\
    --oidc-issuer-url=https://issuer.example --oidc-client-id=kubernetes
  kubectl exec deploy/kube-oidc-gateway -- kube-oidc-gateway doctor --process=1";

/// Check everything that a gateway depends on, and say what to do about each fault.
///
/// Takes the command line of `run`, with the same flags, for a gateway that runs here or one that is to run. Looks at the documents, at
/// issuers and their keys (by Envoy: the one that runs in --run-dir, or one that is started for the check), clocks, the API
/// server, the gateway's credential and each right, certificates with their names and ends, the version of Envoy, and limits of the
/// machine. It changes nothing.
///
/// Exits with 0 if no check failed, with 1 if one did, with 2 if the command line is wrong.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// Check the gateway that runs as this process, with its command line instead of flags. In a container it is 1
    #[arg(long, value_name = "PID")]
    process: Option<u32>,
    /// The name or the address that clients use: a certificate must be for it
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// A file with a token, to say what the gateway makes of it; - is standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputFlag,
    #[command(flatten)]
    run: Run,
}

impl Doctor {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<ExitCode, Error> {
        let Self { run, process, host, token_file, output } = self;
        // Before the folder changes to which a process's paths belong.
        let token = token_file.as_deref().map(token).transpose()?;
        let run = match process {
            Some(process) => of_process(process)?,
            None => run,
        };
        let (planned, _scratch) = run.planned()?;
        let mut findings = Findings::default();
        examine(&planned, host.as_deref(), &mut findings, |findings, run_dir| {
            if let Some(token) = token {
                look_at_token(&planned, &token, run_dir, findings);
            }
        });
        if output.is_json() {
            print_json(&findings.document())?;
        } else {
            print(findings.text())?;
        }
        Ok(if findings.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn token(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(read_or_stdin(path)?.trim_ascii().to_owned())
}

/// The command line of `run` that a process has, read where that process reads it.
fn of_process(process: u32) -> Result<Run, Error> {
    let folder = absolute(Path::new("/proc"))?.join(process.to_string());
    let failed = |source| Error::Read { path: folder.clone(), source };
    // A command line is whatever its process wants it to be, and names programs that are run here.
    let owner = fs::metadata(&folder).map_err(failed)?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(Error::Usage(format!(
            "--process={process} is of another user: be that user (uid {owner}), or give its command line"
        )));
    }
    let line = fs::read(folder.join("cmdline")).map_err(failed)?;
    let words = String::from_utf8_lossy(&line);
    let words = words.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
    let run = run::of_words(words).map_err(|reason| {
        Error::Usage(format!("--process={process} is no gateway that `run` started: {reason}"))
    })?;
    // Its paths may not begin with a slash. A folder that may not be looked into is one in which none was found.
    let _ = fs::read_link(folder.join("cwd")).and_then(env::set_current_dir);
    Ok(run)
}

/// What becomes of a token: the user, or why there is none.
fn look_at_token(planned: &Planned, token: &[u8], run_dir: &Path, findings: &mut Findings) {
    let Ok(documents) = planned.settings.read_documents() else { return };
    let reviewed = reviewed(&documents, run_dir, token);
    let (result, notes) = match reviewed {
        Ok(reviewed) => reviewed,
        Err(error) => {
            return findings.fail("token", error, "give the file of a token as a client sends it");
        }
    };
    match result {
        Ok(user) => findings.ok("token", user),
        Err(reason) => {
            let cure =
                "docs/troubleshooting.md has each refusal; `kube-oidc-gateway review` says more";
            findings.fail("token", reason, cure);
        }
    }
    for note in notes {
        match note.strip_prefix("groups: ") {
            Some(step) => findings.ok("groups", step),
            None => findings.warn("token", note, ""),
        }
    }
}

type Reviewed = (Result<String, String>, Vec<String>);

fn reviewed(documents: &Documents, run_dir: &Path, token: &[u8]) -> Result<Reviewed, String> {
    let gateway = documents.gateway();
    let options = LoadOptions { rules: gateway.kubernetes_rules, ..LoadOptions::default() };
    let text = serde_json::to_vec(documents.authentication()).map_err(|error| error.to_string())?;
    let configuration = load(&text, &options).map_err(|errors| errors.to_string())?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let reviewer = Reviewer {
        configuration: &configuration,
        gateway,
        jwks: &[],
        algorithms: documents.algorithms(),
        now,
        run_dir: run_dir.to_owned(),
        asks: Some(documents.callouts()),
        ways: RefCell::default(),
        notes: RefCell::default(),
    };
    let identity = reviewer.review(token).map_err(|error| error.to_string())?;
    let identity = identity.and_then(|identity| reviewer.guarded(identity));
    let user = identity.map(|identity| {
        format!("the cluster sees user {:?}, groups {:?}", identity.username, identity.groups)
    });
    Ok((user, reviewer.notes.into_inner()))
}

/// Shows in `--help` the flags that lead somewhere; all others of `run` are taken.
pub fn brief(command: Command) -> Command {
    const SHOWN: &[&str] = &[
        "authentication_config",
        "certificate_authority",
        "envoy_binary",
        "filter",
        "gateway_config",
        "kubeconfig",
        "portal_config",
        "run_dir",
        "server",
        "tls_cert_file",
        "tls_private_key_file",
        "tls_server_name",
    ];
    command.mut_args(|argument| {
        let id = argument.get_id().as_str();
        let is_own = argument.get_help_heading().is_none();
        let is_shown = is_own || id.starts_with("oidc_") || SHOWN.contains(&id);
        argument.hide(!is_shown)
    })
}
