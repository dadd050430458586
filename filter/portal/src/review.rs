//! `POST /authenticate`: the TokenReview webhook of kube-apiserver (authentication.k8s.io v1 and v1beta1).
//!
//! Of the portal's own tokens it says itself whose they are; those of other issuers go to the gateway's filter. Codes and
//! texts are kubehook's: 400 for what is no review, 403 for a token that is not good.

use std::{collections::BTreeMap, time::Duration};

use gateway_core::{guard, portal_token};
use kube_authn::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    DecisionContext, Identified, Portal, Step, audit,
    response::{Judged, Response},
    session,
};

const KIND: &str = "TokenReview";
const V1: &str = "authentication.k8s.io/v1";
const V1BETA1: &str = "authentication.k8s.io/v1beta1";

/// A review as it is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    token: String,
    #[serde(default)]
    audiences: Vec<String>,
}

/// A review as it is answered; fields in the order in which Go writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewResponse<'a> {
    kind: &'a str,
    api_version: &'a str,
    metadata: Metadata,
    spec: Map<String, Value>,
    status: &'a Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    creation_timestamp: Option<String>,
}

#[derive(Default, Serialize)]
struct Status<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    authenticated: bool,
    user: User<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    audiences: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Default, Serialize)]
struct User<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<&'a str, &'a [String]>,
}

impl<'a> Status<'a> {
    fn of(identity: &'a Identity, audiences: &'a [String]) -> Self {
        let values = identity.extra.iter().map(|(key, values)| (key.as_str(), values.as_slice()));
        let mut extra = BTreeMap::new();
        extra.extend(values);
        let user = User {
            username: &identity.username,
            uid: &identity.uid,
            groups: &identity.groups,
            extra,
        };
        Self { authenticated: true, user, audiences, error: "" }
    }
}

impl Portal {
    pub(super) fn review(
        &self,
        body: &[u8],
        identified: Option<&Identified>,
        now: &DecisionContext<'_>,
    ) -> Step {
        let refused = |version: &str, status, why: &str| {
            let said = Status { error: why, ..Status::default() };
            review(version, now.time, &said, status).audited(audit::reviewed(Err(why)))
        };
        let refuse =
            |version: &str, status, why: &str| Step::Respond(refused(version, status, why));
        let asked: Review = match serde_json::from_slice(body) {
            Ok(asked) => asked,
            // The library's own text could quote the token.
            Err(error) => {
                let at = format!("line {} column {}", error.line(), error.column());
                return refuse(V1BETA1, 400, &format!("cannot parse token request: {at}"));
            }
        };
        let version = match asked.api_version.as_str() {
            V1 => V1,
            V1BETA1 => V1BETA1,
            other => return refuse(V1BETA1, 400, &format!("unsupported API version {other}")),
        };
        if asked.kind != KIND {
            return refuse(version, 400, &format!("unsupported Kind {}", asked.kind));
        }
        let Spec { token, audiences } = asked.spec;
        if token.is_empty() {
            return refuse(version, 400, "missing token");
        }
        if self.settings.identify.is_some()
            && !portal_token::is_own(&token, self.settings.issuer.as_deref())
        {
            // It becomes a header of its own request, and no token has other bytes (RFC 6750, section 2.1): a blank would end it there, and
            // behind a line end there would be another header.
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return refuse(version, 403, "invalid JWT token");
            }
            return match identified {
                None => Step::Identify { token },
                Some(Identified::As(identity, _)) => {
                    // The authenticators' audiences have been checked by the filter; the API server's own are not known here.
                    let status = Status::of(identity, &[]);
                    let audit = audit::reviewed(Ok((&identity.username, "issuer")));
                    Step::Respond(review(version, now.time, &status, 200).audited(audit))
                }
                Some(Identified::No) => refuse(version, 403, "invalid JWT token"),
                Some(Identified::Unknown) => {
                    refuse(version, 503, "the token cannot be checked at the moment")
                }
            };
        }
        let (audience, issuer) = (&self.settings.audience, self.settings.issuer.as_deref());
        let verified =
            portal_token::verify(&token, audience, issuer, &self.keys, now.verifier, now.time);
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => return refuse(version, 403, &error.to_string()),
        };
        // What a leaked or shared secret signed must not name Kubernetes' own users either.
        if let Err(error) = guard::check(&verified.identity, &self.settings.reserved()) {
            return refuse(version, 403, &error.to_string());
        }
        // None of those that were asked for: the answer names none, which means the API server's own.
        let common: Vec<_> =
            audiences.into_iter().filter(|audience| *audience == verified.audience).collect();
        let status = Status::of(&verified.identity, &common);
        let audit = audit::reviewed(Ok((&verified.identity.username, &verified.key)));
        let open = review(version, now.time, &status, 200).audited(audit);
        // The gateway's filter looks at those of other issuers.
        let (issuer, subject) = if portal_token::is_hs256(&token) {
            (portal_token::SHARED_SECRET, "")
        } else {
            (issuer.unwrap_or_default(), verified.identity.username.as_str())
        };
        let known = json!({
            "issuer": issuer, "subject": subject, "jti": verified.id,
            "sid": verified.session, "iat": verified.issued_at,
            "origin": verified.origin.map(|origin| origin.text()).unwrap_or_default(),
        });
        let revoked = refused(version, 403, session::REVOKED);
        let unknown = refused(version, 503, session::UNJUDGED);
        self.judge(&verified.identity, &known, Judged { open, revoked, unknown })
    }
}

fn review(version: &str, now: Duration, status: &Status<'_>, code: u16) -> Response {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let creation_timestamp = tz::UtcDateTime::from_timespec(seconds, 0).ok();
    let review = ReviewResponse {
        kind: KIND,
        api_version: version,
        metadata: Metadata { creation_timestamp: creation_timestamp.map(rfc3339) },
        // Without the token.
        spec: Map::new(),
        status,
    };
    let mut body = serde_json::to_vec(&review).unwrap_or_default();
    body.push(b'\n');
    Response::new(code, "application/json; charset=utf-8", body)
}

/// To the second, as Go writes an object's times.
fn rfc3339(time: tz::UtcDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        time.month(),
        time.month_day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}
