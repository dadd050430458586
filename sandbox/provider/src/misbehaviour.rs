//! Answers that no good issuer gives, for the tests of whoever has to live through them.

use std::{convert::Infallible, future::pending, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How an endpoint misbehaves until it is told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Misbehaviour {
    /// How long an answer takes, in milliseconds.
    pub delay_ms: u64,
    /// What is answered. Absent: what a good issuer answers.
    pub answer: Option<Answer>,
    /// Headers that are set on the answer, such as `Cache-Control`, `Expires`, `Age`.
    pub headers: Vec<(String, String)>,
    /// Only every so many-th request gets this, the others a good answer. Absent: every request.
    pub every: Option<u32>,
    /// After so many bad answers the endpoint is good again. Absent: until it is told.
    pub times: Option<u32>,
}

/// A bad answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// This status with a line of text.
    Status(u16),
    /// 200 and a web page, as from a captive portal.
    Html,
    /// The good answer's length and half of its bytes, then the connection is cut.
    Truncated,
    /// A redirect (302) to there.
    Redirect(String),
    /// The discovery document with this `issuer`.
    WrongIssuer(String),
    /// An empty key set.
    NoKeys,
    /// These JWKs among the good ones: the first before them, the others after.
    OddKeys(Vec<Value>),
    /// The good answer after so many MiB of blanks, streamed and without a length: valid JSON, if one has the memory.
    HugeMib(u32),
    /// This status with this content type and body.
    Body {
        /// The status.
        status: u16,
        /// The `Content-Type` value.
        content_type: String,
        /// The body.
        body: String,
    },
    /// No answer; the connection stays open.
    Hang,
    /// No answer; the connection is closed.
    Close,
}

/// The connection is to be cut instead of answered.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub(crate) struct Cut;

pub(crate) type Body = UnsyncBoxBody<Bytes, Cut>;

/// A misbehaviour in force, with what `every` and `times` have counted.
#[derive(Debug)]
pub(crate) struct InForce {
    misbehaviour: Misbehaviour,
    seen: u32,
    served: u32,
}

impl Misbehaviour {
    /// The bad answer to every request.
    #[must_use]
    pub fn answer(answer: Answer) -> Self {
        Self { answer: Some(answer), ..Self::default() }
    }

    /// The good answer, late.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self { delay_ms, ..Self::default() }
    }

    /// The good answer with this header.
    #[must_use]
    pub fn header(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { headers: vec![(name.into(), value.into())], ..Self::default() }
    }

    /// The same for every `n`-th request only: flapping.
    #[must_use]
    pub fn every(self, n: u32) -> Self {
        Self { every: Some(n), ..self }
    }

    /// The same for the next `n` requests only.
    #[must_use]
    pub fn times(self, n: u32) -> Self {
        Self { times: Some(n), ..self }
    }

    /// Makes a bad answer of a good one.
    pub(crate) async fn spoil(self, good: Response<Bytes>) -> Result<Response<Body>, Cut> {
        tokio::time::sleep(Duration::from_millis(self.delay_ms)).await;
        let mut reply = match self.answer {
            Some(answer) => answer.instead_of(good).await?,
            None => whole(good),
        };
        for (name, value) in self.headers {
            // Names and values are checked when the misbehaviour is set.
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                reply.headers_mut().insert(name, value);
            }
        }
        Ok(reply)
    }

    /// Why it cannot be served, if it cannot.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        for (name, value) in &self.headers {
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                return Err("a header's name or value cannot be sent");
            }
        }
        match &self.answer {
            Some(Answer::Status(status) | Answer::Body { status, .. })
                if StatusCode::from_u16(*status).is_err() =>
            {
                Err("no such HTTP status")
            }
            Some(Answer::Redirect(to)) if HeaderValue::try_from(to).is_err() => {
                Err("the redirect's address cannot be sent")
            }
            _ if self.every == Some(0) => Err("every must not be 0"),
            _ => Ok(()),
        }
    }
}

impl InForce {
    pub(crate) fn new(misbehaviour: Misbehaviour) -> Self {
        Self { misbehaviour, seen: 0, served: 0 }
    }

    /// What the next request gets: the misbehaviour, or `None` for a good answer.
    pub(crate) fn next(&mut self) -> Option<Misbehaviour> {
        if self.misbehaviour.times.is_some_and(|times| self.served >= times) {
            return None;
        }
        self.seen = self.seen.wrapping_add(1);
        if self.misbehaviour.every.is_some_and(|every| !self.seen.is_multiple_of(every)) {
            return None;
        }
        self.served += 1;
        Some(self.misbehaviour.clone())
    }
}

