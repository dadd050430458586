//! The audit trail, made of Envoy's raw access log lines.
//!
//! Envoy writes a line when a request ends and, for those that last, when their answer begins. A [`Record`] is such a line
//! understood; [`Expander`] makes of it the events of `audit.k8s.io/v1` that kube-apiserver would have written for the same
//! request, as far as a [`Policy`] wants them; [`sink`]s put them out. [`Pipeline`] is all of it as one sink of raw lines.
//!
//! Every line gives an event, and every event has a bounded size ([`bounds`]): what is too long is cut and marked.
//!
//! No stage is known before Envoy tells of it: `RequestReceived`, and `ResponseStarted` of a request that lasts, are written
//! late, with the right times, and are lost with an Envoy that is killed.

mod access;
pub mod bounds;
mod event;
mod expand;
mod identity;
mod legacy;
mod pipeline;
mod policy;
mod proxy_line;
pub mod rawlog;
mod record;
mod setup;
pub mod sink;

pub use access::AccessLog;
pub use event::{Event, Level, ObjectReference, ResponseStatus, Stage};
pub use expand::Expander;
pub use identity::{Identities, User};
pub use kube_request::RequestInfo;
pub use pipeline::Pipeline;
pub use policy::{Policy, PolicyError};
pub use proxy_line::{ProxyLines, proxy_line};
pub use record::{Field, Kind, Record, RecordError};
pub use setup::{Outputs, Trail, TrailError};
