//! Calls to others that the adapter is to make: to issuers for their keys, to the API server for reviews, to endpoints of distributed
//! groups, and to issuers about their tokens.

mod answer;
mod fault;

pub use answer::body;
pub use fault::{Cause, Fault};

use std::{fmt, time::Duration};

use crate::{config::KeySetPolicy, headers::HeaderList, lookups::LookupId};

/// Bytes of the body of a review, of groups, or of what is said of a token. A longer one need not be read: it counts as no answer.
const MOST_BODY: usize = 1 << 20;
/// Bytes of the documents that say whose access has ended.
pub const MOST_DOCUMENTS: usize = 8 << 20;

/// A call that the adapter is to make: a POST if it has a body, else a GET. It may hold a token, of which nothing is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Callout {
    /// To be given back with what came of it.
    pub purpose: Purpose,
    /// The Envoy cluster to ask. The API server's carries the gateway's credential.
    pub cluster: String,
    /// `:authority`
    pub authority: String,
    /// `:path`
    pub path: String,
    /// `authorization`
    pub authorization: Option<String>,
    /// `traceparent`, for whose request it is; what serves many has none.
    pub traceparent: Option<String>,
    /// The body, of [`Purpose::content_type`].
    pub body: Option<Vec<u8>>,
    /// When to give up.
    pub timeout: Duration,
}

/// What a callout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An issuer's discovery document or key set; a number that no other callout of the worker has.
    Keys(u64),
    /// A SubjectAccessReview.
    AccessReview(LookupId),
    /// A TokenReview.
    TokenReview(LookupId),
    /// Distributed groups.
    Groups(LookupId),
    /// A question about a token.
    Introspection {
        /// The place of whom is asked in the configuration.
        endpoint: usize,
        /// The question.
        id: LookupId,
    },
    /// A page of a group source's answer.
    GroupSource(LookupId),
    /// The documents that say whose access has ended.
    Documents,
}

/// What came of a callout: a response, that of who was asked or Envoy's in its place, or why there is none: broken off, too large for
/// Envoy, not even sent.
pub type CalloutResult<'a> = Result<Response<'a>, Fault>;

/// The response to a callout.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// `:status`
    pub status: u16,
    /// Content-Encoding counts, and Envoy's own mark of an upstream's answer; of a key set Cache-Control, Expires, Date and Age, too.
    pub headers: &'a HeaderList,
    /// The body, whole.
    pub body: &'a [u8],
}

impl Purpose {
    /// Its word, for metrics.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Keys(_) => "keys",
            Self::AccessReview(_) => "access",
            Self::TokenReview(_) => "token",
            Self::Groups(_) => "groups",
            Self::Introspection { .. } => "introspection",
            Self::GroupSource(_) => "source",
            Self::Documents => "documents",
        }
    }

    /// Bytes of a body beyond which it need not be read, and the response counts as none.
    #[must_use]
    pub fn most_bytes(self) -> usize {
        match self {
            Self::Keys(_) => KeySetPolicy::MOST_BYTES as usize,
            Self::AccessReview(_)
            | Self::TokenReview(_)
            | Self::Groups(_)
            | Self::GroupSource(_)
            | Self::Introspection { .. } => MOST_BODY,
            Self::Documents => MOST_DOCUMENTS,
        }
    }

    /// The type of the body, where the callout has one. What comes back is JSON in any case.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            // RFC 7662, section 2.1.
            Self::Introspection { .. } => "application/x-www-form-urlencoded",
            _ => "application/json",
        }
    }
}

impl fmt::Debug for Callout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { purpose, cluster, .. } = self;
        f.debug_struct("Callout")
            .field("purpose", purpose)
            .field("cluster", cluster)
            .finish_non_exhaustive()
    }
}
