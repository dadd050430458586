//! What several test programs of this package share.

pub mod person;
pub mod readme;
