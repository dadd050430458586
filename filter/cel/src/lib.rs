//! CEL as kube-apiserver's structured authentication has it: the two environments and one for whole requests, the checks at load, the functions, the
//! values, the texts of errors and the cost limit of k8s.io/apiserver, by the rules of one of its versions ([`Rules`]).
//!
//! An expression is compiled once ([`compile`]) and run for each token ([`Program::evaluate`]). The way of an expression:
//! [`parse`] (grammar and macros), [`check`] (names and types), [`validate`] (literals), [`planner`] (names
//! resolved, constants folded), [`eval`] with [`cost`] and [`meter`].

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod activation;
mod ast;
mod check;
mod cost;
mod error;
mod escape;
mod estimate;
mod eval;
mod function;
mod library;
mod meter;
mod parse;
mod plan;
mod planner;
mod portability;
mod regex;
mod types;
mod usage;
mod validate;
mod value;

use self::activation::Variables;
use self::ast::{Kind, Node};
use self::eval::Evaluation;
use self::meter::Meter;
pub use activation::Activation;
pub use check::{Environment, Variable};
pub use error::{CompileError, EvalError};
pub use estimate::Sizes;
pub use kube_rules::Rules;
pub use meter::{COST_LIMIT, Limits, WORK_LIMIT};
pub use portability::depends_on;
pub use regex::Pattern;
pub use usage::Usage;
pub use value::list::List;
pub use value::map::UserInfo;
pub use value::request::RequestAttributes;
pub use value::{Text, Value};

/// The seconds since 1970 of a time as `timestamp()` reads it (RFC 3339); `None` if it is none.
#[must_use]
pub fn unix_seconds(text: &str) -> Option<i64> {
    value::timestamp::Timestamp::parse(text).ok().map(|time| time.seconds)
}

/// A time of so many seconds since 1970 as RFC 3339 writes it, in UTC; `None` outside of years 1 to 9999.
#[must_use]
pub fn format_unix(seconds: i64) -> Option<String> {
    value::timestamp::Timestamp::from_unix(seconds).map(|time| time.format_utc())
}

use std::borrow::Cow;

use go_compat::json;

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    expression: String,
    environment: Environment,
    rules: Rules,
    output: types::Type,
    plan: plan::Plan,
    /// Fields that are selected from the only variable itself.
    selected: Vec<String>,
    claims: Usage,
    reads_address: bool,
}

/// What an evaluation gave and cost.
#[derive(Debug)]
pub struct Evaluated<'a> {
    /// The value, or why there is none.
    pub result: Result<Value<'a>, EvalError>,
    /// By upstream's count.
    pub cost: u64,
}

/// A value is not what a mapping takes: `expression must return a string or a list of strings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expression must return a string or a list of strings")]
pub struct NotStrings;

/// Messages of one refusal, as upstream: each repeats a line of the source.
const MOST_ISSUES: usize = 100;

fn failed(mut issues: impl ExactSizeIterator<Item = String>) -> CompileError {
    let mut texts: Vec<_> = issues.by_ref().take(MOST_ISSUES).collect();
    if issues.len() > 0 {
        texts.push(format!("{} more errors were truncated", issues.len()));
    }
    CompileError::Compilation(texts.join("\n"))
}

/// Compiles an expression, by the rules of a version of Kubernetes.
///
/// # Errors
/// If kube-apiserver's compiler refuses it; see [`CompileError`] for what the text is worth.
pub fn compile(
    expression: &str,
    environment: Environment,
    rules: Rules,
) -> Result<Program, CompileError> {
    let tree = parse::parse(expression, rules).map_err(|errors| {
        let texts = errors.iter().map(|error| located(expression, error.at, &error.text));
        failed(texts)
    })?;
    let issues = |issues: Vec<check::Issue>| {
        let texts = issues.iter().map(|issue| located(expression, Some(issue.at), &issue.text));
        failed(texts)
    };
    let checked = check::check(&tree, environment, rules).map_err(issues)?;
    let invalid = validate::validate(&tree, &checked);
    if !invalid.is_empty() {
        return Err(issues(invalid));
    }
    let plan = planner::plan(&tree, &checked, environment, rules)
        .map_err(|error| CompileError::Instantiation(error.to_string()))?;
    Ok(Program {
        expression: expression.to_owned(),
        environment,
        rules,
        output: checked.type_of(&tree).clone(),
        plan,
        selected: selected(&tree, environment),
        claims: usage::of(&tree, Variable::Claims),
        reads_address: environment == Environment::Request
            && usage::of(&tree, Variable::Request).includes("address"),
    })
}

