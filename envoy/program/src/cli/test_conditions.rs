//! `test-conditions`: what becomes of these requests?

mod table;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use gateway_core::{
    conditions::{Conditions, Facts},
    refusal::Refusal,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::table::{Expected, Table, Test};
use super::{
    error::Error,
    files::read,
    output::{OutputFlag, print, print_json, say},
    render,
    rules::RulesFlag,
};

const EXAMPLE: &str = "Example:
  kube-oidc-gateway test-conditions --gateway-config=gateway.yaml conditions.test.yaml

The tests, YAML or JSON:
  apiVersion: gateway.kube-oidc.dev/v1alpha1
  kind: ConditionTests
  tests:
  - name: contractors read no secrets
    request: {method: GET, path: /api/v1/namespaces/default/secrets}
    user: {username: jane, groups: [contractors]}
    expect: {condition: no-secrets, code: 403}";

/// Try the conditions of a `GatewayConfiguration` on requests, without a gateway.
///
/// Reads a table of requests with what should become of them (`ConditionTests`) and prints each test, with what was expected and what
/// came where these differ. Exits with 0 if all is as expected, with 1 if not, with 2 if a file cannot be read.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct TestConditions {
    /// The `GatewayConfiguration`, YAML or JSON; without it, the tests name it in `gatewayConfig`
    #[arg(long, value_name = "FILE")]
    gateway_config: Option<PathBuf>,
    #[command(flatten)]
    output: OutputFlag,
    /// The tests
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// A test, and what came of it.
struct Done {
    name: String,
    expected: Expected,
    got: Expected,
    /// What the client is told.
    message: Option<String>,
    /// What the operator is told.
    reason: Option<String>,
}

impl Done {
    fn passed(&self) -> bool {
        self.expected.holds(&self.got)
    }
}

impl TestConditions {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let mut done = Vec::new();
        let mut unseen = Vec::new();
        for file in &self.files {
            let tests = Table::parse(&read(file)?).map_err(|reason| document(file, reason))?;
            let conditions = self.conditions(file, &tests)?;
            let ours = tests
                .tests
                .iter()
                .enumerate()
                .map(|(index, test)| {
                    carry_out(test, &conditions)
                        .map_err(|reason| document(file, format!("tests[{index}].{reason}")))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let is_seen =
                |name: &&str| ours.iter().any(|done| done.got.condition.as_deref() == Some(*name));
            unseen.extend(conditions.names().filter(|name| !is_seen(name)).map(str::to_owned));
            done.extend(ours);
        }
        let failed = done.iter().filter(|done| !done.passed()).count();
        if self.output.is_json() {
            print_json(&report(&done, failed, &unseen))?;
        } else {
            for done in &done {
                show(done)?;
            }
            for name in &unseen {
                say(format_args!("note: no test is refused by condition {name}"));
            }
            say(format_args!("{} tests, {failed} failed", done.len()));
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn conditions(&self, file: &Path, tests: &Table) -> Result<Conditions, Error> {
        let named = tests
            .gateway_config
            .as_ref()
            .map(|named| file.parent().map_or_else(|| named.clone(), |folder| folder.join(named)));
        let path = self.gateway_config.clone().or(named).ok_or_else(|| {
            document(file, "gatewayConfig: Required value: or give --gateway-config".to_owned())
        })?;
        let gateway = render::gateway(&path, RulesFlag { kubernetes_rules: None })?;
        gateway.conditions().map_err(|error| document(&path, error.to_string()))
    }
}

fn carry_out(test: &Test, conditions: &Conditions) -> Result<Done, String> {
    let claims = test.claims()?;
    let since = test.now().duration_since(Timestamp::UNIX_EPOCH);
    let (user, impersonated) = (test.user(), test.impersonated());
    let address = || test.request.address.clone();
    let request = test.request.info().map_err(|error| format!("request{error}"))?;
    let refusal = match &request {
        Err(unreadable) => Some(Refusal::UnreadableTarget(unreadable.clone())),
        Ok(info) => {
            let facts = Facts {
                request: info,
                address: &address,
                user_agent: &test.request.user_agent,
                user: &user,
                impersonated: impersonated.as_ref(),
                claims: &claims,
                now: Duration::try_from(since).unwrap_or_default(),
            };
            conditions.judge(&facts).err().map(Refusal::Condition)
        }
    };
    let reply = refusal.as_ref().map(Refusal::reply);
    let condition = match &refusal {
        Some(Refusal::Condition(denial)) => Some(denial.name.clone()),
        _ => None,
    };
    let message = reply.as_ref().and_then(|reply| {
        let body: Value = serde_json::from_str(&reply.body).ok()?;
        body["message"].as_str().map(str::to_owned)
    });
    Ok(Done {
        name: test.name.clone(),
        expected: test.expect.clone(),
        got: Expected {
            condition,
            code: reply.map(|reply| reply.code),
            allowed: refusal.is_none(),
        },
        message,
        reason: refusal.as_ref().map(Refusal::reason),
    })
}

fn show(done: &Done) -> Result<(), Error> {
    let Done { name, expected, got, reason, .. } = done;
    if done.passed() {
        return print(format_args!("ok    {name}"));
    }
    print(format_args!("FAIL  {name}"))?;
    print(format_args!("      - expected: {expected}"))?;
    let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    print(format_args!("      + got:      {got}{why}"))
}

fn report(done: &[Done], failed: usize, unseen: &[String]) -> Value {
    let tests = done.iter().map(|done| {
        let Done { name, expected, got, message, reason } = done;
        json!({
            "name": name, "passed": done.passed(), "expected": expected.to_json(), "got": got.to_json(),
            "message": message, "reason": reason,
        })
    });
    let tests: Vec<_> = tests.collect();
    json!({"tests": tests, "failed": failed, "conditionsThatRefuseNothing": unseen})
}

fn document(path: &Path, reason: String) -> Error {
    Error::Document { path: path.display().to_string(), reason }
}
