//! The portal's Envoy: its configuration. What it answers is decided in `gateway_portal`.

mod configuration;
pub(crate) mod login;
pub(crate) mod part;
mod render;
mod template;

pub use configuration::{KIND, PortalConfiguration, PortalError, Why};
pub use login::{COOKIE, Endpoints, LOGOUT, Login};
pub use part::Part;
pub use render::{IDENTIFY, Inputs, render};
pub use template::{TemplateError, template};
