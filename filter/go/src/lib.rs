//! What Go's standard library reads and writes, for programs that must agree with one written in Go.
//!
//! Two programs that read the same bytes differently can be played off against each other. Where a Rust library takes more,
//! less or something else than Go's, this crate takes what Go takes: [`json`] keeps duplicates and repairs bad UTF-8,
//! [`base64`] skips line ends, [`netip`] refuses leading zeros, [`url`] refuses what `net/url` refuses. Errors have Go's
//! words, which users of Go programs know. Modules are named after Go's packages; each names the files that it follows, of
//! Go 1.26.
//!
//! ```
//! use go_compat::{json, strconv, time};
//!
//! let limits = json::Limits { depth: 8, values: 100 };
//! let json::Value::Object(claims) = json::parse(br#"{"sub": "a", "sub": "b"}"#, limits)? else { return Ok(()) };
//! assert_eq!(claims.get("sub"), Some(&json::Value::from("b".to_owned())));
//! assert_eq!(strconv::quote("a\u{a0}b"), r#""a\u00a0b""#);
//! assert_eq!(time::parse_duration("1h30m")?, 5_400_000_000_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here does I/O, reads a clock or panics, whatever the input.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod base64;
pub mod json;
pub mod netip;
pub mod pem;
pub mod sort;
pub mod strconv;
pub mod time;
pub mod url;
