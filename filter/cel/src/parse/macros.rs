//! The macros of kube-apiserver's environment. Source: cel-go v0.26, `parser/macro.go`, `cel/library.go` (optionals),
//! `ext/comprehensions.go` (two variables) and `ext/lists.go` (`sortBy`).

use super::Builder;
use crate::{
    ast::{Call, Fold, Kind, Node},
    value::Value,
};

const ACCUMULATOR: &str = "@result";

/// The call, or what the macro that it is makes of it.
pub fn expand(builder: &mut Builder, at: usize, call: Call) -> Kind {
    let mut expansion = Expansion { builder, at };
    let Call { function, target, mut arguments } = call;
    let Some(target) = target else {
        return match (function.as_str(), arguments.pop()) {
            ("has", Some(argument)) if arguments.is_empty() => expansion.has(argument),
            (_, last) => {
                arguments.extend(last);
                Kind::Call(Call { function, target: None, arguments })
            }
        };
    };
    let count = arguments.len();
    let is_macro = match function.as_str() {
        "all" | "exists" | "exists_one" | "map" => count == 2 || count == 3,
        "existsOne" => count == 3,
        "filter" | "optMap" | "optFlatMap" | "sortBy" => count == 2,
        "transformList" | "transformMap" | "transformMapEntry" => count == 3 || count == 4,
        _ => false,
    };
    if !is_macro {
        return Kind::Call(Call { function, target: Some(target), arguments });
    }
    let (target, mut rest) = (*target, arguments.into_iter());
    let Some(first) = rest.next() else { return expansion.nothing() };
    match function.as_str() {
        "optMap" | "optFlatMap" => expansion.on_optional(&function, target, &first, rest.next()),
        "sortBy" => expansion.sort_by(target, &first, rest.next()),
        "map" | "filter" => expansion.one_variable(&function, target, &first, rest.collect()),
        "all" | "exists" | "exists_one" if count == 2 => {
            expansion.one_variable(&function, target, &first, rest.collect())
        }
        _ => {
            let Some(second) = rest.next() else { return expansion.nothing() };
            expansion.two_variables(&function, target, (&first, &second), rest.collect())
        }
    }
}

/// What a fold does to each element.
struct Plan {
    init: Kind,
    condition: Node,
    step: Node,
    result: Node,
}

struct Expansion<'b> {
    builder: &'b mut Builder,
    at: usize,
}

