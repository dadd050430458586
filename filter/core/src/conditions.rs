//! Conditions on requests: they can only refuse, and each has a name.
//!
//! A request that kube-apiserver would read otherwise than a condition does would pass it. So its attributes are those of
//! [`kube_request`], which is held to kube-apiserver's own answers, and a request that kube-apiserver would not read is refused.

use std::rc::Rc;

use apiserver_cel::{
    Activation, Environment, EvalError, Evaluated, Limits, Program, RequestAttributes, Usage,
    UserInfo, Value,
};
use go_compat::json;
use kube_authn::Identity;
use kube_request::RequestInfo;
use kube_rules::Rules;

pub use crate::documents::Fault;

use crate::{
    config::{Condition, RequiredLogin},
    expression::{self, LIMITS, user},
};

const ACR: &str = "acr";
const AUTH_TIME: &str = "auth_time";

/// Compiled conditions, in their order.
#[derive(Debug, Default)]
pub struct Conditions {
    all: Vec<Compiled>,
    claims: Usage,
    reads_address: bool,
}

#[derive(Debug)]
struct Compiled {
    name: String,
    message: String,
    /// For which requests it holds; all if there is none.
    applies: Option<Program>,
    expression: Option<Program>,
    login: RequiredLogin,
}

/// What is decided on.
pub struct Facts<'a> {
    /// What is asked for.
    pub request: &'a RequestInfo,
    /// Gives the client's address; asked only if a condition reads it.
    pub address: &'a dyn Fn() -> String,
    /// What the client says of itself.
    pub user_agent: &'a str,
    /// Who signed in.
    pub user: &'a Identity,
    /// Whom the client asks to be, if anybody else.
    pub impersonated: Option<&'a Identity>,
    /// The claims of the token that the user signed in with, or those of them that [`Conditions::claims`] names.
    pub claims: &'a json::Object,
    /// The time since 1970.
    pub now: std::time::Duration,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The condition's place among all.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// What the client is told.
    pub message: String,
    /// What was found.
    pub cause: Cause,
}

/// What was found of a condition that refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its expression is false.
    False,
    /// An expression of it cannot be evaluated.
    Error(String),
    /// The login was another than it asks for, or is too long ago.
    Login(RequiredLogin),
}

impl Cause {
    /// A word of a closed set, for metrics.
    #[must_use]
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::False => "false",
            Self::Error(_) => "error",
            Self::Login(_) => "login",
        }
    }
}

impl Conditions {
    /// Compiles conditions whose other fields are good.
    ///
    /// # Errors
    /// If an expression does not compile, is no `bool`, or could cost too much.
    pub(crate) fn compile(conditions: &[Condition], rules: Rules) -> Result<Self, Fault> {
        let mut all = Vec::with_capacity(conditions.len());
        for (index, condition) in conditions.iter().enumerate() {
            let program = |field: &str, text: &str| {
                if text.is_empty() {
                    return Ok(None);
                }
                let field = format!("conditions[{index}].{field}");
                let fault = |why| Fault { field, got: text.to_owned(), why };
                expression::program(text, Environment::Request, rules).map(Some).map_err(fault)
            };
            all.push(Compiled {
                name: condition.name.clone(),
                message: condition.message.clone(),
                applies: program("match", &condition.r#match)?,
                expression: program("expression", &condition.expression)?,
                login: condition.login.clone(),
            });
        }
        let mut claims = Usage::default();
        for condition in &all {
            let fields = [
                (!condition.login.acr.is_empty()).then_some(ACR),
                (condition.login.max_age_seconds > 0).then_some(AUTH_TIME),
            ];
            claims
                .extend(&Usage::Fields(fields.into_iter().flatten().map(str::to_owned).collect()));
            condition.programs().for_each(|program| claims.extend(program.claims()));
        }
        let reads_address = all.iter().flat_map(Compiled::programs).any(Program::reads_address);
        Ok(Self { all, claims, reads_address })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Their names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|condition| condition.name.as_str())
    }

