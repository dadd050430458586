//! The Helm chart: what it renders, that the real API server takes every object, and that its reference is its values',
//! and that its pod works with its own rights.
//!
//! `UPDATE_GOLDEN=1 cargo test -p gateway-tests --test chart` writes what is rendered now; read the difference.

mod certificates;
mod check;
mod cluster;
mod helm;
mod migrate;
mod objects;
mod pages;
mod pod;
mod readme;
mod reference;
mod rendering;
mod rights;
mod running;
mod upgrade;
