//! Elevation as people use it: they ask for groups, others agree, and what is lent is ended.
//!
//! The filter believes none of it: it checks every grant again ([`gateway_core::elevation`]). What is refused here is refused early, with
//! words for a person.

mod book;

pub use book::{Action, Book, Event, Refusal, Wish};
