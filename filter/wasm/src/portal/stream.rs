//! One request to the portal.

use std::{rc::Rc, time::Duration};

use gateway_hostcalls as hostcalls;
use gateway_portal::{
    DecisionContext, Identified, MOST_ANSWER, MOST_BODY, Peer, Portal, Question, Request, Response,
    Step, Topic,
};
use log::info;
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::{Action, BufferType, MapType},
};

use super::Shared;
use crate::{
    host::{self, SharedData},
    metrics,
};

/// How long the gateway's filter may take: the time that it lets a request wait for an issuer's keys, and some more.
const IDENTIFY: Duration = Duration::from_secs(12);
/// How long the program may take that holds the grants: it may have to write to the API server.
const ELEVATE: Duration = Duration::from_secs(12);
/// The header in which the filter's record of the user comes back.
const RECORD: &str = "x-gateway-identity";

/// One request's context.
pub struct Stream {
    portal: Option<Rc<Shared>>,
    request: Request,
    body: Option<Vec<u8>>,
    answered: bool,
    /// What the program is asked about, and no longer the filter.
    asking: Option<Topic>,
}

impl Stream {
    /// A new request; without a portal it is refused.
    #[must_use]
    pub fn new(portal: Option<Rc<Shared>>) -> Self {
        Self { portal, request: Request::default(), body: None, answered: false, asking: None }
    }

    /// Answers, or does what has to come first. The request never goes on.
    fn advance(&mut self, identified: Option<&Identified>) -> Action {
        if self.answered {
            return Action::Pause;
        }
        let Some(shared) = self.portal.clone() else {
            self.respond(&Response::error(503, "the portal is not configured"));
            return Action::Pause;
        };
        // A token's id, which must be nobody's else.
        let Ok(random) = host::secret() else {
            self.respond(&Response::error(503, "no randomness"));
            return Action::Pause;
        };
        let now = DecisionContext {
            portal: &shared.name,
            time: host::now(),
            random,
            secret: shared.secret,
            shared: &SharedData,
            verifier: &shared.verifier,
        };
        let portal = &shared.portal;
        let step = portal.decide(&self.request, self.body.as_deref(), identified, &now);
        metrics::report(shared.counts.take(&shared.name));
        match step {
            Step::Respond(response) => self.respond(&response),
            // The body's end calls again.
            Step::Body => {}
            Step::Identify { token } => {
                let cluster = portal.settings().identify.as_ref().map(|by| by.cluster.as_str());
                if !self.identify(cluster.unwrap_or_default(), &token) {
                    return self.advance(Some(&Identified::Unknown));
                }
            }
            Step::Elevate(question) => {
                self.asking = Some(question.topic);
                if !self.elevate(question.topic.cluster(portal.settings()), &question) {
                    self.respond(&Portal::elevated(question.topic, 0, &[]));
                }
            }
        }
        Action::Pause
    }

    /// Asks the gateway's filter. False if that cannot be asked.
    fn identify(&self, cluster: &str, token: &str) -> bool {
        let authorization = format!("Bearer {token}");
        let headers = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "portal"),
            (":path", "/"),
            ("authorization", &authorization),
        ];
        self.dispatch_http_call(cluster, headers, None, vec![], IDENTIFY).is_ok()
    }

    /// Asks the program that holds the grants, or writes down what has ended. False if that cannot be asked.
    fn elevate(&self, cluster: &str, question: &Question) -> bool {
        let headers = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "portal"),
            (":path", question.path.as_str()),
            ("content-type", "application/json"),
        ];
        let body = Some(question.body.as_bytes());
        self.dispatch_http_call(cluster, headers, body, vec![], ELEVATE).is_ok()
    }

    fn respond(&mut self, response: &Response) {
        self.answered = true;
        if let Some(audit) = &response.audit {
            info!("{audit}");
            host::set_property("portal", audit);
        }
        // Tells the listener that this response is not Envoy's own.
        host::set_property("deny", "portal");
        let headers: Vec<_> =
            response.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let _ = hostcalls::send_http_response(response.status, &headers, &response.body);
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _: u32, headers: usize, body: usize, _: usize) {
        // Without headers there was no answer, and there are none to ask for.
        let headers = if headers > 0 {
            hostcalls::get_map(MapType::HttpCallResponseHeaders).unwrap_or_default()
        } else {
            Vec::new()
        };
        let value =
            |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, v)| &v[..]);
        let status =
            value(":status").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        if let Some(topic) = self.asking {
            let size = body.min(MOST_ANSWER);
            let answer = hostcalls::get_buffer(BufferType::HttpCallResponseBody, size);
            let answer = answer.ok().flatten().unwrap_or_default();
            self.respond(&Portal::elevated(topic, status.unwrap_or(0), &answer));
            return;
        }
        let identified = Identified::read(status.unwrap_or(0), value(RECORD));
        self.advance(Some(&identified));
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> Action {
        let headers = hostcalls::get_map(MapType::HttpRequestHeaders).unwrap_or_default();
        let certificate = hostcalls::get_property(&["connection", "mtls"]).ok().flatten();
        let peer = Peer {
            address: host::client_address(),
            client_certificate: certificate.is_some_and(|value| value == [1]),
        };
        self.request = Request::new(headers, peer);
        if end {
            self.body = Some(Vec::new());
        }
        self.advance(None)
    }

    fn on_http_request_body(&mut self, _size: usize, end: bool) -> Action {
        if self.answered || self.body.is_some() {
            return Action::Pause;
        }
        let most = MOST_BODY.saturating_add(1);
        let body = hostcalls::get_buffer(BufferType::HttpRequestBody, most);
        let body = body.ok().flatten().unwrap_or_default();
        if body.len() > MOST_BODY {
            self.respond(&Portal::too_large());
        } else if end {
            self.body = Some(body);
            return self.advance(None);
        }
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if self.body.is_none() {
            return self.on_http_request_body(0, true);
        }
        Action::Pause
    }
}
