//! Why an expression is refused at load, or gives no value.

use std::sync::Arc;

/// Why an expression does not compile. The text is kube-apiserver's; behind `compilation failed: ` it may say more or less
/// than upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Syntax, names or types are wrong. Upstream: an invalid value.
    #[error("compilation failed: {0}")]
    Compilation(String),
    /// The expression compiles but a constant part of it fails. Upstream: an internal error.
    #[error("program instantiation failed: {0}")]
    Instantiation(String),
}

/// Why an evaluation gives no value. The text is upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct EvalError {
    text: Arc<str>,
    cancelled: bool,
}

impl EvalError {
    /// An error with this text, which `||` and `&&` absorb.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), cancelled: false }
    }

    /// A value has the wrong type for what is done with it.
    #[must_use]
    pub fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    /// The evaluation used up what it may; nothing absorbs this.
    #[must_use]
    pub fn cost_exceeded() -> Self {
        Self { text: "operation cancelled: actual cost limit exceeded".into(), cancelled: true }
    }

    /// A time outside of the years 1 to 9999.
    #[must_use]
    pub fn timestamp_overflow() -> Self {
        Self::new("timestamp overflow")
    }

    /// Upstream falls over here and ends the evaluation, with an internal error of other words; nothing absorbs this either.
    #[must_use]
    pub fn internal(text: &str) -> Self {
        Self { text: format!("internal error: {text}").into(), cancelled: true }
    }

    /// Upstream keeps maps and sets by hash, and bytes have none.
    #[must_use]
    pub fn unhashable() -> Self {
        Self::internal("bytes cannot be a key or stand in a set")
    }

    /// Whether the evaluation is over, whatever stands around the failed part.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }
}
