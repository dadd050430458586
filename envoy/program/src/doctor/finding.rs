//! What was looked at, what came of it, and what to do: in the words and the forms of `kubectl oidc doctor`.

use serde_json::{Value, json};

use crate::words::printable;

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It holds.
    Ok,
    /// It works, and somebody should know something.
    Warning,
    /// It does not hold: the gateway does not work, or not in full.
    Failed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// What became of it.
    pub state: State,
    /// What was found, in one line.
    pub message: String,
    /// What to do.
    pub cure: Option<String>,
}

/// All checks so far, in their order.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Something holds.
    pub fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, State::Ok, &message.into(), None);
    }

    /// Something works, but.
    pub fn warn(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.add(check, State::Warning, &message.into(), Some(cure.into()));
    }

    /// Something does not hold.
    pub fn fail(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.add(check, State::Failed, &message.into(), Some(cure.into()));
    }

    fn add(&mut self, check: &'static str, state: State, message: &str, cure: Option<String>) {
        let message = printable(&message.split_whitespace().collect::<Vec<_>>().join(" "));
        let cure = cure.filter(|cure| !cure.is_empty()).map(|cure| printable(&cure));
        self.0.push(Finding { check, state, message, cure });
    }

    /// The checks.
    #[must_use]
    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    /// How many do not hold.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.0.iter().filter(|finding| finding.state == State::Failed).count()
    }

    /// For people: a line for each check, and one below it for its cure.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.0.iter().map(|it| it.check.chars().count()).max().unwrap_or_default();
        let mut lines = Vec::new();
        for Finding { check, state, message, cure } in &self.0 {
            lines.push(format!("{check:width$}  {:7}  {message}", state.name()));
            lines.extend(cure.iter().map(|cure| format!("{:width$}           → {cure}", "")));
        }
        lines.join("\n")
    }

    /// For programs: a list of objects.
    #[must_use]
    pub fn document(&self) -> Value {
        let rows = self.0.iter().map(|Finding { check, state, message, cure }| {
            let mut row = json!({"check": check, "result": state.name(), "message": message});
            if let Some(cure) = cure {
                row["cure"] = json!(cure);
            }
            row
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_writes_nothing_to_the_terminal() {
        let mut findings = Findings::default();
        findings.warn("API server", "v1\u{1b}[31m\u{7}\u{202e}x", "rbac \u{1b}]0;x");
        let text = findings.text();
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
    }

    /// A script, or a person, that knows the plugin's `doctor` knows this one.
    #[test]
    fn the_forms_are_those_of_the_plugin() {
        let mut findings = Findings::default();
        findings.ok("issuer", "answers");
        findings.warn("clock", "is 7s\nbehind", "set it");
        findings.fail("API server", "silent", "");
        let text = "\
issuer      ok       answers
clock       warning  is 7s behind
                     → set it
API server  failed   silent";
        assert_eq!(findings.text(), text);
        let want = json!([
            {"check": "issuer", "result": "ok", "message": "answers"},
            {"check": "clock", "result": "warning", "message": "is 7s behind", "cure": "set it"},
            {"check": "API server", "result": "failed", "message": "silent"},
        ]);
        assert_eq!(findings.document(), want);
        assert_eq!(findings.failed(), 1);
    }
}
