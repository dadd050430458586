//! The second root of the module, `portal`: reads a request whole, has it decided, and answers it. Nothing goes upstream.

mod stream;

use std::rc::Rc;

use gateway_core::portal_keys::{self, KeyRing};
use gateway_hostcalls as hostcalls;
use gateway_portal::{Portal, Settings};
use log::error;
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::{
    host,
    verifier::{Counts, HostVerifier},
};

/// The `root_id` that Envoy's configuration names.
pub const ROOT_ID: &str = "portal";

/// What the streams of one portal share.
pub(crate) struct Shared {
    portal: Portal,
    /// The filter's in Envoy's configuration: portals of one VM share its metrics and data.
    name: String,
    secret: [u8; 16],
    verifier: HostVerifier,
    counts: Counts,
}

/// The root context of one configuration.
#[derive(Default)]
pub struct Root {
    portal: Option<Rc<Shared>>,
}

impl Root {
    fn configure(&mut self) -> Result<(), String> {
        let document = self.get_plugin_configuration().unwrap_or_default();
        let settings = Settings::parse(&document).map_err(|error| error.to_string())?;
        let portal = Portal::new(settings, environment_keys(portal_keys::VARIABLE)?)
            .map_err(|error| error.to_string())?;
        let counts = Counts::default();
        let verifier = HostVerifier::probe(counts.clone());
        let secret = host::secret()?;
        self.portal = Some(Rc::new(Shared { portal, name: name(), secret, verifier, counts }));
        Ok(())
    }
}

/// The name of the plugin whose root context is the effective one.
fn name() -> String {
    let name = hostcalls::get_property(&["plugin_name"]).ok().flatten().unwrap_or_default();
    if name.is_empty() { ROOT_ID.to_owned() } else { String::from_utf8_lossy(&name).into_owned() }
}

/// The keys. Not from the configuration: Envoy shows that to whoever may read it.
pub(crate) fn environment_keys(variable: &str) -> Result<KeyRing, String> {
    let keys = std::env::var(variable).map_err(|_| format!("no {variable} in the environment"))?;
    KeyRing::parse(keys.as_bytes()).map_err(|error| format!("{variable}: {error}"))
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match self.configure() {
            Ok(()) => true,
            Err(why) => {
                error!("configuration refused: {why}");
                false
            }
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(stream::Stream::new(self.portal.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
