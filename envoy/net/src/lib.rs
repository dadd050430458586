//! Hosts, ranges of addresses and proxies, as flags, kubeconfigs and Envoy's configuration name them.
//!
//! A value of these types is well-formed: nobody who has one looks at its text again. Nothing here does I/O.

mod host;
mod proxy;
mod range;

pub use go_compat::netip::Prefix;
pub use host::{BadHost, Dns, Host, endpoint};
pub use proxy::{Credential, Proxies, ProxyError, Scheme, Server};
pub use range::{BadRange, range};
