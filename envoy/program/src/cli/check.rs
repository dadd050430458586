//! `check`: would the gateway, and kube-apiserver, take these documents?

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use gateway_config::{parse_gateway, portal::PortalConfiguration};
use kube_authn::{
    Rules,
    config::{LoadOptions, load_yaml, portability},
};

use serde_json::{Value, json};

use super::{
    cel,
    error::Error,
    files::read_or_stdin,
    output::{OutputFlag, print, print_json, say},
};

/// Check an AuthenticationConfiguration, a GatewayConfiguration, a PortalConfiguration, or all of them together.
///
/// Prints what it understood, a line for each document, and exits with 0; or one error a line on standard error, those of an
/// AuthenticationConfiguration as kube-apiserver words them, and exits with 1. With several versions of Kubernetes it also names what one of them refuses or takes for something else than another.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("document").required(true).multiple(true))]
pub struct Check {
    /// An AuthenticationConfiguration, YAML or JSON; - for standard input
    #[arg(long, value_name = "FILE", group = "document")]
    authentication_config: Option<PathBuf>,
    /// A GatewayConfiguration; - for standard input
    #[arg(long, value_name = "FILE", group = "document")]
    gateway_config: Option<PathBuf>,
    /// A PortalConfiguration; - for standard input
    #[arg(long, value_name = "FILE", group = "document")]
    portal_config: Option<PathBuf>,
    /// An issuer of the API server's own ServiceAccount tokens, which no entry may claim; repeatable
    #[arg(long, value_name = "URL", requires = "authentication_config")]
    service_account_issuer: Vec<String>,
    /// The minor versions of Kubernetes whose rules are applied: 1.36, 1.37, 1.38 (as of its beta) [default: 1.37]
    #[arg(long, value_name = "MINOR,...", value_delimiter = ',')]
    kubernetes_rules: Vec<Rules>,
    #[command(flatten)]
    output: OutputFlag,
}

/// What has been found so far.
#[derive(Default)]
struct Findings {
    understood: Vec<Understood>,
    warnings: Vec<String>,
    errors: Vec<String>,
}

/// A document that is good.
struct Understood {
    file: String,
    kind: &'static str,
    /// What it says, in words.
    text: String,
    /// What it says, as members of an object.
    members: Value,
}

impl Check {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let files = [&self.authentication_config, &self.gateway_config, &self.portal_config];
        if files.iter().filter(|file| file.as_deref() == Some(Path::new("-"))).count() > 1 {
            return Err(Error::Usage("standard input (-) can be one document alone".to_owned()));
        }
        let [authentication, gateway, portal] = files.map(|file| file.as_deref().map(content));
        let (authentication, gateway, portal) =
            (authentication.transpose()?, gateway.transpose()?, portal.transpose()?);
        let mut findings = Findings::default();
        if let Some((file, text)) = &authentication {
            self.authentication(file, text, &mut findings);
        }
        if let Some((file, text)) = &gateway {
            gateway_document(file, text, &mut findings);
        }
        if let Some((file, text)) = &portal {
            portal_document(file, text, &mut findings);
        }
        findings.print(self.output)
    }

    fn authentication(&self, file: &str, text: &[u8], findings: &mut Findings) {
        let mut versions = self.kubernetes_rules.clone();
        versions.sort_unstable();
        versions.dedup();
        let options = LoadOptions {
            disallowed_issuers: self.service_account_issuer.clone(),
            rules: versions.last().copied().unwrap_or_default(),
        };
        let told: Vec<_> =
            portability(text, &options, &versions).iter().map(ToString::to_string).collect();
        findings.errors.extend(told.iter().map(|finding| format!("{file}: {finding}")));
        match load_yaml(text, &options) {
            Ok(configuration) => {
                let urls: Vec<_> =
                    configuration.raw().jwt.iter().map(|it| &*it.issuer.url).collect();
                let number = match urls.len() {
                    0 => "no issuer".to_owned(),
                    1 => "1 issuer: ".to_owned(),
                    number => format!("{number} issuers: "),
                };
                findings.understood.push(Understood {
                    file: file.to_owned(),
                    kind: "AuthenticationConfiguration",
                    text: format!(
                        "an AuthenticationConfiguration with {number}{}",
                        urls.join(", ")
                    ),
                    members: json!({"issuers": urls}),
                });
                let warnings = configuration.warnings().iter();
                findings.warnings.extend(warnings.map(|warning| format!("{file}: {warning}")));
            }
            Err(errors) => {
                // As it is: the caret of an expression's error stands below what is wrong.
                let errors = errors.iter().map(ToString::to_string);
                let others = errors.filter(|error| !told.iter().any(|it| it.ends_with(error)));
                findings.errors.extend(others.map(|error| format!("{file}: {error}")));
            }
        }
    }
}

