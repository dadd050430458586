//! The Helm chart: what it renders, that the real API server takes every object, and that its reference is its values'.
//!
//! `UPDATE_GOLDEN=1 cargo test -p gateway-tests --test chart` writes what is rendered now; read the difference.

mod helm;
mod objects;
mod reference;
mod rendering;
mod rights;
