//! From the checked tree to what is evaluated: names become places, calls their code, constant parts their values. Source:
//! cel-go v0.26, `interpreter/planner.go` and `decorators.go` with the options of kube-apiserver (constants folded, constant
//! regular expressions compiled).

use std::sync::Arc;

use kube_rules::Rules;

use crate::{
    ast::{Call as AstCall, Fold as AstFold, Kind, Node},
    check::{Checked, Environment, Reference, named_type},
    error::EvalError,
    eval::Evaluation,
    library::{Function, Overload},
    plan::{Attribute, Call, Fold, FoldVariable, Key, Plan, Qualifier, RegexCall, Root},
    regex::{self, Operation},
    types::Type,
    value::{
        Value,
        map::{Map, is_key, put},
    },
};

/// Plans an expression.
///
/// # Errors
/// If a constant part has no value.
pub fn plan(
    tree: &Node,
    checked: &Checked,
    environment: Environment,
    rules: Rules,
) -> Result<Plan, EvalError> {
    Planner { checked, environment, rules, scopes: Vec::new(), depth: 0 }.node(tree)
}

struct Planner<'c> {
    checked: &'c Checked,
    environment: Environment,
    rules: Rules,
    /// Variables of macros, innermost last.
    scopes: Vec<(String, usize, FoldVariable)>,
    depth: usize,
}

