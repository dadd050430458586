//! What the benchmark shares with other programs that put the gateway under load: clients, what the system says of a
//! process, and results in the documentation.

pub mod client;
pub mod process;
pub mod publish;
