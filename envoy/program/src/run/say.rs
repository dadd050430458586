//! What the program tells its operator.

use std::fmt::Display;

/// Tells the operator something, in one line on standard error.
pub(crate) fn say(what: impl Display) {
    eprintln!("kube-oidc-gateway: {what}");
}
