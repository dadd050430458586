//! The evaluator. Source: cel-go v0.26, `interpreter/interpretable.go`, `attributes.go` and `runtimecost.go`: the same order,
//! laziness and errors, and the same cost.

use super::cost;
use super::display::{plain, type_of};
use super::equality::{contains, equal};
use super::error::EvalError;
use super::functions::Implementation;
use super::functions::maps::{insert, insert_all};
use super::list::List;
use super::map::Map;
use super::meter::Meter;
use super::plan::{
    Attribute, Call, Fold, FoldVariable, Key, Plan, Qualifier, RegexCall, Root, is_key, put,
};
use super::signatures::Overload;
use super::types::Type;
use super::value::{Trait, Value};

type Answer<'a> = Result<Value<'a>, EvalError>;

/// One evaluation of a program.
#[derive(Debug)]
pub struct Evaluation<'a> {
    variable: Option<Map<'a>>,
    frames: Vec<Frame<'a>>,
    meter: Meter,
}

/// The variables of a running fold.
#[derive(Debug, Default)]
struct Frame<'a> {
    /// `None` until it is first asked for.
    accumulator: Option<Answer<'a>>,
    first: Option<Answer<'a>>,
    second: Option<Answer<'a>>,
}

impl<'a> Evaluation<'a> {
    /// An evaluation with the environment's variable.
    pub fn new(variable: Map<'a>) -> Self {
        Self { variable: Some(variable), frames: Vec::new(), meter: Meter::default() }
    }

