//! What a decision has to ask others: the API server, and the endpoints of distributed groups.

use std::{rc::Rc, time::Duration};

use kube_authn::{Identity, discovery::Endpoint, distributed::GroupsSource};
use serde_json::{Value, json};

use super::{
    Worker,
    decide::{Halt, Request},
    introspection::Answer,
};
use crate::{
    callout::{self, Callout, CalloutResult, Cause, Fault, Purpose},
    config::GatewayConfiguration,
    decision::Wait,
    impersonation::{self, Requested},
    lookups::{Failure, HeapSize, Known, Lookup, LookupId, Unsent},
    rate::{Limited, network},
    refusal::Refusal,
};

const ACCESS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const TOKEN: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// The rights that asking there needs.
const ACCESS_RIGHT: &str = "create subjectaccessreviews.authorization.k8s.io";
const TOKEN_RIGHT: &str = "create tokenreviews.authentication.k8s.io";
/// The name of the API server inside any cluster.
const API_SERVER: &str = "kubernetes.default.svc";

/// What came of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LookupResult {
    /// Of a SubjectAccessReview.
    Allowed(bool),
    /// Of a TokenReview: whose token it is.
    User(Option<Rc<Identity>>),
    /// The token that holds the groups.
    Groups(Rc<[u8]>),
    /// What an issuer said of a token.
    Introspected(Answer),
}

impl HeapSize for LookupResult {
    fn bytes(&self) -> usize {
        match self {
            Self::Allowed(_) | Self::User(None) => 0,
            Self::User(Some(user)) => identity_size(user),
            Self::Groups(token) => token.len(),
            Self::Introspected(answer) => answer.bytes(),
        }
    }
}

impl LookupResult {
    /// For metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Allowed(false)
            | Self::User(None)
            | Self::Introspected(Answer { active: None, .. }) => "no",
            Self::Allowed(true) | Self::User(Some(_)) | Self::Groups(_) | Self::Introspected(_) => {
                "yes"
            }
        }
    }
}

/// Reviews that may have been charged and not been answered, before they are looked through.
const MOST_CHARGED: usize = 4096;

/// Why there is no result of a lookup.
enum Missing {
    /// A callout is under way.
    Pending(LookupId),
    Failed(Failure),
}

