//! The type checker: what kube-apiserver's compiler refuses is refused here. Source: cel-go v0.26, `checker/checker.go` with
//! the options of kube-apiserver (literals of one type, comparison of numbers across types).

use kube_rules::{Difference, Rules};

use crate::{
    ast::{Call, Fold, Kind, Node},
    library::{self, Function, Overload},
    types::{Bindings, Type, most_general},
    value::request::{REQUEST, RequestAttributes},
};

/// What an expression is about: which variables there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// `claims`, as kube-apiserver has it for claim mappings and claim rules.
    Claims,
    /// `user`, as kube-apiserver has it for user rules.
    User,
    /// `request`, `user`, `impersonated`, `claims` and `now`: a request that is decided on. kube-apiserver has no such environment.
    Request,
    /// `answer` and `claims`: what a server said of the user whose claims they are. kube-apiserver has no such environment.
    Answer,
    /// `user` and `claims`: somebody who has signed in, whatever is asked for. kube-apiserver has no such environment.
    Person,
}

impl Environment {
    /// Its variables.
    #[must_use]
    pub fn variables(self) -> &'static [Variable] {
        use Variable::{Answer, Claims, Impersonated, Now, Request, User};
        match self {
            Self::Claims => &[Claims],
            Self::User => &[User],
            Self::Request => &[Request, User, Impersonated, Claims, Now],
            Self::Answer => &[Answer, Claims],
            Self::Person => &[User, Claims],
        }
    }

    fn variable(self, name: &str) -> Option<Variable> {
        self.variables().iter().copied().find(|variable| variable.name() == name)
    }
}

/// A variable of an [`Environment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `request`: what is asked for, by whom on the network.
    Request,
    /// `user`: who signed in, or who the token was mapped to: `username`, `uid`, `groups`, `extra`.
    User,
    /// `impersonated`: who the user acts as, of the same form, with empty fields if nobody.
    Impersonated,
    /// `claims`: the token's claims, a map of anything.
    Claims,
    /// `now`: a timestamp.
    Now,
    /// `answer`: any JSON.
    Answer,
}

impl Variable {
    /// Its name in expressions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::User => "user",
            Self::Impersonated => "impersonated",
            Self::Claims => "claims",
            Self::Now => "now",
            Self::Answer => "answer",
        }
    }

    fn known(self) -> Type {
        match self {
            Self::Request => Type::Struct(REQUEST),
            Self::User | Self::Impersonated => Type::Struct(USER_INFO),
            Self::Claims => Type::map(Type::String, Type::Any),
            Self::Now => Type::Timestamp,
            Self::Answer => Type::Dyn,
        }
    }
}

const USER_INFO: &str = "kubernetes.UserInfo";

