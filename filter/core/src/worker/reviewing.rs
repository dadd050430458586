//! The questions that a decision puts to others: to the API server, and to the endpoints of distributed groups.

use std::{rc::Rc, time::Duration};

use kube_authn::{Identity, distributed::GroupsSource};
use serde_json::{Value, json};

use super::{Asked, Instance, MOST_BODY, Review, Said, Worker, decide::Peer};
use crate::{
    config::GatewayConfiguration,
    decision::{Attempt, Wait},
    impersonation::{self, Requested},
    keys,
    rate::{self, Counted, network},
    refusal::Refusal,
    reviews::{Ask, Known, Question},
};

const ACCESS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const TOKEN: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// The name of the API server inside any cluster.
const API_SERVER: &str = "kubernetes.default.svc";

/// The call that puts a question.
pub(super) fn review(question: Question, cluster: &str, timeout: Duration) -> Review {
    let Question { id, ask } = question;
    let to_api_server = |asked, path: &str, body| Review {
        id,
        asked,
        cluster: cluster.to_owned(),
        authority: API_SERVER.to_owned(),
        path: path.to_owned(),
        authorization: None,
        body: Some(body),
        timeout,
    };
    match ask {
        Ask::Access(body) => to_api_server(Asked::Access, ACCESS, body),
        Ask::Token(body) => to_api_server(Asked::Token, TOKEN, body),
        Ask::Groups { cluster, authority, path, access_token } => Review {
            id,
            asked: Asked::Groups,
            cluster,
            authority,
            path,
            authorization: (!access_token.is_empty()).then(|| format!("Bearer {access_token}")),
            body: None,
            timeout,
        },
    }
}

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
            let ask = Ask::Access(review.to_string().into_bytes());
            let id = self.reviews.id(&ask);
            match self.reviews.known(id, attempt.reviews, now) {
                Known::Answer(Said::Allowed(true)) => {}
                Known::Answer(_) => {
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
                    let asked = self.reviews.ask(ask, deadline);
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
        let ask = Ask::Token(review.to_string().into_bytes());
        let id = self.reviews.id(&ask);
        match self.reviews.known(id, attempt.reviews, now) {
            Known::Answer(Said::User(Some(user))) => Ok(Ok(user)),
            Known::Answer(_) => Err(Refusal::TokenReviewed),
            Known::Failure(why) => Err(Refusal::ReviewFailed(why)),
            Known::Nothing | Known::Pending if attempt.reviews => {
                Err(Refusal::ReviewFailed("no answer in time".to_owned()))
            }
            Known::Pending => Ok(Err(Wait::Reviews(vec![id]))),
            Known::Nothing => {
                let rate = self.configuration.gateway.reviews.token_reviews_per_second;
                let (network, shared) = (network(&(peer.address)()), self.shared.as_ref());
                let Instance { gateway, secret, .. } = &self.instance;
                if !rate::take(Counted::Reviews, gateway, &network, rate, now, *secret, shared) {
                    return Err(Refusal::TooManyReviews);
                }
                let deadline = self.review_deadline(now);
                let asked = self.reviews.ask(ask, deadline);
                let id = asked.map_err(|why| Refusal::ReviewFailed(why.to_string()))?;
                Ok(Err(Wait::Reviews(vec![id])))
            }
        }
    }

    /// Fetches the token that holds a user's groups: its bytes, or what to wait for.
    pub(super) fn fetch_groups(
        &mut self,
        wanted: &WantedGroups,
        attempt: Attempt,
        now: Duration,
    ) -> Result<Result<Rc<[u8]>, Wait>, Refusal> {
        let refused = |error: String| Refusal::Groups { issuer: wanted.issuer.clone(), error };
        let id = self.reviews.id(&wanted.ask);
        match self.reviews.known(id, attempt.groups, now) {
            Known::Answer(Said::Groups(token)) => Ok(Ok(token)),
            Known::Answer(_) => Err(refused("unexpected answer".to_owned())),
            Known::Failure(why) => Err(refused(why)),
            Known::Nothing | Known::Pending if attempt.groups => {
                Err(refused("no answer in time".to_owned()))
            }
            Known::Pending => Ok(Err(Wait::Groups(id))),
            Known::Nothing => {
                let deadline = self.review_deadline(now);
                let asked = self.reviews.ask(wanted.ask.clone(), deadline);
                let id = asked.map_err(|why| refused(why.to_string()))?;
                Ok(Err(Wait::Groups(id)))
            }
        }
    }

    fn review_deadline(&self, now: Duration) -> Duration {
        now.saturating_add(self.configuration.gateway.reviews.timeout())
    }
}

/// Groups that a token says are to be fetched.
pub(super) struct WantedGroups {
    pub(super) issuer: String,
    pub(super) ask: Ask,
}

impl WantedGroups {
    /// What to fetch, if the configuration allows the endpoint's host.
    pub(super) fn new(
        source: &GroupsSource,
        issuer: &str,
        cluster: &str,
        hosts: &[String],
    ) -> Result<Self, Refusal> {
        let refused = |error: String| Refusal::Groups { issuer: issuer.to_owned(), error };
        let (authority, path) =
            keys::split_url(&source.endpoint).map_err(|why| refused(why.to_owned()))?;
        if !hosts.contains(&authority) {
            return Err(refused(format!("distributedGroups.hosts does not allow {authority:?}")));
        }
        // It becomes a header of its own request, and Envoy does not look into what a filter sends.
        if source.access_token.chars().any(char::is_control) {
            return Err(refused("their access_token holds a control character".to_owned()));
        }
        let ask = Ask::Groups {
            cluster: cluster.to_owned(),
            authority,
            path,
            access_token: source.access_token.clone(),
        };
        Ok(Self { issuer: issuer.to_owned(), ask })
    }
}

/// What an answer to a review says.
pub(super) fn said(
    ask: Asked,
    body: &[u8],
    gateway: &GatewayConfiguration,
) -> Result<Said, String> {
    if ask == Asked::Groups {
        if body.len() > gateway.limits.token_bytes as usize {
            return Err(format!("{} bytes exceed limits.tokenBytes", body.len()));
        }
        return Ok(Said::Groups(body.trim_ascii().into()));
    }
    if body.len() > MOST_BODY {
        return Err(format!("an answer of {} bytes is too large", body.len()));
    }
    let answer: Value =
        serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_owned())?;
    if ask == Asked::Access {
        let allowed = impersonation::is_allowed(&answer).ok_or("the answer has no verdict")?;
        return Ok(Said::Allowed(allowed));
    }
    let status = answer.get("status").ok_or("the answer has no status")?;
    let authenticated = status.get("authenticated").and_then(Value::as_bool).unwrap_or(false);
    let user = status.pointer("/user/username").and_then(Value::as_str).unwrap_or_default();
    let audiences = &gateway.token_review.audiences;
    // An API server that knows nothing of audiences answers without any: then the token was not checked for ours.
    let confirmed = status.get("audiences").and_then(Value::as_array);
    let for_us = audiences.is_empty()
        || confirmed.is_some_and(|confirmed| {
            confirmed.iter().any(|one| audiences.iter().any(|ours| one == ours.as_str()))
        });
    let known = authenticated && for_us && !user.is_empty();
    Ok(Said::User(known.then(|| user.to_owned())))
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
