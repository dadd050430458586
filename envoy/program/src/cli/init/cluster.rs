//! The cluster, by the programs that an operator has: `kubectl` and `helm`. So a kubeconfig may log in as it likes.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kube_oidc_gateway::doctor::Findings;

use crate::cli::error::Error;

/// Longer than any API server takes to say who it is.
const TIMEOUT: &str = "--request-timeout=10s";

/// Which cluster.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The kubeconfig; kubectl's own choice if absent.
    pub kubeconfig: Option<PathBuf>,
    /// Its context; the current one if absent.
    pub context: Option<String>,
}

impl Cluster {
    /// What it is called, if it answers.
    pub fn reached(&self) -> Result<String, String> {
        let context = match &self.context {
            Some(context) => context.clone(),
            None => self.kubectl(&["config", "current-context"])?,
        };
        let version = self.kubectl(&["get", "--raw=/version", TIMEOUT])?;
        let version: serde_json::Value = serde_json::from_str(&version).unwrap_or_default();
        let version = version["gitVersion"].as_str().unwrap_or_default();
        Ok(format!("context {context}, Kubernetes {version}"))
    }

    /// Looks whether an install may do what it does.
    pub fn look_at_rights(&self, findings: &mut Findings, namespace: &str) {
        let cluster: [(&str, &str); 3] = [
            ("create", "clusterroles.rbac.authorization.k8s.io"),
            ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
            // A role can be given by who has what is in it.
            ("impersonate", "users"),
        ];
        let inside: [(&str, &str); 5] = [
            ("create", "deployments.apps"),
            ("create", "services"),
            ("create", "secrets"),
            ("create", "configmaps"),
            ("create", "serviceaccounts"),
        ];
        let has_namespace = self.kubectl(&["get", "namespace", namespace, TIMEOUT]).is_ok();
        let make: &[(&str, &str)] = if has_namespace { &[] } else { &[("create", "namespaces")] };
        let all = make.iter().chain(&cluster).map(|it| (it, ""));
        let all = all.chain(inside.iter().map(|it| (it, namespace)));
        let mut missing = Vec::new();
        for ((verb, resource), namespace) in all {
            let mut words = vec!["auth", "can-i", *verb, *resource, "--quiet", TIMEOUT];
            if !namespace.is_empty() {
                words.extend(["--namespace", namespace]);
            }
            if self.kubectl(&words).is_err() {
                missing.push(format!("{verb} {resource}"));
            }
        }
        if missing.is_empty() {
            findings.ok("install", format!("you may do all that it does in {namespace}"));
        } else {
            findings.fail(
                "install",
                format!("you may not: {}", missing.join(", ")),
                "have an administrator of the cluster install it with the files",
            );
        }
    }

    /// Runs a program on the cluster, with its words for the person.
    pub fn run(&self, program: &str, words: &[OsString]) -> Result<(), Error> {
        let mut command = self.command(program);
        let status = command.args(words).stdin(Stdio::null()).status();
        let status =
            status.map_err(|error| Error::Usage(format!("cannot run {program}: {error}")))?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::Usage(format!("{program}: {status}; the lines above say why")))
        }
    }

    fn kubectl(&self, words: &[&str]) -> Result<String, String> {
        let output = self.command("kubectl").args(words).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("cannot run kubectl: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(said.lines().last().unwrap_or("kubectl fails").to_owned())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(path) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(path);
        }
        if let Some(context) = &self.context {
            let flag = if program == "helm" { "--kube-context" } else { "--context" };
            command.args([flag, context]);
        }
        command
    }
}

/// Words for a program, of texts and a path.
pub fn words(texts: &[String], flag: &str, path: &Path) -> Vec<OsString> {
    let mut words: Vec<_> = texts.iter().map(OsString::from).collect();
    words.extend([flag.into(), path.as_os_str().to_owned()]);
    words
}
