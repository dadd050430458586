//! Comprehensions. Source: cel-go v0.26, `interpreter/interpretable.go` (`evalFold`).

use kube_rules::Difference;

use super::{Evaluation, Frame, attributes::field, is_cancelled};
use crate::{
    cost,
    error::EvalError,
    plan::{Attribute, Fold, FoldVariable, Plan, Root},
    value::{EvalResult, Value, list::List, map::Map},
};

impl<'a> Evaluation<'a> {
    pub(super) fn fold<'p>(&mut self, fold: &'p Fold, inits: &[&'p Plan]) -> EvalResult<'a> {
        let range = self.run(&fold.range, inits)?;
        let unescapes = self.meter.rules().has(Difference::UnescapedElements);
        let elements = Elements::of(range, fold.two_variables, unescapes)?;
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
        mut elements: Elements<'a>,
        inits: &[&'p Plan],
    ) -> EvalResult<'a> {
        if let Some(collected) = Collected::by(fold) {
            self.collect_all(collected, fold.depth, &mut elements, inits)?;
        }
        for element in elements {
            self.enter(fold.depth, element)?;
            // A condition that is no boolean does not end the fold.
            match self.run(&fold.condition, inits) {
                Ok(Value::Bool(false)) => break,
                Err(error) if error.is_cancelled() => return Err(error),
                _ => {}
            }
            let value = self.run(&fold.step, inits);
            if is_cancelled(&value) {
                return value;
            }
            self.accumulate(fold.depth, value);
        }
        self.run(&fold.result, inits)
    }

    /// Makes the element the value of the fold's variables.
    fn enter(&mut self, depth: usize, element: Element<'a>) -> Result<(), EvalError> {
        self.meter.work(1)?;
        if let Some(frame) = self.frames.get_mut(depth) {
            (frame.first, frame.second) = (Some(element.0), element.1);
        }
        Ok(())
    }

    fn accumulate(&mut self, depth: usize, value: EvalResult<'a>) {
        if let Some(frame) = self.frames.get_mut(depth) {
            frame.accumulator = Some(value);
        }
    }

    /// Goes over the elements up to the first whose step fails. The values go to the end of one list, and what the steps of that list would
    /// have cost is counted all the same.
    fn collect_all<'p>(
        &mut self,
        collected: Collected<'p>,
        depth: usize,
        elements: &mut Elements<'a>,
        inits: &[&'p Plan],
    ) -> Result<(), EvalError> {
        let room = if collected.condition.is_none() { elements.len() } else { 0 };
        let mut items = Vec::with_capacity(room);
        for element in elements.by_ref() {
            self.enter(depth, element)?;
            match self.collected(collected, inits) {
                Ok(Some(value)) => items.push(value),
                Ok(None) => {}
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => {
                    self.accumulate(depth, Err(error));
                    return Ok(());
                }
            }
        }
        self.accumulate(depth, Ok(Value::list(items)));
        Ok(())
    }

    /// What the present element adds to the list.
    fn collected<'p>(
        &mut self,
        collected: Collected<'p>,
        inits: &[&'p Plan],
    ) -> Result<Option<Value<'a>>, EvalError> {
        if let Some(condition) = collected.condition {
            match self.run(condition, inits)? {
                Value::Bool(true) => {}
                Value::Bool(false) => return Ok(None),
                _ => return Err(EvalError::no_such_overload()),
            }
        }
        // The accumulator, a list of one, and the sum of both.
        self.meter.charge(cost::SELECT)?;
        let value = self.run(collected.element, inits);
        if let Err(error) = value {
            if !error.is_cancelled() && !self.meter.rules().has(Difference::ErrorCost) {
                self.meter.charge(cost::LIST)?;
                self.meter.charge(1)?;
            }
            return Err(error);
        }
        self.meter.charge(cost::LIST)?;
        self.meter.work(1)?;
        self.meter.charge(1)?;
        value.map(Some)
    }
}

/// What a fold like those of `map` and `filter` makes a list of: the elements for which the condition is true, or all.
#[derive(Clone, Copy)]
struct Collected<'p> {
    condition: Option<&'p Plan>,
    element: &'p Plan,
}