/// The callout that makes a lookup.
pub(super) fn callout(
    (id, lookup, traceparent): Unsent,
    cluster: &str,
    timeout: Duration,
) -> Callout {
    let to_api_server = |purpose, path: &str, body| Callout {
        traceparent,
        purpose,
        cluster: cluster.to_owned(),
        authority: API_SERVER.to_owned(),
        path: path.to_owned(),
        authorization: None,
        body: Some(body),
        timeout,
    };
    match lookup {
        Lookup::Access(body) => to_api_server(Purpose::AccessReview(id), ACCESS, body),
        // Questions to issuers have their own lookups.
        Lookup::Token(body) | Lookup::Introspection(body) => {
            to_api_server(Purpose::TokenReview(id), TOKEN, body)
        }
        // An issuer learns nothing of what asks it.
        Lookup::Groups { cluster, authority, path, access_token } => Callout {
            traceparent: None,
            purpose: Purpose::Groups(id),
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
    /// The result of a lookup, which is made if nobody has. Who has `waited` for it does not wait again.
    fn look_up(
        &mut self,
        id: LookupId,
        lookup: Lookup,
        waited: bool,
        request: Request<'_>,
    ) -> Result<LookupResult, Missing> {
        let now = request.now;
        // The lifetime of groups begins with their fetch: an older answer would lengthen it.
        let is_for_waiters = matches!(lookup, Lookup::Groups { .. });
        let known = match self.lookups.known(id, waited, now) {
            Known::Result(_) if is_for_waiters && !waited => Known::Nothing,
            known => known,
        };
        match known {
            Known::Result(result) => Ok(result),
            Known::Failure(why) => Err(Missing::Failed(why)),
            Known::Nothing if waited => Err(Missing::Failed("the answer was lost".into())),
            Known::Pending if waited => Err(Missing::Failed("no answer in time".into())),
            Known::Pending => Err(Missing::Pending(id)),
            Known::Nothing => {
                let deadline = now.saturating_add(self.configuration.gateway.reviews.timeout());
                match self.lookups.start(id, lookup, request.head.traceparent(), deadline) {
                    Ok(()) => Err(Missing::Pending(id)),
                    Err(why) => Err(Missing::Failed(why.to_string().as_str().into())),
                }
            }
        }
    }

    /// Has every right reviewed that the impersonation needs. All are under way before the first is waited for.
    pub(super) fn review_access(
        &mut self,
        requested: &Requested,
        original: &Identity,
        request: Request<'_>,
    ) -> Result<(), Halt> {
        let mut waits = Vec::new();
        for review in requested.reviews(original) {
            let lookup = Lookup::Access(review.to_string().into_bytes());
            let id = self.lookups.id(&lookup);
            match self.look_up(id, lookup, request.attempt.reviews, request) {
                Ok(LookupResult::Allowed(true)) => {}
                Ok(_) => {
                    let (user, what) = (original.username.clone(), describe(&review));
                    return Err(Refusal::ImpersonationForbidden { user, what }.into());
                }
                Err(Missing::Failed(failure)) => {
                    return Err(no_review(failure, ACCESS_RIGHT).into());
                }
                Err(Missing::Pending(id)) => waits.push(id),
            }
        }
        if waits.is_empty() { Ok(()) } else { Err(Halt::Wait(Wait::Reviews(waits))) }
    }

    /// The user whose token it is to the API server.
    pub(super) fn review_token(
        &mut self,
        token: &[u8],
        request: Request<'_>,
    ) -> Result<Rc<Identity>, Halt> {
        let token = std::str::from_utf8(token).map_err(|_| Refusal::TokenReviewed)?;
        let audiences = &self.configuration.gateway.token_review.audiences;
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences},
        });
        let lookup = Lookup::Token(review.to_string().into_bytes());
        let id = self.lookups.id(&lookup);
        let waited = request.attempt.reviews;
        let is_new = matches!(self.lookups.known(id, waited, request.now), Known::Nothing);
        if is_new && !waited && !self.may_review_tokens(request) {
            return Err(Refusal::TooManyReviews.into());
        }
        let found = self.look_up(id, lookup, waited, request);
        if is_new && matches!(found, Err(Missing::Pending(_))) {
            self.charge(id, network(&(request.peer.address)()));
        }
        match found {
            Ok(LookupResult::User(Some(user))) => {
                if let Some(who) = self.charged.remove(&id) {
                    self.give_back_review(&who, request.now);
                }
                Ok(user)
            }
            Ok(_) => Err(Refusal::TokenReviewed.into()),
            Err(Missing::Failed(failure)) => Err(no_review(failure, TOKEN_RIGHT).into()),
            Err(Missing::Pending(id)) => Err(Halt::Wait(Wait::Reviews(vec![id]))),
        }
    }

    /// Remembers that a question about a token was taken from the rate of `who`, until it is known whether the token is good.
    pub(super) fn charge(&mut self, id: LookupId, who: String) {
        // Who asked may be gone when the answer comes.
        if self.charged.len() >= MOST_CHARGED {
            let (lookups, introspections) = (&self.lookups, &self.introspections);
            let is_pending = |id: LookupId| {
                lookups.is_pending(id) || introspections.iter().any(|them| them.is_pending(id))
            };
            self.charged.retain(|id, _| is_pending(*id));
        }
        self.charged.insert(id, who);
    }

    /// A token that the API server knows costs its client nothing: those who send good ones may be many behind one address.
    fn give_back_review(&self, who: &str, now: Duration) {
        let rate = self.configuration.gateway.reviews.token_reviews_per_second;
        self.buckets(Limited::Reviews, rate).give_back(who, now);
    }

    /// Whether this client may cause another TokenReview.
    fn may_review_tokens(&self, request: Request<'_>) -> bool {
        let rate = self.configuration.gateway.reviews.token_reviews_per_second;
        let network = network(&(request.peer.address)());
        self.buckets(Limited::Reviews, rate).take(&network, request.now)
    }

    /// The token that holds a user's groups.
    pub(super) fn fetch_groups(
        &mut self,
        wanted: &WantedGroups,
        request: Request<'_>,
    ) -> Result<Rc<[u8]>, Halt> {
        let refused = |error: String| Refusal::Groups { issuer: wanted.issuer.clone(), error };
        let id = self.lookups.id(&wanted.lookup);
        match self.look_up(id, wanted.lookup.clone(), request.attempt.groups, request) {
            Ok(LookupResult::Groups(token)) => Ok(token),
            Ok(_) => Err(refused("unexpected answer".to_owned()).into()),
            Err(Missing::Failed(failure)) => Err(refused(failure.why).into()),
            Err(Missing::Pending(id)) => Err(Halt::Wait(Wait::Groups(id))),
        }
    }
}

