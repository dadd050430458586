//! Expressions of the `GatewayConfiguration` that are true or false of somebody who has signed in.

use apiserver_cel::{Environment, Limits, Program, Sizes, UserInfo, compile};
use kube_authn::Identity;
use kube_rules::Rules;

/// What the conditions of one request may cost together, and likewise the expressions of all rules of elevation. kube-apiserver gives each
/// expression of an admission policy ten times as much, and has a whole machine.
pub(crate) const LIMITS: Limits = Limits { cost: 100_000, work: 500_000 };
/// What an estimate assumes of texts and lists of which nothing is known: longer and more than most are.
const SIZES: Sizes = Sizes { text: 256, elements: 32 };

/// Compiles an expression that is true or false, and could hardly cost more than [`LIMITS`] allow.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn program(
    text: &str,
    environment: Environment,
    rules: Rules,
) -> Result<Program, String> {
    let program = compile(text, environment, rules).map_err(|error| error.to_string())?;
    if !program.is_exactly_bool() {
        return Err(format!("must be a bool and not a {}", program.output_type()));
    }
    let estimate = program.estimate(SIZES);
    if estimate > LIMITS.cost {
        let most = LIMITS.cost;
        return Err(format!(
            "could cost {estimate}, and all of them may cost {most} together: let it look at fewer lists within lists"
        ));
    }
    Ok(program)
}

/// A user, as expressions see it.
pub(crate) fn user(identity: &Identity) -> UserInfo<'_> {
    let Identity { username, uid, groups, extra } = identity;
    UserInfo { username, uid, groups, extra }
}