impl Answer {
    async fn instead_of(self, good: Response<Bytes>) -> Result<Response<Body>, Cut> {
        let document = || serde_json::from_slice::<Value>(good.body()).unwrap_or_default();
        Ok(whole(match self {
            Self::Status(code) => {
                let status = StatusCode::from_u16(code).unwrap_or_default();
                answer(status, "text/plain", format!("{status}\n"))
            }
            Self::Html => answer(
                StatusCode::OK,
                "text/html",
                "<!doctype html><title>Welcome</title><p>Please accept our terms.".to_owned(),
            ),
            Self::Redirect(to) => {
                let mut reply = answer(StatusCode::FOUND, "text/plain", String::new());
                if let Ok(to) = HeaderValue::try_from(to) {
                    reply.headers_mut().insert(header::LOCATION, to);
                }
                reply
            }
            Self::WrongIssuer(issuer) => {
                let mut document = document();
                document["issuer"] = json!(issuer);
                good.map(|_| document.to_string().into())
            }
            Self::NoKeys => good.map(|_| json!({"keys": []}).to_string().into()),
            Self::OddKeys(odd) => {
                let mut document = document();
                if let Some(keys) = document["keys"].as_array_mut() {
                    let mut odd = odd.into_iter();
                    keys.splice(0..0, odd.next());
                    keys.extend(odd);
                }
                good.map(|_| document.to_string().into())
            }
            Self::Body { status, content_type, body } => {
                answer(StatusCode::from_u16(status).unwrap_or_default(), &content_type, body)
            }
            Self::Truncated => return Ok(truncated(good)),
            Self::HugeMib(mib) => return Ok(huge(mib, good)),
            Self::Hang => pending().await,
            Self::Close => return Err(Cut),
        }))
    }
}

/// A good answer, sent as it is.
pub(crate) fn whole(good: Response<Bytes>) -> Response<Body> {
    good.map(|bytes| Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync())
}

fn truncated(good: Response<Bytes>) -> Response<Body> {
    let (mut parts, bytes) = good.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let half = bytes.slice(..bytes.len() / 2);
    let frames = stream::iter([Ok(Frame::data(half)), Err(Cut)]);
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

fn huge(mib: u32, good: Response<Bytes>) -> Response<Body> {
    const CHUNK: &[u8] = &[b' '; 1 << 16];
    let chunks = (1 << 20) / CHUNK.len() * mib as usize;
    good.map(|bytes| {
        let blanks = stream::iter(0..chunks).map(|_| Bytes::from_static(CHUNK));
        let frames = blanks.chain(stream::iter([bytes])).map(|chunk| Ok(Frame::data(chunk)));
        StreamBody::new(frames).boxed_unsync()
    })
}

fn answer(status: StatusCode, content_type: &str, body: String) -> Response<Bytes> {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    if let Ok(content_type) = HeaderValue::try_from(content_type) {
        reply.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_and_times() {
        let serve = |misbehaviour: Misbehaviour| {
            let mut in_force = InForce::new(misbehaviour);
            (0..6).map(|_| in_force.next().is_some()).collect::<Vec<_>>()
        };
        let bad = || Misbehaviour::answer(Answer::Html);
        assert_eq!(serve(bad()), [true; 6]);
        assert_eq!(serve(bad().every(2)), [false, true, false, true, false, true]);
        assert_eq!(serve(bad().times(2)), [true, true, false, false, false, false]);
        assert_eq!(serve(bad().every(2).times(2)), [false, true, false, true, false, false]);
    }

    #[test]
    fn what_cannot_be_served_is_refused_when_it_is_set() {
        for bad in [
            Misbehaviour::answer(Answer::Status(99)),
            Misbehaviour::answer(Answer::Redirect("a\nb".to_owned())),
            Misbehaviour::header("a b", "x"),
            Misbehaviour::header("a", "x\ny"),
            Misbehaviour::answer(Answer::Html).every(0),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert!(Misbehaviour::header("Cache-Control", "max-age=60").check().is_ok());
    }

    #[test]
    fn it_is_written_in_json_as_the_administrative_api_wants_it() {
        for (text, want) in [
            (r#"{"delay_ms": 100}"#, Misbehaviour::delay(Duration::from_millis(100))),
            (r#"{"answer": "html", "times": 3}"#, Misbehaviour::answer(Answer::Html).times(3)),
            (r#"{"answer": {"status": 500}}"#, Misbehaviour::answer(Answer::Status(500))),
            (r#"{"headers": [["Age", "1"]]}"#, Misbehaviour::header("Age", "1")),
        ] {
            assert_eq!(serde_json::from_str::<Misbehaviour>(text).unwrap(), want, "{text}");
        }
    }
}