impl Expansion<'_> {
    fn make(&mut self, kind: Kind) -> Node {
        self.builder.make(self.at, kind)
    }

    fn literal(&mut self, value: Value<'static>) -> Node {
        self.make(Kind::Literal(value))
    }

    fn ident(&mut self, name: &str) -> Node {
        self.make(Kind::Ident(name.to_owned()))
    }

    fn call(&mut self, function: &str, arguments: Vec<Node>) -> Node {
        self.make(Kind::Call(Call { function: function.to_owned(), target: None, arguments }))
    }

    fn member(&mut self, function: &str, target: Node, arguments: Vec<Node>) -> Node {
        let target = Some(Box::new(target));
        self.make(Kind::Call(Call { function: function.to_owned(), target, arguments }))
    }

    fn list(&mut self, elements: Vec<Node>) -> Node {
        self.make(Kind::List { elements, optional: Vec::new() })
    }

    fn nothing(&mut self) -> Kind {
        self.builder.refuse(self.at, "macro without arguments");
        Kind::Literal(Value::Null)
    }

    fn has(&mut self, argument: Node) -> Kind {
        if let Kind::Select { operand, field, .. } = argument.kind {
            Kind::Select { operand, field, test: true }
        } else {
            self.builder.refuse(argument.at, "invalid argument to has() macro");
            Kind::Literal(Value::Null)
        }
    }

    /// The name of a variable, which must be one and not the accumulator's.
    fn variable(&mut self, of: &Node, complaint: &str) -> String {
        match &of.kind {
            Kind::Ident(name) if name == ACCUMULATOR || name == "__result__" => {
                self.builder.refuse(of.at, "iteration variable overwrites accumulator variable");
                name.clone()
            }
            Kind::Ident(name) => name.clone(),
            _ => {
                self.builder.refuse(of.at, complaint);
                String::new()
            }
        }
    }

    fn one_variable(
        &mut self,
        function: &str,
        range: Node,
        variable: &Node,
        mut rest: Vec<Node>,
    ) -> Kind {
        let complaint = match function {
            "map" | "filter" => "argument is not an identifier",
            _ => "argument must be a simple name",
        };
        let name = self.variable(variable, complaint);
        let Some(last) = rest.pop() else { return self.nothing() };
        let plan = match function {
            "map" => self.transform_list(last, rest.pop()),
            "filter" => {
                let element = self.builder.copy(variable);
                self.transform_list(element, Some(last))
            }
            _ => self.quantifier(function, last),
        };
        self.fold(range, name, None, plan)
    }

    fn two_variables(
        &mut self,
        function: &str,
        range: Node,
        variables: (&Node, &Node),
        mut rest: Vec<Node>,
    ) -> Kind {
        const COMPLAINT: &str = "argument must be a simple name";
        let (first, second) =
            (self.variable(variables.0, COMPLAINT), self.variable(variables.1, COMPLAINT));
        if first == second && !first.is_empty() {
            self.builder.refuse(variables.1.at, format!("duplicate variable name: {first}"));
        }
        let Some(last) = rest.pop() else { return self.nothing() };
        let plan = match function {
            "transformList" => self.transform_list(last, rest.pop()),
            "transformMap" => {
                let key = self.ident(&first);
                self.transform_map(vec![key, last], rest.pop())
            }
            "transformMapEntry" => self.transform_map(vec![last], rest.pop()),
            _ => self.quantifier(function, last),
        };
        self.fold(range, first, Some(second), plan)
    }

    fn quantifier(&mut self, function: &str, predicate: Node) -> Plan {
        let accumulator = self.ident(ACCUMULATOR);
        let (init, condition, step) = match function {
            "all" => {
                let condition = self.call("@not_strictly_false", vec![accumulator]);
                let accumulator = self.ident(ACCUMULATOR);
                (Value::Bool(true), condition, self.call("_&&_", vec![accumulator, predicate]))
            }
            "exists" => {
                let not_yet = self.call("!_", vec![accumulator]);
                let condition = self.call("@not_strictly_false", vec![not_yet]);
                let accumulator = self.ident(ACCUMULATOR);
                (Value::Bool(false), condition, self.call("_||_", vec![accumulator, predicate]))
            }
            _ => {
                let one = self.literal(Value::Int(1));
                let more = self.call("_+_", vec![accumulator, one]);
                let accumulator = self.ident(ACCUMULATOR);
                let step = self.call("_?_:_", vec![predicate, more, accumulator]);
                (Value::Int(0), self.literal(Value::Bool(true)), step)
            }
        };
        let mut result = self.ident(ACCUMULATOR);
        if matches!(init, Value::Int(_)) {
            let one = self.literal(Value::Int(1));
            result = self.call("_==_", vec![result, one]);
        }
        Plan { init: Kind::Literal(init), condition, step, result }
    }

    fn transform_list(&mut self, element: Node, filter: Option<Node>) -> Plan {
        let element = self.list(vec![element]);
        let accumulator = self.ident(ACCUMULATOR);
        let step = self.call("_+_", vec![accumulator, element]);
        self.collect(Kind::List { elements: Vec::new(), optional: Vec::new() }, step, filter)
    }

    fn transform_map(&mut self, mut entry: Vec<Node>, filter: Option<Node>) -> Plan {
        entry.insert(0, self.ident(ACCUMULATOR));
        let step = self.call("cel.@mapInsert", entry);
        self.collect(Kind::Map(Vec::new()), step, filter)
    }

    fn collect(&mut self, init: Kind, step: Node, filter: Option<Node>) -> Plan {
        let step = match filter {
            Some(filter) => {
                let accumulator = self.ident(ACCUMULATOR);
                self.call("_?_:_", vec![filter, step, accumulator])
            }
            None => step,
        };
        Plan {
            init,
            condition: self.literal(Value::Bool(true)),
            step,
            result: self.ident(ACCUMULATOR),
        }
    }

    fn fold(
        &mut self,
        range: Node,
        variable: String,
        second_variable: Option<String>,
        plan: Plan,
    ) -> Kind {
        let accumulator = ACCUMULATOR.to_owned();
        let init = self.make(plan.init);
        let (condition, step, result) = (plan.condition, plan.step, plan.result);
        Kind::Fold(Box::new(Fold {
            range,
            variable,
            second_variable,
            accumulator,
            init,
            condition,
            step,
            result,
        }))
    }

    /// A fold over nothing, which gives `result` with `name` standing for `value`.
    fn bind(&mut self, name: &str, value: Node, result: Node) -> Node {
        let fold = Fold {
            range: self.list(Vec::new()),
            variable: "#unused".to_owned(),
            second_variable: None,
            accumulator: name.to_owned(),
            init: value,
            condition: self.literal(Value::Bool(false)),
            step: self.ident(name),
            result,
        };
        self.make(Kind::Fold(Box::new(fold)))
    }

    fn on_optional(
        &mut self,
        function: &str,
        target: Node,
        variable: &Node,
        body: Option<Node>,
    ) -> Kind {
        let Kind::Ident(name) = &variable.kind else {
            let text = format!("{function}() variable name must be a simple identifier");
            self.builder.refuse(variable.at, text);
            return Kind::Literal(Value::Null);
        };
        let Some(body) = body else { return self.nothing() };
        let copy = self.builder.copy(&target);
        let has_value = self.member("hasValue", target, Vec::new());
        let value = self.member("value", copy, Vec::new());
        let mut mapped = self.bind(name, value, body);
        if function == "optMap" {
            mapped = self.call("optional.of", vec![mapped]);
        }
        let none = self.call("optional.none", Vec::new());
        Kind::Call(Call {
            function: "_?_:_".to_owned(),
            target: None,
            arguments: vec![has_value, mapped, none],
        })
    }

    fn sort_by(&mut self, target: Node, variable: &Node, key: Option<Node>) -> Kind {
        const INPUT: &str = "@__sortBy_input__";
        if matches!(target.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Struct { .. }) {
            let text = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            self.builder.refuse(target.at, text);
        }
        let input = self.ident(INPUT);
        let keys = self.one_variable("map", input, variable, key.into_iter().collect());
        let (keys, input) = (self.make(keys), self.ident(INPUT));
        let sorted = self.member("@sortByAssociatedKeys", input, vec![keys]);
        self.bind(INPUT, target, sorted).kind
    }
}
