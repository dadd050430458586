//! Of a configuration: its metrics, callouts and scheduler.

use std::ffi::c_void;

use gateway_core::{
    callout::{Callout, Cause, Fault},
    headers::TRACEPARENT,
    metrics::Kind,
};

use super::{
    EVENT, buffer, buffers,
    handle::{ConfigHandle, HttpFilter},
    headers_of,
};
use crate::abi::{callbacks, callout_end, callout_start};

const USER_AGENT: &str = concat!("kube-oidc-gateway/", env!("CARGO_PKG_VERSION"));

/// Has Envoy call a configuration in the main thread, from any other.
pub struct ConfigScheduler(*mut c_void);

// SAFETY: Envoy lets any thread use and delete it, one at a time or several.
unsafe impl Send for ConfigScheduler {}
// SAFETY: as above.
unsafe impl Sync for ConfigScheduler {}

impl ConfigScheduler {
    /// Has Envoy call the configuration, unless it is gone by then.
    pub fn commit(&self) {
        // SAFETY: it is there until it is dropped.
        unsafe {
            callbacks::envoy_dynamic_module_callback_http_filter_config_scheduler_commit(
                self.0, EVENT,
            );
        }
    }
}

impl Drop for ConfigScheduler {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody has it any more.
        unsafe {
            callbacks::envoy_dynamic_module_callback_http_filter_config_scheduler_delete(self.0);
        }
    }
}

impl ConfigHandle<HttpFilter> {
    /// Defines a metric with labels of these names; its number. Envoy takes none once the configuration is loaded.
    #[must_use]
    pub fn define(&self, kind: Kind, name: &str, labels: &[&str]) -> Option<usize> {
        let config = self.open()?;
        let mut labels = buffers(labels);
        let (name, mut id) = (buffer(name.as_bytes()), 0);
        let define = match kind {
            Kind::Counter => {
                callbacks::envoy_dynamic_module_callback_http_filter_config_define_counter
            }
            Kind::SumGauge | Kind::Gauge => {
                callbacks::envoy_dynamic_module_callback_http_filter_config_define_gauge
            }
            Kind::Histogram => {
                callbacks::envoy_dynamic_module_callback_http_filter_config_define_histogram
            }
        };
        // SAFETY: the configuration is there; Envoy copies the names, and writes one number.
        let result =
            unsafe { define(config, name, labels.as_mut_ptr(), labels.len(), &raw mut id) };
        (result == 0).then_some(id)
    }

    /// Changes a metric, as its kind has it ([`gateway_core::metrics::Change`]).
    pub fn change(&self, kind: Kind, id: usize, labels: &[&str], value: i64) {
        let Some(config) = self.open() else { return };
        let mut labels = buffers(labels);
        let change = match kind {
            Kind::Counter => {
                callbacks::envoy_dynamic_module_callback_http_filter_config_increment_counter
            }
            Kind::SumGauge if value < 0 => {
                callbacks::envoy_dynamic_module_callback_http_filter_config_decrement_gauge
            }
            Kind::SumGauge => {
                callbacks::envoy_dynamic_module_callback_http_filter_config_increment_gauge
            }
            Kind::Gauge => callbacks::envoy_dynamic_module_callback_http_filter_config_set_gauge,
            Kind::Histogram => {
                callbacks::envoy_dynamic_module_callback_http_filter_config_record_histogram_value
            }
        };
        let value = if kind == Kind::SumGauge {
            value.unsigned_abs()
        } else {
            u64::try_from(value).unwrap_or(0)
        };
        // SAFETY: the configuration is there; Envoy reads the values.
        let _ = unsafe { change(config, id, labels.as_mut_ptr(), labels.len(), value) };
    }

    /// Starts a callout; its number. For the main thread alone.
    pub fn call(&self, callout: &Callout) -> Result<u64, Fault> {
        let config = self.open().ok_or_else(|| Fault::not_taken(&"the configuration is gone"))?;
        let Callout { cluster, authority, path, authorization, body, .. } = callout;
        let mut headers: Vec<(&str, &[u8])> = vec![
            (":method", if body.is_some() { b"POST" } else { b"GET" }),
            (":scheme", b"https"),
            (":authority", authority.as_bytes()),
            (":path", path.as_bytes()),
            // What comes compressed all the same is read, if it is gzip.
            ("accept-encoding", b"identity"),
            ("user-agent", USER_AGENT.as_bytes()),
        ];
        // kube-apiserver's client asks issuers for no type: some have keys as application/jwk-set+json alone, and answer 406 to who
        // wants application/json.
        if body.is_some() {
            headers.push(("accept", b"application/json"));
            headers.push(("content-type", callout.purpose.content_type().as_bytes()));
        }
        if let Some(traceparent) = &callout.traceparent {
            headers.push((TRACEPARENT, traceparent.as_bytes()));
        }
        if let Some(authorization) = authorization {
            headers.push(("authorization", authorization.as_bytes()));
        }
        let mut headers = headers_of(&headers);
        let mut id = 0;
        // SAFETY: the configuration is there, and this is the main thread; Envoy copies what it is given, and writes one number.
        let result = unsafe {
            callbacks::envoy_dynamic_module_callback_http_filter_config_http_callout(
                config,
                &raw mut id,
                buffer(cluster.as_bytes()),
                headers.as_mut_ptr(),
                headers.len(),
                buffer(body.as_deref().unwrap_or_default()),
                u64::try_from(callout.timeout.as_millis()).unwrap_or(u64::MAX),
            )
        };
        match result {
            callout_start::SUCCESS => Ok(id),
            callout_start::CLUSTER_NOT_FOUND => Err(Fault::no_cluster(cluster)),
            callout_start::CANNOT_CREATE_REQUEST => Err(Fault::refused_at_once()),
            other => Err(Fault::not_taken(&other)),
        }
    }

    /// What wakes the configuration.
    #[must_use]
    pub fn scheduler(&self) -> Option<ConfigScheduler> {
        let config = self.open()?;
        // SAFETY: the configuration is there.
        let scheduler = unsafe {
            callbacks::envoy_dynamic_module_callback_http_filter_config_scheduler_new(config)
        };
        (!scheduler.is_null()).then(|| ConfigScheduler(scheduler))
    }
}

/// Why a callout has no response, by Envoy's number; `None` if it has one.
#[must_use]
pub fn fault(end: u32, is_late: bool) -> Option<Fault> {
    match end {
        callout_end::SUCCESS => None,
        callout_end::TOO_LARGE => {
            Some(Fault::new(Cause::TooLarge, "its answer is larger than Envoy holds"))
        }
        _ if is_late => Some(Fault::timeout()),
        _ => Some(Fault::broken_off()),
    }
}
