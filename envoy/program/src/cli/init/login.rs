//! One login, by the program that users will have: `kubectl-oidc`.
//!
//! It is called and not linked: browser, keyring and device code are its own, and a server's program has none of them
//! ([decision 26](../../../../../docs/decisions/0026-init-calls-the-plugin.md)).

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::cli::error::Error;

const PLUGIN: &str = "kubectl-oidc";

/// The plugin that is named, or the one beside this program, or in `PATH`.
pub fn plugin(named: Option<PathBuf>) -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|it| Some(it.parent()?.join(PLUGIN)));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|folder| folder.join(PLUGIN));
    named.or_else(|| beside.into_iter().chain(in_path).find(|file| file.is_file()))
}

/// Logs in and returns the token, which is kept nowhere. What the person is to do stands on standard error.
pub fn token(plugin: &PathBuf, flags: &[String]) -> Result<String, Error> {
    let failed = |reason: String| Error::Usage(format!("{}: {reason}", plugin.display()));
    let output = Command::new(plugin)
        .args(["get-token", "--token-store=none"])
        .args(flags)
        .env_remove("KUBERNETES_EXEC_INFO")
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed("there was no login; the lines above say why".to_owned()));
    }
    let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let token = answer.as_ref().and_then(|it| it.pointer("/status/token")?.as_str());
    token.map(str::to_owned).ok_or_else(|| failed("its answer holds no token".to_owned()))
}

/// The claims of a token, for a person to read; nothing is verified here.
pub fn claims(token: &str) -> Map<String, Value> {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&payload).unwrap_or_default()
}