impl<'p> Collected<'p> {
    /// If the fold begins with nothing, goes on to the end, and its step is `accumulator + [element]`, or
    /// `condition ? accumulator + [element] : accumulator`.
    fn by(fold: &'p Fold) -> Option<Self> {
        let (Plan::Constant(Value::List(init)), Plan::Constant(Value::Bool(true))) =
            (&fold.init, &fold.condition)
        else {
            return None;
        };
        if !init.is_empty() {
            return None;
        }
        let (condition, sum) = match &fold.step {
            Plan::Attribute(attribute) => {
                let Attribute { root: Root::Conditional { condition, branches }, .. } =
                    &**attribute
                else {
                    return None;
                };
                let [Attribute { root: Root::Value(sum), .. }, other] = &**branches else {
                    return None;
                };
                let is_plain = |it: &Attribute| it.qualifiers.is_empty() && !it.test;
                let is_whole = is_plain(attribute) && branches.iter().all(is_plain);
                if !is_whole || !is_accumulator(other, fold.depth, FoldVariable::Accumulator) {
                    return None;
                }
                (Some(condition), sum)
            }
            step => (None, step),
        };
        let Plan::Call(call) = sum else { return None };
        let [Plan::Attribute(taken), Plan::List { elements }] = call.arguments.as_slice() else {
            return None;
        };
        let [(element, false)] = elements.as_slice() else { return None };
        let is_sum = call.function.name == "_+_" && call.cost().is_none();
        (is_sum && is_accumulator(taken, fold.depth, FoldVariable::TakenAccumulator))
            .then_some(Self { condition, element })
    }
}

fn is_accumulator(attribute: &Attribute, of: usize, wanted: FoldVariable) -> bool {
    attribute.qualifiers.is_empty()
        && !attribute.test
        && matches!(&attribute.root, Root::Fold { depth, which } if *depth == of && *which == wanted)
}

type Element<'a> = (EvalResult<'a>, Option<EvalResult<'a>>);

/// What a fold goes over: elements, or keys; with two variables positions and elements, or keys and values.
enum Elements<'a> {
    /// Those of a list, which are made one after the other.
    List {
        list: List<'a>,
        next: usize,
        has_positions: bool,
    },
    Others(std::vec::IntoIter<Element<'a>>),
}

impl<'a> Elements<'a> {
    fn of(range: Value<'a>, two_variables: bool, unescapes: bool) -> Result<Self, EvalError> {
        let others: Vec<Element<'a>> = match (range, two_variables) {
            (Value::List(list), _) => {
                let list = if two_variables || unescapes { list } else { list.plain() };
                return Ok(Self::List { list, next: 0, has_positions: two_variables });
            }
            (Value::Map(map), false) => {
                map.iterate().into_iter().map(|key| (Ok(key), None)).collect()
            }
            (Value::Map(map), true) if map.is_variable() => map
                .iterate()
                .into_iter()
                .map(|key| {
                    let value = field(&map, &key);
                    (Ok(key), Some(value))
                })
                .collect(),
            (Value::Map(map), true) => {
                map.entries().into_iter().map(|(key, value)| (Ok(key), Some(Ok(value)))).collect()
            }
            (other, true) => {
                return Err(EvalError::new(format!(
                    "unsupported comprehension range type: {}",
                    other.go_type()
                )));
            }
            (other, false) => {
                return Err(EvalError::new(format!(
                    "got '{}', expected iterable type",
                    other.go_type()
                )));
            }
        };
        Ok(Self::Others(others.into_iter()))
    }

    /// How many are left.
    fn len(&self) -> usize {
        match self {
            Self::List { list, next, .. } => list.len().saturating_sub(*next),
            Self::Others(others) => others.len(),
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            Self::List { list, next, has_positions } => {
                let item = list.get(*next)?;
                let position = i64::try_from(*next).unwrap_or(i64::MAX);
                *next = next.saturating_add(1);
                Some(if *has_positions {
                    (Ok(Value::Int(position)), Some(Ok(item)))
                } else {
                    (Ok(item), None)
                })
            }
            Self::Others(others) => others.next(),
        }
    }
}

