//! Calls: arguments, the overload that fits them, and what both cost. Source: cel-go v0.26, `interpreter/interpretable.go`.

use kube_rules::{Difference, Rules};

use super::{Evaluation, settle};
use crate::{
    cost::Called,
    error::EvalError,
    function::Implementation,
    library::{
        Overload,
        maps::{insert, insert_all},
    },
    plan::{Call, FoldVariable, Plan, RegexCall, Root},
    types::Type,
    value::{EvalResult, Trait, Value},
};

impl<'a> Evaluation<'a> {
    /// The arguments in their order. Where upstream stops at the first that fails, there is no cost unless it is the last.
    pub(super) fn arguments<'p>(
        &mut self,
        plans: &'p [Plan],
        stops: bool,
        inits: &[&'p Plan],
    ) -> Result<Vec<EvalResult<'a>>, EvalError> {
        let mut values = Vec::with_capacity(plans.len());
        for plan in plans {
            let value = settle(self.run(plan, inits))?;
            if stops && values.len() + 1 < plans.len() {
                value.as_ref().map_err(Clone::clone)?;
            }
            values.push(value);
        }
        Ok(values)
    }

    /// Whether a call is counted though an argument has failed.
    fn counts_failed(&self, call: &Call) -> bool {
        call.function.name == "!_" || !self.meter.rules().has(Difference::ErrorCost)
    }

    /// The arguments up to the first that fails.
    fn good_arguments<'p>(
        &mut self,
        plans: &'p [Plan],
        inits: &[&'p Plan],
    ) -> Result<Vec<EvalResult<'a>>, EvalError> {
        plans.iter().map(|plan| self.run(plan, inits).map(Ok)).collect()
    }

    pub(super) fn call<'p>(&mut self, call: &'p Call, inits: &[&'p Plan]) -> EvalResult<'a> {
        let fixed = call.fixed();
        let stops = call.arguments.len() > 2 || fixed.is_none_or(|code| code.variadic);
        let evaluated = if self.counts_failed(call) {
            self.arguments(&call.arguments, stops, inits)?
        } else {
            self.good_arguments(&call.arguments, inits)?
        };
        if takes_accumulator(call) {
            return self.collect(call, evaluated);
        }
        let result = match evaluated.iter().cloned().collect::<Result<Vec<_>, _>>() {
            Ok(arguments) => {
                let result = settle(self.apply(call, fixed, &arguments))?;
                drop(arguments);
                result
            }
            Err(error) => Err(error),
        };
        let cost = count(call, self.meter.rules(), &evaluated, &result)?;
        self.meter.charge(cost)?;
        result
    }

    /// A collecting fold's step: the accumulator was taken and is added to without a copy.
    fn collect(&mut self, call: &Call, evaluated: Vec<EvalResult<'a>>) -> EvalResult<'a> {
        let cost = count(call, self.meter.rules(), &evaluated, &Ok(Value::Null))?;
        let mut arguments = evaluated.into_iter().collect::<Result<Vec<_>, _>>();
        let result = match arguments.as_deref_mut() {
            Err(error) => Err(error.clone()),
            Ok([first @ Value::List(_), more @ Value::List(_)]) => {
                // An empty list in their places would be two allocations for each element of the fold.
                let (first, more) =
                    (std::mem::replace(first, Value::Null), std::mem::replace(more, Value::Null));
                let (Value::List(list), Value::List(more)) = (first, more) else {
                    return Err(EvalError::no_such_overload());
                };
                self.meter.work(more.len())?;
                Ok(Value::List(list.concat(more)))
            }
            Ok([Value::Map(map), key, value]) => {
                let (key, value) =
                    (std::mem::replace(key, Value::Null), std::mem::replace(value, Value::Null));
                insert(&mut self.meter, std::mem::take(map), key, value).map(Value::Map)
            }
            Ok([Value::Map(map), Value::Map(more)]) => {
                insert_all(&mut self.meter, std::mem::take(map), more).map(Value::Map)
            }
            Ok(arguments) => Err(no_overload(call.function.name, arguments)),
        };
        let result = settle(result)?;
        self.meter.charge(cost)?;
        result
    }

    fn apply(
        &mut self,
        call: &Call,
        fixed: Option<Implementation>,
        arguments: &[Value<'a>],
    ) -> EvalResult<'a> {
        let name = call.function.name;
        let Some(implementation) = fixed else {
            let mut overloads = call.function.overloads.iter();
            let fitting = overloads.find(|overload| matches(overload, arguments));
            return match fitting.and_then(Overload::implementation) {
                Some(implementation) => (implementation.body)(&mut self.meter, arguments),
                None => Err(no_overload(name, arguments)),
            };
        };
        if let (Some(operand), Some(first)) = (implementation.operand, arguments.first())
            && !first.has(operand)
        {
            return Err(if first.has(Trait::Receiver) {
                EvalError::no_such_overload()
            } else {
                EvalError::new(format!("no such overload: {name}"))
            });
        }
        if implementation.guarded {
            let overload = call.overload.or_else(|| call.function.overloads.first());
            if overload.is_some_and(|overload| !matches(overload, arguments)) {
                return Err(no_overload(name, arguments));
            }
        }
        (implementation.body)(&mut self.meter, arguments)
    }

    pub(super) fn regex<'p>(&mut self, call: &'p RegexCall, inits: &[&'p Plan]) -> EvalResult<'a> {
        let evaluated = if self.counts_failed(&call.call) {
            self.arguments(&call.call.arguments, true, inits)?
        } else {
            self.good_arguments(&call.call.arguments, inits)?
        };
        let result = match evaluated.iter().cloned().collect::<Result<Vec<_>, _>>() {
            Ok(arguments) => settle(call.regex.call(&mut self.meter, call.operation, &arguments))?,
            Err(error) => Err(error),
        };
        let cost = count(&call.call, self.meter.rules(), &evaluated, &result)?;
        self.meter.charge(cost)?;
        result
    }
}

/// What a call has cost.
fn count(
    call: &Call,
    rules: Rules,
    arguments: &[EvalResult],
    result: &EvalResult,
) -> Result<u64, EvalError> {
    call.cost().map_or(Ok(1), |count| count(Called { rules, arguments, result }))
}

/// Whether the call is the step of a collecting fold.
fn takes_accumulator(call: &Call) -> bool {
    matches!(
        call.arguments.first(),
        Some(Plan::Attribute(first))
            if matches!(first.root, Root::Fold { which: FoldVariable::TakenAccumulator, .. })
    )
}

pub(super) fn no_overload(name: &str, arguments: &[Value]) -> EvalError {
    let types: Vec<_> = arguments.iter().map(Value::type_name).collect();
    EvalError::new(format!("no such overload: {name}({})", types.join(", ")))
}

/// Whether the arguments fit an overload at run time. Of a list or map the first element is asked, as upstream.
fn matches(overload: &Overload, arguments: &[Value]) -> bool {
    overload.arguments.len() == arguments.len()
        && overload.arguments.iter().zip(arguments).all(|(wanted, value)| fits(wanted, value))
}

fn fits(wanted: &Type, value: &Value) -> bool {
    match (wanted, value) {
        (Type::Dyn | Type::Any | Type::Param(_), _) => true,
        (Type::List(element), Value::List(list)) => {
            list.iterate().next().is_none_or(|first| fits(element, &first))
        }
        (Type::Map(key, element), Value::Map(map)) if !map.is_variable() => {
            map.first().is_none_or(|(first, value)| fits(key, &first) && fits(element, &value))
        }
        (Type::List(_) | Type::Map(..), _) => false,
        (wanted, value) => wanted.runtime_name() == value.type_name(),
    }
}
