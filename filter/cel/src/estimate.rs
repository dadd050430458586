//! How much a program may cost, before anything is evaluated.
//!
//! As k8s.io/apiserver estimates the rules of a `CustomResourceDefinition` (`pkg/apiserver/validation`, cel-go's `checker/cost.go`): sizes
//! that nobody knows are assumed, and each fold multiplies. It is coarser: a literal list has its length, everything else the assumed one.

use crate::{
    cost,
    plan::{Attribute, Call, Fold, Key, Plan, Root},
    types::Type,
    value::Value,
};

/// The sizes of what is not known before a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Characters of a text.
    pub text: u64,
    /// Elements of a list or a map.
    pub elements: u64,
}

/// What an evaluation may cost.
pub fn estimate(plan: &Plan, sizes: Sizes) -> u64 {
    let all = |plans: &[Plan]| sum(plans.iter().map(|plan| estimate(plan, sizes)));
    match plan {
        Plan::Constant(_) => 0,
        Plan::Attribute(attribute) => of_attribute(attribute, sizes),
        Plan::And(terms) | Plan::Or(terms) => all(terms),
        Plan::Equal { sides, .. } => {
            let shorter = sides.iter().map(|side| match side {
                Plan::Constant(value) => value.size(),
                _ => sizes.text,
            });
            all(&**sides).saturating_add(shorter.min().unwrap_or_default().div_ceil(10))
        }
        Plan::OptionalOr { sides, .. } => all(&**sides),
        Plan::Member { value, set } => estimate(value, sizes).saturating_add(set.len() as u64),
        Plan::Call(call) => all(&call.arguments).saturating_add(of_call(call, sizes)),
        Plan::Regex(regex) => {
            let pattern = match regex.call.arguments.get(1) {
                Some(Plan::Constant(pattern)) => pattern.size(),
                _ => sizes.text,
            };
            let matching = sizes.text.div_ceil(10).saturating_mul(pattern.div_ceil(4));
            all(&regex.call.arguments).saturating_add(matching)
        }
        Plan::NotStrictlyFalse(part) => estimate(part, sizes).saturating_add(1),
        Plan::List { elements } => {
            sum(elements.iter().map(|(plan, _)| estimate(plan, sizes))).saturating_add(cost::LIST)
        }
        Plan::Map { entries } => {
            let entries = entries.iter().flat_map(|(key, value, _)| [key, value]);
            sum(entries.map(|plan| estimate(plan, sizes))).saturating_add(cost::MAP)
        }
        Plan::Fold(fold) => of_fold(fold, sizes),
    }
}

/// What is counted by its arguments reads them once, or a list with each of its elements.
fn of_call(call: &Call, sizes: Sizes) -> u64 {
    let lists = call.overload.map_or(1, |overload| {
        overload.arguments.iter().filter(|known| matches!(known, Type::List(_))).count()
    });
    match call.cost() {
        None => 1,
        Some(_) if lists > 0 => sizes.elements.saturating_mul(lists as u64),
        Some(_) => sizes.text.div_ceil(10),
    }
}

fn of_fold(fold: &Fold, sizes: Sizes) -> u64 {
    let rounds = match &fold.range {
        Plan::Constant(value @ (Value::List(_) | Value::Map(_))) => value.size(),
        Plan::List { elements } => elements.len() as u64,
        _ => sizes.elements,
    };
    let round = estimate(&fold.condition, sizes).saturating_add(estimate(&fold.step, sizes));
    sum([
        estimate(&fold.range, sizes),
        estimate(&fold.init, sizes),
        rounds.saturating_mul(round),
        estimate(&fold.result, sizes),
    ])
}

fn of_attribute(attribute: &Attribute, sizes: Sizes) -> u64 {
    let root = match &attribute.root {
        Root::Environment { .. } | Root::Fold { .. } => cost::SELECT,
        Root::Value(plan) => estimate(plan, sizes),
        Root::Conditional { condition, branches } => {
            let [truthy, falsy] = &**branches;
            let branch = of_attribute(truthy, sizes).max(of_attribute(falsy, sizes));
            estimate(condition, sizes).saturating_add(branch)
        }
    };
    let qualifiers = attribute.qualifiers.iter().map(|qualifier| match &qualifier.key {
        Key::Constant(_) => cost::SELECT,
        Key::Computed(plan) => estimate(plan, sizes).saturating_add(cost::SELECT),
    });
    sum(qualifiers).saturating_add(root)
}

fn sum(costs: impl IntoIterator<Item = u64>) -> u64 {
    costs.into_iter().fold(0, u64::saturating_add)
}