impl Program {
    /// The source that was compiled.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The environment it was compiled for.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The static type, for example `google.protobuf.Any` for a claim.
    #[must_use]
    pub fn output_type(&self) -> String {
        self.output.runtime_signature()
    }

    /// Whether the static type is `bool` and not merely something that may turn out to be one: what validation rules must be.
    #[must_use]
    pub fn is_exactly_bool(&self) -> bool {
        self.output == types::Type::Bool
    }

    /// Whether the expression selects this field from the variable itself: `claims.email`, `claims.?email` or
    /// `has(claims.email)` anywhere in it, but not `claims["email"]`. The rule about `email_verified` asks this.
    #[must_use]
    pub fn selects(&self, field: &str) -> bool {
        self.selected.iter().any(|name| name == field)
    }

    /// What it reads of `claims`.
    #[must_use]
    pub fn claims(&self) -> &Usage {
        &self.claims
    }

    /// Whether it may read `request.address`.
    #[must_use]
    pub fn reads_address(&self) -> bool {
        self.reads_address
    }

    /// What an evaluation may cost at most, roughly, where values are of these sizes: to refuse at load what could hardly end within a
    /// limit. The limit itself holds at each evaluation.
    #[must_use]
    pub fn estimate(&self, sizes: Sizes) -> u64 {
        estimate::estimate(&self.plan, sizes)
    }

    /// Evaluates an expression over claims.
    ///
    /// # Errors
    /// Upstream's text, for example `no such key: hd`.
    pub fn evaluate<'a>(&'a self, claims: &'a json::Object) -> Result<Value<'a>, EvalError> {
        self.evaluate_counted(claims).result
    }

    /// The same, with the cost.
    #[must_use]
    pub fn evaluate_counted<'a>(&'a self, claims: &'a json::Object) -> Evaluated<'a> {
        self.run(Variables::Claims(claims), Limits::default())
    }

    /// Evaluates an expression over a user.
    ///
    /// # Errors
    /// Upstream's text.
    pub fn evaluate_user<'a>(&'a self, user: &'a UserInfo<'a>) -> Result<Value<'a>, EvalError> {
        self.evaluate_user_counted(user).result
    }

    /// The same, with the cost.
    #[must_use]
    pub fn evaluate_user_counted<'a>(&'a self, user: &'a UserInfo<'a>) -> Evaluated<'a> {
        self.run(Variables::User(user), Limits::default())
    }

    /// Evaluates an expression over a request.
    #[must_use]
    pub fn evaluate_request<'a>(
        &'a self,
        activation: &'a Activation<'a>,
        limits: Limits,
    ) -> Evaluated<'a> {
        self.run(Variables::Request(activation), limits)
    }

    /// Evaluates an expression over what a server answered, and the claims of the user that it is about.
    #[must_use]
    pub fn evaluate_answer<'a>(
        &'a self,
        answer: &'a json::Node<'a>,
        claims: &'a json::Object,
        limits: Limits,
    ) -> Evaluated<'a> {
        self.run(Variables::Answer(answer, claims), limits)
    }

    /// Evaluates an expression over a user, and the claims of the token that it signed in with.
    #[must_use]
    pub fn evaluate_person<'a>(
        &'a self,
        user: &'a UserInfo<'a>,
        claims: &'a json::Object,
        limits: Limits,
    ) -> Evaluated<'a> {
        self.run(Variables::Person(user, claims), limits)
    }

    /// Whether the static type is a list, or may turn out to be one.
    #[must_use]
    pub fn may_be_list(&self) -> bool {
        matches!(self.output, types::Type::List(_) | types::Type::Dyn | types::Type::Any)
    }

    /// Whether the static type is a string, or may turn out to be one.
    #[must_use]
    pub fn may_be_string(&self) -> bool {
        matches!(self.output, types::Type::String | types::Type::Dyn | types::Type::Any)
    }

    fn run<'a>(&'a self, variables: Variables<'a>, limits: Limits) -> Evaluated<'a> {
        let mut evaluation = Evaluation::new(variables, Meter::limited(self.rules, limits));
        let result = evaluation.evaluate(&self.plan);
        Evaluated { result, cost: evaluation.cost() }
    }
}