impl Findings {
    fn print(&self, output: OutputFlag) -> Result<ExitCode, Error> {
        let is_good = self.errors.is_empty();
        if output.is_json() {
            print_json(&self.document())?;
        } else {
            self.say();
            let understood = self.understood.iter().filter(|_| is_good);
            for Understood { file, text, .. } in understood {
                print(format_args!("{file}: {text}"))?;
            }
        }
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn say(&self) {
        for warning in &self.warnings {
            say(format_args!("warning: {warning}"));
        }
        for error in &self.errors {
            say(error);
        }
        if let Some(way) = self.errors.iter().find_map(|error| cel::way_out(error)) {
            say(format_args!("way out: {way}"));
        }
    }

    fn document(&self) -> Value {
        let documents = self.understood.iter().map(|it| {
            let mut row = json!({"file": it.file, "kind": it.kind});
            if let (Some(row), Value::Object(members)) = (row.as_object_mut(), &it.members) {
                row.extend(members.clone());
            }
            row
        });
        let errors = self.errors.iter();
        let errors = errors.map(|it| cel::with_way_out(json!({"message": it}), cel::way_out(it)));
        let warnings = self.warnings.iter().map(|it| json!({"message": it}));
        json!({
            "valid": self.errors.is_empty(),
            "documents": documents.collect::<Value>(),
            "warnings": warnings.collect::<Value>(),
            "errors": errors.collect::<Value>(),
        })
    }
}

fn gateway_document(file: &str, text: &[u8], findings: &mut Findings) {
    match parse_gateway(text) {
        Ok(configuration) => {
            let mode = serde_json::to_value(configuration.client_impersonation).ok();
            let mode = mode.as_ref().and_then(|mode| mode.as_str()).unwrap_or_default();
            if configuration.conditions().is_ok_and(|conditions| conditions.read_address()) {
                findings.warnings.push(format!(
                    "{file}: conditions: one reads request.address: behind a balancer it is the client's only with --trusted-hops, --trusted-proxies or --proxy-protocol of `run`; else every client has the balancer's"
                ));
            }
            findings.understood.push(Understood {
                file: file.to_owned(),
                kind: "GatewayConfiguration",
                text: format!("a GatewayConfiguration; kubectl --as: {mode}"),
                members: json!({"clientImpersonation": mode}),
            });
        }
        Err(error) => findings.errors.push(format!("{file}: {}", one_line(&error.to_string()))),
    }
}

fn portal_document(file: &str, text: &[u8], findings: &mut Findings) {
    let parsed =
        String::from_utf8(text.to_vec()).map_err(|error| error.to_string()).and_then(|text| {
            PortalConfiguration::parse(&text, &PortalConfiguration::default())
                .map_err(|error| error.to_string())
        });
    match parsed {
        Ok(configuration) => {
            let host = configuration.host.as_ref().map_or("", |host| host.as_str());
            findings.understood.push(Understood {
                file: file.to_owned(),
                kind: "PortalConfiguration",
                text: format!("a PortalConfiguration for {host}"),
                members: json!({"host": host}),
            });
        }
        Err(error) => findings.errors.push(format!("{file}: {}", one_line(&error))),
    }
}

/// A document, and what its errors call it.
fn content(file: &Path) -> Result<(String, Vec<u8>), Error> {
    let is_stdin = file == Path::new("-");
    let name = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
    Ok((name, read_or_stdin(file)?))
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}
