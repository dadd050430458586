//! The portal's Envoy: its configuration, its keys and its life. What it answers is decided in `gateway_portal`.

mod keys;
mod login;
mod part;
mod render;
mod run;
mod template;

pub use keys::{KeyFileError, Keys};
pub use login::{COOKIE, Endpoints, LOGOUT, Login};
pub use part::Part;
pub(crate) use part::{Around, Chain, PORTAL_CERTIFICATE, add_templates};
pub(crate) use render::identify_socket;
pub use render::{IDENTIFY, Inputs, render};
pub use run::{RunError, Start, run};
pub use template::{TemplateError, template};