    /// The value of a part that needs no variable.
    ///
    /// # Errors
    /// If it has none.
    pub fn constant(plan: &Plan) -> Answer<'static> {
        let mut evaluation =
            Evaluation { variable: None, frames: Vec::new(), meter: Meter::default() };
        evaluation.run(plan, &[])
    }

    /// Evaluates the whole program. `folds` are its comprehensions' first values, found by depth.
    ///
    /// # Errors
    /// Upstream's text.
    pub fn evaluate(&mut self, plan: &'a Plan) -> Answer<'a> {
        self.run(plan, &[])
    }

    /// What the evaluation cost, by upstream's count.
    pub fn cost(&self) -> u64 {
        self.meter.cost()
    }

    fn run<'p>(&mut self, plan: &'p Plan, inits: &[&'p Plan]) -> Answer<'a> {
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

    fn logical<'p>(&mut self, terms: &'p [Plan], decides: bool, inits: &[&'p Plan]) -> Answer<'a> {
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
    fn not_strictly_false<'p>(&mut self, part: &'p Plan, inits: &[&'p Plan]) -> Answer<'a> {
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
    ) -> Answer<'a> {
        let [a, b] = sides;
        let a = settle(self.run(a, inits))?;
        let b = settle(self.run(b, inits))?;
        self.meter.charge(cost::of_equality(&a, &b, negated))?;
        let (a, b) = (a?, b?);
        match equal(&mut self.meter, &a, &b) {
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
    ) -> Answer<'a> {
        let [a, b] = sides;
        match self.run(a, inits)? {
            Value::Optional(Some(value)) if unwraps => Ok((*value).clone()),
            Value::Optional(None) => self.run(b, inits),
            other => Ok(other),
        }
    }

    fn list<'p>(&mut self, elements: &'p [(Plan, bool)], inits: &[&'p Plan]) -> Answer<'a> {
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
        self.meter.charge(cost::LIST)?;
        failed.map_or(Ok(Value::list(items)), Err)
    }

    fn map<'p>(&mut self, entries: &'p [(Plan, Plan, bool)], inits: &[&'p Plan]) -> Answer<'a> {
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
                    built.retain(|(known, _)| !super::map::same_key(known, &key));
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
        self.meter.charge(cost::MAP)?;
        failed.map_or(Ok(Value::Map(Map::new(built))), Err)
    }

    /// The arguments in their order. Where upstream stops at the first that fails, there is no cost unless it is the last.
    fn arguments<'p>(
        &mut self,
        plans: &'p [Plan],
        stops: bool,
        inits: &[&'p Plan],
    ) -> Result<Vec<Answer<'a>>, EvalError> {
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

    fn call<'p>(&mut self, call: &'p Call, inits: &[&'p Plan]) -> Answer<'a> {
        let fixed = call.fixed();
        let overload = call.overload.map_or("", |overload| overload.id);
        let stops = fixed.is_none() || call.arguments.len() > 2 || overload == "string_format";
        let evaluated = self.arguments(&call.arguments, stops, inits)?;
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
        self.meter.charge(cost::of_call(call, &evaluated, &result)?)?;
        result
    }

    /// A collecting fold's step: the accumulator was taken and is added to without a copy.
    fn collect(&mut self, call: &Call, evaluated: Vec<Answer<'a>>) -> Answer<'a> {
        let cost = cost::of_call(call, &evaluated, &Ok(Value::Null))?;
        let mut arguments = evaluated.into_iter().collect::<Result<Vec<_>, _>>();
        let result = match arguments.as_deref_mut() {
            Err(error) => Err(error.clone()),
            Ok([Value::List(list), Value::List(more)]) => {
                self.meter.work(more.len())?;
                Ok(Value::List(std::mem::take(list).concat(std::mem::take(more))))
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
    ) -> Answer<'a> {
        let name = call.function.name;
        let Some(implementation) = fixed else {
            let mut overloads = call.function.overloads.iter();
            let fitting = overloads.find(|overload| matches(overload, arguments));
            return match fitting.and_then(|overload| overload.implementation) {
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

    fn regex<'p>(&mut self, call: &'p RegexCall, inits: &[&'p Plan]) -> Answer<'a> {
        let evaluated = self.arguments(&call.call.arguments, true, inits)?;
        let result = match evaluated.iter().cloned().collect::<Result<Vec<_>, _>>() {
            Ok(arguments) => {
                settle(call.regex.call(&mut self.meter, call.call.function.name, &arguments))?
            }
            Err(error) => Err(error),
        };
        self.meter.charge(cost::of_call(&call.call, &evaluated, &result)?)?;
        result
    }

    fn attribute<'p>(&mut self, attribute: &'p Attribute, inits: &[&'p Plan]) -> Answer<'a> {
        let value = settle(self.resolve(attribute, &[], attribute.test, inits))?;
        match (&attribute.root, attribute.test) {
            // A choice costs nothing, and a test gives a step back even then.
            (Root::Conditional { .. }, true) => self.meter.refund(cost::SELECT),
            (Root::Conditional { .. }, false) | (_, true) => {}
            (_, false) => self.meter.charge(cost::SELECT)?,
        }
        match value? {
            Value::Optional(value) if attribute.test => Ok(Value::Bool(value.is_some())),
            value => Ok(value),
        }
    }

    /// The value of an attribute with more qualifiers behind its own.
    fn resolve<'p>(
        &mut self,
        attribute: &'p Attribute,
        more: &[&'p Qualifier],
        test: bool,
        inits: &[&'p Plan],
    ) -> Answer<'a> {
        let qualifiers: Vec<&'p Qualifier> =
            attribute.qualifiers.iter().chain(more.iter().copied()).collect();
        let root = match &attribute.root {
            Root::Environment => match &self.variable {
                Some(variable) => Value::Map(variable.clone()),
                None => return Err(EvalError::new("no such attribute(s)")),
            },
            Root::Fold { depth, which } => self.fold_variable(*depth, *which, inits)?,
            Root::Value(plan) => self.run(plan, inits)?,
            Root::Conditional { condition, branches } => {
                let [truthy, falsy] = &**branches;
                return match self.run(condition, inits)? {
                    Value::Bool(true) => self.resolve(truthy, &qualifiers, test, inits),
                    Value::Bool(false) => self.resolve(falsy, &qualifiers, test, inits),
                    _ => Err(EvalError::no_such_overload()),
                };
            }
        };
        self.apply_qualifiers(root, &qualifiers, test, inits)
    }

    fn apply_qualifiers<'p>(
        &mut self,
        root: Value<'a>,
        qualifiers: &[&'p Qualifier],
        test: bool,
        inits: &[&'p Plan],
    ) -> Answer<'a> {
        let (mut value, mut optional) = match root {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => (bare((*value).clone()), true),
            value => (value, false),
        };
        let last = qualifiers.len().saturating_sub(1);
        for (position, qualifier) in qualifiers.iter().enumerate() {
            optional = optional || qualifier.optional;
            let tests = test && position == last;
            let found = settle(self.qualify(&value, qualifier, optional || tests, inits))?;
            if !optional || matches!(found, Ok(Some(_))) {
                self.meter.charge(cost::SELECT)?;
            }
            value = match (found?, tests) {
                (found, true) if !optional => Value::Bool(found.is_some()),
                (Some(_), true) => Value::Null,
                (Some(found), false) => found,
                (None, _) => return Ok(Value::Optional(None)),
            };
        }
        Ok(if optional { Value::some(value) } else { value })
    }

    /// The field or element, or `None` if it is absent and that is no error.
    fn qualify<'p>(
        &mut self,
        value: &Value<'a>,
        qualifier: &'p Qualifier,
        lenient: bool,
        inits: &[&'p Plan],
    ) -> Result<Option<Value<'a>>, EvalError> {
        let computed;
        let key: &Value = match &qualifier.key {
            Key::Constant(key) => key,
            Key::Computed(Plan::Attribute(attribute)) => {
                computed = self.resolve(attribute, &[], attribute.test, inits)?;
                &computed
            }
            Key::Computed(plan) => {
                computed = self.run(plan, inits)?;
                &computed
            }
        };
        if !is_key(key) {
            return Err(EvalError::new(format!("invalid qualifier type: {}", key.go_type())));
        }
        let found = match value {
            Value::Map(map) => {
                self.meter.work(1 + map.len() / 16)?;
                map.find(key)?
            }
            Value::List(list) => {
                usize::try_from(list_index(key)?).ok().and_then(|index| list.get(index))
            }
            _ => None,
        };
        match (found, value) {
            (Some(found), _) => Ok(Some(found)),
            (None, _) if lenient => Ok(None),
            (None, Value::List(_)) => {
                Err(EvalError::new(format!("index out of bounds: {}", plain(key))))
            }
            (None, _) => Err(EvalError::new(format!("no such key: {}", plain(key)))),
        }
    }

    fn fold_variable<'p>(
        &mut self,
        depth: usize,
        which: FoldVariable,
        inits: &[&'p Plan],
    ) -> Answer<'a> {
        let missing = || EvalError::new("no such attribute(s)");
        if matches!(which, FoldVariable::Accumulator | FoldVariable::TakenAccumulator) {
            let is_new = self.frames.get(depth).is_some_and(|frame| frame.accumulator.is_none());
            if is_new {
                let init = inits.get(depth).copied().ok_or_else(missing)?;
                let outer = inits.get(..depth).unwrap_or_default();
                let value = settle(self.run(init, outer))?.map(fresh_if_empty);
                self.frames.get_mut(depth).ok_or_else(missing)?.accumulator = Some(value);
            }
        }
        let frame = self.frames.get_mut(depth).ok_or_else(missing)?;
        match which {
            FoldVariable::Accumulator => frame.accumulator.clone(),
            FoldVariable::TakenAccumulator => frame.accumulator.replace(Ok(Value::Null)),
            FoldVariable::First => frame.first.clone(),
            FoldVariable::Second => frame.second.clone(),
        }
        .unwrap_or_else(|| Err(missing()))
    }

    fn fold<'p>(&mut self, fold: &'p Fold, inits: &[&'p Plan]) -> Answer<'a> {
        let range = self.run(&fold.range, inits)?;
        let elements = elements(&range, fold.two_variables)?;
        self.meter.work(elements.len())?;
        let mut inits: Vec<&'p Plan> = inits.iter().copied().take(fold.depth).collect();
        inits.push(&fold.init);
        while self.frames.len() <= fold.depth {
            self.frames.push(Frame::default());
        }
        // A lazily evaluated first value may run a fold of the same depth while this one is under way.
        let saved = self.frames.get_mut(fold.depth).map(std::mem::take);
        let result = self.iterate(fold, elements, &inits);
        if let (Some(frame), Some(saved)) = (self.frames.get_mut(fold.depth), saved) {
            *frame = saved;
        }
        result
    }

    fn iterate<'p>(
        &mut self,
        fold: &'p Fold,
        elements: Vec<(Answer<'a>, Option<Answer<'a>>)>,
        inits: &[&'p Plan],
    ) -> Answer<'a> {
        for (first, second) in elements {
            self.meter.work(1)?;
            if let Some(frame) = self.frames.get_mut(fold.depth) {
                (frame.first, frame.second) = (Some(first), second);
            }
            // A condition that is no boolean does not end the fold.
            if let Ok(Value::Bool(false)) = settle(self.run(&fold.condition, inits))? {
                break;
            }
            let value = settle(self.run(&fold.step, inits))?;
            if let Some(frame) = self.frames.get_mut(fold.depth) {
                frame.accumulator = Some(value);
            }
        }
        self.run(&fold.result, inits)
    }
}

/// Sets aside an error that something around may absorb; what ends the evaluation is passed on at once.
fn settle<T>(result: Result<T, EvalError>) -> Result<Result<T, EvalError>, EvalError> {
    match result {
        Err(error) if error.is_cancelled() => Err(error),
        result => Ok(result),
    }
}

/// Whether the call is the step of a collecting fold.
fn takes_accumulator(call: &Call) -> bool {
    matches!(
        call.arguments.first(),
        Some(Plan::Attribute(first))
            if matches!(first.root, Root::Fold { which: FoldVariable::TakenAccumulator, .. })
    )
}

fn no_overload(name: &str, arguments: &[Value]) -> EvalError {
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

/// What an optional holds once it is selected from, or passes through a variable or a choice: upstream takes Go's value out
/// and makes a value of that again. So optionals within optionals are lost, and types become their names.
fn bare(value: Value) -> Value {
    match value {
        Value::Optional(Some(value)) => bare((*value).clone()),
        Value::Optional(None) => Value::Null,
        Value::Type(name) => Value::string(name.into_owned()),
        Value::Map(Map::Json { object, .. }) => Value::Map(Map::Json { object, unescapes: false }),
        Value::Map(Map::Extra { values, .. }) => {
            Value::Map(Map::Extra { values, unescapes: false })
        }
        Value::List(list) => Value::List(list.plain()),
        other => other,
    }
}

/// The position that a key means in a list; negative ones are out of bounds.
fn list_index(key: &Value) -> Result<i64, EvalError> {
    let bad_value = || EvalError::new(format!("unsupported index value {} in list", plain(key)));
    match key {
        Value::Int(index) => Ok(*index),
        Value::Uint(index) => i64::try_from(*index).map_err(|_| bad_value()),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "only whole numbers within the range pass"
        )]
        Value::Double(index)
            if index.fract() == 0.0 && *index > i64::MIN as f64 && *index < i64::MAX as f64 =>
        {
            Ok(*index as i64)
        }
        Value::Double(_) => Err(bad_value()),
        other => {
            Err(EvalError::new(format!("unsupported index type '{}' in list", type_of(other))))
        }
    }
}

type Element<'a> = (Answer<'a>, Option<Answer<'a>>);

/// What a fold goes over: elements, or keys; with two variables positions and elements, or keys and values.
fn elements<'a>(range: &Value<'a>, two_variables: bool) -> Result<Vec<Element<'a>>, EvalError> {
    match (range, two_variables) {
        (Value::List(list), false) => Ok(list.iterate().map(|item| (Ok(item), None)).collect()),
        (Value::List(list), true) => Ok((0..)
            .map(Value::Int)
            .map(Ok)
            .zip(list.by_position().map(|item| Some(Ok(item))))
            .collect()),
        (Value::Map(map), false) => {
            Ok(map.iterate().into_iter().map(|key| (Ok(key), None)).collect())
        }
        (Value::Map(map), true) if map.is_variable() => Ok(map
            .iterate()
            .into_iter()
            .map(|key| {
                let value = field(map, &key);
                (Ok(key), Some(value))
            })
            .collect()),
        (Value::Map(map), true) => {
            Ok(map.entries().into_iter().map(|(key, value)| (Ok(key), Some(Ok(value)))).collect())
        }
        (other, true) => Err(EvalError::new(format!(
            "unsupported comprehension range type: {}",
            other.go_type()
        ))),
        (other, false) => {
            Err(EvalError::new(format!("got '{}', expected iterable type", other.go_type())))
        }
    }
}

/// What a fold begins with, if it is empty, is a new list or map of the fold's own, as upstream.
fn fresh_if_empty(value: Value) -> Value {
    match value {
        Value::List(list) if list.is_empty() => Value::List(List::default()),
        Value::Map(map) if map.len() == 0 => Value::Map(Map::default()),
        other => other,
    }
}

fn field<'a>(map: &Map<'a>, key: &Value<'a>) -> Answer<'a> {
    map.find(key)?.ok_or_else(|| EvalError::new(format!("no such key: {}", plain(key))))
}
