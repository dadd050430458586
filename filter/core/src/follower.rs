//! The newest documents, and how they are had: by a callout a second to who holds them, which costs little while nothing is new.
//!
//! The answer is 304, or 200 with an [`Envelope`] and its version in `ETag`. `Age` says for how many seconds who answers has not heard from where
//! it has them. A version that it does not have yet is 503.

use std::{cell::Cell, sync::Arc, time::Duration};

use crate::{
    access::{Documents, Envelope, PATH, Source, Unread},
    callout::{self, Callout, CalloutResult, Cause, Fault, MOST_DOCUMENTS, Purpose},
    config::Configuration,
    headers::HeaderList,
};

/// How often newer documents are asked for. The tick comes once a second, and not to the millisecond.
const ASKED_EVERY: Duration = Duration::from_millis(900);
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The newest documents, if there are to be any.
#[derive(Debug, Default)]
pub struct Follower {
    source: Option<Source>,
    documents: Option<Arc<Documents>>,
    /// When they were known to be the newest.
    as_of: Cell<Duration>,
    asked: Option<Duration>,
    is_asking: bool,
}

impl Follower {
    /// What a configuration says of documents.
    #[must_use]
    pub fn new(configuration: &Configuration) -> Self {
        match (&configuration.documents_source, &configuration.documents) {
            (Some(source), _) => Self::of(source.clone()),
            (None, Some(documents)) => Self::fixed(Arc::clone(documents)),
            (None, None) => Self::default(),
        }
    }

    /// Documents that never change.
    #[must_use]
    pub fn fixed(documents: Arc<Documents>) -> Self {
        Self { documents: Some(documents), ..Self::default() }
    }

    /// Documents that somebody else holds.
    #[must_use]
    pub fn of(source: Source) -> Self {
        Self { source: Some(source), ..Self::default() }
    }

    /// Whether there are documents, or will be: then logins are kept for them.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.source.is_some() || self.documents.is_some()
    }

    /// Whether somebody else holds them.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.source.is_some()
    }

    /// When the documents were known to be the newest; `None` if they never change, or were never read.
    #[must_use]
    pub fn as_of(&self) -> Option<Duration> {
        (self.source.is_some() && self.documents.is_some()).then_some(self.as_of.get())
    }

    /// The documents that hold now, if there are to be any.
    ///
    /// # Errors
    /// If they could be others by now.
    pub fn present(&self, now: Duration) -> Result<Option<&Arc<Documents>>, Unread> {
        let Some(source) = &self.source else { return Ok(self.documents.as_ref()) };
        let Some(documents) = &self.documents else { return Err(Unread::Never) };
        let age = now.saturating_sub(self.known_at(now));
        if age > source.maximum_staleness {
            return Err(Unread::Stale(age.as_secs()));
        }
        Ok(Some(documents))
    }

    /// When the documents were known to be the newest. A clock that was set back must not make them count for as much longer: they get
    /// older from then on.
    fn known_at(&self, now: Duration) -> Duration {
        let known_at = self.as_of.get().min(now);
        self.as_of.set(known_at);
        known_at
    }

    /// The documents, however old.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Documents>> {
        self.documents.as_ref()
    }

    /// Asks for newer documents, if it is time.
    pub fn poll(&mut self, now: Duration) -> Option<Callout> {
        let source = self.source.as_ref()?;
        self.known_at(now);
        // A clock that was set back must not silence it.
        let since = self.asked.map(|asked| now.abs_diff(asked));
        let is_due = since.is_none_or(|since| since >= ASKED_EVERY);
        let is_lost = since.is_some_and(|since| since >= TIMEOUT.saturating_add(TIMEOUT));
        if !is_due || self.is_asking && !is_lost {
            return None;
        }
        self.asked = Some(now);
        self.is_asking = true;
        let known = self.documents.as_ref().map_or("", |known| &known.version);
        Some(Callout {
            purpose: Purpose::Documents,
            cluster: source.cluster.clone(),
            authority: "access".to_owned(),
            path: format!("{PATH}{known}"),
            authorization: None,
            traceparent: None,
            body: None,
            timeout: TIMEOUT,
        })
    }

    /// Takes what came of that.
    ///
    /// # Errors
    /// Why the documents are no newer. Those that are known go on to hold.
    pub fn answered(&mut self, result: CalloutResult<'_>, now: Duration) -> Result<(), Fault> {
        self.is_asking = false;
        let age = |headers: &HeaderList| header(headers, "age").and_then(|age| age.parse().ok());
        if let Ok(response) = &result
            && response.status == 304
            && self.documents.is_some()
        {
            // Without an age nobody knows how old they are.
            let Some(age) = age(response.headers) else { return Err(bad("no Age")) };
            self.as_of.set(now.saturating_sub(Duration::from_secs(age)));
            return Ok(());
        }
        let headers: Option<&HeaderList> = result.as_ref().ok().map(|response| response.headers);
        let version = headers.and_then(|headers| header(headers, "etag")).unwrap_or_default();
        let version = version.trim_matches('"').to_owned();
        let age = headers.and_then(age);
        let body = callout::body(result, &[200], MOST_DOCUMENTS, "the bound of access documents")?;
        let Some(age) = age else { return Err(bad("no Age")) };
        if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(bad("no version"));
        }
        let envelope: Envelope =
            serde_json::from_slice(&body).map_err(|error| bad(&error.to_string()))?;
        let generation = self.documents.as_ref().map_or(0, |known| known.generation);
        let documents = Documents::new(&envelope, &version, generation.saturating_add(1));
        let documents = documents.map_err(|error| bad(&error.to_string()))?;
        self.take(Arc::new(documents), now.saturating_sub(Duration::from_secs(age)));
        Ok(())
    }

    /// Takes what another follower of the same source has.
    pub fn take(&mut self, documents: Arc<Documents>, as_of: Duration) {
        self.documents = Some(documents);
        self.as_of.set(as_of);
    }
}

fn bad(why: &str) -> Fault {
    Fault::new(Cause::Document, format_args!("the answer is no access documents: {why}"))
}

fn header<'a>(headers: &'a HeaderList, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(known, _)| known == name)?;
    std::str::from_utf8(value).ok()
}