/// What a name or a call turned out to be.
#[derive(Debug, Clone)]
pub enum Reference {
    /// A variable of the environment, which a macro's of the same name may hide.
    Environment { variable: Variable, hidden: bool },
    /// A type that upstream finds in the checker and not in the planner.
    UndefinedType(String),
    /// A variable of a macro.
    Variable(String),
    /// A type's name.
    TypeName(&'static str),
    /// A function with the overloads that fit the types. It is called without target if `global`.
    Function { function: &'static Function, fitting: Vec<usize>, global: bool },
    /// `.?field`, which has no overloads.
    OptionalSelect,
}

/// Types and meanings, by the number of the node.
#[derive(Debug, Default)]
pub struct Checked {
    types: Vec<Option<Type>>,
    references: Vec<Option<Reference>>,
}

impl Checked {
    /// The type of a node.
    pub fn type_of(&self, node: &Node) -> &Type {
        self.types.get(node.id).and_then(Option::as_ref).unwrap_or(&Type::Error)
    }

    /// What the node refers to.
    pub fn reference(&self, node: &Node) -> Option<&Reference> {
        self.references.get(node.id).and_then(Option::as_ref)
    }
}

/// Something wrong, and where.
#[derive(Debug)]
pub struct Issue {
    pub at: usize,
    pub text: String,
}

/// Checks an expression.
///
/// # Errors
/// Everything that is wrong with names and types.
pub fn check(tree: &Node, environment: Environment, rules: Rules) -> Result<Checked, Vec<Issue>> {
    let mut checker = Checker {
        environment,
        rules,
        scopes: Vec::new(),
        bindings: Bindings::default(),
        checked: Checked::default(),
        issues: Vec::new(),
    };
    checker.visit(tree);
    if !checker.issues.is_empty() {
        return Err(checker.issues);
    }
    let Checker { bindings, mut checked, .. } = checker;
    for known in checked.types.iter_mut().flatten() {
        *known = bindings.resolve(known);
    }
    Ok(checked)
}

struct Checker {
    environment: Environment,
    rules: Rules,
    /// Variables of macros, innermost last.
    scopes: Vec<(String, Type)>,
    bindings: Bindings,
    checked: Checked,
    issues: Vec<Issue>,
}

impl Checker {
    fn issue(&mut self, node: &Node, text: String) {
        self.issues.push(Issue { at: node.at, text });
    }

    fn set(&mut self, node: &Node, known: Type) {
        let types = &mut self.checked.types;
        if types.len() <= node.id {
            types.resize(node.id + 1, None);
        }
        if let Some(slot) = types.get_mut(node.id) {
            *slot = Some(known);
        }
    }

    fn refer(&mut self, node: &Node, reference: Reference) {
        let references = &mut self.checked.references;
        if references.len() <= node.id {
            references.resize(node.id + 1, None);
        }
        if let Some(slot) = references.get_mut(node.id) {
            *slot = Some(reference);
        }
    }

    /// Checks a part and returns its type.
    fn visit(&mut self, node: &Node) -> Type {
        let known = match &node.kind {
            Kind::Literal(value) => literal_type(value),
            Kind::Ident(name) => self.ident(node, name),
            Kind::Select { operand, field, test } => self.select(node, operand, field, *test),
            Kind::Call(call) => self.call(node, call),
            Kind::List { elements, optional } => self.list(elements, optional),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name } => {
                // No type that can be written so is of use here.
                self.undeclared(node, name)
            }
            Kind::Fold(fold) => self.fold(fold),
        };
        self.set(node, known.clone());
        known
    }

    fn undeclared(&mut self, node: &Node, name: &str) -> Type {
        let container =
            if self.rules.has(Difference::NoContainer) { "" } else { " (in container '')" };
        self.issue(node, format!("undeclared reference to '{name}'{container}"));
        Type::Error
    }

    /// What a name stands for: a variable, the innermost first, or a type.
    fn lookup(&self, name: &str) -> Option<(Reference, Type)> {
        let (name, rooted) = match name.strip_prefix('.') {
            Some(rest) => (rest, self.rules.has(Difference::RootNames)),
            None => (name, false),
        };
        let local = |name: &str| self.scopes.iter().rev().find(|(variable, _)| variable == name);
        if let Some((_, known)) = local(name).filter(|_| !rooted) {
            return Some((Reference::Variable(name.to_owned()), known.clone()));
        }
        let begins_locally = name.split('.').next().is_some_and(|first| local(first).is_some());
        if begins_locally && !rooted && self.rules.has(Difference::RootNames) {
            return None;
        }
        if let Some(variable) = self.environment.variable(name) {
            let hidden = rooted && begins_locally;
            return Some((Reference::Environment { variable, hidden }, variable.known()));
        }
        let (name, known) = named_type(name).or_else(|| {
            (name == USER_INFO && self.environment == Environment::User)
                .then_some((USER_INFO, Type::Struct(USER_INFO)))
        })?;
        let reference = if name == USER_INFO {
            Reference::UndefinedType(name.to_owned())
        } else if rooted && begins_locally && !self.rules.has(Difference::RootTypes) {
            Reference::UndefinedType(format!(".{name}"))
        } else {
            Reference::TypeName(name)
        };
        Some((reference, Type::Type(Some(Box::new(known)))))
    }

    fn ident(&mut self, node: &Node, name: &str) -> Type {
        match self.lookup(name) {
            Some((reference, known)) => {
                self.refer(node, reference);
                known
            }
            None => self.undeclared(node, name),
        }
    }

    fn select(&mut self, node: &Node, operand: &Node, field: &str, test: bool) -> Type {
        if let Some((reference, known)) = node.qualified_name().and_then(|name| self.lookup(&name))
        {
            self.refer(node, reference);
            return known;
        }
        let selected = self.field(node, operand, field, false);
        if test { Type::Bool } else { self.bindings.substitute(&selected) }
    }

    fn field(&mut self, node: &Node, operand: &Node, field: &str, optional: bool) -> Type {
        let operand = self.visit(operand);
        let operand = self.bindings.substitute(&operand);
        let (target, was_optional) = operand.unwrap_optional();
        let selected = match target {
            Type::Map(_, value) => (**value).clone(),
            Type::Struct(name) => self.struct_field(node, name, field),
            Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, target);
                Type::Dyn
            }
            Type::Dyn | Type::Any | Type::Error => Type::Dyn,
            other => {
                self.issue(node, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if was_optional || optional { Type::optional(selected) } else { selected }
    }

    fn struct_field(&mut self, node: &Node, name: &str, field: &str) -> Type {
        if !matches!(name, USER_INFO | REQUEST) {
            self.issue(node, format!("unexpected failed resolution of '{name}'"));
            return Type::Error;
        }
        match (name, field) {
            (USER_INFO, "username" | "uid") => Type::String,
            (USER_INFO, "groups") => Type::list(Type::String),
            (USER_INFO, "extra") => Type::map(Type::String, Type::list(Type::String)),
            (REQUEST, field) if RequestAttributes::FIELDS.contains(&field) => Type::String,
            _ => {
                self.issue(node, format!("undefined field '{field}'"));
                Type::Error
            }
        }
    }

    fn call(&mut self, node: &Node, call: &Call) -> Type {
        if call.function == "_?._" {
            return self.optional_select(node, call);
        }
        for argument in &call.arguments {
            self.visit(argument);
        }
        let Some(target) = &call.target else {
            let name = call.function.strip_prefix('.').unwrap_or(&call.function);
            return match library::function(name, self.rules) {
                Some(function) => self.resolve(node, function, None, &call.arguments),
                None => self.undeclared(node, &call.function),
            };
        };
        let qualified = target.qualified_name().and_then(|prefix| {
            let prefix = prefix.strip_prefix('.').unwrap_or(&prefix);
            library::function(&format!("{prefix}.{}", call.function), self.rules)
        });
        if let Some(function) = qualified {
            return self.resolve(node, function, None, &call.arguments);
        }
        self.visit(target);
        match library::function(&call.function, self.rules) {
            Some(function) => self.resolve(node, function, Some(target), &call.arguments),
            None => self.undeclared(node, &call.function),
        }
    }

    fn optional_select(&mut self, node: &Node, call: &Call) -> Type {
        let [operand, field] = call.arguments.as_slice() else {
            self.issue(node, "unsupported optional field selection".to_owned());
            return Type::Error;
        };
        let Kind::Literal(crate::value::Value::String(name)) = &field.kind else {
            self.issue(field, "unsupported optional field selection".to_owned());
            return Type::Error;
        };
        self.set(field, Type::String);
        let selected = self.field(node, operand, name, true);
        self.refer(node, Reference::OptionalSelect);
        self.bindings.substitute(&selected)
    }

    fn known(&self, node: &Node) -> Type {
        self.checked.type_of(node).clone()
    }

    fn resolve(
        &mut self,
        node: &Node,
        function: &'static Function,
        target: Option<&Node>,
        arguments: &[Node],
    ) -> Type {
        let types: Vec<Type> =
            target.into_iter().chain(arguments).map(|part| self.known(part)).collect();
        if matches!(function.name, "_&&_" | "_||_") {
            return self.logical(node, function, arguments);
        }
        let mut result: Option<Type> = None;
        let mut fitting = Vec::new();
        for (index, overload) in function.overloads.iter().enumerate() {
            if overload.member != target.is_some() {
                continue;
            }
            let (parameters, returned) = self.instantiate(overload);
            if !self.bindings.all_assignable(&types, &parameters) {
                continue;
            }
            fitting.push(index);
            let returned = self.bindings.substitute(&returned);
            result = Some(match result {
                None => returned,
                Some(known) if known.is_dyn() || known == returned => known,
                Some(_) => Type::Dyn,
            });
        }
        let Some(result) = result else {
            let shown: Vec<String> =
                types.iter().map(|part| self.bindings.resolve(part).to_string()).collect();
            let signature = match shown.split_first() {
                Some((first, rest)) if target.is_some() => format!("{first}.({})", rest.join(", ")),
                _ => format!("({})", shown.join(", ")),
            };
            self.issue(
                node,
                format!(
                    "found no matching overload for '{}' applied to '{signature}'",
                    function.name
                ),
            );
            return Type::Error;
        };
        self.refer(node, Reference::Function { function, fitting, global: target.is_none() });
        result
    }

    fn logical(&mut self, node: &Node, function: &'static Function, terms: &[Node]) -> Type {
        let mut result = Type::Bool;
        for term in terms {
            let known = self.known(term);
            if !self.bindings.assignable(&known, &Type::Bool) {
                self.issue(term, format!("expected type 'bool' but found '{known}'"));
                result = Type::Error;
            }
        }
        self.refer(node, Reference::Function { function, fitting: vec![0], global: true });
        result
    }

    /// The types of an overload, its letters replaced by variables of this call alone.
    fn instantiate(&mut self, overload: &Overload) -> (Vec<Type>, Type) {
        let letters = ['A', 'B', 'K', 'T', 'V'].map(|letter| (letter, self.bindings.fresh()));
        let fresh = |letter| {
            letters
                .iter()
                .find(|(known, _)| *known == letter)
                .map_or(Type::Dyn, |(_, variable)| variable.clone())
        };
        let parameters =
            overload.arguments.iter().map(|argument| argument.instantiate(&fresh)).collect();
        (parameters, overload.result.instantiate(&fresh))
    }

    /// The type of an optional element, without the optional.
    fn element(&mut self, node: &Node, optional: bool) -> Type {
        let known = self.visit(node);
        if !optional {
            return known;
        }
        let (inner, is_optional) = known.unwrap_optional();
        if !is_optional && !known.is_dyn() {
            let text =
                format!("expected type '{}' but found '{known}'", Type::optional(known.clone()));
            self.issue(node, text);
        }
        inner.clone()
    }

    fn list(&mut self, elements: &[Node], optional: &[usize]) -> Type {
        let mut joined = None;
        for (index, element) in elements.iter().enumerate() {
            let known = self.element(element, optional.contains(&index));
            joined = Some(self.join(joined, known));
        }
        Type::list(joined.unwrap_or_else(|| self.bindings.fresh()))
    }

    fn map(&mut self, entries: &[crate::ast::Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let key = self.visit(&entry.key);
            keys = Some(self.join(keys, key));
            let value = self.element(&entry.value, entry.optional);
            values = Some(self.join(values, value));
        }
        let keys = keys.unwrap_or_else(|| self.bindings.fresh());
        Type::map(keys, values.unwrap_or_else(|| self.bindings.fresh()))
    }

    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else { return current };
        if self.bindings.assignable(&previous, &current) {
            return most_general(&previous, &current).clone();
        }
        // Literals of mixed types are refused later, except as arguments of `format`.
        Type::Dyn
    }

    fn mismatch(&mut self, node: &Node, expected: &Type, found: &Type) {
        self.issue(node, format!("expected type '{expected}' but found '{found}'"));
    }

    fn fold(&mut self, fold: &Fold) -> Type {
        let range = self.visit(&fold.range);
        let accumulator = self.visit(&fold.init);
        let range = self.bindings.substitute(&range);
        let outer = self.scopes.len();
        self.scopes.push((fold.accumulator.clone(), accumulator.clone()));
        let (first, second) = match &range {
            Type::List(element) if fold.second_variable.is_some() => {
                (Type::Int, (**element).clone())
            }
            Type::List(element) => ((**element).clone(), Type::Error),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let text = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.issue(&fold.range, text);
                (Type::Error, Type::Error)
            }
        };
        let inner = self.scopes.len();
        self.scopes.push((fold.variable.clone(), first));
        if let Some(name) = &fold.second_variable {
            self.scopes.push((name.clone(), second));
        }
        let condition = self.visit(&fold.condition);
        self.expect(&fold.condition, &Type::Bool, &condition);
        let step = self.visit(&fold.step);
        self.expect(&fold.step, &accumulator, &step);
        self.scopes.truncate(inner);
        let result = self.visit(&fold.result);
        self.scopes.truncate(outer);
        self.bindings.substitute(&result)
    }

