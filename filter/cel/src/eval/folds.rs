//! Comprehensions. Source: cel-go v0.26, `interpreter/interpretable.go` (`evalFold`).

use kube_rules::Difference;

use super::{Evaluation, Frame, attributes::field, settle};
use crate::{
    error::EvalError,
    plan::{Fold, Plan},
    value::{EvalResult, Value, list::List, map::Map},
};

impl<'a> Evaluation<'a> {
    pub(super) fn fold<'p>(&mut self, fold: &'p Fold, inits: &[&'p Plan]) -> EvalResult<'a> {
        let range = self.run(&fold.range, inits)?;
        let unescapes = self.meter.rules().has(Difference::UnescapedElements);
        let elements = elements(&range, fold.two_variables, unescapes)?;
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
        elements: Vec<(EvalResult<'a>, Option<EvalResult<'a>>)>,
        inits: &[&'p Plan],
    ) -> EvalResult<'a> {
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

type Element<'a> = (EvalResult<'a>, Option<EvalResult<'a>>);

/// What a fold goes over: elements, or keys; with two variables positions and elements, or keys and values.
fn elements<'a>(
    range: &Value<'a>,
    two_variables: bool,
    unescapes: bool,
) -> Result<Vec<Element<'a>>, EvalError> {
    match (range, two_variables) {
        (Value::List(list), false) if unescapes => {
            Ok(list.by_position().map(|item| (Ok(item), None)).collect())
        }
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
pub(super) fn fresh_if_empty(value: Value) -> Value {
    match value {
        Value::List(list) if list.is_empty() => Value::List(List::default()),
        Value::Map(map) if map.len() == 0 => Value::Map(Map::default()),
        other => other,
    }
}
