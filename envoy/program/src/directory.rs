//! Servers that know the groups of users, asked by this program: for who wants to see what the gateway would be told, and for tokens that
//! Envoy cannot get by itself.
//!
//! No route leads to Envoy's cluster for such a server, so that Envoy cannot be asked to ask. The client here has the same CAs, the same
//! credential, the same question, and reads the answer by the filter's own code. TLS and the network's way are this program's.

mod ask;
mod assertion;
mod token;

pub use self::{
    ask::{AskError, Found, ask, secret_files},
    assertion::{Key, KeyError},
    token::{Token, TokenError, by_assertion, by_secret},
};