    fn expect(&mut self, node: &Node, wanted: &Type, found: &Type) {
        if !self.bindings.assignable(wanted, found) {
            self.mismatch(node, wanted, found);
        }
    }
}

fn literal_type(value: &crate::value::Value) -> Type {
    use crate::value::Value;
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        _ => Type::Error,
    }
}

/// Types that have a name in expressions.
pub fn named_type(name: &str) -> Option<(&'static str, Type)> {
    let dynamic = || Box::new(Type::Dyn);
    Some(match name {
        "bool" => ("bool", Type::Bool),
        "bytes" => ("bytes", Type::Bytes),
        "double" => ("double", Type::Double),
        "google.protobuf.Duration" => ("google.protobuf.Duration", Type::Duration),
        "google.protobuf.Timestamp" => ("google.protobuf.Timestamp", Type::Timestamp),
        "int" => ("int", Type::Int),
        "list" => ("list", Type::List(dynamic())),
        "map" => ("map", Type::Map(dynamic(), dynamic())),
        "net.CIDR" => ("net.CIDR", Type::Opaque("net.CIDR", Vec::new())),
        "net.IP" => ("net.IP", Type::Opaque("net.IP", Vec::new())),
        "null_type" => ("null_type", Type::Null),
        "optional_type" => ("optional_type", Type::Opaque("optional_type", Vec::new())),
        "string" => ("string", Type::String),
        "type" => ("type", Type::Type(None)),
        "uint" => ("uint", Type::Uint),
        _ => return None,
    })
}