/// What a fold begins with, if it is empty, is a new list or map of the fold's own, as upstream.
pub(super) fn fresh_if_empty(value: Value) -> Value {
    match value {
        Value::List(list) if list.is_empty() => Value::List(List::default()),
        Value::Map(map) if map.len() == 0 => Value::Map(Map::default()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use go_compat::json;
    use kube_rules::Rules;

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{Environment, Limits, Program, activation::Variables, compile, plan::Key};

    /// The outermost fold goes step by step: its condition is as true as before, and costs as little, but is no constant any more. So it is
    /// with the names of what is selected in it.
    fn step_by_step(program: &mut Program) {
        let Plan::Fold(fold) = &mut program.plan else { panic!("{}", program.expression) };
        assert!(Collected::by(fold).is_some(), "{}", program.expression);
        fold.condition = Plan::And(Vec::new());
        assert!(Collected::by(fold).is_none());
        compute_keys(&mut fold.step);
    }

    fn compute_keys(plan: &mut Plan) {
        match plan {
            Plan::Attribute(attribute) => compute_attribute_keys(attribute),
            Plan::Call(call) => call.arguments.iter_mut().for_each(compute_keys),
            Plan::Equal { sides, .. } => sides.iter_mut().for_each(compute_keys),
            Plan::List { elements } => elements.iter_mut().for_each(|(it, _)| compute_keys(it)),
            _ => {}
        }
    }

    fn compute_attribute_keys(attribute: &mut Attribute) {
        for qualifier in &mut attribute.qualifiers {
            if let Key::Constant(name) = &qualifier.key {
                qualifier.key = Key::Computed(Plan::Constant(name.clone()));
            }
        }
        match &mut attribute.root {
            Root::Value(plan) => compute_keys(plan),
            Root::Conditional { condition, branches } => {
                compute_keys(condition);
                branches.iter_mut().for_each(compute_attribute_keys);
            }
            _ => {}
        }
    }

    #[test]
    fn a_list_that_is_collected_is_the_one_of_its_steps_and_costs_as_much() {
        const ANSWER: &[u8] = br#"{"groups": [{"n": "a"}, {"n": "b", "n": "c"}, {"m": 1}, 2]}"#;
        let answer = json::parse_in_place(ANSWER, json::Limits { depth: 9, values: 99 }).unwrap();
        let claims = json::Object::default();
        for (expression, fails) in [
            ("[1, 2, 3].map(x, x * 2)", false),
            ("[1, 2, 3].filter(x, x > 3)", false),
            ("[1, 2, 3].map(x, x > 1, [x])", false),
            ("[[1], [], [2]].map(x, x)", false),
            ("['a', 'b', 'c'].transformList(i, v, i > 0, v + string(i))", false),
            ("{'a': 1, 'b': 2}.map(k, k)", false),
            ("answer.groups.filter(g, dyn(g) != 2 && has(g.n)).map(g, g.n)", false),
            ("answer.groups.filter(g, type(g) == map).filter(g, g.?n.orValue('') == 'a')", false),
            ("answer.groups.filter(g, dyn(g) != 2).map(g, g.n == 'c', g.n)", true),
            ("answer.groups.filter(g, type(g) == map && 'n' in g).map(g, g.n == 'c', g.n)", false),
            ("answer.groups.map(g, g == 2, g)", false),
            ("[1, 2].map(x, [1, 2, 3].filter(y, y > x))", false),
            ("[].map(x, x)", false),
            ("[1, 0, 2].map(x, 1 / x)", true),
            ("[1, 2, 0].filter(x, 1 / x == 1)", true),
            ("[2, 0, 1, 0].map(x, 1 / x > 0, x)", true),
            ("[1, 0, 2].map(x, x < 2, 1 / x)", true),
            ("[dyn(true), dyn(1), dyn(true)].filter(x, x)", true),
            ("[1, 2, 0].map(x, [1].map(y, y / x))", true),
            ("answer.groups.map(g, g.n)", true),
            ("answer.groups.filter(g, g['n'] == 'a')", true),
        ] {
            for rules in Rules::ALL {
                let all = compile(expression, Environment::Answer, rules).unwrap();
                let mut steps = compile(expression, Environment::Answer, rules).unwrap();
                step_by_step(&mut steps);
                let run = |program: &Program, limits| {
                    let found = program.run(Variables::Answer(&answer, &claims), limits);
                    (format!("{:?}", found.result), found.result.is_err(), found.cost)
                };
                let (_, is_err, cost) = run(&all, Limits::default());
                assert_eq!(is_err, fails, "{expression}");
                for cost in 0..=cost {
                    let limits = Limits { cost, ..Limits::default() };
                    assert_eq!(run(&all, limits), run(&steps, limits), "{expression}, {limits:?}");
                }
                for work in 0..60 {
                    let limits = Limits { work, ..Limits::default() };
                    assert_eq!(run(&all, limits), run(&steps, limits), "{expression}, {limits:?}");
                }
            }
        }
    }
}
