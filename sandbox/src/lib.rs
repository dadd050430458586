//! A whole cluster.

pub mod assets;
mod error;
mod http;
mod pki;
mod port;
mod process;
mod watchdog;

pub use error::{Error, Result};