impl Planner<'_> {
    fn node(&mut self, node: &Node) -> Result<Plan, EvalError> {
        match &node.kind {
            Kind::Literal(value) => Ok(Plan::Constant(value.clone())),
            Kind::Ident(_) => self.name(node),
            Kind::Select { operand, field, test } => self.select(node, operand, field, *test),
            Kind::Call(call) => self.call(node, call),
            Kind::List { elements, optional } => self.list(elements, optional),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name } => Err(EvalError::new(format!("unknown type: {name}"))),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn nodes(&mut self, nodes: &[Node]) -> Result<Vec<Plan>, EvalError> {
        nodes.iter().map(|node| self.node(node)).collect()
    }

    fn name(&self, node: &Node) -> Result<Plan, EvalError> {
        match self.checked.reference(node) {
            Some(Reference::UndefinedType(name)) => Err(undefined_type(name)),
            // What has the type of a type is taken for a type's name, upstream.
            Some(Reference::Variable(name)) if self.is_type(node) => match named_type(name) {
                Some((name, _)) => Ok(Plan::Constant(Value::Type(name.into()))),
                None => Err(undefined_type(name)),
            },
            Some(Reference::TypeName(name)) => Ok(Plan::Constant(Value::Type((*name).into()))),
            Some(Reference::Environment { variable, hidden }) => {
                Ok(attribute(Root::Environment { variable: *variable, hidden: *hidden }))
            }
            Some(Reference::Variable(name))
                if let Some((_, depth, which)) =
                    self.scopes.iter().rev().find(|(variable, ..)| variable == name) =>
            {
                Ok(attribute(Root::Fold { depth: *depth, which: *which }))
            }
            _ => {
                let names = self.environment.variables().iter().map(|variable| variable.name());
                let names = names.collect::<Vec<_>>().join(", ");
                Err(EvalError::new(format!("no such attribute(s): {names}")))
            }
        }
    }

    fn is_type(&self, node: &Node) -> bool {
        matches!(self.checked.type_of(node), Type::Type(_))
    }

    fn select(
        &mut self,
        node: &Node,
        operand: &Node,
        field: &str,
        test: bool,
    ) -> Result<Plan, EvalError> {
        if self.checked.reference(node).is_some() {
            return self.name(node);
        }
        let key = Key::Constant(Value::string(field));
        let mut attribute = into_attribute(self.node(operand)?);
        attribute.qualify(Qualifier { key, optional: false });
        attribute.test = test;
        Ok(Plan::Attribute(Box::new(attribute)))
    }

    fn index(&mut self, operand: &Node, index: &Node, optional: bool) -> Result<Plan, EvalError> {
        let mut attribute = into_attribute(self.node(operand)?);
        let key = match self.node(index)? {
            Plan::Constant(value) if is_key(&value) => Key::Constant(value),
            Plan::Constant(value) => {
                return Err(EvalError::new(format!("invalid qualifier type: {}", value.go_type())));
            }
            // Upstream, what it is made of is looked for outside of all macros.
            _ if matches!(attribute.root, Root::Environment { hidden: true, .. }) => {
                return Err(EvalError::new("no such attribute(s)"));
            }
            plan => Key::Computed(plan),
        };
        attribute.qualify(Qualifier { key, optional });
        Ok(Plan::Attribute(Box::new(attribute)))
    }

    fn call(&mut self, node: &Node, call: &AstCall) -> Result<Plan, EvalError> {
        let (function, fitting, global) = match self.checked.reference(node) {
            Some(Reference::Function { function, fitting, global }) => {
                (*function, fitting, *global)
            }
            Some(Reference::OptionalSelect) => {
                let [operand, field] = call.arguments.as_slice() else {
                    return Err(EvalError::no_such_overload());
                };
                return self.index(operand, field, true);
            }
            _ => return Err(EvalError::new(format!("no such overload: {}", call.function))),
        };
        if let ("_[_]" | "_[?_]", [operand, index]) = (function.name, call.arguments.as_slice()) {
            return self.index(operand, index, function.name == "_[?_]");
        }
        let mut arguments = Vec::with_capacity(call.arguments.len() + 1);
        if let Some(target) = call.target.as_deref().filter(|_| !global) {
            arguments.push(self.node(target)?);
        }
        arguments.extend(self.nodes(&call.arguments)?);
        let overload = match fitting.as_slice() {
            [only] => function.overloads.get(*only),
            _ => None,
        };
        match (function.name, <[Plan; 2]>::try_from(arguments)) {
            ("_&&_", Ok(terms)) => Ok(Plan::And(terms.into())),
            ("_||_", Ok(terms)) => Ok(Plan::Or(terms.into())),
            ("_==_", Ok(sides)) => Ok(Plan::Equal { sides: Box::new(sides), negated: false }),
            ("_!=_", Ok(sides)) => Ok(Plan::Equal { sides: Box::new(sides), negated: true }),
            ("or", Ok(sides)) => Ok(Plan::OptionalOr { sides: Box::new(sides), unwraps: false }),
            ("orValue", Ok(sides)) => {
                Ok(Plan::OptionalOr { sides: Box::new(sides), unwraps: true })
            }
            ("@in", Ok([value, Plan::Constant(Value::List(list))]))
                if overload.is_some_and(|overload| overload.row.id == "in_list") =>
            {
                Ok(membership(function, overload, value, Value::List(list)))
            }
            (_, Ok(arguments)) => {
                self.finish(Call { function, overload, arguments: arguments.into() })
            }
            ("_&&_", Err(terms)) => Ok(Plan::And(terms)),
            ("_||_", Err(terms)) => Ok(Plan::Or(terms)),
            ("_?_:_", Err(parts)) => conditional(parts),
            ("@not_strictly_false", Err(mut parts)) => {
                let part = parts.pop().ok_or_else(EvalError::no_such_overload)?;
                Ok(Plan::NotStrictlyFalse(Box::new(part)))
            }
            (_, Err(arguments)) => self.finish(Call { function, overload, arguments }),
        }
    }

    fn list(&mut self, elements: &[Node], optional: &[usize]) -> Result<Plan, EvalError> {
        let plans = self.nodes(elements)?;
        if let Some(values) = plans.iter().map(constant).collect::<Option<Vec<_>>>() {
            return Ok(Plan::Constant(Value::list(values)));
        }
        let elements = plans.into_iter().enumerate().map(|(i, plan)| (plan, optional.contains(&i)));
        Ok(Plan::List { elements: elements.collect() })
    }

    fn map(&mut self, entries: &[crate::ast::Entry]) -> Result<Plan, EvalError> {
        let mut plans = Vec::with_capacity(entries.len());
        for entry in entries {
            plans.push((self.node(&entry.key)?, self.node(&entry.value)?, entry.optional));
        }
        let constants = plans.iter().map(|(key, value, _)| constant(key).zip(constant(value)));
        if let Some(constants) = constants.collect::<Option<Vec<_>>>() {
            let mut entries: Vec<(Value, Value)> = Vec::new();
            for (key, value) in constants {
                if matches!(key, Value::Bytes(_)) {
                    return Err(EvalError::unhashable());
                }
                put(&mut entries, key, value);
            }
            return Ok(Plan::Constant(Value::Map(Map::new(entries))));
        }
        Ok(Plan::Map { entries: plans })
    }

    fn fold(&mut self, fold: &AstFold) -> Result<Plan, EvalError> {
        let depth = self.depth;
        let outer = self.scopes.len();
        let init = self.node(&fold.init)?;
        let range = self.node(&fold.range)?;
        self.depth += 1;
        self.scopes.push((fold.accumulator.clone(), depth, FoldVariable::Accumulator));
        let inner = self.scopes.len();
        self.scopes.push((fold.variable.clone(), depth, FoldVariable::First));
        if let Some(name) = &fold.second_variable {
            self.scopes.push((name.clone(), depth, FoldVariable::Second));
        }
        let condition = self.node(&fold.condition)?;
        let mut step = self.node(&fold.step)?;
        self.scopes.truncate(inner);
        let result = self.node(&fold.result)?;
        self.scopes.truncate(outer);
        self.depth = depth;
        if let Plan::Constant(Value::List(_) | Value::Map(_)) = init {
            take_accumulator(&mut step, depth);
        }
        let two_variables = fold.second_variable.is_some();
        Ok(Plan::Fold(Box::new(Fold {
            depth,
            range,
            two_variables,
            init,
            condition,
            step,
            result,
        })))
    }

    /// Folds conversions of constants and compiles constant patterns.
    fn finish(&self, call: Call) -> Result<Plan, EvalError> {
        let operation = Operation::of(call.function.name);
        let is_folded = |name: &str| {
            CONVERSIONS.contains(&name)
                || self.environment == Environment::Request && MORE_CONVERSIONS.contains(&name)
        };
        match (call.function.name, call.arguments.as_slice()) {
            (name, [Plan::Constant(_)]) if is_folded(name) => {
                let plan = Plan::Call(Box::new(call));
                Evaluation::constant(&plan, self.rules).map(Plan::Constant)
            }
            (_, [_, Plan::Constant(Value::String(pattern)), ..])
                if let Some(operation) = operation =>
            {
                let regex = Arc::new(regex::compile(pattern).map_err(EvalError::new)?);
                Ok(Plan::Regex(Box::new(RegexCall { call, operation, regex })))
            }
            _ => Ok(Plan::Call(Box::new(call))),
        }
    }
}

