//! Sessions: the tokens that were made with one login have its name as their `sid`, and a logout ends them together.
//!
//! A session is a login's ID token: the browser's login keeps that one and no other. Its name is made of the whole token, signature and all, so
//! that nobody knows it who has not had the token, and nobody can end what is another's. What is ended stands in the Revocations, as one
//! entry for each session and not for each token.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gateway_core::portal_token;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    DecisionContext, Identified, Portal, Question, Request, Step, Topic, audit, caller::Caller,
    response::Response,
};

/// Where a login's tokens are ended.
const LOGOUT: &[u8] = b"/logout";
/// What the program is asked.
const END: &str = "/sessions/end";
/// Bytes of a name: nobody guesses it.
const NAME: usize = 16;
/// Tokens are taken for a while behind their end, by clocks that are late.
const SLACK: Duration = Duration::from_secs(60);

impl Portal {
    /// The name of the session that a token is of. One that a portal made is of the session in which it was made: else it would make itself
    /// another one that outlives it.
    pub(super) fn session_of(&self, token: &str) -> Option<String> {
        self.settings.sessions.as_ref()?;
        if portal_token::is_own(token, self.settings.issuer.as_deref()) {
            return portal_token::session(token);
        }
        let digest = Sha256::digest(token.as_bytes());
        Some(BASE64.encode(digest.get(..NAME)?))
    }

    /// Whether a path is of this part, where sessions can be ended.
    pub(super) fn is_logout(&self, path: &[u8]) -> bool {
        self.settings.sessions.is_some() && path == LOGOUT
    }

    /// `POST /logout`: ends the tokens that were made with the login that asks.
    pub(super) fn log_out(
        &self,
        request: &Request,
        body: Option<&[u8]>,
        identified: Option<&Identified>,
        now: &DecisionContext<'_>,
    ) -> Step {
        if request.method != b"POST" {
            return Step::Respond(Response::text(405, "Method Not Allowed"));
        }
        if let Err(error) = request.check_post(&self.settings) {
            let why = error.to_string();
            return Step::Respond(Response::error(403, &why).audited(audit::refused(&why)));
        }
        // What is asked before the body has ended would be asked again at its end.
        if body.is_none() {
            return Step::Body;
        }
        let caller = match self.caller(request, identified) {
            Ok(caller) => caller,
            Err(unidentified) => return unidentified.json(),
        };
        let Caller { identity, session: Some(session), until, .. } = caller else {
            let why = "only a login has tokens that end with it";
            return Step::Respond(Response::error(403, why).audited(audit::refused(why)));
        };
        // No token of the session lives longer.
        let most = Duration::from_secs(self.settings.max_lifetime_seconds);
        let most = until.map_or(most, |until| most.min(until.saturating_sub(now.time)));
        let body = json!({
            "sid": session, "seconds": most.saturating_add(SLACK).as_secs(), "user": identity.username,
        });
        Step::Elevate(Question {
            topic: Topic::Session,
            path: END.to_owned(),
            body: body.to_string(),
        })
    }
}
