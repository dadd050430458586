//! Sessions: the tokens that were made with one login have its name as their `sid`, and a logout ends them together.
//!
//! A session is a login's ID token: the browser's login keeps that one and no other. Its name is made of the whole token, signature and all, so
//! that nobody knows it who has not had the token, and nobody can end what is another's. What is ended stands in the Revocations, as one
//! entry for each session and not for each token.
//!
//! Whom the gateway's filter has not looked at is looked at here: nobody gets a token, or is let in with one, whose access has ended.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gateway_core::portal_token;
use kube_authn::Identity;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    DecisionContext, Identified, Portal, Question, Request, Step, Topic, audit,
    caller::{Caller, Source},
    response::{Judged, Response},
};

/// Where a login's tokens are ended.
const LOGOUT: &[u8] = b"/logout";
/// What the program is asked.
const END: &str = "/sessions/end";
/// What the program is asked of somebody's access.
const JUDGE: &str = "/sessions/judge";
/// Why somebody is refused.
pub(super) const REVOKED: &str = "access has been revoked";
pub(super) const UNJUDGED: &str = "whose access has been revoked is not known at the moment";
/// Bytes of a name: nobody guesses it.
const NAME: usize = 16;
/// Tokens are taken for a while behind their end, by clocks that are late.
const SLACK: Duration = Duration::from_secs(60);

impl Portal {
    /// Has the program look at whether a user still has access, where it knows: by the name, the groups, and what is known of the token.
    pub(super) fn judge(&self, identity: &Identity, token: &Value, judged: Judged) -> Step {
        if self.settings.sessions.is_none() {
            return Step::Respond(judged.open);
        }
        let body = json!({
            "user": identity.username, "groups": identity.groups, "token": token,
        });
        let question =
            Question { topic: Topic::Session, path: JUDGE.to_owned(), body: body.to_string() };
        Step::Judge(question, Box::new(judged))
    }

    /// The same before a response that has a token for a caller. Logins the gateway's filter has looked at already.
    pub(super) fn judge_caller(
        &self,
        caller: &Caller,
        open: Response,
        refused: impl Fn(u16, &str) -> Response,
    ) -> Step {
        if caller.source != Source::Header {
            return Step::Respond(open);
        }
        let refused = |status, why| refused(status, why).audited(audit::refused(why));
        let revoked = refused(403, REVOKED);
        let unknown = refused(503, UNJUDGED).with("retry-after", "5");
        self.judge(&caller.identity, &json!({}), Judged { open, revoked, unknown })
    }

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
        let Caller { identity, session: Some(session), until, is_made, .. } = caller else {
            let why = "only a login has tokens that end with it";
            return Step::Respond(Response::error(403, why).audited(audit::refused(why)));
        };
        // No token of the session lives longer than the login. When that ends, a token that was made with it does not tell.
        let most = Duration::from_secs(self.settings.max_lifetime_seconds);
        let until = until.filter(|_| !is_made);
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
