//! The evaluator. Source: cel-go v0.26, `interpreter/interpretable.go`, `attributes.go` and `runtimecost.go`: the same order,
//! laziness and errors, and the same cost.

mod attributes;
mod calls;
mod folds;

use kube_rules::{Difference, Rules};

use crate::{
    activation::Variables,
    cost,
    error::EvalError,
    meter::Meter,
    plan::Plan,
    value::{
        EvalResult, Value,
        compare::{contains, equal},
        display::plain,
        list::List,
        map::{Map, put},
    },
};

/// One evaluation of a program.
#[derive(Debug)]
pub struct Evaluation<'a> {
    variables: Variables<'a>,
    frames: Vec<Frame<'a>>,
    meter: Meter,
}

/// The variables of a running fold.
#[derive(Debug, Default)]
struct Frame<'a> {
    /// `None` until it is first asked for.
    accumulator: Option<EvalResult<'a>>,
    first: Option<EvalResult<'a>>,
    second: Option<EvalResult<'a>>,
}

impl<'a> Evaluation<'a> {
    /// An evaluation with the environment's variables.
    pub fn new(variables: Variables<'a>, meter: Meter) -> Self {
        Self { variables, frames: Vec::new(), meter }
    }

    /// The value of a part that needs no variable.
    ///
    /// # Errors
    /// If it has none.
    pub fn constant(plan: &Plan, rules: Rules) -> EvalResult<'static> {
        let mut evaluation = Evaluation::new(Variables::None, Meter::new(rules));
        evaluation.run(plan, &[])
    }

    /// Evaluates the whole program. `folds` are its comprehensions' first values, found by depth.
    ///
    /// # Errors
    /// Upstream's text.
    pub fn evaluate(&mut self, plan: &'a Plan) -> EvalResult<'a> {
        self.run(plan, &[])
    }

    /// What the evaluation cost, by upstream's count.
    pub fn cost(&self) -> u64 {
        self.meter.cost()
    }

    fn run<'p>(&mut self, plan: &'p Plan, inits: &[&'p Plan]) -> EvalResult<'a> {
        match plan {
            Plan::Constant(value) => Ok(value.clone()),
            Plan::Attribute(attribute) => self.attribute(attribute, inits),
            Plan::And(terms) => self.logical(terms, false, inits),
            Plan::Or(terms) => self.logical(terms, true, inits),
            Plan::Equal { sides, negated } => self.equality(sides, *negated, inits),
            Plan::OptionalOr { sides, unwraps } => self.optional_or(sides, *unwraps, inits),
            Plan::Member { value, set } => {
                let value = self.run(value, inits)?;
                if matches!(value, Value::Bytes(_)) {
                    return Err(EvalError::unhashable());
                }
                contains(&mut self.meter, &List::new(set.clone()), &value).map(Value::Bool)
            }
            Plan::Call(call) => self.call(call, inits),
            Plan::Regex(call) => self.regex(call, inits),
            Plan::NotStrictlyFalse(part) => self.not_strictly_false(part, inits),
            Plan::List { elements } => self.list(elements, inits),
            Plan::Map { entries } => self.map(entries, inits),
            Plan::Fold(fold) => self.fold(fold, inits),
        }
    }

    fn logical<'p>(
        &mut self,
        terms: &'p [Plan],
        decides: bool,
        inits: &[&'p Plan],
    ) -> EvalResult<'a> {
        let mut failed = None;
        for term in terms {
            match self.run(term, inits) {
                Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
                Ok(_) => failed = failed.or_else(|| Some(EvalError::no_such_overload())),
            }
        }
        failed.map_or(Ok(Value::Bool(!decides)), Err)
    }

    /// Anything that is not `false` lets a fold go on, errors too.
    fn not_strictly_false<'p>(&mut self, part: &'p Plan, inits: &[&'p Plan]) -> EvalResult<'a> {
        let value = self.run(part, inits);
        self.meter.charge(1)?;
        match value {
            Err(error) if error.is_cancelled() => Err(error),
            Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
            _ => Ok(Value::Bool(true)),
        }
    }

    fn equality<'p>(
        &mut self,
        sides: &'p [Plan; 2],
        negated: bool,
        inits: &[&'p Plan],
    ) -> EvalResult<'a> {
        let [a, b] = sides;
        let a = self.run(a, inits);
        if is_cancelled(&a) {
            return a;
        }
        if a.is_err() && self.meter.rules().has(Difference::ErrorCost) {
            self.meter.charge(1)?;
            return a;
        }
        let evaluated;
        let b: Result<&Value, &EvalError> = if let Plan::Constant(value) = b {
            Ok(value)
        } else {
            evaluated = self.run(b, inits);
            if is_cancelled(&evaluated) {
                return evaluated;
            }
            evaluated.as_ref()
        };
        self.meter.charge(cost::of_equality(a.as_ref().ok(), b.ok(), negated))?;
        let (a, b) = (a?, b.map_err(Clone::clone)?);
        match equal(&mut self.meter, &a, b) {
            Ok(same) => Ok(Value::Bool(same != negated)),
            Err(error) if error.is_cancelled() || !negated => Err(error),
            // `!=` takes what has no overload for unequal, as upstream.
            Err(_) => Ok(Value::Bool(true)),
        }
    }

    fn optional_or<'p>(
        &mut self,
        sides: &'p [Plan; 2],
        unwraps: bool,
        inits: &[&'p Plan],
    ) -> EvalResult<'a> {
        let [a, b] = sides;
        match self.run(a, inits)? {
            Value::Optional(Some(value)) if unwraps => Ok((*value).clone()),
            optional @ Value::Optional(Some(_)) => Ok(optional),
            Value::Optional(None) => self.run(b, inits),
            _ if self.meter.rules().has(Difference::OptionalOr) => {
                Err(EvalError::no_such_overload())
            }
            other => Ok(other),
        }
    }

    fn list<'p>(&mut self, elements: &'p [(Plan, bool)], inits: &[&'p Plan]) -> EvalResult<'a> {
        let mut items = Vec::with_capacity(elements.len());
        let mut failed = None;
        for (element, optional) in elements {
            match (settle(self.run(element, inits))?, optional) {
                (Err(error), _) => failed = Some(error),
                (Ok(value), false) => items.push(value),
                (Ok(Value::Optional(value)), true) => {
                    items.extend(value.map(|value| (*value).clone()));
                }
                (Ok(value), true) => {
                    let shown = plain(&value);
                    failed = Some(EvalError::new(format!(
                        "cannot initialize optional list element from non-optional value {shown}"
                    )));
                }
            }
            if failed.is_some() {
                break;
            }
        }
        self.built(cost::LIST, failed.as_ref())?;
        failed.map_or(Ok(Value::list(items)), Err)
    }

    fn map<'p>(&mut self, entries: &'p [(Plan, Plan, bool)], inits: &[&'p Plan]) -> EvalResult<'a> {
        let mut built = Vec::with_capacity(entries.len());
        let mut failed = None;
        for (key, value, optional) in entries {
            let evaluated = settle(self.run(key, inits))?;
            let evaluated = match evaluated {
                Ok(Value::Bytes(_)) => return Err(EvalError::unhashable()),
                Ok(key) => settle(self.run(value, inits))?.map(|value| (key, value)),
                Err(error) => Err(error),
            };
            match (evaluated, optional) {
                (Err(error), _) => failed = Some(error),
                (Ok((key, value)), false) => put(&mut built, key, value),
                (Ok((key, Value::Optional(Some(value)))), true) => {
                    put(&mut built, key, (*value).clone());
                }
                (Ok((key, Value::Optional(None))), true) => {
                    built.retain(|(known, _)| !crate::value::map::same_key(known, &key));
                }
                (Ok((key, value)), true) => {
                    failed = Some(EvalError::new(format!(
                        "cannot initialize optional entry '{}' from non-optional value {}",
                        plain(&key),
                        plain(&value)
                    )));
                }
            }
            if failed.is_some() {
                break;
            }
        }
        self.built(cost::MAP, failed.as_ref())?;
        failed.map_or(Ok(Value::Map(Map::new(built))), Err)
    }

    /// Counts a list or a map, which may not have come to be.
    fn built(&mut self, cost: u64, failed: Option<&EvalError>) -> Result<(), EvalError> {
        match failed {
            Some(_) if self.meter.rules().has(Difference::ErrorCost) => Ok(()),
            _ => self.meter.charge(cost),
        }
    }
}

/// Whether the whole evaluation has ended with this.
fn is_cancelled<T>(result: &Result<T, EvalError>) -> bool {
    matches!(result, Err(error) if error.is_cancelled())
}

/// Sets aside an error that something around may absorb; what ends the evaluation is passed on at once.
fn settle<T>(result: Result<T, EvalError>) -> Result<Result<T, EvalError>, EvalError> {
    match result {
        Err(error) if error.is_cancelled() => Err(error),
        result => Ok(result),
    }
}
