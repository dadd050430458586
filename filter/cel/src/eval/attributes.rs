//! Variables, fields and elements. Source: cel-go v0.26, `interpreter/attributes.go`.

use kube_rules::Difference;

use super::{Evaluation, Frame, folds::fresh_if_empty, is_cancelled, settle};
use crate::{
    cost,
    error::EvalError,
    plan::{Attribute, FoldVariable, Key, Plan, Qualifier, Root},
    value::{
        EvalResult, Value,
        display::{plain, type_of},
        map::{Map, is_key},
    },
};

/// An attribute's own qualifiers, and those behind them.
type Qualifiers<'q, 'p> = (&'p [Qualifier], &'q [&'p Qualifier]);

/// All in their order.
fn all<'q, 'p>(
    (own, more): Qualifiers<'q, 'p>,
) -> impl Iterator<Item = &'p Qualifier> + use<'q, 'p> {
    own.iter().chain(more.iter().copied())
}

impl<'a> Evaluation<'a> {
    pub(super) fn attribute<'p>(
        &mut self,
        attribute: &'p Attribute,
        inits: &[&'p Plan],
    ) -> EvalResult<'a> {
        if let Some(value) = self.of_element(attribute)? {
            return Ok(value);
        }
        let value = self.resolve(attribute, &[], attribute.test, inits);
        if is_cancelled(&value) {
            return value;
        }
        match (&attribute.root, attribute.test) {
            // A choice costs nothing, and a test gives a step back even then.
            (Root::Conditional { .. }, true) => self.meter.refund(cost::SELECT),
            (Root::Conditional { .. }, false) | (_, true) => {}
            (_, false) => self.meter.charge(cost::SELECT)?,
        }
        match value {
            Ok(Value::Optional(value)) if attribute.test => Ok(Value::Bool(value.is_some())),
            value => value,
        }
    }

    /// What most steps of a fold over a document ask for: the element, or a member of it if it is an object that has it.
    fn of_element(&mut self, attribute: &Attribute) -> Result<Option<Value<'a>>, EvalError> {
        let Attribute {
            root: Root::Fold { depth, which: FoldVariable::First }, test: false, ..
        } = attribute
        else {
            return Ok(None);
        };
        let Some(Frame { first: Some(Ok(element)), .. }) = self.frames.get(*depth) else {
            return Ok(None);
        };
        let found = match (element, attribute.qualifiers.as_slice()) {
            (Value::Optional(_), _) => return Ok(None),
            (element, []) => element.clone(),
            (
                Value::Map(Map::Json { object, unescapes: false }),
                [Qualifier { key: Key::Constant(Value::String(name)), optional: false }],
            ) => {
                let Some(found) = object.get(name) else { return Ok(None) };
                self.meter.work(1 + object.members().count() / 16)?;
                self.meter.charge(cost::SELECT)?;
                Value::from_json(found, false)
            }
            _ => return Ok(None),
        };
        self.meter.charge(cost::SELECT)?;
        Ok(Some(found))
    }

    /// The value of an attribute with more qualifiers behind its own.
    fn resolve<'p>(
        &mut self,
        attribute: &'p Attribute,
        more: &[&'p Qualifier],
        test: bool,
        inits: &[&'p Plan],
    ) -> EvalResult<'a> {
        let qualifiers = (attribute.qualifiers.as_slice(), more);
        let root = match &attribute.root {
            Root::Environment { variable, .. } => match self.variables.value(*variable) {
                Some(value) => value,
                None => return Err(EvalError::new("no such attribute(s)")),
            },
            Root::Fold { depth, which } => self.fold_variable(*depth, *which, inits)?,
            Root::Value(plan) => self.run(plan, inits)?,
            Root::Conditional { condition, branches } => {
                let [truthy, falsy] = &**branches;
                let qualifiers: Vec<&'p Qualifier> = all(qualifiers).collect();
                return match self.run(condition, inits)? {
                    Value::Bool(true) => self.resolve(truthy, &qualifiers, test, inits),
                    Value::Bool(false) => self.resolve(falsy, &qualifiers, test, inits),
                    _ => Err(EvalError::no_such_overload()),
                };
            }
        };
        let counts = !matches!(attribute.root, Root::Environment { hidden: true, .. });
        self.apply_qualifiers(root, qualifiers, test, counts, inits)
    }

    fn apply_qualifiers<'p>(
        &mut self,
        root: Value<'a>,
        qualifiers: Qualifiers<'_, 'p>,
        test: bool,
        counts: bool,
        inits: &[&'p Plan],
    ) -> EvalResult<'a> {
        let (mut value, mut optional) = match root {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(value)) if self.meter.rules().has(Difference::KeptValues) => {
                ((*value).clone(), true)
            }
            // Go's value of a variable is nothing that can be selected from.
            Value::Optional(Some(value))
                if all(qualifiers).next().is_some()
                    && matches!(&*value, Value::Map(map) if map.is_variable()) =>
            {
                return Err(EvalError::no_such_overload());
            }
            Value::Optional(Some(value)) => (bare((*value).clone()), true),
            value => (value, false),
        };
        let (own, more) = qualifiers;
        let last = own.len().saturating_add(more.len()).saturating_sub(1);
        for (position, qualifier) in all(qualifiers).enumerate() {
            optional = optional || qualifier.optional;
            let tests = test && position == last;
            let found = self.qualify(&value, qualifier, optional || tests, inits);
            if let Err(error) = &found
                && error.is_cancelled()
            {
                return Err(error.clone());
            }
            let fails_counted = self.meter.rules().has(Difference::ErrorCost) && found.is_err();
            if counts && (!optional || matches!(found, Ok(Some(_))) || fails_counted) {
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
                self.meter.work(1 + map.written() / 16)?;
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
    ) -> EvalResult<'a> {
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
}

/// What an optional holds once it is selected from, or passes through a variable or a choice: upstream takes Go's value out
/// and makes a value of that again. So optionals within optionals are lost, and types become their names.
pub(super) fn bare(value: Value) -> Value {
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

pub(super) fn field<'a>(map: &Map<'a>, key: &Value<'a>) -> EvalResult<'a> {
    map.find(key)?.ok_or_else(|| EvalError::new(format!("no such key: {}", plain(key))))
}
