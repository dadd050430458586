//! Puts configuration before an Envoy.
//!
//! [`write`] puts rendered files where it watches, [`check`] has it judge them first, [`Admin`] asks it how it is. Files that hold
//! secrets are written by [`files`], as all files of this project's programs are.

mod admin;
mod check;
pub mod files;
mod modules;
mod probe;
mod unix;
mod write;

pub use admin::{Admin, Numbers};
pub use check::{CheckError, check};
pub use modules::NoModule;
pub use probe::{Answer, Probe, ProbeError, Question};
pub use unix::UnixConnector;
pub use write::{WriteError, write};