    /// Whether any of them reads the client's address.
    #[must_use]
    pub fn read_address(&self) -> bool {
        self.reads_address
    }

    /// What has to be kept of a token's claims.
    #[must_use]
    pub fn claims(&self, claims: &json::Object) -> Option<Rc<json::Object>> {
        match &self.claims {
            Usage::Everything => Some(Rc::new(claims.clone())),
            Usage::Fields(fields) if fields.is_empty() => None,
            Usage::Fields(fields) => {
                let kept = claims.members().filter(|(name, _)| fields.contains(*name));
                let kept = kept.map(|(name, value)| (name.to_owned(), value.clone()));
                Some(Rc::new(kept.collect()))
            }
        }
    }

    /// Whether a request fulfils all of them.
    ///
    /// # Errors
    /// The first that it does not.
    pub fn judge(&self, facts: &Facts<'_>) -> Result<(), Denial> {
        if self.all.is_empty() {
            return Ok(());
        }
        let address = if self.reads_address { (facts.address)() } else { String::new() };
        let request = facts.request;
        let activation = Activation {
            request: RequestAttributes {
                verb: &request.verb,
                group: &request.api_group,
                version: &request.api_version,
                resource: &request.resource,
                subresource: &request.subresource,
                namespace: &request.namespace,
                name: &request.name,
                path: &request.path,
                address: &address,
                user_agent: facts.user_agent,
            },
            user: user(facts.user),
            impersonated: facts.impersonated.map_or(UserInfo::NOBODY, user),
            claims: facts.claims,
            now: facts.now,
        };
        let mut budget = LIMITS;
        for (index, condition) in self.all.iter().enumerate() {
            condition.judge(&activation, &mut budget).map_err(|cause| {
                let Compiled { name, message, .. } = condition;
                Denial { index, name: name.clone(), message: message.clone(), cause }
            })?;
        }
        Ok(())
    }
}

impl Compiled {
    fn programs(&self) -> impl Iterator<Item = &Program> {
        self.applies.iter().chain(&self.expression)
    }

    fn judge(&self, activation: &Activation<'_>, budget: &mut Limits) -> Result<(), Cause> {
        let mut holds = |program: &Option<Program>| match program {
            Some(program) => holds(program, activation, budget),
            None => Ok(true),
        };
        let error = |field: &str, error: EvalError| Cause::Error(format!("{field}: {error}"));
        if !holds(&self.applies).map_err(|why| error("match", why))? {
            return Ok(());
        }
        if !self.login.is_met(activation) {
            return Err(Cause::Login(self.login.clone()));
        }
        if holds(&self.expression).map_err(|why| error("expression", why))? {
            Ok(())
        } else {
            Err(Cause::False)
        }
    }
}

impl RequiredLogin {
    /// Whether the token's login is one that is asked for. A claim of another type than OpenID Connect Core 1.0, section 2, gives it
    /// counts as none.
    fn is_met(&self, activation: &Activation<'_>) -> bool {
        let acr = || match activation.claims.get(ACR) {
            Some(json::Value::String(acr)) => self.acr.iter().any(|it| it == acr),
            _ => false,
        };
        let is_young = || match activation.claims.get(AUTH_TIME) {
            Some(json::Value::Number(at)) => {
                at.as_unix_seconds().and_then(|at| u64::try_from(at).ok()).is_some_and(|at| {
                    activation.now.as_secs().saturating_sub(at) <= self.max_age_seconds.into()
                })
            }
            _ => false,
        };
        (self.acr.is_empty() || acr()) && (self.max_age_seconds == 0 || is_young())
    }
}

/// Evaluates an expression, and takes its cost from what the request may cost.
fn holds(
    program: &Program,
    activation: &Activation<'_>,
    budget: &mut Limits,
) -> Result<bool, EvalError> {
    let Evaluated { result, cost } = program.evaluate_request(activation, *budget);
    budget.cost = budget.cost.saturating_sub(cost);
    match result? {
        Value::Bool(value) => Ok(value),
        _ => Err(EvalError::no_such_overload()),
    }
}
