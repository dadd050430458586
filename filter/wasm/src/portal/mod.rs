//! The second root of the module, `portal`: reads a request whole, has it decided, and answers it. Nothing goes upstream.

mod stream;

use std::{cell::RefCell, rc::Rc};

use gateway_core::portal::{KeyRing, Portal, Settings, keys};
use log::error;
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::{host, verifier::HostVerifier};

/// The `root_id` that Envoy's configuration names.
pub const ROOT_ID: &str = "portal";

thread_local! {
    /// This VM's secret and verifier, which outlive a configuration.
    static VM: RefCell<Option<Rc<Vm>>> = const { RefCell::new(None) };
}

/// What a VM has once.
pub(crate) struct Vm {
    secret: [u8; 16],
    verifier: HostVerifier,
}

/// The root context of one configuration.
#[derive(Default)]
pub struct Root {
    portal: Option<(Rc<Portal>, Rc<Vm>)>,
}

impl Root {
    fn configure(&mut self) -> Result<(), String> {
        let document = self.get_plugin_configuration().unwrap_or_default();
        let settings = Settings::parse(&document).map_err(|error| error.to_string())?;
        let portal = Portal::new(settings, environment_keys(keys::VARIABLE)?)
            .map_err(|error| error.to_string())?;
        self.portal = Some((Rc::new(portal), vm()?));
        Ok(())
    }
}

/// The keys. Not from the configuration: Envoy shows that to whoever may read it.
pub(crate) fn environment_keys(variable: &str) -> Result<KeyRing, String> {
    let keys = std::env::var(variable).map_err(|_| format!("no {variable} in the environment"))?;
    KeyRing::parse(keys.as_bytes()).map_err(|error| format!("{variable}: {error}"))
}

fn vm() -> Result<Rc<Vm>, String> {
    VM.with_borrow_mut(|slot| {
        if let Some(vm) = slot {
            return Ok(Rc::clone(vm));
        }
        let vm = Rc::new(Vm { secret: host::secret()?, verifier: HostVerifier::probe() });
        *slot = Some(Rc::clone(&vm));
        Ok(vm)
    })
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
