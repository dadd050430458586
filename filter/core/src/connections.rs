//! How the limit on connections without a user, which has a module of its own (`filter/connections`), learns whose user is
//! known.

/// The property of a connection that says that one of its requests has been let through for a user who signed in. Envoy
/// keeps it as filter state `wasm.signed_in` for as long as the connection lasts, also when a VM dies.
pub const SIGNED_IN: &str = "signed_in";

/// Who has no credential. What it may read, anybody may: such a request does not make its client known.
pub const ANONYMOUS: &str = "system:anonymous";

/// Whether a request that goes on for this user makes its client known.
#[must_use]
pub fn is_signed_in(user: &str) -> bool {
    user != ANONYMOUS
}
