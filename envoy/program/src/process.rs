//! What this process and its children may do.

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, getrlimit, setrlimit, umask},
};

/// Rights of anybody but the owner.
const OTHERS: u32 = 0o077;

/// Makes what this process and its children write without saying for whom their owner's alone.
pub fn write_for_the_owner_alone() {
    umask(Mode::from_bits_truncate(OTHERS));
}

/// Lets this process and its children leave no image of their memory, which holds tokens and keys, when they crash.
pub fn leave_no_core() {
    // Less than before is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Lets this process and its children have as many open files as the system allows: each watch needs two.
pub fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Less is no reason not to serve.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
