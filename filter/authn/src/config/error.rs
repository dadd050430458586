//! Configuration errors in kube-apiserver's form: `path: Kind: value: detail`. Source: k8s.io/apimachinery
//! `pkg/util/validation/field/errors.go` and `pkg/util/errors/errors.go`.

use std::fmt;

use go_compat::strconv;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be decoded; the text is complete.
    #[error("{0}")]
    Decode(String),
    /// A field breaks a rule.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field, as in `jwt[0].issuer.url`.
    pub path: String,
    /// What kind of mistake it is.
    pub kind: ErrorKind,
    /// The value as it is printed, quoted; `None` where none is shown.
    pub value: Option<String>,
    /// What should be otherwise; may be empty.
    pub detail: String,
}

/// The kinds of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A value is missing.
    Required,
    /// A value is wrong.
    Invalid,
    /// A value stands twice.
    Duplicate,
    /// A list is too long.
    TooMany,
    /// A value may not be set.
    Forbidden,
    /// Upstream's compiler failed, rather than refused.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::Duplicate => "Duplicate value",
            Self::TooMany => "Too many",
            Self::Forbidden => "Forbidden",
            Self::Internal => "Internal error",
        })
    }
}

impl ConfigError {
    /// The field, if it is about one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Field(error) => Some(&error.path),
            Self::Decode(_) => None,
        }
    }
}

impl FieldError {
    /// A missing value.
    pub(super) fn required(path: impl fmt::Display, detail: impl Into<String>) -> Self {
        Self::new(path, ErrorKind::Required, None, detail)
    }

    /// A wrong string.
    pub(super) fn invalid(path: impl fmt::Display, value: &str, detail: impl Into<String>) -> Self {
        Self::new(path, ErrorKind::Invalid, Some(strconv::quote(value)), detail)
    }

    /// A string that stands twice.
    pub(super) fn duplicate(path: impl fmt::Display, value: &str) -> Self {
        Self::new(path, ErrorKind::Duplicate, Some(strconv::quote(value)), "")
    }

    /// A mistake of any kind; `value` is printed as it is.
    pub(super) fn new(
        path: impl fmt::Display,
        kind: ErrorKind,
        value: Option<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { path: path.to_string(), kind, value, detail: detail.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.kind)?;
        if let Some(value) = &self.value {
            write!(f, ": {value}")?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for FieldError {}

/// All that is wrong with a configuration, in kube-apiserver's order, each text once. Never empty.
///
/// Displayed as kube-apiserver does: a single error as it is, several as `[a, b]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// `Err` with all of them if there are any.
    pub(super) fn check(errors: Vec<FieldError>) -> Result<(), Self> {
        let mut distinct: Vec<ConfigError> = Vec::with_capacity(errors.len());
        for error in errors.into_iter().map(ConfigError::Field) {
            let text = error.to_string();
            if !distinct.iter().any(|seen| seen.to_string() == text) {
                distinct.push(error);
            }
        }
        if distinct.is_empty() { Ok(()) } else { Err(Self { errors: distinct }) }
    }

    /// Each error.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

/// What was found wrong so far.
#[derive(Default)]
pub(super) struct Errors(Vec<FieldError>);

impl Errors {
    pub(super) fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// `Err` with all of them if there are any.
    pub(super) fn check(self) -> Result<(), ConfigErrors> {
        ConfigErrors::check(self.0)
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self { errors: vec![error] }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.errors.as_slice() {
            return only.fmt(f);
        }
        f.write_str("[")?;
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            error.fmt(f)?;
        }
        f.write_str("]")
    }
}

impl std::error::Error for ConfigErrors {}
