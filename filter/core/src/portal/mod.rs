//! The portal: tokens and kubeconfigs for people, a token review for API servers. The contract is kubehook's.
//!
//! Everything here is decided without a host: a [`Request`] goes in, a [`Step`] comes out. The only thing that is done
//! elsewhere is to find out whose ID token a bearer token is: the gateway's own filter answers that, by a callout
//! ([`Step::Identify`]), so that kube-authn's rules, mapping and the guard are the same as for every request.

pub mod answer;
pub mod audit;
pub mod discovery;
mod generate;
pub mod keys;
mod kubecfg;
mod page;
pub mod request;
pub mod review;
pub mod settings;
pub mod token;
pub mod who;

#[cfg(test)]
mod tests;

use std::time::Duration;

use kube_authn::crypto::SignatureVerifier;

pub use self::{
    answer::Answer,
    keys::{KeyError, KeyRing},
    request::{Peer, Request},
    settings::{Settings, SettingsError},
    who::Identified,
};
use crate::keys::SharedStore;

/// Bytes of a request's body. A token review with the largest token that the gateway takes fits.
pub const MOST_BODY: usize = 64 * 1024;

/// Misdirected Request (RFC 9110, section 15.5.20): the name is none of the portal's.
const UNKNOWN_HOST: &str =
    "this portal does not know that it has this name; whoever runs it names it with --allowed-host";

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Answer.
    Answer(Answer),
    /// Read the whole body and ask again.
    Body,
    /// Ask the gateway's filter whose token this is, and ask again with the answer.
    Identify {
        /// The token.
        token: String,
    },
}

/// What a decision is made with, beside the request.
pub struct Now<'a> {
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

    /// The settings.
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
        now: &Now<'_>,
    ) -> Step {
        let (path, _) = request.path_and_query();
        if path != b"/healthz" && !self.settings.answers_for(&request.host()) {
            let answer = Answer::error(421, UNKNOWN_HOST).audited(audit::refused(UNKNOWN_HOST));
            return Step::Answer(answer);
        }
        match (request.method.as_slice(), path) {
            (b"GET" | b"HEAD", b"/healthz") => Step::Answer(Answer::empty(200)),
            (b"GET" | b"HEAD", b"/") => Step::Answer(page::page()),
            (b"GET" | b"HEAD", b"/.well-known/openid-configuration") => {
                Step::Answer(discovery::document(&self.settings))
            }
            (b"GET" | b"HEAD", b"/keys") => {
                Step::Answer(discovery::keys(&self.settings, &self.keys))
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
            ) => Step::Answer(Answer::text(405, "Method Not Allowed")),
            _ => Step::Answer(Answer::text(404, "404 page not found")),
        }
    }

    /// The answer to a body that is too long.
    #[must_use]
    pub fn too_large() -> Answer {
        Answer::error(413, "request body is too large")
    }
}
