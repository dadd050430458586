//! The portal: tokens and kubeconfigs for people, a token review for API servers. The contract is kubehook's.
//!
//! Everything here is decided without a host: a [`Request`] goes in, a [`Step`] comes out. The only thing that is done
//! elsewhere is to find out whose ID token a bearer token is: the gateway's own filter answers that, by a callout
//! ([`Step::Identify`]), so that kube-authn's rules, mapping and the guard are the same as for every request.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod audit;
mod caller;
mod discovery;
mod elevation;
mod generate;
mod kubecfg;
mod page;
mod request;
mod response;
mod review;
mod session;
pub mod settings;
mod token;

#[cfg(test)]
mod tests;

use std::time::Duration;

use gateway_core::{keys::SharedStore, portal_keys::KeyRing};
use kube_authn::crypto::SignatureVerifier;

pub use self::{
    caller::{Identified, Origin},
    elevation::{MOST_ANSWER, Question, Topic},
    request::{Peer, Request},
    response::Response,
    settings::{Settings, SettingsError},
};

/// Bytes of a request's body. A token review with the largest token that the gateway takes fits.
pub const MOST_BODY: usize = 64 * 1024;

/// Misdirected Request (RFC 9110, section 15.5.20): the name is none of the portal's.
const UNKNOWN_HOST: &str = "this portal does not know that it has this name; its administrator can add it with --allowed-host";

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Send this response.
    Respond(Response),
    /// Read the whole body and ask again.
    Body,
    /// Ask the gateway's filter whose token this is, and ask again with the answer.
    Identify {
        /// The bearer token, as it was sent.
        token: String,
    },
    /// Ask the program that holds the grants, or the Revocations, and send what [`Portal::elevated`] makes of its answer.
    Elevate(Question),
}

/// What a decision is made with, beside the request.
pub struct DecisionContext<'a> {
    /// Tells the portals of one proxy apart, in rates that the workers share.
    pub portal: &'a str,
    /// Time since the epoch.
    pub time: Duration,
    /// A random number for the token's id.
    pub random: [u8; 16],
    /// Keeps others from choosing names that share a rate with somebody's.
    pub secret: [u8; 16],
    /// What the workers share.
    pub shared: &'a dyn SharedStore,
    /// Checks the portal's own ES256 signatures.
    pub verifier: &'a dyn SignatureVerifier,
}

/// The portal with its settings and keys.
#[derive(Debug)]
pub struct Portal {
    settings: Settings,
    keys: KeyRing,
}

impl Portal {
    /// Of valid settings and keys.
    pub fn new(settings: Settings, keys: KeyRing) -> Result<Self, SettingsError> {
        if settings.issuer.is_some() != keys.has_public() {
            return Err(SettingsError::Issuer);
        }
        Ok(Self { settings, keys })
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Decides on a request. `body` is there once it has been read, `identified` once the filter has answered.
    #[must_use]
    pub fn decide(
        &self,
        request: &Request,
        body: Option<&[u8]>,
        identified: Option<&Identified>,
        now: &DecisionContext<'_>,
    ) -> Step {
        let (path, _) = request.path_and_query();
        if path != b"/healthz" && !self.settings.answers_for(&request.host()) {
            let response = Response::error(421, UNKNOWN_HOST).audited(audit::refused(UNKNOWN_HOST));
            return Step::Respond(response);
        }
        if self.is_elevation(path) {
            return self.elevation(request, path, body, identified);
        }
        if self.is_logout(path) {
            return self.log_out(request, body, identified, now);
        }
        match (request.method.as_slice(), path) {
            (b"GET" | b"HEAD", b"/healthz") => Step::Respond(Response::empty(200)),
            (b"GET" | b"HEAD", b"/") => Step::Respond(page::page()),
            (b"GET" | b"HEAD", b"/.well-known/openid-configuration") => {
                Step::Respond(discovery::document(&self.settings))
            }
            (b"GET" | b"HEAD", b"/keys") => {
                Step::Respond(discovery::keys(&self.settings, &self.keys))
            }
            (b"GET", b"/whoami") => self.whoami(request, identified, now),
            (b"GET", b"/kubecfg") => self.kubecfg(request, identified, now),
            (b"POST", b"/generate") => match body {
                None => Step::Body,
                Some(body) => self.generate(request, body, identified, now),
            },
            (b"POST", b"/authenticate") => match body {
                None => Step::Body,
                Some(body) => self.review(body, identified, now),
            },
            (
                _,
                b"/healthz"
                | b"/"
                | b"/.well-known/openid-configuration"
                | b"/keys"
                | b"/whoami"
                | b"/kubecfg"
                | b"/generate"
                | b"/authenticate",
            ) => Step::Respond(Response::text(405, "Method Not Allowed")),
            _ => Step::Respond(Response::text(404, "404 page not found")),
        }
    }

    /// The response to a body that is too long.
    #[must_use]
    pub fn too_large() -> Response {
        Response::error(413, "request body is too large")
    }
}
