//! `grant`: what is lent, for the administrator of a gateway. Nothing is lent by it: that takes two people, at the portal.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use gateway_config::access_socket;
use gateway_control::ask_program;
use serde_json::Value;

use super::{
    error::Error,
    output::{OutputFlag, print},
};

/// Show and end grants, which are groups lent for a while, at a running gateway: mostly in its container.
///
/// It needs the user that `run` has. Nothing can be lent by it: users ask and agree at the portal, or by `kubectl oidc elevate`.
#[derive(Debug, Args)]
pub struct Grant {
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Show all grants, those that are over included
    List(Place),
    /// End a grant, or take a request away
    End {
        /// The grant, as `list` names it
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The folder that the gateway writes to (`run --run-dir`)
    #[arg(long, value_name = "DIR", default_value = "/run/kube-oidc-gateway")]
    run_dir: PathBuf,
    #[command(flatten)]
    output: OutputFlag,
}

impl Grant {
    /// Asks the gateway.
    pub fn run(self) -> Result<ExitCode, Error> {
        match self.step {
            Step::List(place) => {
                let answer = place.ask("admin/list")?;
                let grants = answer["grants"].as_array().map(Vec::as_slice).unwrap_or_default();
                if place.output.is_json() {
                    print(format_args!("{answer:#}"))?;
                } else if grants.is_empty() {
                    print("nothing is lent, and nobody asks")?;
                } else {
                    grants.iter().try_for_each(|grant| print(line(grant)))?;
                }
            }
            Step::End { id, place } => {
                if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                    return Err(Error::Usage("an ID has letters, digits and '-' alone".to_owned()));
                }
                let answer = place.ask(&format!("admin/end/{id}"))?;
                if place.output.is_json() {
                    print(format_args!("{answer:#}"))?;
                } else {
                    print(line(&answer["grant"]))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Place {
    fn ask(&self, path: &str) -> Result<Value, Error> {
        // Beside the socket of Envoy's administration.
        let socket = access_socket(&self.run_dir.join("admin.sock"));
        let (status, body) = ask_program(&socket, &format!("/grants/{path}"), "{}")
            .map_err(|error| Error::Grants(format!("{}: {error}", socket.display())))?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status {
            200 => Ok(answer),
            404 if answer.is_null() => {
                Err(Error::Grants("this gateway has no grants: --grants is not given".to_owned()))
            }
            status => {
                let why = answer["error"].as_str().map(str::to_owned);
                Err(Error::Grants(why.unwrap_or_else(|| format!("the gateway answers {status}"))))
            }
        }
    }
}

fn line(grant: &Value) -> String {
    let text = |name: &str| grant[name].as_str().unwrap_or_default().escape_debug().to_string();
    let groups = grant["groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let groups = groups.collect::<Vec<_>>().join(",").escape_debug().to_string();
    let by = grant["approvedBy"]["user"].as_str().unwrap_or("-").escape_debug().to_string();
    let (id, state, user) = (text("id"), text("state"), text("user"));
    // Two issuers may have a user of one name.
    let issuer = text("issuer");
    format!(
        "{id} {state} {user} of {issuer} {groups} until {} by {by} {}",
        text("until"),
        text("reason")
    )
}
