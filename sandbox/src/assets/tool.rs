//! Runs a build tool with its output in a log, telling how far it is.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::{locate, progress::Progress, workplace::Workplace};
use crate::{
    error::{Error, Result},
    process::{Process, Spec, last_line},
};

/// A tool to run.
pub(super) struct Tool<'a> {
    /// What is built, for messages.
    pub subject: &'a str,
    /// The tool's name or path.
    pub program: &'a Path,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// What it does, for the line of progress.
    pub doing: &'a str,
}

/// No build takes longer, on any machine that can run the result.
const LIMIT: Duration = Duration::from_secs(3600);

/// Runs the tool to its end in the workplace's folder; `how_far` reads what it has logged so far.
pub(super) fn run(
    tool: Tool<'_>,
    place: &Workplace,
    progress: &Progress,
    how_far: impl Fn(&str) -> String,
) -> Result<()> {
    let start = Instant::now();
    let before = fs::metadata(&place.log).map_or(0, |data| data.len());
    progress.line(&format!("{}: {}", tool.subject, tool.doing));
    let mut process = Process::start(&Spec {
        name: "build tool",
        program: tool.program.to_owned(),
        arguments: tool.arguments,
        environment: tool.environment,
        folder: Some(place.folder.clone()),
        log: place.log.clone(),
    })?;
    let status = process.wait(LIMIT, || {
        progress.update(|| {
            let log = fs::read(&place.log).unwrap_or_default();
            let own = usize::try_from(before).ok().and_then(|before| log.get(before..));
            let far = how_far(&String::from_utf8_lossy(own.unwrap_or_default()));
            format!("{}: {}, {far}{} s", tool.subject, tool.doing, start.elapsed().as_secs())
        });
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Build {
        name: tool.subject.to_owned(),
        reason: last_line(&place.log),
        log: place.log.clone(),
    })
}

/// The path of a tool that must be installed.
pub(super) fn find(name: &str, hint: &str) -> Result<std::path::PathBuf> {
    locate::tool(name)
        .ok_or_else(|| Error::Missing { program: name.to_owned(), hint: hint.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_gives_one_clear_line() {
        assert!(find("sh", "").is_ok());
        let error = find("no-such-tool", "install it").unwrap_err().to_string();
        assert_eq!(error, "no-such-tool is missing: install it");
    }
}
