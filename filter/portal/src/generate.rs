//! `POST /generate`: a token for whoever asks. Also the rules that `/kubecfg` shares with it.

use std::time::Duration;

use gateway_core::{
    access::MOST_BETWEEN,
    rate::{Buckets, Limited},
};
use go_compat::time;
use serde_json::{Value, json};

use super::{
    DecisionContext, Identified, Portal, Request, Step, audit,
    caller::{Caller, Refusal},
    response::Response,
    token::{self, Issued, Login},
};

impl Portal {
    pub(super) fn generate(
        &self,
        request: &Request,
        body: &[u8],
        identified: Option<&Identified>,
        now: &DecisionContext<'_>,
    ) -> Step {
        let refuse = |status, why: &str| {
            Step::Respond(Response::error(status, why).audited(audit::refused(why)))
        };
        if let Err(error) = request.check_post(&self.settings) {
            return refuse(403, &error.to_string());
        }
        let lifetime = match lifetime(body).and_then(checked) {
            Ok(lifetime) => lifetime,
            Err(why) => return refuse(400, &why),
        };
        let caller = match self.caller(request, identified) {
            Ok(caller) => caller,
            Err(unidentified) => return unidentified.json(),
        };
        match self.issue(&caller, lifetime, now) {
            Err(Refusal { status, why }) => refuse(status, &why),
            Ok(issued) => {
                let audit = audit::issued(&issued, &caller);
                let open = Response::json(200, &json!({"token": issued.token})).audited(audit);
                self.judge_caller(&caller, open, Response::error)
            }
        }
    }

    /// Makes a token, if the lifetime and the user's rate allow it. It ends with the login at the latest.
    pub(super) fn issue(
        &self,
        caller: &Caller,
        lifetime: Duration,
        now: &DecisionContext<'_>,
    ) -> Result<Issued, Refusal> {
        // The words are kubehook's where it has them.
        let refused = |status, why: &str| Refusal { status, why: why.to_owned() };
        let most = Duration::from_secs(self.settings.max_lifetime_seconds);
        if lifetime > most {
            let why = format!(
                "cannot generate token: requested JWT lifetime {} is greater than maximum allowed lifetime {}",
                time::format_seconds(lifetime.as_secs()),
                time::format_seconds(most.as_secs()),
            );
            return Err(refused(500, &why));
        }
        let left = caller.until.map(|until| until.saturating_sub(now.time));
        let lifetime = left.map_or(lifetime, |left| lifetime.min(left));
        if lifetime < Duration::from_secs(1) {
            return Err(refused(401, "the login has expired"));
        }
        let names = caller.origin.as_ref().and_then(|origin| origin.names.as_deref());
        if names.is_some_and(|names| names.between.len() > MOST_BETWEEN) {
            let why =
                "too many tokens were made one with the other: log in, and make it with the login";
            return Err(refused(403, why));
        }
        let buckets = Buckets {
            of: Limited::Tokens,
            gateway: now.portal,
            per_second: self.settings.tokens_per_second,
            secret: now.secret,
            shared: now.shared,
        };
        if !buckets.take(&caller.identity.username, now.time) {
            return Err(refused(429, "too many tokens: try again in a second"));
        }
        let login = Login { identity: &caller.identity, session: caller.session.as_deref(), names };
        token::issue(&self.settings, &self.keys, login, lifetime, now.time, now.random)
            .ok_or_else(|| refused(500, "cannot generate token"))
    }
}

/// The lifetime in a body, in nanoseconds. As with Go's JSON, the field's case does not count and others are ignored.
fn lifetime(body: &[u8]) -> Result<i64, String> {
    let failed = |why: &str| format!("cannot parse JSON request body: {why}");
    if body.trim_ascii().is_empty() {
        return Err(failed("EOF"));
    }
    let body: Value = serde_json::from_slice(body).map_err(|error| failed(&error.to_string()))?;
    let fields = body.as_object().ok_or_else(|| failed("json: not an object"))?;
    match fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("lifetime")) {
        None => Ok(0),
        Some((_, Value::String(text))) => {
            time::parse_duration(text).map_err(|error| failed(&error.to_string()))
        }
        Some(_) => Err(failed("json: lifetime is not a string")),
    }
}

/// A lifetime that a token can have. kubehook also took negative ones, for tokens that were never good.
pub(super) fn checked(nanos: i64) -> Result<Duration, String> {
    match u64::try_from(nanos) {
        Ok(0) => Err("must specify desired token lifetime".to_owned()),
        Err(_) => Err("desired token lifetime must not be negative".to_owned()),
        Ok(nanos) if nanos < 1_000_000_000 => {
            Err("desired token lifetime must be at least one second".to_owned())
        }
        Ok(nanos) => Ok(Duration::from_nanos(nanos)),
    }
}
