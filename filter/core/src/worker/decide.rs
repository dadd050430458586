//! The decision on one request.

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use kube_authn::Identity;

use super::{Worker, conditions::Subject};
use crate::{
    access::Person,
    cache::{Grant, Signer},
    config::{ClientImpersonation, Impersonation},
    connections,
    credential::{self, CredentialError, WebSocketToken},
    decision::{
        Attempt, Decision, Forward, ImpersonationWarning, Mode, Outcome, ResponsePolicy, Wait,
    },
    headers::{self, RequestHead},
    impersonation::Requested,
    keys::IssuerKeys,
    logout, longrunning,
    metrics::Metric,
    plan::{self, HeaderPlan},
    portal_token::SHARED_SECRET,
    protected_resource,
    record::{self, record},
    refusal::Refusal,
};

/// What is known of a request's peer, beside its headers.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    /// Gives the client's address without a port, as Envoy sees it. It costs a host call, and few decisions need it.
    pub address: &'a dyn Fn() -> String,
    /// Gives the version of HTTP in Envoy's form, `HTTP/1.1`. It costs a host call too.
    pub protocol: &'a dyn Fn() -> String,
    /// Whether a body follows the headers.
    pub has_body: bool,
}

/// A request that is decided on, and when.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) head: &'a RequestHead<'a>,
    pub(super) peer: Peer<'a>,
    pub(super) attempt: Attempt,
    pub(super) now: Duration,
}

/// What a decision finds out on its way, whatever it comes to.
#[derive(Default)]
pub(super) struct Trace {
    /// Of who made the request.
    pub(super) record: Option<Rc<str>>,
    /// Whether the token was not in the cache.
    pub(super) authenticated: bool,
    /// What the client is told.
    warning: Option<Rc<str>>,
}

