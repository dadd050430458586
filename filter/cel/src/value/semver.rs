//! Semantic versions. Source: k8s.io/apiserver, `pkg/cel/library/semverlib.go`; blang/semver v4, `semver.go`.

use std::{cmp::Ordering, fmt};

/// A semantic version (semver.org, 2.0.0).
#[derive(Debug, PartialEq, Eq)]
pub struct Semver {
    /// Grows with what breaks callers.
    pub major: u64,
    /// Grows with what is added.
    pub minor: u64,
    /// Grows with what is corrected.
    pub patch: u64,
    pre: Vec<Identifier>,
    build: Vec<String>,
}

/// A part of the pre-release. Numbers come before words.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl Semver {
    /// Strictly `MAJOR.MINOR.PATCH[-PRE][+BUILD]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let major = core_number(major, "Major")?;
        let minor = core_number(minor, "Minor")?;
        let (rest, build) = match rest.split_once('+') {
            Some((rest, build)) => (rest, Some(build)),
            None => (rest, None),
        };
        let (patch, pre) = match rest.split_once('-') {
            Some((patch, pre)) => (patch, Some(pre)),
            None => (rest, None),
        };
        let patch = core_number(patch, "Patch")?;
        let pre = pre.map_or(Ok(Vec::new()), |pre| pre.split('.').map(identifier).collect())?;
        let build =
            build.map_or(Ok(Vec::new()), |build| build.split('.').map(build_word).collect())?;
        Ok(Self { major, minor, patch, pre, build })
    }

    /// The same, with a leading `v`, leading zeros and missing parts put right first.
    pub fn parse_tolerant(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return Err("short version cannot contain PreRelease/Build meta data".to_owned());
            }
            parts.resize(3, "0".to_owned());
        }
        Self::parse(&parts.join("."))
    }

    /// The order of versions; what was built of them does not count.
    pub fn precedence(&self, other: &Self) -> Ordering {
        let core = |version: &Self| (version.major, version.minor, version.patch);
        core(self).cmp(&core(other)).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.pre.cmp(&other.pre),
            }
        })
    }
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (i, part) in self.pre.iter().enumerate() {
            f.write_str(if i == 0 { "-" } else { "." })?;
            match part {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Word(word) => f.write_str(word)?,
            }
        }
        if self.build.is_empty() { Ok(()) } else { write!(f, "+{}", self.build.join(".")) }
    }
}

fn without_zeros(part: &str) -> String {
    if part.len() <= 1 {
        return part.to_owned();
    }
    let trimmed = part.trim_start_matches('0');
    if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
        trimmed.to_owned()
    } else {
        format!("0{trimmed}")
    }
}

fn core_number(text: &str, name: &str) -> Result<u64, String> {
    let quoted = go_compat::strconv::quote(text);
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "Invalid character(s) found in {} number {quoted}",
            name.to_lowercase()
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{name} number must not contain leading zeroes {quoted}"));
    }
    text.parse().map_err(|_| go_number_error(text))
}

fn go_number_error(text: &str) -> String {
    let why = if text.is_empty() { "invalid syntax" } else { "value out of range" };
    format!("strconv.ParseUint: parsing {}: {why}", go_compat::strconv::quote(text))
}

fn identifier(text: &str) -> Result<Identifier, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    let quoted = go_compat::strconv::quote(text);
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!(
                "Numeric PreRelease version must not contain leading zeroes {quoted}"
            ));
        }
        return text.parse().map(Identifier::Number).map_err(|_| go_number_error(text));
    }
    if is_word(text) {
        Ok(Identifier::Word(text.to_owned()))
    } else {
        Err(format!("Invalid character(s) found in prerelease {quoted}"))
    }
}

fn build_word(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("Build meta data is empty".to_owned())
    } else if is_word(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "Invalid character(s) found in build meta data {}",
            go_compat::strconv::quote(text)
        ))
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
