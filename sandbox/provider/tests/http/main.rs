//! The provider as programs meet it: over TLS, by an HTTP client that trusts nothing but its certificate authority.

mod client;
mod metadata;
mod password;