/// Why a decision goes no further now.
pub(super) enum Halt {
    /// The request is refused.
    Refuse(Refusal),
    /// Something has to come first.
    Wait(Wait),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// A token as it came.
#[derive(Clone, Copy)]
pub(super) enum Offered<'a> {
    /// By `Authorization`, perhaps with words behind it ([`credential::offered`]).
    Header(&'a [u8]),
    /// By a subprotocol.
    Protocol(&'a [u8]),
}

/// Whom a token names.
#[allow(clippy::large_enum_variant, reason = "one at a time, and a warm request allocates nothing")]
pub(super) enum Authenticated {
    /// The user of an issuer, or of the shared secret.
    User(Grant),
    /// Somebody whom the API server itself knows.
    Reviewed(Rc<Identity>),
}

impl Worker {
    /// The `WWW-Authenticate` of a 401, if strangers are told where to log in.
    #[must_use]
    pub fn challenge(&self) -> Option<Arc<str>> {
        self.configuration.challenge.clone()
    }

    /// Decides on a request.
    #[must_use]
    pub fn decide(
        &mut self,
        head: &RequestHead<'_>,
        peer: Peer<'_>,
        attempt: Attempt,
        now: Duration,
    ) -> Outcome {
        let mut trace = Trace::default();
        let origin = self.configuration.cors.as_ref().and_then(|cors| cors.allowed(head));
        let response = self.response_policy(head);
        if origin.is_some() && head.method == b"OPTIONS" {
            self.metrics.count(Metric::Requests, ["answered", "preflight"]);
            return Outcome {
                decision: Decision::Preflight,
                record: None,
                authenticated: false,
                response,
                warning: None,
                origin: origin.map(<[u8]>::to_vec),
            };
        }
        if let Some(mode) = self.open_mode(head) {
            self.metrics.count(Metric::Requests, ["answered", mode]);
            return Outcome {
                decision: Decision::Open(mode),
                record: Some(record("", &anonymous(), None).into()),
                authenticated: false,
                response: ResponsePolicy::default(),
                warning: None,
                origin: origin.map(<[u8]>::to_vec),
            };
        }
        let decision = match self.forward(Request { head, peer, attempt, now }, &mut trace) {
            Ok(forward) => {
                self.metrics.count(Metric::Requests, ["forwarded", forward.mode.name()]);
                Decision::Forward(forward)
            }
            Err(Halt::Wait(wait)) => Decision::Wait(wait),
            Err(Halt::Refuse(refusal)) => {
                self.metrics.count(Metric::Requests, ["refused", refusal.keyword()]);
                Decision::Refuse(refusal)
            }
        };
        let Trace { record, authenticated, warning } = trace;
        let origin = origin.map(<[u8]>::to_vec);
        Outcome { decision, record, authenticated, response, warning, origin }
    }

    /// The mode of a request that needs no login, if it is one.
    fn open_mode(&self, head: &RequestHead<'_>) -> Option<&'static str> {
        if self.configuration.challenge.is_some() && protected_resource::is_asked(head.path) {
            return Some(protected_resource::MODE);
        }
        logout::is_asked(&self.configuration.gateway.logout.path, head.path).then_some(logout::MODE)
    }

    fn response_policy(&self, head: &RequestHead<'_>) -> ResponsePolicy {
        let warning = match (head.asked, self.configuration.gateway.client_impersonation) {
            (false, _) => ImpersonationWarning::Never,
            (true, ClientImpersonation::Authorize) => ImpersonationWarning::WithOwnToken,
            (true, _) => ImpersonationWarning::Always,
        };
        ResponsePolicy { warning, is_proxied: headers::is_proxied(head.path) }
    }

    fn forward(&mut self, request: Request<'_>, trace: &mut Trace) -> Result<Forward, Halt> {
        let head = request.head;
        if !head.path.is_ascii() {
            return Err(Refusal::Target.into());
        }
        if let Some(nominated) = head.nominated {
            return Err(Refusal::Nominated(String::from_utf8_lossy(nominated).into_owned()).into());
        }
        // By Transfer-Encoding, which Envoy has taken away by now. Servers and proxies differ on where such a body ends, and so on what
        // the next request of the connection is (RFC 9112, section 6.1).
        let is_chunked = request.peer.has_body && !head.is_sized;
        if is_chunked && (request.peer.protocol)() == "HTTP/1.0" {
            return Err(Refusal::ChunkedBeforeHttp11.into());
        }
        let from_protocols = match (&head.protocols, head.websocket) {
            (Some(protocols), true) => credential::websocket(protocols).map_err(Refusal::from)?,
            _ => None,
        };
        let from_header = head.authorization.and_then(credential::offered);
        let offered = match (from_header, &from_protocols) {
            (Some(_), Some(_)) => return Err(Refusal::from(CredentialError::Two).into()),
            (Some(words), None) => Offered::Header(words),
            (None, Some(found)) => Offered::Protocol(&found.token),
            (None, None) => return self.forward_anonymous(request, trace),
        };
        match self.authenticate(offered, request, trace)? {
            Authenticated::User(grant) => {
                let grant = self.elevated(grant, request.now)?;
                trace.record = Some(Rc::clone(&grant.record));
                self.forward_user(request, &grant, from_protocols, trace)
            }
            Authenticated::Reviewed(user) => {
                // Whose token is refused from here on is in the logs, too.
                trace.record = Some(record("", &user, None).into());
                let open = self.check_access(request, || Person::named(&user))?;
                self.check_rejected(head)?;
                self.check_conditions(request, &Subject::of(&user))?;
                // The API server sees the token itself and knows when it ends.
                let forward = self.pass(Mode::OwnToken { user: user.username.clone() });
                Ok(Forward { open, ..forward })
            }
        }
    }

    /// A request that goes on as it is.
    fn pass(&self, mode: Mode) -> Forward {
        let is_compared = self.configuration.reads_impersonation();
        Forward { mode, more: Vec::new(), cut_after: None, is_compared, open: None }
    }

    fn forward_anonymous(
        &mut self,
        request: Request<'_>,
        trace: &mut Trace,
    ) -> Result<Forward, Halt> {
        let head = request.head;
        if !self.configuration.authentication.anonymous().allows(head.path) {
            return Err(Refusal::NoCredential.into());
        }
        self.check_rejected(head)?;
        let identity = anonymous();
        trace.record = Some(record("", &identity, None).into());
        self.check_conditions(request, &Subject::of(&identity))?;
        let plan = Rc::new(HeaderPlan::new(&identity, &self.configuration.gateway.limits, "")?);
        Ok(self.pass(Mode::Impersonate { plan, protocols: None }))
    }

    fn check_rejected(&self, head: &RequestHead<'_>) -> Result<(), Refusal> {
        match (self.configuration.gateway.client_impersonation, head.impersonation.first()) {
            (ClientImpersonation::Reject, Some((header, _))) => {
                Err(Refusal::ImpersonationRejected((*header).to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Sends a user's request on: as the user, or as whom it may impersonate.
    fn forward_user(
        &mut self,
        request: Request<'_>,
        grant: &Grant,
        from_protocols: Option<WebSocketToken>,
        trace: &mut Trace,
    ) -> Result<Forward, Halt> {
        let Request { head, peer, now, .. } = request;
        let login = grant.login.as_ref();
        let open = match login {
            Some(login) => self.check_access(request, || {
                Person::new(Rc::<HeaderPlan>::clone(&grant.plan), login).with(grant.loan.as_ref())
            })?,
            None => None,
        };
        self.check_rejected(head)?;
        let requested = self.requested(head)?;
        if !self.configuration.conditions.is_empty() {
            // Every grant has its identity where there are conditions.
            let user = grant.identity.as_deref().ok_or(Refusal::Host)?;
            let impersonated = requested.as_ref().map(Requested::identity);
            let claims = grant.claims.as_deref();
            self.check_conditions(request, &Subject { user, impersonated, claims })?;
        }
        let gateway = &self.configuration.gateway;
        let with_token = longrunning::kind(head.path, head.upgrade).and_then(|kind| {
            longrunning::cut_after(kind, &gateway.stream_expiry, grant.expires_at, now)
        });
        // Whatever began with a lent group ends with it.
        let with_loan = grant.loan.as_ref().map(|loan| loan.until.saturating_sub(now));
        let cut_after = with_token.into_iter().chain(with_loan).min();
        if gateway.impersonation == Impersonation::Disabled {
            let mode = Mode::OwnToken { user: grant.plan.user().to_owned() };
            return Ok(Forward { cut_after, open, ..self.pass(mode) });
        }
        let client_ip = gateway.extras.client_ip.then(|| plan::client_ip(&(peer.address)()));
        let plan = if let Some(requested) = requested {
            self.impersonate(requested, request, grant, trace)?
        } else {
            trace.warning.clone_from(&grant.warning);
            Rc::clone(&grant.plan)
        };
        let protocols = from_protocols.map(|found| found.protocols);
        let forward = self.pass(Mode::Impersonate { plan, protocols });
        Ok(Forward { more: client_ip.into_iter().collect(), cut_after, open, ..forward })
    }

    /// Whom the client asks to be, where that is not its own self and may be.
    fn requested(&self, head: &RequestHead<'_>) -> Result<Option<Requested>, Refusal> {
        let gateway = &self.configuration.gateway;
        let is_read = gateway.client_impersonation == ClientImpersonation::Authorize
            && gateway.impersonation != Impersonation::Disabled
            && !head.impersonation.is_empty();
        if !is_read {
            return Ok(None);
        }
        Requested::read(&head.impersonation, gateway.reviews.maximum_values)
    }

    /// The plan of whom the client asks to be, once the API server has allowed every value.
    fn impersonate(
        &mut self,
        requested: Requested,
        request: Request<'_>,
        grant: &Grant,
        trace: &mut Trace,
    ) -> Result<Rc<HeaderPlan>, Halt> {
        let Some(original) = grant.identity.as_deref() else {
            return Ok(Rc::clone(&grant.plan));
        };
        self.review_access(&requested, original, request)?;
        let issuer = self.issuer_of(grant);
        trace.record = Some(record::with_impersonated(&grant.record, requested.identity()).into());
        let gateway = &self.configuration.gateway;
        let mut identity = requested.impersonated_by(original, &gateway.original_user);
        add_configured(&mut identity, &gateway.extras.headers);
        if gateway.extras.client_ip {
            identity.extra.remove(plan::CLIENT_IP);
        }
        Ok(Rc::new(HeaderPlan::new(&identity, &gateway.limits, issuer)?))
    }
}

impl Worker {
    /// What stands for the issuer of a token in records and refusals.
    pub(super) fn issuer_of(&self, grant: &Grant) -> &str {
        match grant.signer {
            Signer::Issuer { index, .. } | Signer::Introspected { index } => {
                self.issuers.get(index).map_or("", IssuerKeys::issuer)
            }
            Signer::SharedSecret => SHARED_SECRET,
        }
    }
}

/// Who has no credential.
fn anonymous() -> Identity {
    Identity {
        username: connections::ANONYMOUS.to_owned(),
        groups: vec!["system:unauthenticated".to_owned()],
        ..Identity::default()
    }
}

/// Adds the extras that every request carries; a token's own value of the same key is replaced.
pub(super) fn add_configured(identity: &mut Identity, headers: &BTreeMap<String, Vec<String>>) {
    for (key, values) in headers {
        identity.extra.insert(key.clone(), values.clone());
    }
}
