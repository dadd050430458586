//! The portal: out of its configuration ([`Portal`]), its keys, and the life of its Envoy. How it is rendered is in
//! `gateway_config::portal`.

mod keys;
mod life;
mod login;
mod part;

pub use keys::{KeyFileError, Keys};
pub use life::run;
pub use part::{Place, Portal, SetupError};
