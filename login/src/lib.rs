//! kubectl-oidc: OpenID Connect login for kubectl.
//!
//! The way of a call: [`cli`] reads what was written, [`settings`] checks it, [`session`] finds a token: in a [`store`], by a
//! refresh, or by a [`grant`], whose result [`issuer`] verifies before anybody gets it.
//!
//! The library exists for the program and its tests; its interface promises nothing to others.

pub mod address;
pub mod browser;
pub mod callback;
pub mod claims;
pub mod cli;
pub mod cluster;
pub mod command;
pub mod console;
pub mod discovery;
pub mod exec_credential;
pub mod grant;
pub mod http;
pub mod issuer;
pub mod kubeconfig;
pub mod lock;
pub mod logins;
pub mod memory;
pub mod metadata;
pub mod oauth;
pub mod pages;
pub mod path;
pub mod reference;
pub mod required;
pub mod session;
pub mod settings;
pub mod stanza;
pub mod store;
pub mod terminal;
pub mod verify;