/// Functions whose calls with constants are values, upstream.
const CONVERSIONS: [&str; 10] =
    ["bool", "bytes", "double", "dyn", "duration", "int", "string", "timestamp", "type", "uint"];
/// Likewise where nothing is counted as upstream counts: what is no address is refused at load.
const MORE_CONVERSIONS: [&str; 4] = ["cidr", "ip", "quantity", "semver"];

impl Attribute {
    fn qualify(&mut self, qualifier: Qualifier) {
        self.qualifiers.push(qualifier);
    }
}

fn undefined_type(name: &str) -> EvalError {
    EvalError::new(format!("reference to undefined type: {name}"))
}

fn attribute(root: Root) -> Plan {
    Plan::Attribute(Box::new(Attribute { root, qualifiers: Vec::new(), test: false }))
}

/// The attribute that a part is, or one that begins with its value.
fn into_attribute(plan: Plan) -> Attribute {
    match plan {
        Plan::Attribute(attribute) if !attribute.test => *attribute,
        plan => Attribute { root: Root::Value(plan), qualifiers: Vec::new(), test: false },
    }
}

fn conditional(parts: Vec<Plan>) -> Result<Plan, EvalError> {
    let [condition, truthy, falsy] =
        <[Plan; 3]>::try_from(parts).map_err(|_| EvalError::no_such_overload())?;
    let branches = Box::new([into_attribute(truthy), into_attribute(falsy)]);
    Ok(attribute(Root::Conditional { condition, branches }))
}

fn constant(plan: &Plan) -> Option<Value<'static>> {
    match plan {
        Plan::Constant(value) => Some(value.clone()),
        _ => None,
    }
}

/// `value in [constants]`: a set if all are primitive, and nothing at all if there are none.
fn membership(
    function: &'static Function,
    overload: Option<&'static Overload>,
    value: Plan,
    list: Value<'static>,
) -> Plan {
    let Value::List(items) = &list else { return Plan::Constant(Value::Bool(false)) };
    if items.is_empty() {
        return Plan::Constant(Value::Bool(false));
    }
    if items.by_position().all(|item| is_key(&item)) {
        return Plan::Member { value: Box::new(value), set: items.by_position().collect() };
    }
    Plan::Call(Box::new(Call { function, overload, arguments: vec![value, Plan::Constant(list)] }))
}

/// Lets the step of a collecting fold take its accumulator instead of copying it.
fn take_accumulator(step: &mut Plan, fold: usize) {
    let call = match step {
        Plan::Call(call) => call,
        Plan::Attribute(attribute) => {
            if let Root::Conditional { branches, .. } = &mut attribute.root {
                let [Attribute { root: Root::Value(taken), .. }, _] = &mut **branches else {
                    return;
                };
                take_accumulator(taken, fold);
            }
            return;
        }
        _ => return,
    };
    if !matches!(call.function.name, "_+_" | "cel.@mapInsert") {
        return;
    }
    if let Some(Plan::Attribute(first)) = call.arguments.first_mut()
        && let Root::Fold { depth, which } = &mut first.root
        && *depth == fold
        && *which == FoldVariable::Accumulator
        && first.qualifiers.is_empty()
    {
        *which = FoldVariable::TakenAccumulator;
    }
}
