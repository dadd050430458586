//! What an evaluation may use: the cost that kube-apiserver counts, and our own count of what that cost does not see.
//!
//! Upstream's cost says nothing of what `replace`, `join` or `+` on lists produce, and counts many traversals as one step;
//! there the process has gigabytes and a deadline. A filter has neither, so work that grows with a value is counted too,
//! before it is done.

use kube_rules::Rules;

use crate::error::EvalError;

/// Cost of one evaluation, as upstream (`apis/cel.PerCallLimit`).
pub const COST_LIMIT: u64 = 1_000_000;

/// Elements, entries or bytes that one evaluation may visit or produce beyond its cost. A token is far smaller; what
/// reaches this multiplies its own values.
pub const WORK_LIMIT: u64 = 4_000_000;

/// Counts for one evaluation.
#[derive(Debug)]
pub struct Meter {
    rules: Rules,
    cost: u64,
    work: u64,
    limits: Limits,
}

/// What an evaluation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// By upstream's count.
    pub cost: u64,
    /// Of what this count does not see.
    pub work: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cost: COST_LIMIT, work: WORK_LIMIT }
    }
}

impl Meter {
    /// Nothing is used up of what upstream allows.
    pub fn new(rules: Rules) -> Self {
        Self::limited(rules, Limits::default())
    }

    /// Nothing is used up of this.
    pub fn limited(rules: Rules, limits: Limits) -> Self {
        Self { rules, cost: 0, work: 0, limits }
    }

    /// Whose rules the evaluation follows.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Adds to the cost.
    ///
    /// # Errors
    /// If the evaluation may not cost that much.
    #[inline]
    pub fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        // Sizes are bounded by the work, so nothing but upstream's own negative cost wraps around.
        self.cost = self.cost.wrapping_add(cost);
        if self.cost > self.limits.cost { Err(EvalError::cost_exceeded()) } else { Ok(()) }
    }

    /// Takes from the cost, where upstream counts a step too much first.
    pub fn refund(&mut self, cost: u64) {
        self.cost = self.cost.saturating_sub(cost);
    }

    /// Adds to the work, before it is done.
    ///
    /// # Errors
    /// If the evaluation may not work that much.
    #[inline]
    pub fn work(&mut self, steps: usize) -> Result<(), EvalError> {
        self.work = self.work.saturating_add(steps as u64);
        if self.work > self.limits.work { Err(EvalError::cost_exceeded()) } else { Ok(()) }
    }

    /// The cost so far, by upstream's count.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }
}
