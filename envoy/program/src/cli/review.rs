//! `review`: what would this token be?

mod groups;
mod token;

use std::{
    cell::RefCell,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Args;
use gateway_config::Documents;
use gateway_core::config::GatewayConfiguration;
use jiff::Timestamp;
use kube_authn::{
    Identity,
    config::{LoadOptions, load_yaml},
    crypto::Algorithm,
};
use serde_json::{Value, json};

pub use self::token::Reviewer;
use super::{
    cel,
    error::Error,
    files::{read, read_or_stdin},
    output::{OutputFlag, print, print_json, say},
    render,
    rules::RulesFlag,
};

/// Say what a token would be: a `TokenReview`, as kube-apiserver with this file would answer.
///
/// Exits with 0 if the token is authenticated, with 1 if not, with 2 if the configuration or the command line is wrong. With
/// --gateway-config a user whom the gateway's guard refuses is not authenticated; without it standard error says what the
/// guard makes of the user by default. With --output=json that and the rest of standard error are `notes` beside the `review`.
#[derive(Debug, Args)]
pub struct Review {
    /// The `AuthenticationConfiguration`, YAML or JSON.
    #[arg(long, value_name = "FILE")]
    authentication_config: PathBuf,
    /// The `GatewayConfiguration`, YAML or JSON: its guard and its rules count.
    #[arg(long, value_name = "FILE")]
    gateway_config: Option<PathBuf>,
    #[command(flatten)]
    rules: RulesFlag,
    /// An issuer's key set; repeatable. Without one for the token's issuer it is fetched from there.
    #[arg(long, value_name = "ISSUER_URL=FILE", value_parser = key_set_file)]
    jwks: Vec<(String, PathBuf)>,
    /// The signing algorithms that are accepted.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    oidc_signing_algs: Vec<Algorithm>,
    /// The time at which the token is checked, RFC 3339; now if absent.
    #[arg(long, value_name = "TIME")]
    time: Option<Timestamp>,
    /// The folder of a gateway that runs here (`run --run-dir`): its Envoy is asked for the key set, as the gateway asks.
    #[arg(long, value_name = "DIR", default_value = "/run/kube-oidc-gateway")]
    run_dir: PathBuf,
    /// Asks the group source that the gateway would ask for this token's user, and says each step: by this program's own client, with the
    /// credential's files as the `GatewayConfiguration` names them. Nothing of a credential is shown.
    #[arg(long, requires = "gateway_config")]
    groups: bool,
    /// The file with the token; `-` is standard input.
    #[arg(long, value_name = "FILE|-")]
    token_file: PathBuf,
    #[command(flatten)]
    output: OutputFlag,
}

impl Review {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let gateway = self.gateway()?;
        let path = &self.authentication_config;
        let options = LoadOptions { rules: gateway.kubernetes_rules, ..LoadOptions::default() };
        let configuration = load_yaml(&read(path)?, &options).map_err(|errors| {
            // As it is: the caret of an expression's error stands below what is wrong.
            let mut reason = errors.to_string();
            if let Some(way) = cel::way_out(&reason) {
                reason = format!("{reason}\nway out: {way}");
            }
            Error::Document { path: path.display().to_string(), reason }
        })?;
        let token = read_or_stdin(&self.token_file)?;
        let documents = if self.groups { Some(self.documents(&gateway)?) } else { None };
        let reviewer = Reviewer {
            configuration: &configuration,
            gateway: &gateway,
            jwks: &self.jwks,
            algorithms: &self.oidc_signing_algs,
            now: self.now(),
            run_dir: self.run_dir.clone(),
            asks: documents.as_ref().map(Documents::callouts),
            ways: RefCell::default(),
            notes: RefCell::default(),
        };
        let reviewed = reviewer.review(token.trim_ascii())?;
        let reviewed = match reviewed {
            Ok(identity) if self.gateway_config.is_some() => reviewer.guarded(identity),
            Ok(identity) => {
                reviewer.guarded_by_default(&identity);
                Ok(identity)
            }
            refused => refused,
        };
        let review = token_review(&reviewed);
        let mut notes = reviewer.ways.into_inner();
        notes.extend(reviewer.notes.into_inner());
        if self.output.is_json() {
            print_json(&json!({"review": review, "notes": notes}))?;
        } else {
            for note in notes {
                say(format_args!("review: {note}"));
            }
            print(review)?;
        }
        Ok(if reviewed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What the gateway would be made of.
    fn documents(&self, gateway: &GatewayConfiguration) -> Result<Documents, Error> {
        let path = &self.authentication_config;
        Documents::with_gateway(&read(path)?, gateway.clone()).map_err(|error| Error::Document {
            path: path.display().to_string(),
            reason: error.to_string(),
        })
    }

    fn gateway(&self) -> Result<GatewayConfiguration, Error> {
        let Some(path) = &self.gateway_config else {
            let kubernetes_rules = self.rules.rules();
            return Ok(GatewayConfiguration {
                kubernetes_rules,
                ..GatewayConfiguration::default()
            });
        };
        render::gateway(path, self.rules)
    }

    fn now(&self) -> Duration {
        let time = self.time.map_or_else(SystemTime::now, SystemTime::from);
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

fn token_review(reviewed: &Result<Identity, String>) -> Value {
    let status = match reviewed {
        Ok(identity) => {
            let mut user = json!({"username": identity.username});
            if !identity.uid.is_empty() {
                user["uid"] = json!(identity.uid);
            }
            if !identity.groups.is_empty() {
                user["groups"] = json!(identity.groups);
            }
            if !identity.extra.is_empty() {
                user["extra"] = json!(identity.extra);
            }
            json!({"authenticated": true, "user": user})
        }
        Err(error) => json!({"authenticated": false, "error": error}),
    };
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
}

fn key_set_file(text: &str) -> Result<(String, PathBuf), &'static str> {
    // The URL may hold a `=` of its own, a file's name seldom does.
    let (url, path) = text.rsplit_once('=').ok_or("must be ISSUER_URL=FILE")?;
    Ok((url.to_owned(), path.into()))
}
