//! Logins with nothing of ours but the plugin and the gateway: the pages of Keycloak and of Dex in a real browser, the real
//! kubectl, a real API server. `make test-keycloak` and `make test-dex` get what they need of issuers and Chromium, and build
//! the plugin.

mod beside;
mod browser;
mod device;
mod dex;
mod dex_logins;
mod elevation;
mod groups;
mod keycloak;
mod lightweight;
mod logout;
mod machines;
mod plugin;
mod portal;
mod story;
