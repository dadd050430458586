//! What several test programs of this package share.

pub mod built;
pub mod crashing;
pub mod module;
pub mod mount;
pub mod pages;
pub mod person;
pub mod portal;
pub mod readme;
pub mod unheld;