/// Groups that a token says are to be fetched.
pub(super) struct WantedGroups {
    pub(super) issuer: String,
    pub(super) lookup: Lookup,
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
        let endpoint =
            Endpoint::parse(&source.endpoint).map_err(|error| refused(error.to_string()))?;
        let authority = endpoint.authority();
        if !hosts.iter().any(|host| host == authority) {
            return Err(refused(format!("distributedGroups.hosts does not allow {authority:?}")));
        }
        // It becomes a header of its own request, and Envoy does not look into what a filter sends.
        if source.access_token.chars().any(char::is_control) {
            return Err(refused("their access_token holds a control character".to_owned()));
        }
        let lookup = Lookup::Groups {
            cluster: cluster.to_owned(),
            authority: authority.to_owned(),
            path: endpoint.target().to_owned(),
            access_token: source.access_token.clone(),
        };
        Ok(Self { issuer: issuer.to_owned(), lookup })
    }
}

/// What the response to a lookup's callout says.
pub(super) fn read(
    purpose: Purpose,
    result: CalloutResult<'_>,
    gateway: &GatewayConfiguration,
) -> Result<LookupResult, Fault> {
    const GOOD: [u16; 2] = [200, 201];
    if let Purpose::Groups(_) = purpose {
        let most = gateway.limits.token_bytes as usize;
        let body = callout::body(result, &GOOD, most, "limits.tokenBytes")?;
        return Ok(LookupResult::Groups(body.trim_ascii().into()));
    }
    let odd = |why: &str| Fault::new(Cause::Document, why);
    let body = callout::body(result, &GOOD, purpose.most_bytes(), "what is read of a review")?;
    let review: Value = serde_json::from_slice(&body).map_err(|_| odd("the answer is not JSON"))?;
    if let Purpose::AccessReview(_) = purpose {
        let allowed =
            impersonation::is_allowed(&review).ok_or_else(|| odd("the answer has no verdict"))?;
        return Ok(LookupResult::Allowed(allowed));
    }
    let status = review.get("status").ok_or_else(|| odd("the answer has no status"))?;
    let authenticated = status.get("authenticated").and_then(Value::as_bool).unwrap_or(false);
    let user = status.get("user").map(reviewed_user).unwrap_or_default();
    let audiences = &gateway.token_review.audiences;
    // An API server that knows nothing of audiences answers without any: then the token was not checked for ours.
    let confirmed = status.get("audiences").and_then(Value::as_array);
    let for_us = audiences.is_empty()
        || confirmed.is_some_and(|confirmed| {
            confirmed.iter().any(|one| audiences.iter().any(|ours| one == ours.as_str()))
        });
    let known = authenticated && for_us && !user.username.is_empty();
    Ok(LookupResult::User(known.then(|| Rc::new(user))))
}

/// The user of a TokenReview (`authentication.k8s.io/v1`, `UserInfo`).
fn reviewed_user(user: &Value) -> Identity {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(text).collect();
    let field = |name: &str| user.get(name).and_then(text).unwrap_or_default();
    let extra = user.get("extra").and_then(Value::as_object).into_iter().flatten();
    Identity {
        username: field("username"),
        uid: field("uid"),
        groups: user.get("groups").map(texts).unwrap_or_default(),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
    }
}

fn identity_size(identity: &Identity) -> usize {
    let Identity { username, uid, groups, extra } = identity;
    let texts = |texts: &[String]| {
        texts.iter().fold(0, |sum: usize, text| {
            sum.saturating_add(size_of::<String>()).saturating_add(text.len())
        })
    };
    let extra = extra.iter().fold(0, |sum: usize, (key, values)| {
        sum.saturating_add(key.len()).saturating_add(texts(values))
    });
    [username.len(), uid.len(), texts(groups), extra].into_iter().fold(0, usize::saturating_add)
}

/// What a request is told that a review was to decide.
fn no_review(failure: Failure, right: &'static str) -> Refusal {
    if failure.is_forbidden {
        Refusal::ReviewForbidden { right }
    } else {
        Refusal::ReviewFailed(failure.why)
    }
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
