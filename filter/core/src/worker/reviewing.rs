//! The questions that a decision puts to the API server.

use std::time::Duration;

use kube_authn::Identity;
use serde_json::{Value, json};

use super::{Verdict, Worker, decide::Peer};
use crate::{
    decision::{Attempt, Wait},
    impersonation::{self, Requested},
    rate,
    refusal::Refusal,
    reviews::Known,
};

pub(super) const ACCESS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
pub(super) const TOKEN: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

impl Worker {
    /// Asks for every right that the impersonation needs. `None` once all are known and given.
    pub(super) fn ask_rights(
        &mut self,
        requested: &Requested,
        original: &Identity,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Option<Wait>, Refusal> {
        let mut waits = Vec::new();
        for review in requested.reviews(original) {
            let body = review.to_string().into_bytes();
            let id = self.reviews.id(ACCESS, &body);
            match self.reviews.known(id, attempt.reviews, now) {
                Known::Answer(Verdict { yes: true, .. }) => {}
                Known::Answer(Verdict { yes: false, .. }) => {
                    return Err(Refusal::ImpersonationForbidden {
                        user: original.username.clone(),
                        what: describe(&review),
                    });
                }
                Known::Failure(why) => return Err(Refusal::ReviewFailed(why)),
                Known::Nothing if attempt.reviews => {
                    return Err(Refusal::ReviewFailed("the answer was lost".to_owned()));
                }
                Known::Pending if attempt.reviews => {
                    return Err(Refusal::ReviewFailed("no answer in time".to_owned()));
                }
                Known::Pending => waits.push(id),
                Known::Nothing => {
                    let deadline = self.review_deadline(now);
                    let asked = self.reviews.ask(ACCESS, body, deadline);
                    waits.push(asked.map_err(|why| Refusal::ReviewFailed(why.to_string()))?);
                }
            }
        }
        Ok((!waits.is_empty()).then_some(Wait::Reviews(waits)))
    }

    /// Asks whose token it is: the user's name, or what to wait for.
    pub(super) fn review_token(
        &mut self,
        token: &[u8],
        peer: Peer<'_>,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Result<String, Wait>, Refusal> {
        let token = std::str::from_utf8(token).map_err(|_| Refusal::TokenReviewed)?;
        let audiences = &self.configuration.gateway.token_review.audiences;
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences},
        });
        let body = review.to_string().into_bytes();
        let id = self.reviews.id(TOKEN, &body);
        match self.reviews.known(id, attempt.reviews, now) {
            Known::Answer(Verdict { yes: true, user }) => Ok(Ok(user)),
            Known::Answer(Verdict { yes: false, .. }) => Err(Refusal::TokenReviewed),
            Known::Failure(why) => Err(Refusal::ReviewFailed(why)),
            Known::Nothing | Known::Pending if attempt.reviews => {
                Err(Refusal::ReviewFailed("no answer in time".to_owned()))
            }
            Known::Pending => Ok(Err(Wait::Reviews(vec![id]))),
            Known::Nothing => {
                let rate = self.configuration.gateway.reviews.token_reviews_per_second;
                if !rate::take(peer.address, rate, now, self.secret, self.shared.as_ref()) {
                    return Err(Refusal::TooManyReviews);
                }
                let deadline = self.review_deadline(now);
                let asked = self.reviews.ask(TOKEN, body, deadline);
                let id = asked.map_err(|why| Refusal::ReviewFailed(why.to_string()))?;
                Ok(Err(Wait::Reviews(vec![id])))
            }
        }
    }

    fn review_deadline(&self, now: Duration) -> Duration {
        now.saturating_add(self.configuration.gateway.reviews.timeout())
    }
}

/// What an answer of the API server says.
pub(super) fn verdict(path: &str, body: &[u8], audiences: &[String]) -> Result<Verdict, String> {
    let answer: Value =
        serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_owned())?;
    if path == ACCESS {
        let yes = impersonation::is_allowed(&answer).ok_or("the answer has no verdict")?;
        return Ok(Verdict { yes, user: String::new() });
    }
    let status = answer.get("status").ok_or("the answer has no status")?;
    let authenticated = status.get("authenticated").and_then(Value::as_bool).unwrap_or(false);
    let user = status.pointer("/user/username").and_then(Value::as_str).unwrap_or_default();
    // An API server that knows nothing of audiences answers without any: then the token was not checked for ours.
    let confirmed = status.get("audiences").and_then(Value::as_array);
    let for_us = audiences.is_empty()
        || confirmed.is_some_and(|confirmed| {
            confirmed.iter().any(|one| audiences.iter().any(|ours| one == ours.as_str()))
        });
    Ok(Verdict { yes: authenticated && for_us && !user.is_empty(), user: user.to_owned() })
}

/// The value that a SubjectAccessReview is about, in words.
fn describe(review: &Value) -> String {
    let it = |name: &str| {
        let pointer = format!("/spec/resourceAttributes/{name}");
        review.pointer(&pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    match it("resource").as_str() {
        "serviceaccounts" => {
            format!("serviceaccount {:?} in namespace {:?}", it("name"), it("namespace"))
        }
        "userextras" => format!("extra {:?} with value {:?}", it("subresource"), it("name")),
        "users" => format!("user {:?}", it("name")),
        "groups" => format!("group {:?}", it("name")),
        _ => format!("uid {:?}", it("name")),
    }
}
