//! Puts configuration before an Envoy.
//!
//! [`write`] puts rendered files where it watches, [`check`] has it judge them first, [`Admin`] asks it how it is.

mod admin;
mod check;
mod modules;
mod probe;
mod unix;
mod write;

pub use admin::{Admin, Numbers};
pub use check::{CheckError, check};
pub use modules::{ModuleError, check_modules};
pub use probe::{Answer, Probe, ProbeError, Question};
pub use unix::{UnixConnector, ask_program};
pub use write::{WriteError, write};
