//! The whole login with nothing of ours but the plugin and the gateway: Keycloak's own pages in a real browser, the real
//! kubectl, a real API server. `make test-keycloak` gets Keycloak and Chromium, builds the plugin, and runs this.

mod browser;
mod keycloak;
mod machines;
mod portal;
mod story;
