//! CEL expressions: what kube-apiserver's compiler refuses is refused at load.

use std::sync::Arc;

use apiserver_cel::{CompileError, Environment, Program};
use kube_rules::Rules;

use crate::config::error::{ErrorKind, Errors, FieldError};

pub(super) const BOTH_SET: &str = "claim and expression can't both be set";
pub(super) const NEITHER_SET: &str = "claim or expression is required";
pub(super) const WITH_EXPRESSION: &str = "may not be specified when expression is set";

/// Compiles an expression that may give anything; what it gives is checked when it runs.
pub(super) fn mapping(
    errors: &mut Errors,
    path: &str,
    expression: &str,
    rules: Rules,
) -> Option<Arc<Program>> {
    compile(errors, path, expression, Environment::Claims, rules)
}

/// Compiles a rule, whose static type must be exactly bool: `any` would not do.
pub(super) fn rule(
    errors: &mut Errors,
    path: &str,
    expression: &str,
    environment: Environment,
    rules: Rules,
) -> Option<Arc<Program>> {
    let program = compile(errors, path, expression, environment, rules)?;
    if !program.is_exactly_bool() {
        errors.push(FieldError::invalid(path, expression, "must evaluate to bool"));
        return None;
    }
    Some(program)
}

fn compile(
    errors: &mut Errors,
    path: &str,
    expression: &str,
    environment: Environment,
    rules: Rules,
) -> Option<Arc<Program>> {
    match apiserver_cel::compile(expression, environment, rules) {
        Ok(program) => Some(Arc::new(program)),
        Err(error) => {
            let text = error.to_string();
            errors.push(match error {
                CompileError::Compilation(_) => FieldError::invalid(path, expression, text),
                CompileError::Instantiation(_) => {
                    FieldError::new(path, ErrorKind::Internal, None, text)
                }
            });
            None
        }
    }
}
