//! What the host gives beside the callbacks: time, randomness, shared data, properties.

use std::time::{Duration, SystemTime};

use gateway_core::keys::{CasConflict, SharedStore};
use gateway_hostcalls as hostcalls;

/// Time since the epoch.
pub fn now() -> Duration {
    hostcalls::get_current_time()
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        // The greatest time makes every token expired.
        .unwrap_or(Duration::MAX)
}

/// A random number that no other worker has.
pub fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// A secret that nobody knows. Without one there is no cache, and so no service.
pub fn secret() -> Result<[u8; 16], String> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(|error| format!("no randomness: {error}"))?;
    Ok(secret)
}

/// A random number from 0 to 1.
pub fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

/// Sets a property of the stream. Envoy shows it as filter state `wasm.<name>`, where routes and gates read it.
///
/// False if the host refused: then the request must not go on.
pub fn set_property(name: &str, value: &str) -> bool {
    hostcalls::set_property(name, value.as_bytes()).is_ok()
}

/// The present stream's client without its port, as far as Envoy's trusted hops tell it; empty if unknown.
pub fn client_address() -> String {
    let address = hostcalls::get_property(&["source", "address"]).ok().flatten();
    let address = address.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// The version of HTTP in which the present stream's client speaks.
pub fn protocol() -> String {
    let protocol = hostcalls::get_property(&["request", "protocol"]).ok().flatten();
    protocol.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Tells Envoy that a property is text: its RBAC rules can compare text only.
pub fn declare_text(name: &str) -> bool {
    // 3: type = STRING
    declare(name, &[0x18, 0x01])
}

/// Tells Envoy that a property, once it is set, is its connection's for as long as that lasts, and not its stream's.
pub fn declare_of_connection(name: &str) -> bool {
    // 5: span = DownstreamConnection
    declare(name, &[0x28, 0x02])
}

/// Calls Envoy's `declare_property` with `DeclarePropertyArguments {1: name, 2: readonly, 3: type, 4: schema, 5: span}`, of which
/// `fields` holds those behind the name (`source/extensions/common/wasm/ext/declare_property.proto`).
fn declare(name: &str, fields: &[u8]) -> bool {
    let mut message = vec![0x0a];
    message.extend(u8::try_from(name.len()));
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(fields);
    hostcalls::call_foreign_function("declare_property", &message).is_ok()
}

/// proxy-wasm's shared data: one store for all VMs with the same `vm_id`.
pub struct SharedData;

impl SharedStore for SharedData {
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        hostcalls::get_shared_data(key).ok().flatten()
    }

    fn write(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasConflict> {
        hostcalls::set_shared_data(key, value, cas).map_err(|_| CasConflict)
    }
}
