//! What the gateway's filter decides, apart from any proxy.
//!
//! A request's headers go in, a [`decision::Decision`] comes out; an issuer's answers go in, the next callout comes
//! out. Nothing here does I/O or reads a clock: the time, the keys, randomness and the memory that the workers share
//! are passed in, so that every race and every outage is a plain unit test.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::unchecked_time_subtraction))]

pub mod access;
pub mod cache;
pub mod callout;
pub mod checks;
pub mod clock;
pub mod conditions;
pub mod config;
pub mod connections;
pub mod cors;
pub mod credential;
pub mod decision;
pub mod documents;
pub mod elevation;
mod expression;
pub mod follower;
pub mod group_store;
pub mod groups;
pub mod guard;
pub mod headers;
pub mod impersonation;
pub mod keys;
pub mod logout;
pub mod longrunning;
pub mod lookups;
pub mod metrics;
mod names;
pub mod native;
pub mod plan;
pub mod portal_keys;
pub mod portal_token;
pub mod protected_resource;
pub mod rate;
pub mod record;
pub mod refusal;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod token_hash;
pub mod worker;
pub mod workers;