impl Value<'_> {
    /// The strings that a mapping to groups or extra values takes from it: a string, a list of strings, or none for null.
    /// Empty strings are left out.
    ///
    /// # Errors
    /// If it is anything else. A list that a function made of strings (`split`, `findAll`) is no list of strings, as
    /// upstream.
    pub fn to_string_list(&self) -> Result<Vec<String>, NotStrings> {
        Ok(self.to_texts()?.iter().map(|text| text.to_string()).collect())
    }
}

impl<'a> Value<'a> {
    /// The same where they stand.
    ///
    /// # Errors
    /// As for [`Self::to_string_list`].
    pub fn to_texts(&self) -> Result<Vec<Text<'a>>, NotStrings> {
        match self {
            Value::Null => Ok(Vec::new()),
            Value::String(text) if text.is_empty() => Ok(Vec::new()),
            Value::String(text) => Ok(vec![text.clone()]),
            Value::List(List::Native(_) | List::Strings(_)) => Err(NotStrings),
            Value::List(list) => {
                let mut texts = Vec::with_capacity(list.len());
                for item in list.by_position() {
                    let text = go_string(item).ok_or(NotStrings)?;
                    if !text.is_empty() {
                        texts.push(text);
                    }
                }
                Ok(texts)
            }
            _ => Err(NotStrings),
        }
    }
}

/// What Go has as a string beneath the value: also the name of a type, and an optional's value.
fn go_string(value: Value<'_>) -> Option<Text<'_>> {
    match value {
        Value::String(text) => Some(text),
        Value::Type(Cow::Borrowed(name)) => Some(Text::Borrowed(name)),
        Value::Type(Cow::Owned(name)) => Some(Text::Shared(name.into())),
        Value::Optional(Some(value)) => go_string((*value).clone()),
        _ => None,
    }
}

/// A message with its place, as upstream prints it.
fn located(source: &str, at: Option<usize>, text: &str) -> String {
    let Some((line, column)) = at.map(|at| line_and_column(source, at)) else {
        return format!("ERROR: <input>:-1:0: {text}");
    };
    let snippet = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let dots = ".".repeat(column.saturating_sub(1));
    format!("ERROR: <input>:{line}:{column}: {text}\n | {snippet}\n | {dots}^")
}

/// Both from 1; columns count characters.
fn line_and_column(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn selected(tree: &Node, environment: Environment) -> Vec<String> {
    let [variable] = environment.variables() else { return Vec::new() };
    let is_variable =
        |node: &Node| matches!(&node.kind, Kind::Ident(name) if name == variable.name());
    let mut names = Vec::new();
    tree.walk(&mut |node, _| match &node.kind {
        Kind::Select { operand, field, .. } if is_variable(operand) => names.push(field.clone()),
        Kind::Call(call) if call.function == "_?._" => {
            if let [operand, Node { kind: Kind::Literal(Value::String(field)), .. }] =
                call.arguments.as_slice()
                && is_variable(operand)
            {
                names.push(field.to_string());
            }
        }
        _ => {}
    });
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
