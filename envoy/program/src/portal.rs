//! The portal's Envoy: its keys and its life. Its configuration is in `gateway_config::portal`.

mod keys;
mod life;

pub use keys::{KeyFileError, Keys};
pub use life::run;
