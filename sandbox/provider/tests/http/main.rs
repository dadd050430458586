//! The provider as programs meet it: over TLS, by an HTTP client that trusts nothing but its certificate authority.

mod admin;
mod assertions;
mod authorization_code;
mod browser;
mod client;
mod client_credentials;
mod device_code;
mod http2;
mod metadata;
mod minting;
mod misbehaviour;
mod password;
mod refresh;
mod revocation_and_logout;
mod up_and_down;
mod userinfo_and_claims;
