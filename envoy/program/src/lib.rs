//! The gateway as a program: Envoy as a child, with files that follow every change of what they are made of.

pub mod access;
mod api;
pub mod certificates;
pub mod directory;
pub mod doctor;
pub mod elevation;
pub mod fetch;
pub mod portal;
pub mod process;
pub mod run;
pub mod supervisor;
pub mod words;
